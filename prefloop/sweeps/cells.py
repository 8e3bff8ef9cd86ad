"""The runs that a comparison is made of."""

from pathlib import Path
from typing import NamedTuple

from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import CompareSettings


class Cell(NamedTuple):
    """One run: a method, how many labels it gets (0 if it uses none), and a seed."""

    method: str
    labels: int
    seed: int

    @property
    def folder(self) -> Path:
        """Where it stands in the comparison's folder."""
        return Path("runs") / self.method / f"labels-{self.labels}" / f"seed-{self.seed}"


def cells(settings: CompareSettings) -> list[Cell]:
    """All runs of a comparison."""
    return [
        Cell(method, labels, seed)
        for method in dict.fromkeys(settings.methods)
        for labels in (sorted(set(settings.labels)) if METHODS[method].uses_labels else [0])
        for seed in settings.seed_numbers
    ]
