import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vpg
from prefloop.returns import episode_returns, generalized_advantages


def rewards_to_go(rewards, lengths):
    """Of episodes one after the other in one environment, as vpg.py computes them."""
    ended = np.isin(np.arange(len(rewards)), np.cumsum(lengths) - 1)
    return vpg.rewards_to_go(rewards[None], ended[None])[0]


def test_two_episodes_by_hand():
    rewards, lengths = np.array([1.0, 2.0, 3.0, 10.0, 20.0]), np.array([3, 2])
    assert rewards_to_go(rewards, lengths).tolist() == [6, 5, 3, 30, 20]
    assert episode_returns(rewards, lengths).tolist() == [6, 30]


@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=20), min_size=1, max_size=8))
def test_each_step_adds_its_reward_to_what_follows(episodes):
    rewards = np.concatenate([np.array(episode) for episode in episodes])
    to_go = rewards_to_go(rewards, np.array([len(episode) for episode in episodes]))
    start = 0
    for episode in episodes:
        own = to_go[start : start + len(episode)]
        assert np.allclose(own[:-1], np.array(episode[:-1]) + own[1:], atol=1e-8)
        assert np.isclose(own[-1], episode[-1], atol=1e-8)
        start += len(episode)


def gae(rewards, values, terminated=(), truncated=(), gamma=0.9, gae_lambda=0.5):
    """Of a single environment, whose steps in `terminated` and `truncated` end episodes."""
    steps = np.arange(len(rewards))
    columns = [np.array(rewards, float), np.array(values, float)]
    columns += [np.isin(steps, terminated), np.isin(steps, truncated)]
    return generalized_advantages(*(x[:, None] for x in columns), gamma, gae_lambda)[:, 0].tolist()


def test_advantages_of_three_steps_by_hand():
    # deltas: 1 + .9 * 4 - 2 = 2.6;  2 + .9 * 6 - 4 = 3.4;  3 + .9 * 8 - 6 = 4.2
    # carried on by .9 * .5: 3.4 + .45 * 4.2 = 5.29;  2.6 + .45 * 5.29 = 4.9805
    assert gae([1, 2, 3], [2, 4, 6, 8]) == pytest.approx([4.9805, 5.29, 4.2])


def test_nothing_is_gained_after_a_terminal_state():
    # the second step's delta is 2 - 4 = -2, and nothing of the third reaches it
    assert gae([1, 2, 3], [2, 4, 6, 8], terminated=[1]) == pytest.approx([1.7, -2, 4.2])


def test_a_time_limit_is_bootstrapped_through():
    # the second step's delta stays 3.4; the third is of another episode
    assert gae([1, 2, 3], [2, 4, 6, 8], truncated=[1]) == pytest.approx([4.13, 3.4, 4.2])
    both = gae([1, 2, 3], [2, 4, 6, 8], terminated=[1], truncated=[1])
    assert both == pytest.approx([1.7, -2, 4.2])


def test_lambda_0_is_the_one_step_error():
    assert gae([1, 2, 3], [2, 4, 6, 8], gae_lambda=0) == pytest.approx([2.6, 3.4, 4.2])


def test_lambda_1_is_the_return_less_the_value():
    advantages = gae([1, 2, 3], [2, 4, 6, 8], terminated=[2], gamma=1.0, gae_lambda=1)
    assert advantages == pytest.approx([6 - 2, 5 - 4, 3 - 6])


@given(st.integers(0, 2**32 - 1))
def test_environments_do_not_touch_each_other(seed):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(6, 3)), rng.normal(size=(7, 3))
    terminated, truncated = rng.random((2, 6, 3)) < 0.3
    together = generalized_advantages(rewards, values, terminated, truncated, 0.97, 0.9)
    for i in range(3):
        alone = gae(
            rewards[:, i], values[:, i], *map(np.flatnonzero, (terminated[:, i], truncated[:, i])),
            gamma=0.97, gae_lambda=0.9,
        )  # fmt: skip
        np.testing.assert_allclose(together[:, i], alone)


def test_episodes_without_steps_shift_nothing():
    rewards, lengths = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 2, 0, 0, 1, 1, 0])
    assert episode_returns(rewards, lengths).tolist() == [0, 3, 0, 0, 4, 8, 0]
    assert rewards_to_go(rewards, lengths).tolist() == [3, 2, 4, 8]
    nothing = np.zeros(0)
    assert episode_returns(nothing, np.zeros(2, int)).tolist() == [0, 0]
    assert len(episode_returns(nothing, np.zeros(0, int))) == 0
    assert len(rewards_to_go(nothing, np.zeros(0, int))) == 0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e17])
def test_what_is_odd_in_one_episode_stays_there(odd):
    rewards, lengths = np.array([0.1, 0.2, odd, 1.0, 0.1, 0.2]), np.array([2, 2, 2])
    to_go, returns = rewards_to_go(rewards, lengths), episode_returns(rewards, lengths)
    np.testing.assert_array_equal(to_go[[0, 1, 4, 5]], [0.2 + 0.1, 0.2, 0.2 + 0.1, 0.2])
    np.testing.assert_array_equal(returns[[0, 2]], [0.1 + 0.2, 0.1 + 0.2])
    np.testing.assert_array_equal(to_go[2:4], [odd + 1, 1])  # and before it, in its own
    np.testing.assert_array_equal(returns[1], odd + 1)


def test_integer_rewards():
    assert rewards_to_go(np.array([1, 2, 3]), np.array([2, 1])).tolist() == [3, 2, 3]


def test_lengths_that_do_not_add_up_to_returns():
    with pytest.raises(ValueError, match="add up to 4"):
        episode_returns(np.ones(5), np.array([2, 2]))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e17])
def test_advantages_do_not_reach_across_the_end_of_an_episode(odd):
    rewards, values = [1, 2, odd], [2, 4, 6, 8]
    assert gae(rewards, values, terminated=[1])[:2] == pytest.approx([1.7, -2])
    assert gae(rewards, values, truncated=[1])[:2] == pytest.approx([4.13, 3.4])
    # what a terminal state is said to be worth does not count
    assert gae([1, 2, 3], [2, 4, odd, 8], terminated=[1])[:2] == pytest.approx([1.7, -2])
