"""Stretches of behaviour that somebody compares: whole episodes or a fixed number of steps."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from prefloop.data.trajectories import Trajectories
from prefloop.errors import UserError


@dataclass(frozen=True)
class Segments:
    """Segments side by side, padded at the end to one length.

    Attributes:
        obs: the observation each action was chosen in; float32; [segments, length, obs_dim].
        actions: as the environment received them; int64 [segments, length] where they are
            discrete, float32 [segments, length, action_dim] where they are continuous.
        mask: True where there is a step, False where there is padding; [segments, length].
        rewards: the environment's reward for each step, 0 in the padding; float32;
            [segments, length].
        policy: which of the collecting policies acted, in their order; int64; [segments].
        first_step: where in its episode the segment begins, in steps; int64; [segments].

    Raises:
        ValueError: the shapes do not belong together, an array is of another type, a segment has
            no steps, or padding stands before a step.
    """

    obs: NDArray
    actions: NDArray
    mask: NDArray
    rewards: NDArray
    policy: NDArray
    first_step: NDArray

    def __post_init__(self) -> None:
        shape = self.mask.shape
        if self.obs.ndim != 3 or self.actions.ndim not in (2, 3):
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
        types = {"obs": "float32", "rewards": "float32", "policy": "int64", "first_step": "int64"}
        types["actions"] = "int64" if self.discrete else "float32"
        for name, dtype in types.items():
            if getattr(self, name).dtype != dtype:
                raise ValueError(f"{name} must be {dtype}, not {getattr(self, name).dtype}")

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.mask)

    def __getitem__(self, index: NDArray | slice) -> "Segments":
        """Some of the segments."""
        return Segments(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def lengths(self) -> NDArray:
        """Steps of each segment; [segments]."""
        return self.mask.sum(axis=1)

    @property
    def returns(self) -> NDArray:
        """The environment's undiscounted return of each segment, float64; [segments]."""
        return self.rewards.sum(axis=1, dtype=np.float64, where=self.mask)

    @property
    def fingerprints(self) -> NDArray:
        """Of what each segment shows, its observations and actions; uint64; [segments].

        The same behaviour has the same fingerprint wherever it stands and whatever it is padded to.
        """
        # + 0 makes -0.0 the zero that it equals
        shown = [array + 0 for array in (self.obs, self.actions)]
        digests = (
            hashlib.blake2b(
                b"".join(array[i, :length].tobytes() for array in shown), digest_size=8
            ).digest()
            for i, length in enumerate(self.lengths)
        )
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)

    @property
    def discrete(self) -> bool:
        """Whether actions are numbers of actions rather than vectors."""
        return self.actions.ndim == 2


def concatenate(parts: Sequence[Segments]) -> Segments:
    """Puts segments one after the other, padded to the longest.

    Raises:
        ValueError: there are none, or their observations or actions are of different kinds.
    """
    if not parts:
        raise ValueError("no segments to concatenate")
    if (
        len({(part.obs.shape[2:], part.actions.shape[2:], part.actions.dtype) for part in parts})
        > 1
    ):
        raise ValueError("segments with different observations or actions")
    length = max(part.mask.shape[1] for part in parts)
    return Segments(
        *(
            np.concatenate(
                [_padded(getattr(part, field.name), length, field.name) for part in parts]
            )
            for field in fields(Segments)
        )
    )


def _padded(array: NDArray, length: int, name: str) -> NDArray:
    if name in ("policy", "first_step"):
        return array
    padding = [(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, padding)


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


def step_index(starts: NDArray, lengths: NDArray) -> tuple[NDArray, NDArray]:
    """Where each step of segments lies among all steps, and the mask; [segments, length] both.

    In the padding stands the segment's first step.
    """
    step = np.arange(lengths.max())
    mask = step < lengths[:, None]
    return np.where(mask, starts[:, None] + step, starts[:, None]), mask


def episode_of(trajectories: Trajectories, steps: NDArray) -> NDArray:
    """Which episode each of these steps belongs to."""
    return np.searchsorted(episode_places(trajectories)[0], steps, side="right") - 1


def take(
    trajectories: Trajectories, starts: NDArray, lengths: NDArray, policy: int = 0
) -> Segments:
    """The segments that begin at these steps.

    Args:
        starts, lengths: first step and number of steps of each; [segments].
        policy: the number of the policy that acted.
    """
    index, mask = step_index(starts, lengths)
    episode_starts, _ = episode_places(trajectories)
    episode = episode_of(trajectories, starts)

    def column(array: NDArray) -> NDArray:
        values = array[index]
        values[~mask] = 0
        return values

    discrete = trajectories.actions.ndim == 1
    return Segments(
        obs=column(trajectories.obs).astype(np.float32),
        actions=column(trajectories.actions).astype(np.int64 if discrete else np.float32),
        mask=mask,
        rewards=column(trajectories.rewards).astype(np.float32),
        policy=np.full(len(starts), policy, dtype=np.int64),
        first_step=(starts - episode_starts[episode]).astype(np.int64),
    )
