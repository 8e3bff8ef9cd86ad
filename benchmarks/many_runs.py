"""Many runs of one command, two at once, whose curves grow into one CSV.

A benchmark says which runs there are; this turns them. A run that was stopped goes on where it was, and
one that is done, by its folder or by the table, is not done again, so a long table grows over days: its
CSV is written after each run with all that there is.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefloop.evaluation.statistics import mean_estimate
from prefloop.files import read_csv, read_json, write_csv, write_json
from prefloop.run_files import METRICS, POLICY, STATE

CPU = "cpu_seconds.json"


@dataclass(frozen=True)
class Run:
    """One run of a table.

    Attributes:
        cell: what tells it from others in the table, by column; its seed among them.
        flags: of `prefloop`, the command first, without `--out`, `--seed` and `--resume`.
    """

    cell: dict[str, Any]
    flags: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join(str(value).replace("/", "_") for value in self.cell.values())


def options(description: str, seeds: str) -> argparse.ArgumentParser:
    """Flags that every table has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", default=seeds, help=f"for instance 0-2 or 5 (default: {seeds})")
    parser.add_argument(
        "--runs", type=Path, default=Path("benchmark_runs"), help="folder of the runs"
    )
    parser.add_argument("--at_once", type=int, default=2, help="runs side by side (default: 2)")
    return parser


def seeds_of(text: str) -> range:
    """`0-2` as 0, 1, 2."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def turn(runs: Sequence[Run], folder: Path, table: Path, at_once: int = 2) -> list[dict[str, Any]]:
    """Does what is left to do of some runs.

    Args:
        table: the CSV that their curves are merged into; what it holds of others stays.

    Returns:
        All rows of the table.
    """
    rows = _merged(runs, folder, table)
    left = [run for run in runs if not is_done(rows, run)]
    # threads only wait: each run is a process of its own
    with ThreadPoolExecutor(at_once) as pool:
        jobs = {pool.submit(_finish, run, folder / run.name): run for run in left}
        for job in as_completed(jobs):
            job.result()
            rows = _merged(runs, folder, table)
            print(f"{jobs[job].name}: {rows_of(rows, jobs[job])[-1]['true_return']}", flush=True)
    return rows


def is_done(rows: Sequence[dict[str, Any]], run: Run) -> bool:
    """Whether a table has all of a run, wherever it was done."""
    return any(row.get("cpu_seconds") for row in rows_of(rows, run))


def rows_of(rows: Sequence[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """Those of a table that are one run's."""
    return [row for row in rows if all(str(row[k]) == str(v) for k, v in run.cell.items())]


def summary(returns: Sequence[float]) -> str:
    """A mean with its interval, where there is one, and all that it is of."""
    mean = mean_estimate(np.array(returns))
    interval = f"{mean.low:.0f} to {mean.high:.0f}; " if len(returns) > 1 else ""
    return f"mean {mean.mean:.0f} ({interval}{' '.join(f'{x:.0f}' for x in returns)})"


def _finish(run: Run, out: Path) -> None:
    """Runs a run to its end; keeps how much computing it took, its processes together."""
    if (out / POLICY).exists():
        return
    line = [sys.executable, "-m", "prefloop", *run.flags, "--seed", str(run.cell["seed"])]
    line += ["--out", str(out), *(["--resume"] if (out / STATE).exists() else [])]
    out.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{out}.log").open("ab") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    spent = used.ru_utime + used.ru_stime
    if (out / CPU).exists():
        spent += read_json(out / CPU)["seconds"]
    if out.exists():
        write_json(out / CPU, {"seconds": spent})
    if code:
        raise SystemExit(f"{run.name} ended with {code}; see {out}.log")


def _merged(runs: Sequence[Run], folder: Path, table: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = list(read_csv(table)) if table.exists() else []
    for run in runs:
        metrics = folder / run.name / METRICS
        if not metrics.exists():
            continue
        known = rows_of(rows, run)
        rows = [row for row in rows if row not in known]
        curve: list[dict[str, Any]] = [{**run.cell, **row, **run.cell} for row in read_csv(metrics)]
        if (folder / run.name / POLICY).exists():
            used = folder / run.name / CPU  # nobody counted where this was killed at the run's end
            curve[-1]["cpu_seconds"] = (
                round(read_json(used)["seconds"]) if used.exists() else float("nan")
            )
        rows += curve
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        write_csv(table, [{name: row.get(name, "") for name in names} for row in rows])
    return rows
