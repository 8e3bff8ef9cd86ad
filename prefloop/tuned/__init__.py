"""Settings that come with the program: one file for each environment that was looked at, and presets.

    prefloop/tuned/HalfCheetah.yaml, prefloop/tuned/dm_control/walker-walk.yaml, prefloop/tuned/presets/*.yaml

A file has a section for each command that it says something of. They stand in for the defaults of
flags that are not given. Free of PyTorch, and of PyYAML where nothing is read, so that `--help` is quick.
"""

import functools
import re
import reprlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefloop.begun import begun
from prefloop.env_ids import without_module
from prefloop.errors import UserError
from prefloop.files import is_file
from prefloop.run_files import FACTS
from prefloop.settings import (
    as_listed,
    as_set,
    defaults_of,
    leaves,
    read_as,
    require_parts,
    setting,
    with_flags,
)
from prefloop.yaml_files import entries_of, read_entries, value_of

T = TypeVar("T")
FOLDER = Path(__file__).parent
PRESETS = FOLDER / "presets"
COMMANDS = ("sac", "pebble", "ppo", "pref-ppo", "compare")
SHORT = reprlib.Repr()  # values as sentences show them: one that holds itself many times is endless
SHORT.maxlevel = 2
TEXTS = ("env", "source", "reached")  # what a file says besides
OF_A_NEW_POLICY = ("normalise_obs", "encoder")  # one that is given has its own


def untuned_setting() -> Any:
    """`--untuned`."""
    return setting(False, "without the settings that come with the program for some environments")


@dataclass(frozen=True, kw_only=True)
class TunedSettings:
    """Whose defaults count."""

    group = "defaults"

    # fmt: off
    preset: str = setting("", "settings of a YAML file, or of a paper (for pebble: pebble-2021), in place of those that are tuned for the environment")
    untuned: bool = untuned_setting()
    # fmt: on


@dataclass(frozen=True)
class Defaults:
    """What stands in for a command's own defaults.

    Attributes:
        of: what it is meant for, an environment or a preset; as sentences name it.
        file: where it is from.
        values: by the names of flags.
        plain: the command's own defaults, likewise.
        is_tuned: it is the environment's, and can be left out.
    """

    of: str
    file: Path
    values: Mapping[str, Any]
    plain: Mapping[str, Any]
    is_tuned: bool = False

    @property
    def arguments(self) -> list[str]:
        """These settings as on a command line."""
        line = []
        for flag, value in self.values.items():
            if as_set(value) == self.plain[flag]:
                continue  # a switch that is off anyway, or no values, have no flag
            if isinstance(value, bool):
                line.append(f"--{flag}" if value else f"--no_{flag}")
            elif isinstance(value, list):
                line += [f"--{flag}", *map(str, value)]
            else:  # in one word, since a value may begin with a dash
                line.append(f"--{flag}={value}")
        return line

    def sentence(self, used: Mapping[str, Any]) -> str:
        """What is said of it at the start.

        Args:
            used: all settings of the run, by flag: what was given wins, and is not of this file.
        """
        shown = [
            f"{flag} {' '.join(map(str, value)) if isinstance(value, list) else value}"
            for flag, value in self.values.items()
            if used[flag] == as_set(value)
        ]
        leave_out = "; --untuned leaves them out" if self.is_tuned else ""
        return (
            f"Settings for {self.of} ({self.file.name}): {', '.join(shown) or 'none'}{leave_out}."
        )


def defaults_for(
    command: str, settings_class: type, given: Mapping[str, Any], knows_all: bool = True
) -> Defaults | None:
    """What stands in for the defaults of a command, by what was given on its command line.

    A run that goes on does so with what it began with, whatever the file says of its environment by now;
    and where people label it, its environment need not be given again.

    Args:
        command: its name, for instance "sac".
        given: settings by flag: `env`, `init`, `keep_termination`, `out`, `preset`, `resume`,
            `run`, `teacher` and `untuned`.
        knows_all: as `read`.

    Raises:
        UserError: there is no such preset, it says nothing of the command, or a file holds what is no
            setting; names file and line.
    """
    preset, plain = given.get("preset"), defaults_of(settings_class)
    if preset:
        file = PRESETS / f"{preset}.yaml"
        if not is_file(file):
            file = Path(preset)
        if not is_file(file):
            known = ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
            raise UserError(f"There is no preset {preset!r}, and no such file; there is {known}.")
        values = read(file, command, settings_class)
        if not values:  # run.json would name a preset that changed nothing
            raise UserError(f"{file} says nothing of prefloop {command}.")
        return Defaults(preset, file, values, plain)
    before = begun(given)
    env = str(given.get("env") or before.get("env") or "")
    own = _file_of(env)
    if given.get("untuned") or own is None:
        return None
    values = read(own, command, settings_class, knows_all)
    if given.get("init"):
        values = _of_a_given_policy(values)
    if given.get("pixels"):
        values = _of_pictures(values)
    if given.get("teacher") == "human" or given.get("keep_termination"):
        values = _whatever_ends(values)
    if not values:
        return None
    if before:
        values = {flag: before["settings"].get(flag, plain[flag]) for flag in values}
        return Defaults(env, Path(FACTS), values, plain)
    return Defaults(env, own, values, plain, is_tuned=True)


def tuned(
    settings: T,
    command: str,
    env: str,
    has_init: bool = False,
    has_people: bool = False,
    has_pictures: bool = False,
) -> T:
    """Settings of a method with what comes with the program for an environment, for who runs it without its command.

    Args:
        settings: the method's, whose flags stand in a command's section beside others.
        command: whose section; the files that come with the program were checked against it.
        has_init: it starts from a policy that is given.
        has_people: people say what is better.
        has_pictures: pictures are observed, in place of vectors.
    """
    file = _file_of(env)
    if file is None:
        return settings
    values = read(file, command, type(settings), knows_all=False)
    if has_pictures:
        values = _of_pictures(values)
    if has_init:
        values = _of_a_given_policy(values)
    if has_people:
        values = _whatever_ends(values)
    return with_flags(settings, {flag: as_set(value) for flag, value in values.items()})


def flags_of(environment: Any) -> str:
    """An environment on the line of any command: `--env ALE/Pong-v5 --pixels 42`; what is usual, too, where a command has another default.

    Args:
        environment: its `EnvSettings`.
    """
    values, kind, file = environment.unusual, type(environment), _file_of(environment.env)
    sections = [read(file, command, kind, knows_all=False) for command in COMMANDS] if file else []
    for section in sections:  # those that change something about an environment change the same
        for name, value in section.items():
            own = as_listed(getattr(environment, name))
            if own not in (value, None):
                values[name] = own
    line = [f"--env {shlex.quote(environment.env)}"]
    for name, value in values.items():
        flag = f"--no_{name}" if value is False else f"--{name}"
        words = [] if isinstance(value, bool) else value if isinstance(value, list) else [value]
        line.append(" ".join([flag, *(shlex.quote(str(word)) for word in words)]))
    return " ".join(line)


def _of_a_given_policy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {flag: value for flag, value in values.items() if flag not in OF_A_NEW_POLICY}


def _of_pictures(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those of vectors, where pictures are observed in their place."""
    return {flag: value for flag, value in values.items() if flag != "normalise_obs"}


def _whatever_ends(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what becomes of an early end: people may want what ends an episode, a back flip, and others have said it."""
    return {flag: value for flag, value in values.items() if flag != "absorb_termination"}


def _file_of(env: str) -> Path | None:
    """The file that comes with the program for an environment, of whichever version, or for all of its namespace."""
    name = re.sub(r"-v[0-9]+$", "", without_module(env))
    files = (FOLDER / f"{known}.yaml" for known in (name, name.rpartition("/")[0]) if known)
    return next((file for file in files if _is_ours(file)), None)


def _is_ours(file: Path) -> bool:
    return is_file(file) and FOLDER in file.resolve().parents and file.parent != PRESETS


def read(file: Path, command: str, settings_class: type, knows_all: bool = True) -> dict[str, Any]:
    """A command's section of a file, by the names of flags; empty where it has none.

    Args:
        settings_class: what the flags are of.
        knows_all: it has all flags of the command; what it has not is else left out.

    Raises:
        UserError: it can't be read, or a key is no setting, or a value none that it takes.
    """
    values = _read(file, command, settings_class, knows_all, _written(file))
    return {key: list(x) if isinstance(x, list) else x for key, x in values.items()}


def _written(file: Path) -> tuple[int, int] | None:
    """A file's time and size, one of which changes when it is written again; None where there is none."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


@functools.lru_cache(maxsize=256)
def _read(
    file: Path,
    command: str,
    settings_class: type,
    knows_all: bool,
    written: tuple[int, int] | None,
) -> dict[str, Any]:
    """Read once for all places of a grid: YAML takes milliseconds."""
    sections = read_entries(file)
    for name, section in sections.items():
        if name not in (*COMMANDS, *TEXTS):
            raise UserError(f"{section.where}: {name} is none of {', '.join((*COMMANDS, *TEXTS))}.")
    if command not in sections or value_of(sections[command].node) is None:
        return {}
    known = {leaf.flag: leaf for leaf in leaves(settings_class) if not leaf.required}
    entries, values = entries_of(sections[command], file), {}
    if not knows_all:
        entries = {key: entry for key, entry in entries.items() if key in known}
    for key, entry in entries.items():
        if key not in known or key in ("preset", "untuned", "resume"):
            raise UserError(f"{entry.where}: {key} is no setting of prefloop {command}.")
        value = value_of(entry.node)
        try:
            values[key] = read_as(known[key], value)
        except ValueError:
            raise UserError(f"{entry.where}: {key} can't be {SHORT.repr(value)}.") from None
    try:
        require_parts(settings_class, values)
    except ValueError as error:  # which names flags
        named = [entry for key, entry in entries.items() if re.search(rf"--{key}\b", str(error))]
        raise UserError(f"{(named or [sections[command]])[0].where}: {error}.") from None
    return {key: list(x) if isinstance(x, tuple) else x for key, x in values.items()}
