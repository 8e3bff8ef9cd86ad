"""Families of environments that Gymnasium does not know of by itself: a module for each, and an entry here.

Ids of one family begin alike: `ALE/Pong-v5`, `dm_control/walker-walk-v0`. Where nothing is said, a family's settings
are those of `settings.USUAL_OF`, which is free of Gymnasium.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym

from prefloop.env_ids import without_module
from prefloop.envs import atari, dm_control, dot, minatar
from prefloop.envs.settings import ATARI, EnvSettings


@dataclass(frozen=True)
class Emulator:
    """How environments are made that are `Emulated`.

    Attributes:
        make: one, in a render mode or none; without a limit of steps.
        make_many: so many that step together; with their limit.
        time_limit: the most steps that an episode can have, as the policy counts them.
    """

    make: Callable[[EnvSettings, str | None], gym.Env]
    make_many: Callable[[EnvSettings, int], gym.vector.VectorEnv]
    time_limit: Callable[[EnvSettings], int]


@dataclass(frozen=True)
class Family:
    """Facts about all environments whose ids begin alike.

    Attributes:
        namespace: what the ids begin with, for instance "ALE/".
        register: tells Gymnasium of them; raises UserError where a package is missing.
        emulator: makes those that apply `EnvSettings` by themselves; None: `gym.make` does, and wrappers change them.
    """

    namespace: str
    register: Callable[[], None]
    emulator: Emulator | None = None


# where a bare name may mean one of several, the first is meant
FAMILIES = (
    Family(
        ATARI,
        atari.register,
        emulator=Emulator(atari.AtariGame, atari.make_games, atari.time_limit),
    ),
    Family(dm_control.NAMESPACE, dm_control.register),
    Family(dot.NAMESPACE, dot.register),
    Family(minatar.NAMESPACE, minatar.register),
)


def family_of(env_id: str) -> Family | None:
    """The family of an id, `module:` before it or not; None: Gymnasium's own, or the user's."""
    bare = without_module(env_id)
    return next((family for family in FAMILIES if bare.startswith(family.namespace)), None)


def emulator_of(env_id: str) -> Emulator | None:
    """The emulator that makes an environment; None where Gymnasium does."""
    family = family_of(env_id)
    return family.emulator if family else None
