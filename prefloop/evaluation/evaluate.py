"""True returns of a policy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prefloop.data.recording import RecordedEnvs
from prefloop.data.rollouts import Act, collect_one_each
from prefloop.data.segments import Segments, whole_episodes
from prefloop.data.segments import concatenate as side_by_side
from prefloop.data.trajectories import Trajectories, concatenate
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import Env
from prefloop.policies import FunctionPolicy, Policy, acting
from prefloop.seeding import RowGenerator, Stream, generator, integer

MAX_ENVS = 64  # more of them wait longer for the slowest episode than they save


def evaluate(
    policy: Policy | FunctionPolicy, env: Env, num_episodes: int, seed: int, greedy: bool = False
) -> NDArray:
    """Plays whole episodes with the environment's own reward; arguments as in `play`.

    Returns:
        The return of each episode; [num_episodes].
    """
    return play(policy, env, num_episodes, seed, greedy).returns


def play(
    policy: Policy | FunctionPolicy,
    env: Env,
    num_episodes: int,
    seed: int,
    greedy: bool = False,
    tell: Callable[[int], None] | None = None,
    observed: bool = False,
) -> Trajectories:
    """Plays whole episodes.

    Each has random numbers of its own, so that the first of many episodes are those of few, and two
    policies that are played with the same seed meet the same beginnings.

    Args:
        seed: the same seed gives the same episodes; none of them is one of another seed.
        greedy: always take the most probable action instead of sampling one.
        tell: is told how many episodes have just ended.
        observed: whether what was observed is kept, too.
    """
    envs = make_vector_env(env, min(num_episodes, MAX_ENVS), separate=True)
    parts = []
    try:
        for first in range(0, num_episodes, MAX_ENVS):
            numbers = range(first, min(first + MAX_ENVS, num_episodes))
            act = _acting(policy, seed, first, greedy)
            seeds = [env_seed(seed, i) for i in numbers]
            parts.append(collect_one_each(envs, act, seeds, tell=tell, observed=observed))
    finally:
        envs.close()
    return concatenate(parts)


def openings(
    policy: Policy | FunctionPolicy,
    env: Env,
    num: int,
    seed: int,
    steps: int | None,
    greedy: bool = False,
    tell: Callable[[int], None] | None = None,
    dice: int | None = None,
) -> Segments:
    """How episodes begin, with what shows them again.

    Two policies that are played with the same seed meet the same beginnings, so the segments of one
    can be compared with those of the other, each with the one of its number.

    Args:
        num: how many; the first of many are those of few.
        steps: of each, fewer where the episode ends before; None: the whole episode.
        seed, greedy, tell: as in `play`.
        dice: seed of the actions, where it is not to be that of the starts: with the same dice two
            policies that are nearly alike do the very same.
    """
    recorded = RecordedEnvs.make(env, min(num, MAX_ENVS), separate=True)
    parts = []
    try:
        for first in range(0, num, MAX_ENVS):
            numbers = range(first, min(first + MAX_ENVS, num))
            act = _acting(policy, seed if dice is None else dice, first, greedy)
            seeds = [env_seed(seed, i) for i in numbers]
            episodes = collect_one_each(recorded.envs, act, seeds, recorded.record, tell, steps)
            parts.append(whole_episodes(episodes))
    finally:
        recorded.envs.close()
    return side_by_side(parts)


def evaluation_seed(seed: int, iteration: int) -> int:
    """The seed of the episodes that evaluate an iteration of a run with this seed."""
    return integer(seed, Stream.EVALUATION_ENVIRONMENTS, iteration)


def env_seed(seed: int, episode: int) -> int:
    """Seed of the environment in an episode of `play`."""
    return integer(seed, Stream.EVALUATION_ENVIRONMENTS, episode)


def acting_in_episode(
    policy: Policy | FunctionPolicy, seed: int, episode: int, greedy: bool = False
) -> Act:
    """How a policy acts in an episode of `play`, for whoever wants to watch it.

    Returns:
        A function from observations [1, *obs_shape] to actions [1, ...].
    """
    row = episode % MAX_ENVS
    act = _acting(policy, seed, episode - row, greedy)
    return lambda obs: act(np.repeat(obs, row + 1, axis=0))[row:]


def _acting(policy: Policy | FunctionPolicy, seed: int, first: int, greedy: bool) -> Act:
    """How a policy acts in episodes from `first` on, as many as there are observations."""
    numbers = range(first, first + MAX_ENVS)
    rows = RowGenerator([generator(seed, Stream.EVALUATION_POLICY, i) for i in numbers])
    act = acting(policy, rows, greedy)

    def act_in_all(obs: NDArray) -> NDArray:
        # the last bits of a matrix product depend on how many rows it has
        padded = np.zeros((MAX_ENVS, *obs.shape[1:]), obs.dtype)
        padded[: len(obs)] = obs
        return act(padded)[: len(obs)]

    return act_in_all
