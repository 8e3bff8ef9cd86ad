"""Figures over several tasks at once, of scores that are normalised per task, with 95 % intervals.

Runs are drawn anew within each task, never between tasks: which tasks there are is no chance. Where few
seeds make the bootstrap too narrow, an interval that is exact for one task is carried over to many.

How often the intervals hold what they are about: benchmarks/interval_coverage.py, docs/compare.md.
Source: Agarwal et al. 2021, arXiv:2108.13264.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.evaluation.shares import score_interval
from prefloop.evaluation.statistics import (
    CUT,
    UNBOUNDED,
    Bounds,
    Interval,
    interquartile_mean,
    percentile_bootstrap,
    probability_of_improvement,
    student,
)

Scores = Sequence[NDArray]  # of each task, one per run: [n] each
AT_LEAST: Bounds = (0.0, math.inf)


def iqm_across(scores: Scores, seed: int = 0) -> Interval:
    """Interquartile mean of all runs of all tasks, and an interval that holds that of all seeds.

    At each end the wider of two: the stratified bootstrap, and Tukey and McLaughlin's t, whose spread is
    that of the winsorised runs within their tasks, its degrees of freedom by Welch and Satterthwaite. Of
    one task it is `iqm_interval`.

    Args:
        scores: of each task; one per run, [n] each.
        seed: of the resampling.

    Sources: Agarwal et al. 2021, section 4.3; Tukey and McLaughlin 1963, Sankhya A 25; Satterthwaite 1946.
    """
    interval = stratified(scores, interquartile_mean, seed)
    if min(map(len, scores)) < 2:
        return interval
    everything = np.sort(np.concatenate(scores))
    cut = int(CUT * len(everything))
    middle = everything[cut : len(everything) - cut]
    # of each task: the sum's variance, and how many runs of it that is known from
    variances = [len(x) * np.clip(x, middle[0], middle[-1]).var(ddof=1) for x in scores]
    degrees = [len(x) - 2 * int(CUT * len(x)) - 1 for x in scores]
    error = math.sqrt(sum(variances)) / len(middle)
    half_width = error * student(_welch(variances, degrees))
    mean = float(middle.mean())
    return interval.or_wider(mean - half_width, mean + half_width, UNBOUNDED)


def optimality_gap(scores: Scores, seed: int = 0) -> Interval:
    """How far runs stay below a score of 1 on average, those above it counting as 1; less is better.

    Args:
        scores, seed: as `iqm_across`.

    Source: Agarwal et al. 2021, section 4.3.
    """
    gaps = [np.maximum(1 - np.asarray(x, np.float64), 0) for x in scores]
    interval = stratified(gaps, _mean, seed)
    if min(map(len, gaps)) < 2:
        return interval
    total = sum(map(len, gaps))
    variances = [len(x) * x.var(ddof=1) for x in gaps]
    half_width = (
        math.sqrt(sum(variances)) / total * student(_welch(variances, [len(x) - 1 for x in gaps]))
    )
    return interval.or_wider(interval.value - half_width, interval.value + half_width, AT_LEAST)


def improvement_across(scores: Scores, others: Scores, seed: int = 0) -> Interval:
    """How likely a run of one method beats a run of another in the same task, averaged over tasks.

    Each task has its interval (`probability_of_improvement`), and the mean one that is made of theirs.

    Args:
        scores, others: of the same tasks, in the same order; one per run, [n] and [m] each.
        seed: of the resampling.

    Sources: Agarwal et al. 2021, section 4.3; Zou and Donner 2008, "Construction of confidence limits about
        effect measures", Statistics in Medicine 27.
    """
    return mean_of(
        [probability_of_improvement(x, y, seed) for x, y in zip(scores, others, strict=True)]
    )


def performance_profile(scores: Scores, levels: NDArray) -> list[Interval]:
    """Share of runs whose score is above each level, averaged over tasks.

    Args:
        scores: as `iqm_across`.
        levels: of a score; [levels].

    Sources: Agarwal et al. 2021, section 4.2; Wilson 1927 for a task's share, Zou and Donner 2008 for the mean.
    """

    def share(x: NDArray, level: float) -> Interval:
        above = float((x > level).sum())
        return Interval(above / len(x), *score_interval(above, len(x)))

    return [mean_of([share(np.asarray(x), level) for x in scores]) for level in levels]


def mean_of(intervals: Sequence[Interval]) -> Interval:
    """The mean of independent estimates between 0 and 1; of one it is that one.

    Source: Zou and Donner 2008 (each end as far away as the root of the others' squared distances).
    """
    value = float(np.mean([i.value for i in intervals]))
    below, above = (
        math.sqrt(sum((getattr(i, end) - i.value) ** 2 for i in intervals)) / len(intervals)
        for end in ("low", "high")
    )
    return Interval(value, value - below, value + above)


def stratified(scores: Scores, statistic: Callable[..., Any], seed: int) -> Interval:
    """The percentile bootstrap of all runs together, drawn anew within each task."""

    def of_all(*samples: NDArray, axis: int = -1) -> Any:
        return statistic(np.concatenate(samples, axis=axis), axis=axis)

    return percentile_bootstrap(tuple(np.asarray(x, np.float64) for x in scores), of_all, seed)


def _mean(x: NDArray, axis: int = -1) -> Any:
    return x.mean(axis=axis)


def _welch(variances: Sequence[float], degrees: Sequence[int]) -> float:
    """Degrees of freedom of a sum's variance, from those of its parts."""
    parts = sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    return sum(variances) ** 2 / parts if parts > 0 else float(sum(degrees))
