"""Command lines from dataclasses: what can be set is said once, with its default and its help."""

import argparse
import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def setting(default: Any, help: str, *aliases: str) -> Any:
    """A field of a settings dataclass that is also the flag `--name`.

    Args:
        default: its value when the flag is not given; `dataclasses.MISSING` makes it required.
        help: what `--help` says of it, with its unit.
        aliases: other names of the flag, dashes included.
    """
    return dataclasses.field(default=default, metadata={"help": help, "aliases": aliases})


def parse_settings(
    settings_class: type[T], arguments: Sequence[str] | None = None, **texts: str
) -> T:
    """Reads the command line into a settings dataclass whose fields are made by `setting`.

    A field's type decides how its flag is read: `bool` is a switch, `tuple[int, ...]` takes one
    value or more, everything else takes one.

    Args:
        arguments: instead of the command line.
        texts: `description` and `epilog` of `--help`.

    Raises:
        SystemExit: 0 after `--help`; 2 after a wrong flag, or a value that the dataclass refused
            with a ValueError, whose text is printed.
    """
    parser = argparse.ArgumentParser(**texts)  # type: ignore[arg-type]
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        names = (f"--{field.name}", *field.metadata["aliases"])
        text = field.metadata["help"].replace("%", "%%")
        if field.type is bool:
            parser.add_argument(*names, dest=field.name, action="store_true", help=text)
            continue
        required = field.default is dataclasses.MISSING
        if not required and field.default not in (None, ""):
            shown = field.default if isinstance(field.default, tuple) else (field.default,)
            text += f" (default: {' '.join(map(str, shown))})"
        # of `float | None` and `tuple[int, ...]` the first is the type of a value
        value_type = (typing.get_args(field.type) or (field.type,))[0]
        parser.add_argument(
            *names,
            dest=field.name,
            type=value_type,
            nargs="+" if typing.get_origin(field.type) is tuple else None,
            default=None if required else field.default,
            required=required,
            help=text,
        )
    values = vars(parser.parse_args(arguments))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return settings_class(**values)
    except ValueError as error:
        parser.error(str(error))


def require_above_zero(settings: object, *names: str) -> None:
    """Refuses settings that are not above 0, or not finite.

    Raises:
        ValueError: names the flag and prints its value.
    """
    for name in names:
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if not all(0 < number < float("inf") for number in values):
            shown = " ".join(map(str, values))
            raise ValueError(f"--{name} must be above 0, not {shown}")


def require_seed(seed: int) -> None:
    """Refuses a seed that not every generator takes.

    Raises:
        ValueError: it is negative, or has more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be at least 0 and below 2**32, not {seed}")
