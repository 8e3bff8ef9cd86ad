import numpy as np
import pytest

from prefloop.data.replay_buffer import Transitions
from prefloop.envs.spaces import Spaces
from prefloop.rewards.rune import Rune
from prefloop.rewards.settings import RewardSettings, RuneSettings
from prefloop.rewards.training import make_model


def batch():
    rng = np.random.default_rng(0)
    obs, actions = rng.normal(size=(8, 3)), rng.uniform(-1, 1, size=(8, 1))
    rewards = rng.normal(size=8).astype(np.float32)
    return Transitions(obs, actions, rewards, obs, np.zeros(8, bool))


def test_it_pays_what_members_disagree_about_less_and_less():
    model = make_model(Spaces((3,), "float32", False, 1), RewardSettings(hidden_sizes=(8,)), 0)
    steps, drawn = batch(), {}
    disagreement = model.disagreement(steps.obs, steps.actions)
    assert disagreement.min() > 0
    for at in (0, 1000):
        rune = Rune(RuneSettings(rune_beta=2.0, rune_decay=1e-3), lambda: model, lambda at=at: at)
        drawn[at] = rune(steps, None, None)
        assert drawn[at].rewards.dtype == np.float32
    np.testing.assert_allclose(drawn[0].rewards - steps.rewards, 2 * disagreement, rtol=1e-3)
    np.testing.assert_allclose(
        drawn[1000].rewards - steps.rewards, 2 * disagreement * 0.999**1000, rtol=1e-3, atol=1e-7
    )
    assert drawn[0].obs is steps.obs and drawn[0].terminated is steps.terminated


def test_settings_that_nothing_can_have_are_refused():
    for bad in ({"rune_beta": -1}, {"rune_decay": 2}):
        with pytest.raises(ValueError, match="--rune"):
            RuneSettings(**bad)
