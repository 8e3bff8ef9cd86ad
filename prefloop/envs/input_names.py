"""What the numbers of an observation and of an action are called, where the environment says so."""

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from prefloop.envs.dm_control import SuiteTask
from prefloop.envs.spaces import is_observed_as_made, spaces_of

# Gymnasium's, which say it in their documentation alone
CLASSIC = {
    "CartPoleEnv": ("cart position", "cart velocity", "pole angle", "pole angular velocity"),
    "MountainCarEnv": ("position", "velocity"),
    "Continuous_MountainCarEnv": ("position", "velocity"),
    "PendulumEnv": ("cos angle", "sin angle", "angular velocity"),
    "AcrobotEnv": (
        "cos first angle", "sin first angle", "cos second angle", "sin second angle",
        "first angular velocity", "second angular velocity",
    ),
}  # fmt: skip
# MuJoCo's kinds of joints -> what the numbers of a position and of a velocity are
QUATERNION, ROTATION = (" qw", " qx", " qy", " qz"), (" about x", " about y", " about z")
JOINTS = {
    0: ((" x", " y", " z", *QUATERNION), (" x", " y", " z", *ROTATION)),  # free
    1: (QUATERNION, ROTATION),  # ball
    2: (("",), ("",)),  # slide
    3: (("",), ("",)),  # hinge
}
OF_A_JOINT = 0  # what moves an actuator's joint, among MuJoCo's kinds of transmissions


def input_names(env: gym.Env) -> tuple[list[str], list[str]]:
    """Names of each number of an observation, flattened, and of each number of an action.

    Where a wrapper made other observations of the environment's own, or nothing is known, a name is
    its number: `observation 3`. Of discrete actions each action has one.
    """
    spaces = spaces_of(env)
    names = _observations(env.unwrapped) if is_observed_as_made(env) else []
    if len(names) != spaces.obs_size:
        names = [f"observation {i}" for i in range(spaces.obs_size)]
    actions = [] if spaces.discrete else _actuators(env.unwrapped)
    if len(actions) != spaces.action_dim:
        actions = [str(i) for i in range(spaces.action_dim)]
    return names, [f"action {name}" for name in actions]


def _observations(env: gym.Env) -> list[str]:
    """Names of the observations of an environment without wrappers; empty if they are not known."""
    if isinstance(env, SuiteTask):
        return list(_numbered(env.observation_sizes))
    structure = getattr(env, "observation_structure", None)
    if isinstance(structure, Mapping) and "qpos" in structure:
        return _mujoco(env, structure)
    is_gymnasiums = type(env).__module__.startswith("gymnasium.")
    return list(CLASSIC.get(type(env).__name__, ())) if is_gymnasiums else []


def _numbered(sizes: Mapping[str, int]) -> Iterator[str]:
    for name, size in sizes.items():
        yield from [name] if size == 1 else (f"{name} {i}" for i in range(size))


def _mujoco(env: Any, structure: Mapping[str, int]) -> list[str]:
    """Names in Gymnasium's robots: positions and velocities by joint, then other parts by number."""
    positions, velocities = [], []
    for joint in range(env.model.njnt):
        of_position, of_velocity = JOINTS[int(env.model.jnt_type[joint])]
        name = env.model.joint(joint).name or f"joint {joint}"
        positions += [name + part for part in of_position]
        velocities += [f"{name}{part} velocity" for part in of_velocity]
    skipped = structure.get("skipped_qpos", 0)
    rest = {k: n for k, n in structure.items() if k not in ("skipped_qpos", "qpos", "qvel")}
    return [*positions[skipped:], *velocities, *_numbered(rest)]


def _actuators(env: Any) -> list[str]:
    """Names of what a simulator's actions drive; empty where there is no simulator."""
    model = getattr(env.physics if isinstance(env, SuiteTask) else env, "model", None)
    if model is None or not hasattr(model, "actuator_trnid"):
        return []
    driven = np.asarray(model.actuator_trnid)[:, 0]
    kinds = np.asarray(model.actuator_trntype)
    names = []
    for i in range(model.nu):
        own = _name(model, "actuator", i)
        joint = _name(model, "joint", int(driven[i])) if kinds[i] == OF_A_JOINT else ""
        names.append(own or joint or str(i))
    return names


def _name(model: Any, kind: str, i: int) -> str:
    """Name of part number `i` of a kind in a model; "" if it has none."""
    if hasattr(model, "id2name"):  # dm_control's
        return str(model.id2name(i, kind) or "")
    return str(getattr(model, kind)(i).name)
