"""Whether a learned reward ranks pairs of trajectories as the true one does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PairRanking:
    """How many pairs are ranked correctly, and which are not.

    Attributes:
        num_pairs: pairs whose true returns differ.
        num_ties: pairs with equal true returns, which have no right order; left out otherwise.
        accuracy: share of the `num_pairs` in the right order, equal predictions counting half;
            NaN without any.
        wrong: positions of the pairs that are not in the right order, those with the widest gap
            first.
    """

    num_pairs: int
    num_ties: int
    accuracy: float
    wrong: NDArray


def rank_pairs(true_returns: ArrayLike, predicted_returns: ArrayLike) -> PairRanking:
    """Compares the order of predicted returns with that of true ones, pair by pair.

    Args:
        true_returns, predicted_returns: of the first and the second trajectory of each pair;
            [pairs, 2].
    """
    true_gap, predicted_gap = (
        np.diff(np.asarray(x, dtype=np.float64), axis=1)[:, 0]
        for x in (true_returns, predicted_returns)
    )
    differ = true_gap != 0
    agrees = np.sign(true_gap) * np.sign(predicted_gap)
    wrong = np.flatnonzero(differ & (agrees <= 0))
    num_pairs = int(differ.sum())
    return PairRanking(
        num_pairs=num_pairs,
        num_ties=len(differ) - num_pairs,
        accuracy=float((1 + agrees[differ]).mean() / 2) if num_pairs else float("nan"),
        wrong=wrong[np.argsort(-np.abs(predicted_gap[wrong]), kind="stable")],
    )
