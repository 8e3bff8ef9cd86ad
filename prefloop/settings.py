"""Command lines from dataclasses: what can be set is said once, with its default and its help."""

import argparse
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefloop.startup import print_anything

T = TypeVar("T")


def setting(
    default: Any,
    help: str,
    *aliases: str,
    choices: Sequence[str] = (),
    parse: Callable[[str], Any] | None = None,
    positional: bool = False,
) -> Any:
    """A field of a settings dataclass that is also the flag `--name`.

    Args:
        default: its value when the flag is not given; `dataclasses.MISSING` makes it required.
        help: what `--help` says of it, with its unit.
        aliases: other names of the flag, dashes included.
        choices: the words it takes; any if empty.
        parse: reads a value from its text, in place of the field's type; may raise ValueError.
        positional: given without a flag's name.
    """
    extras = {"choices": tuple(choices), "parse": parse, "positional": positional}
    return dataclasses.field(default=default, metadata={"help": help, "aliases": aliases, **extras})


def parse_settings(
    settings_class: type[T], arguments: Sequence[str] | None = None, **texts: str
) -> T:
    """Reads the command line into a settings dataclass whose fields are made by `setting`.

    A field's type decides how its flag is read: `bool` is a switch (with a `--no_` where it is on by default), `tuple[int, ...]` takes one
    value or more, everything else takes one. `--num_envs` is also `--num-envs`. A class among the
    bases that has a `group` gets a heading of that name over its flags, and the `Source:` of its
    docstring is shown below them.

    Args:
        arguments: instead of the command line.
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
    order = settings_class.__mro__  # a command's own flags first, then those of its parts in turn
    fields = dataclasses.fields(settings_class)  # type: ignore[arg-type]
    for field in sorted(fields, key=lambda field: order.index(_declaring(order, field.name))):
        title = vars(_declaring(order, field.name)).get("group", "")
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_argument(groups[title], field)
    parser.usage = _usage(fields)
    values = vars(parser.parse_args(command_line(arguments)))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return settings_class(**values)
    except ValueError as error:
        parser.error(str(error))


def command_line(arguments: Sequence[str] | None = None) -> list[str]:
    """Arguments, those of the program if none are given, as argparse is to read them.

    Flags may have hyphens, and `--flag=~/path` is one at home.
    """
    return [_as_meant(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]


def _declaring(classes: Sequence[type], name: str) -> type:
    """The first of these classes that declares a field of this name."""
    return next(c for c in classes if name in inspect.get_annotations(c))


def _usage(fields: Sequence[dataclasses.Field]) -> str:
    """What must be given; the rest would fill the screen, and stands below."""
    required = [field for field in fields if field.default is dataclasses.MISSING]
    words = ["%(prog)s"]
    for field in sorted(required, key=lambda field: not field.metadata["positional"]):
        many = " ..." if typing.get_origin(field.type) is tuple else ""
        flag = "" if field.metadata["positional"] else f"--{field.name} "
        words.append(f"{flag}{field.name.upper()}{many}")
    return " ".join([*words, "[--flags]"])


def _sources(settings_class: type) -> list[str]:
    """What the docstrings of a class and its bases name as sources."""
    texts = [" ".join((vars(c).get("__doc__") or "").split()) for c in settings_class.__mro__]
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


def _add_argument(parser: argparse._ActionsContainer, field: dataclasses.Field) -> None:
    names = (f"--{field.name}", *field.metadata["aliases"])
    text = field.metadata["help"].replace("%", "%%")
    if field.type is bool:
        on = bool(field.default)
        text += " (the default)" if on else ""
        parser.add_argument(*names, dest=field.name, action="store_true", default=on, help=text)
        if on:
            off = f"--no_{field.name}"
            parser.add_argument(
                off, dest=field.name, action="store_false", help=f"not --{field.name}"
            )
        return
    required = field.default is dataclasses.MISSING
    # () stands for "not given", so nothing is shown of it either
    if not required and field.default not in (None, "", ()):
        shown = field.default if isinstance(field.default, tuple) else (field.default,)
        text += f" (default: {' '.join(map(str, shown))})"
    # of `float | None` and `tuple[int, ...]` the first is the type of a value
    value_type = (typing.get_args(field.type) or (field.type,))[0]
    choices = field.metadata["choices"]
    many = typing.get_origin(field.type) is tuple
    options: dict[str, Any] = {
        "type": field.metadata["parse"] or value_type,
        "nargs": ("+" if required or not field.metadata["positional"] else "*") if many else None,
        "choices": choices or None,
        "help": text,
    }
    if choices:
        options["metavar"] = "{" + ",".join(choices) + "}"
    if field.metadata["positional"]:
        parser.add_argument(field.name, **{**options, "metavar": field.name.upper()})
    else:
        default = None if required else field.default
        parser.add_argument(*names, dest=field.name, default=default, required=required, **options)


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
            raise ValueError(f"--{name} must be above 0, not {shown}")


def require_between(settings: object, low: float, high: float, *names: str) -> None:
    """Refuses settings outside of [low, high].

    Raises:
        ValueError: names the flag and prints its value.
    """
    for name in names:
        value = getattr(settings, name)
        if not low <= value <= high:
            raise ValueError(f"--{name} must be between {low:g} and {high:g}, not {value}")


def require_seed(seed: int) -> None:
    """Refuses a seed that not every generator takes.

    Raises:
        ValueError: it is negative, or has more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be at least 0 and below 2**32, not {seed}")
