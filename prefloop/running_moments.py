"""Mean and deviation of all that was ever seen, without keeping it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class RunningMoments:
    """Mean and standard deviation of numbers, or of each number in vectors, that come bit by bit.

    Attributes:
        count: how many were seen.
        mean: theirs; of the shape of one.
        squares: sum of the squared distances from the mean; of the shape of one.

    Source: Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    def __init__(self) -> None:
        self.count: float = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def update(self, x: NDArray) -> None:
        """Adds what is new; [n, ...]."""
        if not len(x):
            return
        mean = x.mean(axis=0)
        total = self.count + len(x)
        gap = mean - self.mean
        squares = np.square(x - mean).sum(axis=0)
        # arrays in place: small ones that are made anew among large ones leave memory in pieces
        self.squares += squares + gap**2 * self.count * len(x) / total
        self.mean += gap * len(x) / total
        self.count = total

    @property
    def std(self) -> Any:
        """Standard deviation; 1 of what does not vary."""
        deviation = np.sqrt(self.squares / self.count) if self.count else np.zeros(())
        return np.where(deviation > 1e-8, deviation, 1.0)[()]

    def state(self) -> list[Any]:
        """Everything it knows, as plain values."""
        return [self.count, np.asarray(self.mean).tolist(), np.asarray(self.squares).tolist()]

    def load_state(self, state: list[Any]) -> None:
        """Takes over what `state` gave."""
        self.count = float(state[0])
        self.mean, self.squares = (np.asarray(x, np.float64)[()] for x in state[1:])
