"""The runs that a comparison is made of, and where each stands."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import CompareSettings
from prefloop.words import counted

Changes = tuple[tuple[str, Any], ...]  # settings of a method that are not as usual there, by flag
LONGEST = 80  # letters of a folder's name


class Cell(NamedTuple):
    """One run: a method, how many labels it gets (0 if it uses none), a seed, and what is changed."""

    method: str
    labels: int
    seed: int
    changes: Changes = ()

    @property
    def folder(self) -> Path:
        """Where it stands in the comparison's folder."""
        place = Path("runs") / self.method
        if self.changes:
            place /= name_of(self.changes)
        return place / f"labels-{self.labels}" / f"seed-{self.seed}"

    def __str__(self) -> str:
        """As sentences name it."""
        given = f" with {counted(self.labels, 'label')}" if self.labels else ""
        changed = "".join(f", {flag} {shown(value)}" for flag, value in self.changes)
        return f"{self.method}{given}{changed}, seed {self.seed}"


@dataclass(frozen=True)
class Comparison:
    """What is equal for all methods, and which of them are run, how often.

    Attributes:
        settings: `out` is this comparison's own folder.
        changes: by method, what its settings are in turn; as usual where it is not named.
    """

    settings: CompareSettings
    changes: Mapping[str, Sequence[Changes]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its runs stand."""
        return Path(self.settings.out)

    @property
    def cells(self) -> list[Cell]:
        """All its runs."""
        settings = self.settings
        return [
            Cell(method, labels, seed, changes)
            for method in dict.fromkeys(settings.methods)
            for changes, labels, seed in itertools.product(
                self.changes.get(method, [()]),
                sorted(set(settings.labels)) if METHODS[method].uses_labels else [0],
                settings.seed_numbers,
            )
        ]


def cells(settings: CompareSettings) -> list[Cell]:
    """All runs of a comparison in which every method is as usual."""
    return Comparison(settings).cells


def shown(value: Any) -> str:
    """A setting's value in a sentence or a table."""
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or "none"
    return "" if value is None else str(value)


def name_of(values: Sequence[tuple[str, Any]]) -> str:
    """A folder's name for settings: as they read, and with a digest where that is not all."""
    text = ",".join(f"{name}-{shown(value).replace(' ', 'x')}" for name, value in values)
    plain = re.sub(r"[^\w.,+-]", "_", text)
    if plain == text and len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 9].rstrip('.,')}-{digest(values)}"


def digest(values: Any) -> str:
    """Eight letters that tell settings from others."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]
