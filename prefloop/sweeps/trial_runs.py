"""The runs of a trial, and what they come to; who draws its settings is another's affair."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock

from prefloop.errors import UserError, note
from prefloop.evaluation.statistics import interquartile_mean
from prefloop.files import read_json, write_atomically, write_json
from prefloop.sweeps.cells import Cell
from prefloop.sweeps.changes import changes_at
from prefloop.sweeps.engines import Engine, make_engine
from prefloop.sweeps.jobs import Job, do_with_patience
from prefloop.sweeps.methods import REFERENCES
from prefloop.sweeps.remembering import remember
from prefloop.sweeps.results import Part, collect, grouped
from prefloop.sweeps.search_file import COPY, SCORE, Instance, Search
from prefloop.sweeps.settings import RESULT

PREPARING = ".preparing.lock"
READY = "ready.json"  # in it, once that is done which all trials need


def require_own_folder(search: Search) -> None:
    """Refuses a folder that holds something else.

    Raises:
        UserError: it does.
    """
    root = search.root
    # looked at before the copy is, which another command may write just now under a name with a dot
    there = [p for p in root.iterdir() if not p.name.startswith(".")] if root.is_dir() else []
    if there and not (root / COPY).exists():
        raise UserError(f"{root} holds something else than a search; choose another --out.")


def open_folder(search: Search) -> None:
    """Makes the search's folder, if nobody has, with the file as it was at first."""
    search.root.mkdir(parents=True, exist_ok=True)
    copy = search.root / COPY
    if not copy.exists():
        write_atomically(copy, search.file.read_bytes())


def engine_of(search: Search, processes: int | None) -> Engine:
    """The engine that does the runs.

    Args:
        processes: of this machine, in place of what the file says.
    """
    at_once = search.study.processes if processes is None else processes
    most = min(at_once or os.cpu_count() or 1, len(search.instances))
    engine = make_engine(search.study.engine, search.root, most)
    assert not engine.is_queue  # which `read_search` refuses
    return engine


def jobs_of(search: Search, point: Mapping[str, Any]) -> list[tuple[Instance, Job]]:
    """The runs of a trial.

    Args:
        point: its settings, by flag.

    Raises:
        ValueError: the method refuses them; names flags.
    """
    method, found = search.settings.method, []
    for instance in search.instances:
        settings = instance.comparison.settings
        given = {**search.fixed(instance.comparison), **point}
        changes, _ = changes_at(settings, method, given)
        cell = Cell(method, search.labels, instance.seed, changes)
        found.append((instance, Job("run_cell", settings, cell)))
    return found


class TrialRuns:
    """The runs of all trials of a search, done by one engine."""

    def __init__(self, search: Search, engine: Engine) -> None:
        """Makes, once for all who take part, what all trials need: demonstrators, and the ends of a score.

        Raises:
            UserError: it can't be done.
        """
        self._search, self._engine = search, engine
        self._prepare()
        self._scales = self._found_scales()

    def _prepare(self) -> None:
        search = self._search
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
        for _ in _as_completed([self._engine.submit(do_with_patience, job) for job in jobs]):
            pass
        for job in jobs:
            if job.failure is not None or not job.is_done:
                raise UserError(f"{job}: {job.failure or 'nothing came of it.'}")

    def _found_scales(self) -> dict[Path, tuple[float, float]]:
        """Returns that a value of 0 and of 1 stand for, by the comparison's folder."""
        search = self._search
        if search.settings.maximise != SCORE:
            return {c.folder: (0.0, 1.0) for c in search.study.comparisons}
        found = {}
        for part in collect(search.root).parts:
            zero, one = part.zero, _reached(part, without=search.settings.method)
            if zero is None or one is None or one <= zero:
                raise UserError(
                    f"There are no scores in {part.task}: what is to be a score of 1 does no better than chance."
                )
            found[part.comparison.folder] = (zero, one)
        return found

    def values(
        self,
        jobs: Sequence[tuple[Instance, Job]],
        has_enough: Callable[[int, float], bool] = lambda number, value: False,
    ) -> dict[int, float]:
        """Has runs of a trial done.

        Args:
            has_enough: told the number and the value of each run that is done, whether the rest may be left out;
                what it says of the last one counts.

        Returns:
            The values of those that were done, by the numbers of their instances.

        Raises:
            UserError: one could not be done.
        """
        values: dict[int, float] = {}
        is_enough, failure = False, None
        waiting, running = iter(jobs), dict[Future, tuple[Instance, Job]]()
        while True:
            while len(running) < self._engine.at_once and not (is_enough or failure):
                if (pair := next(waiting, None)) is None:
                    break
                running[self._engine.submit(do_with_patience, pair[1])] = pair
            if not running:
                break
            for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                instance, job = running.pop(future)
                if not job.is_done:
                    failure = failure or f"{job}: {job.failure or future.exception()}"
                    continue
                zero, top = self._scales[instance.comparison.folder]
                mean_return = read_json(job.folder / RESULT)["mean_return"]
                values[instance.number] = (mean_return - zero) / (top - zero)
                # whatever was said before: runs under way may make up for it
                is_enough = has_enough(instance.number, values[instance.number])
        if failure is not None:
            raise UserError(failure)
        return values


def _reached(part: Part, without: str) -> float | None:
    """The return that our own agent on the true reward reaches, with the best of its settings.

    Args:
        without: the method that is searched. A trial with the usual settings is a run of the comparison, too, and
            the scale would be another one after it.
    """
    runs = [
        (folder.parent, row["mean_return"])
        for folder, row in zip(part.folders, part.rows, strict=True)
        if row["method"] in REFERENCES and row["method"] != without
    ]
    by_settings = grouped(runs, lambda one: one[0]).values()
    means = (float(interquartile_mean([value for _, value in same])) for same in by_settings)
    return max(means, default=None)


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
