"""What can be set, said once: fields of dataclasses that hold others, with a default and help.

`command_line.py` makes flags of them.
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 2**63  # what an array counts in


def setting(
    default: Any,
    help: str,
    *aliases: str,
    flag: str = "",
    choices: Sequence[str] = (),
    parse: Callable[[str], Any] | None = None,
    positional: bool = False,
    needs: str = "",
    usual: Any = None,
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
        usual: what a default of None comes to, mostly; files of earlier versions that do not name it meant that.
    """
    extras: dict[str, Any] = {"choices": tuple(choices), "parse": parse, "flag": flag}
    extras |= {"positional": positional, "needs": needs.split(), "usual": usual}
    return dataclasses.field(default=default, metadata={"help": help, "aliases": aliases, **extras})


def part(settings_class: type, **instead: Any) -> Any:
    """A field of a settings dataclass that holds another one, whose flags stand beside its own.

    Args:
        settings_class: the other one.
        instead: settings of it that are another `setting` here, with another default or help; None: it
            has no flag here, and is what it is by default.
    """
    defaults = {
        name: field.default
        for name, field in instead.items()
        if field is not None and field.default is not dataclasses.MISSING
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
        instead: settings that stand in for its own, by their names, None for what has no flag.
    """
    fields = dataclasses.fields(settings_class)
    for field in sorted(fields, key=lambda field: "part" in field.metadata):
        place = (*path, field.name)
        if "part" in field.metadata:
            yield from leaves(field.metadata["part"], place, **field.metadata["instead"])
            continue
        leaf = instead.get(field.name, field)
        if leaf is None:
            continue
        leaf.name, leaf.type = field.name, field.type
        yield Leaf(place, leaf, getattr(settings_class, "group", ""))


def read_as(leaf: Leaf, value: Any) -> Any:
    """What a setting's flag makes of a value of a file, where 1e-3 may be a text, as YAML has it.

    Returns:
        Of the flag's type; a tuple where it takes several.

    Raises:
        ValueError: it would not take it.
    """
    kind = leaf.field.type
    if kind is bool or isinstance(value, bool):
        if kind is bool and isinstance(value, bool):
            return value
        raise ValueError
    many = typing.get_origin(kind) is tuple
    values: Sequence[Any] = value if many and isinstance(value, list) else [value]
    choices = leaf.field.metadata["choices"]
    parse = leaf.field.metadata["parse"] or (typing.get_args(kind) or (kind,))[0]
    if not values or any(
        not isinstance(x, str | int | float) or (choices and x not in choices) for x in values
    ):
        raise ValueError
    read = tuple(parse(str(x)) for x in values)
    return read if many else read[0]


def as_flat(settings: Any) -> dict[str, Any]:
    """All settings by the names of their flags, those of its parts included: what run.json holds."""
    return {
        leaf.flag: functools.reduce(getattr, leaf.path, settings) for leaf in leaves(type(settings))
    }


def as_set(value: Any) -> Any:
    """A value of YAML or JSON as settings have it, which have tuples where those have lists."""
    return tuple(value) if isinstance(value, list) else value


def as_listed(value: Any) -> Any:
    """The other way round."""
    return list(value) if isinstance(value, tuple) else value


def defaults_of(settings_class: type) -> dict[str, Any]:
    """Default of each flag; None where it must be given."""
    return {
        leaf.flag: None if leaf.required else leaf.field.default for leaf in leaves(settings_class)
    }


def meant_by_default(settings_class: type) -> dict[str, Any]:
    """Defaults as `defaults_of`, but in place of None what it mostly comes to: what files of earlier versions meant."""
    usual = {leaf.flag: leaf.field.metadata["usual"] for leaf in leaves(settings_class)}
    plain = defaults_of(settings_class).items()
    return {flag: usual[flag] if value is None else value for flag, value in plain}


def assembled(settings_class: type[T], values: Mapping[tuple[str, ...], Any]) -> T:
    """The whole of its leaves.

    Args:
        values: by the names that lead to each from the whole.

    Raises:
        ValueError: a value that the dataclass or a part of it refuses.
    """
    made = {}
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        if "part" in field.metadata:
            own = {path[1:]: value for path, value in values.items() if path[0] == field.name}
            made[field.name] = assembled(field.metadata["part"], own)
        elif (field.name,) in values:  # others have no flag
            made[field.name] = values[field.name,]
            _require_finite(field, made[field.name])
    return settings_class(**made)


def with_flags(settings: T, values: Mapping[str, Any]) -> T:
    """A copy of settings with other values for some flags, those of its parts included.

    Args:
        values: by flag; those that these settings do not have change nothing.

    Raises:
        ValueError: a value that the dataclass or a part of it refuses.
    """
    flat = as_flat(settings) | dict(values)
    kind = type(settings)
    return assembled(kind, {leaf.path: flat[leaf.flag] for leaf in leaves(kind)})


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
            assembled(field.metadata["part"], own)


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
    """Refuses a value of one field that is not finite; it need not be a number."""
    for number in value if isinstance(value, tuple) else (value,):
        flag = field.metadata.get("flag") or field.name
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"--{flag} must be a finite number, not {number}")
        if isinstance(number, int) and abs(number) >= MOST:
            raise ValueError(f"--{flag} must be below 2**63, not {number}")


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
