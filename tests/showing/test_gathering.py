"""`prefloop show`: what is gathered, and what is refused."""

import json
import os
import signal
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from conftest import assert_one_sentence
from gymnasium.envs.classic_control import PendulumEnv
from kept_runs import make_run, show
from test_video_files import read

from prefloop.envs.settings import EnvSettings
from prefloop.evaluation import videos
from prefloop.evaluation.evaluate import play
from prefloop.evaluation.statistics import mean_estimate
from prefloop.rewards.reward_model import RewardModel
from prefloop.showing import gathering
from prefloop.showing.gathering import Starts, gather, load
from prefloop.showing.kept_policies import read_runs

SMALL = ["--steps", "12", "--episodes", "3", "--clips", "2"]


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


def test_all_policies_begin_alike_and_clips_are_of_what_was_counted(tmp_path, monkeypatch):
    paths = [make_run(tmp_path / name, seed=i) for i, name in enumerate("ab")]
    env = EnvSettings(env="Pendulum-v1", horizon=12)
    runs = [load(run, env) for run in read_runs(paths, 2)]
    drawn, draw = [], videos.draw_episode

    def watched(*args, **kwargs):
        drawn.append(draw(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(gathering, "draw_episode", watched)
    ended = []
    about = gather(runs, env, Starts(3, 2, seed=4, greedy=False), tmp_path, ended.append)
    assert sum(ended) == 4 * (3 + 2)
    first = np.stack([episode.obs[0] for episode in drawn]).reshape(4, 2, 3)
    assert (first == first[0]).all()  # of every policy
    assert (first[0, 0] != first[0, 1]).any()
    assert len({episode.rewards.sum() for episode in drawn}) == 8  # and then they differ
    for run, shown in zip(runs, about["runs"], strict=True):
        for policy, said in zip(run.policies, shown["policies"], strict=True):
            returns = play(policy, env, 3, seed=4).returns
            estimate = mean_estimate(returns)
            assert said["mean"] == estimate.mean < 0
            assert said["low"] == pytest.approx(estimate.low)
            for clip, value in zip(said["clips"], returns, strict=False):
                assert clip["return"] == pytest.approx(value)
                assert clip["steps"] == len(read(tmp_path / clip["video"])[0]) == 12
                assert not clip["terminated"]


def test_the_page_has_what_runs_have_learned_to_reward(tmp_path):
    make_run(tmp_path / "taught", reward=True, labels=True)
    make_run(tmp_path / "true", seed=1)
    show(tmp_path / "taught", tmp_path / "true", "--export", tmp_path / "page", *SMALL)
    about = json.loads((tmp_path / "page" / "show.json").read_text())
    taught, true = about["runs"]
    assert taught["learned"] and not true["learned"]
    reward = taught["policies"][0]["clips"][0]["reward"]
    assert {len(values) for values in reward.values()} == {12}
    assert all(a <= b <= c for a, b, c in zip(reward["lowest"], reward["learned"], reward["highest"], strict=True))  # fmt: skip
    assert set(true["policies"][0]["clips"][0]["reward"]) == {"true"}
    assert [point["labels"] for point in taught["curve"]] == [10, 20, 30]
    assert taught["policies"][-1]["steps"] == 3000 and true["curve"][0]["labels"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "taught", "true"]


def test_one_episode_has_no_interval(tmp_path):
    make_run(tmp_path / "a", kept=())
    show(tmp_path / "a", "--export", tmp_path / "p", "--steps", 5, "--episodes", 1, "--clips", 1)
    (policy,) = json.loads((tmp_path / "p" / "show.json").read_text())["runs"][0]["policies"]
    assert policy["low"] is policy["high"] is None


def test_what_is_not_kept_is_replaced(run, tmp_path):
    make_run(tmp_path / "a", kept=())
    line = "prefloop.cli show a --steps 5 --episodes 1 --clips 1"
    assert "open it in a browser" in run(line).out
    (tmp_path / "last-show" / "clips" / "old.mp4").touch()
    assert run(line).code == 0
    assert [path.name for path in (tmp_path / "last-show" / "clips").iterdir()] == ["0-0-0.mp4"]
    (tmp_path / "last-show" / "show.json").unlink()  # then it is somebody's own folder
    assert_one_sentence(run(line), "last-show holds something already")


def test_the_page_is_opened_where_somebody_sees_it(run, tmp_path, monkeypatch):
    make_run(tmp_path / "a", kept=())
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    monkeypatch.setattr(videos, "has_display", lambda: True)
    line = "prefloop.cli show a --steps 5 --episodes 1 --clips 1"
    assert "opened it in the browser" in run(line).out
    assert opened == [(tmp_path / "last-show" / "index.html").as_uri()]
    for quiet in (
        f"{line} --no-browser", f"{line} --export kept", f"{line} --export too --no-browser"
    ):  # fmt: skip
        assert "open it in a browser" in run(quiet).out
    assert len(opened) == 1


def test_bad_input_is_a_sentence(run, tmp_path):
    make_run(tmp_path / "a", kept=())
    make_run(tmp_path / "cart", "CartPole-v1", kept=())
    (tmp_path / "empty").mkdir()
    make_run(tmp_path / "nowhere", kept=())
    (tmp_path / "nowhere" / "run.json").unlink()
    make_run(tmp_path / "damaged", kept=())
    (tmp_path / "damaged" / "final_policy.params").write_bytes(b"PK")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    make_run(tmp_path / "odd", kept=(), reward=True)
    (tmp_path / "odd" / "reward.params").write_bytes(b"PK")
    before = sorted(tmp_path.rglob("*"))
    for line, words in {
        "a cart": "a is of Pendulum-v1 and cart of CartPole-v1",
        "a b": "There is no run in",
        "a empty": "There is no policy in",
        "a a": "a is given twice",
        "a nowhere": "give --env",
        "a damaged": "damaged/final_policy.params",
        "a odd": "odd/reward.params",
        "a --export full": "full holds something already",
        "a --export full/thesis.txt": "thesis.txt is a file",
        "a --export full/thesis.txt/page": "Can't write the folder",
        "a --export .": "the folder you are in",
        "a --episodes 2 --clips 3": "--clips must be at most --episodes, which is 2, not 3",
        "a --steps 0": "--steps must be above 0",
        "a cart a/run.json a/x nowhere empty odd": "7 runs do not fit side by side",
    }.items():
        assert_one_sentence(run(f"prefloop.cli show {line}"), words)
    assert sorted(tmp_path.rglob("*")) == before


class Blind(gym.Env):
    """Makes no pictures."""

    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (1,), np.float32)
    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {}


def test_what_cannot_be_drawn_or_never_ends_is_a_sentence(run, tmp_path, monkeypatch):
    monkeypatch.setitem(gym.registry, "Blind-v0", gym.envs.registration.EnvSpec("Blind-v0", entry_point=Blind))  # fmt: skip
    make_run(tmp_path / "a", "Blind-v0", kept=())
    assert_one_sentence(run("prefloop.cli show a"), "Blind-v0 has no time limit", "give --steps")
    assert_one_sentence(run("prefloop.cli show a --steps 5"), "Blind-v0 can't be drawn")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class PaysNoNumber(PendulumEnv):
    """What each step is worth can neither be drawn nor added."""

    def step(self, action):
        obs, _, *others = super().step(action)
        return obs, np.nan, *others


@pytest.mark.filterwarnings("ignore:.*The reward is a NaN")
def test_a_reward_that_is_no_number_is_a_sentence(run, tmp_path, monkeypatch):
    """Browsers read no NaN: the page would stay empty."""
    spec = gym.envs.registration.EnvSpec("PaysNoNumber-v0", entry_point=PaysNoNumber)
    monkeypatch.setitem(gym.registry, "PaysNoNumber-v0", spec)
    make_run(tmp_path / "a", "PaysNoNumber-v0", kept=())
    line = "prefloop.cli show {} --steps 5 --episodes 1 --clips 1"
    assert_one_sentence(run(line.format("a")), "a, final_policy.params: the true reward", "NaN")
    make_run(tmp_path / "b", kept=(), reward=True)
    learned = dict.fromkeys(("learned", "lowest", "highest"), np.full(5, np.inf))
    monkeypatch.setattr(RewardModel, "step_by_step", lambda *given: learned)
    assert_one_sentence(run(line.format("b")), "b, final_policy.params: the learned reward")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_nothing_is_left_of_what_was_stopped_or_found_no_room(run, tmp_path, monkeypatch):
    make_run(tmp_path / "a", kept=())
    draw, drawn = videos.draw_episode, []

    def stopped(*args, **kwargs):
        if drawn:
            os.kill(os.getpid(), signal.SIGINT)
        drawn.append(draw(*args, **kwargs))
        return drawn[-1]

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    line = "prefloop.cli show a --export page --steps 5 --episodes 2 --clips 2"
    if sys.platform != "win32":
        monkeypatch.setattr(gathering, "draw_episode", stopped)
        outcome = run(line)
        assert outcome.code == 130 and "Stopped; nothing was written." in outcome.err
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
    monkeypatch.setattr(gathering, "draw_episode", draw)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert_one_sentence(run(line), "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        assert_one_sentence(run(line), "Can't write the folder page")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert run(line).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "page"]


def test_what_learned_without_early_ends_is_shown_as_it_learned(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "a", env="Hopper-v5", kept=())
    steps = {}
    for flags in ((), ("--termination", "never")):
        show("a", "--no-browser", "--steps", "90", "--episodes", "2", "--clips", "1", *flags)
        said = json.loads((tmp_path / "last-show/show.json").read_text(encoding="utf-8"))
        (steps[flags],) = [clip["steps"] for clip in said["runs"][0]["policies"][0]["clips"]]
    assert steps["--termination", "never"] == 90 > steps[()]
    assert "termination never" in said["env"]
