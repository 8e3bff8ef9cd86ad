"""How robots are drawn: for people and to be observed, each beside others."""

import gc

import gymnasium as gym
import numpy as np
import pytest
from test_rendering import act_mujoco, as_segment, needs_mujoco, robot

from prefloop.data.segments import STATES
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.server.rendering import Renderer


@needs_mujoco
def test_a_robot_in_pictures_is_drawn_for_people_too():
    """What it observes is drawn between one frame and the next."""
    frames = []
    for pixels in (None, 24):
        env = make_env(EnvSettings(env="Hopper-v5", pixels=pixels), render_mode="rgb_array")
        env.reset(seed=0)
        env.render()
        env.step(np.zeros(3, np.float32))
        frames.append(env.render())
        env.close()
    np.testing.assert_array_equal(*frames)


@needs_mujoco
def test_what_is_observed_in_pictures_stays_when_another_is_closed():
    """Of two that were drawn, the one that was left observed other pictures, half as bright."""
    env = EnvSettings(env="Hopper-v5", pixels=24)
    seen = []
    for others in (0, 1):
        made = make_env(env)
        made.reset(seed=0)
        for _ in range(others):
            other = make_env(env)
            other.reset(seed=0)
            made.step(np.zeros(3, np.float32))
            other.close()
            other.close()  # which is no fault
            del other
            gc.collect()
            made.reset(seed=0)
        seen.append(made.step(np.zeros(3, np.float32))[0])
        made.close()
    np.testing.assert_array_equal(*seen)
    assert np.ptp(seen[0]) > 50


@needs_mujoco
def test_there_are_no_shadows_in_what_is_drawn_of_dm_control():
    pytest.importorskip("dm_control")
    base = make_env("dm_control/walker-walk-v0", render_mode="rgb_array").unwrapped
    base.reset(seed=0)
    picture, physics = base.render(), base.physics
    flags = {"shadow": False, "reflection": False}
    plain = physics.render(360, 480, camera_id=0, render_flag_overrides=flags)
    np.testing.assert_array_equal(picture, plain)
    assert (picture != physics.render(360, 480, camera_id=0)).any()  # the floor reflects
    assert physics.model.vis.quality.shadowsize == physics.model.vis.quality.offsamples == 0
    base.close()


@needs_mujoco
def test_two_robots_are_drawn_in_turns():
    """Hopper had HalfCheetah's colours once that was drawn, too, and was black when that was gone."""
    robots = {
        env_id: (Renderer(env_id), act_mujoco(env_id, 1)) for env_id in ("Hopper-v5", "Ant-v5")
    }
    for _ in range(2):
        for renderer, (segment, frames) in robots.values():
            np.testing.assert_array_equal(list(renderer.frames(segment)), frames)
    robots["Ant-v5"][0].close()  # and is taken down later, when it is Hopper that is drawn
    for _ in range(2):
        renderer, (segment, frames) = robots["Hopper-v5"]
        np.testing.assert_array_equal(list(renderer.frames(segment)), frames)
        robots.pop("Ant-v5", None)
        gc.collect()


@needs_mujoco
def test_and_beside_one_of_dm_control():
    pytest.importorskip("dm_control")
    names = ("Hopper-v5", "dm_control/walker-walk-v0")
    robots = [make_env(name, render_mode="rgb_array") for name in names]
    first = []
    for made in robots:
        made.reset(seed=0)
        first.append(made.render())
    assert all(np.ptp(picture) > 100 for picture in first)
    for gone in (1, 0):
        for made, picture in zip(robots, first, strict=True):
            np.testing.assert_array_equal(made.render(), picture)
        robots[gone].close()
        gc.collect()
        np.testing.assert_array_equal(robots[1 - gone].render(), first[1 - gone])
        robots[gone] = make_env(names[gone], render_mode="rgb_array")
        robots[gone].reset(seed=0)
    for made in robots:
        made.close()
        made.close()  # which is no fault


@needs_mujoco
def test_a_robot_that_runs_stays_in_a_video_of_a_policy():
    """Of ten seconds that it slid to the left, seven were of an empty floor."""
    env = make_env("Hopper-v5", render_mode="rgb_array")
    env.reset(seed=0)
    base = env.unwrapped
    here = env.render()
    base.set_state(base.data.qpos + 30 * (np.arange(base.model.nq) == 0), base.data.qvel)
    there = env.render()
    env.close()
    assert robot(here).sum() > 1000
    assert (robot(here) != robot(there)).mean() < 0.01


@needs_mujoco
def test_a_video_is_drawn_as_clips_are():
    """With shadows, reflections and multisampling a processor takes twelve times as long for a picture."""
    env = gym.make("Hopper-v5", render_mode="rgb_array")
    env.reset(seed=0)
    state, full = env.unwrapped.state_vector(), env.render()
    env.close()
    del env
    env = make_env("Hopper-v5", render_mode="rgb_array")
    env.reset(seed=0)
    video = env.render()
    env.close()
    segment = as_segment(np.zeros((1, 11)), np.zeros((1, 3)), 0, {STATES: state[None]})
    (clip,) = Renderer("Hopper-v5").frames(segment)
    np.testing.assert_array_equal(video, clip)
    assert (video != full).any()
