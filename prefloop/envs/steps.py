"""What a step is: the same observations and actions say nothing of how long one takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gymnasium import Wrapper
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import StickyAction

from prefloop.envs.emulated import Emulated
from prefloop.envs.settings import CHANGES, EnvSettings
from prefloop.envs.termination import RepeatActions
from prefloop.errors import UserError, note

if TYPE_CHECKING:
    from prefloop.envs.spaces import AnyEnv


def steps_of(env: "AnyEnv") -> dict[str, Any]:
    """How often an action is taken in a step, and how likely the one before in its place, by the names of flags."""
    copies = getattr(env.unwrapped, "envs", None)
    one: Any = copies[0] if copies else env
    steps: dict[str, Any] = {"action_repeat": 1, "sticky": 0}
    while isinstance(one, Wrapper):
        if isinstance(one, RepeatActions):
            steps["action_repeat"] = one.times
        elif isinstance(one, StickyAction):
            steps["sticky"] = one.repeat_action_probability
        one = one.env
    base = one.unwrapped
    if isinstance(base, Emulated):
        return {"action_repeat": base.action_repeat, "sticky": base.sticky}
    return steps


def require_next_step(envs: VectorEnv, name: object) -> None:
    """Refuses environments that step together and do not reset on the step after an episode's end.

    Args:
        name: what they are called in the sentence.

    Raises:
        UserError: they reset otherwise.
    """
    mode = envs.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise UserError(f"{name} resets in mode {mode}, and only NEXT_STEP is supported.")


def note_other_steps(path: Path, facts: Mapping[str, Any], env: "AnyEnv") -> None:
    """Says where something was learned in other steps than it is used in: they have the same shapes.

    Args:
        path: of what was learned.
        facts: what run.json says of it.
        env: where it is used, one or many.
    """
    env_id, changes = facts.get("env"), facts.get(CHANGES)
    if not isinstance(env_id, str) or not env_id:
        return
    if not isinstance(changes, Mapping):
        changes = {}
    usual = EnvSettings(env=env_id)
    for flag, now in steps_of(env).items():
        before = changes.get(flag, getattr(usual, flag)) or 0
        if before != now:
            note(
                f"{path} was learned with --{flag} {before} and is used with --{flag} {now}, where a step is another."
            )
