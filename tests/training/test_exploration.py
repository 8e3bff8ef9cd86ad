import numpy as np
import pytest

from prefloop.data.replay_buffer import ReplayBuffer, Transitions
from prefloop.envs.spaces import Spaces
from prefloop.training.exploration import StateEntropy, state_entropy
from prefloop.training.settings import ExplorationSettings

SPACES = Spaces((2,), "float32", False, 1, (-1.0,), (1.0,))


def test_what_lies_apart_is_worth_more():
    rng = np.random.default_rng(0)
    crowd, alone = rng.normal(0, 0.1, (300, 2)), np.array([[3.0, 3.0]])
    past = np.concatenate([crowd, alone]).astype(np.float32)
    paid = state_entropy(past, past, 5)
    assert paid.argmax() == 300
    assert paid[300] > 2 * paid[:300].max()


def test_distance_by_hand():
    past = np.array([[-1.0], [0.0], [1.0]], np.float32)  # of deviation 1
    # the second nearest of -1, itself left out, is 1: two away
    paid = state_entropy(np.array([[-1.0]], np.float32), past, 2)
    assert paid[0] == pytest.approx(np.log(3), rel=1e-5)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_units_do_not_matter_and_what_never_varies_does_not_either(unit):
    rng = np.random.default_rng(0)
    past = np.column_stack([rng.normal(size=(200, 2)), np.full(200, 7)]).astype(np.float32)
    scaled = past * np.array([unit, 1, 1], np.float32)
    expected = state_entropy(past, past, 3)
    np.testing.assert_allclose(state_entropy(scaled, scaled, 3), expected, rtol=1e-3)


def test_a_state_is_not_its_own_neighbour_while_there_are_few(tmp_path):
    """Where each was drawn ten times, nearly all were paid nothing."""
    replay, rng = ReplayBuffer(tmp_path, SPACES, 1, 400), np.random.default_rng(0)
    no = np.zeros(1, bool)
    for _ in range(201):
        replay.add(rng.normal(size=(1, 2)), np.zeros((1, 1)), np.zeros(1), no, no, no)
    batch = replay.sample(64, rng)
    entropy = StateEntropy(ExplorationSettings(states=2048), "cpu")
    paid = entropy(batch, replay, rng).rewards
    every = replay.every_state()
    assert len(np.unique(every, axis=0)) == len(every) == 200
    expected = state_entropy(batch.next_obs, every, 5)
    assert (expected > 0).all()
    np.testing.assert_allclose(paid / paid.std(), expected / expected.std(), rtol=1e-4)


def test_the_first_steps_have_few_neighbours():
    past = np.array([[-1.0], [1.0]], np.float32)
    assert state_entropy(past, past, 5) == pytest.approx([np.log(1 + 2 / np.sqrt(2))] * 2, rel=1e-5)
    assert state_entropy(past[:1], past[:1], 5) == [0]


def test_an_offset_does_not_matter():
    """Where distances are small beside it, as with positions far from the origin."""
    past = np.random.default_rng(0).normal(0, 0.05, (200, 3))
    expected = state_entropy(past, past, 3)
    found = state_entropy(past + 100, past + 100, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_it_is_paid_when_steps_are_drawn_on_a_scale_of_one(tmp_path):
    replay, rng = ReplayBuffer(tmp_path, SPACES, 1, 400), np.random.default_rng(0)
    no = np.zeros(1, bool)
    for _ in range(300):
        state = rng.normal(size=(1, 2)).astype(np.float32)
        replay.add(state, np.zeros((1, 1)), np.full(1, np.nan), no, no, no)
    entropy = StateEntropy(ExplorationSettings(states=100), "cpu")
    for _ in range(20):
        batch = replay.sample(64, rng)
        paid = entropy(batch, replay, rng)
        assert isinstance(paid, Transitions) and (paid.obs == batch.obs).all()
        assert np.isfinite(paid.rewards).all()
    assert paid.rewards.std() == pytest.approx(1, abs=0.4)
    again = StateEntropy(ExplorationSettings(states=100), "cpu")
    again.load_state(entropy.state())
    draws = [e(batch, replay, np.random.default_rng(1)).rewards for e in (entropy, again)]
    np.testing.assert_array_equal(*draws)


def test_more_neighbours_than_states_are_refused():
    with pytest.raises(ValueError, match="--exploration_neighbours 9 are not among"):
        ExplorationSettings(neighbours=9, states=9)
