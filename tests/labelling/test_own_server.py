"""A trainer's own server, and what happens when either is killed."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from unittest import mock
from urllib.parse import urlsplit

import pytest
from conftest import ROOT, assert_one_sentence
from serving import ServerProcess
from teaching import COLLECT, SMALL, labelling, rows

from prefloop import errors
from prefloop.files import claimed_directory
from prefloop.labelling.client import connecting
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.settings import ServerSettings
from prefloop.labelling.home import running_server
from prefloop.startup import group_of_its_own

pytest_plugins = ["teaching_fixtures"]
pytestmark = pytest.mark.usefixtures("known_server")


def test_a_trainer_without_a_server_starts_one(run, tmp_path, monkeypatch):
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


def test_a_server_of_another_folder_is_said_to_be_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(errors, "_noted", set())
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    monkeypatch.delenv("PREFLOOP_SERVER", raising=False)
    with ServerProcess("--home", str(tmp_path / "theirs")) as theirs:
        monkeypatch.setattr(connecting, "DEFAULT_SERVER", theirs.url)
        with connecting.connected(ServerSettings(), start="a test") as client:
            assert client.url == theirs.url
        said = capsys.readouterr()
        # a table on stdout is for other programs, too
        assert f"this uses the labelling server at {theirs.url}" in said.err and not said.out
        with connecting.connected(ServerSettings(server=theirs.url)):
            assert capsys.readouterr().err == ""


def test_a_port_that_somebody_takes_in_between_is_left_to_them(tmp_path, monkeypatch):
    """As where two trainers start at once: the port was free when it was looked at."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PREFLOOP_SERVER", raising=False)
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        port = theirs.getsockname()[1]
        monkeypatch.setattr(connecting, "DEFAULT_SERVER", f"http://127.0.0.1:{port}")
        looked = iter([True, False])  # before and after it was tried
        monkeypatch.setattr(connecting, "_is_free", lambda port: next(looked))
        with connecting.connected(ServerSettings(profile="mine"), start="a test") as client:
            assert client.health()
            assert urlsplit(client.url).port != port


def test_ctrl_c_reaches_the_trainer_alone_also_on_windows(tmp_path, monkeypatch):
    """Where a session of its own is accepted and does nothing."""
    with pytest.raises(InterruptedError), contextlib.ExitStack() as stack:
        given = mock.Mock(side_effect=InterruptedError)
        monkeypatch.setattr(connecting.subprocess, "Popen", given)
        monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
        monkeypatch.setattr(sys, "platform", "win32")
        connecting._start(stack, tmp_path, 0, "a test")
    assert given.call_args.kwargs["creationflags"] == 512
    monkeypatch.undo()
    if sys.platform != "win32":
        assert group_of_its_own() == {"start_new_session": True}


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
    monkeypatch.setattr("prefloop.labelling.client.connecting.PATIENCE", 0.2)
    with ServerProcess("--profile", "dev", env={"HOME": str(tmp_path)}) as server:
        assert run("prefloop.cli runs list --profile dev").code == 0
        # what is given counts more than what the environment has for all commands
        monkeypatch.setenv("PREFLOOP_SERVER", "http://127.0.0.1:9")
        assert run("prefloop.cli runs list --profile dev").code == 0
        assert_one_sentence(run("prefloop.cli runs list"), "http://127.0.0.1:9")
        monkeypatch.delenv("PREFLOOP_SERVER")
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
