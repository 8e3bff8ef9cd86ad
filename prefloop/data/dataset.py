"""The preference dataset: a folder that any language can read and no kill can halve.

    metadata.json      schema, environment, sizes, where the labels come from, versions
    segments.npz       obs, actions, mask, rewards, policy, first_step; each segment once
    preferences.jsonl  one line a query: {"first": 3, "second": 8, "label": 1.0, ...}

Segments are written before the queries that name them, and a last line that a kill has cut short
is dropped, so whatever is read is whole.
"""

import contextlib
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments, concatenate
from prefloop.env_ids import without_module
from prefloop.errors import UserError
from prefloop.files import claimed_directory, read_json, write_atomically, write_json

SCHEMA = 1
METADATA, SEGMENTS, PREFERENCES = "metadata.json", "segments.npz", "preferences.jsonl"
MAX_BYTES = 4 * 2**30  # of segments, unpacked: more would not fit into the memory of most machines


def exists(path: Path) -> bool:
    """Whether a preference dataset stands in this folder."""
    return (path / METADATA).is_file()


def is_empty(path: Path) -> bool:
    """Whether no segment and no preference stands in this folder, be it a dataset or not."""
    return not any((path / name).exists() for name in (SEGMENTS, PREFERENCES))


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
        if exists(path):
            known = read_metadata(path)
            if without_module(known.get("env")) != without_module(metadata["env"]):
                raise UserError(
                    f"{path} holds preferences for {known.get('env')}, not {metadata['env']}."
                )
        else:
            write_json(path / METADATA, {"schema": SCHEMA, **metadata})
        yield Writer(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """What a dataset says of itself.

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
    segments = _read_segments(path / SEGMENTS)
    try:
        return Preferences(segments, first, second, labels)
    except ValueError as error:
        raise UserError(f"{path / PREFERENCES} is damaged: {error}.") from None


class Writer:
    """Adds to a dataset that this process has claimed; made by `writing`.

    Attributes:
        preferences: all that the dataset holds; None while it holds none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.preferences: Preferences | None = None
        for left in path.glob(f".{SEGMENTS}.*.tmp"):
            left.unlink(missing_ok=True)  # by a process that was killed: this one has the claim
        # lines without segments are damage, which `read` tells, not an empty dataset
        if not is_empty(path):
            _end_last_line(path / PREFERENCES)
            self.preferences = read(path)

    def append(self, new: Preferences, **facts: Any) -> None:
        """Adds preferences; segments that the dataset holds already are not stored again.

        Once this returns, they are on disk.

        Args:
            facts: what else each line is to say, for instance `teacher="oracle"`.

        Raises:
            UserError: the segments are of another kind or hold NaN, or the disk refuses; the
                dataset is as it was.
        """
        used = np.unique(np.concatenate([new.first, new.second]))
        segments, position = self._with_segments(new.segments[used])
        place = np.zeros(len(new.segments), dtype=np.int64)
        place[used] = position
        lines = [
            json.dumps(
                {
                    "first": int(place[first]),
                    "second": int(place[second]),
                    "label": None if np.isnan(label) else float(label),
                    **facts,
                }
            )
            for first, second, label in zip(new.first, new.second, new.labels, strict=True)
        ]
        _write_segments(self._path / SEGMENTS, segments)
        _append_lines(self._path / PREFERENCES, lines)
        old = self.preferences
        joined = [place[new.first], place[new.second], new.labels]
        if old is not None:
            before = (old.first, old.second, old.labels)
            joined = [np.concatenate(pair) for pair in zip(before, joined, strict=True)]
        self.preferences = Preferences(segments, *joined)

    def _with_segments(self, new: Segments) -> tuple[Segments, NDArray]:
        """All segments, old ones first, and where each new one stands among them."""
        for name in ("obs", "actions", "rewards"):
            if not np.isfinite(getattr(new, name)).all():
                raise UserError(f"Segments with NaN or infinite {name} are not stored.")
        known = self.preferences.segments if self.preferences is not None else new[:0]
        places = {key: i for i, key in enumerate(_fingerprints(known))}
        fresh: list[int] = []
        position = np.zeros(len(new), dtype=np.int64)
        for i, key in enumerate(_fingerprints(new)):
            if key not in places:
                places[key] = len(known) + len(fresh)
                fresh.append(i)
            position[i] = places[key]
        try:
            return concatenate([known, new[np.array(fresh, dtype=np.int64)]]), position
        except ValueError as error:
            raise UserError(f"{self._path} holds other segments: {error}.") from None


def _fingerprints(segments: Segments) -> list[bytes]:
    """What makes a segment the same as another, whatever it is padded to."""
    return [
        b"".join(
            np.ascontiguousarray(array[i, :length]).tobytes()
            for array in (segments.obs, segments.actions, segments.rewards)
        )
        for i, length in enumerate(segments.lengths)
    ]


def _write_segments(path: Path, segments: Segments) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{f.name: getattr(segments, f.name) for f in fields(Segments)})
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


def _read_segments(path: Path) -> Segments:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise UserError(f"{path} is too large ({size / 2**30:.0f} GiB unpacked).")
        with np.load(path, allow_pickle=False) as archive:
            segments = Segments(**{f.name: archive[f.name] for f in fields(Segments)})
    except FileNotFoundError:
        raise UserError(f"{path.parent} holds no segments yet.") from None
    except KeyError as error:
        raise UserError(
            f"{path} is damaged: it holds no array {error.args[0].split()[0]}."
        ) from None
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror or error}.") from None
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is damaged: {reason.rstrip('.')}.") from None
    for name in ("obs", "actions", "rewards"):
        if not np.isfinite(getattr(segments, name)).all():
            raise UserError(f"{path} is damaged: its {name} are NaN or infinite.")
    return segments


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
