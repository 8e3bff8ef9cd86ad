import contextlib
import io
import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from prefloop import checkpoints, policies, policy_files
from prefloop.env_ids import is_version_of
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.networks import mlp
from prefloop.policies import CategoricalPolicy, GaussianPolicy

OBS = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)


def shaken(policy, seed=0):
    """The same policy with weights that make it prefer some actions to others."""
    torch.manual_seed(seed)
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.5)
    return policy


def categorical(activation=nn.Tanh):
    return shaken(CategoricalPolicy(*mlp([4, 8, 3], activation)))


def gaussian(bound=2.0, activation=nn.Tanh):
    low, high = torch.tensor([-bound, -1.0]), torch.tensor([bound, 1.0])
    return shaken(GaussianPolicy(mlp([4, 8, 2], activation), low, high))


def constant(outputs, low=None, high=None):
    """A policy that does the same in every observation."""
    layers = mlp([4, len(outputs)])
    nn.init.zeros_(layers[0].weight)
    layers[0].bias.data.copy_(torch.tensor(outputs))
    if low is None:
        return CategoricalPolicy(*layers)
    return GaussianPolicy(layers, torch.tensor(low), torch.tensor(high))


def drawn(policy, obs):
    """Before actions are clipped to the bounds."""
    return policy.sampler()(obs, np.random.default_rng(0), False)


def test_two_actions_by_hand():
    policy = constant([0.0, math.log(3)])  # probabilities 1/4 and 3/4
    log_prob, entropy = policy.evaluate_actions(
        policy.features(torch.zeros(2, 4)), torch.tensor([0, 1])
    )
    assert log_prob.tolist() == pytest.approx([-1.386294, -0.287682], abs=1e-5)
    assert entropy.tolist() == pytest.approx([0.562335] * 2, abs=1e-5)


def test_one_normal_action_by_hand():
    policy = constant([1.0], [-5.0], [5.0])  # mean and standard deviation: half the bounds' width
    actions = torch.tensor([[5.0], [15.0]])
    log_prob, entropy = policy.evaluate_actions(policy.features(torch.zeros(2, 4)), actions)
    assert log_prob.tolist() == pytest.approx([-0.918939, -2.918939], abs=1e-5)
    assert entropy.tolist() == pytest.approx([1.418939] * 2, abs=1e-5)


def test_categorical_agrees_with_torch():
    policy, obs = categorical(), torch.as_tensor(OBS)
    actions = torch.randint(3, (6, 5))
    log_prob, entropy = policy.evaluate_actions(policy.features(obs), actions)
    expected = Categorical(logits=policy(obs))
    torch.testing.assert_close(log_prob, expected.log_prob(actions))
    torch.testing.assert_close(entropy, expected.entropy())
    torch.testing.assert_close(policy.log_prob(obs, actions), log_prob)


def test_gaussian_agrees_with_torch():
    policy, obs = gaussian(), torch.as_tensor(OBS)
    actions = torch.randn(6, 5, 2)
    log_prob, entropy = policy.evaluate_actions(policy.features(obs), actions)
    expected = Independent(Normal(policy(obs), policy.log_std.exp()), 1)
    torch.testing.assert_close(log_prob, expected.log_prob(actions / policy.high))
    torch.testing.assert_close(entropy, expected.entropy())
    torch.testing.assert_close(policy.log_prob(obs, actions), log_prob)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("normalises", [False, True])
@pytest.mark.parametrize("policy", [categorical(), gaussian()], ids=["discrete", "continuous"])
def test_whole_numbers_are_evaluated_as_the_same_numbers_in_float32(policy, normalises, dtype):
    if normalises:
        policy = policies.with_normalised_input(policy, np.full(4, 2.0), np.full(4, 3.0))
    obs = np.random.default_rng(0).integers(10, size=(7, 4))
    actions = torch.ones(7, dtype=torch.int64) if policy.kind == "categorical" else torch.ones(7, 2)
    expected = policy.log_prob(torch.tensor(obs, dtype=torch.float32), actions)
    assert torch.equal(policy.log_prob(torch.tensor(obs.astype(dtype)), actions), expected)


def test_discrete_actions_come_as_often_as_they_are_probable():
    policy = constant([math.log(p) for p in (0.5, 0.3, 0.2)])
    actions = policies.acting(policy, np.random.default_rng(0))(np.zeros((20_000, 4), np.float32))
    np.testing.assert_allclose(np.bincount(actions) / 20_000, [0.5, 0.3, 0.2], atol=0.015)


def test_normal_actions_have_the_policys_mean_and_spread():
    policy = constant([1.0, -2.0], [-9.0, -9.0], [9.0, 11.0])  # centres 0 and 1, widths 18 and 20
    policy.log_std.data.copy_(torch.tensor([0.5, 2.0]).log())
    actions = drawn(policy, np.zeros((20_000, 4), np.float32))
    np.testing.assert_allclose(actions.mean(0), [9, 1 - 20], atol=0.5)
    np.testing.assert_allclose(actions.std(0), [4.5, 20], rtol=0.03)
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.03


def test_the_environment_gets_actions_within_its_bounds():
    policy, obs = constant([0.0], [-1.0], [2.0]), np.zeros((20_000, 4), np.float32)
    actions = policies.acting(policy, np.random.default_rng(0))(obs)
    assert actions.shape == (20_000, 1)
    assert actions.min() == -1 and actions.max() == 2
    # what a standard normal leaves below -1 and above 1: the bounds, in their own unit
    assert (actions == -1).mean() == pytest.approx(0.1587, abs=0.01)
    assert (actions == 2).mean() == pytest.approx(0.1587, abs=0.01)
    unclipped = drawn(policy, obs)
    assert unclipped.min() < -1 and unclipped.max() > 2


@pytest.mark.parametrize("greedy", [True, False])
def test_an_environment_that_observes_in_float64_gets_its_actions_in_float32(greedy):
    act = policies.acting(gaussian(), np.random.default_rng(0), greedy)
    assert act(np.zeros((3, 4), np.float64)).dtype == np.float32
    assert gaussian().act(np.zeros((3, 4)), np.random.default_rng(0), greedy).dtype == np.float32
    assert drawn(gaussian(), np.zeros((3, 4))).dtype == np.float32


def test_greedy_takes_the_mean_within_the_bounds():
    policy = constant([0.5, 7.0], [0.0, -1.0], [4.0, 1.0])
    greedy = policies.acting(policy, np.random.default_rng(0), greedy=True)
    assert greedy(np.zeros((2, 4), np.float32)).tolist() == [[3.0, 1.0]] * 2


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_a_new_policy_is_nearly_indifferent(env_id):
    envs = make_vector_env(env_id, 2)
    torch.manual_seed(0)
    policy = policies.make_policy(spaces_of(envs), (64, 64))
    with torch.no_grad():
        outputs = policy(torch.randn(100, envs.single_observation_space.shape[0]))
    assert outputs.abs().max() < 0.05


class Odd(gym.Env):
    """An environment of any spaces."""

    def __init__(self, actions, observations=None):
        self.action_space = actions
        self.observation_space = observations or Box(-1, 1, (4,))


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Odd(Discrete(3, start=1)), "Discrete from 0"),
        (Odd(MultiDiscrete([2, 3])), "Discrete from 0"),
        (Odd(Box(-1, 1, (2, 2))), "flat Box"),
        (Odd(Box(-1, np.inf, (2,))), "without bounds"),
        (Odd(Discrete(2), Box(0, 1, (8, 8))), "8 x 8 in float32"),
    ],
)
def test_spaces_that_no_policy_is_for(env, words):
    with pytest.raises(UserError, match=words):
        policies.make_policy(spaces_of(env), (8,))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_checkpoint_round_trip(tmp_path, env_id, activation):
    envs = make_vector_env(env_id, 2)
    policy = shaken(policies.make_policy(spaces_of(envs), (8, 16), activation))
    checkpoints.save(tmp_path / "p.params", policy.state_dict())
    facts = {"env": env_id, "activation": policy.description()["activation"]}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    again = policy_files.load(tmp_path / "p.params", envs)
    assert type(again) is type(policy)
    assert again.description() == {
        "kind": again.kind,
        "hidden_sizes": [8, 16],
        "activation": activation,
    }
    obs = torch.randn(9, envs.single_observation_space.shape[0])
    actions = torch.randn(9, 1) if isinstance(policy, GaussianPolicy) else torch.randint(2, (9,))
    assert torch.equal(again.log_prob(obs, actions), policy.log_prob(obs, actions))
    if isinstance(policy, GaussianPolicy):
        assert (again.low.item(), again.high.item()) == (-2, 2)


def test_without_a_description_the_activation_is_relu(tmp_path):
    checkpoints.save(tmp_path / "p.params", mlp([4, 8, 2], nn.Tanh).state_dict())
    again = policy_files.load(tmp_path / "p.params", make_env("CartPole-v0"))
    assert again.description()["activation"] == "relu"


def test_a_policy_of_vpg(tmp_path):
    import vpg

    settings = vpg.Settings(epochs=1, batch_size=100, num_envs=4, checkpoint_dir=str(tmp_path))
    with contextlib.redirect_stdout(io.StringIO()):
        trained, _ = vpg.train(settings)
    # CartPole-v1 differs from CartPole-v0 in its time limit alone
    again = policy_files.load(tmp_path / "final_policy.params", make_vector_env("CartPole-v1", 2))
    obs = torch.as_tensor(OBS)
    assert torch.equal(again(obs), trained(obs))
    assert again.log_prob(obs, torch.zeros(6, 5, dtype=torch.int64)).shape == (6, 5)


def pendulum_weights(num_actions=1, obs_dim=3):
    bound = torch.ones(num_actions)
    return GaussianPolicy(mlp([obs_dim, 8, num_actions]), -bound, bound).state_dict()


@pytest.mark.parametrize(
    ("weights", "facts", "env_id", "words"),
    [
        (
            mlp([4, 8, 2]).state_dict(),
            {"env": "Acrobot-v1"},
            "CartPole-v0",
            "trained in Acrobot-v1",
        ),
        (mlp([6, 8, 3]).state_dict(), {}, "CartPole-v0", "6 observations and 3 actions"),
        (mlp([3, 8, 2]).state_dict(), {}, "Pendulum-v1", "discrete actions"),
        (pendulum_weights(), {}, "CartPole-v0", "continuous actions"),
        (pendulum_weights(num_actions=2), {}, "Pendulum-v1", "2 actions; this environment has 1"),
        (pendulum_weights(obs_dim=5), {}, "Pendulum-v1", "5 observations"),
        ({**pendulum_weights(), "more": torch.ones(1)}, {}, "Pendulum-v1", "no policy"),
        (mlp([4, 8, 1]).state_dict(), {}, "CartPole-v0", "reward network"),
        (mlp([4, 8, 2]).state_dict(), {"activation": "swish"}, "CartPole-v0", "swish"),
    ],
)
def test_a_checkpoint_for_something_else(tmp_path, weights, facts, env_id, words):
    checkpoints.save(tmp_path / "p.params", weights)
    (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=words):
        policy_files.load(tmp_path / "p.params", make_env(env_id))


def test_environments_without_a_version_are_told_apart(tmp_path):
    assert is_version_of("CartPole-v1", "CartPole-v0")
    assert is_version_of("my.module:Walker-v0", "Walker-v1")
    assert not is_version_of("my-vehicle", "my-villa")
    assert not is_version_of("dm_control/walker-walk-v0", "other/walker-walk-v0")


@pytest.mark.parametrize("policy", [categorical(), gaussian()], ids=["discrete", "continuous"])
def test_a_normalised_input_is_part_of_the_policy(policy, tmp_path):
    rng = np.random.default_rng(1)
    mean, std = (rng.uniform(0.5, 3, size=4).astype(np.float32) for _ in range(2))
    before = policy(torch.as_tensor((OBS - mean) / std))
    whole = policies.with_normalised_input(policy, mean, std)
    assert torch.equal(whole(torch.as_tensor(OBS)), before)
    assert torch.equal(policy(torch.as_tensor((OBS - mean) / std)), before)
    assert torch.equal(policies.copy_of(whole)(torch.as_tensor(OBS)), before)


def test_observations_far_from_zero_keep_what_they_say(tmp_path):
    # of numbers around 1e6 the weights of a first layer would keep nothing
    mean, std = np.full(4, 1e6, np.float32), np.full(4, 0.5, np.float32)
    obs = (mean + std * OBS).astype(np.float32)
    policy = categorical(nn.ReLU)
    checkpoints.save(
        tmp_path / "p.params", policies.with_normalised_input(policy, mean, std).state_dict()
    )
    again = policy_files.load_mlp(tmp_path / "p.params", 4, 3)
    expected = policy(torch.as_tensor((obs - mean) / std))
    assert torch.equal(again(torch.as_tensor(obs)), expected)
    actions = policies.acting(again, np.random.default_rng(0), greedy=True)(obs.reshape(-1, 4))
    assert actions.tolist() == expected.argmax(-1).flatten().tolist()
    assert len(set(actions.tolist())) > 1


@pytest.mark.parametrize("std", [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
def test_a_damaged_normalisation_is_a_sentence(tmp_path, std):
    weights = policies.with_normalised_input(categorical(), np.zeros(4), np.ones(4)).state_dict()
    checkpoints.save(tmp_path / "p.params", {**weights, "normalise.std": torch.tensor(std)})
    with pytest.raises(UserError, match="normalisation"):
        policy_files.load_mlp(tmp_path / "p.params", 4, 3)


@pytest.mark.parametrize("low, high", [(0, 100), (5, 6), (-1000, 1000), (-0.01, 0.01), (3, 3)])
def test_the_same_network_acts_alike_in_any_bounds(low, high):
    obs = OBS.reshape(-1, 4)
    layers = shaken(mlp([4, 8, 1], nn.Tanh))
    low, high = torch.tensor([float(low)]), torch.tensor([float(high)])
    unit = GaussianPolicy(layers, torch.tensor([-1.0]), torch.tensor([1.0]))
    scaled = GaussianPolicy(layers, low, high)
    draws = [drawn(policy, obs) for policy in (unit, scaled)]
    half = ((high - low) / 2).numpy() if high > low else 1
    np.testing.assert_allclose((draws[1] - ((low + high) / 2).numpy()) / half, draws[0], atol=1e-4)
    of_unit, of_scaled = (
        policy.log_prob(torch.as_tensor(obs), torch.as_tensor(actions))
        for policy, actions in zip((unit, scaled), draws, strict=True)
    )
    torch.testing.assert_close(of_scaled, of_unit, rtol=1e-3, atol=1e-3)
    applied = policies.acting(scaled, np.random.default_rng(0))(obs)
    assert ((applied >= low.numpy()) & (applied <= high.numpy())).all()


def test_checkpoints_from_before_there_were_units_act_as_they_did(tmp_path):
    envs = make_vector_env("Pendulum-v1", 2)  # bounds -2 and 2
    policy = shaken(GaussianPolicy(mlp([3, 8, 1]), torch.tensor([-2.0]), torch.tensor([2.0])))
    old = {k: v for k, v in policy.state_dict().items() if k not in ("shift", "scale")}
    checkpoints.save(tmp_path / "p.params", old)
    again = policy_files.load(tmp_path / "p.params", envs)
    obs = OBS.reshape(-1, 4)[:, :3]
    greedy = policies.acting(again, np.random.default_rng(0), greedy=True)(obs)
    mean = policy(torch.as_tensor(obs)).detach().numpy()
    np.testing.assert_allclose(greedy, np.clip(mean, -2, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "policy",
    [categorical(), categorical(nn.ReLU), gaussian(), constant([1.0, 2.0])],
    ids=["tanh", "relu", "continuous", "linear"],
)
def test_a_copy_goes_its_own_way(policy):
    twin, obs = policies.copy_of(policy), torch.as_tensor(OBS)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    assert torch.equal(twin(obs), policy(obs))
    assert type(twin) is type(policy)
    for value in twin.state_dict().values():
        value.add_(1)
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
