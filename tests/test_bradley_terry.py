import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefloop.bradley_terry import bradley_terry_loss

returns = st.floats(-50, 50)


def loss(first, second, label):
    return bradley_terry_loss(
        *(torch.tensor([x], dtype=torch.float64) for x in (first, second, label))
    ).item()


def test_equal_returns_cost_ln_2():
    assert loss(3.0, 3.0, 1.0) == pytest.approx(math.log(2))
    assert loss(3.0, 3.0, 0.5) == pytest.approx(math.log(2))


def test_by_hand():
    # P(second preferred) = 1 / (1 + e^-1) = 0.731059
    assert loss(1.0, 2.0, 1.0) == pytest.approx(-math.log(0.7310585786))
    assert loss(1.0, 2.0, 0.0) == pytest.approx(-math.log(1 - 0.7310585786))


@given(returns, returns, st.floats(0, 1))
def test_swapping_the_pair_and_its_label_changes_nothing(first, second, label):
    assert loss(first, second, label) == pytest.approx(loss(second, first, 1 - label), abs=1e-9)


@given(returns, returns)
def test_a_tie_is_cheapest_at_equal_returns(first, second):
    assert loss(first, second, 0.5) >= math.log(2) - 1e-12


def test_large_gaps_stay_finite():
    assert loss(0.0, 1e5, 0.0) == pytest.approx(1e5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        bradley_terry_loss(torch.zeros(3), torch.zeros(3), torch.zeros(2))
