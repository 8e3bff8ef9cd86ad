"""Acting so that every segment can be shown again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prefloop.data.rollouts import Act, Record, collect_episodes
from prefloop.data.segments import (
    Segments,
    episode_of,
    episode_places,
    random_places,
    step_index,
    take,
)
from prefloop.data.trajectories import Trajectories
from prefloop.envs import episode_seeds, make_env, make_vector_env, mujoco_states
from prefloop.labelling.rendering import ACTIONS, SEED, STATES, what_to_record
from prefloop.seeding import Stream

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


@dataclass(frozen=True)
class RecordedEnvs:
    """Environments that step together, and how what happens in them is recorded.

    Attributes:
        envs: as `prefloop.envs.make_vector_env` makes them.
        way: what must be recorded, as `prefloop.labelling.rendering.what_to_record` says.
    """

    envs: gym.vector.VectorEnv
    way: str

    @classmethod
    def make(cls, env_id: str, num_envs: int) -> "RecordedEnvs":
        """Makes copies of an environment.

        Raises:
            UserError: as `make_vector_env`.
        """
        env = make_env(env_id)
        way = what_to_record(env)
        env.close()
        return cls(make_vector_env(env_id, num_envs, seeded_episodes=way == "seed"), way)

    @property
    def record(self) -> Record | None:
        """Gives what must be recorded before each step; None where observations are enough."""
        if self.way == "states":
            return lambda: mujoco_states(self.envs)
        if self.way == "seed":
            return lambda: episode_seeds(self.envs)
        return None

    def recording(self, trajectories: Trajectories) -> Recording:
        """What was done in these environments while `record` was asked."""
        if self.way != "seed" or trajectories.states is None:
            return Recording(trajectories)
        first_steps, _ = episode_places(trajectories)
        return Recording(replace(trajectories, states=None), trajectories.states[first_steps])


def record_episodes(
    env_id: str,
    act: Act,
    num_episodes: int,
    seed: int,
    stream: Sequence[int] = (Stream.ENVIRONMENTS,),
) -> Recording:
    """Collects whole episodes, and with them whatever it takes to draw them.

    Args:
        env_id: which environment.
        act: chooses actions for observations [num_envs, obs_dim].
        num_episodes: how many.
        seed, stream: of the environments, as in `collect_episodes`.

    Raises:
        UserError: there is no such environment.
    """
    recorded = RecordedEnvs.make(env_id, min(num_episodes, MAX_ENVS))
    try:
        episodes = collect_episodes(recorded.envs, act, num_episodes, seed, stream, recorded.record)
        return recorded.recording(episodes)
    finally:
        recorded.envs.close()


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
