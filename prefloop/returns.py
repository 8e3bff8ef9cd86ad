"""Returns of episodes."""

import numpy as np
from numpy.typing import NDArray


def episode_returns(rewards: NDArray, lengths: NDArray) -> NDArray:
    """Undiscounted return of each episode, 0 of one without steps; [episodes].

    Every episode is summed by itself: what is wrong with the numbers of one stays there.

    Args:
        rewards: rewards of whole episodes, one episode after the other; [steps].
        lengths: number of steps of each episode, in the same order, 0 where there are none;
            [episodes].

    Raises:
        ValueError: the lengths don't add up to the number of rewards.
    """
    if np.sum(lengths) != len(rewards):
        raise ValueError(
            f"lengths add up to {np.sum(lengths)}, but there are {len(rewards)} rewards"
        )
    lengths = np.asarray(lengths, dtype=np.int64)
    returns = np.zeros(len(lengths))
    has_steps = lengths > 0  # `reduceat` would take the next episode's first step for them
    starts = (np.cumsum(lengths) - lengths)[has_steps]
    if len(starts):
        returns[has_steps] = np.add.reduceat(np.asarray(rewards, dtype=np.float64), starts)
    return returns


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
    deltas = rewards + gamma * np.where(terminated, 0.0, values[1:]) - values[:-1]
    ended = terminated | truncated
    advantages = np.zeros_like(deltas)
    later = np.zeros(deltas.shape[1:])
    for t in reversed(range(len(deltas))):
        # of an episode that follows nothing is carried over, were it NaN
        later = deltas[t] + gamma * gae_lambda * np.where(ended[t], 0.0, later)
        advantages[t] = later
    return advantages
