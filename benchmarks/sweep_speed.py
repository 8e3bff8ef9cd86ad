"""Sweeps: what an engine costs, how well two cores are used, and what 10,000 cells are on the disk.

    python benchmarks/sweep_speed.py naps --engine local     (or slurm, on the cluster that there is; or ray)
    python benchmarks/sweep_speed.py cartpole
    python benchmarks/sweep_speed.py metadata --cells 10000

naps: seconds for 24 jobs that sleep for one, on two processes, the engine's start included. cartpole: how long
a run of PPO takes where eight are run, two at a time, against one at a time: 100 % is as long. metadata:
a study of so many cells that do nothing, each through this machine's engine. The load that other programs make is
printed with each: figures of a busy machine are too high.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from pathlib import Path
from statistics import fmean
from typing import Any

from prefloop.envs.settings import EnvSettings
from prefloop.files import read_json, write_json
from prefloop.sweeps import remembering
from prefloop.sweeps.cells import Cell, Comparison
from prefloop.sweeps.engine_settings import ENGINES, EngineSettings
from prefloop.sweeps.engines import ThisMachine, make_engine
from prefloop.sweeps.jobs import Job, do
from prefloop.sweeps.planning import say_what_there_is
from prefloop.sweeps.settings import RESULT, CompareSettings

NAPS, NUM_PROCESSES = 24, 2
STEPS = 50_000
PROCESSOR = "processor.json"


def nap(seconds: float) -> None:
    """A cell that takes so long."""
    time.sleep(seconds)


def naps(engine: str, root: Path) -> float:
    """Seconds for all of them."""
    start = time.monotonic()
    settings = EngineSettings(engine=engine)
    with make_engine(settings, root, NUM_PROCESSES) as workers:
        if workers.is_queue:
            given = set(workers.submit(nap, [1.0] * NAPS))
            while given & set(workers.states()):
                time.sleep(0.2)
        else:
            wait([workers.submit(nap, 1.0) for _ in range(NAPS)])
    return time.monotonic() - start


def do_timed(job: Job) -> None:
    """Does it, and notes its seconds of processor time: a clock counts what other programs take, too."""
    start = time.process_time()
    do(job)
    write_json(job.folder / PROCESSOR, {"seconds": time.process_time() - start})


def cartpole(root: Path) -> tuple[list[Any], list[Any]]:
    """Seconds by the clock and of processor time: of runs one after the other, and two at a time."""
    settings = CompareSettings(
        environment=EnvSettings(env="CartPole-v1"),
        methods=("true-reward",),
        labels=(5,),
        seeds=("0-11",),
        steps=STEPS,
        demonstrator_steps=8000,
        episodes=4,
        evaluation_episodes=4,
        out=str(root),
    )
    jobs = [Job("run_cell", settings, Cell("true-reward", 0, seed)) for seed in range(12)]
    prepared = [Job("prepare", settings, seed) for seed in range(12)]
    with ThisMachine(NUM_PROCESSES) as workers:
        wait([workers.submit(do, job) for job in prepared])
    with ThisMachine(1) as workers:
        wait([workers.submit(do_timed, job) for job in jobs[:4]])
    with ThisMachine(NUM_PROCESSES) as workers:
        wait([workers.submit(do_timed, job) for job in jobs[4:]])
    seconds = [
        [float(read_json(job.folder / name)["seconds"]) for name in (RESULT, PROCESSOR)]
        for job in jobs
    ]
    return seconds[1:4], seconds[6:]  # without those that began with importing PyTorch


def nothing(job: Job) -> None:
    """A cell that is done."""
    assert isinstance(job.what, Cell)
    job.folder.mkdir(parents=True, exist_ok=True)
    row = {"method": job.what.method, "labels": 0, "seed": job.what.seed, "mean_return": 1.0}
    shown = dict.fromkeys(("low", "high", "strong_return", "weak_return", "weak_high"), 1.0)
    write_json(job.folder / RESULT, {**row, **shown, "seconds": 0.0})


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds by the clock, and what it gives."""
    start = time.monotonic()
    found = function()
    return time.monotonic() - start, found


def metadata(num: int, root: Path) -> dict[str, float]:
    """What a study of so many cells costs beside its cells."""
    from prefloop.sweeps.results import collect  # not for workers, which read this file, too

    settings = CompareSettings(
        environment=EnvSettings(env="CartPole-v1"),
        methods=("constant",),
        labels=(5,),
        seeds=(f"0-{num - 1}",),
        out=str(root),
    )
    comparison, found = Comparison(settings), {}
    found["dry run of nothing done, seconds"], _ = timed(lambda: say_what_there_is([comparison], 1))
    remembering.remember(comparison)
    jobs = [Job("run_cell", settings, cell) for cell in comparison.cells]

    def run() -> None:
        with ThisMachine(NUM_PROCESSES) as workers:
            wait([workers.submit(nothing, job) for job in jobs])

    found["through the engine, seconds"], _ = timed(run)
    found["looking for what is done, seconds"], there = timed(lambda: sum(j.is_done for j in jobs))
    assert there == num
    found["dry run of all done, seconds"], _ = timed(lambda: say_what_there_is([comparison], 1))
    found["reading all results, seconds"], results = timed(lambda: collect(root))
    rows = [json.dumps(row) for row in results.rows]
    with sqlite3.connect(root / "rows.db") as database:
        database.execute("create table rows (row text)")
        database.executemany("insert into rows values (?)", [(row,) for row in rows])
        database.commit()
        found["reading them from SQLite, seconds"], _ = timed(
            lambda: [json.loads(row) for (row,) in database.execute("select row from rows")]
        )
    (root / "rows.db").unlink()
    files = [path for path in root.rglob("*") if path.is_file()]
    found["files"] = len(files)
    found["folders"] = sum(path.is_dir() for path in root.rglob("*"))
    found["most entries of a folder"] = max(
        len(list(path.iterdir())) for path in (root, *root.rglob("*")) if path.is_dir()
    )
    found["MB"] = sum(path.stat().st_size for path in files) / 1e6
    found["MB on the disk"] = sum(path.stat().st_blocks * 512 for path in files) / 1e6
    line = [sys.executable, "-c", "import prefloop.sweeps.running"]
    found["start of a cell in a process of its own, seconds"], _ = timed(
        lambda: subprocess.run(line, check=True)
    )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("naps", "cartpole", "metadata"))
    parser.add_argument("--engine", choices=ENGINES, default="local", help="of naps")
    parser.add_argument("--cells", type=int, default=10_000, help="of metadata")
    given = parser.parse_args(arguments)
    load = f"load before it {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        if given.what == "naps":
            print(
                f"{NAPS} naps of a second, {given.engine}: {naps(given.engine, root):.1f} s ({load})"
            )
        elif given.what == "cartpole":
            for way, alone, together in zip(
                ("by the clock", "of processor time"),
                *(map(fmean, zip(*runs, strict=True)) for runs in cartpole(root)),
                strict=True,
            ):
                print(
                    f"{STEPS} steps of PPO on CartPole, seconds {way}: {alone:.2f} alone, {together:.2f} two "
                    f"at a time: {alone / together:.0%} ({load})"
                )
        else:
            for name, value in metadata(given.cells, root).items():
                print(f"{name}: {value:.5g}")
            print(load)


if __name__ == "__main__":
    main()
