"""What the commands that train leave in a run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from prefloop import checkpoints
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.envs import make_env, step_sizes
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_metrics
from prefloop.files import sha256
from prefloop.policies import Policy, activation_of

POLICY = "final_policy.params"


def facts(
    program: str, env_id: str, policy: Policy | None = None, **files: str | Path
) -> dict[str, Any]:
    """What run.json says of a run, besides its settings.

    Args:
        policy: what is trained; its activation is not in its weights.
        files: what the run was given, of which the SHA-256 is kept; "" where it was not.
    """
    said: dict[str, Any] = {"program": f"prefloop {program}", "env": env_id}
    if policy is not None:
        said["activation"] = activation_of(policy)
    for name, path in files.items():
        said[f"{name}_sha256"] = sha256(Path(path)) if path else None
    return said


def read_preferences(path: str) -> tuple[Preferences, str, gym.Env, Path]:
    """A dataset that somebody wants to learn from, and the environment that it is about.

    Returns:
        Preferences, environment's id, the environment, and the file whose change is a change of
        the data.

    Raises:
        UserError: there is no dataset, it is damaged, says nothing, or does not fit its
            environment.
    """
    folder = Path(path)
    preferences = dataset.read(folder)
    preferences.require_something_to_learn()
    env_id = dataset.read_metadata(folder).get("env")
    if not isinstance(env_id, str):
        raise UserError(f"{folder / dataset.METADATA} names no environment.")
    env = make_env(env_id)
    obs_dim, action_dim, discrete = step_sizes(env)
    segments = preferences.segments
    fits = segments.obs.shape[2] == obs_dim and segments.discrete == discrete
    if fits and discrete:
        fits = segments.actions.min() >= 0 and segments.actions.max() < action_dim
    elif fits:
        fits = segments.actions.shape[2] == action_dim
    if not fits:
        raise UserError(f"{folder} holds segments that are not of {env_id}.")
    return preferences, env_id, env, folder / dataset.PREFERENCES


def save_policy(
    directory: Path,
    policy: Policy,
    rows: Sequence[Mapping[str, float]],
    x: str,
    curves: Sequence[str],
    title: str,
) -> None:
    """Writes the policy and a picture of how it came about, and says what to run next.

    Args:
        rows: of metrics.csv.
        x, curves: which of their numbers to draw over which.
    """
    checkpoints.save(directory / POLICY, policy.state_dict())
    plot_metrics(directory / "learning_curve.png", rows, x, curves, title)
    print(f"Wrote {directory / POLICY}, metrics.csv, run.json and learning_curve.png.")
    print(f"Next: prefloop evaluate {directory / POLICY} --episodes 100")
