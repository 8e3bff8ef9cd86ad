from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from acting import ActingPPO
from gymnasium.spaces import Box, Discrete
from test_rendering import needs_mujoco

from prefloop.agents.settings import PPOSettings
from prefloop.data import recording
from prefloop.data.recording import RecordedEnvs, record_episodes
from prefloop.data.segments import ACTIONS, SEED, STATES, cut, whole_episodes
from prefloop.data.stepping import as_trajectories
from prefloop.labelling.arrays import from_archive, pack, to_archive, unpack
from prefloop.labelling.server.rendering import Renderer


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def pushing(num_actions, seed=0):
    rng = np.random.default_rng(seed)
    return lambda obs: rng.integers(num_actions, size=len(obs))


def sent(segments):
    """As the server has them, after the wire and the database."""
    return [unpack(pack(segment)) for segment in from_archive(to_archive(segments))]


def test_classic_control_needs_nothing_else():
    episodes = record_episodes("CartPole-v1", pushing(2), 6, seed=0)
    assert episodes.states is None
    assert cut(episodes, 10, 8, np.random.default_rng(0)).replay == {}


@pytest.mark.parametrize("length", [10, None])
def test_others_are_seeded_and_can_be_replayed(monkeypatch, length):
    with monkeypatch.context() as as_if_unknown:
        as_if_unknown.setattr(recording, "STATE_OF", {})
        episodes = record_episodes("CartPole-v1", pushing(2), 4, seed=0)
        assert len(set(episodes.states)) == 4
        segments = whole_episodes(episodes)
        if length is not None:
            segments = cut(episodes, length, 6, np.random.default_rng(0))
            assert segments.first_step.any()
        assert segments.replay.keys() == {SEED, ACTIONS}
        received = sent(segments)
        renderer = Renderer("CartPole-v1")
        replayed = [list(renderer.frames(segment)) for segment in received]
    renderer = Renderer("CartPole-v1")
    for segment, frames in zip(received, replayed, strict=True):
        assert len(frames) == segment.length
        np.testing.assert_array_equal(frames, list(renderer.frames(segment)))


@needs_mujoco
def test_mujoco_states_stand_by_their_observations():
    rng = np.random.default_rng(0)
    episodes = record_episodes(
        "InvertedPendulum-v5",
        lambda obs: rng.uniform(-3, 3, (len(obs), 1)).astype(np.float32),
        7,
        0,
    )
    states, obs = episodes.states, episodes.obs
    np.testing.assert_array_equal(states, obs)  # this one observes qpos and qvel
    for segment in sent(cut(episodes, 4, 9, rng)):
        np.testing.assert_array_equal(
            segment.replay[STATES][: segment.length].astype(np.float32), segment.obs
        )
        assert len(list(Renderer("InvertedPendulum-v5").frames(segment))) == segment.length


def what_ppo_did(env_id):
    """Episodes of three rollouts, which go on from one to the next."""
    recorded = RecordedEnvs.make(env_id, 3)
    ppo = ActingPPO(
        PPOSettings(hidden_sizes=(8,)), recorded.envs, torch.device("cpu"),
        record=recorded.record, rollout_steps=80,
    )  # fmt: skip
    ppo.begin(seed=4)
    return as_trajectories([ppo.collect() for _ in range(3)])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_what_ppo_did_can_be_acted_again(env_id, monkeypatch):
    monkeypatch.setattr(recording, "STATE_OF", {})
    episodes = what_ppo_did(env_id)
    assert len(episodes) > 3  # some begin on the way
    segments = cut(episodes, 8, 40, np.random.default_rng(0))
    assert segments.first_step.any()
    renderer = Renderer(env_id)
    for segment in sent(segments):  # each step is checked against what was observed
        assert len(list(renderer.frames(segment))) == segment.length


@needs_mujoco
def test_what_a_robot_did_under_ppo_can_be_drawn():
    episodes = what_ppo_did("Hopper-v5")
    assert len(episodes) > 3
    renderer = Renderer("Hopper-v5")
    for segment in sent(cut(episodes, 8, 5, np.random.default_rng(0))):
        positions = segment.replay[STATES][: segment.length, 1:6]
        np.testing.assert_array_equal(positions.astype(np.float32), segment.obs[:, :5])
        assert len(list(renderer.frames(segment))) == segment.length


def test_what_is_drawn_from_observations_is_not_recorded():
    recorded = RecordedEnvs.make("CartPole-v1", 3)
    assert recorded.record is None
    assert not hasattr(recorded.envs.unwrapped, "envs")  # CartPole's own, which is quick


class Remembers(gym.Env):
    """A reset leaves something of the episodes before, as BipedalWalker's does."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space, action_space = Box(-1e6, 1e6, (2,)), Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode, self.memory = render_mode, 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start = self.np_random.normal()
        return self._obs(), {}

    def step(self, action):
        self.memory += 1 + action
        return self._obs(), 1.0, bool(self.np_random.random() < 0.1), False, {}

    def _obs(self):
        return np.array([self.start, self.memory], dtype=np.float32)

    def render(self):
        return np.zeros((32, 32, 3), dtype=np.uint8)


def test_an_environment_that_a_reset_does_not_bring_back(monkeypatch):
    spec = gym.envs.registration.EnvSpec("Remembers-v0", entry_point=Remembers)
    monkeypatch.setitem(gym.registry, "Remembers-v0", spec)
    episodes = record_episodes("Remembers-v0", pushing(2), 70, seed=0)  # of 64 environments
    renderer = Renderer("Remembers-v0")
    for segment in sent(whole_episodes(episodes)):
        assert len(list(renderer.frames(segment))) == segment.length
