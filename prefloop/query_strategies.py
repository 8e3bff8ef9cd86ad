"""How queries are chosen, each way under its name; free of PyTorch, for settings.

It stands below what asks teachers (`prefloop/queries`) and what learns rewards (`prefloop/rewards`), which do not
know each other: pairs that nobody answered are chosen in the same ways.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefloop.bradley_terry import cross_entropy
from prefloop.data.preferences import Queries

# (candidates, probabilities, number) -> positions of so many candidates, the best first; [number].
# Probabilities are those that each member of a reward gives the second segments; [members, candidates]
Choose = Callable[[Queries, NDArray, int], NDArray]


@dataclass(frozen=True)
class Strategy:
    """A way to choose queries.

    Attributes:
        choose: the queries among random candidates; None: random pairs are the queries.
        min_members: how many members a reward must have to choose by it; 0: there need be no reward, and the
            probabilities are of no members.
    """

    choose: Choose | None
    min_members: int = 1


def most_disputed(candidates: Queries, probabilities: NDArray, number: int) -> NDArray:
    """Where the members' probabilities have the highest standard deviation.

    Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2.4.
    """
    return _highest(probabilities.std(axis=0), number)


def least_certain(candidates: Queries, probabilities: NDArray, number: int) -> NDArray:
    """Where the mean of the members' probabilities has the highest entropy.

    Source: Lee et al. 2021, arXiv:2111.03026, section 4.2.
    """
    return _highest(binary_entropy(probabilities.mean(axis=0)), number)


STRATEGIES = {
    "uniform": Strategy(choose=None, min_members=0),
    "disagreement": Strategy(most_disputed, min_members=2),
    "entropy": Strategy(least_certain),
}


def binary_entropy(probability: NDArray) -> NDArray:
    """Entropy of a yes-or-no question, in nats; 0 at 0 and 1."""
    return cross_entropy(probability, np.clip(probability, 1e-12, 1 - 1e-12))


def _highest(score: NDArray, number: int) -> NDArray:
    return np.argsort(-score, kind="stable")[:number]
