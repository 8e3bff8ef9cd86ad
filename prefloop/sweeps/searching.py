"""Searches for settings: a trial is the runs of one method with some settings, over all seeds."""

import time
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from prefloop.errors import UserError, note
from prefloop.files import is_file, sha256
from prefloop.sweeps.cells import shown
from prefloop.sweeps.changes import as_keys, usual
from prefloop.sweeps.compare import check
from prefloop.sweeps.engines import Engine, require_installed
from prefloop.sweeps.search_file import Search, read_search
from prefloop.sweeps.search_report import report
from prefloop.sweeps.settings import StudySettings
from prefloop.sweeps.trial_runs import (
    TrialRuns,
    engine_of,
    jobs_of,
    open_folder,
    require_own_folder,
)
from prefloop.sweeps.trials import REASON, Trials, import_optuna
from prefloop.words import counted

if TYPE_CHECKING:
    from optuna.trial import Trial

REPORT_EVERY = 10  # seconds, while trials go on: pictures take longer than a quick trial


def tune(given: StudySettings) -> None:
    """Takes part in a search until all its trials are taken, and writes what was found.

    Args:
        given: the study with its search, and how it is run.

    Raises:
        UserError: as `read_search`; the folder holds something else; or no trial came to anything.
    """
    fingerprint = sha256(given.file)
    search = read_search(given)
    for comparison in search.study.comparisons:
        check(comparison, search.study.engine)
    import_optuna()  # before anything is written
    require_installed(search.study.engine)
    require_own_folder(search)
    if given.dry_run:
        _say_what_there_is(search)
        return
    open_folder(search)
    try:
        with Trials(search) as trials, engine_of(search, given.processes) as workers:
            _Turn(search, trials, workers).go_on()
            print(report(search, trials))
    finally:
        if not is_file(given.file) or sha256(given.file) != fingerprint:
            note(
                f"{given.file} was changed meanwhile. What was searched is what it said at the start."
            )
    if trials.best is None and trials.all:
        failed = next((t for t in trials.all if REASON in t.user_attrs), None)
        why = f" The first, trial {failed.number}: {failed.user_attrs[REASON]}" if failed else ""
        raise UserError(f"No trial came to anything.{why}")


def _say_what_there_is(search: Search) -> None:
    settings, instances = search.settings, search.instances
    print(
        f"{counted(settings.trials, 'trial')} of {settings.method}, with {counted(len(instances), 'run')} each:"
    )
    for flag, one in search.ranges.items():
        print(f"  {flag}: {one}")
    print("Nothing was run.")


@dataclass
class _Turn:
    """One process's part in a search."""

    search: Search
    trials: Trials
    engine: Engine

    def go_on(self) -> None:
        """Takes trial after trial."""
        runs = TrialRuns(self.search, self.engine)
        comparison = self.search.study.comparisons[0]
        method = self.search.settings.method
        fixed = self.search.fixed(comparison)
        self.trials.suggest_usual(usual(comparison.settings, method) | fixed)
        written = time.monotonic()
        while (trial := self.trials.ask()) is not None:
            self._try(trial, runs)
            if time.monotonic() - written > REPORT_EVERY:
                report(self.search, self.trials)
                written = time.monotonic()

    def _try(self, trial: "Trial", runs: TrialRuns) -> None:
        """Has the runs of a trial done, until it is clear that they come to less than the best one's."""
        trials = self.trials
        start, point = time.monotonic(), trials.point(trial)
        drawn = ", ".join(f"{flag} {shown(value)}" for flag, value in point.items())
        try:
            jobs = jobs_of(self.search, point)
        except ValueError as error:
            trials.fail(trial, f"{as_keys(error)}.")
            print(f"Trial {trial.number} can't be meant ({drawn}): {as_keys(error)}.")
            return

        def is_given_up_after(number: int, value: float) -> bool:
            trial.report(value, number)
            return trial.should_prune()

        try:
            values = runs.values(jobs, is_given_up_after)
        except UserError as error:
            trials.fail(trial, str(error))
            print(f"Trial {trial.number} failed ({drawn}): {error}")
            return
        seconds = time.monotonic() - start
        value, is_given_up = fmean(values.values()), len(values) < len(jobs)
        trials.tell(trial, value, is_given_up)
        given_up = (
            f", given up after {len(values)} of {counted(len(jobs), 'run')}" if is_given_up else ""
        )
        best = trials.best
        is_best = f"; the best is trial {best.number}, {best.value:.4g}" if best else ""
        print(f"Trial {trial.number}: {value:.4g}{given_up} ({drawn}), {seconds:.0f} s{is_best}.")
