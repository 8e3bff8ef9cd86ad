"""Figures with their uncertainty.

How often the intervals hold what they are about: benchmarks/interval_coverage.py, docs/compare.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used
from numpy.typing import ArrayLike, NDArray

from prefloop.evaluation.shares import score_interval
from prefloop.seeding import Stream, generator

Bounds = tuple[float, float]  # the lowest and the highest value there can be
UNBOUNDED: Bounds = (-math.inf, math.inf)
CONFIDENCE = 0.95
FEW_SEEDS = 5  # with fewer no interval holds its level whatever the runs are like
RESAMPLES = 2000
MOST_RESAMPLED = 4_000_000  # values at once: 32 MB
CUT = 0.25  # from each end: what is left is the interquartile mean's middle half


@dataclass(frozen=True)
class MeanEstimate:
    """A sample's mean and how far to trust it.

    Attributes:
        mean: of the sample.
        standard_error: of the mean; NaN for a sample of one.
        low, high: 95 % confidence interval, Student's t, cut off at the bounds of what there can be;
            NaN for a sample of one.
    """

    mean: float
    standard_error: float
    low: float
    high: float


def lowest_tenth(returns: NDArray) -> float:
    """Mean of the lowest tenth of returns [episodes], of one at least: what a bad day is like."""
    return float(np.sort(returns)[: max(1, len(returns) // 10)].mean())


def mean_estimate(sample: ArrayLike, bounds: Bounds = UNBOUNDED) -> MeanEstimate:
    """Mean, standard error and 95 % confidence interval of a sample.

    Args:
        sample: independent draws; [n], n >= 1.
        bounds: of a draw, where they are known (`prefloop.envs.registered.return_bounds`).
    """
    x = np.asarray(sample, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return MeanEstimate(mean, *[math.nan] * 3)
    standard_error = float(x.std(ddof=1) / np.sqrt(len(x)))
    half_width = student(len(x) - 1) * standard_error
    return MeanEstimate(
        mean,
        standard_error,
        max(mean - half_width, bounds[0]),
        min(mean + half_width, bounds[1]),
    )


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN if either is constant.

    Args:
        first, second: paired values; [n], n >= 2.
    """
    # by hand: importing scipy.stats takes longer than all of Part 2
    x, y = _mean_ranks(first), _mean_ranks(second)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _mean_ranks(values: ArrayLike) -> NDArray:
    _, position, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[position]


@dataclass(frozen=True)
class Interval:
    """A statistic and its 95 % confidence interval.

    Attributes:
        value: of the sample.
        low, high: the interval; NaN for a sample of one.
    """

    value: float
    low: float
    high: float

    def or_wider(self, low: float, high: float, bounds: Bounds) -> "Interval":
        """The interval that holds both, cut off at the bounds."""
        return Interval(
            self.value, max(min(self.low, low), bounds[0]), min(max(self.high, high), bounds[1])
        )


def share_interval(right: ArrayLike) -> Interval:
    """Share of what is right, and its score interval, which holds also where all or none is.

    Args:
        right: 1 or 0 each, a half where neither; [n]. NaN if there are none.

    Source: `shares.score_interval`.
    """
    x = np.asarray(right, dtype=np.float64)
    if not len(x):
        return Interval(math.nan, math.nan, math.nan)
    return Interval(float(x.mean()), *score_interval(float(x.sum()), len(x), CONFIDENCE))


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> Any:
    """Mean of the middle half, which neither one lucky nor one failed run can move far.

    Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3.
    """
    return scipy.stats.trim_mean(np.asarray(scores, dtype=np.float64), CUT, axis=axis)


def iqm_interval(scores: ArrayLike, bounds: Bounds = UNBOUNDED, seed: int = 0) -> Interval:
    """Interquartile mean of runs, and an interval that holds that of all seeds.

    At each end the wider of two: the percentile bootstrap over seeds (with one task, as here, the
    stratified bootstrap of Agarwal et al. 2021), which is too narrow with few of them; and Student's
    t for a trimmed mean, which takes its spread from the middle runs alone and so fails where a good
    part of the runs lies far away, or at the highest return.

    Args:
        scores: one per run; [n].
        bounds: of a score, where they are known (`prefloop.envs.registered.return_bounds`).
        seed: of the resampling.

    Source: Tukey and McLaughlin 1963, "Less vulnerable confidence and significance procedures for
        location based on a single sample", Sankhya A 25.
    """
    x = np.asarray(scores, dtype=np.float64)
    interval = percentile_bootstrap((x,), interquartile_mean, seed)
    return interval if len(x) < 2 else interval.or_wider(*trimmed_t(x), bounds)


def iqm_band(
    curves: NDArray, bounds: Bounds = UNBOUNDED, seed: int = 0
) -> tuple[NDArray, NDArray, NDArray]:
    """Interquartile means over runs, with intervals, at every point of their curves; whole curves are resampled.

    Args:
        curves: [runs, points].
        bounds: of a value, where they are known.
        seed: of the resampling.

    Returns:
        The interquartile mean and the ends of its interval, NaN for a single run; [points] each.
    """
    mean = interquartile_mean(curves, axis=0)
    if len(curves) < 2:
        return mean, np.full_like(mean, math.nan), np.full_like(mean, math.nan)
    drawn = generator(seed, Stream.RESAMPLING).integers(len(curves), size=(RESAMPLES, len(curves)))
    tail = (1 - CONFIDENCE) / 2
    at_once = max(1, MOST_RESAMPLED // drawn.size)  # points: of all, resamples may be gigabytes
    ends = [
        np.quantile(interquartile_mean(some[drawn], axis=1), [tail, 1 - tail], axis=0)
        for some in np.split(curves, range(at_once, curves.shape[1], at_once), axis=1)
    ]
    low, high = np.concatenate(ends, axis=1)
    trimmed = np.array([trimmed_t(column) for column in curves.T]).T
    low, high = np.minimum(low, trimmed[0]), np.maximum(high, trimmed[1])
    return mean, np.maximum(low, bounds[0]), np.minimum(high, bounds[1])


def trimmed_t(x: NDArray) -> tuple[float, float]:
    """Tukey and McLaughlin's interval of the interquartile mean; x: [n], n >= 2."""
    cut = int(CUT * len(x))
    middle = np.sort(x)[cut : len(x) - cut]
    winsorised = np.clip(x, middle[0], middle[-1])
    standard_error = winsorised.std(ddof=1) * np.sqrt(len(x)) / len(middle)
    half_width = student(len(middle) - 1) * float(standard_error)
    mean = float(middle.mean())
    return mean - half_width, mean + half_width


def probability_of_improvement(scores: ArrayLike, others: ArrayLike, seed: int = 0) -> Interval:
    """How likely a run of one method beats a run of another; a tie counts half.

    The interval is at each end the wider of two: the percentile bootstrap over runs of both, which
    has no width where all runs of one beat all of the other; and Newcombe's score interval, with
    Student's t in the place of the normal quantile, which supposes alike spreads.

    Args:
        scores, others: one per run; [n], [m].
        seed: of the resampling.

    Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3; Mann and Whitney 1947; Newcombe 2006,
        "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2",
        Statistics in Medicine 25, method 5.
    """
    x, y = (np.asarray(s, dtype=np.float64) for s in (scores, others))
    interval = bootstrap_of_wins(x, y, seed)
    if min(len(x), len(y)) < 2:
        return interval
    quantile = student(len(x) + len(y) - 2)
    return interval.or_wider(*newcombe(interval.value, len(x), len(y), quantile), (0.0, 1.0))


def bootstrap_of_wins(x: NDArray, y: NDArray, seed: int) -> Interval:
    """`percentile_bootstrap` of the share of pairs that a run of `x` wins, without the pairs of each resample.

    Which runs win is the same in all of them, so that it is enough how often each was drawn.
    """
    n, m = len(x), len(y)
    wins = 0.5 * (np.sign(x[:, None] - y) + 1)
    value = float(wins.mean())
    if min(n, m) < 2:
        return Interval(value, math.nan, math.nan)
    rng = generator(seed, Stream.RESAMPLING)
    ours, theirs = _times_drawn(rng, n), _times_drawn(rng, m)  # in this order, as SciPy draws them
    shares = np.einsum("rm,rm->r", ours @ wins, theirs) / (n * m)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(shares, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _times_drawn(rng: np.random.Generator, n: int) -> NDArray:
    """How often each of n runs is in each resample; [RESAMPLES, n]."""
    drawn = rng.integers(n, size=(RESAMPLES, n)) + n * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n).astype(float)


def newcombe(share: float, n: int, m: int, quantile: float) -> tuple[float, float]:
    """Score interval of a probability of improvement.

    Args:
        share: of the pairs of runs that the method wins, a tie counting half.
        n, m: runs of the method and of the other.
        quantile: how many standard errors the ends are away.
    """

    def excess(truth: float, share: float) -> float:
        """How much further than `quantile` standard errors a share lies from the truth."""
        spread = (1 - truth) / (2 - truth) + truth / (1 + truth)
        variance = truth * (1 - truth) * (1 + ((n + m) / 2 - 1) * spread) / (n * m)
        return abs(share - truth) - quantile * math.sqrt(variance)

    def lowest(share: float) -> float:
        # the share itself is a root, too, where it is 1
        below = share * (1 - 1e-12)
        return scipy.optimize.brentq(excess, 0.0, below, args=(share,)) if share > 0 else 0.0

    return lowest(share), 1 - lowest(1 - share)


def percentile_bootstrap(
    samples: tuple[NDArray, ...], statistic: Callable[..., Any], seed: int
) -> Interval:
    """A statistic of samples and its 95 % percentile bootstrap; without one for a sample of one.

    Args:
        samples: [n] each; resampled independently of each other.
        statistic: of the samples, along an `axis`.
        seed: of the resampling.
    """
    value = float(statistic(*samples))
    if any(len(sample) < 2 for sample in samples):
        return Interval(value, math.nan, math.nan)
    interval = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=generator(seed, Stream.RESAMPLING),
    ).confidence_interval
    return Interval(value, float(interval.low), float(interval.high))


def student(degrees: float) -> float:
    """The quantile of Student's t for a 95 % interval.

    Args:
        degrees: of freedom, which need not be whole.
    """
    return float(scipy.special.stdtrit(degrees, 0.5 + CONFIDENCE / 2))
