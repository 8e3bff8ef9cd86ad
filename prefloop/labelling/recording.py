"""Acting so that every segment can be shown again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefloop.data.rollouts import Act, collect_episodes
from prefloop.data.segments import (
    Segments,
    episode_of,
    episode_places,
    random_places,
    step_index,
    take,
)
from prefloop.data.trajectories import Trajectories
from prefloop.envs import make_env, make_vector_env, mujoco_states
from prefloop.labelling.rendering import ACTIONS, SEED, STATES, what_to_record

MAX_ENVS = 64


@dataclass(frozen=True)
class Recording:
    """Episodes, and what it takes to draw them.

    Attributes:
        trajectories: with the simulator's states where those are needed.
        seeds: what each episode's environment was reset with, where that is needed; [episodes].
    """

    trajectories: Trajectories
    seeds: NDArray | None = None

    def cut(
        self, length: int | None, num_segments: int, rng: np.random.Generator, policy: int = 0
    ) -> tuple[Segments, dict[str, NDArray]]:
        """Cuts segments, and what shows them.

        Args:
            length: steps of a segment; None for whole episodes, all of them.
            num_segments: how many of a fixed length.
            rng: chooses where they begin.
            policy: the number of the policy that acted.

        Returns:
            The segments, and arrays with one row for each: what the labelling server takes as
            `replay_...` (`prefloop.labelling.rendering`).

        Raises:
            UserError: no episode is as long as a segment.
        """
        trajectories = self.trajectories
        if length is None:
            starts, lengths = episode_places(trajectories)
        else:
            starts, lengths = random_places(trajectories, length, num_segments, rng)
        replay: dict[str, NDArray] = {}
        if trajectories.states is not None:
            replay[STATES] = trajectories.states[step_index(starts, lengths)[0]]
        if self.seeds is not None:
            episode = episode_of(trajectories, starts)
            first = episode_places(trajectories)[0][episode]
            # from the episode's first step to the segment's last
            index, _ = step_index(first, starts - first + lengths)
            replay[SEED] = self.seeds[episode]
            replay[ACTIONS] = trajectories.actions[index]
        return take(trajectories, starts, lengths, policy), replay


def record_episodes(env_id: str, act: Act, num_episodes: int, seed: int) -> Recording:
    """Collects whole episodes, and with them whatever it takes to draw them.

    Many environments step together where the simulator's state can be had; otherwise one at a
    time, reset with a seed for each episode, since one that goes on after its first episode can't
    be brought back to where its second began.

    Args:
        env_id: which environment.
        act: chooses actions for observations [num_envs, obs_dim].
        num_episodes: how many.
        seed: of the environments.

    Raises:
        UserError: there is no such environment.
    """
    way = what_to_record(make_env(env_id))
    if way == "seed":
        return _record_one_by_one(env_id, act, num_episodes, seed)
    envs = make_vector_env(env_id, min(num_episodes, MAX_ENVS))
    record = (lambda: mujoco_states(envs)) if way == "states" else None
    try:
        return Recording(collect_episodes(envs, act, num_episodes, seed, record))
    finally:
        envs.close()


def _record_one_by_one(env_id: str, act: Act, num_episodes: int, seed: int) -> Recording:
    env = make_env(env_id)
    seeds = np.random.default_rng(seed).integers(2**31, size=num_episodes)
    steps, ends = [], []
    for episode_seed in seeds:
        obs, _ = env.reset(seed=int(episode_seed))
        terminated = truncated = False
        while not (terminated or truncated):
            action = act(np.asarray(obs)[None])[0]
            next_obs, reward, terminated, truncated, _ = env.step(action)
            steps.append((obs, action, reward, next_obs))
            obs = next_obs
        ends.append((len(steps), terminated, truncated))
    env.close()
    obs, actions, rewards, next_obs = (np.array(x) for x in zip(*steps, strict=True))
    stops, *how = (np.array(x) for x in zip(*ends, strict=True))
    lengths = np.diff(stops, prepend=0)
    return Recording(Trajectories(obs, actions, rewards, next_obs, lengths, *how), seeds)


def concatenate_replays(replays: Sequence[Mapping[str, NDArray]]) -> dict[str, NDArray]:
    """What shows the segments of one recording after the other, padded to the longest.

    Args:
        replays: as `Recording.cut` gives them, of one environment, so all with the same names.
    """
    joined = {}
    for name in replays[0]:
        arrays = [replay[name] for replay in replays]
        if arrays[0].ndim > 1:
            length = max(array.shape[1] for array in arrays)
            arrays = [
                np.pad(a, [(0, 0), (0, length - a.shape[1]), *[(0, 0)] * (a.ndim - 2)])
                for a in arrays
            ]
        joined[name] = np.concatenate(arrays)
    return joined
