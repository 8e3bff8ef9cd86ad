"""Command lines from settings: flags, `--help`, and what a line says of them."""

import argparse
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefloop.errors import UserError
from prefloop.settings import Leaf, assembled, leaves
from prefloop.startup import print_anything
from prefloop.words import perhaps

T = TypeVar("T")
NEGATIVE = r"(?i)-(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)"


def parse_settings(
    settings_class: type[T],
    arguments: Sequence[str] | None = None,
    defaults: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
    begun: Callable[[type, Mapping[str, Any]], Mapping[str, Any]] | None = None,
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
        begun: gives what a run that goes on began with, by flag, from the class and the settings as
            they would be without; also of flags that must be given otherwise.
        texts: `prog`, `description` and `epilog` of `--help`.

    Raises:
        SystemExit: 0 after `--help`; 2 after a wrong flag, or a value that the dataclass refused
            with a ValueError, whose text is printed.
    """
    sources = _sources(settings_class)
    if sources:
        texts["epilog"] = f"{texts.get('epilog', '')} Sources: {'; '.join(sources)}."
    print_anything()
    parser = _Parser(**texts)  # type: ignore[arg-type]
    groups: dict[str, Any] = {"": parser}
    settings = list(leaves(settings_class))
    required = []
    for leaf in settings:
        if leaf.group not in groups:
            groups[leaf.group] = parser.add_argument_group(leaf.group)
        action = _add_argument(groups[leaf.group], leaf)
        if action.required:
            required.append(action)
    parser.usage = _usage(settings)
    line = command_line(arguments)
    for action in required:  # until it is known whether the run that goes on has it
        action.required = False
    given = vars(parser.parse_args(line))
    if begun is not None:
        try:
            parser.set_defaults(**begun(settings_class, given))
        except UserError as error:
            parser.error(str(error))
    for action in required:
        action.required = action.default is None
    # what comes later on a command line wins
    values = vars(parser.parse_args([*(defaults(given) if defaults else ()), *line]))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        built = assembled(settings_class, {leaf.path: values[leaf.flag] for leaf in settings})
        if not values.get("resume"):  # what a run began with was accepted then
            require_needed(settings, _given(parser, line, values), values)
        return built
    except ValueError as error:
        parser.error(str(error))


class _Parser(argparse.ArgumentParser):
    """A parser that says which flag was meant, where there is none of that name."""

    # as argparse has it, a namespace of another class may be given
    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        parsed, rest = self.parse_known_args(args, namespace)
        unknown = next((word for word in rest if word.startswith("--")), "")
        if unknown:
            flag = unknown.partition("=")[0]
            self.error(f"there is no flag {flag}{perhaps(flag, self._option_string_actions, 1)}")
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed


def _classes(settings_class: type) -> Iterator[type]:
    """A settings class and those of its parts, each before its own."""
    yield settings_class
    for field in dataclasses.fields(settings_class):
        if "part" in field.metadata:
            yield from _classes(field.metadata["part"])


def _given(
    parser: argparse.ArgumentParser, line: Sequence[str], flags: Collection[str]
) -> set[str]:
    """Which flags stand on a command line, whether or not with their defaults."""
    nowhere = object()
    # argparse gives a default only to what is not there yet
    found = vars(parser.parse_args(line, argparse.Namespace(**dict.fromkeys(flags, nowhere))))
    return {flag for flag, value in found.items() if value is not nowhere}


def require_needed(
    settings: Sequence[Leaf], given: Collection[str], values: Mapping[str, Any]
) -> None:
    """Refuses what was given and does nothing, beside what else holds.

    Args:
        settings: all that there are.
        given: flags.
        values: of all settings, by flag.

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
        elif fields[flag].default is True:
            beside = f"with --no_{flag}"
        else:  # `--rune_beta 0` is there, and does nothing either
            beside = (
                f"with --{flag} {value}" if value == 0 and flag in given else f"without --{flag}"
            )
        off = "no_" if leaf.field.default is True and not values[leaf.flag] else ""
        raise ValueError(f"--{off}{leaf.flag} does nothing {beside}")


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
    """The line of flags that must be given; the rest would fill the screen, and stands below."""
    required = [leaf for leaf in settings if leaf.required]
    words = ["%(prog)s"]
    for leaf in sorted(required, key=lambda leaf: not leaf.field.metadata["positional"]):
        many = " ..." if typing.get_origin(leaf.field.type) is tuple else ""
        flag = "" if leaf.field.metadata["positional"] else f"--{leaf.flag} "
        words.append(f"{flag}{leaf.flag.upper()}{many}")
    return " ".join([*words, "[--flags]"])


def _sources(settings_class: type) -> list[str]:
    """What the docstrings of a class and of its parts name as sources."""
    texts = [" ".join((vars(c).get("__doc__") or "").split()) for c in _classes(settings_class)]
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


def _add_argument(parser: argparse._ActionsContainer, leaf: Leaf) -> argparse.Action:
    field = leaf.field
    names = (f"--{leaf.flag}", *field.metadata["aliases"])
    text = field.metadata["help"].replace("%", "%%") + _needed(field.metadata["needs"])
    if field.type is bool:
        on = bool(field.default)
        text += " (the default)" if on else ""
        switch = parser.add_argument(
            *names, dest=leaf.flag, action="store_true", default=on, help=text
        )
        # what is off may be on by settings that come with the program, and off again here
        against = f"not --{leaf.flag}" if on else argparse.SUPPRESS
        off = f"--no_{leaf.flag}"
        parser.add_argument(
            off, dest=leaf.flag, action="store_false", default=argparse.SUPPRESS, help=against
        )
        return switch
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
        if nargs == "*":  # or argparse asks for it
            options["default"] = field.default
        return parser.add_argument(leaf.flag, **{**options, "metavar": leaf.flag.upper()})
    default = None if leaf.required else field.default
    return parser.add_argument(
        *names, dest=leaf.flag, default=default, required=leaf.required, **options
    )


def _needed(words: Sequence[str]) -> str:
    """The end of a flag's help: which other flag it needs."""
    if not words:
        return ""
    if words[0] == "not":
        return f"; not with --{words[1]}"
    flag, *enough = words
    return "; with " + " or ".join(f"--{flag} {value}".strip() for value in enough or [""])
