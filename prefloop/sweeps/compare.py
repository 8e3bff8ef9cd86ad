"""Every method on the same labels: what is to be run, on all cores, and what came of it."""

import importlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from prefloop.errors import UserError
from prefloop.files import claimed_directory, read_json, write_csv, write_json
from prefloop.sweeps.page import write_page
from prefloop.sweeps.settings import LABELLED, CompareSettings

SETTINGS, RESULT = "compare.json", "result.json"
MAY_DIFFER = ("methods", "labels", "seeds", "out", "processes", "device")


class Cell(NamedTuple):
    """One run: a method, how many labels it gets (0 if it uses none), and a seed."""

    method: str
    labels: int
    seed: int

    @property
    def folder(self) -> Path:
        """Where it stands in the comparison's folder."""
        return Path("runs") / self.method / f"labels-{self.labels}" / f"seed-{self.seed}"


def cells(settings: CompareSettings) -> list[Cell]:
    """All runs of a comparison."""
    return [
        Cell(method, labels, seed)
        for method in dict.fromkeys(settings.methods)
        for labels in (sorted(set(settings.labels)) if method in LABELLED else [0])
        for seed in settings.seed_numbers
    ]


def compare(settings: CompareSettings) -> None:
    """Runs what is missing, then writes results.csv, the table, the plots and the page.

    Raises:
        UserError: the folder holds a comparison of another kind, or a run could not be done.
    """
    with claimed_directory(Path(settings.out)) as directory:
        _remember(settings, directory)
        wanted = cells(settings)
        missing = [cell for cell in wanted if not (directory / cell.folder / RESULT).exists()]
        seeds = [
            seed for seed in settings.seed_numbers if any(cell.seed == seed for cell in missing)
        ]
        if len(missing) < len(wanted):
            print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are there already.")
        start = time.monotonic()
        failures = [
            *_in_parallel(
                "prepare", [(settings, seed) for seed in seeds], "demonstrators", settings
            )
        ]
        if not failures:
            jobs = [(settings, cell) for cell in _longest_first(missing)]
            failures += _in_parallel("run_cell", jobs, "runs", settings)
        if failures:
            raise UserError(
                f"{len(failures)} runs could not be done, the first because: {failures[0]} "
                "What is done stays; the same command tries the others again."
            )
        rows = [read_json(directory / cell.folder / RESULT) for cell in wanted]
        write_csv(directory / "results.csv", rows)
        table = write_page(directory, settings, rows)
    print(table)
    if missing:
        print(f"{len(missing)} runs in {time.monotonic() - start:.0f} s.")
    print(
        f"Wrote {directory / 'results.csv'}, and {directory / 'index.html'} with plots to look at."
    )


def _remember(settings: CompareSettings, directory: Path) -> None:
    """Writes what the comparison is of, or refuses to mix it with another."""
    file = directory / SETTINGS
    now = json.loads(json.dumps(asdict(settings)))
    if file.exists():
        before = read_json(file).get("settings", {})
        for name in now.keys() - set(MAY_DIFFER):
            if before.get(name) != now[name]:
                raise UserError(
                    f"{directory} holds a comparison with {name} {before.get(name)!r}, not "
                    f"{now[name]!r}; choose another --out."
                )
    elif any(path.name != ".lock" for path in directory.iterdir()):
        raise UserError(
            f"{directory} holds something else than a comparison; choose another --out."
        )
    write_json(file, {"program": "prefloop compare", "settings": now})


def _longest_first(missing: Sequence[Cell]) -> list[Cell]:
    """So that no core is left alone with a long run at the end."""
    quick = ("dpo", "bc")
    return sorted(missing, key=lambda cell: (cell.method in quick, -cell.labels))


def _in_parallel(
    function: str, jobs: Sequence[tuple[Any, ...]], unit: str, settings: CompareSettings
) -> Iterator[str]:
    """Does jobs in processes of their own; yields why those that failed did.

    Args:
        function: its name in `prefloop.sweeps.cells`, which this process need not import.
        jobs: its arguments.
    """
    if not jobs:
        return
    num_processes = min(settings.processes or os.cpu_count() or 1, len(jobs))
    # a fork of a process with threads may hang, and Windows has none
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, initializer=_begin_worker)
    futures = [pool.submit(_call, function, job) for job in jobs]
    try:
        for future in tqdm(
            as_completed(futures), total=len(futures), unit=f" {unit}", disable=None
        ):
            if message := _failure(future):
                yield message
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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


def _call(function: str, arguments: Iterable[Any]) -> None:
    getattr(importlib.import_module("prefloop.sweeps.cells"), function)(*arguments)
