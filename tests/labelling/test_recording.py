from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from test_rendering import needs_mujoco

from prefloop.agents.rollout import as_trajectories
from prefloop.agents.settings import PPOSettings
from prefloop.data.segments import cut, whole_episodes
from prefloop.labelling import rendering
from prefloop.labelling.arrays import from_archive, pack, to_archive, unpack
from prefloop.labelling.recording import RecordedEnvs, record_episodes
from prefloop.labelling.rendering import ACTIONS, SEED, STATES, Renderer
from prefloop.training.on_policy import make_ppo


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def pushing(num_actions, seed=0):
    rng = np.random.default_rng(seed)
    return lambda obs: rng.integers(num_actions, size=len(obs))


def sent(segments, replay):
    """As the server has them, after the wire and the database."""
    return [unpack(pack(segment)) for segment in from_archive(to_archive(segments, replay))]


def test_classic_control_needs_nothing_else():
    recording = record_episodes("CartPole-v1", pushing(2), 6, seed=0)
    segments, replay = recording.cut(10, 8, np.random.default_rng(0))
    assert replay == {}
    alone = cut(recording.trajectories, 10, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(segments.obs, alone.obs)
    np.testing.assert_array_equal(segments.first_step, alone.first_step)
    whole, _ = recording.cut(None, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(whole.obs, whole_episodes(recording.trajectories).obs)


@pytest.mark.parametrize("length", [10, None])
def test_others_are_seeded_and_can_be_replayed(monkeypatch, length):
    with monkeypatch.context() as as_if_unknown:
        as_if_unknown.setattr(rendering, "_STATE_OF", {})
        recording = record_episodes("CartPole-v1", pushing(2), 4, seed=0)
        assert len(set(recording.seeds)) == 4
        segments, replay = recording.cut(length, 6, np.random.default_rng(0))
        assert replay.keys() == {SEED, ACTIONS}
        assert length is None or segments.first_step.any()
        received = sent(segments, replay)
        renderer = Renderer("CartPole-v1")
        replayed = [list(renderer.frames(segment)) for segment in received]
    renderer = Renderer("CartPole-v1")
    for segment, frames in zip(received, replayed, strict=True):
        assert len(frames) == segment.length
        np.testing.assert_array_equal(frames, list(renderer.frames(segment)))


@needs_mujoco
def test_mujoco_states_stand_by_their_observations():
    rng = np.random.default_rng(0)
    recording = record_episodes(
        "InvertedPendulum-v5",
        lambda obs: rng.uniform(-3, 3, (len(obs), 1)).astype(np.float32),
        7,
        0,
    )
    states, obs = recording.trajectories.states, recording.trajectories.obs
    np.testing.assert_array_equal(states, obs)  # this one observes qpos and qvel
    segments, replay = recording.cut(4, 9, rng)
    for segment in sent(segments, replay):
        np.testing.assert_array_equal(
            segment.replay[STATES][: segment.length].astype(np.float32), segment.obs
        )
        assert len(list(Renderer("InvertedPendulum-v5").frames(segment))) == segment.length


def what_ppo_did(env_id):
    """A recording of three rollouts, whose episodes go on from one to the next."""
    recorded = RecordedEnvs.make(env_id, 3)
    settings = PPOSettings(num_envs=3, rollout_steps=80, hidden_sizes=(8,))
    ppo = make_ppo(env_id, settings, 0, torch.device("cpu"), None, recorded.envs, recorded.record)
    ppo.begin(seed=4)
    return recorded.recording(as_trajectories([ppo.collect() for _ in range(3)]))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_what_ppo_did_can_be_acted_again(env_id, monkeypatch):
    monkeypatch.setattr(rendering, "_STATE_OF", {})
    recording = what_ppo_did(env_id)
    assert recording.trajectories.states is None
    assert len(recording.seeds) == len(recording.trajectories)
    assert len(recording.seeds) > 3  # some begin on the way
    segments, replay = recording.cut(8, 40, np.random.default_rng(0))
    assert segments.first_step.any()
    renderer = Renderer(env_id)
    for segment in sent(segments, replay):  # each step is checked against what was observed
        assert len(list(renderer.frames(segment))) == segment.length


@needs_mujoco
def test_what_a_robot_did_under_ppo_can_be_drawn():
    recording = what_ppo_did("Hopper-v5")
    assert len(recording.trajectories) > 3
    segments, replay = recording.cut(8, 5, np.random.default_rng(0))
    renderer = Renderer("Hopper-v5")
    for segment in sent(segments, replay):
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
    recording = record_episodes("Remembers-v0", pushing(2), 70, seed=0)  # of 64 environments
    segments, replay = recording.cut(None, 0, np.random.default_rng(0))
    renderer = Renderer("Remembers-v0")
    for segment in sent(segments, replay):
        assert len(list(renderer.frames(segment))) == segment.length
