"""Stretches of behaviour that somebody compares: whole episodes or a fixed number of steps."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prefloop.data.frames import (
    Observations,
    PackedFrames,
    StackedFrames,
    single_frames,
    stacked,
)
from prefloop.data.trajectories import Trajectories
from prefloop.envs.spaces import as_stored
from prefloop.errors import UserError

# what a dataset keeps of segments, and with which a segment can be made
COLUMNS = ("obs", "actions", "mask", "rewards", "policy", "first_step")
# what shows a segment again (prefloop.data.recording): arrays with one row for each segment
STATES, SEED, ACTIONS = "replay_states", "replay_seed", "replay_actions"


@dataclass(frozen=True)
class Segments:
    """Segments side by side, padded at the end to one length.

    Attributes:
        obs: the observation each action was chosen in; float32, or whole numbers as they come;
            [segments, length, *obs_shape]. Of stacked frames a view, in which each frame
            stands once; of pictures that are kept, `PackedFrames`.
        actions: as the environment received them; int64 [segments, length] where they are
            discrete, float32 [segments, length, action_dim] where they are continuous.
        mask: True where there is a step, False where there is padding; [segments, length].
        rewards: the environment's reward for each step, 0 in the padding; float32;
            [segments, length].
        policy: which of the collecting policies acted, in their order; int64; [segments].
        first_step: where in its episode the segment begins, in steps; int64; [segments].
        frame_stack: how many successive frames the first axis of an observation holds; 1: none.
        replay: what it takes to show the segments again, where it was recorded; by names that begin
            with `replay_`; [segments, ...] each. Of datasets, those that people answered keep it.

    Raises:
        ValueError: the shapes do not belong together, an array is of another type, a segment has
            no steps, or padding stands before a step.
    """

    obs: NDArray | PackedFrames
    actions: NDArray
    mask: NDArray
    rewards: NDArray
    policy: NDArray
    first_step: NDArray
    frame_stack: int = field(default=1, kw_only=True)
    replay: Mapping[str, NDArray] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        shape = self.mask.shape
        if self.obs.ndim < 3 or self.actions.ndim not in (2, 3):
            raise ValueError(f"obs {self.obs.shape} and actions {self.actions.shape} have no steps")
        if not self.obs.shape[:2] == self.actions.shape[:2] == shape == self.rewards.shape:
            shapes = [x.shape for x in (self.obs, self.actions, self.mask, self.rewards)]
            raise ValueError(f"obs, actions, mask and rewards differ in shape: {shapes}")
        if not self.policy.shape == self.first_step.shape == shape[:1]:
            raise ValueError("policy and first_step need one entry for each segment")
        if self.mask.dtype != bool or (shape[1] and (self.mask[:, 1:] & ~self.mask[:, :-1]).any()):
            raise ValueError("the mask must be True for each segment's first steps and only them")
        if not self.mask.any(axis=1).all():
            raise ValueError("a segment has no steps")
        types = {"rewards": "float32", "policy": "int64", "first_step": "int64"}
        types["actions"] = "int64" if self.discrete else "float32"
        types["obs"] = str(as_stored(self.obs[:0]).dtype)
        for name, dtype in types.items():
            if getattr(self, name).dtype != dtype:
                raise ValueError(f"{name} must be {dtype}, not {getattr(self, name).dtype}")
        if self.frame_stack > 1 and self.obs.shape[2:3] != (self.frame_stack,):
            raise ValueError(f"obs {self.obs.shape} are no stacks of {self.frame_stack} frames")

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.mask)

    def __getitem__(self, index: NDArray | slice) -> "Segments":
        """Some of the segments."""
        columns = {name: getattr(self, name)[index] for name in COLUMNS if name != "obs"}
        replay = {name: array[index] for name, array in self.replay.items()}
        obs: NDArray | PackedFrames
        if isinstance(self.obs, PackedFrames):
            obs = self.obs.some(index)
        else:
            obs = stacked(single_frames(self.obs, self.frame_stack, index), self.frame_stack)
        return Segments(obs, **columns, frame_stack=self.frame_stack, replay=replay)

    @property
    def packed(self) -> "Segments":
        """These segments with pictures packed; vectors stay as they are."""
        axes = self.obs.ndim - 2 - (self.frame_stack > 1)
        if isinstance(self.obs, PackedFrames) or self.obs.dtype != np.uint8 or axes < 2:
            return self
        return replace(self, obs=PackedFrames.of(self.frames, self.frame_stack))

    @property
    def finite(self) -> dict[str, bool]:
        """Whether there is no NaN and no infinite number in obs, actions and rewards, by these names."""
        return {
            name: array.dtype.kind in "biu" or bool(np.isfinite(array).all())
            for name in ("obs", "actions", "rewards")
            for array in (getattr(self, name),)
        }

    @property
    def frames(self) -> NDArray:
        """Observations with each frame once: `obs`, or of stacks [segments, length + stack - 1, ...]."""
        return single_frames(self.obs, self.frame_stack)

    def steps(self, index: NDArray) -> tuple[Observations, NDArray]:
        """Observations and actions in the steps of some segments, one after the other; padding is left out.

        Args:
            index: positions of segments; the steps of one that stands there twice stand twice in what is given, and
                of stacks each frame once all the same.

        Returns:
            Observations and actions; [steps, ...] each.
        """
        mask, actions = self.mask[index], self.actions[index]
        if self.frame_stack == 1:
            return self.obs[index][mask], actions[mask]
        segments, place = np.unique(index, return_inverse=True)
        frames = single_frames(self.obs, self.frame_stack, segments)
        newest = place[:, None] * frames.shape[1] + np.arange(self.frame_stack - 1, frames.shape[1])
        each = frames.reshape(-1, *frames.shape[2:])
        return StackedFrames(each, newest[mask], self.frame_stack), actions[mask]

    @property
    def lengths(self) -> NDArray:
        """Steps of each segment; [segments]."""
        return self.mask.sum(axis=1)

    @property
    def returns(self) -> NDArray:
        """The environment's undiscounted return of each segment, float64; [segments]."""
        return self.rewards.sum(axis=1, dtype=np.float64, where=self.mask)

    @cached_property
    def fingerprints(self) -> NDArray:
        """Hash of what each segment shows, its observations and actions; uint64; [segments].

        The same behaviour has the same fingerprint wherever it stands and whatever it is padded to.
        """
        digests = self._digests(
            lambda i, steps: (
                _one_zero(self._frames(i, steps)),
                _one_zero(self.actions[i, :steps]),
            ),
            size=8,
        )
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)

    @property
    def identities(self) -> list[bytes]:
        """Digest of all that is kept of each segment but where it comes from; [segments].

        Two segments are the same where theirs are, whatever they are padded to.
        """
        return list(
            self._digests(
                lambda i, steps: (
                    self._frames(i, steps), self.actions[i, :steps], self.rewards[i, :steps],
                ),
                size=16,
            )
        )  # fmt: skip

    def _frames(self, i: int, steps: int) -> NDArray:
        """Observations of the first steps of one segment, each frame once."""
        one: NDArray = single_frames(self.obs, self.frame_stack, slice(i, i + 1))[0]
        return one[: steps + self.frame_stack - 1]

    def _digests(
        self, shown: Callable[[int, int], tuple[NDArray, ...]], size: int
    ) -> Iterator[bytes]:
        """Digests of what each segment shows in its steps, one after the other, since pictures may be packed."""
        for i, length in enumerate(self.lengths):
            arrays = (array.tobytes() for array in shown(i, length))
            yield hashlib.blake2b(b"".join(arrays), digest_size=size).digest()

    @property
    def kind(self) -> tuple[object, ...]:
        """Facts in which segments must agree to stand side by side: kinds of observations and actions."""
        shapes = self.obs.shape[2:], self.actions.shape[2:]
        return *shapes, self.obs.dtype, self.actions.dtype, self.frame_stack

    @property
    def discrete(self) -> bool:
        """Whether actions are numbers of actions rather than vectors."""
        return self.actions.ndim == 2


def _one_zero(array: NDArray) -> NDArray:
    """Replaces -0.0 by 0.0, which it equals; whole numbers stay as they are."""
    return array if array.dtype.kind in "biu" else array + 0


def concatenate(parts: Sequence[Segments]) -> Segments:
    """Puts segments one after the other, padded to the longest; packed if one of them is.

    Raises:
        ValueError: there are none, or their observations or actions are of different kinds.
    """
    if not parts:
        raise ValueError("no segments to concatenate")
    if len({part.kind for part in parts}) > 1:
        raise ValueError("segments with different observations or actions")
    stack = parts[0].frame_stack
    names = ("actions", "mask", "rewards", "policy", "first_step")
    obs: NDArray | PackedFrames
    if any(isinstance(part.obs, PackedFrames) for part in parts):
        packed = (part.packed.obs for part in parts)
        obs = PackedFrames.joined(some for some in packed if isinstance(some, PackedFrames))
    else:
        obs = stacked(_joined([part.frames for part in parts]), stack)
    return Segments(
        obs,
        *(_joined([getattr(part, name) for part in parts]) for name in names),
        frame_stack=stack,
        replay={
            name: _joined([part.replay[name] for part in parts])
            for name in parts[0].replay
            if all(name in part.replay for part in parts)
        },
    )


def _joined(arrays: Sequence[NDArray]) -> NDArray:
    """One after the other; of what has steps, all padded to the longest."""
    if arrays[0].ndim == 1:
        return np.concatenate(arrays)
    length = max(array.shape[1] for array in arrays)
    first = arrays[0]
    joined = np.zeros((sum(map(len, arrays)), length, *first.shape[2:]), first.dtype)
    start = 0
    for array in arrays:  # into place: padded copies of all would be held beside it
        joined[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return joined


def whole_episodes(trajectories: Trajectories, policy: int = 0) -> Segments:
    """Every episode as one segment.

    Args:
        policy: the number of the policy that acted.
    """
    return take(trajectories, *episode_places(trajectories), policy)


def cut(
    trajectories: Trajectories,
    length: int,
    num_segments: int,
    rng: np.random.Generator,
    policy: int = 0,
) -> Segments:
    """Cuts segments of a fixed length at random, without two from the same place.

    Arguments and errors as in `random_places`.

    Args:
        policy: the number of the policy that acted.
    """
    return take(trajectories, *random_places(trajectories, length, num_segments, rng), policy)


def episode_places(trajectories: Trajectories) -> tuple[NDArray, NDArray]:
    """Where each episode begins among all steps, and how many it has; [episodes] both."""
    return np.cumsum(trajectories.lengths) - trajectories.lengths, trajectories.lengths


def random_places(
    trajectories: Trajectories, length: int, num_segments: int, rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Where segments of a fixed length begin among all steps, and how long they are.

    A segment that begins within `length` of a terminal state is as long as the episode lasted: that
    it ended there is behaviour too. What a time limit cut short is not offered, since nobody
    knows how it would have gone on.

    Args:
        length: steps of a segment.
        num_segments: how many; fewer are returned where there are fewer places to begin.

    Returns:
        First step and number of steps of each, in order, no two alike; [segments] both.

    Raises:
        UserError: no episode is as long as a segment.
    """
    lengths = trajectories.lengths
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())  # in its episode
    may_start = (left >= length) | np.repeat(trajectories.terminated, lengths)
    places = np.flatnonzero(may_start)
    if not (lengths >= length).any() or not len(places):
        raise UserError(
            f"Can't cut segments of {length} steps from episodes of at most {lengths.max()}."
        )
    starts = np.sort(rng.choice(places, min(num_segments, len(places)), replace=False))
    return starts, np.minimum(left[starts], length)


def take(
    trajectories: Trajectories, starts: NDArray, lengths: NDArray, policy: int = 0
) -> Segments:
    """The segments that begin at these steps.

    Args:
        starts, lengths: first step and number of steps of each; [segments].
        policy: the number of the policy that acted.
    """
    index, mask = _step_index(starts, lengths)
    episode_starts, _ = episode_places(trajectories)
    episode_start = episode_starts[np.searchsorted(episode_starts, starts, side="right") - 1]

    def column(array: NDArray) -> NDArray:
        values = array[index]
        values[~mask] = 0
        return values

    discrete = trajectories.actions.ndim == 1
    return Segments(
        obs=_observations(trajectories, index, mask),
        actions=column(trajectories.actions).astype(np.int64 if discrete else np.float32),
        mask=mask,
        rewards=column(trajectories.rewards).astype(np.float32),
        policy=np.full(len(starts), policy, dtype=np.int64),
        first_step=(starts - episode_start).astype(np.int64),
        frame_stack=trajectories.frame_stack,
        replay=_replay(trajectories, starts, lengths, episode_start),
    )


def _observations(trajectories: Trajectories, index: NDArray, mask: NDArray) -> NDArray:
    """Those of some steps, each frame once; 0 in the padding."""
    obs, stack = trajectories.obs, trajectories.frame_stack
    if stack == 1:
        values = obs[index]
        values[~mask] = 0
        return as_stored(values)
    newest = obs.newest_frames(index) if isinstance(obs, StackedFrames) else obs[index, -1]
    newest[~mask] = 0
    first = obs[index[:, 0]][:, :-1]
    return stacked(as_stored(np.concatenate([first, newest], axis=1)), stack)


def _replay(
    trajectories: Trajectories, starts: NDArray, lengths: NDArray, episode_start: NDArray
) -> dict[str, NDArray]:
    """Arrays that show segments again, as far as they were recorded."""
    states = trajectories.states
    if states is None:
        return {}
    if states.ndim > 1:
        return {STATES: states[_step_index(starts, lengths)[0]]}
    # from the episode's first step to the segment's last
    index, _ = _step_index(episode_start, starts - episode_start + lengths)
    return {SEED: states[starts], ACTIONS: trajectories.actions[index]}


def _step_index(starts: NDArray, lengths: NDArray) -> tuple[NDArray, NDArray]:
    """Where each step of segments lies among all steps, and the mask; [segments, length] both.

    In the padding stands the segment's first step.
    """
    step = np.arange(lengths.max())
    mask = step < lengths[:, None]
    return np.where(mask, starts[:, None] + step, starts[:, None]), mask
