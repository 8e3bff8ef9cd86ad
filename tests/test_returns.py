import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefloop.returns import episode_returns, rewards_to_go


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


def test_lengths_that_do_not_add_up():
    with pytest.raises(ValueError, match="add up to 4"):
        rewards_to_go(np.ones(5), np.array([2, 2]))
