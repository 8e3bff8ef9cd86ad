"""Which pairs of segments to ask about."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prefloop.bradley_terry import cross_entropy
from prefloop.data.preferences import Queries
from prefloop.data.segments import Segments
from prefloop.errors import UserError

SELECTIONS = ("uniform", "disagreement", "entropy")

# queries -> each ensemble member's probability that the second is preferred; [members, queries]
Predict = Callable[[Queries], NDArray]


def random_pairs(num_segments: int, num_pairs: int, rng: np.random.Generator) -> NDArray:
    """Draws pairs of different segments, no two pairs alike; each in random order.

    More pairs from the same `rng` begin with the same ones.

    Returns:
        Positions of first and second; int64; [num_pairs, 2].

    Raises:
        UserError: there are not so many pairs.
    """
    possible = num_segments * (num_segments - 1) // 2
    if num_pairs > possible:
        raise UserError(
            f"{num_pairs} pairs are wanted, but {num_segments} segments make only {possible}; "
            "collect more segments or ask for fewer pairs."
        )
    # ordered pairs in the order of drawing; what was drawn before in either order is dropped
    pairs = np.zeros((0, 2), dtype=np.int64)
    while len(pairs) < num_pairs:
        first, second = np.divmod(
            rng.integers(2 * possible, size=2 * num_pairs), max(num_segments - 1, 1)
        )
        second += second >= first
        pairs = np.concatenate([pairs, np.stack([first, second], axis=1)])
        _, first_drawn = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
        pairs = pairs[np.sort(first_drawn)]
    return pairs[:num_pairs]


def select_queries(
    selection: str,
    segments: Segments,
    num_queries: int,
    rng: np.random.Generator,
    num_candidates: int | None = None,
    predict: Predict | None = None,
) -> Queries:
    """Chooses queries among the pairs of a pool of segments.

    Args:
        selection: `uniform` takes pairs at random. The others draw `num_candidates` pairs at
            random and take those where, by an ensemble's predictions, the members disagree most
            (`disagreement`: standard deviation of their probabilities) or the mean prediction is
            least certain (`entropy`).
        num_candidates: the candidate pool; ten times `num_queries` if not given, and never more
            than there are pairs.
        predict: what the ensemble predicts; not needed for `uniform`.

    Raises:
        UserError: there are fewer pairs than queries.
        ValueError: no such selection, or one that needs `predict`.

    Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2.4; Lee et al. 2021,
    arXiv:2111.03026, section 4.2.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}, not {selection!r}")
    if selection == "uniform":
        return _queries(segments, random_pairs(len(segments), num_queries, rng))
    if predict is None:
        raise ValueError(f"selection {selection!r} needs an ensemble's predictions")
    possible = len(segments) * (len(segments) - 1) // 2
    wanted = num_candidates or 10 * num_queries
    if wanted < num_queries:
        raise UserError(f"{num_queries} queries can't be chosen from {wanted} candidates.")
    num_candidates = max(num_queries, min(wanted, possible))
    candidates = random_pairs(len(segments), num_candidates, rng)
    probabilities = predict(_queries(segments, candidates))
    score = (
        probabilities.std(axis=0)
        if selection == "disagreement"
        else binary_entropy(probabilities.mean(axis=0))
    )
    return _queries(segments, candidates[np.argsort(-score, kind="stable")[:num_queries]])


def binary_entropy(probability: NDArray) -> NDArray:
    """Entropy of a yes-or-no question, in nats; 0 at 0 and 1."""
    return cross_entropy(probability, np.clip(probability, 1e-12, 1 - 1e-12))


def _queries(segments: Segments, pairs: NDArray) -> Queries:
    return Queries(segments, pairs[:, 0], pairs[:, 1])
