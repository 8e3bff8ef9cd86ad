import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefloop.bradley_terry import agreement, answered_second, bradley_terry_loss

returns = st.floats(-50, 50)


def loss(first, second, label, label_noise=0.0):
    return bradley_terry_loss(
        *(torch.tensor([x], dtype=torch.float64) for x in (first, second, label)), label_noise
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


def test_noisy_labels_by_hand():
    # 0.9 * 0.731059 + 0.05 = 0.707953: one answer in ten is a coin toss
    assert loss(1.0, 2.0, 1.0, 0.1) == pytest.approx(-math.log(0.7079527227))
    assert loss(1.0, 2.0, 0.0, 0.1) == pytest.approx(-math.log(1 - 0.7079527227))
    assert loss(1.0, 2.0, 0.25, 0.1) == pytest.approx(
        -0.25 * math.log(0.7079527227) - 0.75 * math.log(0.2920472773)
    )
    assert loss(3.0, 3.0, 1.0, 0.1) == pytest.approx(math.log(2))


def test_each_answer_may_have_a_noise_of_its_own():
    first, second, label = torch.tensor([[1.0, 1.0], [2.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    noise = torch.tensor([0.1, 0.98], dtype=torch.float64)
    mean = bradley_terry_loss(first, second, label, noise).item()
    assert mean == pytest.approx((loss(1.0, 2.0, 1.0, 0.1) + loss(1.0, 2.0, 0.0, 0.98)) / 2)
    # of members, each of whom predicts other returns
    both = bradley_terry_loss(*(torch.stack([x, x]) for x in (first, second, label)), noise)
    assert both.item() == pytest.approx(mean)


@given(returns, returns, st.floats(0, 1), st.floats(0.01, 0.9))
def test_a_noisy_label_costs_no_more_than_its_bound(first, second, label, noise):
    assert loss(first, second, label, noise) <= math.log(2 / noise) + 1e-9


def test_a_mistaken_label_does_not_pull_for_ever():
    assert loss(0.0, 1e5, 0.0, 0.1) == pytest.approx(math.log(20))
    second = torch.tensor([1e5], requires_grad=True)
    bradley_terry_loss(torch.zeros(1), second, torch.zeros(1), 0.1).backward()
    assert second.grad.item() == 0


@given(returns, returns, st.floats(0, 1))
def test_hardly_any_noise_is_none(first, second, label):
    assert loss(first, second, label, 1e-100) == pytest.approx(loss(first, second, label))


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_weight_counts_a_pair_so_often(noise):
    first, second = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 3.0, 0.5])
    label, often = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([2, 0, 1])
    repeated = (x.repeat_interleave(often) for x in (first, second, label))
    weighted = bradley_terry_loss(first, second, label, noise, often.float())
    assert weighted.item() == pytest.approx(bradley_terry_loss(*repeated, noise).item())


def test_where_nothing_counts_nothing_is_learned():
    second = torch.ones(2, requires_grad=True)
    value = bradley_terry_loss(torch.zeros(2), second, torch.ones(2), weight=torch.zeros(2))
    value.backward()
    assert value.item() == 0
    assert second.grad.tolist() == [0, 0]


def test_what_is_predicted_to_be_worth_the_same_is_half_right():
    gap = torch.tensor([2.0, -1.0, 0.0, 0.0, 3.0, -1.0])
    label = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.5, 0.2])
    assert agreement(gap, label).tolist() == [1, 0, 0.5, 0.5, 1]


def test_an_answer_may_be_a_coin_toss():
    probability = np.array([0.0, 0.5, 0.75, 1.0])
    assert answered_second(probability, 0.2).tolist() == pytest.approx([0.1, 0.5, 0.7, 0.9])
    # as the loss has it
    gap, zero, second = torch.tensor([math.log(3)]), torch.zeros(1), torch.ones(1)
    loss = bradley_terry_loss(zero, gap, second, label_noise=0.2).item()
    assert loss == pytest.approx(-math.log(0.7), abs=1e-6)
