"""Figures with their uncertainty."""

from dataclasses import dataclass

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
