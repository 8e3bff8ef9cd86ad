"""How often the 95 % intervals of a ranking of agents hold their true strengths, and how wide they are.

    python benchmarks/ranking_coverage.py

Votes between agents of known strengths are drawn again and again, as many of each pair, with ties.
Cells are the share of all intervals that hold the strength they are about (relative to the mean of the
agents) and, in brackets, of the agent for whom it is lowest; and the median width. The last columns:
how often the order is right, and how often all intervals of a repetition hold at once. Standard error
of a coverage with the default 500 repetitions: 0.01 for one agent.
"""

import argparse
import platform
import time

import numpy as np
from numpy.typing import NDArray

from prefloop.evaluation import agent_ranking
from prefloop.evaluation.agent_ranking import rank

# strengths, and t (how common ties are: e^t / (2 + e^t) of the votes between two equals)
AGENTS: dict[str, tuple[list[float], float]] = {
    "4 agents, a step of 1, a third ties": ([1.5, 0.5, -0.5, -1.5], 0.0),
    "4 agents, a step of 0.5, few ties": ([0.75, 0.25, -0.25, -0.75], -2.0),
    "4 agents, one far above": ([3.0, -0.5, -1.0, -1.5], -1.0),
    "2 agents, one nearly always wins": ([2.0, -2.0], -2.0),
    "8 agents, a step of 0.5": (list(np.linspace(1.75, -1.75, 8)), -1.0),
}
VOTES = (40, 200, 1000)
Votes = tuple[NDArray, NDArray, NDArray]  # whom each is between, and its label


def draw(rng: np.random.Generator, strengths: NDArray, tie: float, num: int) -> Votes:
    """Votes, as many of each pair as come out even: first, second, label."""
    pairs = np.stack(np.triu_indices(len(strengths), 1), axis=1)
    first, second = pairs[np.arange(num) % len(pairs)].T
    half_gap = (strengths[first] - strengths[second]) / 2
    weights = np.exp(np.stack([half_gap, np.full(num, tie), -half_gap], axis=1))
    ends = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    return first, second, (rng.random((num, 1)) > ends[:, :2]).sum(axis=1) / 2


def wald_alone(votes: Votes, size: int) -> tuple[NDArray, NDArray]:
    """The interval of the curvature: a bootstrap without replicates leaves it alone."""
    ranking = rank(size, *votes, replicates=1)
    reach = np.minimum(ranking.high - ranking.strengths, ranking.strengths - ranking.low)
    return ranking.strengths - reach, ranking.strengths + reach


def percentile_alone(votes: Votes, size: int) -> tuple[NDArray, NDArray]:
    """The bootstrap's interval alone, of the library's own resamples and fits."""
    sides, said, cluster = agent_ranking._checked(size, *votes, None)
    (pairs, place), outcomes = agent_ranking._outcomes(sides, said)
    counts = agent_ranking._resampled(
        outcomes, place, cluster, len(pairs), agent_ranking.REPLICATES, 0
    )
    incidence = agent_ranking._incidence(size, pairs)
    drawn = agent_ranking._fit(counts, incidence, agent_ranking.SPREAD)[0][:, :-1]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return low, high


def used(votes: Votes, size: int) -> tuple[NDArray, NDArray]:
    """What the arena shows."""
    ranking = rank(size, *votes)
    return ranking.low, ranking.high


METHODS = {
    "percentile bootstrap": percentile_alone,
    "Wald": wald_alone,
    "**wider of the two**": used,
}


def row(kind: str, num: int, repeats: int) -> list[str]:
    """The cells of all methods, the same votes for each; how often the order is right, and all hold."""
    strengths, tie = np.array(AGENTS[kind][0]), AGENTS[kind][1]
    rng = np.random.default_rng(0)
    holds: dict[str, list[NDArray]] = {name: [] for name in METHODS}
    widths: dict[str, list[NDArray]] = {name: [] for name in METHODS}
    right = []
    for _ in range(repeats):
        votes = draw(rng, strengths, tie, num)
        ranking = rank(len(strengths), *votes, replicates=1)
        right.append(ranking.groups == [list(range(len(strengths)))])
        for name, interval in METHODS.items():
            low, high = interval(votes, len(strengths))
            holds[name].append((low <= strengths) & (strengths <= high))
            widths[name].append(high - low)
    cells = []
    for name in METHODS:
        share = np.mean(holds[name], axis=0)
        width = np.nanmedian(widths[name])
        cells.append(f"{share.mean():.3f} ({share.min():.3f}), {width:.2f}")
    together = np.mean([held.all() for held in holds["**wider of the two**"]])
    return [*cells, f"{np.mean(right):.2f}", f"{together:.2f}"]


def main() -> None:
    """Prints the table, and how long one ranking takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500, help="samples of each kind and number")
    arguments = parser.parse_args()
    print("| agents | votes | " + " | ".join(METHODS) + " | right order | all at once |")
    print("|---|---|" + "---|" * (len(METHODS) + 2))
    for kind in AGENTS:
        for num in VOTES:
            cells = row(kind, num, arguments.repeats)
            print(f"| {kind} | {num} | " + " | ".join(cells) + " |", flush=True)
    for size, num in ((4, 200), (8, 1000), (20, 4000)):
        votes = draw(np.random.default_rng(0), np.linspace(1, -1, size), -1.0, num)
        start = time.perf_counter()
        rank(size, *votes)
        print(f"{num} votes over {size} agents: {time.perf_counter() - start:.2f} s")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
