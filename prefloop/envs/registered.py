"""What Gymnasium's register says of an environment, and what its returns can be."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from prefloop.env_ids import without_module
from prefloop.envs.families import emulator_of
from prefloop.envs.make import can_go_on, import_module
from prefloop.envs.names import require_known
from prefloop.envs.settings import Env, EnvSettings, as_settings
from prefloop.errors import UserError, note

# what episodes that may never end are to a program that learns without playing any to their end
COUNTED, FILMED = "only those that do are counted", "--video_every films whole ones"
# what a step can pay in Gymnasium's environments whose makers say so, lowest and highest
REWARDS: dict[str, tuple[float, float]] = {
    "CartPoleEnv": (1.0, 1.0),
    "MountainCarEnv": (-1.0, -1.0),
    "AcrobotEnv": (-1.0, 0.0),
    "PendulumEnv": (-(np.pi**2 + 0.1 * 8**2 + 0.001 * 2**2), 0.0),
}


def find_spec(env: Env) -> EnvSpec:
    """Gymnasium's description of an id.

    Raises:
        UserError: there is nothing, or its module can't be imported.
    """
    env_id = as_settings(env).env
    import_module(env_id)
    require_known(env_id)
    try:
        return gym.spec(without_module(env_id))
    except gym.error.Error as error:
        hint = (
            "" if ":" in env_id else f" One of your own is named with its module: module:{env_id}."
        )
        raise UserError(f"There is no environment {env_id!r}: {error}{hint}") from None


def time_limit(env: Env) -> int | None:
    """The most steps that an episode can have, as the policy counts them; None: there is no limit.

    Raises:
        UserError: as `find_spec`.
    """
    env = as_settings(env)
    limit = find_spec(env).max_episode_steps
    if emulator := emulator_of(env.env):
        return emulator.time_limit(env)
    return env.horizon or (None if limit is None else -(-limit // env.action_repeat))


def require_time_limit(
    env: Env, played: str = "some are played for each row of metrics.csv"
) -> None:
    """Refuses an environment whose episodes may never end, where some are to be played to their end.

    Args:
        played: says which.

    Raises:
        UserError: there is no limit, or as `find_spec`.
    """
    if time_limit(env) is None:
        raise UserError(
            f"{env} has no time limit, so an episode may never end, and {played}; give it a limit by --horizon."
        )


def note_no_time_limit(
    env: Env,
    played: str = "whole ones are played here",
    remedy: str = "--horizon gives it one",
) -> None:
    """Notes where there is none, before episodes are acted in whose ends are the task's own.

    Args:
        played: says what it is to whoever runs this.
        remedy: says how to give it a limit.

    Raises:
        UserError: as `find_spec`.
    """
    if time_limit(env) is None:
        note(f"{env} has no time limit, so an episode may never end, and {played}; {remedy}.")


def return_threshold(env: Env) -> float | None:
    """The return at which the environment's makers call it solved, where they name one."""
    return find_spec(env).reward_threshold


def return_bounds(env: Env) -> tuple[float, float]:
    """The lowest and the highest return an episode can have.

    It is known of environments that say what a step can pay, `REWARDS`, with a limit to the number
    of steps; of all others it is not, and the bounds are infinite.
    """
    env = as_settings(env)
    spec = find_spec(env)
    kind = str(spec.entry_point).rpartition(":")[2]
    pays_as_known = str(spec.entry_point).startswith("gymnasium.") and not spec.kwargs
    if not pays_as_known or kind not in REWARDS or env.wrappers:  # which may change rewards
        return -np.inf, np.inf
    low, high = REWARDS[kind]
    most = (time_limit(env) or np.inf) * env.action_repeat
    # 0 a step is 0 in all, without a limit too: 0 * inf would be NaN
    high = max(high, high * most) if high else 0.0
    low = min(low, low * most)
    # what was absorbed pays nothing any more
    return (low, max(high, 0.0)) if env.termination == "absorb" else (low, high)


# Gymnasium's robots that end early and can't be told not to
ALWAYS_END = ("InvertedPendulumEnv", "InvertedDoublePendulumEnv")
# after an early end that is absorbed: as long as a segment, so that one can show nothing else
ABSORBED_STEPS = 50
# where a robot goes on after what would have ended its episode: time for a flip, and then it begins anew
FALLEN_STEPS = 100


def without_early_end(env: EnvSettings, absorb: bool = False) -> EnvSettings:
    """The environment as it is learned in: what happens in it does not end it, where it is known how.

    A learned reward that happens to be positive teaches to survive, a negative one to give up, whatever
    people said: they were not asked about that.

    Args:
        absorb: every end is absorbed for `ABSORBED_STEPS`, in any environment, in place of going on.

    Raises:
        UserError: as `find_spec`.
    """
    if env.termination != "own":
        return env
    kind = str(find_spec(env).entry_point).rpartition(":")[2]
    if absorb or kind in ALWAYS_END:
        return replace(env, termination="absorb", absorbing_steps=ABSORBED_STEPS)
    if not can_go_on(env.env):
        return env
    return replace(env, termination="never", fallen_steps=FALLEN_STEPS)
