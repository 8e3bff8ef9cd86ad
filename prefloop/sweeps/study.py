"""A study: a file that says which comparisons are made, each setting a value or a list of values.

It is read and refused as a whole before anything is run; sentences name the key and its line.
"""

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefloop.command_line import home_expanded, require_needed
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.settings import Leaf, as_flat, as_set, assembled, defaults_of, leaves, read_as
from prefloop.sweeps.cells import Changes, Comparison, digest
from prefloop.sweeps.changes import (
    SHARED,
    Axes,
    as_keys,
    changes_at,
    idle,
    product,
    settings_of,
    usual,
)
from prefloop.sweeps.engine_settings import EngineSettings
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import (
    OF_CELLS,
    OF_COMMAND,
    OF_MACHINE,
    OF_RUNNING,
    CompareSettings,
    StudySettings,
)
from prefloop.tuned import SHORT, defaults_for
from prefloop.words import perhaps
from prefloop.yaml_files import Place, read_values

MAX_RUNS = 100_000  # of one study: more is a slip of the finger
SEARCH = "search"  # what prefloop tune reads besides

OF_ENV = {leaf.flag for leaf in leaves(EnvSettings)}


@dataclass(frozen=True)
class Study:
    """What a file says.

    Attributes:
        comparisons: their `out` is a folder in the study's.
        out: of the study.
        processes: 0 if the file does not say.
        engine: who does it.
    """

    comparisons: Sequence[Comparison]
    out: str
    processes: int
    engine: EngineSettings


def read_study(given: StudySettings) -> Study:
    """Reads a study and checks all that can be checked without making its environments.

    Args:
        given: the file, and what holds in place of what it says.

    Raises:
        UserError: it can't be read, or something in it can't be meant; names the key and the line.
    """
    return Reader(given).study()


@dataclass
class Reader:
    """Reads one file.

    Attributes:
        given: which, and what holds in place of what it says.
        has_search: it may have a section that `prefloop tune` reads.
        values, lines: what it says, and where, as `read_values` gives them.
    """

    given: StudySettings
    has_search: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, str] = field(default_factory=dict)
    # settings that did nothing where they were met, and why, and those that did something somewhere
    idle: dict[str, str] = field(default_factory=dict)
    useful: set[str] = field(default_factory=set)

    @property
    def file(self) -> Path:
        """Which."""
        return self.given.file

    def study(self) -> Study:
        """As `read_study`, but for the search."""
        self.values, self.lines = read_values(self.file)
        for needed in ("env", "methods"):
            if needed not in self.values:
                raise UserError(f"{self.file} names no {needed}.")
        running = {key: self._one(key) for key in OF_MACHINE if key in self.values}
        out = self.given.out or running.get("out", "")
        engine = self._engine()
        if not out:
            raise UserError(
                f"{self.file} says no folder to write to; give --out, or `out: FOLDER`."
            )
        if not engine.kind.is_here:  # where workers begin in folders of their own
            out = str(Path(out).absolute())
        shared = {key: self._list(key) for key in OF_CELLS if key in self.values}
        methods = tuple(dict.fromkeys(shared["methods"]))
        terms = self._terms()
        changed = self._changed(methods)
        shared |= {"methods": methods, "device": self.given.device or running.get("device", "cpu")}
        comparisons: dict[str, Comparison] = {}
        for env in self._environments():
            for point in product({**terms, **env}):
                settings, name = self._comparison({**point, **shared}, Path(out))
                changes = {m: self._changes(settings, m, changed[m]) for m in methods}
                comparisons[name] = Comparison(settings, changes)
        for key, why in self.idle.items():
            if key not in self.useful:
                raise UserError(f"{self.where(key)}: {why}.")
        runs = sum(len(comparison.cells) for comparison in comparisons.values())
        if runs > MAX_RUNS:
            raise UserError(f"{self.file} asks for {runs} runs, more than {MAX_RUNS}.")
        return Study(list(comparisons.values()), out, running.get("processes", 0), engine)

    def where(self, *place: str | int) -> str:
        """How a sentence about a place of the file begins; of one that is not there, about what would hold it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines[place] if place else str(self.file)

    def _one(self, key: str) -> Any:
        return self.value(SHARED[key], self.values[key], key)

    def _list(self, key: str) -> Any:
        value = self.values[key]
        given = value if isinstance(value, list) else [value]
        if not given:
            raise UserError(f"{self.where(key)}: {key} names none.")
        return tuple(self.value(SHARED[key], x, key, i)[0] for i, x in enumerate(given))

    def value(self, leaf: Leaf, value: Any, *place: str | int) -> Any:
        """What a setting makes of a value that stands at a place.

        Raises:
            UserError: it would not take it.
        """
        if value is None and leaf.field.default is None:
            return None
        try:
            return read_as(leaf, _home_expanded(value))
        except (TypeError, ValueError):
            where = self.where(*place)
            choices = leaf.field.metadata["choices"]
            among = f"; choose from {', '.join(choices)}" if choices else ""
            raise UserError(f"{where}: {leaf.flag} can't be {SHORT.repr(value)}{among}.") from None

    def _axis(self, leaf: Leaf, value: Any, *place: str | int) -> list[Any]:
        """The values that a setting has in turn; a list of numbers is one of `hidden_sizes`."""
        takes_many = typing.get_origin(leaf.field.type) is tuple
        if not isinstance(value, list) or (
            takes_many and not any(isinstance(x, list) for x in value)
        ):
            return [self.value(leaf, value, *place)]
        if not value:
            raise UserError(f"{self.where(*place)}: {leaf.flag} has no value.")
        found = [self.value(leaf, x, *place, i) for i, x in enumerate(value)]
        return list(dict.fromkeys(found))

    def _engine(self) -> EngineSettings:
        """Settings that stand under `engine`: a name, or several of which one is `engine`."""
        known = {leaf.flag: leaf for leaf in leaves(EngineSettings)}
        given = self.values.get("engine", {})
        if not isinstance(given, dict):
            given = {"engine": given}
        for key in given:
            if key not in known:
                raise self.unknown(key, known, "an engine", "engine", key)
        said = {k: self.value(known[k], v, "engine", k) for k, v in given.items()}
        instead = {"engine": self.given.engine, "address": self.given.address}
        said |= {key: value for key, value in instead.items() if value}
        values = {**defaults_of(EngineSettings), **said}
        try:
            require_needed(list(known.values()), list(said), values)
            return assembled(EngineSettings, {known[k].path: v for k, v in values.items()})
        except ValueError as error:
            raise self.located(error, "engine") from None

    def _environments(self) -> list[Axes]:
        given = self.values["env"]
        many = given if isinstance(given, list) else [given]
        if not many:
            raise UserError(f"{self.where('env')}: env names none.")
        found: list[Axes] = []
        for i, one in enumerate(many):
            place = ("env", i) if isinstance(given, list) else ("env",)
            if not isinstance(one, dict):
                found.append({"env": [self.value(SHARED["env"], one, *place)]})
                continue
            if "env" not in one:
                raise UserError(f"{self.where(*place)}: an environment needs its env.")
            for key in one:
                if key not in OF_ENV:
                    raise self.unknown(key, OF_ENV, "an environment", *place, key)
            found.append({k: self._axis(SHARED[k], v, *place, k) for k, v in one.items()})
        return found

    def _terms(self) -> Axes:
        """Settings that are equal for all methods of a comparison, each with its values in turn."""
        return {
            key: self._axis(SHARED[key], value, key)
            for key, value in self.values.items()
            if key in SHARED and key not in (*OF_CELLS, *OF_RUNNING, "env")
        }

    def _changed(self, methods: Sequence[str]) -> dict[str, Axes]:
        """Settings of each method: what stands under its name, or else under none, each with its values in turn."""
        known = {name: settings_of(name) for name in METHODS}
        found: dict[str, dict[str, Sequence[Any]]] = {name: {} for name in methods}
        own: dict[str, dict[str, Sequence[Any]]] = {name: {} for name in methods}
        for key, value in self.values.items():
            if key in OF_COMMAND:
                raise UserError(f"{self.where(key)}: {key} is a flag of the command line alone.")
            if key == SEARCH and not self.has_search:
                raise UserError(f"{self.where(key)}: {key} is what prefloop tune reads.")
            if key in SHARED or key in ("engine", SEARCH):
                continue
            if key in METHODS:
                if key not in methods:
                    raise UserError(f"{self.where(key)}: {key} is not among the methods.")
                if not isinstance(value, dict):
                    raise UserError(f"{self.where(key)}: `setting: value` lines are needed.")
                for flag, inner in value.items():
                    if flag not in known[key]:
                        if flag in SHARED:
                            raise UserError(
                                f"{self.where(key, flag)}: {flag} is the same for all methods; it does not stand "
                                f"under {key}."
                            )
                        raise self.unknown(flag, known[key], key, key, flag)
                    own[key][flag] = self._axis(known[key][flag], inner, key, flag)
                continue
            having = [name for name in METHODS if key in known[name]]
            if not having:
                everything = {
                    "engine",
                    *SHARED,
                    *METHODS,
                    *(f for flags in known.values() for f in flags),
                }
                raise self.unknown(key, everything, "a comparison or of any method", key)
            for name in methods:
                if name in having:
                    found[name][key] = self._axis(known[name][key], value, key)
            if not set(having) & set(methods):
                raise UserError(
                    f"{self.where(key)}: {key} is a setting of {', '.join(having)}, none of which is among the "
                    "methods."
                )
        return {name: {**found[name], **own[name]} for name in methods}

    def unknown(self, key: Any, known: Iterable[str], whose: str, *place: str | int) -> UserError:
        """A refusal of a key, with the known one that is meant, perhaps."""
        meant = perhaps(str(key), known, most=1)
        return UserError(f"{self.where(*place)}: {key} is no setting of {whose}{meant}")

    def _comparison(self, given: Mapping[str, Any], root: Path) -> tuple[CompareSettings, str]:
        """The settings of one, and the name of its folder."""
        plain = defaults_of(CompareSettings)
        usual = defaults_for("compare", CompareSettings, {**plain, **given})
        values = {**plain, **{k: as_set(v) for k, v in (usual.values if usual else {}).items()}}
        with_given = {**values, **given}
        without = idle(list(SHARED.values()), given, with_given)
        self._note(given, without)
        with_given |= {flag: values[flag] for flag in without}
        settings = self._assembled({**with_given, "out": str(root)})
        # told by what is not as usual, so that it stays where it is when the program learns new settings
        flat = as_flat(settings)
        usually = {**plain, **as_flat(EnvSettings(env=flat["env"]))}
        said = sorted(
            (flag, value)
            for flag, value in flat.items()
            if flag not in (*OF_CELLS, *OF_RUNNING, "env") and value != usually[flag]
        )
        env = re.sub(r"[^\w.-]", "_", flat["env"])
        name = f"{env}-{digest([flat['env'], *said])}"
        return self._assembled({**with_given, "out": str(root / name)}), name

    def _assembled(self, flat: Mapping[str, Any]) -> CompareSettings:
        try:
            paths = {leaf.path: flat[leaf.flag] for leaf in SHARED.values()}
            return assembled(CompareSettings, paths).without_repeats
        except ValueError as error:
            raise self.located(error) from None

    def _changes(self, settings: CompareSettings, method: str, axes: Axes) -> list[Changes]:
        """The settings that a method has in turn, as far as they are not as usual."""
        found, plain = [], None
        for point in product(axes):
            try:
                plain = plain or usual(settings, method)
                changes, without = changes_at(settings, method, point, plain)
            except ValueError as error:
                raise self.located(error, method) from None
            self._note(point, without)
            found.append(changes)
        return list(dict.fromkeys(found))

    def _note(self, given: Iterable[str], without: Mapping[str, str]) -> None:
        """Keeps what did something where it was met, and what did not; a grid may have it where it does."""
        self.idle |= without
        self.useful |= set(given) - set(without)

    def located(self, error: ValueError, method: str = "") -> UserError:
        """A refusal that names flags, with the line of the first that the file has."""
        flags = re.findall(r"--(?:no_)?(\w+)", str(error))
        places = [place for flag in flags for place in ((method, flag), (flag,))]
        where = next((self.lines[place] for place in places if place in self.lines), str(self.file))
        return UserError(f"{where}: {as_keys(error)}.")


def _home_expanded(value: Any) -> Any:
    """A value, or each of a list, as a command line has it; no shell does that in a file."""
    if isinstance(value, list):
        return [_home_expanded(x) for x in value]
    return home_expanded(value) if isinstance(value, str) else value
