"""Hands jobs to an engine in their order, and keeps why each failed that did."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from prefloop.errors import UserError
from prefloop.files import read_json, write_json
from prefloop.progress import progress
from prefloop.sweeps.cells import Cell, Comparison
from prefloop.sweeps.engine_settings import EngineSettings
from prefloop.sweeps.engines import Engine, Queue, make_engine
from prefloop.sweeps.jobs import Job, do, do_with_patience
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import RESULT

MAX_QUEUED = 100_000_000  # bytes of it
QUEUED = "queued.json"  # in the folder: what was handed to a queue, by the job's folder


@dataclass(frozen=True)
class Running:
    """How it is run, on which no result depends.

    Attributes:
        processes: how many runs at once on this machine; 0 for one per core.
        dry_run: only say what there is to run.
        retry_failed: try again what could not be done before.
        engine: who does it.
    """

    processes: int = 0
    dry_run: bool = False
    retry_failed: bool = False
    engine: EngineSettings = field(default_factory=EngineSettings)


def at_random(comparisons: Iterable[Comparison]) -> list[Job]:
    """Jobs that measure returns of actions at random, where scores are 0: one for each comparison and seed."""
    return [
        Job("play_at_random", comparison.settings, seed)
        for comparison in comparisons
        for seed in comparison.settings.seed_numbers
    ]


def do_all(
    comparisons: Iterable[Comparison], missing: Sequence[Job], running: Running, root: Path
) -> None:
    """Does what is missing, and what has to come before; what fails stops nothing else.

    A queue takes it all, and this returns before it is done.

    Args:
        root: the folder of it all.
    """
    tried = {job for job in missing if job.failure is not None and not running.retry_failed}
    then: dict[Job, list[Job]] = {}  # what comes after a seed's demonstrators
    at_once = []
    for job in _longest_first(job for job in missing if job not in tried):
        assert isinstance(job.what, Cell)
        if METHODS[job.what.method].has_demonstrators:
            then.setdefault(Job("prepare", job.settings, job.what.seed), []).append(job)
        else:
            at_once.append(job)
    lost = [job for job in then if job.failure is not None and not running.retry_failed]
    for job in lost:
        del then[job]
    measures = [
        job
        for job in at_random(comparisons)
        if not (job.folder / RESULT).exists() and (job.failure is None or running.retry_failed)
    ]
    if not (then or at_once or measures):
        return
    first = [*then, *at_once, *measures]
    if running.retry_failed:
        for job in (*first, *(one for after in then.values() for one in after)):
            job.forget_failure()
    num_jobs = sum(map(len, then.values())) + len(first)
    processes = min(running.processes or os.cpu_count() or 1, num_jobs)
    with make_engine(running.engine, root, processes) as engine:
        if engine.is_queue:
            leave(engine, first, then, root)
        else:
            _follow(engine, first, then, num_jobs)


def leave(queue: Queue, first: Sequence[Job], then: dict[Job, list[Job]], root: Path) -> None:
    """Looks after what a queue was given before, and gives it what it was not.

    Args:
        first, then: what is to be done, and what may begin when one of those is over.
        root: the folder in which it is kept what was given.
    """
    file = root / QUEUED
    given: dict[str, str] = read_json(file, MAX_QUEUED) if file.exists() else {}
    states, counts = queue.states(), {"waits": 0, "runs": 0, "failed": 0}
    queued: dict[Job, str] = {}
    for job in (*first, *(one for after in then.values() for one in after)):
        number = given.pop(_name(job, root), None)
        if number is None:
            continue
        state = states.get(number)
        if state is not None:
            queued[job] = number
            counts["runs" if state == "RUNNING" else "waits"] += 1
        elif job.failure is None and not job.is_done:
            log = queue.log_of(number)
            says = (
                "may say why"
                if log.exists()
                else "is not there: it never began, or not all machines share the folder"
            )
            job.failed(f"Its job {number} ended without a word; {log} {says}.")
        counts["failed"] += state is None and not job.is_done
    # demonstrators are looked after again only for runs that are yet to be given
    over = {
        job
        for job, after in then.items()
        if all(one in queued or one.failure is not None for one in after)
    }
    new = [job for job in first if job not in {*queued, *over} and job.failure is None]

    def give(jobs: Sequence[Job], after: Sequence[str] = ()) -> dict[Job, str]:
        numbers: dict[Job, str] = {}
        # with what this command is not about: another one is, and must not give it twice
        waiting = {name: number for name, number in given.items() if number in states}
        for i in range(0, max(len(jobs), 1), queue.most):
            some = jobs[i : i + queue.most]
            # patiently: whoever was killed before what was given was noted has it given twice
            numbers |= zip(some, queue.submit(do_with_patience, some, after), strict=True)
            queued.update(numbers)
            write_json(file, waiting | {_name(job, root): n for job, n in queued.items()})
        return numbers

    numbers = give(new)
    later = [
        one
        for job, after in then.items()
        if job in queued
        for one in after
        if one not in queued and one.failure is None
    ]
    numbers |= give(later, [queued[job] for job in then if job in queued])
    print(
        f"The queue was given {len(numbers)} jobs; of earlier ones {counts['waits']} wait, {counts['runs']} run, "
        f"{counts['failed']} ended without a result. The same command collects what is done."
    )


def _name(job: Job, root: Path) -> str:
    """The name that a job is kept under in `QUEUED`; one that makes fewer pairs is another, which runs of more labels can't follow."""
    place = job.folder.relative_to(root).as_posix()
    return f"{place}, {max(job.settings.labels)} labels" if job.function == "prepare" else place


def _follow(engine: Engine, first: Sequence[Job], then: dict[Job, list[Job]], total: int) -> None:
    """Hands jobs to an engine, and others as soon as what they wait for is done."""
    ended: SimpleQueue[tuple[Job, Future]] = SimpleQueue()

    def submit(job: Job) -> None:
        engine.submit(do, job).add_done_callback(lambda future: ended.put((job, future)))

    for job in first:
        submit(job)
    with progress(total, "jobs", elsewhere=True) as bar:
        left = total
        while left:
            try:
                job, future = ended.get(timeout=1)
            except Empty:
                continue
            after, error = then.get(job, []), future.exception()
            if error is None and not job.is_done:
                error = UserError(
                    f"It was done, but nothing came to {job.folder}; do all machines share it?"
                )
            if error is None:
                for one in after:
                    submit(one)
            else:
                if job.failure is None:  # it could not say so itself
                    job.failed(str(error))
                left -= len(after)
                bar.update(units=len(after))
            left -= 1
            bar.update()


def _longest_first(missing: Iterable[Job]) -> list[Job]:
    """So that no core is left alone with a long run at the end."""

    def length(job: Job) -> tuple[bool, int, int]:
        assert isinstance(job.what, Cell)
        return METHODS[job.what.method].is_quick, -job.settings.steps, -job.what.labels

    return sorted(missing, key=length)
