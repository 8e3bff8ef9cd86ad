"""Who does the jobs: this machine, a SLURM cluster by submitit, or a Ray cluster.

Each is what `concurrent.futures` calls an executor, and no more: it takes a function and an argument and
gives a future. What waits, where it runs and what becomes of a node that fails is the engine's affair.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol

from prefloop.errors import UserError
from prefloop.sweeps.jobs import KILLED


class Engine(Protocol):
    """What takes jobs; left by `with`, it takes no more of them."""

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


class ThisMachine:
    """So many processes, one job at a time in each.

    Every process has a pool of its own: one that is killed takes its own job with it, not all that wait.
    """

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
    parent = os.getppid()

    def end_with_parent() -> None:
        # a parent that was killed could not tell its workers
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
