"""The way through it, as a user meets it: collect, label, fit, train, and what becomes of runs."""

import contextlib
import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest
from conftest import ROOT, assert_one_sentence
from serving import ServerProcess
from test_rendering import needs_mujoco

from prefloop.data import dataset
from prefloop.envs import make_env
from prefloop.files import claimed_directory
from prefloop.labelling.arrays import unpack
from prefloop.labelling.client import LabellingClient
from prefloop.labelling.home import running_server
from prefloop.labelling.people import People
from prefloop.labelling.rendering import STATES

COLLECT = "prefloop.cli collect --name cartpole-01 --env CartPole-v0 --episodes 10"
SMALL = "--num-envs 4 --rollout-steps 32 --steps 768 --iteration-steps 256 --segment-length 10 --reward-epochs 3"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with ServerProcess("--home", str(home)) as process:
        yield process


@pytest.fixture(autouse=True)
def _address(server, monkeypatch):
    monkeypatch.setenv("PREFLOOP_SERVER", server.url)


@pytest.fixture
def client(server):
    with LabellingClient(server.url) as client:
        yield client
        for run in client.runs():
            client.delete(run.name)


@contextlib.contextmanager
def labelling(client, run, choose=None):
    """Somebody who labels whatever comes: the longer one, where nothing else is said."""
    stop, session = threading.Event(), uuid.uuid4()

    def longer(query):
        left, right = query.left.length, query.right.length
        return "tie" if left == right else "left" if left > right else "right"

    def label():
        while not stop.is_set():
            with contextlib.suppress(Exception):  # the run is not there yet
                for query in client.lease(run, "ada", session, 4).queries:
                    client.answer(uuid.uuid4(), query.lease, (choose or longer)(query))
            time.sleep(0.05)

    thread = threading.Thread(target=label)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_collecting_again_goes_on_and_never_overwrites(run, client):
    outcome = run(f"{COLLECT} --pairs 6")
    assert outcome.code == 0, outcome.err
    assert "6 queries, 6 of them new" in outcome.out and "/#/label/cartpole-01" in outcome.out
    assert "6 queries, 0 of them new" in run(f"{COLLECT} --pairs 6").out
    assert "9 queries, 3 of them new" in run(f"{COLLECT} --pairs 9").out
    assert_one_sentence(
        run(COLLECT.replace("CartPole-v0", "Acrobot-v1") + " --pairs 6"),
        "CartPole-v0, not Acrobot-v1",
    )
    assert client.run("cartpole-01").counts.queries == 9


def test_collecting_with_policies_and_instructions(run, client, demonstrators):
    policies = " ".join(f"{demonstrators}/policy_checkpoint{i}.params" for i in (0, 9))
    line = f"{COLLECT} --policies {policies} --pairs 5 --segment-length full --repeats 0.5"
    assert run(f"{line} --instructions 'Which stands longer?'").code == 0
    made = client.run("cartpole-01")
    assert made.instructions == "Which stands longer?" and made.repeats == 0.5
    # a command that says nothing of them leaves them
    assert run(f"{COLLECT} --policies {policies} --pairs 5 --segment-length full").code == 0
    assert client.run("cartpole-01").instructions == "Which stands longer?"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--pairs 0", "--pairs must be above 0"),
        ("--segment-length 0", "--segment_length is full or a number, not '0'"),
        ("--segment-length short", "--segment_length is full or a number, not 'short'"),
        ("--segment-length 150", "Can't cut segments of 150 steps"),
        ("--env FrozenLake-v1", "FrozenLake-v1 has observations in Discrete(16)"),
        ("--policies nothing.params", "nothing.params does not exist"),
        ("--name 'a b'", "a run is named by letters"),
        ("--server http://127.0.0.1:1", "does not answer"),
        ("--server nowhere", "nowhere is no address such as http://"),
        ("--env CartPole", "no environment 'CartPole'; did you mean 'CartPole-v1'?"),
    ],
)
def test_what_is_wrong_with_collecting(run, client, flags, words, monkeypatch):
    monkeypatch.setattr("prefloop.labelling.connecting.PATIENCE", 0.2)
    assert_one_sentence(run(f"{COLLECT} --pairs 6 {flags}"), words)
    assert client.runs() == []


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
    assert_one_sentence(
        run("prefloop.cli reward --run cartpole-01 --preferences p --out q"), "give either"
    )


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
    client.rename("cp", "pilot")
    renamed = run(f"{line.replace('--run cp', '--run pilot --out cp')} --labels 8")
    assert renamed.code == 0, renamed.err


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
    ("address", "words"),
    [
        ("{}/foo", "/foo is no labelling server"),
        ("https://{}", "speaks no TLS; is its address http://"),
        ("{}/#/label/cp", ""),  # the page's own address
    ],
)
def test_addresses_that_are_nearly_right(run, server, address, words):
    url = address.format(server.url if "{}/" in address else server.url.removeprefix("http://"))
    outcome = run(f"prefloop.cli runs list --server {url}")
    if words:
        assert_one_sentence(outcome, words)
    else:
        assert outcome.code == 0, outcome.err


def test_waiting_is_said_again_when_it_is_another_number(tmp_path, monkeypatch):
    said, left = [], iter([3, 3, 2, 1, 4, 0])
    people = People(None, "cp", tmp_path, say=said.append, pause=0)
    people.client = type("Client", (), {"page": lambda self, name: "http://page"})()
    monkeypatch.setattr(people, "counts", lambda: type("Counts", (), {"left": next(left)}))
    people.wait()
    assert [sentence.partition(" at ")[0] for sentence in said] == [
        "Waiting for 3 labels", "Waiting for 1 label", "Waiting for 4 labels",
    ]  # fmt: skip


def test_what_can_be_done_with_runs(run, client, tmp_path, monkeypatch):
    assert "There are no runs yet" in run("prefloop.cli runs list").out
    run(f"{COLLECT} --pairs 6")
    with labelling(client, "cartpole-01"):
        while client.run("cartpole-01").counts.left:
            time.sleep(0.05)
    assert "cartpole-01  CartPole-v0" in run("prefloop.cli runs list").out
    facts = run("prefloop.cli runs show cartpole-01").out
    assert "6 queries: 6 answered" in facts
    assert "6 labels of 1 annotator\n1 annotator a query" in facts
    assert run("prefloop.cli runs export cartpole-01 prefs").code == 0
    preferences = dataset.read(tmp_path / "prefs")
    line = json.loads((tmp_path / "prefs" / "preferences.jsonl").read_text().splitlines()[0])
    assert len(preferences) == 6 and line["annotator"] == "ada"
    assert_one_sentence(run("prefloop.cli runs export cartpole-01 prefs"), "prefs exists already")
    assert "6 labels added, 0 were there" in run("prefloop.cli runs import prefs copy").out
    assert "0 labels added, 6 were there" in run("prefloop.cli runs import prefs copy").out
    assert client.run("copy").counts.answered == 6
    assert run("prefloop.cli runs rename copy pilot").code == 0
    assert_one_sentence(run("prefloop.cli runs rename pilot cartpole-01"), "cartpole-01")
    assert_one_sentence(run("prefloop.cli runs rename pilot pilot"), "pilot is its name already")
    assert "6 queries are asked again" in run("prefloop.cli runs label-again pilot").out
    assert client.run("pilot").counts.answered == 0
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert_one_sentence(run("prefloop.cli runs delete pilot"), "pilot was not deleted")
    monkeypatch.setattr("builtins.input", lambda question: "pilot")
    assert run("prefloop.cli runs delete pilot").code == 0
    assert run("prefloop.cli runs delete cartpole-01 --yes").code == 0
    assert client.runs() == []
    assert_one_sentence(run("prefloop.cli runs show"), "show takes NAME after it")
    assert_one_sentence(run("prefloop.cli runs delete gone"), "no run gone")


def test_a_trainer_without_a_server_starts_one(run, tmp_path, monkeypatch):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("PREFLOOP_SERVER", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with LabellingClient(f"http://127.0.0.1:{port}", patience=0.1) as own, labelling(own, "cp"):
        outcome = run(
            f"prefloop.cli pref-ppo --teacher human --run cp --env CartPole-v0 --labels 8 {SMALL}"
        )
    assert outcome.code == 0, outcome.err
    assert f"one was started: label at http://127.0.0.1:{port}" in outcome.out
    assert (tmp_path / "home" / ".prefloop" / "default" / "labels.sqlite3").exists()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)  # it ended with the trainer


def test_a_trainer_that_was_killed_leaves_no_server_and_goes_on(tmp_path):
    home = tmp_path / ".prefloop" / "default"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment |= {"USERPROFILE": str(tmp_path), "PREFLOOP_PROFILE": "default"}
    environment.pop("PREFLOOP_SERVER", None)

    def prefloop(*line):
        return subprocess.Popen(
            [sys.executable, "-m", "prefloop", *line], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def train(name):
        flags = ["--teacher", "human", "--run", name, "--env", "CartPole-v0", "--labels", "8"]
        trainer = prefloop("pref-ppo", *flags, *SMALL.split())
        assert any("Waiting for 6 labels" in line for line in trainer.stdout)
        return trainer

    first = train("cp")
    found = running_server(home)
    assert found.started_by == f"prefloop pref-ppo --run cp (process {first.pid})"
    other = train("other")  # which uses the first one's server
    refused = prefloop("label")
    assert found.started_by in refused.communicate()[0] and refused.returncode == 2
    first.kill()
    first.communicate()
    again = train("cp")
    # whichever of the two was quicker has started it, on which they both go on
    for line in other.stdout:
        if "does not answer" in line:
            break
    listed = prefloop("runs", "list")
    assert "cp " in listed.communicate()[0] and listed.returncode == 0
    with LabellingClient(running_server(home).url) as own, labelling(own, "cp"):
        assert again.wait() == 0, again.stdout.read()
    again.communicate()
    other.kill()
    other.communicate()
    while running_server(home):
        time.sleep(0.05)
    with claimed_directory(home):  # nobody works there any more
        pass


def test_programs_find_the_server_of_their_profile(run, tmp_path, monkeypatch):
    monkeypatch.delenv("PREFLOOP_SERVER")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr("prefloop.labelling.connecting.PATIENCE", 0.2)
    with ServerProcess("--profile", "dev", env={"HOME": str(tmp_path)}) as server:
        assert run("prefloop.cli runs list --profile dev").code == 0
        monkeypatch.setenv("PREFLOOP_PROFILE", "dev")
        assert run(f"{COLLECT} --pairs 3").code == 0
        server.stop()
    assert_one_sentence(
        run("prefloop.cli runs list"),
        "No labelling server of the profile dev",
        "label --profile dev",
    )


def test_a_trainer_that_was_killed_and_a_server_that_went_away_lose_nothing(tmp_path):
    home, line = (
        tmp_path / "home",
        ["pref-ppo", "--teacher", "human", "--run", "cp", "--labels", "8"],
    )
    line += ["--env", "CartPole-v0", *SMALL.split()]
    with ServerProcess("--home", str(home)) as server, LabellingClient(server.url) as own:
        environment = {**server.env, "PREFLOOP_SERVER": server.url}

        def trainer():
            return subprocess.Popen(
                [sys.executable, "-m", "prefloop", *line], cwd=tmp_path, env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip

        killed = trainer()
        assert any("Waiting for" in output for output in killed.stdout)
        killed.kill()
        killed.communicate()
        asked = own.run("cp").counts.queries
        second = trainer()
        assert any("Waiting for" in output for output in second.stdout)
        assert own.run("cp").counts.queries == asked  # what is asked is not asked again
        server.kill()
        assert any("does not answer; waiting" in output for output in second.stdout)
        server.start()
        with labelling(own, "cp"):
            rest = second.stdout.read()
        second.stdout.close()
        assert second.wait() == 0, rest
        assert own.run("cp").counts.queries == 8
    table = rows(tmp_path / "cp" / "metrics.csv")
    assert [row["labels"] for row in table] == ["6", "8", "8"]


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


def test_the_commands_of_the_readme(run, client, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    serve, collect, train = re.findall(
        r"^prefloop (label|collect[^#\n]*|pref-ppo.*human.*?)\s*(?:#.*)?$", readme, re.MULTILINE
    )
    assert serve == "label"  # which runs already
    assert run(f"prefloop.cli {collect} --pairs 6 --episodes 10").code == 0
    with labelling(client, "cartpole-01"):
        assert run(f"prefloop.cli {train} --labels 8 {SMALL}").code == 0
    assert (tmp_path / "cartpole-01" / "final_policy.params").exists()
