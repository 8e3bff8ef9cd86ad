"""`prefloop teach`: one command, a page, and whoever sits before it."""

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import assert_one_sentence
from teaching import labelling, rows

from prefloop import policy_files
from prefloop.cli import main
from prefloop.commands import pebble, pref_ppo, teach
from prefloop.commands.teach import run_name
from prefloop.commands.teaching import Teaching
from prefloop.data import dataset
from prefloop.envs.goals import GOALS, usual_goal
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.labelling.client.on_page import OnPage
from prefloop.labelling.schemas.trainings import WishesOut
from prefloop.rewards import reward_model
from prefloop.training.plans import Plan

pytest_plugins = ["teaching_fixtures"]
pytestmark = pytest.mark.usefixtures("known_server")

TEACH = "prefloop.cli teach --no-browser --queue 4 --segment-length 10"
CARTPOLE = f"{TEACH} --env CartPole-v1 --iteration-steps 2048 --run cp"
NAME = "pendulum-v1-up"
PENDULUM = f"{TEACH} --env Pendulum-v1 --goal Up! --iteration-steps 200 --exploration-steps 1200 --horizon 100"


def training(client, run):
    return client._http.get(f"/api/runs/{run}/training").json()


def until(says, seconds=90):
    deadline = time.monotonic() + seconds
    while not says():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def press(client, run, wish, when=lambda told: True):
    """Presses a button of the page once a trainer is there, and something is so."""
    until(lambda: (told := training(client, run)) and told.get("is_there") and when(told))
    path = f"/api/runs/{run}/training/wishes"
    client._http.post(path, json={"wish": wish}).raise_for_status()


@contextlib.contextmanager
def stopping(client, run, when):
    """Somebody who labels, and stops the training once something is so."""
    with labelling(client, run):
        thread = threading.Thread(target=press, args=(client, run, "stop", when))
        thread.start()
        yield
        thread.join()


def test_it_goes_on_until_it_is_stopped_on_the_page_and_then_again(run, client, tmp_path):
    with stopping(client, "cp", lambda told: told["labels"] >= 8):
        outcome = run(CARTPOLE)
    assert outcome.code == 0, outcome.err
    assert "Teach it at http" in outcome.out and "/#/label/cp" in outcome.out
    assert "it was stopped on the page" in outcome.out
    assert "Next: prefloop show cp\n" in outcome.out
    told = training(client, "cp")
    assert told["phase"] == "ended" and not told["is_there"] and told["sessions"] >= 2
    assert [point["steps"] for point in told["curve"]] == [
        int(row["steps"]) for row in rows(tmp_path / "cp/metrics.csv")
    ]
    assert told["curve"][-1]["length"] > 5
    assert client.run("cp").instructions == "Keep the pole upright, without leaving the track."
    learned = dataset.read(tmp_path / "cp/preferences")
    assert len(learned.answered) >= 8 and learned.segments.lengths.max() == 10
    # the page says how far to trust the reward, and the report shows clips
    trust = client.results("cp").reward.trust
    assert trust is not None and 4 <= trust.answers <= len(learned.answered)
    assert [row.name for row in trust.by_annotator] == ["ada"]
    reported = run("prefloop.cli reward-report cp --out cp-report")
    assert reported.code == 0, reported.err
    assert "for the report, 60 s at most" in reported.err
    page = (tmp_path / "cp-report/report.html").read_text(encoding="utf-8")
    assert page.count("data:video/mp4") == min(10, len(learned.answered))
    assert "no clip" not in page
    before = len(rows(tmp_path / "cp/metrics.csv"))
    with stopping(client, "cp", lambda told: told["labels"] > len(learned)):
        more = run(f"{CARTPOLE.replace('--queue 4', '--queue 5')} --labels 500")
        assert more.code == 0, more.err
    assert len(rows(tmp_path / "cp/metrics.csv")) > before
    assert (tmp_path / "cp/final_policy.params").exists()
    client.delete("cp")
    kept = (tmp_path / "cp/preferences/preferences.jsonl").read_bytes()
    gone = run(CARTPOLE.replace("--queue 4", "--queue 5"))
    assert_one_sentence(gone, "it was deleted", "prefloop runs import cp/preferences cp")
    assert client.runs() == []
    assert (tmp_path / "cp/preferences/preferences.jsonl").read_bytes() == kept
    assert run("prefloop.cli runs import cp/preferences cp").code == 0
    with stopping(client, "cp", lambda told: told["labels"] > len(kept.splitlines())):
        outcome = run(f"{CARTPOLE.replace('--queue 4', '--queue 5')} --labels 500")
        assert outcome.code == 0, outcome.err


def test_pebble_is_paused_asked_and_killed_and_goes_on(client, tmp_path):
    line = [sys.executable, "-m", *PENDULUM.replace("prefloop.cli", "prefloop").split()]
    # where nothing was explored before
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    process = subprocess.Popen(line, cwd=tmp_path, env=home)
    try:
        # in the middle of exploring, somebody can't wait
        until(lambda: (told := training(client, NAME)) and told.get("phase") == "exploring")
        # which it says once the run is its own
        until(lambda: client.run(NAME).instructions == "Up!")
        press(client, NAME, "ask", lambda told: told["steps"] > 250)
        until(lambda: client.run(NAME).counts.queries == 4)
        press(client, NAME, "pause")
        until(lambda: training(client, NAME)["phase"] == "paused")
        steps = training(client, NAME)["steps"]
        time.sleep(2.5)
        assert training(client, NAME)["steps"] == steps
        press(client, NAME, "go-on")
        with labelling(client, NAME, lambda query: random.choice(["left", "right"])):
            until(lambda: training(client, NAME)["labels"] >= 8)
            assert client.run(NAME).counts.left <= 4
        process.send_signal(signal.SIGKILL)
        process.wait()
        # whoever never comes back has what was learned, too
        env = make_vector_env("Pendulum-v1", 1)
        assert policy_files.load(tmp_path / NAME / "final_policy.params", env)
        assert reward_model.load(tmp_path / NAME / "reward.params", env)
        known = client.run(NAME).counts.queries
        process = subprocess.Popen(line, cwd=tmp_path, env=home)
        with labelling(client, NAME, lambda query: random.choice(["left", "right"])):
            until(lambda: client.run(NAME).counts.queries > known, seconds=120)
            press(client, NAME, "stop")
            assert process.wait(timeout=120) == 0
        told = training(client, NAME)
        assert told["phase"] == "ended" and told["video_url"]
        # what the reward says now of all that was done, and not what it said then
        assert all(point["predicted"] is not None for point in told["curve"])
        assert (tmp_path / NAME / "latest.mp4").exists()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_trainer_is_killed_ten_times_while_people_label_and_watch(server, client, tmp_path):
    line = [sys.executable, "-m", *PENDULUM.replace("prefloop.cli", "prefloop").split()]
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    given, seen, over = [], [], threading.Event()

    def watch():  # as the page does
        while not over.wait(0.3):
            told = training(client, NAME) or {}
            seen.append((told.get("phase"), told.get("is_there")))

    def answer(query):
        given.append(query.query)
        return random.choice(["left", "right"])

    watching = threading.Thread(target=watch)
    watching.start()
    with labelling(client, NAME, answer):
        for _ in range(10):
            process = subprocess.Popen(line, cwd=tmp_path, env=home)
            begun = len(given)
            until(lambda n=begun: len(given) >= n + 3, seconds=120)
            time.sleep(random.uniform(0, 3))
            process.kill()
            process.wait()
        until(lambda: training(client, NAME)["heard_seconds"] > 3)
        process = subprocess.Popen(line, cwd=tmp_path, env=home)
        until(lambda: training(client, NAME)["heard_seconds"] < 2)  # it is there again
        press(client, NAME, "stop")
        assert process.wait(timeout=120) == 0
    over.set()
    watching.join()
    # what was answered stands on the server, each once, and what had come by the last fit was learned from
    events = list(client.all_labels(NAME))
    assert len(events) == len(given) >= 30
    assert {event.query for event in events} == set(given)
    learned = dataset.read(tmp_path / NAME / "preferences")
    assert len(events) - len(learned) <= 8
    assert {phase for phase, _ in seen} >= {"exploring", "asking", "learning"}
    assert training(client, NAME)["phase"] == "ended"


class Page:
    """Keeps what it is told."""

    def __init__(self):
        self.said, self.wishes = {}, WishesOut(paused=False, stop=False, asks=0)

    def tell(self, **state):
        self.said |= state


class Learner:
    """Has explored for two iterations and been fitted."""

    exploration_iterations, wishes, labels_left = 2, 0, 7

    def ask_now(self, wished=False):
        self.wishes += wished

    def mean_predicted_rewards(self, iterations):
        return np.full(iterations, 0.5)

    def save(self, directory):
        (directory / "reward.params").touch()


def followed(tmp_path, env, ends_early):
    page, plan = (
        Page(),
        Plan(num_envs=1, rollout_steps=1, rollouts_per_iteration=1000, total_rollouts=100_000),
    )
    make = lambda: torch.nn.Linear(1, 1)  # noqa: E731
    return page, Teaching(page, Learner(), plan, env, ends_early, make, 0, tmp_path)


def test_how_fast_it_is_does_not_count_what_is_done_between_two_steps(tmp_path, monkeypatch):
    """A first fit of minutes was told as hundreds of hours to the next pairs."""
    now = [0.0]
    monkeypatch.setattr("prefloop.commands.teaching.time.monotonic", lambda: now[0])
    page, teaching = followed(tmp_path, EnvSettings(env="CartPole-v1"), ends_early=True)
    teaching.watch([{"steps": 3000, "labels": 0, "reward": math.nan, "episode_length": 20}])
    assert page.said["phase"] == "learning" and page.said["next_pairs"] is None
    now[0] = 300.0  # of fitting
    for _ in range(41):
        teaching.on_steps(1)
        now[0] += 0.1
    assert page.said["steps_per_second"] == pytest.approx(10, rel=0.2)
    assert page.said["next_pairs"] == pytest.approx(97, rel=0.2)


def test_the_curve_is_of_what_is_learned_in(tmp_path):
    """Hopper is judged with early ends and learned in without: six steps were those of nothing on the page."""
    row = {"steps": 3000, "labels": 0, "reward": math.nan, "episode_length": 6.0}
    hopper = EnvSettings(env="Hopper-v5", termination="never")
    page, teaching = followed(tmp_path, hopper, ends_early=False)
    teaching.watch([row])
    assert page.said["curve"] == [{"steps": 3000, "predicted": 500.0, "length": None}]
    page, teaching = followed(tmp_path, EnvSettings(env="CartPole-v1"), ends_early=True)
    teaching.watch([row])
    assert page.said["curve"] == [{"steps": 3000, "predicted": 3.0, "length": 6.0}]
    assert not (tmp_path / "reward.params").exists()  # nothing was learned yet


def test_whoever_wishes_to_be_asked_is_asked_while_it_is_paused_too(tmp_path, monkeypatch):
    page, teaching = followed(tmp_path, EnvSettings(env="CartPole-v1"), ends_early=True)
    page.wishes, looks = WishesOut(paused=True, stop=False, asks=0), iter([1, 1, 2])

    def press(seconds):
        asks = next(looks, None)
        page.wishes = WishesOut(paused=asks is not None, stop=False, asks=asks or 2)

    monkeypatch.setattr("prefloop.commands.teaching.time.sleep", press)
    teaching.on_steps(1)
    assert teaching._learner.wishes == 2
    assert page.said["labels_left"] == 7


def test_two_that_teach_one_run(run, client, tmp_path):
    client.put_run("cp", env="CartPole-v1", spaces=Spaces((4,), "float32", True, 2))
    with OnPage(client, "cp", tmp_path / "there").kept():
        elsewhere = OnPage(client, "cp", tmp_path / "elsewhere")
        with pytest.raises(UserError, match="Another program trains"), elsewhere.kept():
            pass
        outcome = run(CARTPOLE)
        assert_one_sentence(outcome, "Another program trains on the run cp")
        assert not (tmp_path / "cp").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            "--env CartPole-v1 --method pebble",
            ["continuous actions", "Leave --method out, or give --method pref-ppo."],
        ),
        ("--env Nothing-v0", ["Nothing-v0"]),
        ("--env CartPole-v1 --queue 0", ["--queue"]),
        ("--env CartPole-v1 --run ../up", ["run"]),
        ("--env CartPole-v1 --segment-length 9999", ["--segment_length"]),
        ("--env CartPole-v1 --learning-horizon 50", ["--learning_horizon is for --method pebble"]),
        ("--env CartPole-v1 --exploration-steps 5", ["--exploration_steps is for --method pebble"]),
        (
            "--env Pendulum-v1 --pixels 42 --method pebble",
            ["observes vectors", "give --method pref-ppo"],
        ),
    ],
)
def test_what_can_not_be_taught(run, client, tmp_path, flags, words):
    outcome = run(f"prefloop.cli teach --no-browser {flags}")
    assert_one_sentence(outcome, *words)
    assert "Teach it at" not in outcome.out
    assert list(tmp_path.iterdir()) == [] and client.runs() == []


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        ("--env Pendulum-v1", "pebble"),
        ("--env Pendulum-v1 --pixels 42", "pref-ppo"),
        ("--env CartPole-v1", "pref-ppo"),
    ],
)
def test_how_it_is_taught_follows_from_the_environment(run, monkeypatch, flags, method):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    begun = []
    for name, module in (("pebble", pebble), ("pref-ppo", pref_ppo)):
        monkeypatch.setattr(module, "train", lambda *_, name=name, **__: begun.append(name))
    assert run(f"prefloop.cli teach --no-browser {flags}").code == 0
    assert begun == [method]


def test_who_is_refused_changes_nothing_of_the_run(run, client, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/final_policy.params").write_text("")
    assert_one_sentence(run(f"{CARTPOLE} --out file"), "file is a file")
    assert client.runs() == []
    spaces = Spaces((4,), "float32", True, 2)
    client.put_run("cp", env="CartPole-v1", spaces=spaces, instructions="Up.")
    for flags in ("--out file", "--out other", "--horizon 100"):
        assert run(f"{CARTPOLE} --goal Down. {flags}").code == 2
        assert client.run("cp").instructions == "Up."
    with OnPage(client, "cp", tmp_path / "there").kept():
        assert_one_sentence(run(f"{CARTPOLE} --goal Down."), "Another program trains on the run cp")
    assert client.run("cp").instructions == "Up."
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other"}


@pytest.mark.parametrize("goal", ["", "Down."])
def test_a_goal_is_said_once_and_can_be_put_in_other_words(run, client, goal):
    client.put_run(
        "cp", env="CartPole-v1", spaces=Spaces((4,), "float32", True, 2), instructions="Up."
    )
    with stopping(client, "cp", lambda told: True):
        assert run(f"{CARTPOLE} --goal={goal}").code == 0
    assert client.run("cp").instructions == (goal or "Up.")


@pytest.mark.parametrize(
    ("one", "other"), [("הפוך", "קדימה"), ("again and " * 40, "again and " * 41)]
)
def test_two_goals_of_one_name_are_not_mixed(run, client, tmp_path, one, other):
    name = run_name("CartPole-v1", one)
    assert name == run_name("CartPole-v1", other)
    client.put_run(
        name, env="CartPole-v1", spaces=Spaces((4,), "float32", True, 2), instructions=one
    )
    outcome = run(f"{TEACH} --env CartPole-v1 --goal '{other}'")
    assert_one_sentence(outcome, f"The run {name} is taught another goal already", "--run NAME")
    assert client.run(name).instructions == one
    assert list(tmp_path.iterdir()) == []


def test_a_goal_that_nobody_reads(run):
    outcome = run(f"prefloop.cli teach --env CartPole-v1 --goal {'up' * 6000}")
    assert_one_sentence(outcome, "--goal has 12000 characters")


@pytest.mark.parametrize(
    "line",
    [
        "teach --env CartPole-v1 --goal={}",
        "collect --env CartPole-v1 --name c --instructions={}",
        "arena --name a --policies x y --instructions={}",
        "pebble --env Pendulum-v1 --run p --teacher human --labels 2 --instructions={}",
        "pref-ppo --env CartPole-v1 --run p --teacher human --labels 2 --instructions={}",
    ],
)
@pytest.mark.parametrize("text", ["a\x1b[31mb", "\udcff\udcfe"])
def test_nobody_is_given_to_read_what_is_no_text(client, tmp_path, capsys, monkeypatch, line, text):
    monkeypatch.chdir(tmp_path)
    name, *flags = line.split()
    with pytest.raises(SystemExit) as stop:
        main([name, *(flag.format(text) for flag in flags)])
    assert stop.value.code == 2
    assert "holds control characters, or what is no UTF-8" in capsys.readouterr().err
    assert client.runs() == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "changes", "said"),
    [
        ("--env dm_control/walker-walk-v0", {"action_repeat": 2}, "action_repeat 2.\n"),
        ("--env dm_control/walker-walk-v0 --action_repeat 4", {"action_repeat": 4}, ""),
        ("--env dm_control/walker-walk-v0 --action_repeat 1 --frame_stack 1", {}, ""),
        ("--env prefloop/Dot-v0", {"frame_stack": 2}, "frame_stack 2.\n"),
        ("--env prefloop/Dot-v0 --frame_stack 1", {}, ""),
        ("--env CartPole-v1", {}, ""),
        ("--env HalfCheetah-v5", {}, ""),  # whose file is about its methods alone
    ],
)
def test_an_environment_is_what_the_methods_own_command_makes_of_it(
    run, monkeypatch, flags, changes, said
):
    asked = []
    monkeypatch.setattr(teach, "main", asked.append)
    outcome = run(f"prefloop.cli teach --no-browser {flags}")
    assert outcome.code == 0, outcome.err
    assert [settings.environment.changes for settings in asked] == [changes]
    assert outcome.out.endswith(said) and bool(said) == ("Settings for" in outcome.out)


@pytest.mark.parametrize(
    ("flags", "horizon"),
    [
        ("--env Ant-v5", 200),  # ten seconds
        ("--env Ant-v5 --learning-horizon 300", 300),
        ("--env Ant-v5 --horizon 400", None),
        ("--env Walker2d-v5", None),  # which has eight
        ("--env HalfCheetah-v5", None),  # which nothing ends
        ("--env HalfCheetah-v5 --learning-horizon 300", 300),
        ("--env Hopper-v5", None),  # which has eight, too
        ("--env InvertedPendulum-v5", None),  # which can't go on
    ],
)
def test_what_would_have_ended_by_a_fall_begins_anew(run, monkeypatch, flags, horizon):
    pytest.importorskip("mujoco")
    asked = []
    monkeypatch.setattr(pebble, "train", lambda settings, *_, **__: asked.append(settings))
    outcome = run(f"prefloop.cli teach --no-browser {flags}")
    assert outcome.code == 0, outcome.err
    assert [settings.learning_horizon for settings in asked] == [horizon]
    # somebody may want what ends an episode, and sees what comes after it
    assert not any(settings.pebble.experience.absorb_termination for settings in asked)


def test_runs_are_named_after_what_is_taught():
    assert run_name("Hopper-v5", "Do a backflip!") == "hopper-v5-do-a-backflip"
    assert run_name("dm_control/walker-walk-v0", "") == "walker-walk-v0"
    assert len(run_name("Hopper-v5", "again and " * 40)) <= 64


def test_usual_goals_are_of_environments_that_there_are():
    known = {env.rpartition("-v")[0] for env in gym.registry}
    assert {env for env in GOALS if "/" not in env} <= known
    assert usual_goal("CartPole-v0") == usual_goal("CartPole-v1") == GOALS["CartPole"]
    assert usual_goal("mine:CartPole-v0") == GOALS["CartPole"]
    assert usual_goal("Unheard-v3") == ""
