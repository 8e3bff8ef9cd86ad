"""Who does the jobs: this machine, a SLURM cluster by submitit, or a Ray cluster.

Each is what `concurrent.futures` calls an executor, and no more: it takes a function and an argument and
gives a future. What waits, where it runs and what becomes of a node that fails is the engine's affair.
"""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from prefloop.errors import UserError
from prefloop.startup import import_optional
from prefloop.sweeps.engine_settings import EngineSettings
from prefloop.sweeps.jobs import KILLED


def make_engine(settings: EngineSettings, root: Path, processes: int) -> "Engine | Queue":
    """The engine that settings name, which begins in a `with`.

    Args:
        root: the folder of all that is run.
        processes: how many there may be at once, of this machine.

    Raises:
        UserError: its package is not here, or there is no such cluster.
    """
    return settings.kind.make(settings, root, processes)


def require_installed(settings: EngineSettings) -> None:
    """Refuses an engine whose package is not here.

    Raises:
        UserError: says how to install it.
    """
    if settings.kind.package:
        import_optional(f"--engine {settings.engine}", settings.engine, settings.kind.package)


class Engine(Protocol):
    """What takes jobs; left by `with`, it takes no more of them."""

    is_queue: Literal[False]

    @property
    def at_once(self) -> int:
        """How many jobs it does at a time."""
        ...

    def submit(self, function: Callable[[Any], None], job: Any) -> Future:
        """Has a function called with a job, somewhere, some time; both can be pickled."""
        ...

    def __enter__(self) -> "Engine":
        """Begins."""
        ...

    def __exit__(
        self, kind: type | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Ends, at once where there was an error."""
        ...


class Queue(Protocol):
    """What takes jobs and does them when nobody waits."""

    is_queue: Literal[True]

    @property
    def most(self) -> int:
        """How many jobs it takes together."""
        ...

    def submit(
        self, function: Callable[[Any], None], jobs: Sequence[Any], after: Sequence[str] = ()
    ) -> list[str]:
        """Takes jobs, together, `most` at most, to begin when others are over.

        Returns:
            Their ids.
        """
        ...

    def states(self) -> dict[str, str]:
        """The states of all jobs of ours that wait or run, by their ids."""
        ...

    def log_of(self, job_id: str) -> Path:
        """The file of what a job said to the cluster."""
        ...

    def __enter__(self) -> "Queue":
        """Begins."""
        ...

    def __exit__(
        self, kind: type | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Leaves what was submitted where it is."""
        ...


class ThisMachine:
    """So many processes, one job at a time in each.

    Every process has a pool of its own: one that is killed takes its own job with it, not all that wait.
    """

    is_queue: Literal[False] = False

    def __init__(self, num_processes: int) -> None:
        self._threads = ThreadPoolExecutor(num_processes)
        self._num_processes = num_processes
        self._free: list[ProcessPoolExecutor] = []  # of which each thread takes one
        self._is_over = False

    def __enter__(self) -> "ThisMachine":
        # Ctrl-C reaches workers, too, which are to be deaf to it until they know what to do
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._free = [_one_process() for _ in range(self._num_processes)]
        finally:
            signal.signal(signal.SIGINT, before)
        return self

    @property
    def at_once(self) -> int:
        """As `Engine.at_once`."""
        return self._num_processes

    def submit(self, function: Callable[[Any], None], job: Any) -> Future:
        """As `Engine.submit`."""
        return self._threads.submit(self._in_a_process, function, job)

    def _in_a_process(self, function: Callable[[Any], None], job: Any) -> None:
        pool = self._free.pop()
        try:
            pool.submit(function, job).result()
        except BrokenProcessPool:
            time.sleep(1)  # whoever ended all of us is to be heard first
            if not self._is_over:
                pool = _one_process()
            raise UserError(KILLED) from None
        finally:
            self._free.append(pool)

    def __exit__(
        self, kind: type | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._is_over = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        if error is not None:
            for worker in multiprocessing.active_children():
                worker.terminate()
        for pool in self._free:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_process() -> ProcessPoolExecutor:
    # a fork of a process with threads may hang, and Windows has none
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin_worker)
    pool.submit(int)  # which starts it
    return pool


def _begin_worker() -> None:
    # Ctrl-C ends a worker without a word: the parent says what there is to say
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        # a parent that was killed could not tell its workers
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


class RayCluster:
    """Ray's tasks, which it gives to another node where one is lost."""

    is_queue: Literal[False] = False

    def __init__(self, settings: EngineSettings) -> None:
        (self._ray,) = import_optional("--engine ray", "ray", "ray")
        self._settings = settings

    def __enter__(self) -> "RayCluster":
        address = self._settings.address or None
        try:
            self._ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError) as error:
            raise UserError(f"There is no Ray cluster at {address}: {error}") from None
        needs = {"num_cpus": self._settings.cpus, "num_gpus": self._settings.gpus}
        self._call = self._ray.remote(_call).options(**needs)
        return self

    @property
    def at_once(self) -> int:
        """As `Engine.at_once`, if nobody else has jobs there."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._settings.cpus)

    def submit(self, function: Callable[[Any], None], job: Any) -> Future:
        """As `Engine.submit`."""
        return self._call.remote(function, job).future()

    def __exit__(
        self, kind: type | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ray.shutdown()  # which ends what runs


def _call(function: Callable[[Any], None], job: Any) -> None:
    function(job)


class Slurm:
    """SLURM's job arrays, by submitit."""

    is_queue: Literal[True] = True
    # jobs of an array, whose numbers are below MaxArraySize; that is 1001 if nobody set it
    most = 1000

    def __init__(self, root: Path, settings: EngineSettings) -> None:
        submitit, utils = import_optional(
            "--engine slurm", "slurm", "submitit", "submitit.core.utils"
        )
        self._refused = utils.FailedJobError
        self._logs = root / "slurm"
        try:
            self._executor = submitit.SlurmExecutor(folder=self._logs)
        except RuntimeError as error:
            raise UserError(f"There is no SLURM here: {error}.") from None
        self._executor.update_parameters(
            time=settings.minutes,
            mem=f"{round(1024 * settings.memory)}MB",
            cpus_per_task=settings.cpus,
            array_parallelism=settings.at_once,
            setup=list(settings.setup),
            job_name="prefloop",
            **({"partition": settings.partition} if settings.partition else {}),
            **({"gpus_per_node": settings.gpus} if settings.gpus else {}),
        )

    def __enter__(self) -> "Slurm":
        return self

    def submit(
        self, function: Callable[[Any], None], jobs: Sequence[Any], after: Sequence[str] = ()
    ) -> list[str]:
        """As `Queue.submit`: one array."""
        if not jobs:
            return []
        whole = dict.fromkeys(number.partition("_")[0] for number in after)
        dependency = f"afterany:{':'.join(whole)}" if whole else None
        self._executor.update_parameters(dependency=dependency)
        try:
            with self._executor.batch():
                given = [self._executor.submit(function, job) for job in jobs]
        except self._refused as error:
            raise UserError(f"SLURM took no jobs: {str(error).splitlines()[0]}.") from None
        return [one.job_id for one in given]

    def states(self) -> dict[str, str]:
        """As `Queue.states`; asked of the queue, since not every cluster keeps accounts."""
        command = ["squeue", "--me", "--array", "--noheader", "--format=%i %T"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode:
            raise UserError(f"SLURM does not answer: {asked.stderr.strip()}")
        return {line.split()[0]: line.split()[1] for line in asked.stdout.splitlines()}

    def log_of(self, job_id: str) -> Path:
        """As `Queue.log_of`."""
        return self._logs / f"{job_id}_0_log.err"

    def __exit__(
        self, kind: type | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Leaves what was submitted where it is."""
