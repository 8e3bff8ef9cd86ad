"""The server as its users start it."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import uuid

import httpx
import numpy as np
import pytest
from conftest import ROOT, assert_one_sentence
from made_up import make_segments
from serving import ServerProcess
from serving import serving as served

from prefloop.envs.make import make_env
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.files import claimed_directory
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.home import (
    SERVER,
    Running,
    announce,
    home_directory,
    make_home,
    running_server,
)
from prefloop.labelling.server import serving
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore, examine
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.guard import origin_of
from prefloop.labelling.server.security import make_tokens, write_tokens
from prefloop.labelling.server.storage.store import Store
from prefloop.startup import noted_interrupts


def test_it_starts_says_where_and_stops(tmp_path):
    with ServerProcess("--home", str(tmp_path / "home")) as process:
        with httpx.Client(base_url=process.url, trust_env=False) as client:
            assert client.get("/api/health").json()["role"] == "trainer"
        code, output = process.stop()
    assert code == 130
    assert "every answer is on disk" in output
    assert "Traceback" not in output
    made = {path.name for path in (tmp_path / "home").iterdir()}
    assert made == {"labels.sqlite3", "labelling.yaml", "server.log", "pseudonyms.key", ".lock"}


@pytest.mark.parametrize("slow", ["torch", "scipy"])
def test_it_starts_without_what_is_slow_to_import(slow):
    code = f"import sys, prefloop.labelling.server.serving; sys.exit({slow!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_killed_server_starts_again(tmp_path):
    with ServerProcess("--home", str(tmp_path)) as process:
        for _ in range(2):
            process.kill()
            process.start()
        with httpx.Client(base_url=process.url, trust_env=False) as client:
            assert client.get("/api/runs").json() == []


def test_profiles_are_apart(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("PREFLOOP_PROFILE", raising=False)
    folder = tmp_path / ".prefloop"
    assert home_directory("", "") == folder / "default"
    assert home_directory("dev", "") == folder / "dev"
    monkeypatch.setenv("PREFLOOP_PROFILE", "test")
    assert home_directory("") == folder / "test"
    assert home_directory("dev", str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="its name is no UTF-8"):
        home_directory("", "caf\udce9")
    for wrong in ("..", "a/b", ".hidden", "a" * 65):
        with pytest.raises(UserError, match="A profile is named by"):
            home_directory(wrong, "")


def test_a_taken_port_ends_in_a_sentence(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = run(f"prefloop.cli label --home {tmp_path / 'home'} --port {port}")
    assert_one_sentence(outcome, f"port {port}", "already in use", "another --port")
    assert not (tmp_path / "home" / "labels.sqlite3").exists()


def test_of_two_servers_that_start_at_once_one_has_the_port():
    with (
        serving._listening(serving.Address(port=0)) as first,
        pytest.raises(UserError, match="already in use"),
    ):
        serving._listening(serving.Address(port=first.getsockname()[1]))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--port 70000", "--port must be between"),
        ("--host no-such-host.invalid", "Can't listen on no-such-host.invalid"),
        ("--profile ../up", "A profile is named by"),
        ("--database-url mysql://x/y --port 0", "SQLite or PostgreSQL"),
        ("--public-url labels.example.org --port 0", "no address such as"),
        ("--home file", "is a file"),
        ("--settings nosuch.yaml --port 0", "There is no file nosuch.yaml"),
    ],
)
def test_a_mistake_ends_in_a_sentence(run, tmp_path, monkeypatch, flags, words):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "file").write_text("")
    assert_one_sentence(run(f"prefloop.cli label {flags}"), words)


def test_two_servers_do_not_share_a_folder(run, tmp_path):
    with ServerProcess("--home", str(tmp_path)) as process:
        outcome = run(f"prefloop.cli label --home {tmp_path} --port 0")
        told = f"A server for {tmp_path} runs already at {process.url} (process {process.process.pid})."
        assert_one_sentence(outcome, told)
        assert running_server(tmp_path) == Running(process.url, process.process.pid)
        process.stop()
    assert not (tmp_path / SERVER).exists()


def test_who_started_a_server_is_said(run, tmp_path):
    with claimed_directory(tmp_path):
        announce(tmp_path, Running("http://127.0.0.1:9", 7, "prefloop pref-ppo (process 6)"))
        outcome = run(f"prefloop.cli label --home {tmp_path} --port 0")
    assert_one_sentence(outcome, "(process 7); prefloop pref-ppo (process 6) started it")


def test_a_server_that_leaves_its_folder_is_waited_for(run, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "START_SECONDS", 0.1)
    with claimed_directory(tmp_path):
        outcome = run(f"prefloop.cli label --home {tmp_path} --port 0")
    assert_one_sentence(outcome, "Another process is writing")


def test_what_a_killed_server_says_is_not_believed(tmp_path):
    with ServerProcess("--home", str(tmp_path)) as process:
        process.kill()
        assert json.loads((tmp_path / SERVER).read_text())["url"] == process.url
        assert running_server(tmp_path) is None
        with claimed_directory(tmp_path):
            (tmp_path / SERVER).write_text("{}")
            assert running_server(tmp_path) is None


def test_a_server_ends_with_the_program_that_started_it(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'prefloop', 'label', *sys.argv[1:]],"
        " stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)"
    )
    flags = ["--home", str(tmp_path), "--port", "0", "--started-by", "me"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *flags], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as starter:
        assert "Labelling at" in starter.stdout.readline()
        found = running_server(tmp_path)
        assert found.started_by == "me"
        starter.kill()
        assert starter.stdout.read() == ""  # the server has it, too, and holds it until it ends
    assert not (tmp_path / SERVER).exists()
    with claimed_directory(tmp_path):
        pass


def test_bad_settings_are_named_before_anything_is_made(run, tmp_path):
    (tmp_path / "labelling.yaml").write_text("allow_ties: true\nrepeats: 7\n")
    outcome = run(f"prefloop.cli label --home {tmp_path} --port 0")
    assert_one_sentence(outcome, "labelling.yaml, line 2", "repeats must be between 0 and 1, not 7")
    assert not (tmp_path / "labels.sqlite3").exists()


def test_a_newer_schema_ends_in_a_sentence(run, tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'labels.sqlite3'}")
    newer = "UPDATE alembic_version SET version_num = '999'"
    store._database.write(lambda connection: connection.exec_driver_sql(newer))
    store.close()
    outcome = run(f"prefloop.cli label --home {tmp_path} --port 0")
    assert_one_sentence(outcome, "has schema 999", "install a newer one")


def test_tokens_are_shown_once_and_keep_holding(tmp_path):
    flags = ("--home", str(tmp_path), "--public-url", "https://labels.example.org")

    def started(*more):
        return ServerProcess(*flags, *more, port=free_port()).start()

    first = started()
    with httpx.Client(base_url=first.url, trust_env=False) as client:
        assert client.get("/api/runs").status_code == 401
        _, output = first.stop()
    token = output.partition("#token=")[2].split()[0]
    trainer = output.partition("PREFLOOP_TOKEN=")[2].split()[0]
    stored = (tmp_path / "tokens.json").read_text()
    assert token not in stored
    assert trainer not in stored
    again = started()
    with httpx.Client(base_url=again.url, trust_env=False) as client:
        bearer = {"authorization": f"Bearer {token}"}
        assert client.get("/api/runs", headers=bearer).status_code == 200
        # a proxy passes either name on; the page's writes carry the public origin
        own = {**bearer, "host": "labels.example.org", "origin": "https://labels.example.org"}
        wish = {"annotator": "ada", "session": "0" * 32}
        assert client.post("/api/runs/x/leases", headers=own, json=wish).status_code == 404
        _, output = again.stop()
    assert "token=" not in output
    assert "were shown before" in output
    new = started("--new-tokens")
    with httpx.Client(base_url=new.url, trust_env=False) as client:
        assert client.get("/api/runs", headers=bearer).status_code == 401
        new.stop()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_any_other_host_demands_tokens():
    assert serving.Address("127.0.0.1").is_private
    assert serving.Address("::1").is_private
    assert not serving.Address("0.0.0.0").is_private
    assert not serving.Address("192.168.1.2").is_private
    assert not serving.Address(public_url="https://labels.example.org").is_private


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Labels.example.org/some/page", "https://labels.example.org"),
        ("http://labels:8080", "http://labels:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://[::1]:80/", "http://[::1]"),
        ("https://labels.example.org:443", "https://labels.example.org"),
        ("https://labels.example.org:80", "https://labels.example.org:80"),
        ("https://[2001:DB8:0::1]/", "https://[2001:db8::1]"),
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
    ],
)
def test_origins(url, origin):
    """As browsers name them."""
    assert origin_of(url) == origin


@pytest.mark.parametrize("public", ["https://labels.example.org:8443", "https://[2001:db8::1]"])
def test_the_public_name_is_one_of_the_servers_own(tmp_path, public):
    hosts = serving._hosts(serving.Address(public_url=public))
    store = Store(f"sqlite:///{tmp_path / 'labels.sqlite3'}")
    app = create_app(
        store, ClipStore(tmp_path / "clips", 10**6), SettingsFile(tmp_path / "s.yaml"), hosts=hosts
    )
    with served(app) as api:
        for host in (public.partition("://")[2], "127.0.0.1", "[::1]:8000"):
            assert api.get("/api/health", headers={"host": host}).status_code == 200
        assert api.get("/api/health", headers={"host": "[2001:db8::2]"}).status_code == 400
    store.close()


@pytest.mark.parametrize(
    "url", ["labels.example.org", "ftp://x", "http://", "http://x:y", "//x", "http://[x:y]"]
)
def test_what_is_no_origin(url):
    with pytest.raises(UserError, match="no address such as"):
        origin_of(url)


def test_clips_appear_by_themselves(tmp_path):
    env = make_env("CartPole-v1")
    states = [env.reset(seed=0)[0]]
    for _ in range(4):
        states.append(env.step(0)[0])
    env.close()
    segments = make_segments([states, states[::-1]], np.zeros((2, 5), dtype=np.int64))
    with (
        ServerProcess("--home", str(tmp_path)) as process,
        LabellingClient(process.url) as client,
    ):
        client.put_run("r", env="CartPole-v1", spaces=Spaces((4,), "float32", True, 2))
        first, second = client.add_segments("r", segments)
        client.add_queries("r", [(uuid.uuid4(), first, second)])
        while True:
            (query,) = client.lease("r", "ada", uuid.UUID(int=1)).queries
            if query.left.clip_url and query.right.clip_url:
                break
        assert (query.left.clip_error, query.right.clip_error) == (None, None)
        video = httpx.get(process.url + query.left.clip_url, trust_env=False)
        assert examine(video.content).frames == 5
        code, output = process.stop()
    assert (code, "Traceback" in output) == (130, False)


@pytest.mark.parametrize("public", [False, True])
def test_a_module_that_others_name_is_not_imported(tmp_path, public):
    (tmp_path / "somebodys.py").write_text(
        "from pathlib import Path\n"
        "import gymnasium\n"
        "Path(__file__).with_suffix('.imported').touch()\n"
        "gymnasium.register('Pole-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    flags = ["--public-url", "https://labels.example.org"] if public else []
    segments = make_segments([[[0.0] * 4] * 3, [[0.1] * 4] * 3], np.zeros((2, 3), dtype=np.int64))
    with ServerProcess(
        "--home", str(tmp_path / "home"), *flags, port=free_port(), env=path
    ) as process:
        # the trainers' token stands in the line after the address and what is said of it
        said = [process.process.stdout.readline() for _ in range(2)] if public else []
        token = said[1].strip().removeprefix("PREFLOOP_TOKEN=") if public else None
        with LabellingClient(process.url, token) as client:
            client.put_run("r", env="somebodys:Pole-v0", spaces=Spaces((4,), "float32", True, 2))
            first, second = client.add_segments("r", segments)
            client.add_queries("r", [(uuid.uuid4(), first, second)])
            sides = []
            while not all(side.clip_url for side in sides) or not sides:
                (query,) = client.lease("r", "ada", uuid.UUID(int=1)).queries
                sides = [query.left, query.right]
    assert (tmp_path / "somebodys.imported").exists() != public
    for side in sides:
        assert ("imports no module that they name" in (side.clip_error or "")) == public


def test_ctrl_c_whose_exception_is_lost_ends_a_starting_server(tmp_path):
    with noted_interrupts() as interrupted:
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in a destructor
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            serving.serve(tmp_path / "home", serving.Address(port=0), interrupted=interrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not (tmp_path / "home" / "server.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="a file that is in use can't be deleted there")
def test_a_deleted_lock_does_not_cost_a_server_its_address(run, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "START_SECONDS", 1.0)
    with ServerProcess("--home", str(tmp_path)) as process:
        (tmp_path / ".lock").unlink()
        outcome = run(f"prefloop.cli label --home {tmp_path} --port 0")
        assert_one_sentence(outcome, f"runs already at {process.url}")
        assert running_server(tmp_path).url == process.url
    assert running_server(tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="a folder's own rules hold there")
@pytest.mark.parametrize("is_there", [False, True])
def test_a_server_s_folder_is_its_owner_s_alone(tmp_path, is_there):
    home = tmp_path / "home"
    if is_there:  # of an earlier version
        home.mkdir(mode=0o755)
        write_tokens(home / "tokens.json", make_tokens().hashed)
        (home / "tokens.json").chmod(0o644)
        Store(f"sqlite:///{home / 'labels.sqlite3'}").close()
        (home / "labels.sqlite3").chmod(0o644)
    before = os.umask(0)
    try:
        with ServerProcess("--home", str(home), "--tokens"):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    private = ("labels.sqlite3", "labels.sqlite3-wal", "labels.sqlite3-shm", "tokens.json")
    assert {modes[name] for name in private} == {0o600}


@pytest.mark.skipif(os.name == "nt", reason="a folder's own rules hold there")
def test_a_folder_that_holds_something_else_keeps_its_mode(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    tmp_path.chmod(0o755)
    make_home(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
