"""True returns of a policy."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prefloop.data.rollouts import collect_episodes
from prefloop.envs import make_vector_env
from prefloop.policies import acting

MAX_ENVS = 256


def evaluate(
    policy: nn.Sequential, env_id: str, num_episodes: int, seed: int, greedy: bool = False
) -> NDArray:
    """Plays whole episodes with the environment's own reward.

    Args:
        seed: of the environment and of the actions: the same seed gives the same returns.
        greedy: always take the most probable action instead of sampling one.

    Returns:
        The return of each episode; [num_episodes].
    """
    envs = make_vector_env(env_id, min(num_episodes, MAX_ENVS))
    act = acting(policy, np.random.default_rng(seed), greedy)
    try:
        return collect_episodes(envs, act, num_episodes, seed).returns
    finally:
        envs.close()
