"""Acting so that what was done can be shown again.

There are three ways to show a step again, of which the first that can be gone is taken:

    observations  Gymnasium's classic control: the simulator's state follows from the observation
    states        MuJoCo: the simulator's state, recorded while acting
    seed          everything else: the seed that the episode began with; its actions are known

What was recorded goes with the episodes (`Trajectories.states`) and with the segments that are cut
from them (`Segments.replay`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)
from numpy.typing import NDArray

from prefloop.data.rollouts import Act, Record, collect_episodes
from prefloop.data.trajectories import Trajectories
from prefloop.envs.dm_control import SuiteTask
from prefloop.envs.drawing import is_mujoco
from prefloop.envs.make import episode_seeds, make_env, make_vector_env, mujoco_states
from prefloop.envs.settings import Env
from prefloop.envs.spaces import is_observed_as_made
from prefloop.seeding import Stream

MAX_ENVS = 64


def _acrobot(obs: NDArray) -> NDArray:
    angles = np.arctan2(obs[[1, 3]], obs[[0, 2]])
    return np.array([*angles, obs[4], obs[5]])


def _pendulum(obs: NDArray) -> NDArray:
    return np.array([np.arctan2(obs[1], obs[0]), obs[2]])


# the simulator's state of an observation, for environments whose picture follows from it
STATE_OF: dict[type, Callable[[NDArray], NDArray]] = {
    CartPoleEnv: np.asarray,
    MountainCarEnv: np.asarray,
    Continuous_MountainCarEnv: np.asarray,
    AcrobotEnv: _acrobot,
    PendulumEnv: _pendulum,
}


def what_to_record(env: gym.Env) -> str:
    """The kind of recording that shows this environment again: "observations", "states" or "seed"."""
    base = env.unwrapped
    if type(base) in STATE_OF and env.observation_space == base.observation_space:
        # a wrapper may have changed them, and then they are no states
        return "observations" if is_observed_as_made(env) else "seed"
    if is_mujoco(base) or (isinstance(base, SuiteTask) and base.is_shown_by_its_state):
        return "states"
    return "seed"


@dataclass(frozen=True)
class RecordedEnvs:
    """Environments that step together, and how what happens in them is recorded.

    Attributes:
        envs: as `prefloop.envs.make.make_vector_env` makes them.
        way: what must be recorded, as `what_to_record` says.
    """

    envs: gym.vector.VectorEnv
    way: str

    @classmethod
    def make(cls, env: Env, num_envs: int, separate: bool = False) -> "RecordedEnvs":
        """Makes copies of an environment.

        Args:
            separate: each has random numbers of its own.

        Raises:
            UserError: as `make_vector_env`.
        """
        one = make_env(env)
        way = what_to_record(one)
        one.close()
        return cls(make_vector_env(env, num_envs, way == "seed", separate), way)

    @property
    def record(self) -> Record | None:
        """Gives what must be recorded before each step; None where observations are enough."""
        if self.way == "states":
            return lambda: mujoco_states(self.envs)
        if self.way == "seed":
            return lambda: episode_seeds(self.envs)
        return None


def record_episodes(
    env: Env,
    act: Act,
    num_episodes: int,
    seed: int,
    stream: Sequence[int] = (Stream.ENVIRONMENTS,),
) -> Trajectories:
    """Collects whole episodes, and with them whatever it takes to show them.

    Args:
        env: which environment.
        act: chooses actions for observations [num_envs, *obs_shape].
        num_episodes: how many.
        seed, stream: of the environments, as in `collect_episodes`.

    Raises:
        UserError: there is no such environment.
    """
    recorded = RecordedEnvs.make(env, min(num_episodes, MAX_ENVS))
    try:
        return collect_episodes(recorded.envs, act, num_episodes, seed, stream, recorded.record)
    finally:
        recorded.envs.close()
