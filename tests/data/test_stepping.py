import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from acting import ActingPPO

from prefloop.agents.settings import PPOSettings
from prefloop.data.stepping import (
    Rollout,
    Stepping,
    as_trajectories,
    finished_returns,
    without_diverged,
)
from prefloop.envs.make import make_env, make_vector_env, mujoco_states
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate


def collect(env_id, num_rollouts, num_envs=4, rollout_steps=100, record=None):
    settings = PPOSettings(hidden_sizes=(8,))
    torch.manual_seed(0)
    envs = make_vector_env(env_id, num_envs)
    recording = record and (lambda: record(envs))
    cpu = torch.device("cpu")
    ppo = ActingPPO(settings, envs, cpu, record=recording, rollout_steps=rollout_steps)
    ppo.begin(seed=3)
    return [ppo.collect() for _ in range(num_rollouts)]


class Broken(gym.Wrapper):
    """Comes to what is no number in its tenth step."""

    def __init__(self, env, where):
        super().__init__(env)
        self.where, self.steps = where, 0

    def step(self, action):
        obs, reward, *rest = self.env.step(action)
        self.steps += 1
        if self.steps == 10:
            obs, reward = (obs * np.nan, reward) if self.where == "obs" else (obs, np.inf)
        return obs, reward, *rest


@pytest.mark.parametrize(("where", "what"), [("obs", "an observation"), ("reward", "a reward")])
def test_what_is_no_number_is_said_of_the_environment(where, what):
    envs = gym.vector.SyncVectorEnv([lambda: Broken(make_env("Pendulum-v1"), where)])
    envs.spec = gym.spec("Pendulum-v1")
    stepping = Stepping(envs)
    stepping.begin(0)
    stepping.act(lambda obs: np.zeros((1, 1), np.float32), 9)
    with pytest.raises(UserError, match=f"Pendulum-v1 gave {what} that is NaN or infinite"):
        # also where a policy acts on it by what is no number, either
        stepping.act(lambda obs: np.full((1, 1), obs.sum() * 0, np.float32), 5)


def hand_made(rewards, terminated, truncated, valid, diverged=None):
    """One environment; observations count its steps, and actions are ten times that."""
    steps = np.arange(len(rewards))
    columns = (np.asarray(x)[:, None] for x in (rewards, terminated, truncated, valid))
    rewards, terminated, truncated, valid = columns
    return Rollout(
        obs=np.arange(len(rewards) + 1, dtype=np.float32)[:, None, None],
        actions=10 * steps[:, None],
        applied=10 * steps[:, None],
        rewards=rewards.astype(float),
        terminated=terminated.astype(bool),
        truncated=truncated.astype(bool),
        valid=valid.astype(bool),
        diverged=np.zeros(valid.shape, bool) if diverged is None else np.array(diverged)[:, None],
    )


# two steps and a fall, the reset, one step and the time limit, the reset, one step
ENDS = hand_made(
    rewards=[1, 2, 99, 4, 99, 8],
    terminated=[0, 1, 0, 0, 0, 0],
    truncated=[0, 0, 0, 1, 0, 0],
    valid=[1, 1, 0, 1, 0, 1],
)


def test_episodes_by_hand():
    episodes = as_trajectories([ENDS])
    assert episodes.lengths.tolist() == [2, 1, 1]
    assert episodes.obs[:, 0].tolist() == [0, 1, 3, 5]
    assert episodes.next_obs[:, 0].tolist() == [1, 2, 4, 6]
    assert episodes.actions.tolist() == [0, 10, 30, 50]
    assert episodes.rewards.tolist() == [1, 2, 4, 8]
    assert episodes.terminated.tolist() == [True, False, False]
    # what was under way at the end is cut there
    assert episodes.truncated.tolist() == [False, True, True]


def test_only_what_ended_is_a_return():
    assert finished_returns([ENDS], time_limit=None).tolist() == [3, 4]
    odd = dataclasses.replace(ENDS, rewards=np.where(ENDS.valid, ENDS.rewards, np.nan))
    assert finished_returns([odd], time_limit=None).tolist() == [3, 4]


def test_an_episode_that_might_have_been_cut_does_not_count():
    # six steps: with a limit of 3, what began after step 3 may have been too long to end
    assert finished_returns([ENDS], time_limit=3).tolist() == [3, 4]
    assert finished_returns([ENDS], time_limit=4).tolist() == [3]
    assert finished_returns([ENDS], time_limit=100).tolist() == [3]


def test_the_mean_return_does_not_favour_short_episodes():
    """A policy of middling skill, against whole episodes that were counted when they began."""
    torch.manual_seed(0)
    envs = make_vector_env("CartPole-v0", 32)
    ppo = ActingPPO(PPOSettings(), envs, torch.device("cpu"), rollout_steps=150)
    ppo.begin(0)
    for _ in range(3):  # now it balances for 50 to 100 steps
        rollout = ppo.collect()
        ppo.update(rollout, rollout.rewards)
    true = evaluate(ppo.acting_policy, "CartPole-v0", 500, seed=1)
    seen = []
    for seed in range(8):
        ppo.begin(seed)
        seen.append(finished_returns([ppo.collect() for _ in range(3)], time_limit=200))
    counted = np.concatenate(seen)
    error = 4 * (counted.std() / len(counted) ** 0.5 + true.std() / len(true) ** 0.5)
    assert abs(counted.mean() - true.mean()) < error < 0.2 * true.mean()


def test_an_episode_may_span_two_rollouts():
    beginning = hand_made([1, 1], [0, 0], [0, 0], [1, 1])
    end = hand_made([1, 99], [1, 0], [0, 0], [1, 0])
    assert as_trajectories([beginning, end]).lengths.tolist() == [3]
    assert finished_returns([beginning, end], 3).tolist() == [3]
    assert len(finished_returns([beginning], 3)) == 0


def test_what_diverged_is_no_episode_also_where_it_spans_two_rollouts():
    whole, begun, reset = [1, 1], [1], 99
    first = hand_made([*whole, reset, *begun], [0, 1, 0, 0], [0] * 4, [1, 1, 0, 1])
    then = hand_made([0, reset, 4], [0] * 3, [1, 0, 0], [1, 0, 1], diverged=[True, False, False])
    assert [r.valid[:, 0].tolist() for r in without_diverged([then])] == [[False, False, True]]
    left = without_diverged([first, then])
    assert left[0].valid[:, 0].tolist() == [True, True, False, False]
    assert left[1].valid[:, 0].tolist() == [False, False, True]
    assert finished_returns(left, None).tolist() == [2]
    episodes = as_trajectories(left)
    assert (episodes.lengths.tolist(), episodes.rewards.tolist()) == ([2, 1], [1, 1, 4])
    untouched = without_diverged([ENDS])
    assert (untouched[0].valid == ENDS.valid).all()


def test_a_terminal_state_at_the_time_limit_is_terminal():
    episodes = as_trajectories([hand_made([1, 1], [0, 1], [0, 1], [1, 1])])
    assert (episodes.terminated.tolist(), episodes.truncated.tolist()) == ([True], [False])


def walk(rollouts, i):
    """Episodes of one environment, a step at a time: (obs, reward, next_obs) and how each ended."""
    episodes, steps = [], []
    for rollout in rollouts:
        for t in range(len(rollout.rewards)):
            if not rollout.valid[t, i]:
                continue
            steps.append((rollout.obs[t, i], rollout.rewards[t, i], rollout.obs[t + 1, i]))
            if rollout.terminated[t, i] or rollout.truncated[t, i]:
                episodes.append((steps, bool(rollout.terminated[t, i])))
                steps = []
    return [*episodes, (steps, False)] if steps else episodes


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_episodes_are_those_that_a_walk_finds(env_id):
    rollouts = collect(env_id, 3)
    expected = [episode for i in range(4) for episode in walk(rollouts, i)]
    episodes = as_trajectories(rollouts)
    assert episodes.lengths.tolist() == [len(steps) for steps, _ in expected]
    assert episodes.terminated.tolist() == [fell for _, fell in expected]
    assert (episodes.terminated != episodes.truncated).all()
    steps = [step for steps, _ in expected for step in steps]
    for name, column in zip(("obs", "rewards", "next_obs"), zip(*steps, strict=True), strict=True):
        np.testing.assert_array_equal(getattr(episodes, name), np.stack(column))


def test_cartpole_steps_follow_each_other_and_end_in_a_fall():
    episodes = as_trajectories(collect("CartPole-v1", 3))
    ends = np.cumsum(episodes.lengths) - 1
    inside = np.setdiff1d(np.arange(len(episodes.obs)), ends)
    np.testing.assert_array_equal(episodes.next_obs[inside], episodes.obs[inside + 1])
    last = np.abs(episodes.next_obs[ends])
    fell = (last[:, 0] > 2.4) | (last[:, 2] > 12 * np.pi / 180)
    np.testing.assert_array_equal(episodes.terminated, fell)
    assert episodes.truncated.sum() <= 4  # one an environment: what was under way
    assert (np.abs(episodes.obs[:, 2]) < 12 * np.pi / 180).all()  # the first states included


def test_pendulum_is_cut_by_its_time_limit_and_by_the_end():
    rollouts = collect("Pendulum-v1", 5, num_envs=3)
    episodes = as_trajectories(rollouts)
    # 500 steps an environment: 200, a reset, 200, a reset, and the 98 that are left
    assert episodes.lengths.tolist() == [200, 200, 98] * 3
    assert not episodes.terminated.any()
    finished = episodes.returns[episodes.lengths == 200]
    np.testing.assert_allclose(np.sort(finished_returns(rollouts, 200)), np.sort(finished))
    assert len(finished) == 6
    # the state that the time limit cut off, not the one after the reset
    assert (np.abs(episodes.next_obs[199] - episodes.obs[199]) < 0.8 * np.array([1, 1, 8])).all()


def test_the_environment_received_what_the_trajectories_hold():
    rollouts = collect("Pendulum-v1", 1)
    (rollout,) = rollouts
    assert rollout.actions.shape == rollout.applied.shape == (100, 4, 1)
    np.testing.assert_array_equal(rollout.applied, rollout.actions.clip(-2, 2))
    assert (np.abs(rollout.actions) > 2).any()
    assert np.abs(as_trajectories(rollouts).actions).max() == 2


def test_states_go_with_their_steps():
    parts = [dataclasses.replace(ENDS, states=ENDS.obs[:-1] + shift) for shift in (0.5, 100)]
    episodes = as_trajectories(parts)
    # the end of the first is no end, since the second follows
    assert episodes.lengths.tolist() == [2, 1, 3, 1, 1]
    assert episodes.states[:, 0].tolist() == [0.5, 1.5, 3.5, 5.5, 100, 101, 103, 105]
    assert as_trajectories([ENDS, parts[0]]).states is None


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5"])
def test_each_observation_was_made_of_the_state_beside_it(env_id):
    """Through falls (Hopper), time limits (HalfCheetah) and the resets after them."""
    pytest.importorskip("mujoco")
    pytest.importorskip("imageio")
    rollouts = collect(env_id, 3, num_envs=2, rollout_steps=400, record=mujoco_states)
    episodes = as_trajectories(rollouts)
    assert episodes.terminated.any() == (env_id == "Hopper-v5")
    assert len(episodes) > 2
    base = make_env(env_id).unwrapped
    base.reset(seed=0)
    for state, obs in zip(episodes.states, episodes.obs, strict=True):
        base.set_state(*np.split(state, [base.model.nq]))
        np.testing.assert_array_equal(base._get_obs().astype(np.float32), obs)
    # and recording them changes nothing
    for rollout, alone in zip(rollouts, collect(env_id, 3, 2, 400), strict=True):
        assert alone.states is None
        for name in ("obs", "actions", "rewards", "valid"):
            np.testing.assert_array_equal(getattr(rollout, name), getattr(alone, name))
