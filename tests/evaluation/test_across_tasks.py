import math

import numpy as np
import pytest

from prefloop.evaluation.across_tasks import (
    improvement_across,
    iqm_across,
    mean_of,
    optimality_gap,
    performance_profile,
)
from prefloop.evaluation.statistics import (
    Interval,
    iqm_band,
    iqm_interval,
    probability_of_improvement,
    student,
)

RNG = np.random.default_rng(0)


def test_of_one_task_it_is_what_it_always_was():
    x, y = RNG.normal(size=5), RNG.normal(size=4)
    one, always = iqm_across([x]), iqm_interval(x)
    assert (one.value, one.low, one.high) == pytest.approx((always.value, always.low, always.high))
    one, always = improvement_across([x], [y]), probability_of_improvement(x, y)
    assert (one.value, one.low, one.high) == pytest.approx((always.value, always.low, always.high))


def test_the_middle_half_of_all_runs_of_all_tasks():
    # of eight runs the middle four: 2, 3, 10, 20
    found = iqm_across([np.array([1.0, 2, 3, 10]), np.array([0.0, 20, 30, 40])])
    assert found.value == pytest.approx((2 + 3 + 10 + 20) / 4)
    # which tasks there are is no chance: runs that agree within their tasks leave nothing open
    sure = iqm_across([np.full(3, 0.1), np.full(3, 0.9)])
    assert (sure.value, sure.low, sure.high) == pytest.approx((0.5, 0.5, 0.5))
    # but one task alone is as open as its runs differ
    open_ = iqm_across([np.array([0.0, 0.1, 0.2]), np.full(3, 0.9)])
    assert open_.low < 0.5 < open_.high


def test_the_gap_by_hand():
    # 0.5 and 0 below 1; what is above counts as 1
    found = optimality_gap([np.array([0.5, 1.5]), np.array([0.8, 0.8])])
    assert found.value == pytest.approx((0.5 + 0 + 0.2 + 0.2) / 4)
    # the runs of the first task alone differ: variance 0.125, twice, of four runs; one degree of freedom
    half = math.sqrt(2 * 0.125) / 4 * student(1)
    assert found.high == pytest.approx(found.value + half) and found.low == 0.0
    assert math.isnan(optimality_gap([np.array([0.5]), np.array([0.1])]).low)


def test_shares_are_averaged_over_tasks_and_so_are_their_intervals():
    below = mean_of([Interval(0.5, 0.2, 0.9), Interval(1.0, 0.6, 1.0)])
    assert below.value == pytest.approx(0.75)
    assert below.low == pytest.approx(0.75 - math.hypot(0.3, 0.4) / 2)
    assert below.high == pytest.approx(0.75 + 0.4 / 2)
    wins = improvement_across([np.ones(3), np.zeros(3)], [np.zeros(3), np.ones(3)])
    assert wins.value == 0.5
    # Wilson's interval of 3 of 4 is 0.301 to 0.954
    (profile,) = performance_profile([np.array([0.1, 0.6, 0.7, 0.9])], np.array([0.5]))
    assert profile.value == 0.75
    assert (profile.low, profile.high) == pytest.approx((0.3006, 0.9544), abs=1e-3)


def test_a_band_is_the_interval_at_each_point():
    curves = np.stack([np.arange(4.0) + i**2 for i in range(5)])
    mean, low, high = iqm_band(curves, bounds=(-math.inf, 12.0))
    for i in range(4):
        at = iqm_interval(curves[:, i], (-math.inf, 12.0))
        assert mean[i] == pytest.approx(at.value)
        assert (low[i], high[i]) == pytest.approx((at.low, at.high), abs=0.3)
    assert np.isnan(iqm_band(curves[:1])[1]).all()


@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_over_tasks_hold_what_they_say(seeds):
    """More of it: docs/compare.md. Tasks differ in level and in spread."""
    rng, hits, times = np.random.default_rng(1), np.zeros(2), 60

    def draw(n):
        return [rng.normal(0.2 * t, 0.1 * (1 + t), n) for t in range(3)]

    many = np.concatenate(draw(200_000))
    truths = iqm_of(many), np.maximum(1 - many, 0).mean()
    for _ in range(times):
        scores = draw(seeds)
        for i, (found, truth) in enumerate(
            zip((iqm_across(scores), optimality_gap(scores)), truths, strict=True)
        ):
            hits[i] += found.low <= truth <= found.high
    assert (hits / times > 0.83).all()  # of 0.95, four standard errors below


def iqm_of(x):
    x = np.sort(x)
    return x[len(x) // 4 : -(len(x) // 4)].mean()
