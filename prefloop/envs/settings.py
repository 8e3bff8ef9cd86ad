"""An environment as a value: its id and what is changed about it; free of Gymnasium, so that `--help` is quick.

It stands in run.json and in a dataset's metadata, so that a policy is judged, filmed and labelled in
what it was trained in.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from prefloop.env_ids import without_module
from prefloop.errors import UserError
from prefloop.settings import as_listed, as_set, require_above_zero, require_between, setting

TERMINATIONS = ("own", "absorb", "never", "restart", "life")
CHANGES = "env_changes"  # beside "env", where anything is changed
ATARI = "ALE/"  # what the ids of its games begin with
# what is meant where nothing is said
USUAL: dict[str, Any] = {"action_repeat": 1, "frame_stack": 1}
# and of environments whose ids begin so; of Atari as in Machado et al. 2018, arXiv:1709.06009, table 5, and
# Mnih et al. 2015
USUAL_OF: dict[str, dict[str, Any]] = {
    ATARI: {"pixels": 84, "action_repeat": 4, "frame_stack": 4, "sticky": 0.25, "noop_max": 30},
}
MAX_PIXELS = 256  # a side: with more, a laptop's memory is full before anything is learned


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """Which environment. Source: Christiano et al. 2017, arXiv:1706.03741, appendix A (episodes of one length).

    Until it is known which (`env` is ""), numbers that are not given are None, so that 1 can be told from them.

    Raises:
        ValueError: a value that no environment can have.
    """

    group = "the environment"

    # fmt: off
    env: str = setting(MISSING, "which environment, for instance CartPole-v0; module:Name-v0 imports the module first")
    wrappers: tuple[str, ...] = setting((), "Gymnasium wrappers of your own to put around it, module:Class, the innermost first")
    horizon: int | None = setting(None, "steps after which an episode is cut, in place of the environment's own limit")
    termination: str = setting("own", "absorb: what ends early stays where it ended, with a reward of 0, so that all episodes are equally long; never: it goes on, where the environment allows that (Ant, Hopper, Humanoid, Walker2d); restart: it begins anew within the episode, and nobody is told (Christiano et al. 2017); life: it ends with the first life that is lost (Atari)", choices=TERMINATIONS)
    absorbing_steps: int | None = setting(None, "steps that come after an early end, in which zeros are observed; if not given, those to the limit, which observe where it ended", needs="termination absorb")
    fallen_steps: int | None = setting(None, "steps in a row in which it would have ended, after which the episode is cut all the same; if not given, it goes on to the limit", needs="termination never")
    action_repeat: int = setting(None, "how often each action is taken; rewards add up; if not given, once, in Atari 4 times", usual=1)
    frame_stack: int = setting(None, "successive observations that are handed over together; if not given, 1, in Atari 4", usual=1)
    sticky: float | None = setting(None, "probability that the action before is taken in place of the one chosen; if not given, 0, in Atari 0.25 (Machado et al. 2018)")
    pixels: int | None = setting(None, "observe pictures of so many pixels a side: those that are observed anyway, or else those that are drawn for people; if not given, what is observed as it is, in Atari pictures of 84")
    colour: bool = setting(False, "pictures in colour, and not in grey")
    mask_score: bool = setting(False, "the rows of Atari's picture in which the score stands are black, so that no reward can be read there")
    mask_rows: tuple[int, ...] = setting((), "rows of the picture as it is drawn that are black in what is observed: the first, and the one after the last")
    noop_max: int | None = setting(None, "an episode begins with up to so many actions that do nothing, Atari alone; if not given, 30")
    # fmt: on

    def __post_init__(self) -> None:
        for name, value in self._usual.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        require_above_zero(
            self,
            "horizon",
            "absorbing_steps",
            "fallen_steps",
            "action_repeat",
            "frame_stack",
            "pixels",
        )
        if self.noop_max is not None:
            require_between(self, 0, float("inf"), "noop_max")
        if self.sticky is not None and not 0 <= self.sticky < 1:
            raise ValueError(f"--sticky must be at least 0 and below 1, not {self.sticky}")
        self._require_pictures()
        for flag, termination in (("absorbing_steps", "absorb"), ("fallen_steps", "never")):
            if getattr(self, flag) and self.termination != termination:
                raise ValueError(f"--{flag} does nothing with --termination {self.termination}")

    def _require_pictures(self) -> None:
        """Refuses what is said of pictures that are not observed, and what only Atari has."""
        rows = self.mask_rows
        if self.pixels is None:
            for flag in ("colour", "mask_score", "mask_rows"):
                if getattr(self, flag):
                    raise ValueError(f"--{flag} does nothing without --pixels")
        elif self.pixels > MAX_PIXELS:
            raise ValueError(f"--pixels must be at most {MAX_PIXELS}, not {self.pixels}")
        if rows and (len(rows) != 2 or not 0 <= rows[0] < rows[1]):
            raise ValueError(
                f"--mask_rows is a first row and the one after the last, not {' '.join(map(str, rows))}"
            )
        if not self.is_atari and self.env:
            for flag in ("mask_score", "noop_max"):
                if getattr(self, flag):
                    raise ValueError(f"--{flag} is for Atari's games, and {self.env} is none")
            if self.termination == "life":
                raise ValueError(f"--termination life is for Atari's games, and {self.env} is none")

    def ending(self, termination: str) -> "EnvSettings":
        """A copy that ends otherwise, without the settings of the ends that it has.

        Raises:
            UserError: it can't end so.
        """
        without = {"absorbing_steps": None, "fallen_steps": None}
        return self.changed({"termination": termination, **without})

    def changed(self, changes: Mapping[str, Any]) -> "EnvSettings":
        """A copy with some settings changed.

        Args:
            changes: as `changes`, for instance of a command line that did not say which environment; other ends
                take with them what is said of those that it has.

        Raises:
            UserError: it can't be changed so.
        """
        if changes.get("termination", self.termination) != self.termination:
            changes = {"absorbing_steps": None, "fallen_steps": None, **changes}
        try:
            return replace(self, **{name: as_set(value) for name, value in changes.items()})
        except ValueError as error:
            raise UserError(f"{error}.") from None

    @property
    def _usual(self) -> dict[str, Any]:
        """Defaults of this environment; none until it is known which it is."""
        if not self.env:
            return {}
        return {**USUAL, **self._usual_of_family}

    @property
    def _usual_of_family(self) -> dict[str, Any]:
        """Defaults of its family, in place of `USUAL`; none where its family has none."""
        bare = without_module(self.env)
        return next((usual for begin, usual in USUAL_OF.items() if bare.startswith(begin)), {})

    @property
    def is_atari(self) -> bool:
        """Whether it is a game of Atari's: `ALE/Pong-v5`."""
        return without_module(self.env).startswith(ATARI)

    @property
    def changes(self) -> dict[str, Any]:
        """Settings that differ from what its makers have; of Atari all on which its pictures depend."""
        plain = {f.name: f.default for f in fields(self)} | (USUAL if self.env else {})
        always = self._usual_of_family
        return {
            name: as_listed(value)
            for name, value in asdict(self).items()
            if name != "env" and (value != plain[name] or name in always)
        }

    @property
    def facts(self) -> dict[str, Any]:
        """Id and changes, as run.json and a dataset's metadata hold them."""
        return {"env": self.env, **({CHANGES: self.changes} if self.changes else {})}

    @property
    def described(self) -> str:
        """Its id and what is changed about it, where a number would be misread without."""
        changes = ", ".join(f"{name} {value}" for name, value in self.unusual.items())
        return f"{self.env} ({changes})" if changes else self.env

    @property
    def unusual(self) -> dict[str, Any]:
        """`changes` that somebody has made."""
        usual = self._usual_of_family
        return {k: v for k, v in self.changes.items() if k not in usual or v != usual[k]}

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
    name = env_id or facts.get("env")
    if not isinstance(name, str) or not name:
        return None
    changes = facts.get(CHANGES, {})
    try:
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
        return EnvSettings(env=name, **values)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"The environment {name} can't be changed as is said: {error}.") from None
