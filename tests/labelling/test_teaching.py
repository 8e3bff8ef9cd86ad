"""Labels become a reward and a policy, as a user meets it."""

import contextlib
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import assert_one_sentence
from serving import ServerProcess
from teaching import COLLECT, SMALL, labelling, rows
from test_rendering import needs_mujoco

from prefloop.data import dataset
from prefloop.data.segments import STATES
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.files import read_json
from prefloop.labelling.arrays import unpack
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.people import People
from prefloop.labelling.server.rendering import Renderer

pytest_plugins = ["teaching_fixtures"]
pytestmark = pytest.mark.usefixtures("known_server")


def test_labels_become_a_reward_and_the_results_page_hears_of_it(run, client, tmp_path):
    assert_one_sentence(run("prefloop.cli reward --run cartpole-01 --out r"), "no run cartpole-01")
    run(f"{COLLECT} --pairs 12")
    assert_one_sentence(
        run("prefloop.cli reward --run cartpole-01 --out r"), "Nobody has labelled anything"
    )
    assert not (tmp_path / "r").exists()
    with labelling(client, "cartpole-01"):
        while client.run("cartpole-01").counts.left:
            time.sleep(0.05)
    outcome = run("prefloop.cli reward --run cartpole-01 --reward-epochs 30 --out r")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "r" / "reward.params").exists()
    assert len(dataset.read(tmp_path / "r" / "preferences")) == 12
    report = client.results("cartpole-01").reward
    assert report is not None and report.accuracy > 0.7
    assert len(report.hardest) == min(10, report.labels)
    for hard in report.hardest:  # step by step, of what was shown
        for side, told in ((hard.first, hard.first_reward), (hard.second, hard.second_reward)):
            assert told is not None and len(told.learned) == side.length
            assert all(map(float.__le__, told.lowest, told.learned))
            assert all(map(float.__le__, told.learned, told.highest))
    assert_one_sentence(
        run("prefloop.cli reward --run cartpole-01 --preferences p --out q"), "give either"
    )
    who = [one.annotator for one in client.results("cartpole-01").annotators]
    for out in (True, False):
        for one in who:
            client.exclude("cartpole-01", one, out)
        if out:
            outcome = run("prefloop.cli reward --run cartpole-01 --out nobody")
            assert_one_sentence(outcome, "no labels but those of who is left out")
    # a fit that goes on is of the labels that stand, too, where none came since
    outcome = run("prefloop.cli reward --run cartpole-01 --reward-epochs 30 --out r --resume")
    assert outcome.code == 0 and "Note:" not in outcome.out, outcome.err
    # labels that came since are another fit's, and the report is of the newest
    assert_one_sentence(
        run("prefloop.cli reward --run cartpole-01 --out r"), "holds a fit to earlier labels"
    )
    run(f"{COLLECT} --pairs 15")
    with labelling(client, "cartpole-01"):
        while client.run("cartpole-01").counts.left:
            time.sleep(0.05)
    outcome = run("prefloop.cli reward --run cartpole-01 --reward-epochs 30 --out r --resume")
    assert "12 labels that it began with, and others stand by now, 15 in all" in outcome.out
    now = client.results("cartpole-01").reward
    assert now is not None
    assert (now.accuracy, now.labels) == (report.accuracy, report.labels)
    # who answered is known of people, too
    line = "prefloop.cli reward --run cartpole-01 --reward-epochs 12 --out s --held-out 0"
    outcome = run(f"{line} --annotator-errors learned")
    assert outcome.code == 0, outcome.err
    assert read_json(tmp_path / "s" / "run.json")["annotators"]["ada"]["answers"] == 15
    assert "ada" in outcome.out


@pytest.mark.parametrize("flags", ["--wait", "--no-wait"])
def test_people_teach_a_policy_and_a_run_that_was_stopped_goes_on(run, client, tmp_path, flags):
    line = f"prefloop.cli pref-ppo --teacher human --run cp {flags} {SMALL}"
    assert_one_sentence(run(f"{line} --labels 8"), "There is no run cp")
    with labelling(client, "cp"):
        outcome = run(f"{line} --labels 8 --env CartPole-v0")
    assert outcome.code == 0, outcome.err
    table = rows(tmp_path / "cp" / "metrics.csv")
    assert len(table) == 3
    if flags == "--wait":
        assert [row["labels"] for row in table] == ["6", "8", "8"]
    assert client.run("cp").counts.queries == 8
    assert (tmp_path / "cp" / "final_policy.params").exists()
    assert client.results("cp").reward is not None or "labels came" in outcome.out
    # the same command again finds everything done, and asks nobody anything
    again = run(f"{line} --labels 8")
    assert again.code == 0, again.err
    assert client.run("cp").counts.queries == 8
    # and so it does where the run has another name by now
    told = run("prefloop.cli runs rename cp pilot").out
    assert "--run pilot --out cp" in told
    renamed = run(f"{line.replace('--run cp', '--run pilot --out cp')} --labels 8")
    assert renamed.code == 0, renamed.err
    assert "begins from nothing" not in renamed.err
    # without the folder nothing that a policy has learned is used, and that is said
    anew = run(f"{line.replace('--run cp', '--run pilot')} --labels 8")
    assert anew.code == 0, anew.err
    assert "begins from nothing in pilot. The run pilot has 8 labels already" in anew.err
    assert "--out FOLDER goes on there" in anew.err
    assert len(rows(tmp_path / "pilot" / "metrics.csv")) == 3


PEBBLE = (
    "--steps 600 --iteration-steps 150 --exploration-steps 300 --exploration-states 32 --random-steps 50 "
    "--updates-per-step 0.2 --labels 8 --segment-length 20 --hidden-sizes 8 --batch-size 16 "
    "--reward-hidden-sizes 8 --reward-epochs 3 --evaluation-episodes 1 --no-keep-exploration"
)


def test_labels_that_were_collected_count(run, client, tmp_path):
    run(f"{COLLECT.replace('cartpole-01', 'cp')} --pairs 8")
    with labelling(client, "cp"):
        assert run(f"prefloop.cli pref-ppo --teacher human --run cp {SMALL} --labels 8").code == 0
    table = rows(tmp_path / "cp" / "metrics.csv")
    assert [row["labels"] for row in table] == ["8", "8", "8"]
    assert table[0]["reward"] != "nan"  # learned from at once
    assert client.run("cp").counts.queries == 8


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--teacher human --env CartPole-v0 --out p", "--teacher human and --run NAME go together"),
        ("--run cp", "--teacher human and --run NAME go together"),
        ("--teacher human --run cp --mistakes 0.1", "people have no --mistakes"),
        ("--env CartPole-v0", "--env and --out are needed"),
    ],
)
def test_what_people_can_not_be_asked(run, flags, words):
    assert_one_sentence(run(f"prefloop.cli pref-ppo {flags}"), words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--run cp --env CartPole --labels 8", "did you mean 'CartPole-v1'?"),
        ("--run cp --env CartPole-v0 --labels 100000", "more than the 512 steps"),
        ("--run 'c p' --env CartPole-v0 --labels 8", "a run is named by"),
        ("--run cp --labels 8", "There is no run cp"),
    ],
)
def test_a_trainer_that_can_not_begin_leaves_nothing(run, client, tmp_path, flags, words):
    before = set(tmp_path.iterdir())
    assert_one_sentence(run(f"prefloop.cli pref-ppo --teacher human {SMALL} {flags}"), words)
    assert set(tmp_path.iterdir()) == before
    assert client.runs() == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pebble --env CartPole-v1", "SAC needs continuous actions"),
        ("pebble --env Pendulum-v1 --pixels 42", "SAC's policy observes vectors"),
        ("pebble --env Pendulum-v1 --init nothing.params", "nothing.params does not exist"),
        ("pebble --env Pendulum-v1 --reward_encoders apart", "vectors have no encoder"),
        ("pref-ppo --env Pendulum-v1 --init nothing.params", "nothing.params does not exist"),
        ("pref-ppo --env Pendulum-v1 --encoder impala", "An encoder of pictures"),
    ],
)
def test_what_no_method_can_learn_from_leaves_nothing(run, client, tmp_path, command, words):
    outcome = run(f"prefloop.cli {command} --teacher human --run cp --labels 8")
    assert_one_sentence(outcome, words)
    assert list(tmp_path.iterdir()) == []
    assert client.runs() == []


def test_waiting_is_said_again_when_it_is_another_number(tmp_path, monkeypatch):
    said, left = [], iter([3, 3, 2, 1, 4, 0])
    people = People(None, "cp", tmp_path, say=said.append, pause=0)
    people.client = type("Client", (), {"page": lambda self, name: "http://page"})()
    monkeypatch.setattr(people, "counts", lambda: type("Counts", (), {"left": next(left)}))
    people.wait()
    assert [sentence.partition(" at ")[0] for sentence in said] == [
        "Waiting for 3 labels", "Waiting for 1 label", "Waiting for 4 labels",
    ]  # fmt: skip


def shown(home, run):
    """The segments of a run as the server has them, in an order that does not depend on its ids."""
    with contextlib.closing(sqlite3.connect(home / "labels.sqlite3")) as database:
        rows = database.execute(
            "SELECT arrays FROM segments JOIN runs ON runs.id = segments.run WHERE runs.name = ?",
            (run,),
        ).fetchall()
    return sorted((unpack(arrays) for (arrays,) in rows), key=lambda segment: segment.digest)


@needs_mujoco
def test_people_see_what_a_robot_did_also_where_the_trainer_was_killed(run, tmp_path, monkeypatch):
    home = tmp_path / "home"
    line = f"pref-ppo --teacher human --env Hopper-v5 --labels 8 {SMALL}"
    with ServerProcess("--home", str(home)) as server, LabellingClient(server.url) as own:
        monkeypatch.setenv("PREFLOOP_SERVER", server.url)

        def trainer():
            return subprocess.Popen(
                [sys.executable, "-m", "prefloop", *line.split(), "--run", "killed"],
                cwd=tmp_path, env={**server.env, "PREFLOOP_SERVER": server.url},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip

        with labelling(own, "unbroken"):
            assert run(f"prefloop.cli {line} --run unbroken").code == 0
        with trainer() as first:  # killed while it waits for the first labels
            assert any("Waiting for" in output for output in first.stdout)
            first.kill()
        with trainer() as second:  # and again while it waits for those of the next iteration
            assert "Settings for Hopper-v5" in second.stdout.readline()
            assert "Waiting for" in second.stdout.readline()
            with labelling(own, "killed"):
                while own.run("killed").counts.left:
                    time.sleep(0.05)
            assert any("Waiting for" in output for output in second.stdout)
            second.kill()
        with labelling(own, "killed"):
            assert run(f"prefloop.cli {line} --run killed").code == 0
    for name in ("metrics.csv", "final_policy.params"):
        killed, unbroken = (tmp_path / folder / name for folder in ("killed", "unbroken"))
        assert killed.read_bytes() == unbroken.read_bytes()
    ours, theirs = shown(home, "killed"), shown(home, "unbroken")
    assert len(ours) == len(theirs) > 8
    base = make_env("Hopper-v5").unwrapped
    base.reset(seed=0)
    for segment, other in zip(ours, theirs, strict=True):
        assert segment.digest == other.digest
        states = segment.replay[STATES][: segment.length]
        np.testing.assert_array_equal(states, other.replay[STATES][: other.length])
        for state, obs in zip(states, segment.obs, strict=True):
            base.set_state(*np.split(state, [base.model.nq]))
            np.testing.assert_array_equal(base._get_obs().astype(np.float32), obs)


@needs_mujoco
def test_people_teach_pebble_what_a_robot_of_dm_control_did(run, tmp_path, monkeypatch):
    pytest.importorskip("dm_control")
    home = tmp_path / "home"
    line = f"prefloop.cli pebble --teacher human --run walker {PEBBLE}"
    env = EnvSettings(env="dm_control/walker-walk-v0", action_repeat=2)
    taking_turns = iter(["left", "right"] * 100)
    with ServerProcess("--home", str(home)) as server, LabellingClient(server.url) as own:
        monkeypatch.setenv("PREFLOOP_SERVER", server.url)
        assert_one_sentence(run(line), "There is no run walker; --env makes one.")
        with labelling(own, "walker", choose=lambda query: next(taking_turns)):
            outcome = run(f"{line} --env {env.env} --action-repeat 2")
        assert outcome.code == 0, outcome.err
        table = rows(tmp_path / "walker" / "metrics.csv")
        assert [row["labels"] for row in table] == ["0", "0", "6", "8"]
        assert own.results("walker").reward is not None
        # the same command again finds everything done, and asks nobody anything
        assert run(line).code == 0
        assert own.run("walker").counts.queries == 8
        # where episodes end early, people see and teach what does not
        fallen = line.replace("--run walker", "--run hopper")
        with labelling(own, "hopper", choose=lambda query: next(taking_turns)):
            outcome = run(f"{fallen} --env Hopper-v5 --instructions 'As far as it can.'")
        assert outcome.code == 0, outcome.err
        hopper = own.run("hopper")
        assert hopper.env_changes == {"termination": "never", "fallen_steps": 100}
        assert hopper.instructions == "As far as it can."
        # the same command, without the environment, goes on with what it is judged in
        outcome = run(fallen)
        assert outcome.code == 0, outcome.err
        assert read_json(tmp_path / "hopper" / "run.json").get("env_changes") is None
    # people see the simulator's states, which the replay buffer keeps
    segments = shown(home, "walker")
    assert len(segments) > 8 and all(len(s.replay[STATES]) == s.length == 20 for s in segments)
    frames = list(Renderer(env).frames(segments[0]))
    assert len(frames) == 20 and (frames[0] != frames[-1]).any()
