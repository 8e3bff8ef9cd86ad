"""An environment as a value: its id and what is changed about it; free of Gymnasium, so that `--help` is quick.

It stands in run.json and in a dataset's metadata, so that a policy is judged, filmed and labelled in
what it was trained in.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from prefloop.errors import UserError
from prefloop.settings import require_above_zero, setting

TERMINATIONS = ("own", "absorb", "never")
CHANGES = "env_changes"  # beside "env", where anything is changed


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """Which environment. Source: Christiano et al. 2017, arXiv:1706.03741, appendix A (episodes of one length).

    Raises:
        ValueError: a value that no environment can have.
    """

    group = "the environment"

    # fmt: off
    env: str = setting(MISSING, "which environment, for instance CartPole-v0; module:Name-v0 imports the module first")
    wrappers: tuple[str, ...] = setting((), "Gymnasium wrappers of your own to put around it, module:Class, the innermost first")
    horizon: int | None = setting(None, "steps after which an episode is cut, in place of the environment's own limit")
    termination: str = setting("own", "absorb: what ends early stays where it ended, with a reward of 0, so that all episodes are equally long; never: it goes on, where the environment allows that (Ant, Hopper, Humanoid, Walker2d)", choices=TERMINATIONS)
    absorbing_steps: int | None = setting(None, "steps that come after an early end, in which zeros are observed; if not given, those to the limit, which observe where it ended", needs="termination absorb")
    action_repeat: int = setting(1, "how often each action is taken; rewards add up")
    frame_stack: int = setting(1, "successive observations that are handed over together")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "horizon", "absorbing_steps", "action_repeat", "frame_stack")
        if self.absorbing_steps and self.termination != "absorb":
            raise ValueError(
                f"--absorbing_steps does nothing with --termination {self.termination}"
            )

    @property
    def changes(self) -> dict[str, Any]:
        """What is not as the environment's makers have it."""
        defaults = {f.name: f.default for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "env" and value != defaults[name]
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json and a dataset's metadata say of it."""
        return {"env": self.env, **({CHANGES: self.changes} if self.changes else {})}

    @property
    def described(self) -> str:
        """Its id and what is changed about it, where a number would be misread without."""
        said = ", ".join(f"{name} {value}" for name, value in self.changes.items())
        return f"{self.env} ({said})" if said else self.env

    def __str__(self) -> str:
        """Its id, as sentences and titles name it."""
        return self.env


Env = EnvSettings | str  # a plain id is an environment as its makers have it


def as_settings(env: Env) -> EnvSettings:
    """An environment that may be given by its id alone."""
    return EnvSettings(env=env) if isinstance(env, str) else env


def from_facts(facts: Mapping[str, Any], env_id: str = "") -> EnvSettings | None:
    """The environment that run.json or a dataset's metadata names.

    Args:
        env_id: take this id; what is changed about it still comes from the facts.

    Returns:
        None where neither names one.

    Raises:
        UserError: what is said to be changed can't be.
    """
    known = env_id or facts.get("env")
    if not isinstance(known, str) or not known:
        return None
    changes = facts.get(CHANGES, {})
    try:
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
        return EnvSettings(env=known, **values)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"The environment {known} can't be changed as is said: {error}.") from None
