"""Figures with their uncertainty."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are loaded when they are first used
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class MeanEstimate:
    """A sample's mean and how far to trust it.

    Attributes:
        mean: of the sample.
        standard_error: of the mean; NaN for a sample of one.
        low, high: 95 % confidence interval, Student's t; NaN for a sample of one.
    """

    mean: float
    standard_error: float
    low: float
    high: float


def mean_estimate(sample: ArrayLike) -> MeanEstimate:
    """Mean, standard error and 95 % confidence interval of a sample.

    Args:
        sample: independent draws; [n], n >= 1.
    """
    x = np.asarray(sample, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return MeanEstimate(mean, *[float("nan")] * 3)
    standard_error = float(x.std(ddof=1) / np.sqrt(len(x)))
    half_width = float(scipy.special.stdtrit(len(x) - 1, 0.975)) * standard_error
    return MeanEstimate(mean, standard_error, mean - half_width, mean + half_width)


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
    """A statistic and its 95 % bootstrap interval.

    Attributes:
        value: of the sample.
        low, high: the interval; NaN for a sample of one.
    """

    value: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> Any:
    """Mean of the middle half, which neither one lucky nor one failed run can move far.

    Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3.
    """
    return scipy.stats.trim_mean(np.asarray(scores, dtype=np.float64), 0.25, axis=axis)


def iqm_interval(scores: ArrayLike, seed: int = 0) -> Interval:
    """Interquartile mean of runs, with a percentile bootstrap over seeds.

    With one task, as here, resampling seeds is the stratified bootstrap of Agarwal et al. 2021.

    Args:
        scores: one per run; [n].
        seed: of the resampling.
    """
    x = np.asarray(scores, dtype=np.float64)
    value = float(interquartile_mean(x))
    return _bootstrap((x,), interquartile_mean, value, seed)


def probability_of_improvement(scores: ArrayLike, others: ArrayLike, seed: int = 0) -> Interval:
    """How likely a run of one method beats a run of another; a tie counts half.

    Args:
        scores, others: one per run; [n], [m].
        seed: of the resampling.

    Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3; Mann and Whitney 1947.
    """
    x, y = (np.asarray(s, dtype=np.float64) for s in (scores, others))

    def statistic(a: NDArray, b: NDArray, axis: int = -1) -> Any:
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
        wins = np.sign(a[..., :, None] - b[..., None, :])
        return (0.5 * (wins + 1)).mean(axis=(-2, -1))

    return _bootstrap((x, y), statistic, float(statistic(x, y)), seed)


def _bootstrap(
    samples: tuple[NDArray, ...], statistic: Callable[..., Any], value: float, seed: int
) -> Interval:
    if any(len(sample) < 2 for sample in samples):
        return Interval(value, float("nan"), float("nan"))
    interval = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(interval.low), float(interval.high))
