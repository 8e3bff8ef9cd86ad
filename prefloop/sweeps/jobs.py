"""One piece of work for an engine: what it calls, where its result stands, and how its failure is kept.

Free of PyTorch, which the process that hands jobs out need not load.
"""

import contextlib
import importlib
import math
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from prefloop.errors import UserError
from prefloop.files import ClaimedError, is_claimed, read_json, write_json
from prefloop.sweeps.cells import Cell
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import FAILURE, LOG, PREPARED, RESULT, CompareSettings

PATIENCE = 10.0  # seconds: the workers of a command that was killed live on for one
KILLED = "Its process was killed; is there enough memory?"


class Job(NamedTuple):
    """What is to be done.

    Attributes:
        function: its name in `prefloop.sweeps.running`.
        settings: of the comparison that it belongs to.
        what: the cell, or the seed whose demonstrators are to be prepared, or that chance is tried with.
    """

    function: str
    settings: CompareSettings
    what: Cell | int

    @property
    def folder(self) -> Path:
        """Where what comes of it stands."""
        if isinstance(self.what, Cell):
            return Path(self.settings.out) / self.what.folder
        if self.function == "prepare":
            return self.settings.seed_folder(self.what)
        return self.settings.random_folder(self.what)

    def __str__(self) -> str:
        """As sentences name it."""
        if isinstance(self.what, Cell):
            return f"{self.settings.environment}, {self.what}"
        if self.function == "prepare":
            return f"{self.settings.environment}, the demonstrators of seed {self.what}"
        return f"{self.settings.environment}, actions at random with seed {self.what}"

    def failed(self, reason: str) -> None:
        """Notes why it could not be done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / FAILURE, {"reason": reason})

    @property
    def failure(self) -> str | None:
        """Why it could not be done when it was last tried; None if it was not tried, or was done."""
        file = self.folder / FAILURE
        return str(read_json(file).get("reason")) if file.exists() else None

    def forget_failure(self) -> None:
        """Before it is tried again."""
        (self.folder / FAILURE).unlink(missing_ok=True)

    @property
    def is_done(self) -> bool:
        """Whether what comes of it is there."""
        return (self.folder / (PREPARED if self.function == "prepare" else RESULT)).exists()

    @property
    def log(self) -> Path:
        """The file of what it said, which is there if it said anything."""
        return self.folder / LOG


def why_not(run: Job) -> tuple[Job, str | None]:
    """The job that failed (the demonstrators' or this run's) and its reason; None if it has not failed.

    Demonstrators come first: a run that a queue began without them can only say which file it misses.
    """
    assert isinstance(run.what, Cell)
    if METHODS[run.what.method].has_demonstrators:
        prepared = Job("prepare", run.settings, run.what.seed)
        if (reason := prepared.failure) is not None:
            return prepared, reason
    return run, run.failure


def do(job: Job, patience: float = PATIENCE) -> None:
    """Does a job; what it says goes into its log, and why it failed into a file beside it.

    A run that another process has done meanwhile is not done again.

    Args:
        patience: seconds that another process may go on in the job's folder.

    Raises:
        UserError: it can't be done; the sentence says why.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + patience
    while True:
        while is_claimed(job.folder) and time.monotonic() < give_up:
            time.sleep(0.2)
        # pairs may be missing where demonstrators are there: whoever makes them looks
        if job.is_done and job.function != "prepare":
            return
        job.forget_failure()
        try:
            _call(job)
        except ClaimedError as error:  # by one that began at the same moment
            if time.monotonic() >= give_up:
                job.failed(str(error))
                raise
            time.sleep(0.2)
        else:
            return


def _call(job: Job) -> None:
    """Does a job now, whoever else may be at it."""
    with job.log.open("a", encoding="utf-8", errors="backslashreplace") as log:
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                running = importlib.import_module("prefloop.sweeps.running")
                getattr(running, job.function)(job.settings, job.what)
        except ClaimedError:
            raise
        except Exception as error:  # whatever it is, the others go on
            is_told = isinstance(error, UserError)
            sentence = str(error) if is_told else f"{type(error).__name__}: {error}"
            if not is_told:
                traceback.print_exc(file=log)
            job.failed(sentence)
            raise UserError(sentence) from None
        finally:
            is_empty = log.tell() == 0
    if is_empty:
        job.log.unlink(missing_ok=True)


def do_with_patience(job: Job) -> None:
    """Does a job, or waits as long as another process does it, whose result is then this one's, too."""
    do(job, math.inf)
