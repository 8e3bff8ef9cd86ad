"""What the lines of a plot are called."""

import sys

import numpy as np
import pytest
from pages import RUN, make_run, make_segments

from prefloop.envs.settings import EnvSettings
from prefloop.labelling.arrays import Segment, pad, to_archive
from prefloop.labelling.server.naming import names_of

pytest_plugins = ["page_fixtures"]

POLE = ["cart position", "cart velocity", "pole angle", "pole angular velocity"]


def segment(obs_size, num_actions=None, steps=3):
    """A segment of zeros; without `num_actions` its actions are discrete."""
    shape = (steps,) if num_actions is None else (steps, num_actions)
    actions = np.zeros(shape, dtype=np.int64 if num_actions is None else np.float32)
    return Segment(np.zeros((steps, obs_size), np.float32), actions, np.zeros(steps, np.float32))


def test_gymnasium_s_environments_say_what_they_observe():
    assert names_of(EnvSettings(env="CartPole-v1"), segment(4)) == (POLE, ["action"])
    obs, actions = names_of(EnvSettings(env="Pendulum-v1"), segment(3, 1))
    assert (obs[0], actions) == ("cos angle", ["action 0"])


def test_robots_name_their_joints():
    pytest.importorskip("mujoco")
    obs, actions = names_of(EnvSettings(env="Hopper-v5"), segment(11, 3))
    assert obs[:2] == ["rootz", "rooty"]
    assert actions == ["action thigh_joint", "action leg_joint", "action foot_joint"]


@pytest.mark.parametrize(
    "env",
    [
        EnvSettings(env="NoSuchThing-v0"),
        EnvSettings(env="CartPole-v1", frame_stack=2),
        EnvSettings(env="FrozenLake-v1"),
    ],
)
def test_of_others_the_numbers_are_counted(env):
    assert names_of(env, segment(2)) == (["observation 0", "observation 1"], ["action"])


@pytest.mark.parametrize(
    "changes",
    [{"env": "strangers:Pole-v0"}, {"env": "CartPole-v1", "wrappers": ("strangers:Wrap",)}],
)
def test_no_stranger_s_module_is_imported(tmp_path, monkeypatch, changes):
    (tmp_path / "strangers.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert names_of(EnvSettings(**changes), segment(1))[0] == ["observation 0"]
    assert "strangers" not in sys.modules


def test_the_api_names_what_a_page_plots(site):
    make_run(site.api, num_queries=0)
    archive = to_archive(pad(make_segments(1)))
    (id,) = site.api.post("/api/runs/cartpole-01/segments", content=archive).json()["ids"]
    plotted = site.api.get(f"/api/segments/{id}").json()
    assert (plotted["obs_names"], plotted["action_names"]) == (POLE, ["action"])
    assert len(plotted["obs"][0]) == RUN["spaces"]["obs_shape"][0]
