"""Stacks of successive frames, of which each frame is kept once: a quarter of the memory for stacks of four.

Segments that are kept are packed besides, each by itself: of games that is a thirtieth of their size.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
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
        """Swaps the first two axes."""
        return StackedFrames(self.frames, self.newest.swapaxes(0, 1), self.stack)

    def newest_frames(self, rows: Any) -> NDArray:
        """The last frame of some stacks."""
        return self.frames[self.newest[rows]]


Observations = NDArray | StackedFrames


class Seen:
    """Observations of environments that step together, step by step, each frame once.

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


def stacked(frames: NDArray, frame_stack: int) -> NDArray:
    """Stacks of successive frames: a view in which each frame stands once.

    Args:
        frames: [segments, length + frame_stack - 1, *frame_shape].

    Returns:
        [segments, length, frame_stack, *frame_shape]; `frames` where nothing is stacked.
    """
    if frame_stack == 1:
        return frames
    windows = np.lib.stride_tricks.sliding_window_view(frames, frame_stack, axis=1)
    return np.moveaxis(windows, -1, 2)


def single_frames(
    obs: NDArray | PackedFrames, frame_stack: int, index: Any = slice(None)
) -> NDArray:
    """Single frames of which `stacked` was made: the first stack, and the newest frame of each later one.

    Args:
        index: of the segments that are asked for; the others are not looked at.
    """
    if isinstance(obs, PackedFrames):
        return obs.frames(index)
    if frame_stack == 1:
        return obs[index]
    return np.concatenate([obs[index, 0], obs[index, 1:, -1]], axis=1)


class PackedFrames:
    """Pictures of segments, each segment's packed by itself until somebody reads it.

    Looks like an array of observations, [segments, length, *obs_shape], to whoever reads rows of it.
    """

    def __init__(
        self, packed: Sequence[bytes], shape: tuple[int, ...], dtype: np.dtype, frame_stack: int
    ) -> None:
        """Takes what was packed; `of` packs.

        Args:
            packed: frames of each segment; those at the end that are not there are 0.
            shape: of the frames of a segment, each once: [length + frame_stack - 1, *frame_shape].
        """
        self._packed, self._frames, self._stack = packed, shape, frame_stack
        self.dtype = dtype

    @classmethod
    def of(cls, frames: NDArray, frame_stack: int) -> PackedFrames:
        """Packs segments' frames, [segments, length + frame_stack - 1, *frame_shape]."""
        # the quickest level: games are unpacked at 1 GB/s, of which a fit reads 0.02
        packed = [zlib.compress(some.tobytes(), 1) for some in frames]
        return cls(packed, frames.shape[1:], frames.dtype, frame_stack)

    @classmethod
    def joined(cls, parts: Iterable[PackedFrames]) -> PackedFrames:
        """One after the other, padded to the longest; they are of one kind."""
        parts = list(parts)
        longest = max((part._frames for part in parts), key=lambda shape: shape[0])
        packed = [some for part in parts for some in part._packed]
        return cls(packed, longest, parts[0].dtype, parts[0]._stack)

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""
        frames, *frame = self._frames
        stack = (self._stack,) if self._stack > 1 else ()
        return (len(self._packed), frames - self._stack + 1, *stack, *frame)

    @property
    def ndim(self) -> int:
        """As an array's."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, packed."""
        return sum(map(len, self._packed))

    def __len__(self) -> int:
        return len(self._packed)

    def some(self, index: Any) -> PackedFrames:
        """Those of some segments, which stay packed."""
        chosen = np.arange(len(self))[index]
        packed = [self._packed[i] for i in chosen]
        return PackedFrames(packed, self._frames, self.dtype, self._stack)

    def frames(self, index: Any = slice(None)) -> NDArray:
        """Each frame of some segments once; [segments, length + frame_stack - 1, *frame_shape]."""
        chosen = np.arange(len(self))[index]
        found = np.zeros((len(chosen), *self._frames), self.dtype)
        for i, row in zip(chosen, found, strict=True):
            unpacked = np.frombuffer(zlib.decompress(self._packed[i]), self.dtype)
            row.reshape(-1)[: len(unpacked)] = unpacked
        return found

    def __getitem__(self, index: Any) -> NDArray:
        """As an array's; what is not asked for stays packed."""
        first, *others = index if isinstance(index, tuple) else (index,)
        if isinstance(first, np.ndarray) and first.dtype == bool and first.ndim == 2:
            rows = [self[i][steps] for i, steps in enumerate(first)]  # of steps
            return np.concatenate([self[:0].reshape(0, *self.shape[2:]), *rows])
        if isinstance(first, int | np.integer):
            return stacked(self.frames([first]), self._stack)[(0, *others)]
        return stacked(self.frames(first), self._stack)[(slice(None), *others)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """All of it as an array."""
        found = self[:]
        return found if dtype is None else found.astype(dtype)


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
    """Swaps the first two axes."""
    return obs.swapped() if isinstance(obs, StackedFrames) else obs.swapaxes(0, 1)
