"""Command lines from dataclasses: what can be set is said once, with its default and its help."""

import argparse
import dataclasses
import functools
import math
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefloop.startup import print_anything

T = TypeVar("T")
NEGATIVE = r"(?i)-(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)"


def setting(
    default: Any,
    help: str,
    *aliases: str,
    flag: str = "",
    choices: Sequence[str] = (),
    parse: Callable[[str], Any] | None = None,
    positional: bool = False,
    needs: str = "",
) -> Any:
    """A field of a settings dataclass that is also the flag `--name`.

    Args:
        default: its value when the flag is not given; `dataclasses.MISSING` makes it required.
        help: what `--help` says of it, with its unit.
        aliases: other names of the flag, dashes included.
        flag: its name, where the field's would not say enough beside those of other parts.
        choices: the words it takes; any if empty.
        parse: reads a value from its text, in place of the field's type; may raise ValueError.
        positional: given without a flag's name.
        needs: a flag without which it does nothing: `surf`; with the values that will do, if not all
            do: `queries disagreement entropy`; or beside which it does nothing: `not init`. A command
            line is refused that has it nevertheless.
    """
    extras: dict[str, Any] = {"choices": tuple(choices), "parse": parse, "flag": flag}
    extras |= {"positional": positional, "needs": needs.split()}
    return dataclasses.field(default=default, metadata={"help": help, "aliases": aliases, **extras})


def part(settings_class: type, **instead: Any) -> Any:
    """A field of a settings dataclass that holds another one, whose flags stand beside its own.

    Args:
        settings_class: the other one.
        instead: settings of it that are another `setting` here, with another default or help.
    """
    defaults = {
        name: field.default
        for name, field in instead.items()
        if field.default is not dataclasses.MISSING
    }
    metadata = {"part": settings_class, "instead": instead}
    needed = [
        field.name
        for field in dataclasses.fields(settings_class)
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name not in defaults
    ]
    if needed:  # who makes one by hand has to say these
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default_factory=lambda: settings_class(**defaults), metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A setting, and where it stands: the names that lead from the whole to it."""

    path: tuple[str, ...]
    field: dataclasses.Field
    group: str

    @property
    def flag(self) -> str:
        """Its name on a command line, without the dashes."""
        return self.field.metadata["flag"] or self.path[-1]

    @property
    def required(self) -> bool:
        """It has no default."""
        return self.field.default is dataclasses.MISSING


def leaves(settings_class: type, path: tuple[str, ...] = (), **instead: Any) -> Iterator[Leaf]:
    """A class's own settings, then those of its parts in turn: one for each flag.

    Args:
        settings_class: a dataclass whose fields are made by `setting` and `part`.
        path: the names that lead to it from the whole.
        instead: settings that stand in for its own, by their names.
    """
    fields = dataclasses.fields(settings_class)
    for field in sorted(fields, key=lambda field: "part" in field.metadata):
        place = (*path, field.name)
        if "part" in field.metadata:
            yield from leaves(field.metadata["part"], place, **field.metadata["instead"])
            continue
        other = instead.get(field.name)
        if other is not None:
            other.name, other.type = field.name, field.type
        yield Leaf(place, other or field, getattr(settings_class, "group", ""))


def as_flat(settings: Any) -> dict[str, Any]:
    """All settings by the names of their flags, those of its parts included: what run.json holds."""
    return {
        leaf.flag: functools.reduce(getattr, leaf.path, settings) for leaf in leaves(type(settings))
    }


def defaults_of(settings_class: type) -> dict[str, Any]:
    """What each flag is where it is not given; None where it must be."""
    return {
        leaf.flag: None if leaf.required else leaf.field.default for leaf in leaves(settings_class)
    }


def parse_settings(
    settings_class: type[T],
    arguments: Sequence[str] | None = None,
    defaults: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
    **texts: str,
) -> T:
    """Reads the command line into a settings dataclass whose fields are made by `setting` and `part`.

    A field's type decides how its flag is read: `bool` is a switch (with a `--no_` where it is on by
    default), `tuple[int, ...]` takes one value or more, everything else takes one. `--num_envs` is
    also `--num-envs`. A part that has a `group` gets a heading of that name over its flags, and the
    `Source:` of its docstring is shown below them.

    Args:
        arguments: instead of the command line.
        defaults: gives flags that count where they are not given, from the settings by flag as they
            would be without.
        texts: `prog`, `description` and `epilog` of `--help`.

    Raises:
        SystemExit: 0 after `--help`; 2 after a wrong flag, or a value that the dataclass refused
            with a ValueError, whose text is printed.
    """
    sources = _sources(settings_class)
    if sources:
        texts["epilog"] = f"{texts.get('epilog', '')} Sources: {'; '.join(sources)}."
    print_anything()
    parser = argparse.ArgumentParser(**texts)  # type: ignore[arg-type]
    groups: dict[str, Any] = {"": parser}
    settings = list(leaves(settings_class))
    for leaf in settings:
        if leaf.group not in groups:
            groups[leaf.group] = parser.add_argument_group(leaf.group)
        _add_argument(groups[leaf.group], leaf)
    parser.usage = _usage(settings)
    line = command_line(arguments)
    values = vars(parser.parse_args(line))
    if defaults is not None:
        # what comes later on a command line wins
        values = vars(parser.parse_args([*defaults(values), *line]))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        built = _built(settings_class, {leaf.path: values[leaf.flag] for leaf in settings})
        if not values.get("resume"):  # what a run began with was accepted then
            _require_needed(settings, _given(parser, line, values), values)
        return built
    except ValueError as error:
        parser.error(str(error))


def _given(
    parser: argparse.ArgumentParser, line: Sequence[str], flags: Collection[str]
) -> set[str]:
    """Which flags stand on a command line, whether or not with their defaults."""
    nowhere = object()
    # argparse gives a default only to what is not there yet
    found = vars(parser.parse_args(line, argparse.Namespace(**dict.fromkeys(flags, nowhere))))
    return {flag for flag, value in found.items() if value is not nowhere}


def _require_needed(
    settings: Sequence[Leaf], given: Collection[str], values: Mapping[str, Any]
) -> None:
    """Refuses what was given and does nothing, beside what else holds.

    Raises:
        ValueError: names the flag, and the one that it depends on.
    """
    fields = {leaf.flag: leaf.field for leaf in settings}
    for leaf in settings:
        if leaf.flag not in given or not leaf.field.metadata["needs"]:
            continue
        words = leaf.field.metadata["needs"]
        is_against = words[0] == "not"
        flag, *enough = words[is_against:]
        value = values[flag]
        holds = value in enough if enough else bool(value)
        if holds != is_against:
            continue
        if value:
            beside = f"with --{flag}"
            if enough:
                beside += f" {value}; give --{flag} {' or '.join(enough)}"
        else:
            beside = f"with --no_{flag}" if fields[flag].default is True else f"without --{flag}"
        off = "no_" if leaf.field.default is True and not values[leaf.flag] else ""
        raise ValueError(f"--{off}{leaf.flag} does nothing {beside}")


def _built(settings_class: type[T], values: Mapping[tuple[str, ...], Any]) -> T:
    """The whole of its leaves."""
    made = {}
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        if "part" in field.metadata:
            own = {path[1:]: value for path, value in values.items() if path[0] == field.name}
            made[field.name] = _built(field.metadata["part"], own)
        else:
            made[field.name] = values[field.name,]
            _require_finite(field, made[field.name])
    return settings_class(**made)


def with_flags(settings: T, values: Mapping[str, Any]) -> T:
    """The same settings with other values for some flags, those of its parts included.

    Args:
        values: by flag; those that these settings do not have change nothing.

    Raises:
        ValueError: a value that the dataclass or a part of it refuses.
    """
    flat = as_flat(settings) | dict(values)
    kind = type(settings)
    return _built(kind, {leaf.path: flat[leaf.flag] for leaf in leaves(kind)})


def require_parts(settings_class: type, values: Mapping[str, Any]) -> None:
    """Refuses values that a part would, beside the defaults of all others.

    What the whole asks of its parts is left: it may be about what has no default.

    Args:
        values: by the names of flags.

    Raises:
        ValueError: as the part says it.
    """
    flat = {**defaults_of(settings_class), **values}
    paths = {leaf.path: flat[leaf.flag] for leaf in leaves(settings_class)}
    for field in dataclasses.fields(settings_class):
        if "part" in field.metadata:
            own = {path[1:]: value for path, value in paths.items() if path[0] == field.name}
            _built(field.metadata["part"], own)


def command_line(arguments: Sequence[str] | None = None) -> list[str]:
    """Arguments, those of the program if none are given, as argparse is to read them.

    Flags may have hyphens, `--flag=~/path` is one at home, and `--flag -1e3` has a value.
    """
    line: list[str] = []
    for argument in sys.argv[1:] if arguments is None else arguments:
        # in one word: argparse takes -1 for a number, but -1e3 and -inf for flags
        if re.fullmatch(NEGATIVE, argument) and line and re.fullmatch(r"--\w+", line[-1]):
            line[-1] += f"={argument}"
        else:
            line.append(_as_meant(argument))
    return line


def _usage(settings: Sequence[Leaf]) -> str:
    """What must be given; the rest would fill the screen, and stands below."""
    required = [leaf for leaf in settings if leaf.required]
    words = ["%(prog)s"]
    for leaf in sorted(required, key=lambda leaf: not leaf.field.metadata["positional"]):
        many = " ..." if typing.get_origin(leaf.field.type) is tuple else ""
        flag = "" if leaf.field.metadata["positional"] else f"--{leaf.flag} "
        words.append(f"{flag}{leaf.flag.upper()}{many}")
    return " ".join([*words, "[--flags]"])


def _sources(settings_class: type) -> list[str]:
    """What the docstrings of a class and of its parts name as sources."""
    classes = [settings_class]
    for one in classes:  # grows on the way
        fields = dataclasses.fields(one)
        classes += [field.metadata["part"] for field in fields if "part" in field.metadata]
    texts = [" ".join((vars(c).get("__doc__") or "").split()) for c in classes]
    found = [re.search(r"Sources?: (.+?)\.(?: Raises:| [A-Z]|$)", text) for text in texts]
    return list(dict.fromkeys(match[1] for match in found if match))


def _as_meant(argument: str) -> str:
    """`--num-envs=4` as `--num_envs=4`; anything but a flag as it is."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument[2:].partition("=")
    return "--" + flag.replace("-", "_") + equals + home_expanded(value)


def home_expanded(value: str) -> str:
    """A path that begins with ~ as a shell would have it, which leaves `--flag=~/path` alone."""
    try:
        return str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:  # nobody's home
        return value


def _add_argument(parser: argparse._ActionsContainer, leaf: Leaf) -> None:
    field = leaf.field
    names = (f"--{leaf.flag}", *field.metadata["aliases"])
    text = field.metadata["help"].replace("%", "%%") + _needed(field.metadata["needs"])
    if field.type is bool:
        on = bool(field.default)
        text += " (the default)" if on else ""
        parser.add_argument(*names, dest=leaf.flag, action="store_true", default=on, help=text)
        if on:
            off = f"--no_{leaf.flag}"
            parser.add_argument(
                off, dest=leaf.flag, action="store_false", help=f"not --{leaf.flag}"
            )
        return
    # () stands for "not given", so nothing is shown of it either
    if not leaf.required and field.default not in (None, "", ()):
        shown = field.default if isinstance(field.default, tuple) else (field.default,)
        text += f" (default: {' '.join(map(str, shown))})"
    # of `float | None` and `tuple[int, ...]` the first is the type of a value
    value_type = (typing.get_args(field.type) or (field.type,))[0]
    choices = field.metadata["choices"]
    many = typing.get_origin(field.type) is tuple
    nargs = "+" if leaf.required or not field.metadata["positional"] else "*"
    options: dict[str, Any] = {
        "type": field.metadata["parse"] or value_type,
        "nargs": nargs if many else None,
        "choices": choices or None,
        "help": text,
    }
    if choices:
        options["metavar"] = "{" + ",".join(choices) + "}"
    if field.metadata["positional"]:
        parser.add_argument(leaf.flag, **{**options, "metavar": leaf.flag.upper()})
    else:
        default = None if leaf.required else field.default
        parser.add_argument(
            *names, dest=leaf.flag, default=default, required=leaf.required, **options
        )


def _needed(words: Sequence[str]) -> str:
    """What `--help` says of what a flag needs."""
    if not words:
        return ""
    if words[0] == "not":
        return f"; not with --{words[1]}"
    flag, *enough = words
    return "; with " + " or ".join(f"--{flag} {value}".strip() for value in enough or [""])


def flag_of(settings: Any, name: str) -> str:
    """The flag of a field, for sentences about it."""
    fields = {field.name: field for field in dataclasses.fields(settings)}
    return f"--{fields[name].metadata.get('flag') or name}"


def require_finite(settings: Any, *names: str) -> None:
    """Refuses settings that are NaN or infinite; None stands for "not set".

    Raises:
        ValueError: names the flag and prints its value.
    """
    fields = {field.name: field for field in dataclasses.fields(settings)}
    for name in names:
        _require_finite(fields[name], getattr(settings, name))


def _require_finite(field: dataclasses.Field, value: Any) -> None:
    """The same of one field, whose value need not be a number."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            flag = field.metadata.get("flag") or field.name
            raise ValueError(f"--{flag} must be a finite number, not {number}")


def require_above_zero(settings: object, *names: str) -> None:
    """Refuses settings that are not above 0, or not finite; None stands for "not set".

    Raises:
        ValueError: names the flag and prints its value.
    """
    for name in names:
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if not all(number is None or 0 < number < float("inf") for number in values):
            shown = " ".join(map(str, values))
            raise ValueError(f"{flag_of(settings, name)} must be above 0, not {shown}")


def require_between(settings: object, low: float, high: float, *names: str) -> None:
    """Refuses settings outside of [low, high], and what is not finite also where `high` is not.

    Raises:
        ValueError: names the flag and prints its value.
    """
    require_finite(settings, *names)
    for name in names:
        value = getattr(settings, name)
        if not low <= value <= high:
            within = f"between {low:g} and {high:g}" if high < math.inf else f"at least {low:g}"
            raise ValueError(f"{flag_of(settings, name)} must be {within}, not {value}")


def require_seed(seed: int) -> None:
    """Refuses a seed that not every generator takes.

    Raises:
        ValueError: it is negative, or has more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be at least 0 and below 2**32, not {seed}")
