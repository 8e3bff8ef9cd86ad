"""Agents ranked by votes between two of them: Bradley-Terry with ties, and how sure the ranking is.

(`rankings` asks another question: whether a learned reward puts trajectories in the right order.)
Free of PyTorch and SciPy, since the labelling server ranks, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefloop.seeding import Stream, generator

CONFIDENCE = 0.95
REPLICATES = 2000  # of the bootstrap
SPREAD = 5.0  # standard deviation of the prior of a strength; e^5 wins to a loss are one of it
MAX_STEPS = 200  # of Newton's method, which takes about ten
LONGEST_STEP = 1.0  # of a strength: a whole step from where the likelihood is flat leads too far
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Ranking:
    """Ranking of agents by votes.

    A strength is the logarithm of Bradley-Terry's, less the mean of those it can be compared with.
    Numbers that votes say nothing of are NaN.

    Attributes:
        groups: positions of agents that votes connect, be it by way of others; the largest group
            first, in each the strongest agent first. Agents of different groups can't be compared.
        strengths: relative to the mean of the agent's group; [agents].
        low, high: their 95 % intervals; [agents].
        wins, losses, ties: of each agent; float, since a label may be between two; [agents].
        beats: probability that the row's agent beats the column's, a tie counting half to each;
            [agents, agents].
        above: share of the bootstrap's replicates in which the row's agent is ranked above the
            column's; [agents, agents]. Where one has won every vote it is 1, however few they were.
        tie: probability of a tie between two agents that are equally strong; NaN without votes.
    """

    groups: list[list[int]]
    strengths: NDArray
    low: NDArray
    high: NDArray
    wins: NDArray
    losses: NDArray
    ties: NDArray
    beats: NDArray
    above: NDArray
    tie: float


def rank(
    num_agents: int,
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    clusters: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    spread: float = SPREAD,
) -> Ranking:
    """Ranks agents by all votes at once.

    Davidson's model: with strengths s, and e^t for how common ties are,

        P(i beats j) : P(j beats i) : P(tie)  =  e^((s_i - s_j) / 2) : e^((s_j - s_i) / 2) : e^t

    What is maximised is the logarithm of the votes' probability less (s_1² + … + s_n² + t²) / (2
    spread²). Without that an agent that has won every vote would be infinitely strong; beside a few
    dozen votes it weighs next to nothing. It also makes the mean of each group 0. The sum is strictly
    concave, so Newton's method finds the only maximum.

    The ends of an interval are each the wider of two. The percentile bootstrap over votes makes no
    assumption about their spread, but where an agent has won (or lost) nearly all of its votes, so it
    has in every resample: its interval has next to no width exactly where least is known. Wald's
    interval, from the curvature at the maximum, is wide there. Alone, each holds the truth less
    often (benchmarks/ranking_coverage.py).

    Votes of several annotators count as if each were of its own; that somebody's taste is in all of
    their votes can be told by naming them as `clusters`, which widens the bootstrap's intervals alone.

    Args:
        num_agents: how many there are; agents are known by their positions.
        first, second: whom each vote is between; int; [votes].
        labels: 0 the first is better, 1 the second, 0.5 a tie; a label between these is that part of
            a win of the second, and the rest a win of the first. NaN (a skip) is no vote; [votes].
        clusters: votes with one number are resampled together, for instance those about one pair of
            clips; int; [votes]. Each for itself, if not given.
        replicates: of the bootstrap.
        seed: of its resampling.
        spread: of the prior above.

    Raises:
        ValueError: the arrays differ in length, a vote is between an agent and itself or names one
            that there is not, or a label is outside [0, 1].

    Source: Bradley and Terry 1952, "Rank analysis of incomplete block designs", Biometrika 39;
        Davidson 1970, "On extending the Bradley-Terry model to accommodate ties in paired comparison
        experiments", Journal of the American Statistical Association 65; Efron and Tibshirani 1993,
        "An introduction to the bootstrap", chapter 13 (percentile intervals).
    """
    sides, said, cluster = _checked(num_agents, first, second, labels, clusters)
    pairs, outcomes = _outcomes(sides, said)
    totals = _sums(outcomes, pairs[1], len(pairs[0]))
    groups = _groups(num_agents, pairs[0])
    unknown = np.full(num_agents, np.nan)
    if not len(said):
        square = np.full((num_agents, num_agents), np.nan)
        none = np.zeros(num_agents)
        return Ranking(
            groups, unknown, unknown, unknown, none, none, none, square, square, float("nan")
        )
    incidence = _incidence(num_agents, pairs[0])
    fitted, information = _fit(totals[None], incidence, spread)
    resampled = _resampled(outcomes, pairs[1], cluster, len(pairs[0]), replicates, seed)
    # from where all votes lead: most resamples end close to it
    begin = np.repeat(fitted, replicates, axis=0)
    drawn = _fit(resampled, incidence, spread, begin)[0][:, :-1]
    strengths = fitted[0, :-1]
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    low, high = np.percentile(drawn, tails, axis=0)
    gaps = strengths[:, None] - strengths
    won, _, even = _probabilities(gaps / 2, fitted[0, -1])
    order = np.sign(drawn[:, :, None] - drawn[:, None, :]).mean(axis=0)
    member = np.empty(num_agents, dtype=np.int64)
    for number, group in enumerate(groups):
        member[group] = number
        group.sort(key=lambda agent: (-strengths[agent], agent))
    is_together = member[:, None] == member
    alone = is_together.sum(axis=1) == 1
    apart = ~is_together | np.eye(num_agents, dtype=bool)
    # the votes say nothing of a group's mean: what the prior says of it is no spread of a strength
    centring = np.eye(num_agents) - is_together / is_together.sum(axis=1)
    covariance = centring @ np.linalg.inv(information[0])[:-1, :-1] @ centring
    error = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    wins, losses, ties = _tallies(num_agents, pairs[0], totals)
    return Ranking(
        groups=groups,
        strengths=np.where(alone, unknown, strengths),
        low=np.where(alone, unknown, np.minimum(low, strengths - reach)),
        high=np.where(alone, unknown, np.maximum(high, strengths + reach)),
        wins=wins,
        losses=losses,
        ties=ties,
        beats=np.where(apart, np.nan, won + even / 2),
        above=np.where(apart, np.nan, (1 + order) / 2),
        tie=float(_probabilities(np.zeros(1), fitted[0, -1])[2][0]),
    )


def as_facts(names: Sequence[str], ranking: Ranking, votes: int) -> dict[str, Any]:
    """A ranking as plain numbers by names, the best agent first; None where it is NaN.

    Args:
        names: of the agents, by their positions.
        votes: how many there were.
    """
    order = [agent for group in ranking.groups for agent in group]
    columns = {
        "strength": ranking.strengths,
        "low": ranking.low,
        "high": ranking.high,
        "wins": ranking.wins,
        "losses": ranking.losses,
        "ties": ranking.ties,
    }
    return {
        "agents": [
            {"name": names[i], **{key: _plain(column[i]) for key, column in columns.items()}}
            for i in order
        ],
        "groups": [[names[i] for i in group] for group in ranking.groups],
        **{
            key: [[_plain(square[i, j]) for j in order] for i in order]
            for key, square in (("beats", ranking.beats), ("above", ranking.above))
        },
        "tie": _plain(ranking.tie),
        "votes": votes,
    }


def _plain(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def _checked(
    num_agents: int,
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    clusters: ArrayLike | None,
) -> tuple[NDArray, NDArray, NDArray]:
    """Votes without skips: whom each is between [votes, 2], its label and its cluster."""
    one, other = (np.asarray(side, dtype=np.int64) for side in (first, second))
    label = np.asarray(labels, dtype=np.float64)
    cluster = np.arange(len(label)) if clusters is None else np.asarray(clusters)
    if not one.shape == other.shape == label.shape == cluster.shape or label.ndim != 1:
        shapes = [x.shape for x in (one, other, label, cluster)]
        raise ValueError(f"first, second, labels and clusters differ in shape: {shapes}")
    sides = np.stack([one, other], axis=1)
    if len(sides) and not (sides.min() >= 0 and sides.max() < num_agents):
        raise ValueError(f"a vote names an agent outside of 0 to {num_agents - 1}")
    if (one == other).any():
        raise ValueError("a vote is between an agent and itself")
    is_vote = ~np.isnan(label)
    if ((label[is_vote] < 0) | (label[is_vote] > 1)).any():
        raise ValueError("a label must be in [0, 1] or NaN for a skip")
    return sides[is_vote], label[is_vote], cluster[is_vote]


def _outcomes(sides: NDArray, labels: NDArray) -> tuple[tuple[NDArray, NDArray], NDArray]:
    """The pairs that were voted on [pairs, 2], which each vote is on [votes], and what it says of it.

    What it says is how much of a win of the pair's first, of its second, and of a tie; [votes, 3].
    """
    pairs, place = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    for_second = np.where(sides[:, 0] <= sides[:, 1], labels, 1 - labels)
    is_tie = labels == 0.5
    outcomes = np.stack([1 - for_second, for_second, is_tie], axis=1)
    outcomes[is_tie, :2] = 0
    return (pairs, place.reshape(-1)), outcomes


def _sums(outcomes: NDArray, place: NDArray, num_pairs: int) -> NDArray:
    """Wins of the first, of the second, and ties of each pair; [pairs, 3]."""
    totals = np.zeros((num_pairs, 3))
    np.add.at(totals, place, outcomes)
    return totals


def _groups(num_agents: int, pairs: NDArray) -> list[list[int]]:
    """Agents that votes connect, the largest group first."""
    connected = np.eye(num_agents, dtype=bool)
    connected[pairs[:, 0], pairs[:, 1]] = connected[pairs[:, 1], pairs[:, 0]] = True
    for _ in range(num_agents):  # each time twice as far
        connected = connected @ connected
    found = {tuple(np.flatnonzero(row).tolist()) for row in connected}
    return [list(group) for group in sorted(found, key=lambda group: (-len(group), group))]


def _incidence(num_agents: int, pairs: NDArray) -> NDArray:
    """Takes strengths to half the gap of each pair; [pairs, agents]."""
    incidence = np.zeros((len(pairs), num_agents))
    rows = np.arange(len(pairs))
    incidence[rows, pairs[:, 0]], incidence[rows, pairs[:, 1]] = 0.5, -0.5
    return incidence


def _probabilities(half_gap: NDArray, tie: NDArray | float) -> tuple[NDArray, NDArray, NDArray]:
    """Probabilities of a win, a loss and a tie, each shaped as `half_gap`; from logits, so that none overflows."""
    logits = np.stack(np.broadcast_arrays(half_gap, -half_gap, tie))
    weights = np.exp(logits - logits.max(axis=0))
    won, lost, even = weights / weights.sum(axis=0)
    return won, lost, even


def _fit(
    counts: NDArray, incidence: NDArray, spread: float, begin: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """The maximum for many counts at once, by Newton's method.

    Args:
        counts: wins of the first, of the second, and ties; [replicates, pairs, 3].
        begin: parameters to begin with; [replicates, agents + 1].

    Returns:
        Strengths and, last, t [replicates, agents + 1]; and there the information, minus the second
        derivatives [replicates, agents + 1, agents + 1].
    """
    size = incidence.shape[1]
    votes, margin, ties = counts.sum(axis=2), counts[..., 0] - counts[..., 1], counts[..., 2]
    products = (incidence[:, :, None] * incidence[:, None, :]).reshape(len(incidence), -1)
    parameters = np.zeros((len(counts), size + 1)) if begin is None else begin
    information = np.zeros((len(counts), size + 1, size + 1))
    for _ in range(MAX_STEPS):
        won, lost, even = _probabilities(parameters[:, :-1] @ incidence.T, parameters[:, -1:])
        gradient = np.concatenate(
            [
                (margin - votes * (won - lost)) @ incidence,
                (ties - votes * even).sum(axis=1, keepdims=True),
            ],
            axis=1,
        )
        gradient -= parameters / spread**2
        own = votes * (won + lost - (won - lost) ** 2)
        information[:, :-1, :-1] = (own @ products).reshape(-1, size, size)
        information[:, :-1, -1] = -(votes * (won - lost) * even) @ incidence
        information[:, -1, :-1] = information[:, :-1, -1]
        information[:, -1, -1] = (votes * even * (1 - even)).sum(axis=1)
        information += np.eye(size + 1) / spread**2
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        parameters = parameters + step * np.minimum(1, LONGEST_STEP / np.maximum(longest, 1e-300))
        if longest.max() < TOLERANCE:
            break
    return parameters, information


def _resampled(
    outcomes: NDArray,
    place: NDArray,
    clusters: NDArray,
    num_pairs: int,
    replicates: int,
    seed: int,
) -> NDArray:
    """Counts of as many clusters, drawn with replacement; [replicates, pairs, 3].

    Clusters that say the same are drawn together, as one multinomial number: so thousands of votes
    cost no more than there are different ones.
    """
    which, cluster = np.unique(clusters, return_inverse=True)
    of_cluster = np.zeros((len(which), num_pairs, 3))
    np.add.at(of_cluster, (cluster.reshape(-1), place), outcomes)
    kinds, number = np.unique(of_cluster.reshape(len(which), -1), axis=0, return_counts=True)
    rng = generator(seed, Stream.RESAMPLING)
    drawn = rng.multinomial(len(which), number / len(which), size=replicates)
    return (drawn @ kinds).reshape(replicates, num_pairs, 3)


def _tallies(num_agents: int, pairs: NDArray, totals: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Wins, losses and ties of each agent; [agents] each."""
    wins, losses, ties = np.zeros((3, num_agents))
    for side, other in ((0, 1), (1, 0)):
        np.add.at(wins, pairs[:, side], totals[:, side])
        np.add.at(losses, pairs[:, side], totals[:, other])
        np.add.at(ties, pairs[:, side], totals[:, 2])
    return wins, losses, ties
