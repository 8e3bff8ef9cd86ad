"""Which pairs of segments to ask about."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prefloop.data.preferences import Queries
from prefloop.data.segments import Segments
from prefloop.errors import UserError
from prefloop.query_strategies import STRATEGIES

# queries -> each ensemble member's probability that the second is preferred; [members, queries]
Predict = Callable[[Queries], NDArray]

# of what people are to see something in
FEWEST_STEPS, LEAST_SHARE = 5, 1 / 5


def number_of_pairs(num_segments: int) -> int:
    """How many pairs of different segments there are, whichever of the two comes first."""
    return num_segments * (num_segments - 1) // 2


def worth_showing(segments: Segments, num_pairs: int) -> Segments:
    """Leaves out pieces in which people see next to nothing: the last steps before a terminal state.

    Of a policy's longest a fifth and at least 5 steps remain, and so do whole episodes; all do where the others make too
    few pairs.
    """
    lengths, longest = segments.lengths, np.zeros(int(segments.policy.max()) + 1, dtype=np.int64)
    np.maximum.at(longest, segments.policy, lengths)
    length = longest[segments.policy]
    fewest = np.minimum(np.maximum(FEWEST_STEPS, LEAST_SHARE * length), length)
    kept = np.flatnonzero((lengths >= fewest) | (segments.first_step == 0))
    return segments[kept] if number_of_pairs(len(kept)) >= num_pairs else segments


def random_pairs(num_segments: int, num_pairs: int, rng: np.random.Generator) -> NDArray:
    """Draws pairs of different segments, no two pairs alike; each in random order.

    More pairs from the same `rng` begin with the same ones.

    Returns:
        Positions of first and second; int64; [num_pairs, 2].

    Raises:
        UserError: there are not so many pairs.
    """
    possible = number_of_pairs(num_segments)
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
        selection: one of `STRATEGIES`, by its name.
        num_candidates: how many random pairs are looked at by a strategy that looks at any; ten
            times `num_queries` if not given, and never more than there are pairs.
        predict: what the ensemble predicts; not needed for a strategy that goes by no reward.

    Raises:
        UserError: there are fewer pairs than queries.
        ValueError: no such selection, or one that needs `predict`.
    """
    if selection not in STRATEGIES:
        raise ValueError(f"selection must be one of {', '.join(STRATEGIES)}, not {selection!r}")
    strategy = STRATEGIES[selection]
    if strategy.choose is None:
        return _queries(segments, random_pairs(len(segments), num_queries, rng))
    if strategy.min_members and predict is None:
        raise ValueError(f"selection {selection!r} needs an ensemble's predictions")
    wanted = num_candidates or 10 * num_queries
    if wanted < num_queries:
        raise UserError(f"{num_queries} queries can't be chosen from {wanted} candidates.")
    num_candidates = max(num_queries, min(wanted, number_of_pairs(len(segments))))
    pairs = random_pairs(len(segments), num_candidates, rng)
    candidates = _queries(segments, pairs)
    if strategy.min_members and predict is not None:
        probabilities = predict(candidates)
    else:
        probabilities = np.zeros((0, len(candidates)))
    return _queries(segments, pairs[strategy.choose(candidates, probabilities, num_queries)])


def _queries(segments: Segments, pairs: NDArray) -> Queries:
    return Queries(segments, pairs[:, 0], pairs[:, 1])
