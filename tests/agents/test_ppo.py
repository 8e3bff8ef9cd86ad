import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from acting import ActingPPO
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st
from made_up import ReusedBuffers

from prefloop import checkpoints, policies
from prefloop.agents.settings import PPOSettings
from prefloop.data.rollouts import collect_episodes
from prefloop.envs.make import make_vector_env
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.running_moments import RunningMoments

SMALL = {"minibatch_size": 64, "hidden_sizes": (16,)}


def make(env_id="CartPole-v1", init=None, seed=0, num_envs=4, rollout_steps=32, **settings):
    settings = PPOSettings(**(SMALL | settings))
    torch.manual_seed(seed)
    envs = make_vector_env(env_id, num_envs)
    return ActingPPO(settings, envs, torch.device("cpu"), init, rollout_steps=rollout_steps)


def improve(ppo, *iterations):
    """Iterations as a training loop has them: each begins anew."""
    for iteration in iterations:
        ppo.begin(seed=iteration)
        for _ in range(2):
            rollout = ppo.collect()
            ppo.update(rollout, rollout.rewards, progress=iteration / 10)


def weights(ppo):
    return [p.detach().clone() for p in ppo.parameters]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20), min_size=1, max_size=6))
def test_running_scale_agrees_with_numpy(parts):
    scale = RunningMoments()
    for part in parts:
        scale.update(np.array(part))
    everything = np.concatenate([np.array(part) for part in parts])
    if len(everything) and everything.std() > 1e-6:
        assert scale.std == pytest.approx(everything.std(), rel=1e-6)
        assert scale.mean == pytest.approx(everything.mean(), rel=1e-6, abs=1e-6)
    elif not len(everything):
        assert scale.std == 1


def test_nothing_is_blown_up_while_nothing_varies():
    scale = RunningMoments()
    scale.update(np.full(10, 3.0))
    assert scale.std == 1


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_same_seed_same_weights(env_id):
    first, again, other = (make(env_id, seed=seed) for seed in (1, 1, 2))
    for ppo in (first, again, other):
        improve(ppo, 0, 1)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("normalise_obs", [False, True])
def test_a_stopped_run_ends_where_the_unbroken_one_does(tmp_path, env_id, normalise_obs):
    unbroken, stopped = (make(env_id, normalise_obs=normalise_obs) for _ in range(2))
    improve(unbroken, 0, 1, 2, 3)
    improve(stopped, 0, 1)
    checkpoints.save(tmp_path / "state.pt", stopped.state_dict())
    resumed = make(env_id, normalise_obs=normalise_obs, seed=7)
    resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
    improve(resumed, 2, 3)
    assert same(weights(resumed), weights(unbroken))
    for a, b in ((unbroken.obs_mean, resumed.obs_mean), (unbroken.obs_std, resumed.obs_std)):
        np.testing.assert_array_equal(a, b)


def test_beginning_anew_forgets_what_was_under_way():
    fresh, used = make(), make()
    used.begin(seed=5)
    for _ in range(3):
        used.collect()
    first, second = (ppo.begin(seed=9) or ppo.collect() for ppo in (fresh, used))
    for name in ("obs", "actions", "rewards", "valid"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_steps_that_only_reset_teach_nothing():
    plain, disturbed = make(), make()
    for ppo in (plain, disturbed):
        ppo.begin(seed=0)
        rollout = ppo.collect()
        assert not rollout.valid.all()
        rewards = np.random.default_rng(0).normal(size=rollout.rewards.shape)
        if ppo is disturbed:
            rewards = np.where(rollout.valid, rewards, np.nan)
            actions = np.where(rollout.valid, rollout.actions, 1 - rollout.actions)
            rollout = dataclasses.replace(rollout, actions=actions)
        ppo.update(rollout, rewards)
    assert same(weights(plain), weights(disturbed))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_rewards_that_are_no_numbers(wrong):
    ppo = make()
    ppo.begin(seed=0)
    rollout, before = ppo.collect(), weights(ppo)
    rewards = rollout.rewards.copy()
    rewards[0, 1] = wrong
    with pytest.raises(UserError, match=r"^1 of \d+ rewards are NaN or infinite"):
        ppo.update(rollout, rewards)
    assert same(weights(ppo), before)


def test_the_unit_of_the_reward_does_not_matter():
    small, large = make(), make()
    for ppo, unit in ((small, 1), (large, 1024)):
        ppo.begin(seed=0)
        for _ in range(3):
            rollout = ppo.collect()
            ppo.update(rollout, unit * rollout.rewards)
    for a, b in zip(weights(small), weights(large), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_learning_rate_falls_to_0():
    ppo = make()
    ppo.begin(seed=0)
    rollout, before = ppo.collect(), weights(ppo)
    ppo.update(rollout, rollout.rewards, progress=1.0)
    assert same(weights(ppo), before)


def optimise(ratio, advantage):
    """Change of an action's log-probability where its ratio to the old one was `ratio`."""
    ppo = make(value_coef=0.0, update_epochs=1, learning_rate=1e-3)
    ppo.begin(seed=0)
    obs, actions = torch.randn(8, 4), torch.ones(8, dtype=torch.int64)
    with torch.no_grad():
        before = ppo.policy.log_prob(obs, actions)
    old = before - np.log(ratio)
    ppo._optimise(obs, actions, old, torch.full((8,), advantage), torch.zeros(8))
    with torch.no_grad():
        return (ppo.policy.log_prob(obs, actions) - before).mean().item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "direction"),
    [
        (1.0, 1.0, 1),
        (1.0, -1.0, -1),
        (1.3, 1.0, 0),  # has gone far enough
        (0.7, -1.0, 0),
        (1.3, -1.0, -1),  # went the wrong way: back
        (0.7, 1.0, 1),
    ],
)
def test_what_has_moved_far_enough_is_let_alone(ratio, advantage, direction):
    assert np.sign(optimise(ratio, advantage)) == direction


def test_the_first_step_goes_along_the_policy_gradient():
    ppo = make(value_coef=0.0, update_epochs=1, minibatch_size=10_000, max_grad_norm=1e9)
    ppo.begin(seed=0)
    rollout = ppo.collect()
    obs = torch.as_tensor(rollout.obs[:-1][rollout.valid])
    actions = torch.as_tensor(rollout.actions[rollout.valid])
    advantages = torch.randn(len(obs))
    with torch.no_grad():
        old = ppo.policy.log_prob(obs, actions)
    ppo._optimise(obs, actions, old, advantages, torch.zeros(len(obs)))
    taken = [p.grad.clone() for p in ppo.policy.parameters()]
    policy = make().policy  # as it was before the step
    loss = -(policy.log_prob(obs, actions) * advantages).mean()
    for a, b in zip(taken, torch.autograd.grad(loss, list(policy.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def leaning(odds):
    """A CartPole policy that pushes right so many times as often as left, whatever it sees."""
    torch.manual_seed(0)
    policy = policies.make_policy(spaces_of(make_vector_env("CartPole-v1", 1)), (16,))
    policy[-2].weight.data.zero_()
    policy[-2].bias.data.copy_(torch.tensor([0.0, np.log(odds)]))
    return policy


def test_divergence_from_the_reference_by_hand():
    ppo = make(init=leaning(1.0))
    ppo.begin(seed=0)
    rollout = ppo.collect()
    assert ppo.update(rollout, rollout.rewards, progress=1.0)["kl_from_init"] == 0
    ppo.policy.load_state_dict(leaning(3.0).state_dict())
    rollout = ppo.collect()
    kl = ppo.update(rollout, rollout.rewards, progress=1.0)["kl_from_init"]
    right = (rollout.actions[rollout.valid] == 1).mean()  # 0.75 / 0.5 and 0.25 / 0.5
    assert kl == pytest.approx(right * np.log(1.5) + (1 - right) * np.log(0.5), abs=1e-5)


def test_the_penalty_holds_the_policy_near_its_reference():
    def drift(kl_coef):
        # a reward for pushing right, now, draws the policy away from one that does not care
        ppo = make(init=leaning(1.0), kl_coef=kl_coef, learning_rate=0.01, gamma=0)
        ppo.begin(seed=0)
        for _ in range(10):
            rollout = ppo.collect()
            metrics = ppo.update(rollout, rollout.actions.astype(float))
        return metrics["kl_from_init"]

    free, held = drift(0.0), drift(10.0)
    assert free > 0.3
    assert held < 0.1 * free


def test_a_penalty_needs_a_reference():
    with pytest.raises(UserError, match="--kl_coef needs --init"):
        make(kl_coef=0.1)


def test_it_starts_from_the_policy_it_is_given_and_leaves_that_alone():
    init = leaning(3.0)
    before = [p.clone() for p in init.parameters()]
    ppo = make(init=init)
    assert same(ppo.policy.parameters(), before)
    improve(ppo, 0)
    assert same(init.parameters(), before)
    assert same(ppo.reference.parameters(), before)


def test_beside_a_policy_that_is_given_hidden_sizes_are_of_the_value():
    ppo = make(init=leaning(3.0), hidden_sizes=(8, 8))
    assert ppo.policy.description()["hidden_sizes"] == [16]
    assert [p.shape[0] for p in ppo.value.parameters() if p.ndim > 1] == [8, 8, 1]


def test_observations_are_normalised_by_what_was_seen():
    ppo = make("Pendulum-v1", normalise_obs=True)
    ppo.begin(seed=0)
    rollout = ppo.collect()
    ppo.update(rollout, rollout.rewards)
    seen = rollout.obs[:-1].reshape(-1, 3)
    np.testing.assert_allclose(ppo.obs_mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ppo.obs_std, seen.std(0), rtol=1e-4)
    normalised = torch.as_tensor((seen - seen.mean(0)) / seen.std(0))
    torch.testing.assert_close(
        ppo.acting_policy(torch.as_tensor(seen)), ppo.policy(normalised), rtol=1e-3, atol=1e-5
    )


def test_a_value_sees_what_the_policy_that_it_starts_from_sees():
    torch.manual_seed(0)
    spaces = spaces_of(make_vector_env("Pendulum-v1", 1))
    mean, std = np.full(3, 100, np.float32), np.full(3, 10, np.float32)
    init = policies.with_normalised_input(policies.make_policy(spaces, (16,)), mean, std)
    ppo = make("Pendulum-v1", init=init)
    obs = torch.tensor([[110.0, 90.0, 100.0]])
    assert ppo.policy.features(obs).tolist() == [[1.0, -1.0, 0.0]]
    outputs = ppo.policy.outputs(ppo.policy.features(obs))
    assert torch.equal(outputs, ppo.policy(obs)) and torch.equal(outputs, init(obs))


class Counters(gym.Env):
    """Observes a vector of whole numbers."""

    def __init__(self, dtype, discrete=True, **_):
        self.observation_space = Box(0, 9, (2,), dtype)
        self.action_space = Discrete(2) if discrete else Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        obs = self.np_random.integers(10, size=2).astype(self.observation_space.dtype)
        return obs, float(obs[0]), False, False, {}


gym.register("Counters-v0", Counters, max_episode_steps=8)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
@pytest.mark.parametrize("start", ["new", "normalise_obs", "init"])
@pytest.mark.parametrize("discrete", [True, False])
def test_it_learns_from_vectors_of_whole_numbers(dtype, start, discrete):
    envs = gym.make_vec("Counters-v0", num_envs=2, dtype=dtype, discrete=discrete)
    init = policies.make_policy(spaces_of(envs), (16,)) if start == "init" else None
    settings = PPOSettings(
        **SMALL, normalise_obs=start == "normalise_obs", kl_coef=0.1 * (init is not None)
    )
    ppo = ActingPPO(settings, envs, torch.device("cpu"), init)
    before = weights(ppo)
    improve(ppo, 0)
    assert not same(weights(ppo), before)


def test_it_learns_to_balance():
    settings = {"num_envs": 16, "rollout_steps": 128, "minibatch_size": 512}
    ppo = make(**settings, hidden_sizes=(64, 64))
    ppo.begin(seed=0)
    updates = 30_000 // 2048
    for i in range(updates):
        rollout = ppo.collect()
        ppo.update(rollout, rollout.rewards, progress=i / updates)
    act = policies.acting(ppo.acting_policy, np.random.default_rng(0))
    assert collect_episodes(ppo.envs, act, 32, seed=1).returns.mean() > 150


class Target(gym.Env):
    """Pays for actions near a place that is the same in units of any bounds."""

    observation_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, low, high, **_):
        self.action_space = Box(np.float32(low), np.float32(high), (2,))
        self.aim = low + np.array([0.8, 0.3]) * (high - low)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        half = (self.action_space.high - self.action_space.low) / 2
        return (
            np.ones(2, np.float32),
            -float(np.abs((action - self.aim) / half).mean()),
            False,
            False,
            {},
        )


gym.register("Target-v0", Target, max_episode_steps=8)


@pytest.mark.parametrize("low, high", [(-1, 1), (0, 100), (5, 6), (-1000, 1000), (-0.01, 0.01)])
def test_it_learns_in_whatever_unit_actions_are(low, high):
    envs = gym.make_vec("Target-v0", num_envs=16, low=low, high=high)
    settings = PPOSettings(hidden_sizes=(16,))
    torch.manual_seed(0)
    ppo = ActingPPO(settings, envs, torch.device("cpu"), rollout_steps=64)
    ppo.begin(0)
    rewards = []
    for _ in range(30):
        rollout = ppo.collect()
        rewards.append(rollout.rewards[rollout.valid].mean())
        ppo.update(rollout, rollout.rewards)
    assert rewards[0] < -0.7 and rewards[-1] > -0.4


def test_environments_that_reuse_their_arrays():
    plain, reused = (make("Pendulum-v1") for _ in range(2))
    reused.stepping.envs = ReusedBuffers(reused.envs)
    for ppo in (plain, reused):
        ppo.begin(seed=0)
    for _ in range(2):
        first, second = plain.collect(), reused.collect()
        for field in dataclasses.fields(first):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name))
