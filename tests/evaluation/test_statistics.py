import math
import tracemalloc

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats

from prefloop.envs.registered import return_bounds
from prefloop.evaluation.statistics import (
    bootstrap_of_wins,
    iqm_band,
    iqm_interval,
    mean_estimate,
    newcombe,
    percentile_bootstrap,
    probability_of_improvement,
    rank_correlation,
    share_interval,
    trimmed_t,
)


def test_interval_by_hand():
    # mean 3, s = sqrt(2.5), standard error = sqrt(2.5 / 5), t(4, 0.975) = 2.776445
    e = mean_estimate([1, 2, 3, 4, 5])
    assert (e.mean, e.standard_error) == pytest.approx((3, math.sqrt(0.5)))
    assert (e.low, e.high) == pytest.approx(
        (3 - 2.776445 * math.sqrt(0.5), 3 + 2.776445 * math.sqrt(0.5))
    )


def test_one_draw_says_nothing_of_its_spread():
    e = mean_estimate([7])
    assert e.mean == 7
    assert all(math.isnan(x) for x in (e.standard_error, e.low, e.high))


def test_the_interval_holds_the_mean_95_times_in_100():
    rng = np.random.default_rng(0)
    estimates = [mean_estimate(rng.normal(1, 3, size=5)) for _ in range(2000)]
    assert np.mean([e.low <= 1 <= e.high for e in estimates]) == pytest.approx(0.95, abs=0.015)


def test_rank_correlation_with_ties_equals_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.integers(5, size=40), rng.integers(5, size=40)
    assert rank_correlation(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_no_interval_passes_the_bounds():
    returns = [200.0] * 9 + [185.0]
    assert mean_estimate(returns).high > 200
    bounded = mean_estimate(returns, return_bounds("CartPole-v0"))
    assert bounded.high == 200
    assert bounded.low == mean_estimate(returns).low
    assert mean_estimate([-1.0, -199.0], return_bounds("MountainCar-v0")).low == -200
    runs = [200.0, 198.0, 150.0]
    assert iqm_interval(runs).high > 200
    assert iqm_interval(runs, return_bounds("CartPole-v0")).high == 200
    assert iqm_interval(runs, return_bounds("CartPole-v0")).low == iqm_interval(runs).low
    for wins in ([1.0] * 3, [0.0] * 3, [0.0, 1.0]):
        interval = probability_of_improvement(wins, [0.5, 0.4])
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize(
    ("env_id", "bounds"),
    [
        ("CartPole-v0", (1, 200)),
        ("CartPole-v1", (1, 500)),
        ("MountainCar-v0", (-200, -1)),
        ("Acrobot-v1", (-500, 0)),
        ("MountainCarContinuous-v0", (-math.inf, math.inf)),
    ],
)
def test_returns_that_are_possible(env_id, bounds):
    assert return_bounds(env_id) == bounds


def test_a_pendulum_can_do_no_worse():
    low, high = return_bounds("Pendulum-v1")
    # hanging down is pi from upright, the speed is limited to 8 and the torque to 2
    assert (low / 200, high) == pytest.approx((-(math.pi**2 + 6.4 + 0.004), 0))


def test_other_rewards_have_other_bounds():
    gym.register("SuttonsCartPole-v0", gym.spec("CartPole-v1").entry_point, max_episode_steps=9,
                 kwargs={"sutton_barto_reward": True})  # fmt: skip
    try:
        assert return_bounds("SuttonsCartPole-v0") == (-math.inf, math.inf)
    finally:
        del gym.registry["SuttonsCartPole-v0"]


def test_trimmed_t_by_hand():
    # the middle of 1, 2, 4, 9, 50 is 2, 4, 9; with the ends drawn in: 2, 2, 4, 9, 9, mean 5.2
    spread = math.sqrt((2 * 3.2**2 + 1.2**2 + 2 * 3.8**2) / 4)
    # t(2, 0.975) = 4.302653
    half_width = 4.302653 * spread * math.sqrt(5) / 3
    assert trimmed_t(np.array([50.0, 1, 9, 2, 4])) == pytest.approx(
        (5 - half_width, 5 + half_width)
    )


def test_intervals_of_the_interquartile_mean_by_known_cases():
    assert iqm_interval([5.0, 5.0, 5.0]).low == iqm_interval([5.0, 5.0, 5.0]).high == 5.0
    alone = iqm_interval([5.0])
    assert alone.value == 5.0 and math.isnan(alone.low)
    # a single run that fails is not in the middle, and may be in that of other seeds
    runs = [200.0, 200.0, 200.0, 200.0, 50.0]
    interval = iqm_interval(runs)
    assert interval.value == interval.high == 200 and interval.low < 160
    assert iqm_interval(runs, seed=1).low == pytest.approx(interval.low, abs=1)


def test_a_band_is_that_of_each_point_whatever_their_number():
    curves = np.random.default_rng(0).normal(size=(20, 400))
    tracemalloc.start()
    try:
        band = iqm_band(curves)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # all resamples of all points would be 128 MB, several times over
    assert peak < 1.5e8
    for point in (0, 123, 399):
        one = iqm_interval(curves[:, point])
        assert [values[point] for values in band] == pytest.approx([one.value, one.low, one.high])


@pytest.mark.parametrize("num_runs", [3, 5, 10])
def test_the_interquartile_mean_is_held_95_times_in_100(num_runs):
    rng = np.random.default_rng(0)
    intervals = [iqm_interval(rng.normal(size=num_runs)) for _ in range(400)]
    # less than 0.92 in one case of two hundred, if it is 0.95
    assert np.mean([i.low <= 0 <= i.high for i in intervals]) > 0.92


def test_probability_of_improvement_by_known_cases():
    assert probability_of_improvement([2, 3], [0, 1]).value == 1.0
    assert probability_of_improvement([1, 1], [1, 1]).value == 0.5
    assert probability_of_improvement([0, 2], [1, 1]).value == 0.5
    assert math.isnan(probability_of_improvement([1], [0, 2]).low)


def test_the_bootstrap_of_wins_by_counts_is_scipys_of_runs():
    rng = np.random.default_rng(0)
    for n, m in ((2, 3), (5, 5), (7, 4)):
        x, y = rng.integers(4, size=n), rng.integers(4, size=m)  # with ties

        def share_of_wins(a, b, axis=-1):
            wins = np.sign(
                np.moveaxis(a, axis, -1)[..., :, None] - np.moveaxis(b, axis, -1)[..., None, :]
            )
            return (0.5 * (wins + 1)).mean(axis=(-2, -1))

        expected = percentile_bootstrap((x, y), share_of_wins, 3)
        assert bootstrap_of_wins(x, y, 3) == expected


def test_wins_of_many_runs_take_the_memory_of_runs_and_not_of_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=500), rng.normal(size=400)
    tracemalloc.start()
    try:
        interval = probability_of_improvement(x, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert interval.low < 0.5 < interval.high
    # all pairs of 2,000 resamples would be 3.2 GB
    assert peak < 2e8


def test_five_wins_of_five_are_not_certain():
    better = probability_of_improvement([6, 7, 8, 9, 10], [1, 2, 3, 4, 5])
    worse = probability_of_improvement([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert (better.value, better.high) == (1, 1)
    assert 0.5 < better.low < 0.7
    assert (worse.low, worse.high) == pytest.approx((0, 1 - better.low))


def test_newcombes_ends_lie_as_far_as_he_says():
    low, high = newcombe(0.8, 6, 4, 1.96)
    for end in (low, high):
        spread = (1 - end) / (2 - end) + end / (1 + end)
        error = math.sqrt(end * (1 - end) * (1 + 4 * spread) / 24)
        assert abs(0.8 - end) == pytest.approx(1.96 * error)
    assert low < 0.8 < high
    assert newcombe(0.2, 4, 6, 1.96) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("shift", [0, 2])
def test_the_probability_of_improvement_is_held_95_times_in_100(shift):
    rng = np.random.default_rng(0)
    truth = scipy.stats.norm.cdf(shift / math.sqrt(2))
    held = [
        (i := probability_of_improvement(rng.normal(shift, 1, 5), rng.normal(size=5))).low
        <= truth
        <= i.high
        for _ in range(400)
    ]
    assert np.mean(held) > 0.92


def test_a_shares_interval_by_known_cases():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: score
    assert share_interval([1] * 81 + [0] * 182).low == pytest.approx(0.2553, abs=5e-5)
    assert share_interval([1] * 81 + [0] * 182).high == pytest.approx(0.3662, abs=5e-5)
    e = share_interval([0] * 20)
    assert (e.value, e.low) == (0, 0) and e.high == pytest.approx(0.1611, abs=5e-5)
    assert math.isnan(share_interval([]).value)
