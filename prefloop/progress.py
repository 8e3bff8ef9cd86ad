"""How far long work has come: a bar in a terminal, a line now and then in a log."""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from prefloop.startup import raise_swallowed

if TYPE_CHECKING:
    from tqdm import tqdm

SECONDS_BETWEEN_LINES = 20.0
LINES_THAT_TELL_THE_SPEED = 6
SPEED_FROM = 0.001  # of the whole has to be done before anything follows from it
# a pause of so many seconds in which so little was computed was spent waiting for people
PAUSE, IDLE = 5.0, 0.05


def say(sentence: str) -> None:
    """Writes a line to stderr that leaves a bar which stands there whole."""
    from tqdm import tqdm  # here, because what can be tracked is a flag, and flags need no package

    tqdm.write(sentence, file=sys.stderr)


class Progress(Protocol):
    """Something that is told of every step."""

    def update(self, numbers: Mapping[str, float] | None = None, units: int = 1) -> None:
        """Some more is done.

        Args:
            numbers: what is worth knowing of it, shown until there is something new.
            units: how much.

        Raises:
            KeyboardInterrupt: there was one before, which never arrived.
        """
        ...


class _Bar:
    def __init__(self, bar: "tqdm") -> None:
        self.bar = bar

    def update(self, numbers: Mapping[str, float] | None = None, units: int = 1) -> None:
        raise_swallowed()
        if numbers:
            shown = {name: f"{value:.4g}" for name, value in numbers.items()}
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(units)


class _Lines:
    def __init__(self, total: int, unit: str, initial: int, quick: int, elsewhere: bool) -> None:
        self.total, self.unit, self.done, self.quick = total, unit, initial, quick
        self.elsewhere = elsewhere
        self.numbers: Mapping[str, float] = {}
        self.last_line = self.last_update = time.monotonic()
        self.computed = time.process_time()
        # when how much was done, at the start and at the last lines: what comes at first may be quicker
        self.points = deque([(self.last_line, initial)], maxlen=LINES_THAT_TELL_THE_SPEED)

    def update(self, numbers: Mapping[str, float] | None = None, units: int = 1) -> None:
        raise_swallowed()
        self.done += units
        self.numbers = numbers or self.numbers
        now, computed = time.monotonic(), time.process_time()
        took = now - self.last_update
        is_idle = took > PAUSE and computed - self.computed < IDLE * took
        if is_idle and not self.elsewhere:
            self.points = deque([(t + took, n) for t, n in self.points], self.points.maxlen)
        self.last_update, self.computed = now, computed
        # how long the quick ones took says nothing of the rest
        if self.done - units < self.quick <= self.done:
            self.points.clear()
            self.points.append((now, self.done))
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        then, before = self.points[0]
        tells = self.done - before >= SPEED_FROM * self.total and self.done > self.quick
        speed = (self.done - before) / (now - then) if now > then and tells else 0.0
        self.points.append((now, self.done))
        words = [f"{self.done} of {self.total} {self.unit}"]
        if speed > 0:
            words.append(f"{speed:.3g} {self.unit}/s")
            words.append(f"{_duration((self.total - self.done) / speed)} left")
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.numbers.items())
        line = f"{', '.join(words)}{': ' if shown else ''}{shown}"
        print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """As one reads it from a clock."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Silence:
    def update(self, numbers: Mapping[str, float] | None = None, units: int = 1) -> None:
        raise_swallowed()


@contextlib.contextmanager
def progress(
    total: int,
    unit: str,
    initial: int = 0,
    quiet: bool = False,
    quick: int = 0,
    leave: bool = True,
    elsewhere: bool = False,
) -> Iterator[Progress]:
    """Shows on stderr how much of long work is done, how quickly, and how long the rest will take.

    Args:
        total: how many units there are.
        unit: what they are called, in the plural.
        initial: how many were done before.
        quiet: show nothing.
        quick: how many of the first are so much quicker than the others that nothing follows from them.
        leave: a bar stays when all is done.
        elsewhere: other processes do it, so that waiting without computing is no pause.
    """
    if quiet:
        yield _Silence()
    elif sys.stderr.isatty():
        from tqdm import tqdm

        # at every update it looks at the clock: it would show nothing for long where a slow part
        # follows a quick one
        with tqdm(total=total, initial=initial, unit=f" {unit}", miniters=1, leave=leave) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(total, unit, initial, quick, elsewhere)
