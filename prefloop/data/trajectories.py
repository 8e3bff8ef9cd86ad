"""Whole episodes as typed arrays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prefloop.data.frames import Observations, joined
from prefloop.returns import episode_returns

_COLUMNS = (
    "obs", "actions", "rewards", "next_obs", "lengths", "terminated", "truncated", "states",
)  # fmt: skip


@dataclass(frozen=True)
class Trajectories:
    """Whole episodes of different lengths, laid end to end.

    Attributes:
        obs: the observation each action was chosen in; [steps, *obs_shape]. Of stacked frames,
            `StackedFrames`, as `next_obs`.
        actions: as the environment received them; [steps] where they are discrete, otherwise
            [steps, action_dim].
        rewards: the environment's reward for each step; [steps].
        next_obs: the observation each step led to, before any reset; [steps, *obs_shape].
        lengths: steps in each episode, in the order in which the episodes lie; [episodes].
        terminated: the episode ended in a terminal state; [episodes].
        truncated: the episode was cut by a time limit, which is no terminal state; [episodes].
        states: where it was recorded so that the step can be drawn again, the simulator's state
            that each observation was made of, [steps, state_dim], or the seed that its episode
            began with, [steps].
        frame_stack: how many successive frames the first axis of an observation holds; 1: none.
    """

    obs: Observations
    actions: NDArray
    rewards: NDArray
    next_obs: Observations
    lengths: NDArray
    terminated: NDArray
    truncated: NDArray
    states: NDArray | None = None
    frame_stack: int = field(default=1, kw_only=True)

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.lengths)

    @property
    def returns(self) -> NDArray:
        """The environment's undiscounted return of each episode; [episodes]."""
        return episode_returns(self.rewards, self.lengths)

    @property
    def sha256(self) -> str:
        """Fingerprint of all that happened in them."""
        digest = hashlib.sha256()
        for name in _COLUMNS:
            column = getattr(self, name)
            if column is None:
                continue
            array = np.ascontiguousarray(column)
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def visited_states(self) -> list[NDArray]:
        """The states each episode's steps led to: what a reward of the state is summed over.

        Returns:
            One array per episode; [its steps, *obs_shape].
        """
        return np.split(np.asarray(self.next_obs), np.cumsum(self.lengths)[:-1])


def concatenate(parts: Sequence[Trajectories]) -> Trajectories:
    """Puts episodes one after the other; states are kept where all parts have them."""
    columns = ([getattr(part, name) for part in parts] for name in _COLUMNS)
    whole = (None if any(x is None for x in column) else joined(column) for column in columns)
    return Trajectories(*whole, frame_stack=parts[0].frame_stack)  # type: ignore[arg-type]
