import numpy as np
import pytest
import torch

from prefloop.data.trajectories import Trajectories
from prefloop.envs.spaces import Spaces
from prefloop.rewards.reed import Reed
from prefloop.rewards.settings import ReedSettings, RewardSettings
from prefloop.rewards.training import make_model

RNG = np.random.default_rng
SPACES = Spaces((4,), "float32", False, 2, (-1.0, -1.0), (1.0, 1.0))


def episodes(follows=True, shift=0.0, scale=1.0):
    """Steps whose next state is a rotation of the state and a push of the action, or any."""
    rng = RNG(0)
    obs, actions = rng.normal(size=(600, 4)), rng.uniform(-1, 1, size=(600, 2))
    next_obs = obs[:, [1, 0, 3, 2]] + np.tile(actions, 2)
    if not follows:
        next_obs = rng.normal(size=(600, 4))
    obs, next_obs = (scale * x + shift for x in (obs, next_obs))
    lengths, cut = np.full(6, 100), np.ones(6, bool)
    columns = (x.astype(np.float32) for x in (obs, actions, np.zeros(600), next_obs))
    return Trajectories(*columns, lengths, ~cut, cut)


def made(**settings):
    model = make_model(SPACES, RewardSettings(hidden_sizes=(32, 32)), 0)
    own = ReedSettings(reed=True, **{"reed_batch_size": 64, **settings})
    return model, Reed(own, model, 1e-3, 0)


def test_it_learns_what_follows_where_something_does():
    model, reed = made()
    assert reed.learn(model, episodes(), 0) > 0.8
    model, reed = made()
    assert reed.learn(model, episodes(follows=False), 0) < 0.3


def test_it_teaches_every_members_layers_but_the_last():
    model, reed = made(reed_updates=2)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    reed.learn(model, episodes(), 0)
    for name, weight in model.state_dict().items():
        if name.startswith("networks"):
            changed = not torch.equal(weight, before[name])
            assert changed == (".4." not in name), name


def test_sessions_differ_and_repeat():
    weights = []
    for number in (0, 0, 1):
        model, reed = made(reed_updates=2)
        reed.learn(model, episodes(), number)
        weights.append(model.networks[0][0].weight.detach())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_it_goes_on_from_what_was_saved():
    model, reed = made(reed_updates=5)
    reed.learn(model, episodes(), 0)
    other_model, other = made(reed_updates=5)
    other_model.load_state_dict(model.state_dict())
    other.load_state_dict(reed.state_dict())
    assert reed.learn(model, episodes(), 1) == other.learn(other_model, episodes(), 1)
    for a, b in zip(model.parameters(), other_model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_units_of_observations_do_not_matter():
    told = []
    for shift, scale in ((0, 1), (500, 100)):
        model, reed = made()
        told.append(reed.learn(model, episodes(shift=shift, scale=scale), 0))
    assert told[1] == pytest.approx(told[0], abs=0.1)


def test_a_reward_without_hidden_layers_is_refused():
    model = make_model(SPACES, RewardSettings(hidden_sizes=()), 0)
    with pytest.raises(ValueError, match="hidden layers"):
        Reed(ReedSettings(reed=True), model, 1e-3, 0)
