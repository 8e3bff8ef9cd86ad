"""YAML files that people write: what is wrong in them is said with its line.

PyYAML is imported when a file is read, not before, so that `--help` is quick and needs no package.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefloop.errors import UserError

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 100_000  # what a person writes by hand is smaller
Place = tuple[str | int, ...]  # the keys and numbers that lead to a value


@dataclass(frozen=True)
class Entry:
    """Value behind a key.

    Attributes:
        where: the file and the line, as sentences begin.
        node: the value, as PyYAML composes it.
    """

    where: str
    node: "yaml.Node"


def read_values(path: Path) -> tuple[dict[str, Any], dict[Place, str]]:
    """Values of a file, and where each of them stands.

    Returns:
        The file's mapping; and by the keys and numbers that lead to a value, the file and its line, as
        sentences begin.

    Raises:
        UserError: it can't be read, is no YAML or no mapping, or a key stands in it twice.
    """
    import yaml

    root = _composed(path)
    if root is None:
        return {}, {}
    lines: dict[Place, str] = {}

    def look(entry: Entry, place: Place) -> None:
        lines[place] = entry.where
        if isinstance(entry.node, yaml.MappingNode):
            for name, inner in entries_of(entry, path).items():
                look(inner, (*place, name))
        elif isinstance(entry.node, yaml.SequenceNode):
            for i, node in enumerate(entry.node.value):
                look(Entry(f"{path}, line {node.start_mark.line + 1}", node), (*place, i))

    top = Entry(f"{path}, line 1", root)
    entries_of(top, path)  # that it is a mapping
    try:
        look(top, ())
        return yaml.SafeLoader("").construct_document(root), lines
    except RecursionError:  # of an alias that stands in what it stands for
        raise UserError(f"{path} is nested too deeply to be settings.") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: {getattr(error, 'problem', None) or error}.") from None


def read_entries(path: Path) -> dict[str, Entry]:
    """The keys of a file in their order; none of an empty one.

    Raises:
        UserError: it can't be read, is no YAML or no mapping, or a key stands in it twice.
    """
    root = _composed(path)
    return {} if root is None else entries_of(Entry(f"{path}, line 1", root), path)


def _composed(path: Path) -> "yaml.Node | None":
    """The file as PyYAML composes it; None of an empty one."""
    import yaml

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is too large to be settings.")
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8.") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply to be settings.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or "it is no YAML"
        raise UserError(f"{where}: {reason}.") from None


def entries_of(entry: Entry, path: Path) -> dict[str, Entry]:
    """The keys of a mapping inside of a file.

    Raises:
        UserError: it is no mapping, or a key stands in it twice.
    """
    import yaml

    if not isinstance(entry.node, yaml.MappingNode):
        raise UserError(f"{entry.where}: `key: value` lines are needed.")
    entries: dict[str, Entry] = {}
    for key, value in entry.node.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name in entries:
            raise UserError(f"{where}: {name} stands here for the second time.")
        entries[name] = Entry(where, value)
    return entries


def value_of(node: "yaml.Node") -> Any:
    """What Python makes of a value; its text where that is tagged as what it is not, or no such day."""
    import yaml

    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (ValueError, AttributeError, KeyError, yaml.YAMLError):
        return node.value
