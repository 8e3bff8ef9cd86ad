"""Acting in vectorised environments, counting whole episodes without favouring short ones."""

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prefloop.data.frames import Observations, Seen, rows_of, swapped
from prefloop.data.trajectories import Trajectories
from prefloop.envs.make import reset
from prefloop.envs.spaces import frame_stack
from prefloop.seeding import Stream

# observations [num_envs, *obs_shape] -> actions, [num_envs] or [num_envs, action_dim]
Act = Callable[[NDArray], NDArray]
# what else is to be kept of each step, asked for before it: the environments' states,
# [num_envs, state_dim], or what stands for them, [num_envs]
Record = Callable[[], NDArray]


def collect_episodes(
    envs: gym.vector.VectorEnv,
    act: Act,
    num_episodes: int,
    seed: int,
    stream: Sequence[int] = (Stream.ENVIRONMENTS,),
    record: Record | None = None,
) -> Trajectories:
    """Collects exactly `num_episodes` whole episodes.

    Each environment gets its share of them in advance, so that quick ones count no more than
    their share.

    Args:
        envs: vectorised environments that reset on the step after an episode's end.
        act: chooses actions [num_envs] for observations [num_envs, *obs_shape].
        num_episodes: how many.
        seed: of the run.
        stream: which of the seed's streams is the environments', as in `prefloop.envs.make.reset`;
            the actions' is another.
        record: gives what is to stand in `Trajectories.states`, if anything is.
    """
    share, rest = divmod(num_episodes, envs.num_envs)
    quota = np.full(envs.num_envs, share)
    quota[:rest] += 1
    obs, _ = reset(envs, seed, *stream)
    return _collect(envs, act, lambda steps, finished: finished < quota, obs, record)


def collect_one_each(
    envs: gym.vector.VectorEnv,
    act: Act,
    seeds: Sequence[int],
    record: Record | None = None,
    tell: Callable[[int], None] | None = None,
    limit: int | None = None,
    observed: bool = True,
) -> Trajectories:
    """Collects the first episode of each environment, in their order.

    Args:
        envs: separate copies, as `make_vector_env` makes them if asked.
        seeds: what each of the first environments is reset with; others don't count.
        tell: is told how many episodes have just ended.
        limit: steps after which an episode is cut, as a time limit would; None: it goes on.
        observed: whether what was observed is kept: of pictures much, and returns don't need it.
    """
    others = [None] * (envs.num_envs - len(seeds))
    obs, _ = envs.reset(seed=[*seeds, *others])  # type: ignore[arg-type]
    is_asked = np.arange(envs.num_envs) < len(seeds)
    return _collect(
        envs, act, lambda steps, finished: is_asked & (finished == 0), obs, record, tell, limit,
        observed,
    )  # fmt: skip


def _collect(
    envs: gym.vector.VectorEnv,
    act: Act,
    may_start: Callable[[int, NDArray], NDArray],
    obs: NDArray,
    record: Record | None,
    tell: Callable[[int], None] | None = None,
    limit: int | None = None,
    observed: bool = True,
) -> Trajectories:
    """Acts until no episode that counts is under way.

    Args:
        may_start: from the steps taken so far and the episodes finished [num_envs], whether an
            episode that starts now counts [num_envs].
        obs: what all environments begin with; [num_envs, *obs_shape].
        limit: steps after which whatever is under way is cut; the episodes end with it.
        observed: whether what was observed is kept.
    """
    obs = np.array(obs)
    stack = frame_stack(envs)
    steps = 0
    finished = np.zeros(envs.num_envs, dtype=np.int64)
    counts = may_start(steps, finished)
    resets = np.zeros(envs.num_envs, dtype=bool)
    history: list[tuple[NDArray, ...]] = []
    seen = Seen(stack)
    states = []
    while counts.any():
        if record is not None:
            states.append(record())
        actions = np.array(act(obs))
        # copies: some environments hand out arrays that the next step overwrites
        next_obs, rewards, terminated, truncated = map(np.array, envs.step(actions)[:4])
        if len(history) + 1 == limit:
            truncated |= ~terminated
        valid = counts & ~resets  # a step that only resets belongs to no episode
        if observed:
            seen.append(obs)
        history.append((valid, actions, rewards, terminated, truncated))
        steps += int(np.count_nonzero(valid))
        resets = terminated | truncated
        if resets.any():
            finished += resets & valid
            if tell is not None and (resets & valid).any():
                tell(int((resets & valid).sum()))
            counts = np.where(resets, counts & may_start(steps, finished), counts)
        obs = next_obs

    def flat(arrays: tuple[NDArray, ...]) -> NDArray:
        """[time][num_envs, ...] to [num_envs * time, ...]: one environment after the other."""
        return np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])

    valid, *columns = (flat(column) for column in zip(*history, strict=True))
    actions, rewards, terminated, truncated = (column[valid] for column in columns)
    ends = np.flatnonzero(terminated | truncated)
    nothing: Observations = np.zeros((len(rewards), 0), np.float32)
    all_obs = all_next = nothing
    if observed:
        seen.append(obs)
        both = swapped(seen.all())
        stays = valid.reshape(envs.num_envs, -1)
        all_obs = rows_of(rows_of(both, np.s_[:, :-1]), stays)
        all_next = rows_of(rows_of(both, np.s_[:, 1:]), stays)
    return Trajectories(
        obs=all_obs,
        actions=actions,
        rewards=rewards,
        next_obs=all_next,
        lengths=np.diff(ends, prepend=-1),
        terminated=terminated[ends],
        truncated=truncated[ends],
        states=flat(tuple(states))[valid] if states else None,
        frame_stack=stack,
    )
