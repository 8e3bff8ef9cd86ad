"""What a search may try of a setting: numbers between two ends, or a few values."""

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefloop.errors import UserError
from prefloop.settings import Leaf
from prefloop.sweeps.cells import shown
from prefloop.sweeps.study import Reader

OF_RANGE = ("low", "high", "log", "step")
DIGITS = 4  # of a number that is drawn: more of them make names long, and no difference


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, which are among them.

    Attributes:
        whole: integers alone.
        log: drawn evenly on a logarithmic scale.
        step: between two of them; None: any.
    """

    low: float
    high: float
    whole: bool = False
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        """As sentences name it."""
        log = ", by its logarithm" if self.log else ""
        step = f", in steps of {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{log}{step}"

    @property
    def examples(self) -> Sequence[Any]:
        """The ends."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether it may be drawn."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        is_on_step = abs(steps - round(steps)) < 1e-6
        return is_on_step and (not self.whole or float(value).is_integer())

    def drawn(self, value: Any) -> Any:
        """What is drawn where this value is meant."""
        return value

    def may_draw(self, value: Any) -> bool:
        """Whether somebody else's draw is one of these numbers."""
        return self.holds(value)

    def as_set(self, drawn: float) -> Any:
        """The setting of a number that was drawn."""
        if self.whole:
            return int(drawn)
        if self.step is not None:  # which may need more digits
            return float(f"{drawn:.12g}")
        return min(max(float(f"{drawn:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """A few values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        """As sentences name it."""
        return " or ".join(shown(value) for value in self.values)

    @property
    def examples(self) -> Sequence[Any]:
        """All of them."""
        return self.values

    def holds(self, value: Any) -> bool:
        """Whether it may be drawn."""
        return value in self.values

    def drawn(self, value: Any) -> Any:
        """What is drawn where this value is meant."""
        return self.names[self.values.index(value)]

    def may_draw(self, value: Any) -> bool:
        """Whether somebody else's draw is the name of one of these."""
        return value in self.names

    @property
    def names(self) -> tuple[Any, ...]:
        """Names that stand for the values: a text for what is no plain value."""
        return tuple(shown(v) if isinstance(v, tuple) else v for v in self.values)

    def as_set(self, drawn: Any) -> Any:
        """The setting of a name."""
        return self.values[self.names.index(drawn)]


Ranges = Mapping[str, Range | Choice]  # by flag


def read_range(reader: Reader, leaf: Leaf, value: Any, place: tuple[str, ...]) -> Range | Choice:
    """Reads what stands at a place of a file.

    Raises:
        UserError: it is no range of that setting.
    """
    where, flag = reader.where(*place), leaf.flag
    if isinstance(value, list):
        values = tuple(reader.value(leaf, one, *place, i) for i, one in enumerate(value))
        if len(set(values)) < 2:
            raise UserError(
                f"{where}: there is nothing to choose among; name two values of {flag}."
            )
        return Choice(tuple(dict.fromkeys(values)))
    if not isinstance(value, dict):
        raise UserError(
            f"{where}: {flag} needs a range, {{low: ..., high: ...}}, or a list of values."
        )
    kinds = set(typing.get_args(leaf.field.type) or (leaf.field.type,)) - {type(None)}
    if kinds not in ({int}, {float}):
        raise UserError(f"{where}: {flag} is no number; give a list of values.")
    for key in value:
        if key not in OF_RANGE:
            raise reader.unknown(key, OF_RANGE, "a range", *place, key)
    if not {"low", "high"} <= value.keys():
        raise UserError(f"{where}: a range has low and high.")
    numbers = {
        k: reader.value(leaf, value[k], *place, k) for k in OF_RANGE if k in value and k != "log"
    }
    empty = next((k for k, number in numbers.items() if number is None), None)
    if empty is not None:
        raise UserError(f"{where}: {empty} is a number.")
    log = value.get("log", False)
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if not isinstance(log, bool):
        raise UserError(f"{where}: log is true or false.")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{where}: low must be below high, not {low:g} and {high:g}.")
    if log and low <= 0:
        raise UserError(
            f"{where}: a range that is drawn by its logarithm begins above 0, not at {low:g}."
        )
    if log and step is not None:
        raise UserError(f"{where}: a range has log or a step, not both.")
    if step is not None and not 0 < step <= high - low:
        raise UserError(
            f"{where}: the step must be above 0 and no more than high - low, not {step:g}."
        )
    if step is not None:  # the last that is reached
        high = float(f"{low + math.floor((high - low) / step + 1e-9) * step:.12g}")
    return Range(low, int(high) if kinds == {int} else high, kinds == {int}, log, step)
