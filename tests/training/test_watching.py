"""Watching an agent while it learns changes nothing of what it learns."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import av
import gymnasium as gym
import numpy as np
import pygame
import pytest
from conftest import assert_one_sentence
from test_stopping import PEBBLE, PPO, PREF_PPO, SAC, result

from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.evaluation import window
from prefloop.evaluation.videos import require_pictures
from prefloop.files import read_csv
from prefloop.policies import make_policy
from prefloop.training import outputs, watching

PENDULUM_PPO = PPO.replace("CartPole-v1", "Pendulum-v1")
LINES = {"sac": SAC, "ppo": PENDULUM_PPO, "pebble": PEBBLE, "pref_ppo": PREF_PPO}


class Unseen(gym.Env):
    """Nobody has thought of how it looks."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


gym.register("Unseen-v0", lambda **kwargs: Unseen(**kwargs), max_episode_steps=20)


def unwatched(folder):
    return {k: v for k, v in result(folder).items() if not k.startswith("videos")}


def test_checkpoints_of_no_run_are_not_taken_for_its_own(run, tmp_path):
    (tmp_path / "p").mkdir()
    foreign = tmp_path / "p/policy_checkpoint1.params"
    foreign.write_bytes(b"of somebody else")
    outcome = run(f"{PPO} p --checkpoint-every 1")
    assert_one_sentence(outcome, "policy_checkpoint1.params is of no run; choose another --out")
    assert list((tmp_path / "p").iterdir()) == [foreign]
    assert foreign.read_bytes() == b"of somebody else"


def test_many_policies_are_not_all_named_in_the_end(tmp_path):
    """Whoever had taught for an hour read 26 names, and hardly what stood beside them."""
    numbers = [*range(9, 260, 10)]
    for name in (
        *(f"policy_checkpoint{i}.params" for i in numbers), "final_policy.params", "metrics.csv",
        "run.json", ".lock", "a1.png", "a2.png",
    ):  # fmt: skip
        (tmp_path / name).touch()
    (tmp_path / "videos").mkdir()
    assert outputs._others(tmp_path) == [
        "a1.png", "a2.png", "metrics.csv",
        "policy_checkpoint9.params to policy_checkpoint259.params (26 files)", "run.json", "videos/",
    ]  # fmt: skip


def frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("name", LINES)
def test_videos_change_nothing_of_what_is_learned(run, tmp_path, name):
    line = f"{LINES[name]} %s --seed 3"
    outcome = run(f"{line % 'seen'} --video-every 2")
    assert outcome.code == 0 and "No more videos" not in outcome.err, outcome.err
    assert run(line % "unseen").code == 0
    assert unwatched(tmp_path / "seen") == result(tmp_path / "unseen")
    rows = read_csv(tmp_path / "seen/metrics.csv")
    videos = sorted((tmp_path / "seen/videos").iterdir())
    assert len(videos) == 2 and frames(videos[0]) == 200
    for video, row in zip(videos, rows[1::2], strict=False):
        steps, value = video.stem.split("_steps_return_")
        assert int(steps) == int(row["steps"]) and -2000 < float(value) < 0
        if name in ("sac", "pebble"):  # it is one of the two that the row is about
            mean, lowest = float(row["true_return"]), float(row["lowest_return"])
            assert min(abs(float(value) - x) for x in (lowest, 2 * mean - lowest)) < 0.06


@pytest.mark.parametrize("name", LINES)
def test_policies_on_the_way_are_kept_and_can_be_judged(run, tmp_path, name):
    outcome = run(f"{LINES[name]} kept --seed 3 --checkpoint-every 2")
    assert outcome.code == 0, outcome.err
    (wrote,) = (line for line in outcome.out.splitlines() if line.startswith("Wrote"))
    hidden = {"training_state.pt", ".lock"}  # what it goes on from
    assert all(
        path.name in wrote for path in (tmp_path / "kept").iterdir() if path.name not in hidden
    )
    rows = read_csv(tmp_path / "kept/metrics.csv")
    kept = sorted(path.name for path in (tmp_path / "kept").glob("policy_checkpoint*.params"))
    assert kept == [f"policy_checkpoint{row}.params" for row in range(1, len(rows), 2)]
    bytes_of = {n: (tmp_path / "kept" / n).read_bytes() for n in (*kept, "final_policy.params")}
    # each is another; the last may be the final one
    assert len(set(bytes_of.values())) >= len(kept)
    judged = run(f"prefloop.cli evaluate kept/{kept[0]} --episodes 2 --out judged")
    assert judged.code == 0, judged.err
    # what is kept changes nothing of what is learned
    assert run(f"{LINES[name]} plain --seed 3").code == 0
    assert bytes_of["final_policy.params"] == (tmp_path / "plain/final_policy.params").read_bytes()


def test_videos_stand_beside_the_curves(run, tmp_path):
    pytest.importorskip("tensorboard")
    outcome = run(f"{SAC} shown --video-every 2 --track tensorboard")
    assert outcome.code == 0 and "gets no more rows" not in outcome.err, outcome.err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "shown/tensorboard"))
        events.Reload()
    made = list((tmp_path / "shown/videos").iterdir())
    assert [e.step for e in events.Images("video")] == [600, 1200] and len(made) == 2
    assert [e.step for e in events.Scalars("true_return")] == [300, 600, 900, 1200, 1500]


def test_a_video_that_a_stop_prevented_is_made_when_the_run_goes_on(run, tmp_path, monkeypatch):
    line = f"{SAC.replace('--steps 1500', '--steps 600')} p --video-every 1"

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(watching, "record_episode", stop)
        assert run(line).code != 0
    assert len(read_csv(tmp_path / "p/metrics.csv")) == 1
    # and what a kill left of it and of a state
    halves = [tmp_path / "p" / name for name in (
        "videos/.00000300_steps.12.mp4", "videos/..00000300_steps.12.34.mp4", ".training_state.pt.12.tmp",
    )]  # fmt: skip
    for half in halves:
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b"half of it")
    assert run(f"{line} --resume").code == 0
    assert not [half for half in halves if half.exists()]
    assert [v.name[:8] for v in sorted((tmp_path / "p/videos").iterdir())] == [
        "00000300",
        "00000600",
    ]


def test_a_video_that_fails_on_the_way_stops_nothing(run, tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("The driver is gone.\nIt will not come back.")

    monkeypatch.setattr(watching, "record_episode", fail)
    outcome = run(f"{PENDULUM_PPO} p --video-every 1")
    assert outcome.code == 0
    assert outcome.err == "No more videos (The driver is gone); training goes on.\n"
    assert (tmp_path / "p/final_policy.params").exists()


@pytest.mark.parametrize("line", [SAC, PPO, PEBBLE, PREF_PPO])
def test_what_can_not_be_drawn_is_said_before_anything_is_done(run, tmp_path, line):
    line = line.replace("Pendulum-v1", "Unseen-v0").replace("CartPole-v1", "Unseen-v0")
    line = line.replace("--segment-length 20", "--segment-length 5")
    assert_one_sentence(
        run(f"{line} p --video-every 1"), "Unseen-v0 can't be drawn", "--video_every"
    )
    assert not (tmp_path / "p").exists()


def test_mistakes_end_in_sentences(run):
    assert_one_sentence(run(f"{PPO} p --video-every 0"), "--video_every must be above 0")


@pytest.mark.parametrize("name", ["sac", "pebble"])
def test_a_window_shows_the_policy_and_changes_nothing(run, tmp_path, monkeypatch, name):
    # a driver that draws into memory: a window that nobody sees
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown, real = [], window.Window.show

    def show(self, policy, seed):
        shown.append(seed)
        real(self, policy, seed)

    monkeypatch.setattr(window.Window, "show", show)
    line = f"{LINES[name]} %s --seed 3"
    outcome = run(f"{line % 'seen'} --render human")
    assert outcome.code == 0 and outcome.err == "", outcome.err
    assert len(shown) == 6  # at the beginning, and after each row
    assert run(line % "unseen").code == 0
    assert result(tmp_path / "seen") == result(tmp_path / "unseen")


def opened(env, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    policy = make_policy(spaces_of(make_env("Pendulum-v1")), (8,))
    return window.Window(env, policy, 0)


def test_a_window_plays_until_it_is_closed(monkeypatch):
    there = opened("Pendulum-v1", monkeypatch)
    there._process.join(8)
    assert there.is_open
    there.close()
    assert not there._process.is_alive() and not there._folder.exists()


def test_what_has_pictures_alone_is_shown_by_them(monkeypatch):
    pytest.importorskip("dm_control")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    try:
        require_pictures("dm_control/pendulum-swingup-v0", "a window")
    except UserError as error:
        pytest.skip(str(error))
    made = window.make_in_window("dm_control/pendulum-swingup-v0")
    made.reset(seed=0)
    before = pygame.surfarray.array3d(pygame.display.get_surface())
    for _ in range(5):
        made.step(np.ones(1, np.float32))
    after = pygame.surfarray.array3d(pygame.display.get_surface())
    assert before.shape == (480, 360, 3) and before.std() > 10 and (before != after).any()
    made.close()


def test_what_is_observed_as_pictures_is_shown_too(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = EnvSettings(env="CartPole-v1", pixels=42, action_repeat=2)
    made = window.make_in_window(env)
    obs, _ = made.reset(seed=0)
    np.testing.assert_array_equal(obs, make_env(env).reset(seed=0)[0])
    before = pygame.surfarray.array3d(pygame.display.get_surface())
    for _ in range(3):
        obs, *_ = made.step(1)
    after = pygame.surfarray.array3d(pygame.display.get_surface())
    assert obs.shape == (42, 42) and before.shape == (600, 400, 3) and (before != after).any()
    made.close()


def test_what_can_not_be_drawn_has_no_window(monkeypatch):
    monkeypatch.setattr(window, "has_display", lambda: True)
    window.require_window("Pendulum-v1", "--render human")
    window.require_window("dm_control/pendulum-swingup-v0", "--render human")
    with pytest.raises(UserError, match="Unseen-v0 can't be drawn, so --render human"):
        window.require_window("Unseen-v0", "--render human")


def test_a_window_that_fails_says_so_and_stops_nothing(monkeypatch, capfd):
    there = opened("NoSuchThing-v0", monkeypatch)
    there._process.join(60)
    assert not there.is_open
    there.close()
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 1 and "The window is closed (" in err


def test_a_window_that_is_killed_is_told_of_once(monkeypatch, capsys):
    there = opened("Pendulum-v1", monkeypatch)
    there._process.kill()
    there._process.join(60)
    assert not there.is_open and not there.is_open
    there.close()
    assert capsys.readouterr().err == "The window is gone; training goes on.\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_a_window_does_not_outlive_who_opened_it(tmp_path):
    file = tmp_path / "opens.py"
    file.write_text(
        "from prefloop.envs.make import make_env\n"
        "from prefloop.envs.spaces import spaces_of\n"
        "from prefloop.evaluation.window import Window\n"
        "from prefloop.policies import make_policy\n"
        "if __name__ == '__main__':\n"
        "    policy = make_policy(spaces_of(make_env('Pendulum-v1')), (8,))\n"
        "    there = Window('Pendulum-v1', policy, 0)\n"
        "    print(there._folder, flush=True)\n"
        "    there._process.join()\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": root, "SDL_VIDEODRIVER": "dummy"}
    command = [sys.executable, str(file)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as opens:
        folder = opens.stdout.readline().strip()
        time.sleep(6)
        opens.kill()
    give_up = time.monotonic() + 60
    while Path(folder).exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not Path(folder).exists()


@pytest.mark.parametrize("line", [SAC, PPO, PEBBLE, PREF_PPO])
def test_without_a_display_there_is_a_sentence(run, tmp_path, monkeypatch, line):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    outcome = run(f"{line} p --render human")
    assert_one_sentence(outcome, "--render human needs a display", "--video_every")
    assert not (tmp_path / "p").exists()
