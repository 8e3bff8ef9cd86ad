"""The beginning of a program: quick imports, packages that need not be there, and how it may be ended."""

import contextlib
import gc
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from prefloop.errors import Terminated, UserError

# by Ctrl-C or SIGTERM in the blocks below: of the whole process, as signals are
_raised: list[type[KeyboardInterrupt]] = []


def raise_swallowed() -> None:
    """Raises what Ctrl-C or SIGTERM has raised before, if anything.

    To be called now and then by what takes long: where the first one met a destructor or a callback of
    some library, Python swallowed it, and the program went on.
    """
    if _raised:
        raise _raised[0]


def import_quickly(*modules: str) -> None:
    """Imports large modules in two thirds of the time, so that later imports of them are free.

    While PyTorch is imported, the garbage collector looks through its many thousands of lasting
    objects again and again, and once more at exit; over half a second in a program that runs for
    two. Here it waits until they are loaded, and then leaves them out for good (`gc.freeze`).
    """
    gc.disable()
    try:
        for module in modules:
            importlib.import_module(module)
    except KeyboardInterrupt:  # nothing has begun yet that there is anything to say of
        raise SystemExit(130) from None
    finally:
        gc.freeze()
        gc.enable()


def multiply_on_one_thread() -> None:
    """Has NumPy multiply on one thread, unless the user says otherwise; to be called before it is imported.

    Networks act by NumPy, a row at a time. On two threads OpenBLAS waits, for each product of 256 by 256, for a core
    to be free: alone that costs little, and beside another program milliseconds in place of microseconds.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ.setdefault(name, "1")


def import_own(module: str) -> ModuleType:
    """Imports a module of the user's, also one in the folder that the program was started in.

    `python -m prefloop` finds it there anyway, the command `prefloop` does not. It is looked for last, and
    only now: a folder of W&B's is called wandb, and would pass for the package.
    """
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    return importlib.import_module(module)


def print_anything() -> None:
    r"""Makes letters that the terminal or the log does not know `\x` escapes, instead of an error.

    Files have names that are no text, and not every terminal is UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def import_optional(what: str, extra: str, *names: str) -> list[ModuleType]:
    """Modules of packages that need not be installed.

    Args:
        what: what can't be done without them, as the beginning of a sentence.
        extra: the extra of prefloop that brings them.

    Raises:
        UserError: one is missing; says how to install it.
    """
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError:
            package = name.partition(".")[0]
            raise UserError(f"{what} needs {package}: pip install 'prefloop[{extra}]'.") from None
    return modules


@contextlib.contextmanager
def noted_interrupts() -> Iterator[threading.Event]:
    """Notes Ctrl-C, beside raising KeyboardInterrupt as always.

    Where it meets a destructor or a callback of some library, Python swallows the exception.

    Returns:
        What is set from the first Ctrl-C on.
    """
    noted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        noted.set()
        _raised.append(KeyboardInterrupt)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield noted  # where no handler can be set, nor is one called
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
        _raised.clear()


@contextlib.contextmanager
def interrupts_first() -> Iterator[None]:
    """Raises KeyboardInterrupt in the place of an exception that followed from Ctrl-C.

    A library in C that is interrupted may go on without what it was waiting for, and fail at that.
    """
    with noted_interrupts() as interrupted:
        try:
            yield
        except Exception:
            if interrupted.is_set():
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Raises `Terminated` on SIGTERM, which would end the program without a word."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield  # whoever has set another handler knows what for
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        _raised.append(Terminated)
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _raised.clear()


def group_of_its_own() -> dict[str, Any]:
    """For `subprocess.Popen`: Ctrl-C reaches this program alone, and not the one that it starts."""
    if sys.platform == "win32":  # where sessions mean nothing
        import subprocess

        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
