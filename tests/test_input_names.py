import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TransformObservation

from prefloop.envs.input_names import input_names
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings


def test_classic_ones_are_as_in_their_documentation():
    assert input_names(gym.make("CartPole-v1")) == (
        ["cart position", "cart velocity", "pole angle", "pole angular velocity"],
        ["action 0", "action 1"],
    )
    assert input_names(gym.make("Pendulum-v1"))[0][0] == "cos angle"


def test_a_robots_numbers_have_the_names_of_its_joints():
    pytest.importorskip("mujoco")
    env = make_env("Hopper-v5")
    names, actions = input_names(env)
    assert names[:2] == ["rootz", "rooty"] and names[5] == "rootx velocity" and len(names) == 11
    assert actions == ["action thigh_joint", "action leg_joint", "action foot_joint"]
    # what the name says is what stands there
    obs, _ = env.reset(seed=0)
    data = env.unwrapped.data
    assert obs[names.index("rooty")] == data.joint("rooty").qpos[0]
    assert obs[names.index("foot_joint velocity")] == data.joint("foot_joint").qvel[0]


def test_a_free_body_has_a_place_and_a_turn():
    pytest.importorskip("mujoco")
    env = make_env("Ant-v5")
    names, _ = input_names(env)
    assert names[:5] == ["root z", "root qw", "root qx", "root qy", "root qz"]
    obs, _ = env.reset(seed=0)
    assert obs[names.index("root z")] == env.unwrapped.data.joint("root").qpos[2]
    assert obs[names.index("root about z velocity")] == env.unwrapped.data.joint("root").qvel[5]
    assert len(names) == len(set(names)) == 105


def test_the_suites_numbers_have_the_names_of_their_parts():
    pytest.importorskip("dm_control")
    names, actions = input_names(make_env("dm_control/walker-walk-v0"))
    assert names[13:16] == ["orientations 13", "height", "velocity 0"] and len(names) == 24
    assert actions[0] == "action right_hip"


def test_what_nobody_names_is_numbered():
    longer = gym.spaces.Box(-np.inf, np.inf, (5,))
    env = TransformObservation(gym.make("CartPole-v1"), lambda obs: np.append(obs, 0), longer)
    assert input_names(env)[0] == [f"observation {i}" for i in range(5)]
    turned = TransformObservation(
        gym.make("CartPole-v1"), lambda obs: obs[::-1], gym.spaces.Box(-np.inf, np.inf, (4,))
    )
    assert input_names(turned)[0] == [f"observation {i}" for i in range(4)]
    stacked = make_env(EnvSettings(env="CartPole-v1", frame_stack=2))
    assert input_names(stacked)[0][-1] == "observation 7"
