"""labelling.yaml: what can be set of the page and the queue, and the file that says it."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.labelling.limits import MAX_AHEAD
from prefloop.yaml_files import read_entries, value_of

logger = logging.getLogger(__name__)


def _key(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    of_runs: bool = False,
) -> Any:
    """A key of the file, with what stands above it there and the range of its values.

    Args:
        of_runs: whether a run may have another value.
    """
    about = {"help": help, "low": low, "high": high, "of_runs": of_runs}
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class LabellingConfig:
    """What labelling.yaml says.

    Raises:
        ValueError: a value of another type or out of range; names the key and prints the value.
    """

    # fmt: off
    allow_ties: bool = _key(True, "whether annotators may say that both are equally good")
    allow_skip: bool = _key(True, "whether they may say that they can't tell")
    allow_trim: bool = _key(True, "whether they may narrow the part that is compared")
    settings_locked: bool = _key(False, "whether the page may not change this file")
    frames_per_second: float | None = _key(None, "frames per second of the clips; null: the environment's own", 1, 240, of_runs=True)
    playback_speed: float = _key(1.0, "speed that clips begin to play with; 1 is real time; slower where they would be over within a second", 0.1, 10, of_runs=True)
    rendered_queue_size: int = _key(10, "queries of each run whose clips are rendered ahead of need", 1, 1000, of_runs=True)
    pairs_ahead: int = _key(4, "queries that a page holds, with the one that is shown: nobody else gets them meanwhile", 1, MAX_AHEAD, of_runs=True)
    cache_size_mb: int = _key(2000, "megabytes of clips that are kept; those that were sent always are", 10, 10_000_000)
    sent_clips_mb: int = _key(5000, "megabytes that clips may take which were sent, by collectors or to be compared; more are refused", 1, 10_000_000)
    annotators_per_query: int = _key(1, "of new runs: how many people label each query", 1, 100)
    repeats: float = _key(0.0, "of new runs: share of queries that an annotator gets a second time", 0, 1)
    max_queries_per_annotator: int | None = _key(None, "labels that one annotator gives in a run; null: any number", 1, 1_000_000)
    lease_seconds: float = _key(300, "seconds after which a query that was shown but not answered goes to somebody else", 10, 86_400)
    # fmt: on

    def __post_init__(self) -> None:
        for key in fields(self):
            _require_valid(key, getattr(self, key.name))


KEYS = {key.name: key for key in fields(LabellingConfig)}
OF_RUNS = tuple(name for name, key in KEYS.items() if key.metadata["of_runs"])


def _require_valid(key: Any, value: Any) -> None:
    optional = key.default is None
    if value is None and optional:
        return
    if key.type is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{key.name} must be true or false, not {_shown(value)}")
        return
    whole = key.type in (int, int | None)
    kinds = (int,) if whole else (int, float)
    # exactly: True is an int, but no number
    if type(value) not in kinds:
        raise ValueError(
            f"{key.name} must be a {'whole ' if whole else ''}number{' or null' if optional else ''}, "
            f"not {_shown(value)}"
        )
    low, high = key.metadata["low"], key.metadata["high"]
    if not low <= value <= high:  # NaN neither
        raise ValueError(f"{key.name} must be between {low:g} and {high:g}, not {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else text[:50] + "..."


def read(path: Path) -> LabellingConfig:
    """Reads labelling.yaml; keys that are missing have their defaults.

    Raises:
        UserError: it can't be read, is no YAML, or holds an unknown key or a bad value; names the
            file and the line.
    """
    values: dict[str, Any] = {}
    for name, entry in read_entries(path).items():
        if name not in KEYS:
            raise UserError(
                f"{entry.where}: there is no setting {_shown(name)}; choose from {', '.join(KEYS)}."
            )
        values[name] = _value(entry.node)
        try:
            _require_valid(KEYS[name], values[name])
        except ValueError as error:
            raise UserError(f"{entry.where}: {error}.") from None
    return LabellingConfig(**values)


def _value(node: yaml.Node) -> Any:
    """A number, a word, true, false or null; anything else as its text, which no key accepts."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list or a mapping"
    return value_of(node)


def as_yaml(config: LabellingConfig) -> str:
    """The file that says `config`, with a comment above each key."""
    lines = ["# Settings of the labelling page; what they mean: docs/labelling.md, Settings.\n"]
    for key in fields(config):
        value = yaml.safe_dump(getattr(config, key.name)).partition("\n")[0]
        lines.append(f"# {key.metadata['help']}\n{key.name}: {value}\n")
    return "\n".join(lines)


class SettingsFile:
    """labelling.yaml and what it says now. Any number of threads may use it.

    Raises:
        UserError: as `read`; or the file is missing and can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at: tuple[int, ...] | None = None
        self._is_wrong = False  # what was read last
        if path.exists():
            self._current = read(path)
        else:
            # so that who looks for it finds it, with every key explained
            self._current = LabellingConfig()
            self._write(self._current)
        self._read_at = self._state()

    @property
    def current(self) -> LabellingConfig:
        """What the file says; while somebody has a mistake in it, what it said before."""
        if self._state() != self._read_at:
            with self._lock:
                try:
                    self._take_in()
                except UserError as error:
                    logger.warning("The settings stay as they were: %s", error)
        return self._current

    def change(self, changes: Mapping[str, Any]) -> LabellingConfig:
        """Changes some keys, in the file too.

        Raises:
            ValueError: a bad value; nothing is changed.
            UserError: the settings are locked, the file can't be written, or what somebody wrote
                into it meanwhile is wrong.
        """
        with self._lock:
            self._take_in()
            if self._current.settings_locked:
                raise UserError("The settings are locked; change them in the file.")
            if "settings_locked" in changes:
                raise ValueError("settings_locked can only be changed in the file")
            new = replace(self._current, **changes)
            self._write(new)
            self._current, self._read_at = new, self._state()
            return new

    def _take_in(self) -> None:
        """Reads what somebody has changed in the file; one that is gone says what it said before."""
        state = self._state()
        if state != self._read_at or self._is_wrong:
            self._read_at, self._is_wrong = state, state is not None
            if state is not None:
                self._current = read(self._path)
            self._is_wrong = False

    def _state(self) -> tuple[int, ...] | None:
        """What changes with every change of the file; None if there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _write(self, config: LabellingConfig) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Can't make {self._path.parent}: {error.strerror}.") from None
        write_atomically(self._path, as_yaml(config).encode())


def for_run(config: LabellingConfig, own: Mapping[str, Any]) -> LabellingConfig:
    """What holds for a run with settings of its own.

    Raises:
        ValueError: a bad value.
    """
    return replace(config, **own)


def described() -> list[dict[str, Any]]:
    """Every key with its default, range and help, for the settings page."""
    return [
        {
            "key": key.name,
            "default": None if key.default is MISSING else key.default,
            "help": key.metadata["help"],
            "low": key.metadata["low"],
            "high": key.metadata["high"],
        }
        for key in fields(LabellingConfig)
    ]


def as_dict(config: LabellingConfig) -> dict[str, Any]:
    """Every key with its value."""
    return asdict(config)
