import json

import numpy as np
import pytest
import torch
from made_up import make_segments, preferences, random_segments

from prefloop import checkpoints
from prefloop.data.preferences import Queries
from prefloop.encoders import make_encoder
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.networks import mlp
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel


def make(members=3, discrete=True, seed=0, **kwargs):
    torch.manual_seed(seed)
    kwargs = {"hidden_sizes": (8,), **kwargs}
    return RewardModel(
        Spaces((3,), "float32", discrete, 2 if discrete else 1), members=members, **kwargs
    )


def first_number(*factors):
    """A member for each factor; its reward is so many times the first number of an observation."""
    model = make(len(factors), hidden_sizes=(), uses_actions=False)
    for network, factor in zip(model.networks, factors, strict=True):
        network[0].weight.data.copy_(torch.tensor([[factor, 0.0, 0.0]]))
        network[0].bias.data.zero_()
    return model


def obs_of(numbers):
    return np.stack([np.array(numbers, dtype=np.float32)] * 3, axis=-1)


def test_returns_and_probabilities_by_hand():
    segments = make_segments(
        obs_of([[1, 2], [3, 7]]), np.zeros((2, 2), dtype=int), lengths=np.array([2, 1])
    )
    model = first_number(1.0, -2.0)
    assert model.returns(segments).tolist() == [[3, 3], [-6, -6]]  # 7 is padding
    segments.obs[1, 1] = np.nan
    assert model.returns(segments).tolist() == [[3, 3], [-6, -6]]
    segments = make_segments(obs_of([[1, 2], [3, 1]]), np.zeros((2, 2), dtype=int))
    queries = Queries(segments, np.array([0, 1]), np.array([1, 1]))
    # gaps 1 and -2: sigmoid(1) = 0.731059, sigmoid(-2) = 0.119203
    np.testing.assert_allclose(
        model.probabilities(queries), [[0.731059, 0.5], [0.119203, 0.5]], atol=1e-6
    )


def test_probabilities_of_large_gaps_are_finite():
    segments = make_segments(obs_of([[0], [1e6]]), np.zeros((2, 1), dtype=int))
    queries = Queries(segments, np.array([0, 1]), np.array([1, 0]))
    assert first_number(1.0).probabilities(queries).tolist() == [[1, 0]]


def test_reward_and_disagreement_by_hand():
    model, obs = first_number(1.0, 3.0), obs_of([[2, -1]])
    actions = np.zeros((1, 2), dtype=int)
    assert model.reward(obs, actions).tolist() == [[4, -2]]  # mean of 2 and 6, of -1 and -3
    assert model.disagreement(obs, actions).tolist() == [[2, 1]]
    model.reward_mean.fill_(1)
    model.reward_std.fill_(2)
    assert model.reward(obs, actions).tolist() == [[1.5, -1.5]]
    assert model.disagreement(obs, actions).tolist() == [[1, 0.5]]


@pytest.mark.parametrize("discrete", [True, False])
def test_shapes(discrete):
    model, segments = (
        make(discrete=discrete),
        random_segments(4, 5, np.random.default_rng(0), discrete),
    )
    rewards = model.reward(segments.obs, segments.actions)
    assert rewards.shape == (4, 5) and rewards.dtype == np.float64
    one = model.reward(segments.obs[1, 2], segments.actions[1, 2])
    assert one == pytest.approx(rewards[1, 2], abs=1e-6)
    assert model.returns(segments).shape == (3, 4)


def test_actions_count_only_where_they_are_looked_at():
    obs, actions = np.ones((5, 3), np.float32), np.array([0, 1, 0, 1, 1])
    blind, seeing = make(uses_actions=False), make()
    assert np.ptp(blind.reward(obs, actions)) < 1e-9
    assert np.ptp(seeing.reward(obs, actions)) > 1e-5


def test_a_reward_of_segments_of_one_length_is_centred():
    model = first_number(1.0)
    segments = make_segments(obs_of([[1, 3], [5, 7]]), np.zeros((2, 2), dtype=int))
    model.set_scale(segments)
    assert (model.reward_mean, model.reward_std) == (4, pytest.approx(5**0.5))
    rewards = model.reward(segments.obs, segments.actions)
    assert (rewards.mean(), rewards.std()) == (pytest.approx(0), pytest.approx(1))


def test_the_zero_of_a_reward_stays_where_lengths_differ():
    model = first_number(1.0)
    segments = make_segments(
        obs_of([[1, 100], [2, 2]]), np.zeros((2, 2), dtype=int), lengths=np.array([1, 2])
    )
    model.set_scale(segments)
    # root of the mean square of 1, 2 and 2
    assert (model.reward_mean, model.reward_std) == (0, pytest.approx(3**0.5))
    assert model.reward(obs_of([0]), np.array([0])).tolist() == [0]


def test_of_many_pictures_all_say_whether_lengths_differ(monkeypatch):
    """Not those alone that the scale is taken from: the fit has learned whether longer is better."""
    monkeypatch.setattr(reward_model, "SCALE_SEGMENTS", 2)
    spaces = Spaces((16, 16), "uint8", True, 2)
    model = RewardModel(spaces, (4,), 1, encoder=make_encoder(spaces))
    lengths = np.array([2, 2, 1, 2])
    obs = np.random.default_rng(0).integers(256, size=(4, 2, 16, 16), dtype=np.uint8)
    reward_model.last_layer(model.networks[0]).bias.data.fill_(1.0)
    model.set_scale(make_segments(obs, np.zeros((4, 2), int), lengths))
    assert model.reward_mean == 0
    model.set_scale(make_segments(obs, np.zeros((4, 2), int)))
    assert model.reward_mean == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("lengths", [[2, 2], [1, 2]])
def test_a_constant_reward_is_not_blown_up(lengths):
    model = first_number(0.0)
    model.set_scale(
        make_segments(obs_of([[1, 3], [5, 7]]), np.zeros((2, 2), int), np.array(lengths))
    )
    assert model.reward_std == 1
    assert model.reward(obs_of([9]), np.array([0])).tolist() == [0]


def test_the_scale_can_be_set_anew():
    segments = random_segments(6, 4, np.random.default_rng(0))
    model = make()
    model.set_scale(segments)
    before = model.reward(segments.obs, segments.actions)
    model.set_scale(segments)
    np.testing.assert_array_equal(model.reward(segments.obs, segments.actions), before)


def write(directory, model, env="Pendulum-v1"):
    reward_model.save(directory, model)
    facts = {"env": env, "reward_model": model.facts()}
    (directory / "run.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"members": 1}, {"uses_actions": False}, {"hidden_sizes": ()}, {"hidden_sizes": (5, 6)}],
)
def test_round_trip(tmp_path, kwargs):
    model = make(discrete=False, **kwargs)
    segments = random_segments(4, 5, np.random.default_rng(0), discrete=False)
    model.input_mean.fill_(0.3)
    model.set_scale(segments)
    write(tmp_path, model)
    for path in (tmp_path, tmp_path / "reward.params"):
        again = reward_model.load(path, make_vector_env("Pendulum-v1", 2))
        for method in ("reward", "disagreement"):
            np.testing.assert_array_equal(
                getattr(again, method)(segments.obs, segments.actions),
                getattr(model, method)(segments.obs, segments.actions),
            )
        assert again.facts() == model.facts()


def test_a_version_of_an_environment_is_the_same_environment(tmp_path):
    model = RewardModel(Spaces((4,), "float32", True, 2), (8,), 1)
    write(tmp_path, model, "CartPole-v0")
    assert reward_model.load(tmp_path, make_env("CartPole-v1")).members == 1


def facts_of(model, **changes):
    return {"env": "Pendulum-v1", "reward_model": model.facts() | changes}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (None, "run.json says nothing of a reward model"),
        ({"env": "Pendulum-v1"}, "run.json says nothing of a reward model"),
        (facts_of(make(discrete=False)) | {"env": "CartPole-v1"}, "a reward for CartPole-v1"),
        (facts_of(make(discrete=False), hidden_sizes=[9]), "do not belong together"),
        (facts_of(make(discrete=False), members=2), "do not belong together"),
        (facts_of(make(discrete=False), members=10**9), "do not belong together"),
        (facts_of(make(discrete=False), hidden_sizes="many"), "do not belong together"),
        (
            facts_of(make(), spaces={**make().facts()["spaces"], "num_actions": float("inf")}),
            "do not belong together",
        ),
        (facts_of(make(discrete=False), spaces=None), "do not belong together"),
        ({"env": "Pendulum-v1", "reward_model": {"members": 3}}, "do not belong together"),
    ],
)
def test_descriptions_that_are_missing_or_of_another_file(tmp_path, facts, words):
    reward_model.save(tmp_path, make(discrete=False))
    if facts is not None:
        (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=words):
        reward_model.load(tmp_path, make_env("Pendulum-v1"))


def test_descriptions_of_earlier_versions_gave_sizes(tmp_path):
    model = make(discrete=False)
    reward_model.save(tmp_path, model)
    old = {"obs_dim": 3, "action_dim": 1, "discrete": False, "uses_actions": True}
    facts = {"env": "Pendulum-v1", "reward_model": {**old, "hidden_sizes": [8], "members": 3}}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    again = reward_model.load(tmp_path, make_env("Pendulum-v1"))
    obs, actions = np.ones((2, 3), np.float32), np.zeros((2, 1), np.float32)
    assert np.array_equal(again.reward(obs, actions), model.reward(obs, actions))


def test_another_environment_that_nobody_named(tmp_path):
    write(tmp_path, make(discrete=False), env=None)
    with pytest.raises(
        UserError, match="observations of 3 and 1 continuous actions; CartPole-v1 has"
    ):
        reward_model.load(tmp_path, make_env("CartPole-v1"))


def test_files_that_are_no_reward_model(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        reward_model.load(tmp_path, make_env("Pendulum-v1"))
    write(tmp_path, make(discrete=False))
    checkpoints.save(tmp_path / "reward.params", mlp([3, 8, 1]).state_dict())
    with pytest.raises(UserError, match="do not belong together"):
        reward_model.load(tmp_path, make_env("Pendulum-v1"))
    (tmp_path / "reward.params").write_bytes(b"PK")
    with pytest.raises(UserError, match="truncated"):
        reward_model.load(tmp_path, make_env("Pendulum-v1"))
    weights = make(discrete=False).state_dict()
    weights["networks.0.0.bias"][0] = float("nan")
    checkpoints.save(tmp_path / "reward.params", weights)
    with pytest.raises(UserError, match="NaN or infinite"):
        reward_model.load(tmp_path, make_env("Pendulum-v1"))


def test_some_of_a_preference_keeps_its_segments():
    prefs = preferences(random_segments(4, 2, np.random.default_rng(0)), (0, 1, 1.0), (2, 3, 0.0))
    assert make().probabilities(prefs[slice(1, 2)]).shape == (3, 1)
