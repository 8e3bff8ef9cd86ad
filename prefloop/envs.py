"""Environments by id, one or many."""

import contextlib
import importlib
import logging
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, find_highest_version, parse_env_id
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from prefloop.env_ids import without_module
from prefloop.errors import UserError
from prefloop.seeding import MAX_SEED, Stream, generator, integers

logger = logging.getLogger(__name__)


def make_env(env_id: str, render_mode: str | None = None) -> gym.Env:
    """Makes one environment.

    Raises:
        UserError: there is no such environment, or a package it needs is missing.
    """
    # some take no render_mode
    return _make(gym.make, env_id, **({"render_mode": render_mode} if render_mode else {}))


class SeededEpisodes(gym.Wrapper):
    """A new copy with a seed for every episode, so that any can be acted again without the others.

    A reset is not enough: in some environments (BipedalWalker) what was done before shows after it.

    Attributes:
        episode_seed: what the episode under way was reset with.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.episode_seed = 0
        self._rng = generator(0, Stream.ENVIRONMENTS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; the seeds of those that follow a given one follow from it."""
        if seed is not None:
            self._rng = generator(seed, Stream.ENVIRONMENTS)
        self.episode_seed = int(self._rng.integers(MAX_SEED))
        self.env.close()
        self.env = _make(gym.make, self.env.spec)
        return self.env.reset(seed=self.episode_seed, options=options)


def make_vector_env(
    env_id: str, num_envs: int, seeded_episodes: bool = False, separate: bool = False
) -> gym.vector.VectorEnv:
    """Makes many copies of an environment that step together.

    Uses the environment's own vectorised implementation where it has one (CartPole: about ten
    times faster than one copy at a time), otherwise steps the copies in turn.

    Args:
        env_id: which environment.
        num_envs: how many copies.
        seeded_episodes: each is a `SeededEpisodes`, and they step in turn.
        separate: step in turn in any case, so that each has random numbers of its own.

    Raises:
        UserError: as `make_env`; or the environment does not reset on the step after an
            episode's end, which is how `prefloop.data.rollouts` tells episodes apart.
    """
    kwargs: dict[str, Any] = {"vectorization_mode": "sync"} if separate or seeded_episodes else {}
    if seeded_episodes:
        kwargs["wrappers"] = [SeededEpisodes]
    envs = _make(gym.make_vec, env_id, num_envs=num_envs, **kwargs)
    mode = envs.metadata.get("autoreset_mode")
    if mode != gym.vector.AutoresetMode.NEXT_STEP:
        raise UserError(f"{env_id} resets in mode {mode}, and only NEXT_STEP is supported.")
    return envs


def reset(envs: gym.vector.VectorEnv, seed: int, *stream: int) -> tuple[NDArray, dict[str, Any]]:
    """Resets environments that step together, each with a seed of its own where they allow it.

    Some that step as one array (CartPole) draw all their numbers from one generator.
    Gymnasium gives environment i the seed + i, so that neighbouring seeds share nearly all
    episodes.

    Returns:
        What `envs.reset` returns.
    """
    separate = isinstance(envs.unwrapped, gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv)
    seeds = integers(seed, *stream, num=envs.num_envs if separate else 1)
    return envs.reset(seed=seeds if separate else seeds[0])  # type: ignore[arg-type]


def mujoco_states(envs: gym.vector.VectorEnv) -> NDArray:
    """Positions and velocities of MuJoCo simulators that step in this process.

    Returns:
        qpos and qvel, float64; [num_envs, nq + nv].
    """
    copies = (env.unwrapped for env in envs.unwrapped.envs)  # type: ignore[attr-defined]
    return np.stack([np.concatenate([env.data.qpos, env.data.qvel]) for env in copies])


def episode_seeds(envs: gym.vector.VectorEnv) -> NDArray:
    """What the episodes under way were reset with, of environments with `seeded_episodes`.

    Returns:
        int64; [num_envs].
    """
    copies = envs.unwrapped.envs  # type: ignore[attr-defined]
    return np.array([env.episode_seed for env in copies], dtype=np.int64)


def _make(make, env_id: str | EnvSpec | None, **kwargs):  # type: ignore[no-untyped-def]
    if isinstance(env_id, str):
        _import_module(env_id)
        newest = _newest(env_id)
        if newest is not None:
            raise UserError(f"There is no environment {env_id!r}; did you mean {newest!r}?")
    _hush_mujoco(env_id)
    with warnings.catch_warnings():
        # CartPole-v0's limit of 200 steps is wanted here, not an oversight
        warnings.filterwarnings("ignore", message=".*is out of date.*")
        try:
            return make(env_id, **kwargs)
        except (gym.error.Error, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"Can't make the environment {env_id!r}: {reason}") from None


def _import_module(env_id: str) -> None:
    module, colon, _ = env_id.rpartition(":")
    if not colon:
        return
    try:
        importlib.import_module(module)
    except (ImportError, ValueError, TypeError) as error:  # the last two: of "", ".x" and the like
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"Can't make the environment {env_id!r}: the module {module!r} can't be imported "
            f"({reason})."
        ) from None


def _hush_mujoco(env_id: str | EnvSpec | None) -> None:
    """Sends MuJoCo's warnings to the log; it would print them for every copy, and write a file.

    They are about the models that Gymnasium ships, which users can't change.
    """
    spec = gym.registry.get(without_module(env_id)) if isinstance(env_id, str) else env_id
    if spec is not None and "mujoco" in str(spec.entry_point):
        with contextlib.suppress(ImportError):  # which making the environment tells better
            import mujoco  # type: ignore[import-untyped]

            mujoco.set_mju_user_warning(logger.debug)


def _newest(env_id: str) -> str | None:
    """An id that lacks a version, with the newest one; None of every other.

    Gymnasium would take the newest with a warning, and another one after its next release.
    """
    try:
        namespace, name, version = parse_env_id(without_module(env_id))
    except gym.error.Error:
        return None
    if version is not None or without_module(env_id) in gym.registry:
        return None
    newest = find_highest_version(namespace, name)
    return None if newest is None else f"{env_id}-v{newest}"


def single_spaces(env: gym.Env | gym.vector.VectorEnv) -> tuple[gym.Space, gym.Space]:
    """Spaces of one environment's observations and actions, of one or of many."""
    if isinstance(env, gym.vector.VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space


def flat_obs_dim(env: gym.Env | gym.vector.VectorEnv) -> int:
    """Size of an observation.

    Raises:
        UserError: the observations are no flat Box.
    """
    obs_space = single_spaces(env)[0]
    name = env.spec.id if env.spec else "This environment"
    if not isinstance(obs_space, Box) or len(obs_space.shape) != 1:
        raise UserError(
            f"{name} has observations in {obs_space}; this policy needs a Box with one dimension."
        )
    return obs_space.shape[0]


def step_sizes(env: gym.Env | gym.vector.VectorEnv) -> tuple[int, int, bool]:
    """Size of an observation, number or size of actions, and whether they are discrete.

    Raises:
        UserError: observations are no flat Box, or actions neither Discrete nor a flat Box.
    """
    obs_dim, action_space = flat_obs_dim(env), single_spaces(env)[1]
    if isinstance(action_space, Discrete) and action_space.start == 0:
        return obs_dim, int(action_space.n), True
    if isinstance(action_space, Box) and len(action_space.shape) == 1:
        return obs_dim, action_space.shape[0], False
    name = env.spec.id if env.spec else "This environment"
    raise UserError(
        f"{name} has actions in {action_space}; Discrete from 0 or a flat Box is needed."
    )


def policy_sizes(env: gym.Env | gym.vector.VectorEnv) -> tuple[int, int]:
    """Size of an observation and number of actions.

    Raises:
        UserError: the observations are no flat Box or the actions are not Discrete from 0.
    """
    obs_dim, action_space = flat_obs_dim(env), single_spaces(env)[1]
    name = env.spec.id if env.spec else "This environment"
    if not isinstance(action_space, Discrete) or action_space.start != 0:
        raise UserError(
            f"{name} has actions in {action_space}; this policy needs Discrete actions from 0."
        )
    return obs_dim, int(action_space.n)


def find_spec(env_id: str) -> EnvSpec:
    """What is registered under an id.

    Raises:
        UserError: as `make_env`.
    """
    _import_module(env_id)
    try:
        return gym.spec(without_module(env_id))
    except gym.error.Error as error:
        raise UserError(f"There is no environment {env_id!r}: {error}") from None


def return_threshold(env_id: str) -> float | None:
    """The return at which the environment's makers call it solved, where they name one."""
    return find_spec(env_id).reward_threshold


# what a step can pay in Gymnasium's environments whose makers say so, lowest and highest
REWARDS: dict[str, tuple[float, float]] = {
    "CartPoleEnv": (1.0, 1.0),
    "MountainCarEnv": (-1.0, -1.0),
    "AcrobotEnv": (-1.0, 0.0),
    "PendulumEnv": (-(np.pi**2 + 0.1 * 8**2 + 0.001 * 2**2), 0.0),
}


def return_bounds(env_id: str) -> tuple[float, float]:
    """The lowest and the highest return an episode can have.

    It is known of environments that say what a step can pay, `REWARDS`, with a limit to the number
    of steps; of all others it is not, and the bounds are infinite.
    """
    spec = find_spec(env_id)
    kind = str(spec.entry_point).rpartition(":")[2]
    known = str(spec.entry_point).startswith("gymnasium.") and not spec.kwargs
    if not known or kind not in REWARDS:
        return -np.inf, np.inf
    low, high = REWARDS[kind]
    most = spec.max_episode_steps or np.inf
    # 0 a step is 0 in all, without a limit too: 0 * inf would be NaN
    return min(low, low * most), (max(high, high * most) if high else 0.0)
