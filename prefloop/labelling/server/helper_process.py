"""A process that does one thing after the other for the server, and may hang, crash or grow meanwhile.

It ends with this one, however this one ends. (The workers of the package `pebble` outlive a `kill -9` of their parent.)
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any


class DiedError(Exception):
    """The process ended before it replied."""


class TookTooLongError(Exception):
    """It was ended, since it had not replied in time."""


class HelperProcess:
    """Replies to messages, one after the other; one thread may use it at a time.

    Attributes:
        closing: once it is set, nobody waits for a reply any more.
    """

    def __init__(
        self, work: Callable[..., None], *args: Any, name: str, closing: threading.Event
    ) -> None:
        """Starts nothing yet: the process starts with the first message.

        Args:
            work: runs in the process, with a connection and `args`; a function of a module's.
        """
        self._work, self._args, self._name = work, args, name
        self.closing = closing
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Id of the process; None while there is none."""
        return self._process.pid if self._process else None

    def ask(self, message: Any, seconds: float) -> Any:
        """Sends a message and gives the reply.

        Raises:
            DiedError, TookTooLongError: it doesn't; the next message finds a new process.
        """
        try:
            pipe = self._running()
            pipe.send(message)
            waited = 0.0
            while waited < seconds and not self.closing.is_set():
                if pipe.poll(0.2):
                    return pipe.recv()
                waited += 0.2
        except (EOFError, OSError, ValueError):
            self.end()
            raise DiedError from None
        self.end()
        raise TookTooLongError

    def end(self) -> None:
        """Ends the process, in the middle of whatever it does."""
        pipe, process = self._pipe, self._process
        self._pipe = self._process = None
        if pipe is not None:
            pipe.close()
        if process is not None and process.pid is not None:
            process.kill()
            process.join()

    def _running(self) -> Connection:
        if self._process is not None and not self._process.is_alive():
            self.end()  # it died while it had nothing to do
        if self._pipe is None:
            # not by fork: the server has threads, and graphics drivers do not survive it
            spawn = multiprocessing.get_context("spawn")
            self._pipe, theirs = spawn.Pipe()
            self._process = spawn.Process(
                target=_begin, args=(self._work, theirs, *self._args), name=self._name, daemon=True
            )
            with _deaf_to_ctrl_c():
                self._process.start()
            theirs.close()  # so that its end is noticed here
        return self._pipe


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Blocks Ctrl-C meanwhile: a process that starts inherits this, so that Ctrl-C finds it deaf while it still starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(work: Callable[..., None], pipe: Connection, *args: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)  # answers and pages come before what can wait
    with contextlib.suppress(EOFError, OSError):
        work(pipe, *args)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # in the middle of whatever it does: an environment may never return
