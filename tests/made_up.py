"""Segments and answers that were made up: what they are to teach is known."""

import gymnasium as gym
import numpy as np

from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments


def make_segments(obs, actions, lengths=None, rewards=None):
    """Segments of [segments, length, obs_dim] and actions; padding holds whatever was given."""
    obs, actions = np.asarray(obs, dtype=np.float32), np.asarray(actions)
    num, length = obs.shape[:2]
    mask = np.arange(length) < (np.full(num, length) if lengths is None else lengths)[:, None]
    rewards = np.zeros((num, length)) if rewards is None else rewards
    return Segments(
        obs=obs,
        actions=actions.astype(np.int64 if actions.ndim == 2 else np.float32),
        mask=mask,
        rewards=(rewards * mask).astype(np.float32),
        policy=np.zeros(num, dtype=np.int64),
        first_step=np.zeros(num, dtype=np.int64),
    )


def random_segments(num, length, rng, discrete=True, lengths=None):
    """Three-dimensional observations; a step's reward is linear in them and in its action."""
    obs = rng.normal(size=(num, length, 3))
    actions = rng.integers(2, size=(num, length)) if discrete else rng.normal(size=(num, length, 1))
    return make_segments(obs, actions, lengths, reward_of(obs, actions))


def reward_of(obs, actions):
    action = actions if actions.ndim < obs.ndim else actions[..., 0]
    return obs[..., 0] - 0.5 * obs[..., 2] + action


def ask(segments, num_pairs, rng):
    """The true returns decide every pair."""
    first = rng.integers(len(segments), size=num_pairs)
    second = (first + rng.integers(1, len(segments), size=num_pairs)) % len(segments)
    labels = 0.5 + 0.5 * np.sign(segments.returns[second] - segments.returns[first])
    return Preferences(segments, first, second, labels)


def preferences(segments, *answers):
    """Answers as (first, second, label)."""
    first, second, labels = (np.array(column) for column in zip(*answers, strict=True))
    return Preferences(segments, first, second, labels.astype(np.float64))


class ReusedBuffers(gym.vector.VectorWrapper):
    """Hands out the same arrays at every step, as environments in C or shared memory may."""

    def __init__(self, envs):
        super().__init__(envs)
        self._buffers = None

    def _handed_out(self, arrays):
        if self._buffers is None:
            self._buffers = [np.array(array) for array in arrays]
        for buffer, array in zip(self._buffers, arrays, strict=True):
            buffer[...] = array
        return self._buffers

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed, options=options)
        nothing = np.zeros(self.num_envs)
        arrays = (obs, nothing, nothing.astype(bool), nothing.astype(bool))
        return self._handed_out(arrays)[0], info

    def step(self, actions):
        *arrays, info = super().step(actions)
        return *self._handed_out(arrays), info
