"""Episodes as a Minari dataset, which other people's tools write and read.

Needs minari and h5py, which nothing else here needs: pip install 'prefloop[data]'.
"""

import json
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

import prefloop
from prefloop.data.trajectories import Trajectories
from prefloop.env_ids import without_module
from prefloop.envs.make import make_env
from prefloop.envs.settings import Env, EnvSettings, as_settings
from prefloop.envs.spaces import as_stored, spaces_of
from prefloop.errors import UserError
from prefloop.startup import import_optional


def write_minari(trajectories: Trajectories, dataset_id: str, env: Env) -> Path:
    """Writes episodes as a new Minari dataset, where Minari keeps its local ones.

    That is `MINARI_DATASETS_PATH`, or ~/.minari/datasets if it is not set. The dataset appears when
    it is whole; one that is there already is never touched.

    Args:
        dataset_id: its name and version, for instance cartpole/weak-v0.
        env: the environment that was acted in.

    Returns:
        The dataset's folder.

    Raises:
        UserError: Minari or h5py is missing; the id is none or is taken; the episodes are not of
            this environment; the disk refuses.
        ValueError: within an episode, a step does not begin where the one before it led.
    """
    minari, namespace, path = _new(dataset_id)
    made = make_env(env)
    if not spaces_of(made).allows(as_stored(np.asarray(trajectories.obs)), trajectories.actions):
        raise UserError(f"These episodes are not of {env}: their steps have other sizes.")
    episode_buffer = minari.data_collector.EpisodeBuffer
    episodes = [episode_buffer(**episode) for episode in _minari_episodes(trajectories)]
    try:
        if namespace is not None and namespace not in minari.namespace.list_local_namespaces():
            minari.namespace.create_namespace(namespace)
        # under a name that Minari does not list, and renamed once whole
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            whole = Path(folder) / path.name
            whole.mkdir()
            storage = minari.dataset.minari_storage.MinariStorage.new(
                whole / "data",
                observation_space=made.observation_space,
                action_space=made.action_space,
                env_spec=made.spec,
            )
            about = {
                "dataset_id": dataset_id,
                "minari_version": minari.__version__,
                "algorithm_name": "prefloop",
                "description": f"{len(episodes)} episodes of {env}",
            }
            storage.update_metadata(about)
            storage.update_episodes(episodes)
            _new(dataset_id)  # since we looked
            whole.rename(path)
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror or error}.") from None
    finally:
        made.close()
    return path


def require_new(dataset_id: str) -> None:
    """To be called before the episodes are played that `write_minari` is to write.

    Raises:
        UserError: Minari or h5py is missing; or the id is none or is taken.
    """
    _new(dataset_id)


def read_minari(dataset_id: str, env: Env | None = None) -> Trajectories:
    """Reads the episodes of a local Minari dataset; nothing is downloaded.

    An episode that ends in neither a terminal state nor a time limit was cut by whoever collected
    it, and counts as truncated.

    Args:
        dataset_id: for instance cartpole/weak-v0.
        env: the environment that it must be of, where it names one; None takes any.

    Raises:
        UserError: Minari or what it needs is missing; there is no such dataset; it is of another
            environment or one that is changed otherwise, has observations that are no flat Box or actions that are neither Discrete
            nor a flat Box, holds no episodes, or is damaged.
    """
    from gymnasium.spaces import Box, Discrete

    minari, _ = import_optional("Reading a Minari dataset", "data", "minari", "h5py")
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
        if env is not None and acted_in not in (None, without_module(env)):
            raise UserError(f"{dataset_id} holds episodes of {acted_in}, not {env}.")
        if env is not None and acted_in is not None:
            _require_same_changes(dataset_id, dataset.env_spec, as_settings(env))
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


def _require_same_changes(dataset_id: str, acted_in: EnvSpec, env: EnvSettings) -> None:
    """Refuses changes that the episodes never had, and those that nobody asked for.

    Wrappers of others that the dataset names are left to whoever collected it: not every one changes a step.

    Args:
        acted_in: the environment as the dataset has it.
    """
    made = make_env(env)
    made.close()
    assert made.spec is not None
    had, asked = _wrappers(acted_in), _wrappers(made.spec)
    cut, limit = acted_in.max_episode_steps, made.spec.max_episode_steps
    ours = [wrapper for wrapper in had if wrapper[0].startswith(f"{prefloop.__name__}.")]
    if not set(ours) <= set(asked) <= set(had) or (env.horizon is not None and cut != limit):
        wrappers = [f"{name.rpartition(':')[2]} {kwargs}" for name, kwargs in had]
        raise UserError(
            f"{dataset_id} holds episodes that were not played in {env.described}: its environment has "
            f"{' and '.join(wrappers) or 'no wrappers'} and a limit of {cut} steps."
        )


def _wrappers(spec: EnvSpec) -> list[tuple[str, str]]:
    """Wrappers of an environment and their arguments; the innermost first."""
    return [
        (wrapper.entry_point, json.dumps(wrapper.kwargs or {}, sort_keys=True, default=str))
        for wrapper in spec.additional_wrappers
    ]


def _new(dataset_id: str) -> tuple[ModuleType, str | None, Path]:
    """Minari, and namespace and place of a dataset that is not there yet."""
    minari, _ = import_optional("Writing a Minari dataset", "data", "minari", "h5py")
    namespace, path = _minari_path(minari, dataset_id)
    if path.exists():
        raise UserError(
            f"There is a Minari dataset {dataset_id} already, in {path}; choose another id."
        )
    return minari, namespace, path


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
