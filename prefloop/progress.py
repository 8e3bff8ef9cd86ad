"""How far long work has come: a bar in a terminal, a line now and then in a log."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tqdm import tqdm

SECONDS_BETWEEN_LINES = 20.0


def say(sentence: str) -> None:
    """Writes a line to stderr that leaves a bar which stands there whole."""
    from tqdm import tqdm  # here, because what can be tracked is a flag, and flags need no package

    tqdm.write(sentence, file=sys.stderr)


class Progress(Protocol):
    """What is told of every step."""

    def update(self, numbers: Mapping[str, float] | None = None) -> None:
        """One more step is done.

        Args:
            numbers: what is worth knowing of it.
        """
        ...


class _Bar:
    def __init__(self, bar: "tqdm") -> None:
        self.bar = bar

    def update(self, numbers: Mapping[str, float] | None = None) -> None:
        if numbers:
            shown = {name: f"{value:.4g}" for name, value in numbers.items()}
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update()


class _Lines:
    def __init__(self, total: int, unit: str, initial: int) -> None:
        self.total, self.unit, self.done = total, unit, initial
        self.last = time.monotonic()

    def update(self, numbers: Mapping[str, float] | None = None) -> None:
        self.done += 1
        if time.monotonic() - self.last < SECONDS_BETWEEN_LINES:
            return
        self.last = time.monotonic()
        shown = ", ".join(f"{name} {value:.4g}" for name, value in (numbers or {}).items())
        print(
            f"{self.done} of {self.total} {self.unit}{': ' if shown else ''}{shown}",
            file=sys.stderr,
            flush=True,
        )


class _Silence:
    def update(self, numbers: Mapping[str, float] | None = None) -> None:
        pass


@contextlib.contextmanager
def progress(total: int, unit: str, initial: int = 0, quiet: bool = False) -> Iterator[Progress]:
    """Shows on stderr how much of long work is done.

    Args:
        total: how many steps there are.
        unit: what they are called, in the plural.
        initial: how many were done before.
        quiet: show nothing.
    """
    if quiet:
        yield _Silence()
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, initial=initial, unit=f" {unit}") as bar:
            yield _Bar(bar)
    else:
        yield _Lines(total, unit, initial)
