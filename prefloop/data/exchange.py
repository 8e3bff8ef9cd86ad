"""Preferences as a Parquet file, episodes as a Minari dataset: what other people's tools read.

Both need packages that nothing else here needs: pip install 'prefloop[data]'.
"""

import importlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.dataset import MAX_BYTES, require_known_schema
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments
from prefloop.data.trajectories import Trajectories
from prefloop.errors import UserError
from prefloop.files import write_atomically

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
        UserError: pyarrow is missing, or the file can't be written.
    """
    pa, parquet = _optional("Writing Parquet", "pyarrow", "pyarrow.parquet")
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


def read_parquet(path: Path) -> tuple[Preferences, dict[str, Any]]:
    """Reads what `write_parquet` wrote; each segment stands in the result once.

    Returns:
        The preferences, and what the dataset they were in says of itself.

    Raises:
        UserError: pyarrow is missing; there is no such file, or it is damaged, something else, or
            of a newer schema.
    """
    pa, parquet = _optional("Reading Parquet", "pyarrow", "pyarrow.parquet")
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


def write_minari(trajectories: Trajectories, dataset_id: str, env_id: str) -> Path:
    """Writes episodes as a new Minari dataset, where Minari keeps its local ones.

    That is `MINARI_DATASETS_PATH`, or ~/.minari/datasets if it is not set. The dataset appears when
    it is whole; one that is there already is never touched.

    Args:
        dataset_id: its name and version, for instance cartpole/weak-v0.
        env_id: the environment that was acted in.

    Returns:
        The dataset's folder.

    Raises:
        UserError: Minari or h5py is missing; the id is none or is taken; the episodes are not of
            this environment; the disk refuses.
        ValueError: within an episode, a step does not begin where the one before it led.
    """
    from prefloop.envs import make_env, step_sizes

    minari, _ = _optional("Writing a Minari dataset", "minari", "h5py")
    namespace, path = _minari_path(minari, dataset_id)
    env = make_env(env_id)
    obs_dim, action_dim, discrete = step_sizes(env)
    action_shape = () if discrete else (action_dim,)
    if trajectories.obs.shape[1:] != (obs_dim,) or trajectories.actions.shape[1:] != action_shape:
        raise UserError(f"These episodes are not of {env_id}: their steps have other sizes.")
    episode_buffer = minari.data_collector.EpisodeBuffer
    episodes = [episode_buffer(**episode) for episode in _minari_episodes(trajectories)]
    taken = UserError(
        f"There is a Minari dataset {dataset_id} already, in {path}; choose another id."
    )
    try:
        if path.exists():
            raise taken
        if namespace is not None and namespace not in minari.namespace.list_local_namespaces():
            minari.namespace.create_namespace(namespace)
        # under a name that Minari does not list, and renamed once whole
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            whole = Path(folder) / path.name
            whole.mkdir()
            storage = minari.dataset.minari_storage.MinariStorage.new(
                whole / "data",
                observation_space=env.observation_space,
                action_space=env.action_space,
                env_spec=env.spec,
            )
            about = {
                "dataset_id": dataset_id,
                "minari_version": minari.__version__,
                "algorithm_name": "prefloop",
                "description": f"{len(episodes)} episodes of {env_id}",
            }
            storage.update_metadata(about)
            storage.update_episodes(episodes)
            if path.exists():  # since we looked
                raise taken
            whole.rename(path)
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror or error}.") from None
    finally:
        env.close()
    return path


def read_minari(dataset_id: str, env_id: str | None = None) -> Trajectories:
    """Reads the episodes of a local Minari dataset; nothing is downloaded.

    An episode that ends in neither a terminal state nor a time limit was cut by whoever collected
    it, and counts as truncated.

    Args:
        dataset_id: for instance cartpole/weak-v0.
        env_id: the environment that it must be of, where it names one; None takes any.

    Raises:
        UserError: Minari or what it needs is missing; there is no such dataset; it is of another
            environment, has observations that are no flat Box or actions that are neither Discrete
            nor a flat Box, holds no episodes, or is damaged.
    """
    from gymnasium.spaces import Box, Discrete

    minari, _ = _optional("Reading a Minari dataset", "minari", "h5py")
    path = _minari_path(minari, dataset_id)[1]
    if not path.exists():
        raise UserError(
            f"There is no Minari dataset {dataset_id} in {path.parent}; "
            f"`minari download {dataset_id}` fetches a public one."
        )
    try:
        dataset = minari.load_dataset(dataset_id)
        obs_space, action_space = dataset.observation_space, dataset.action_space
        acted_in = dataset.env_spec.id if dataset.env_spec is not None else None
        if env_id is not None and acted_in not in (None, env_id):
            raise UserError(f"{dataset_id} holds episodes of {acted_in}, not {env_id}.")
        if not isinstance(obs_space, Box) or len(obs_space.shape) != 1:
            raise UserError(f"{dataset_id} has observations in {obs_space}; a flat Box is needed.")
        if not isinstance(action_space, Discrete) and (
            not isinstance(action_space, Box) or len(action_space.shape) != 1
        ):
            raise UserError(
                f"{dataset_id} has actions in {action_space}; Discrete or a flat Box is needed."
            )
        episodes = [episode for episode in dataset.iterate_episodes() if len(episode)]
    except ImportError as error:
        raise UserError(f"Can't read {dataset_id}: {error}.") from None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise UserError(f"Can't read the Minari dataset {dataset_id}: {reason}.") from None
    if not episodes:
        raise UserError(f"The Minari dataset {dataset_id} holds no episodes.")
    action_shape = action_space.shape or ()
    for episode in episodes:
        steps = len(episode)
        shapes = [np.shape(x) for x in (episode.observations, episode.actions)]
        if shapes != [(steps + 1, *obs_space.shape), (steps, *action_shape)]:
            raise UserError(
                f"The Minari dataset {dataset_id} is damaged: episode {episode.id} of {steps} steps "
                f"has observations {shapes[0]} and actions {shapes[1]}."
            )
    terminated = np.array([bool(episode.terminations[-1]) for episode in episodes])
    truncated = np.array([bool(episode.truncations[-1]) for episode in episodes])
    return Trajectories(
        obs=np.concatenate([episode.observations[:-1] for episode in episodes]),
        actions=np.concatenate([episode.actions for episode in episodes]),
        rewards=np.concatenate([episode.rewards for episode in episodes]),
        next_obs=np.concatenate([episode.observations[1:] for episode in episodes]),
        lengths=np.array([len(episode) for episode in episodes], dtype=np.int64),
        terminated=terminated,
        truncated=truncated | ~terminated,
    )


def _optional(what: str, *names: str) -> list[ModuleType]:
    """Modules of packages that need not be installed."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError:
            package = name.partition(".")[0]
            raise UserError(f"{what} needs {package}: pip install 'prefloop[data]'.") from None
    return modules


def _side_type(pa: ModuleType, obs_dim: int, action_dim: int | None) -> Any:
    """Of a segment in a row; `action_dim` is None where actions are discrete."""

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
    """What a file's segments would be if it holds preferences, sizes as it has them."""

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
    arrays = {}
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


def _minari_path(minari: ModuleType, dataset_id: str) -> tuple[str | None, Path]:
    """Namespace of an id, and where its dataset is or would be."""
    try:
        namespace = minari.dataset.minari_dataset.parse_dataset_id(dataset_id)[0]
    except (ValueError, TypeError):  # TypeError: without a version
        raise UserError(
            f"{dataset_id!r} is no id of a Minari dataset; it must look like cartpole/weak-v0."
        ) from None
    try:
        return namespace, minari.storage.get_dataset_path(dataset_id)
    except OSError as error:
        raise UserError(f"Can't make the folder of Minari datasets: {error}.") from None


def _minari_episodes(trajectories: Trajectories) -> list[dict[str, Any]]:
    """Arguments of Minari's episodes, which hold the observation after the last step too."""
    ends = np.cumsum(trajectories.lengths)
    episodes = []
    for i, (start, end) in enumerate(zip(ends - trajectories.lengths, ends, strict=True)):
        obs, next_obs = trajectories.obs[start:end], trajectories.next_obs[start:end]
        if not np.array_equal(obs[1:], next_obs[:-1], equal_nan=True):
            raise ValueError(f"episode {i} has a step that does not begin where the last one led")
        ending = np.zeros((2, end - start), dtype=bool)
        ending[:, -1] = trajectories.terminated[i], trajectories.truncated[i]
        episodes.append(
            {
                "observations": np.concatenate([obs, next_obs[-1:]]),
                "actions": trajectories.actions[start:end],
                "rewards": trajectories.rewards[start:end],
                "terminations": ending[0],
                "truncations": ending[1],
            }
        )
    return episodes
