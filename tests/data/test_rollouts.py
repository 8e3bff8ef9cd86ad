from dataclasses import fields

import numpy as np
import pytest
from acting import collect_steps
from made_up import ReusedBuffers

from prefloop.data.rollouts import collect_episodes
from prefloop.envs.make import make_vector_env
from prefloop.evaluation.statistics import mean_estimate

WEIGHTS = np.array([0.0, 0.2, 2.0, 0.9])


def noisy_balancing(seed):
    """A policy of middling skill: pushes towards the side the pole falls to, most of the time."""
    rng = np.random.default_rng(seed)

    def act(obs):
        return (rng.random(len(obs)) < 1 / (1 + np.exp(-obs @ WEIGHTS * 1.2))).astype(np.int64)

    return act


@pytest.fixture(scope="module")
def true_length():
    """Mean episode length of that policy under a cap of 500, and its standard error."""
    batch = collect_episodes(make_vector_env("CartPole-v1", 500), noisy_balancing(0), 4000, seed=0)
    return mean_estimate(batch.lengths)


def first_complete_episodes(num_envs, min_steps, seed):
    """The biased way: stop as soon as the episodes that ended add up to the budget."""
    envs, act = make_vector_env("CartPole-v1", num_envs), noisy_balancing(seed)
    obs, _ = envs.reset(seed=seed)
    running, lengths, resetting = np.zeros(num_envs, int), [], np.zeros(num_envs, bool)
    while sum(lengths) < min_steps:
        obs, _, terminated, truncated, _ = envs.step(act(obs))
        running += ~resetting
        resetting = terminated | truncated
        lengths += running[resetting].tolist()
        running[resetting] = 0
    return lengths


@pytest.mark.parametrize("num_envs", [1, 32, 128])
def test_mean_episode_length_is_unbiased(num_envs, true_length):
    envs = make_vector_env("CartPole-v1", num_envs)
    sums = np.zeros(2)
    repeats = 40 if num_envs == 1 else 25
    for seed in range(repeats):
        batch = collect_steps(envs, noisy_balancing(seed), min_steps=5000, seed=seed)
        sums += batch.lengths.sum(), len(batch)
    mean = sums[0] / sums[1]
    # 4 standard errors of either side, an episode's length varying about as much as its mean
    tolerance = 4 * (true_length.mean / np.sqrt(sums[1]) + true_length.standard_error)
    assert abs(mean - true_length.mean) < tolerance
    assert tolerance < 0.15 * true_length.mean


@pytest.mark.parametrize("num_envs", [32, 128])
def test_stopping_at_the_first_complete_episodes_would_be_seen(num_envs, true_length):
    lengths = [n for seed in range(25) for n in first_complete_episodes(num_envs, 5000, seed)]
    assert np.mean(lengths) < 0.9 * true_length.mean


@pytest.mark.parametrize("env_id", ["CartPole-v0", "MountainCar-v0", "Acrobot-v1"])
def test_episodes_are_whole_and_without_reset_steps(env_id):
    envs = make_vector_env(env_id, 5)
    rng = np.random.default_rng(0)
    num_actions = envs.single_action_space.n
    batch = collect_steps(envs, lambda obs: rng.integers(num_actions, size=len(obs)), 1500, seed=0)
    assert batch.lengths.sum() == len(batch.obs) == len(batch.rewards) >= 1500
    ends = np.cumsum(batch.lengths) - 1
    inside = np.setdiff1d(np.arange(len(batch.obs) - 1), ends)
    # within an episode, a step starts where the one before it led; at its end, it does not
    np.testing.assert_array_equal(batch.next_obs[inside], batch.obs[inside + 1])
    assert (batch.next_obs[ends[:-1]] != batch.obs[ends[:-1] + 1]).any(axis=1).all()
    assert (batch.terminated | batch.truncated).all()
    if env_id == "MountainCar-v0":  # a random policy never arrives: only the time limit ends it
        assert batch.truncated.all()
        assert not batch.terminated.any()
        assert set(batch.lengths) == {200}


def test_an_episode_counts_if_it_started_before_the_budget_was_met():
    envs = make_vector_env("MountainCar-v0", 2)  # every episode takes 200 steps
    act = lambda obs: np.ones(len(obs), dtype=np.int64)  # noqa: E731
    assert len(collect_steps(envs, act, min_steps=1, seed=0)) == 2
    assert len(collect_steps(envs, act, min_steps=400, seed=0)) == 2
    assert len(collect_steps(envs, act, min_steps=401, seed=0)) == 4


@pytest.mark.parametrize("num_episodes", [1, 7, 16, 33])
def test_the_number_of_episodes_is_exact(num_episodes):
    envs = make_vector_env("CartPole-v0", 16)
    batch = collect_episodes(envs, noisy_balancing(0), num_episodes, seed=0)
    assert len(batch) == num_episodes
    np.testing.assert_array_equal(batch.returns, batch.lengths)
    states = batch.visited_states()
    assert [len(s) for s in states] == batch.lengths.tolist()


def test_same_seed_same_episodes():
    envs = make_vector_env("CartPole-v0", 8)
    first, second, other = (collect_steps(envs, noisy_balancing(s), 500, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.obs, second.obs)
    assert first.obs.shape != other.obs.shape or (first.obs != other.obs).any()


@pytest.mark.parametrize("env_id", ["CartPole-v0", "Acrobot-v1"])
def test_environments_that_reuse_their_arrays(env_id):
    def act(obs):
        action[:] = obs[:, 0] > 0  # so may a policy
        return action

    action = np.zeros(4, dtype=np.int64)
    plain, reused = (
        collect_steps(envs, act, 600, seed=0)
        for envs in (make_vector_env(env_id, 4), ReusedBuffers(make_vector_env(env_id, 4)))
    )
    assert len(np.unique(plain.obs, axis=0)) > 100
    for field in fields(plain):
        np.testing.assert_array_equal(getattr(reused, field.name), getattr(plain, field.name))
