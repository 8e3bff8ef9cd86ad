"""What others send is opened in a process of its own, with limits on time and memory.

Videos and archives are small on their way and large when they are opened, and the decoders are others'
code. Whatever becomes of the process, the server goes on.
"""

import contextlib
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, Protocol, TypeVar

from prefloop.errors import UserError
from prefloop.labelling.server.helper_process import DiedError, HelperProcess, TookTooLongError

OPEN_SECONDS = 60.0
MAX_MEMORY = 2 * 2**30  # bytes

P = ParamSpec("P")
T = TypeVar("T")


class TooMuchError(UserError):
    """It takes more time or memory than it may."""


class EndingError(UserError):
    """The server is about to end."""


class Opener(Protocol):
    """Calls a function with what was sent."""

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns, or its `UserError`."""
        ...


def open_here(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """An opener without limits."""
    return function(*args, **kwargs)


class UploadProcess:
    """An opener in a process of its own, one upload after the other."""

    def __init__(self, seconds: float = OPEN_SECONDS, memory: int = MAX_MEMORY) -> None:
        """Starts nothing yet: the process starts with the first upload.

        Args:
            seconds: that one upload may take.
            memory: bytes that the process may have for data.
        """
        self._seconds, self._memory = seconds, memory
        self._turn = threading.Lock()
        self._process = HelperProcess(
            _work, memory, name="prefloop-uploads", closing=threading.Event()
        )

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function of a module's there.

        Raises:
            TooMuchError: it takes longer than it may, or more memory.
            EndingError: the server ends meanwhile.
            UserError: the function's, or it crashed.
        """
        with self._turn:
            try:
                result, error = self._process.ask((function, args, kwargs), self._seconds)
            except TookTooLongError:
                if self._process.closing.is_set():
                    raise EndingError("The server ends; try again.") from None
                raise TooMuchError(
                    f"To open this takes longer than {self._seconds:g} seconds."
                ) from None
            except DiedError:
                raise UserError("This can't be opened: what opens it crashed.") from None
        if error is not None:
            raise error
        opened: T = result
        return opened

    def close(self) -> None:
        """Ends the process; who waits for it is told so."""
        self._process.closing.set()
        with self._turn:
            self._process.end()


def _work(pipe: Connection, memory: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    while True:
        function, args, kwargs = pipe.recv()
        reply: tuple[Any, UserError | None]
        try:
            reply = function(*args, **kwargs), None
        except UserError as error:
            reply = None, error
        except MemoryError:
            reply = (
                None,
                TooMuchError(f"To open this takes more than {memory >> 20} MiB of memory."),
            )
        pipe.send(reply)
        del function, args, kwargs, reply
