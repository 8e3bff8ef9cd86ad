import math

import numpy as np
import pytest
import scipy.stats

from prefloop.evaluation.statistics import mean_estimate, rank_correlation


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
