"""Whole episodes as typed arrays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from prefloop.returns import episode_returns


@dataclass(frozen=True)
class Trajectories:
    """Whole episodes of different lengths, laid end to end.

    Attributes:
        obs: the observation each action was chosen in; [steps, obs_dim].
        actions: as the environment received them; [steps] where they are discrete, otherwise
            [steps, action_dim].
        rewards: the environment's reward for each step; [steps].
        next_obs: the observation each step led to, before any reset; [steps, obs_dim].
        lengths: steps in each episode, in the order in which the episodes lie; [episodes].
        terminated: the episode ended in a terminal state; [episodes].
        truncated: the episode was cut by a time limit, which is no terminal state; [episodes].
        states: where it was recorded so that the step can be drawn again, the simulator's state
            that each observation was made of, [steps, state_dim], or the seed that its episode
            began with, [steps].
    """

    obs: NDArray
    actions: NDArray
    rewards: NDArray
    next_obs: NDArray
    lengths: NDArray
    terminated: NDArray
    truncated: NDArray
    states: NDArray | None = None

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
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()

    def visited_states(self) -> list[NDArray]:
        """The states each episode's steps led to: what a reward of the state is summed over.

        Returns:
            One array per episode; [its steps, obs_dim].
        """
        return np.split(self.next_obs, np.cumsum(self.lengths)[:-1])


def concatenate(parts: Sequence[Trajectories]) -> Trajectories:
    """Puts episodes one after the other; states are kept where all parts have them."""
    columns = ([getattr(part, field.name) for part in parts] for field in fields(Trajectories))
    return Trajectories(
        *(None if any(x is None for x in column) else np.concatenate(column) for column in columns)  # type: ignore[arg-type]
    )
