"""Preferences as a Parquet file, which pandas, Polars and DuckDB read.

Needs pyarrow, which nothing else here needs: pip install 'prefloop[data]'.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.dataset import MAX_BYTES, require_known_schema
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments
from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.startup import import_optional

KEY = b"prefloop"  # of the schema's metadata: what the dataset says of itself, as JSON
SIDES = ("first", "second")


def write_parquet(path: Path, preferences: Preferences, metadata: Mapping[str, Any]) -> None:
    """Writes preferences as one Parquet file with a row for each query.

    Columns: `label` (null where the query was skipped), and `first` and `second`, each a struct of
    `obs` [length, obs_dim], `actions` [length] or [length, action_dim], `rewards` [length],
    `policy` and `first_step`; without padding, so that a segment's lists are as long as it is.

    Args:
        metadata: what the dataset says of itself, as `prefloop.data.dataset.read_metadata` gives
            it; kept as JSON under the key `prefloop` of the file's metadata.

    Raises:
        UserError: pyarrow is missing, observations are no vectors in float32, or the file can't be
            written.
    """
    require_vectors(preferences.segments)
    pa, parquet = import_optional("Writing Parquet", "data", "pyarrow", "pyarrow.parquet")
    segments = preferences.segments
    action_dim = None if segments.discrete else segments.actions.shape[2]
    side_type = _side_type(pa, segments.obs.shape[2], action_dim)

    def side(index: NDArray) -> Any:
        mask, lengths = segments.mask[index], segments.lengths[index]
        columns = []
        for field in side_type:
            array = getattr(segments, field.name)[index]
            if pa.types.is_list(field.type):
                array = _lists(pa, array[mask], lengths, field.type)
            columns.append(pa.array(array))
        return pa.StructArray.from_arrays(columns, fields=list(side_type))

    columns = [
        pa.array(preferences.labels, mask=np.isnan(preferences.labels)),
        side(preferences.first),
        side(preferences.second),
    ]
    schema = _schema(pa, side_type).with_metadata({KEY: json.dumps(dict(metadata))})
    buffer = io.BytesIO()
    # checksums: a damaged page is to be an error, not a wrong number
    parquet.write_table(
        pa.table(columns, schema=schema), buffer, compression="zstd", write_page_checksum=True
    )
    write_atomically(path, buffer.getvalue())


def require_vectors(segments: Segments) -> None:
    """To be called before anything is written.

    Raises:
        UserError: observations are no vectors in float32, which the columns are for.
    """
    shape, dtype = segments.obs.shape[2:], segments.obs.dtype
    if len(shape) != 1 or dtype != np.float32:
        raise UserError(
            "Parquet holds observations that are vectors in float32, and these are "
            f"{' x '.join(map(str, shape))} numbers in {dtype}; the dataset's folder, which docs/data_format.md "
            "describes, holds them all."
        )


def read_parquet(path: Path) -> tuple[Preferences, dict[str, Any]]:
    """Reads what `write_parquet` wrote; each segment stands in the result once.

    Returns:
        The preferences, and what the dataset they were in says of itself.

    Raises:
        UserError: pyarrow is missing; there is no such file, or it is damaged, something else, or
            of a newer schema.
    """
    pa, parquet = import_optional("Reading Parquet", "data", "pyarrow", "pyarrow.parquet")
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            metadata = _metadata(schema, path)
            if not schema.equals(_schema(pa, _own_side_type(pa, schema))):
                raise UserError(f"{path} has other columns than preferences have.")
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(i).total_byte_size for i in groups)
            if size > MAX_BYTES:
                raise UserError(f"{path} is too large ({size / 2**30:.0f} GiB unpacked).")
            table = file.read()
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"Can't read {path} as Parquet: {reason}.") from None
    try:
        segments = _segments([table[side].combine_chunks() for side in SIDES])
        labels = table["label"].combine_chunks()
        if np.isnan(labels.drop_null().to_numpy()).any():
            raise ValueError("a label is NaN; a skipped query has none")
        once, position = _distinct(segments)
        first, second = np.split(position, 2)
        answers = labels.to_numpy(zero_copy_only=False).astype(np.float64)
        return Preferences(segments[once], first, second, answers), metadata
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}.") from None


def _side_type(pa: ModuleType, obs_dim: int, action_dim: int | None) -> Any:
    """Arrow type of a segment in a row; `action_dim` is None where actions are discrete."""

    def required(name: str, kind: Any) -> Any:
        return pa.field(name, kind, nullable=False)

    def steps_of(kind: Any, size: int | None = None) -> Any:
        if size is not None:
            kind = pa.list_(required("element", kind), size)
        return pa.list_(required("element", kind))

    actions = steps_of(pa.int64()) if action_dim is None else steps_of(pa.float32(), action_dim)
    return pa.struct(
        [
            required("obs", steps_of(pa.float32(), obs_dim)),
            required("actions", actions),
            required("rewards", steps_of(pa.float32())),
            required("policy", pa.int64()),
            required("first_step", pa.int64()),
        ]
    )


def _schema(pa: ModuleType, side_type: Any) -> Any:
    sides = [pa.field(side, side_type, nullable=False) for side in SIDES]
    return pa.schema([pa.field("label", pa.float64()), *sides])


def _own_side_type(pa: ModuleType, schema: Any) -> Any:
    """Arrow type of a file's segments if it holds preferences, in the sizes that it has."""

    def size(name: str) -> int | None:
        try:
            kind = schema.field("first").type.field(name).type.value_type
        except (KeyError, AttributeError):
            return None
        return kind.list_size if pa.types.is_fixed_size_list(kind) else None

    return _side_type(pa, size("obs") or 1, size("actions"))


def _metadata(schema: Any, path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads((schema.metadata or {})[KEY])
    except (KeyError, ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise UserError(
            f"{path} holds no preferences that prefloop wrote: it does not say of what."
        )
    require_known_schema(metadata, path)
    return metadata


def _lists(pa: ModuleType, steps: NDArray, lengths: NDArray, kind: Any) -> Any:
    """Steps of one segment after the other as a list for each segment."""
    values = pa.array(steps.reshape(-1))
    if steps.ndim == 2:
        values = pa.FixedSizeListArray.from_arrays(values, type=kind.value_type)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=kind)


def _segments(sides: list[Any]) -> Segments:
    """All segments of the first column of structs, then all of the second, padded.

    Raises:
        ValueError: an array does not fit the others, or holds NaN.
    """
    mask = None
    arrays: Any = {}
    for name in ("obs", "actions", "rewards", "policy", "first_step"):
        columns = [side.field(name) for side in sides]
        if name in ("policy", "first_step"):
            arrays[name] = np.concatenate([column.to_numpy() for column in columns])
            continue
        lengths = np.concatenate([np.diff(column.offsets.to_numpy()) for column in columns])
        steps = np.concatenate([_flat(column) for column in columns])
        if not np.isfinite(steps).all():
            raise ValueError(f"its {name} are NaN or infinite")
        own_mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        mask = own_mask if mask is None else mask
        if not np.array_equal(mask, own_mask):
            raise ValueError(f"a segment has other numbers of obs than of {name}")
        arrays[name] = np.zeros((*mask.shape, *steps.shape[1:]), dtype=steps.dtype)
        arrays[name][mask] = steps
    assert mask is not None
    return Segments(mask=mask, **arrays)


def _flat(column: Any) -> NDArray:
    """The steps of a column of lists, one segment after the other."""
    steps = column.flatten()
    if not hasattr(steps.type, "list_size"):
        return steps.to_numpy()
    return steps.flatten().to_numpy().reshape(-1, steps.type.list_size)


def _distinct(segments: Segments) -> tuple[NDArray, NDArray]:
    """Which segments to keep so that each stands once, and where each then stands."""
    places: dict[tuple, int] = {}
    once: list[int] = []
    position = np.zeros(len(segments), dtype=np.int64)
    for i, length in enumerate(segments.lengths):
        steps = (segments.obs, segments.actions, segments.rewards)
        key = tuple(array[i, :length].tobytes() for array in steps)
        key += (segments.policy[i], segments.first_step[i])
        if key not in places:
            places[key] = len(once)
            once.append(i)
        position[i] = places[key]
    return np.array(once, dtype=np.int64), position
