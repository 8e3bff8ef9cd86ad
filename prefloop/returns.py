"""Returns of episodes."""

import numpy as np
from numpy.typing import NDArray


def rewards_to_go(rewards: NDArray, lengths: NDArray) -> NDArray:
    """Undiscounted sum of the rewards from each step to the end of its episode.

    Args:
        rewards: rewards of whole episodes, one episode after the other; [steps].
        lengths: number of steps of each episode, in the same order; [episodes].

    Returns:
        The reward-to-go of every step, float64; [steps].

    Raises:
        ValueError: the lengths don't add up to the number of rewards.

    Source: Achiam 2018, Spinning Up in Deep RL, "Don't Let the Past Distract You".
    """
    if np.sum(lengths) != len(rewards):
        raise ValueError(
            f"lengths add up to {np.sum(lengths)}, but there are {len(rewards)} rewards"
        )
    so_far = np.cumsum(rewards, dtype=np.float64)
    at_end_of_episode = np.repeat(so_far[np.cumsum(lengths) - 1], lengths)
    return at_end_of_episode - so_far + rewards


def episode_returns(rewards: NDArray, lengths: NDArray) -> NDArray:
    """Undiscounted return of each episode; arguments as in `rewards_to_go`; [episodes]."""
    return np.add.reduceat(np.asarray(rewards, dtype=np.float64), np.cumsum(lengths) - lengths)


def generalized_advantages(
    rewards: NDArray,
    values: NDArray,
    terminated: NDArray,
    truncated: NDArray,
    gamma: float,
    gae_lambda: float,
) -> NDArray:
    """Generalised advantage estimates of environments that act side by side.

    Args:
        rewards: [steps, num_envs].
        values: of the observations, the one after the last step included; [steps + 1, num_envs].
            Row t + 1 is the state that step t led to, before any reset.
        terminated: the step led to a terminal state, which is worth nothing; [steps, num_envs].
        truncated: a time limit cut the episode off; [steps, num_envs].
        gamma: discount, in [0, 1].
        gae_lambda: 0 trusts the values, 1 the rewards; in [0, 1].

    Returns:
        Advantages; [steps, num_envs]. Adding `values[:-1]` gives the targets of the values.

    Source: Schulman et al. 2016, arXiv:1506.02438, equation 16.
    """
    # a time limit is not a terminal state: bootstrap
    deltas = rewards + gamma * values[1:] * ~terminated - values[:-1]
    carry = gamma * gae_lambda * ~(terminated | truncated)
    advantages = np.zeros_like(deltas)
    later = np.zeros(deltas.shape[1:])
    for t in reversed(range(len(deltas))):
        later = deltas[t] + carry[t] * later
        advantages[t] = later
    return advantages
