"""How often 95 % intervals over few seeds hold what they are about, and how wide they are.

    python benchmarks/interval_coverage.py

For returns of several kinds and 3, 5, 10 and 20 seeds, samples are drawn again and again; the truth is
known from a sample of millions. Prints three tables: intervals of one method's runs (its interquartile
mean; of other quantities where the name says so), of the probability that a run of one method
beats one of another, and of figures over three tasks at once. Cells are coverage and, in brackets, the median width. Standard error of a
coverage with the default 2000 samples: 0.005. Takes about twenty minutes on two cores.
"""

import argparse
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from prefloop.evaluation.across_tasks import (
    improvement_across,
    iqm_across,
    optimality_gap,
    performance_profile,
    stratified,
)
from prefloop.evaluation.statistics import (
    Interval,
    interquartile_mean,
    iqm_interval,
    mean_estimate,
    newcombe,
    percentile_bootstrap,
    probability_of_improvement,
    trimmed_t,
)

SEEDS = (3, 5, 10, 20)
LEVEL = 0.95
RESAMPLES = 2000
MANY = 4_000_000
Draw = Callable[[np.random.Generator, int], NDArray]
Ends = tuple[float, float]


def with_failures(share: float) -> Draw:
    """Runs of which a share ends far below the others."""
    return lambda rng, n: np.where(rng.random(n) < share, -10.0, 0.0) + rng.normal(size=n)


def with_a_maximum(share: float) -> Draw:
    """Runs of which a share reaches the highest return, 0."""
    middle = scipy.special.ndtri(share)
    return lambda rng, n: np.minimum(rng.normal(middle, 1, n), 0.0)


# returns of runs; 1 is the spread of those that go well
RETURNS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed (exponential)": lambda rng, n: rng.exponential(size=n),
    "one run in five fails": with_failures(0.2),
    "two in five fail": with_failures(0.4),
    "a third at the maximum": with_a_maximum(0.3),
    "half at the maximum": with_a_maximum(0.5),
}
# a method's runs, beside standard normal ones of another
PAIRS: dict[str, Draw] = {
    "alike (0.50)": lambda rng, n: rng.normal(size=n),
    "better (0.76)": lambda rng, n: rng.normal(1, 1, n),
    "clearly better (0.92)": lambda rng, n: rng.normal(2, 1, n),
    "nearly always (0.998)": lambda rng, n: rng.normal(4, 1, n),
    "four times the spread (0.60)": lambda rng, n: rng.normal(1, 4, n),
    "better, one in five fails (0.80)": lambda rng, n: 5 + with_failures(0.2)(rng, n),
}


def bootstrap(x: NDArray, method: Literal["percentile", "BCa"]) -> Ends:
    """SciPy's, of the interquartile mean."""
    interval = scipy.stats.bootstrap(
        (x,),
        interquartile_mean,
        n_resamples=RESAMPLES,
        method=method,
        rng=0,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def bootstrap_t(x: NDArray) -> Ends:
    """The bootstrap of the trimmed mean's own t; infinite where resamples have no spread."""
    rng, n = np.random.default_rng(0), len(x)
    cut = n // 4

    def mean_and_error(samples: NDArray) -> tuple[NDArray, NDArray]:
        middle = np.sort(samples, axis=-1)[..., cut : n - cut]
        winsorised = np.clip(samples, middle[..., :1], middle[..., -1:])
        error = winsorised.std(axis=-1, ddof=1) * np.sqrt(n) / (n - 2 * cut)
        return middle.mean(axis=-1), error

    mean, error = mean_and_error(x)
    means, errors = mean_and_error(x[rng.integers(n, size=(RESAMPLES, n))])
    gap = means - mean
    # no spread and no gap is no deviation; no spread and a gap is one beyond all others
    t = np.divide(gap, errors, out=np.sign(gap) * np.inf, where=errors > 0)
    t[gap == 0] = 0
    low, high = np.quantile(t, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(mean - high * error), float(mean - low * error)


def median_by_order(x: NDArray) -> Ends:
    """The sign test's: order statistics that hold the median with 95 %, or the whole range."""
    rank = int(scipy.stats.binom.ppf((1 - LEVEL) / 2, len(x), 0.5))
    ordered = np.sort(x)
    rank = max(rank - 1, 0)
    return float(ordered[rank]), float(ordered[len(x) - 1 - rank])


def used(x: NDArray) -> Ends:
    """What `prefloop compare` prints."""
    interval = iqm_interval(x)
    return interval.low, interval.high


def t_of_the_mean(x: NDArray) -> Ends:
    """What `prefloop evaluate` prints of a policy's episodes."""
    estimate = mean_estimate(x)
    return estimate.low, estimate.high


# intervals, and what they are about
METHODS: dict[str, tuple[Callable[[NDArray], Ends], Callable[[NDArray], float]]] = {
    "percentile bootstrap": (lambda x: bootstrap(x, "percentile"), interquartile_mean),
    "BCa bootstrap": (lambda x: bootstrap(x, "BCa"), interquartile_mean),
    "bootstrap-t": (bootstrap_t, interquartile_mean),
    "trimmed t (Tukey, McLaughlin)": (trimmed_t, interquartile_mean),
    "**wider of percentile and trimmed t**": (used, interquartile_mean),
    "Student's t, of the mean": (t_of_the_mean, np.mean),
    "order statistics, of the median": (median_by_order, np.median),
}


def share_of_wins(x: NDArray, y: NDArray, axis: int = -1) -> NDArray:
    """The probability of improvement of samples."""
    wins = np.sign(np.moveaxis(x, axis, -1)[..., :, None] - np.moveaxis(y, axis, -1)[..., None, :])
    return (0.5 * (wins + 1)).mean(axis=(-2, -1))


def percentile_of_wins(x: NDArray, y: NDArray) -> Ends:
    """The percentile bootstrap over the runs of both."""
    interval = percentile_bootstrap((x, y), share_of_wins, 0)
    return interval.low, interval.high


def score_interval(x: NDArray, y: NDArray) -> Ends:
    """Newcombe's, with the normal quantile."""
    return newcombe(float(share_of_wins(x, y)), len(x), len(y), float(scipy.special.ndtri(0.975)))


def used_for_wins(x: NDArray, y: NDArray) -> Ends:
    """What `prefloop compare` prints."""
    interval = probability_of_improvement(x, y)
    return interval.low, interval.high


PAIR_METHODS: dict[str, Callable[[NDArray, NDArray], Ends]] = {
    "percentile bootstrap": percentile_of_wins,
    "Newcombe's score interval": score_interval,
    "**wider of percentile and Newcombe with t**": used_for_wins,
}


# scores of runs, by the number of the task: each has its own level, and mostly its own spread
TASKS: dict[str, Callable[[np.random.Generator, int, int], NDArray]] = {
    "normal": lambda rng, n, task: rng.normal(0.2 * task, 0.1 * (1 + task), n),
    "skewed (exponential)": lambda rng, n, task: 0.2 * task + 0.2 * rng.exponential(size=n),
    "one run in five fails": lambda rng, n, task: (
        np.where(rng.random(n) < 0.2, 0.0, 0.8) + rng.normal(0, 0.05, n) - 0.1 * task
    ),
    "some at the maximum": lambda rng, n, task: np.minimum(
        rng.normal(0.9 - 0.1 * task, 0.2, n), 1.0
    ),
}
NUM_TASKS = 3
# figures over tasks: of scores and of another method's, which are 0.1 lower
FIGURES: dict[str, Callable[[list[NDArray], list[NDArray]], Interval]] = {
    "IQM, percentile bootstrap": lambda x, y: stratified(x, interquartile_mean, 0),
    "**IQM, wider of percentile and trimmed t**": lambda x, y: iqm_across(x),
    "**optimality gap**": lambda x, y: optimality_gap(x),
    "**probability of improvement**": lambda x, y: improvement_across(x, y),
    "**share of runs above 0.5**": lambda x, y: performance_profile(x, np.array([0.5]))[0],
}


def across_tasks(kind: str, figure: str, repeats: int) -> list[str]:
    """The cells of a row of the third table."""

    def draw(rng: np.random.Generator, n: int) -> tuple[list[NDArray], list[NDArray]]:
        found = [[TASKS[kind](rng, n, task) for task in range(NUM_TASKS)] for _ in range(2)]
        return found[0], [scores - 0.1 for scores in found[1]]

    x, y = draw(np.random.default_rng(1), MANY // 10)
    everything = np.concatenate(x)
    wins = [0.5 * (np.sign(a - b) + 1) for a, b in zip(x, y, strict=True)]
    truth = {
        "IQM": interquartile_mean(everything),
        "opt": np.maximum(1 - everything, 0).mean(),
        "pro": np.mean(wins),
        "sha": (everything > 0.5).mean(),
    }[figure.strip("*")[:3]]
    rng, rows = np.random.default_rng(0), []
    for n in SEEDS:
        found = [FIGURES[figure](*draw(rng, n)) for _ in range(repeats)]
        rows.append(cell([(i.low, i.high) for i in found], float(truth)))
    return rows


def truth_of_wins(draw: Draw) -> float:
    """From many pairs, each of two runs."""
    rng = np.random.default_rng(1)
    return float((0.5 * (np.sign(draw(rng, MANY) - rng.normal(size=MANY)) + 1)).mean())


def cell(ends: list[Ends], truth: float) -> str:
    """Coverage and median width."""
    low, high = np.array(ends).T
    # an interval without width that is the truth to the last bit but one holds it
    holds = (low <= truth + 1e-9) & (truth - 1e-9 <= high)
    with np.errstate(invalid="ignore"):
        width = np.median(np.nan_to_num(high - low, nan=np.inf))
    return f"{holds.mean():.2f} ({'inf' if np.isinf(width) else f'{width:.2f}'})"


def one_sample(kind: str, method: str, repeats: int) -> list[str]:
    """The cells of a row of the first table."""
    warnings.simplefilter("ignore")  # of BCa, about samples without spread
    interval, statistic = METHODS[method]
    truth = float(statistic(RETURNS[kind](np.random.default_rng(1), MANY)))
    rng = np.random.default_rng(0)
    return [cell([interval(RETURNS[kind](rng, n)) for _ in range(repeats)], truth) for n in SEEDS]


def two_samples(kind: str, method: str, repeats: int) -> list[str]:
    """The cells of a row of the second table."""
    truth, rng = truth_of_wins(PAIRS[kind]), np.random.default_rng(0)
    return [
        cell(
            [PAIR_METHODS[method](PAIRS[kind](rng, n), rng.normal(size=n)) for _ in range(repeats)],
            truth,
        )
        for n in SEEDS
    ]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000, help="samples of each kind and size")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    tables = (
        ("returns", one_sample, RETURNS, METHODS),
        ("method (probability of improvement)", two_samples, PAIRS, PAIR_METHODS),
        ("scores of three tasks", across_tasks, TASKS, FIGURES),
    )
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        rows = {
            (title, kind, method): pool.submit(row, kind, method, arguments.repeats)
            for title, row, kinds, methods in tables
            for kind in kinds
            for method in methods
        }
        for title, _, kinds, methods in tables:
            print(f"| {title} | interval | " + " | ".join(f"{n} seeds" for n in SEEDS) + " |")
            print("|---|---|" + "---|" * len(SEEDS))
            for kind in kinds:
                for method in methods:
                    cells = rows[title, kind, method].result()
                    print(f"| {kind} | {method} | " + " | ".join(cells) + " |", flush=True)
            print()


if __name__ == "__main__":
    main()
