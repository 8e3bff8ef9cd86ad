"""Stacks of successive frames, of which each frame is kept once: a quarter of the memory for stacks of four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StackedFrames:
    """Looks like an array of stacks, [..., stack, *frame_shape], to whoever reads rows of it.

    Attributes:
        frames: each once, whichever stacks it is in; [frames, *frame_shape].
        newest: where the last frame of each stack lies; the others lie before it; [...].
        stack: frames in a stack.
    """

    def __init__(self, frames: NDArray, newest: NDArray, stack: int) -> None:
        self.frames, self.newest, self.stack = frames, newest, stack

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""
        return (*self.newest.shape, self.stack, *self.frames.shape[1:])

    @property
    def ndim(self) -> int:
        """As an array's."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """As an array's."""
        return self.frames.dtype

    def __len__(self) -> int:
        return len(self.newest)

    def __getitem__(self, rows: Any) -> NDArray:
        """Some stacks as an array; `rows` are of the axes before those of a stack."""
        return np.asarray(self.at(rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """All stacks as an array, with each frame as often as it stands in them."""
        stacks = self.frames[self.newest[..., None] + np.arange(1 - self.stack, 1)]
        return stacks if dtype is None else stacks.astype(dtype)

    def at(self, rows: Any) -> StackedFrames:
        """Some stacks, which share their frames with these."""
        return StackedFrames(self.frames, self.newest[rows], self.stack)

    def swapped(self) -> StackedFrames:
        """With the first two axes in each other's place."""
        return StackedFrames(self.frames, self.newest.swapaxes(0, 1), self.stack)

    def newest_frames(self, rows: Any) -> NDArray:
        """The last frame of some stacks."""
        return self.frames[self.newest[rows]]


Observations = NDArray | StackedFrames


class Seen:
    """What environments that step together observe, step by step, each frame once.

    Whether a stack goes on from the one before it is seen in the frames: after a reset it does not.
    """

    def __init__(self, frame_stack: int) -> None:
        self._stack = frame_stack
        # of each step; where frames are stacked, the newest one
        self._obs: list[NDArray] = []
        # where a stack does not go on from the one before: step, environments, the frames before the newest
        self._begun: list[tuple[int, NDArray, NDArray]] = []
        self._last: NDArray | None = None

    def append(self, obs: NDArray) -> None:
        """Keeps what is observed now; [num_envs, *obs_shape], and not to be written into again."""
        if self._stack == 1:
            self._obs.append(obs)
            return
        if self._last is None:
            goes_on = np.zeros(len(obs), bool)
        else:
            same = obs[:, :-1] == self._last[:, 1:]
            goes_on = same.reshape(len(obs), -1).all(axis=1)
        if not goes_on.all():
            self._begun.append((len(self._obs), ~goes_on, obs[~goes_on, :-1].copy()))
        self._obs.append(obs[:, -1].copy())
        self._last = obs

    def all(self) -> Observations:
        """All of it; [steps, num_envs, *obs_shape]."""
        if self._stack == 1:
            return np.stack(self._obs)
        frames: list[NDArray] = []
        newest = np.zeros((len(self._obs), len(self._obs[0])), np.int64)
        before: dict[tuple[int, int], NDArray] = {
            (step, int(env)): stack
            for step, which, stacks in self._begun
            for env, stack in zip(np.flatnonzero(which), stacks, strict=True)
        }
        number = 0
        for env in range(newest.shape[1]):
            for step, obs in enumerate(self._obs):
                earlier = before.get((step, env))
                if earlier is not None:
                    frames.append(earlier)
                    number += len(earlier)
                frames.append(obs[env, None])
                newest[step, env] = number
                number += 1
        return StackedFrames(np.concatenate(frames), newest, self._stack)


def joined(parts: Sequence[Observations]) -> Observations:
    """Observations one after the other, on their first axis."""
    if not isinstance(parts[0], StackedFrames):
        return np.concatenate([np.asarray(part) for part in parts])
    frames, newest, number = [], [], 0
    for part in parts:
        assert isinstance(part, StackedFrames)
        frames.append(part.frames)
        newest.append(part.newest + number)
        number += len(part.frames)
    return StackedFrames(np.concatenate(frames), np.concatenate(newest), parts[0].stack)


def rows_of(obs: Observations, rows: Any) -> Observations:
    """Some of them; of stacked frames, without a copy of a frame."""
    return obs.at(rows) if isinstance(obs, StackedFrames) else obs[rows]


def swapped(obs: Observations) -> Observations:
    """With the first two axes in each other's place."""
    return obs.swapped() if isinstance(obs, StackedFrames) else obs.swapaxes(0, 1)
