"""Searches for settings: a trial is the runs of one method with some settings, over all seeds."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import filelock

from prefloop.errors import UserError, note
from prefloop.files import LOCK as FOLDER_LOCK
from prefloop.files import is_file, read_json, sha256, write_atomically, write_json
from prefloop.sweeps.cells import Cell, shown
from prefloop.sweeps.changes import as_keys, changes_at, usual
from prefloop.sweeps.compare import check
from prefloop.sweeps.engines import Engine, RayCluster, ThisMachine, require_installed
from prefloop.sweeps.jobs import Job, do_with_patience
from prefloop.sweeps.remembering import remember
from prefloop.sweeps.results import collect
from prefloop.sweeps.search_file import COPY, SCORE, Instance, Search, read_search
from prefloop.sweeps.search_report import report
from prefloop.sweeps.settings import RESULT
from prefloop.sweeps.trials import REASON, Trials, import_optuna

if TYPE_CHECKING:
    from optuna.trial import Trial

PREPARING = ".preparing.lock"
REPORT_EVERY = 10  # seconds, while trials go on: pictures take longer than a quick trial
READY = "ready.json"  # in it, once that is done which all trials need


def tune(
    file: Path,
    out: str = "",
    device: str = "",
    processes: int | None = None,
    dry_run: bool = False,
    engine: str = "",
    address: str = "",
) -> None:
    """Takes part in a search until all its trials are taken, and writes what was found.

    Args:
        file: the study with its search.
        out, device, processes, engine, address: in place of what it says, if given.

    Raises:
        UserError: as `read_search`; the folder holds something else; or no trial came to anything.
    """
    fingerprint = sha256(file)
    search = read_search(file, out, device, engine, address)
    for comparison in search.study.comparisons:
        check(comparison)
    import_optuna()  # before anything is written
    require_installed(search.study.engine.engine)
    root, copy = search.root, search.root / COPY
    if not copy.exists() and root.is_dir() and any(p.name != FOLDER_LOCK for p in root.iterdir()):
        raise UserError(f"{root} holds something else than a search; choose another --out.")
    if dry_run:
        _say_what_there_is(search)
        return
    root.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        write_atomically(copy, file.read_bytes())
    at_once = search.study.processes if processes is None else processes
    settings = search.study.engine
    most = min(at_once or os.cpu_count() or 1, len(search.instances))
    try:
        with (
            Trials(search) as trials,
            RayCluster(settings) if settings.engine == "ray" else ThisMachine(most) as workers,
        ):
            _Turn(search, trials, workers).go_on()
            print(report(search, trials))
    finally:
        if not is_file(file) or sha256(file) != fingerprint:
            note(f"{file} was changed meanwhile. What was searched is what it said at the start.")
    if trials.best is None and trials.all:
        failed = next((t for t in trials.all if REASON in t.user_attrs), None)
        why = f" The first, trial {failed.number}: {failed.user_attrs[REASON]}" if failed else ""
        raise UserError(f"No trial came to anything.{why}")


def _say_what_there_is(search: Search) -> None:
    settings, instances = search.settings, search.instances
    print(f"{settings.trials} trials of {settings.method}, with {len(instances)} runs each:")
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
        self._prepare()
        scales = self._scales()
        comparison = self.search.study.comparisons[0]
        method = self.search.settings.method
        fixed = self.search.fixed(comparison)
        self.trials.suggest_usual(usual(comparison.settings, method) | fixed)
        written = time.monotonic()
        while (trial := self.trials.ask()) is not None:
            self._try(trial, scales)
            if time.monotonic() - written > REPORT_EVERY:
                report(self.search, self.trials)
                written = time.monotonic()

    def _prepare(self) -> None:
        """Makes, once for all who take part, what all trials need: demonstrators, and the ends of a score.

        Raises:
            UserError: it can't be done.
        """
        search = self.search
        with _one_at_a_time(search.root / PREPARING):
            first, then = [], []
            for comparison in search.study.comparisons:
                remember(comparison)
                settings = comparison.settings
                if settings.has_demonstrators:
                    first += [Job("prepare", settings, seed) for seed in settings.seed_numbers]
                if search.settings.maximise == SCORE:
                    first += [
                        Job("play_at_random", settings, seed) for seed in settings.seed_numbers
                    ]
                    then += [
                        Job("run_cell", settings, cell)
                        for cell in comparison.cells
                        if cell.method != search.settings.method
                    ]
            if not (search.root / READY).exists():
                for jobs in (first, then):
                    self._do_all(jobs)
                write_json(search.root / READY, {"jobs": len(first) + len(then)})

    def _do_all(self, jobs: Sequence[Job]) -> None:
        for _ in _as_completed([self.engine.submit(do_with_patience, job) for job in jobs]):
            pass
        for job in jobs:
            if job.failure is not None or not job.is_done:
                raise UserError(f"{job}: {job.failure or 'nothing came of it.'}")

    def _scales(self) -> dict[Path, tuple[float, float]]:
        """By comparison, what a value of 0 and of 1 stand for."""
        search = self.search
        if search.settings.maximise != SCORE:
            return {c.folder: (0.0, 1.0) for c in search.study.comparisons}
        found = {}
        for part in collect(search.root).parts:
            if part.zero is None or part.one is None:
                raise UserError(
                    f"There are no scores in {part.task}: what is to be a score of 1 does no better than chance."
                )
            found[part.comparison.folder] = (part.zero, part.one)
        return found

    def _try(self, trial: "Trial", scales: dict[Path, tuple[float, float]]) -> None:
        """Has the runs of a trial done, until it is clear that they come to less than the best one's."""
        search, trials = self.search, self.trials
        start, point = time.monotonic(), trials.point(trial)
        told = ", ".join(f"{flag} {shown(value)}" for flag, value in point.items())
        try:
            jobs = [(instance, self._job(instance, point)) for instance in search.instances]
        except ValueError as error:
            trials.fail(trial, f"{as_keys(error)}.")
            print(f"Trial {trial.number} can't be meant ({told}): {as_keys(error)}.")
            return
        values: dict[int, float] = {}
        is_given_up, failure = False, None
        waiting, running = iter(jobs), dict[Future, tuple[Instance, Job]]()
        while True:
            while len(running) < self.engine.at_once and not (is_given_up or failure):
                if (one := next(waiting, None)) is None:
                    break
                running[self.engine.submit(do_with_patience, one[1])] = one
            if not running:
                break
            for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                instance, job = running.pop(future)
                if not job.is_done:
                    failure = failure or f"{job}: {job.failure or future.exception()}"
                    continue
                zero, one_ = scales[instance.comparison.folder]
                found = read_json(job.folder / RESULT)["mean_return"]
                values[instance.number] = (found - zero) / (one_ - zero)
                trial.report(values[instance.number], instance.number)
                is_given_up = is_given_up or trial.should_prune()
        seconds = time.monotonic() - start
        if failure is not None:
            trials.fail(trial, failure)
            print(f"Trial {trial.number} failed ({told}): {failure}")
            return
        value, is_given_up = fmean(values.values()), len(values) < len(jobs)
        trials.tell(trial, value, is_given_up)
        given_up = f", given up after {len(values)} of {len(jobs)} runs" if is_given_up else ""
        best = trials.best
        is_best = f"; the best is trial {best.number}, {best.value:.4g}" if best else ""
        print(f"Trial {trial.number}: {value:.4g}{given_up} ({told}), {seconds:.0f} s{is_best}.")

    def _job(self, instance: Instance, point: dict) -> Job:
        settings, method = instance.comparison.settings, self.search.settings.method
        given = {**self.search.fixed(instance.comparison), **point}
        changes, _ = changes_at(settings, method, given)
        return Job("run_cell", settings, Cell(method, self.search.labels, instance.seed, changes))


def _one_at_a_time(path: Path) -> AbstractContextManager:
    """A lock, which may be another command's for hours."""
    lock = filelock.FileLock(path)
    try:
        return lock.acquire(timeout=1)
    except filelock.Timeout:
        note("Another command is making what all trials need; this one waits for it.")
        return lock.acquire()


def _as_completed(futures: Sequence[Future]) -> Iterator[Future]:
    """As of `concurrent.futures`, and to be interrupted on every system."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
        yield from done
