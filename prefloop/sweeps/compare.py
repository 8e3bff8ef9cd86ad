"""Every method on the same labels: what is to be run, on all cores, and what came of it."""

import importlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefloop.agents.settings import PPOSettings
from prefloop.envs.make import make_env
from prefloop.envs.registered import time_limit
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.files import LOCK, claimed_directory, read_json, write_csv, write_json
from prefloop.progress import progress
from prefloop.runs import difference
from prefloop.settings import as_flat, meant_by_default
from prefloop.sweeps.cells import Cell, cells
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.page import write_page
from prefloop.sweeps.settings import (
    DEMONSTRATORS,
    RESULT,
    CompareSettings,
    settings_by_method,
    tuned_flags,
    with_shared,
)
from prefloop.training.plans import Plan, plan_labels

SETTINGS = "compare.json"
OWN = "by_method"  # in it: all settings of methods that have their own, and of the demonstrators
MAY_GROW = ("methods", "labels", "seeds")
MAY_DIFFER = (*MAY_GROW, "out", "processes", "device")


def compare(settings: CompareSettings) -> None:
    """Runs what is missing, then writes results.csv, the table, the plots and the page.

    They are about all runs that the folder holds, those of earlier commands included.

    Raises:
        UserError: the folder holds a comparison of another kind, or something can't be done at all
            (nothing is written); or some runs could not be done (all others are).
    """
    _check(settings)
    _say_what_is_tuned(settings)
    with claimed_directory(Path(settings.out)) as directory:
        everything = _remember(settings, directory)
        wanted = cells(settings)
        missing = [cell for cell in wanted if not (directory / cell.folder / RESULT).exists()]
        if len(missing) < len(wanted):
            print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are there already.")
        start = time.monotonic()
        shown = [cell for cell in missing if METHODS[cell.method].has_demonstrators]
        seeds = sorted({cell.seed for cell in shown})
        unprepared = _in_parallel("prepare", seeds, "demonstrators", settings)
        ready = [c for c in missing if c not in shown or c.seed not in unprepared]
        failed = _in_parallel("run_cell", _longest_first(ready), "runs", settings)
        rows = [
            read_json(directory / cell.folder / RESULT)
            for cell in cells(everything)
            if (directory / cell.folder / RESULT).exists()
        ]
        if rows:
            write_csv(directory / "results.csv", rows)
            print(write_page(directory, everything, rows))
    if missing:
        done = len(ready) - len(failed)
        print(f"{done} runs in {time.monotonic() - start:.0f} s.")
    if rows:
        print(
            f"Wrote {directory / 'results.csv'}, and {directory / 'index.html'} with plots to look "
            "at."
        )
    if unprepared or failed:
        raise UserError(_what_failed(len(missing), len(ready), unprepared, failed))


def _say_what_is_tuned(settings: CompareSettings) -> None:
    by_flags: dict[str, list[str]] = {}
    for name, flags in tuned_flags(settings).items():
        shown = ", ".join(f"{flag} {value}" for flag, value in flags.items())
        by_flags.setdefault(shown, []).append(name)
    for shown, names in by_flags.items():
        print(
            f"Settings for {settings.environment}, of {', '.join(names)}: {shown}; --untuned leaves them out."
        )


def _check(settings: CompareSettings) -> None:
    """Refuses what no run could do, before any is begun."""
    spaces_of(make_env(settings.environment))
    limit = time_limit(settings.environment)
    for method in settings.methods:
        asks = METHODS[method].asks
        if asks is None:
            continue
        for labels in settings.labels:
            own = with_shared(asks, settings, labels)
            plan = Plan.of(own.experience.divided)
            plan_labels(own.questions, plan, limit, own.exploration_iterations)


def _what_failed(
    num_missing: int, num_ready: int, unprepared: dict[Any, str], failed: dict[Any, str]
) -> str:
    num_failed = num_missing - num_ready + len(failed)
    if unprepared:
        seed, reason = next(iter(unprepared.items()))
        first = f"the demonstrators of seed {seed}"
    else:
        cell, reason = next(iter(failed.items()))
        first = f"{cell.method} with {cell.labels} labels, seed {cell.seed}"
    return (
        f"{num_failed} of {num_missing} runs could not be done. The first, {first}: {reason} "
        "What is done stays; the same command tries the others again."
    )


def _remember(settings: CompareSettings, directory: Path) -> CompareSettings:
    """Writes what the comparison is of, or refuses to mix it with another.

    Returns:
        The settings, with methods, budgets and seeds of earlier commands.
    """
    file, own = directory / SETTINGS, _as_json(settings_by_method(settings))
    if file.exists():
        there = read_json(file)
        before = there.get("settings", {})
        other = difference(before, as_flat(settings), MAY_DIFFER, meant_by_default(CompareSettings))
        if other is not None:
            raise UserError(f"{directory} holds a comparison with {other}; choose another --out.")
        try:
            grown: dict[str, Any] = {
                name: (*before[name], *getattr(settings, name)) for name in MAY_GROW
            }
            settings = replace(settings, **grown).without_repeats
            # earlier versions wrote nothing down, and had plain demonstrators
            own_before = dict(there.get(OWN, {}))
            if any(METHODS[name].has_demonstrators for name in before["methods"]):
                own_before.setdefault(DEMONSTRATORS, _as_json(as_flat(PPOSettings())))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{file} is damaged; choose another --out.") from None
        done = {*before["methods"], *own_before}
        changed = [name for name in own if name in done and own[name] != own_before.get(name)]
        if changed:
            raise UserError(
                f"{directory} holds a comparison in which {', '.join(changed)} had other settings, by an "
                "earlier version of the program; choose another --out."
            )
        own = {**own_before, **own}
    elif any(path.name != LOCK for path in directory.iterdir()):
        raise UserError(
            f"{directory} holds something else than a comparison; choose another --out."
        )
    facts = {"program": "prefloop compare", "settings": as_flat(settings), OWN: own}
    write_json(file, facts)
    return settings


def _as_json(value: Any) -> Any:
    """As it is read back."""
    return json.loads(json.dumps(value))


def _longest_first(missing: Sequence[Cell]) -> list[Cell]:
    """So that no core is left alone with a long run at the end."""
    return sorted(missing, key=lambda cell: (METHODS[cell.method].is_quick, -cell.labels))


def _in_parallel(
    function: str, jobs: Sequence[Any], unit: str, settings: CompareSettings
) -> dict[Any, str]:
    """Does jobs in processes of their own.

    Args:
        function: its name in `prefloop.sweeps.cells`, which this process need not import.
        jobs: what it is given besides the settings.

    Returns:
        Why those that failed did, in the order of the jobs.
    """
    if not jobs:
        return {}
    num_processes = min(settings.processes or os.cpu_count() or 1, len(jobs))
    # a fork of a process with threads may hang, and Windows has none
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, initializer=_begin_worker)
    # Ctrl-C reaches workers, too, which are to be deaf to it until they know what to do
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        futures = {pool.submit(_call, function, settings, job): job for job in jobs}
    finally:
        signal.signal(signal.SIGINT, before)
    failures = {}
    try:
        with progress(len(futures), unit) as bar:
            for future in as_completed(futures):
                if message := _failure(future):
                    failures[futures[future]] = message
                bar.update()
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {job: failures[job] for job in jobs if job in failures}


def _failure(future: Future) -> str | None:
    try:
        future.result()
    except UserError as error:
        return str(error)
    except BrokenProcessPool:
        return "A process was killed; is there enough memory?"
    return None


def _begin_worker() -> None:
    # Ctrl-C ends a worker without a word: the parent says what there is to say
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()

    def end_with_parent() -> None:
        # a parent that was killed could not tell its workers
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _call(function: str, settings: CompareSettings, job: Any) -> None:
    getattr(importlib.import_module("prefloop.sweeps.running"), function)(settings, job)
