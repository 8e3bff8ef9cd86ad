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
