"""Every method on the same labels: what is to be run, by whichever engine, and what came of it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from prefloop.devices import usable_device
from prefloop.envs.make import make_env
from prefloop.envs.registered import note_no_time_limit, time_limit
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError, note
from prefloop.files import LOCK, claimed_directory, is_file, sha256, write_atomically
from prefloop.sweeps.cells import Comparison
from prefloop.sweeps.coordinating import Running, at_random, do_all
from prefloop.sweeps.engine_settings import EngineSettings
from prefloop.sweeps.engines import require_installed
from prefloop.sweeps.jobs import Job, why_not
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.planning import say_what_there_is
from prefloop.sweeps.remembering import remember
from prefloop.sweeps.report import report
from prefloop.sweeps.settings import (
    RESULT,
    STUDY,
    CompareSettings,
    StudySettings,
    run_settings,
    tuned_flags,
)
from prefloop.sweeps.study import read_study
from prefloop.training.plans import Plan, plan_labels
from prefloop.words import counted

MOST_TOLD = 10  # runs that could not be done, on the terminal


def compare(settings: CompareSettings) -> None:
    """One comparison in a folder of its own, as `run`."""
    running = Running(settings.processes, settings.dry_run, settings.retry_failed)
    run([Comparison(settings)], Path(settings.out), running)


def run(
    comparisons: Sequence[Comparison], root: Path, running: Running, study: bytes | None = None
) -> None:
    """Runs what is missing, then writes results, tables, plots and the page.

    They are about all runs that the folder holds, those of earlier commands included.

    Args:
        root: the folder that the comparisons' own stand in, or that of the only one.
        study: the file that they are of, which the folder keeps.

    Raises:
        UserError: the folder holds a comparison of another kind, or something can't be done at all
            (nothing is written); or some runs could not be done (all others are).
    """
    for comparison in comparisons:
        check(comparison, running.engine)
        _say_what_is_tuned(comparison.settings)
    if running.dry_run:
        say_what_there_is(comparisons, running.processes or os.cpu_count() or 1)
        return
    require_installed(running.engine)
    with claimed_directory(root):
        if study is not None:
            write_atomically(root / STUDY, study)
        for comparison in comparisons:
            remember(comparison)
        wanted = [Job("run_cell", c.settings, cell) for c in comparisons for cell in c.cells]
        missing = [job for job in wanted if not (job.folder / RESULT).exists()]
        if len(missing) < len(wanted):
            print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are there already.")
        start = time.monotonic()
        do_all(comparisons, missing, running, root)
        undone = [job for job in missing if not (job.folder / RESULT).exists()]
        if missing:
            done = len(missing) - len(undone)
            print(f"{counted(done, 'run')} in {time.monotonic() - start:.0f} s.")
        table = report(root)
    if table is not None:
        print(table)
        print(f"Wrote {root / 'results.csv'}, and {root / 'index.html'} with plots to look at.")
    failed = [job for job in undone if why_not(job)[1] is not None]
    if failed:
        raise UserError(_what_failed(len(missing), failed, has_page=table is not None))
    for job in at_random(comparisons):
        if job.failure is not None:
            raise UserError(
                f"Could not be done: {job}, by which scores are told: {job.failure} What is done stays; the same command with "
                "--retry_failed tries it again."
            )


def run_study(given: StudySettings, retry_failed: bool = False) -> None:
    """A study's comparisons, each in a folder of its own, as `run`.

    Args:
        given: the study, and how it is run.
        retry_failed: try again what could not be done before, too.

    Raises:
        UserError: as `read_study` and `run`.
    """
    file = given.file
    fingerprint = sha256(file)
    study = read_study(given)
    root = Path(study.out)
    copy = root / STUDY
    at_once = study.processes if given.processes is None else given.processes
    running = Running(at_once, given.dry_run, retry_failed, study.engine)
    if not copy.exists() and root.is_dir() and any(p.name != LOCK for p in root.iterdir()):
        raise UserError(f"{root} holds something else than a study; choose another --out.")
    text = file.read_bytes()
    try:
        run(study.comparisons, root, running, text)
    finally:
        if not is_file(file) or sha256(file) != fingerprint:
            note(
                f"{file} was changed meanwhile. What was run is what it said at the start ({copy}); the same "
                "command does what is new."
            )


def check(comparison: Comparison, engine: EngineSettings | None = None) -> None:
    """Refuses what no run could do, before any is begun.

    Args:
        engine: who does them, if that is known; which devices there are is known of this machine alone.

    Raises:
        UserError: the environment or the device can't be used, or a method's labels have no place in its run.
    """
    settings = comparison.settings
    if engine is not None and engine.kind.is_here:
        usable_device(settings.device)
    spaces_of(make_env(settings.environment))
    limit = time_limit(settings.environment)
    note_no_time_limit(settings.environment)
    for method in settings.methods:
        if not METHODS[method].asks:
            continue
        for changes in comparison.changes.get(method, [()]):
            for labels in settings.labels:
                own = run_settings(method, settings, labels, changes)
                plan = Plan.of(own.experience.divided)
                plan_labels(own.questions, plan, limit, own.exploration_iterations)


def _say_what_is_tuned(settings: CompareSettings) -> None:
    by_flags: dict[str, list[str]] = {}
    for name, flags in tuned_flags(settings).items():
        shown = ", ".join(f"{flag} {value}" for flag, value in flags.items())
        by_flags.setdefault(shown, []).append(name)
    for shown, names in by_flags.items():
        print(
            f"Settings for {settings.environment}, of {', '.join(names)}: {shown}; --untuned leaves them out."
        )


def _what_failed(num_missing: int, undone: Sequence[Job], has_page: bool) -> str:
    """Says of each run why there is none, and returns it of the first."""
    told = []
    for failed, reason in map(why_not, undone):
        log = f" ({failed.log})" if failed.log.exists() else ""
        told.append(f"{failed}{log}: {reason}")
    lines = list(dict.fromkeys(told))
    for line in lines[:MOST_TOLD]:
        print(f"Could not be done: {line}")
    if len(lines) > MOST_TOLD:
        print(f"And {len(lines) - MOST_TOLD} more{', which the page names' if has_page else ''}.")
    return (
        f"{len(undone)} of {counted(num_missing, 'run')} could not be done. The first, {told[0]} "
        "What is done stays; the same command with --retry_failed tries the others again."
    )
