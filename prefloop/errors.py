"""A user's mistake ends in one sentence, never in a traceback."""

import contextlib
import os
import sys
from collections.abc import Iterator


class UserError(Exception):
    """Something the person at the keyboard can put right; its text is the sentence they read."""


class CanNotGoOnError(UserError):
    """What a run left does not let it go on; whatever else ends it, it can still be gone on with."""


class Terminated(KeyboardInterrupt):
    """The system, or a cluster's, asked the program to end (SIGTERM): it does as after Ctrl-C."""


def first_line(error: BaseException) -> str:
    """What an error of another library says, as a part of a sentence: its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


_noted: set[str] = set()


def note(text: str) -> None:
    """Says something that a person should know and that stops nothing, once, on stderr."""
    if text not in _noted:
        _noted.add(text)
        print(f"Note: {text}", file=sys.stderr)


@contextlib.contextmanager
def one_sentence_errors(program: str, when_interrupted: str = "Stopped.") -> Iterator[None]:
    """Turns a user's mistake inside the block into one sentence on stderr and exit code 2.

    Args:
        program: the command's name, put before the sentence.
        when_interrupted: what to say on Ctrl-C, which exits with 130 as shells expect.

    Raises:
        SystemExit: 2 after a UserError, a NotImplementedError (a blank a student has yet to fill
            in) or where memory runs out, 130 after Ctrl-C, 143 after SIGTERM. Any other exception is a defect and
            keeps its traceback.
    """
    try:
        yield
    except (UserError, NotImplementedError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (MemoryError, RuntimeError) as error:
        # PyTorch's own error for a tensor that does not fit is a RuntimeError
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        print(f"{program}: error: Out of memory; ask for something smaller.", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        print(f"\n{when_interrupted}", file=sys.stderr)
        raise SystemExit(143 if isinstance(stop, Terminated) else 130) from None
    except BrokenPipeError:
        # the reader of our output has gone (`... | head`): there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
