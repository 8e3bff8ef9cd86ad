"""The preference dataset: a folder that any language can read and no kill can halve.

    metadata.json      schema, environment, where the labels come from, versions
    segments-0000.npz  obs, actions, mask, rewards, policy, first_step; each segment once; what comes
    segments-0001.npz  later stands in shards of its own, which are never written again
    preferences.jsonl  one line a query: {"first": 3, "second": 8, "label": 1.0, ...}

An export of the labelling server has more, which readers of preferences pass over: what shows
segments again, labels of repeats and clips (docs/data_format.md).

Segments are written before the queries that name them, and a last line that a kill has cut short
is dropped, so whatever is read is whole. Adding to a dataset costs what is added.
"""

import contextlib
import io
import json
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.frames import single_frames, stacked
from prefloop.data.preferences import Preferences
from prefloop.data.segments import COLUMNS, Segments, concatenate
from prefloop.env_ids import without_module
from prefloop.envs.settings import CHANGES
from prefloop.errors import UserError
from prefloop.files import claimed_directory, read_json, write_atomically, write_json

SCHEMA = 2
QUERY = ("first", "second", "label")  # what every line says
METADATA, PREFERENCES = "metadata.json", "preferences.jsonl"
REPEATS, CLIPS = "repeats.jsonl", "clips.jsonl"  # of an export, beside them
REPLAY = "replay_"  # how arrays are named that show segments again
FIRST_SHARD = "segments.npz"  # of datasets of schema 1, which had no others
MAX_BYTES = 4 * 2**30  # of a shard, unpacked: more would not fit into the memory of most machines
# of the observations of one that is written here: read, they are all unpacked at once
SHARD_BYTES = 2**27


def exists(path: Path) -> bool:
    """Whether a preference dataset stands in this folder."""
    return (path / METADATA).is_file()


def is_empty(path: Path) -> bool:
    """Whether no segment and no preference stands in this folder, be it a dataset or not."""
    return not shards(path) and not (path / PREFERENCES).exists()


def shards(path: Path) -> list[Path]:
    """Files of segments, in the order in which segments are counted."""
    numbered = ((re.fullmatch(r"segments-(\d+)\.npz", file.name), file) for file in path.glob("*"))
    later = sorted((int(name[1]), file) for name, file in numbered if name)
    first = path / FIRST_SHARD
    return [*([first] if first.exists() else []), *(file for _, file in later)]


@contextlib.contextmanager
def writing(path: Path, metadata: Mapping[str, Any]) -> Iterator["Writer"]:
    """Opens a dataset to add preferences to it, or makes one; one process at a time.

    Args:
        metadata: what the dataset is to say of itself; `env` must agree with what is there.

    Raises:
        UserError: the folder can't be written, holds something else, or holds preferences for
            another environment; another process is writing to it.
    """
    # a kill may have left the lock or a half-written metadata.json, under a name with a dot
    foreign = (p for p in path.glob("*") if not p.name.startswith("."))
    if path.is_dir() and not exists(path) and any(foreign):
        raise UserError(f"{path} holds something else than a preference dataset; choose another.")
    with claimed_directory(path):
        if exists(path) and not is_empty(path):
            known = read_metadata(path)
            if without_module(known.get("env")) != without_module(metadata["env"]):
                raise UserError(
                    f"{path} holds preferences for {known.get('env')}, not {metadata['env']}."
                )
            before, now = (said.get(CHANGES, {}) for said in (known, metadata))
            if before != now:
                raise UserError(
                    f"{path} holds preferences for {known['env']} with {before or 'no changes'}, not "
                    f"with {now or 'none'}."
                )
            if known["schema"] != SCHEMA:  # earlier versions would not see what is added
                write_json(path / METADATA, {**known, "schema": SCHEMA})
        else:  # a run that was refused before it asked anything leaves one without preferences
            write_json(path / METADATA, {"schema": SCHEMA, **metadata})
        yield Writer(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads a dataset's metadata.json.

    Raises:
        UserError: there is none, or it is of a newer schema.
    """
    if not path.exists():
        raise UserError(f"There is no preference dataset {path}.")
    if not exists(path):
        raise UserError(f"{path} holds no preference dataset: it has no {METADATA}.")
    metadata = read_json(path / METADATA)
    require_known_schema(metadata, path / METADATA)
    return metadata


def require_known_schema(metadata: Mapping[str, Any], path: Path) -> None:
    """Refuses what this version can't read; `path` is where the metadata stands.

    Raises:
        UserError: no schema is named, or a newer one.
    """
    schema = metadata.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise UserError(f"{path} names no schema; is it a preference dataset?")
    if schema > SCHEMA:
        raise UserError(
            f"{path} has schema {schema}, and this prefloop reads up to {SCHEMA}; install a newer one."
        )


def read(path: Path) -> Preferences:
    """Reads all preferences of a dataset, in the order in which they were added.

    Raises:
        UserError: there is no dataset, or it is damaged; says which file and what is wrong.
    """
    read_metadata(path)
    # a writer puts segments before the lines that name them, so a reader takes the lines first
    first, second, labels = _columns(_lines(path / PREFERENCES), path / PREFERENCES)
    segments = _read_all(path)
    try:
        return Preferences(segments, first, second, labels)
    except ValueError as error:
        raise UserError(f"{path / PREFERENCES} is damaged: {error}.") from None


def read_facts(path: Path) -> list[dict[str, Any]]:
    """Fields of each line besides segments and label (who answered, when …), in the order of `read`.

    Raises:
        UserError: the lines can't be read.
    """
    return _facts(_lines(path / PREFERENCES))


def read_answers(
    path: Path, file: str = PREFERENCES
) -> tuple[NDArray, NDArray, NDArray, list[dict[str, Any]]]:
    """First, second, label (NaN: skipped) and all else of each line of a file, in order.

    Raises:
        UserError: a line is damaged.
    """
    lines = _lines(path / file)
    first, second, labels = _columns(lines, path / file)
    return first, second, labels, _facts(lines)


def _facts(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Fields of each line besides segments and label."""
    entries = [json.loads(line) for line in lines]
    return [{k: v for k, v in line.items() if k not in QUERY} for line in entries]


def read_clips(path: Path) -> list[dict[str, Any]]:
    """Which segments have clips in the folder: of an export whose clips were sent; else empty.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return [dict(json.loads(line)) for line in _lines(path / CLIPS)]
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{path / CLIPS} is damaged: a line is no JSON object.") from None


def read_shards(path: Path) -> list[Segments]:
    """All segments in their order, file by file, with what shows them again as far as it is kept.

    Raises:
        UserError: as `read`.
    """
    read_metadata(path)
    return [_read_shard(file, with_replay=True) for file in shards(path)]


class Writer:
    """Adds to a dataset that this process has claimed; made by `writing`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[Segments] = []
        self._columns = _no_columns()
        self._joined: Preferences | None = None
        for left in path.glob(".segments*.tmp"):
            left.unlink(missing_ok=True)  # by a process that was killed: this one has the claim
        # lines without segments are damage, which `read` tells, not an empty dataset
        if not is_empty(path):
            _end_last_line(path / PREFERENCES)
            self._joined = read(path)
            self._parts = [self._joined.segments]
            self._columns = [self._joined.first, self._joined.second, self._joined.labels]
        prints = [part.identities for part in self._parts]
        self._places = {key: i for i, key in enumerate(key for some in prints for key in some)}

    def __len__(self) -> int:
        """How many preferences the dataset holds."""
        return len(self._columns[0])

    @property
    def preferences(self) -> Preferences | None:
        """All that the dataset holds; None while it holds none."""
        if self._joined is None and self._parts:
            self._parts = [concatenate(self._parts)]
            self._joined = Preferences(self._parts[0], *self._columns)
        return self._joined

    def store(self, new: Segments) -> NDArray:
        """Stores segments before any preference names them, with what shows them again.

        Returns:
            Where each stands among all segments; one that is there already is not stored again.

        Raises:
            UserError: as `append`.
        """
        return self._stored(new, with_replay=True)

    def append(self, new: Preferences, **facts: Any) -> None:
        """Adds preferences; segments that the dataset holds already are not stored again.

        Once this returns, they are on disk.

        Args:
            facts: what else each line is to say, for instance `teacher="oracle"`; a list has
                one entry for each of them.

        Raises:
            UserError: the segments are of another kind or hold NaN, or the disk refuses; the
                dataset is as it was.
        """
        if not len(new):
            return
        columns = self._columns_of(new)
        _append_lines(self._path / PREFERENCES, _as_lines(columns, facts))
        self._columns = [np.concatenate(pair) for pair in zip(self._columns, columns, strict=True)]
        self._joined = None

    def replace(self, new: Preferences, **facts: Any) -> None:
        """As `append`, but in the place of all preferences; segments stay."""
        columns = self._columns_of(new)
        lines = "".join(line + "\n" for line in _as_lines(columns, facts))
        write_atomically(self._path / PREFERENCES, lines.encode(), durable=True)
        self._columns, self._joined = columns, None

    def clear(self) -> None:
        """Takes all preferences out; segments stay."""
        write_atomically(self._path / PREFERENCES, b"", durable=True)
        self._columns, self._joined = _no_columns(), None

    def _columns_of(self, new: Preferences) -> list[NDArray]:
        """First and second among the dataset's segments, and labels; stores what is new of them."""
        used = np.unique(np.concatenate([new.first, new.second]))
        place = np.zeros(len(new.segments), dtype=np.int64)
        place[used] = self._stored(new.segments[used])
        return [place[new.first], place[new.second], new.labels]

    def _stored(self, new: Segments, with_replay: bool = False) -> NDArray:
        """Where each of these stands among all segments; those that do not are written in shards."""
        for name, finite in new.finite.items():
            if not finite:
                raise UserError(f"Segments with NaN or infinite {name} are not stored.")
        fresh: dict[bytes, int] = {}
        keys = new.identities
        for i, key in enumerate(keys):
            if key not in self._places:
                fresh.setdefault(key, i)
        if fresh:
            part = new[np.array(list(fresh.values()))]
            replay, part = part.replay if with_replay else {}, replace(part, replay={})
            if self._parts and part.kind != self._parts[0].kind:
                raise UserError(
                    f"{self._path} holds other segments: segments with different observations or "
                    "actions."
                )
            for some in _shards_of(part):
                rows = {name: array[some] for name, array in replay.items()}
                _write_shard(self._path / _next_shard(self._path), part[some], rows)
                # not as many as there are places: somebody's dataset may hold a segment twice
                stored = sum(map(len, self._parts))
                self._places |= {key: stored + i for i, key in enumerate(list(fresh)[some])}
                self._parts.append(part[some].packed)
        return np.array([self._places[key] for key in keys], dtype=np.int64)


def _no_columns() -> list[NDArray]:
    """First, second and label of no preference."""
    return [np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)]


def _as_lines(columns: Sequence[NDArray], facts: Mapping[str, Any]) -> list[str]:
    """Queries and labels as they stand in `preferences.jsonl`."""
    return [
        json.dumps(
            {
                "first": int(first),
                "second": int(second),
                "label": None if np.isnan(label) else float(label),
                **{k: v[i] if isinstance(v, list) else v for k, v in facts.items()},
            }
        )
        for i, (first, second, label) in enumerate(zip(*columns, strict=True))
    ]


def _next_shard(path: Path) -> str:
    numbers = [int(file.stem.partition("-")[2] or -1) for file in shards(path)]
    return f"segments-{max(numbers, default=-1) + 1:04}.npz"


def _shards_of(segments: Segments) -> Iterator[slice]:
    """Which segments go into one file."""
    one = single_frames(segments.obs, segments.frame_stack, slice(1))
    at_once = max(1, SHARD_BYTES // max(one.nbytes, 1))
    for start in range(0, len(segments), at_once):
        yield slice(start, start + at_once)


def _write_shard(path: Path, segments: Segments, replay: Mapping[str, NDArray]) -> None:
    arrays = (
        dict(replay)
        | {name: getattr(segments, name) for name in COLUMNS}
        | {"obs": segments.frames}
    )
    if segments.frame_stack > 1:
        arrays["frame_stack"] = np.array(segments.frame_stack)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue(), durable=True)


# what NumPy and zipfile raise on damaged files; AttributeError: a member is no array,
# RuntimeError: it claims to be encrypted or packed in an unknown way
_DAMAGE = (
    ValueError,
    AttributeError,
    EOFError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def _read_all(path: Path) -> Segments:
    files = shards(path)
    if not files:
        raise UserError(f"{path} holds no segments yet.")
    try:
        return concatenate([_read_shard(file) for file in files])
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}.") from None


def _read_shard(path: Path, with_replay: bool = False) -> Segments:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise UserError(f"{path} is too large ({size / 2**30:.0f} GiB unpacked).")
        with np.load(path, allow_pickle=False) as archive:
            stack = int(archive["frame_stack"]) if "frame_stack" in archive else 1
            columns = {name: archive[name] for name in COLUMNS}
            columns["obs"] = stacked(columns["obs"], stack)
            named = [name for name in archive.files if with_replay and name.startswith(REPLAY)]
            replay = {name: archive[name] for name in named}
            segments = Segments(**columns, frame_stack=stack, replay=replay)
    except KeyError as error:
        raise UserError(
            f"{path} is damaged: it holds no array {error.args[0].split()[0]}."
        ) from None
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror or error}.") from None
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is damaged: {reason.rstrip('.')}.") from None
    for name, array in replay.items():
        if not array.ndim or len(array) != len(segments):
            raise UserError(f"{path} is damaged: {name} needs one row for each segment.")
    for name, finite in segments.finite.items():
        if not finite:
            raise UserError(f"{path} is damaged: its {name} are NaN or infinite.")
    return segments.packed


def _append_lines(path: Path, lines: list[str]) -> None:
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write("".join(line + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            os.truncate(path, before)  # a half-written line is nobody's label
        raise UserError(f"Can't write {path}: {error.strerror}.") from None


def _end_last_line(path: Path) -> None:
    """Gives a last line its newline, or removes it where a kill has cut it short."""
    if not path.exists():
        return
    whole = b"".join(line + b"\n" for line in _lines(path))
    try:
        if len(whole) > path.stat().st_size:
            with path.open("ab") as file:
                file.write(b"\n")
        os.truncate(path, len(whole))
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None


def _lines(path: Path) -> list[bytes]:
    """All lines but one at the end that a kill has cut short; an editor's may lack its newline."""
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror}.") from None
    *lines, last = content.split(b"\n")
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(json.loads(last), dict):
            lines.append(last)
    return lines


def _columns(lines: list[bytes], path: Path) -> tuple[NDArray, NDArray, NDArray]:
    """First, second and label of each line."""
    rows = np.zeros((len(lines), 2), dtype=np.int64)
    labels = np.full(len(lines), np.nan)
    for i, line in enumerate(lines):
        try:
            entry = json.loads(line)
            first, second, label = entry["first"], entry["second"], entry["label"]
            kinds = (type(first), type(second))  # exactly: True is an int, but no position
            if kinds != (int, int) or type(label) not in (int, float, type(None)):
                raise TypeError
            rows[i] = first, second
            if label is not None:
                labels[i] = label
                if not 0 <= label <= 1:  # NaN is no label either
                    raise UserError(f"{path}, line {i + 1}: the label {label} is not in [0, 1].")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise UserError(
                f"{path}, line {i + 1} is damaged: it needs first, second and label."
            ) from None
    return rows[:, 0], rows[:, 1], labels
