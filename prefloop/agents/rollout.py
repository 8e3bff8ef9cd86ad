"""A stretch of acting, as on-policy algorithms need it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefloop.data.trajectories import Trajectories


@dataclass(frozen=True)
class Rollout:
    """Steps of environments side by side; episodes may begin before it and end after it.

    Attributes:
        obs: float32; [steps + 1, num_envs, obs_dim]. Row t + 1 is what step t led to, before any
            reset.
        actions: as they were drawn; [steps, num_envs] or [steps, num_envs, action_dim].
        applied: as the environment received them, clipped to its bounds; shaped as `actions`.
        rewards: the environment's; [steps, num_envs].
        terminated, truncated: how the step ended an episode, if it did; [steps, num_envs].
        valid: False for a step that only resets and belongs to no episode; [steps, num_envs].
        states: what `record` gave before each step, as in `Trajectories`; None without it;
            [steps, num_envs, ...].
    """

    obs: NDArray
    actions: NDArray
    applied: NDArray
    rewards: NDArray
    terminated: NDArray
    truncated: NDArray
    valid: NDArray
    states: NDArray | None = None

    @property
    def ended(self) -> NDArray:
        """The step ended an episode, in either way; [steps, num_envs]."""
        return self.terminated | self.truncated


# a reward for each step, [steps, num_envs]; what stands at steps that are not valid is ignored
RewardFunction = Callable[[Rollout], NDArray]


def true_reward(rollout: Rollout) -> NDArray:
    """The environment's own; [steps, num_envs]."""
    return rollout.rewards


def as_trajectories(rollouts: Sequence[Rollout]) -> Trajectories:
    """Rollouts that follow each other, as episodes.

    What was under way when the first began or the last ended is cut there, as by a time limit.
    States are kept where all of them have some.
    """

    def columns(name: str) -> NDArray:
        """[num_envs, steps, ...]: one environment after the other."""
        return np.concatenate([getattr(r, name) for r in rollouts]).swapaxes(0, 1)

    next_obs = np.concatenate([r.obs[1:] for r in rollouts]).swapaxes(0, 1)
    obs = np.concatenate([r.obs[:-1] for r in rollouts]).swapaxes(0, 1)
    valid, terminated, truncated = (columns(x) for x in ("valid", "terminated", "truncated"))
    truncated = truncated & ~terminated
    # an environment's last valid step ends its last episode, whether the environment knows or not
    last = valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)
    rows = np.arange(len(valid))
    truncated[rows, last] |= ~terminated[rows, last]
    ends = np.flatnonzero((terminated | truncated)[valid])
    return Trajectories(
        obs=obs[valid],
        actions=columns("applied")[valid],
        rewards=columns("rewards")[valid],
        next_obs=next_obs[valid],
        lengths=np.diff(ends, prepend=-1),
        terminated=terminated[valid][ends],
        truncated=truncated[valid][ends],
        states=None if any(r.states is None for r in rollouts) else columns("states")[valid],
    )


def finished_returns(rollouts: Sequence[Rollout], time_limit: int | None) -> NDArray:
    """True returns of episodes that ended within rollouts that follow each other.

    Episodes that began less than `time_limit` steps before the end are left out, ended or not: of
    these the short ones are there and the long ones are not. Where the rollouts are shorter than
    that, only each environment's first episode counts, and the long ones are still missed.

    Args:
        rollouts: the first of them begins with a reset.
        time_limit: the most steps that an episode can have; None where there is no limit.

    Returns:
        [episodes]; empty where none ended.
    """
    rewards, valid, ended = (
        np.concatenate([getattr(r, name) for r in rollouts])
        for name in ("rewards", "valid", "ended")
    )
    last_start = max(len(rewards) - time_limit, 0) if time_limit else len(rewards)
    so_far, began = np.zeros(rewards.shape[1]), np.zeros(rewards.shape[1])
    returns = []
    for t in range(len(rewards)):
        so_far += np.where(valid[t], rewards[t], 0.0)
        if ended[t].any():
            returns.append(so_far[ended[t] & (began <= last_start)])
            so_far[ended[t]] = 0
            began[ended[t]] = t + 2  # the step in between resets
    return np.concatenate(returns) if returns else np.zeros(0)
