"""The collector against a real server; and in the Python environment that it is made for."""

import contextlib
import io
import itertools
import json
import os
import socket
import subprocess
import sys
import threading

import gymnasium as gym
import numpy as np
import pytest
from conftest import ROOT
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from serving import serving

from prefloop.envs.spaces import Spaces
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore, examine
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.security import make_tokens

sys.path.insert(0, str(ROOT / "collector"))
import prefloop_collector
from prefloop_collector import CollectorError, Server, collect, pack_frames

pytest_plugins = ["store_fixtures"]


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def clips(tmp_path):
    return ClipStore(tmp_path / "clips", 10**9)


def make_app(tmp_path, store, clips, tokens=None):
    return create_app(store, clips, SettingsFile(tmp_path / "labelling.yaml"), tokens)


@pytest.fixture
def url(tmp_path, store, clips):
    with serving(make_app(tmp_path, store, clips)) as client:
        yield str(client.base_url)


def test_pairs_reach_the_server(tmp_path, store, clips):
    said = []
    with serving(make_app(tmp_path, store, clips)) as api:
        server = Server(str(api.base_url))
        for _ in range(2):  # the second time, nothing is new
            collect(server, "pole", "CartPole-v1", 4, 9, seed=1, say=said.append)
            run = api.get("/api/runs/pole").json()
            assert (run["env"], run["spaces"]["obs_shape"], run["frames_per_second"]) == (
                "CartPole-v1",
                [4],
                50,
            )
            assert run["counts"]["queries"] == 4
            assert len(store.segments.sent_clips()) == 4
        ada = {"annotator": "ada", "session": "0" * 31 + "1", "count": 8}
        leased = api.post("/api/runs/pole/leases", json=ada).json()["queries"]
        assert len(leased) == 4
        for query in leased:
            assert query["left"]["segment"] != query["right"]["segment"]
            for side in (query["left"], query["right"]):
                facts = examine(api.get(side["clip_url"]).content)
                assert facts.frames == side["length"] <= 9
                assert (facts.fps, facts.width, facts.height) == (50, 480, 320)
        collect(server, "pole", "CartPole-v1", 4, 9, seed=2, say=said.append)
        assert api.get("/api/runs/pole").json()["counts"]["queries"] == 8
    assert said[0] == "4 of 4 segments sent"


class Sloped(gym.Env):
    """Observations of several parts, vectors as actions, and no pictures."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = Dict({"a": Box(-1, 1, (2, 2)), "b": Discrete(3)})
    action_space = Box(-1, 1, (2,))

    def __init__(self, render_mode=None):
        self.steps = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), 0.5, False, self.steps == 20, {}

    def render(self):
        return None


class Buttons(Sloped):
    action_space = MultiBinary(3)


@pytest.fixture
def my_envs():
    for kind in (Sloped, Buttons):
        gym.register(f"{kind.__name__}-v0", kind)
    yield
    for kind in (Sloped, Buttons):
        del gym.registry[f"{kind.__name__}-v0"]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_an_environment_without_pictures(store, clips, url, my_envs):
    said = []
    act = lambda obs: np.array([0.25, -1], dtype=np.float32)  # noqa: E731
    collect(Server(url), "sloped", "Sloped-v0", 3, 7, act=act, say=said.append)
    assert "makes no pictures" in said[0]
    assert store.segments.sent_clips() == set()
    run = store.runs.get("sloped")
    assert run.spaces == Spaces((7,), "float32", False, 2)
    # 20 steps are two segments of 7; a time limit cut the third short
    with pytest.raises(CollectorError, match="No episode has the 21 steps"):
        collect(Server(url), "long", "Sloped-v0", 3, 21, say=said.append)


def test_the_last_few_steps_of_a_longer_episode_are_no_segment():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    made = list(itertools.islice(prefloop_collector._segments(env, None, 9, 0), 60))
    env.close()
    lengths = [len(one.obs) for one in made]
    assert all(len(one.obs) >= 5 or one.first_step == 0 for one in made)
    assert set(lengths) - {9}, "some are shorter"


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_what_is_no_use(url, my_envs):
    server = Server(url)
    with pytest.raises(CollectorError, match="neither Discrete nor a Box"):
        collect(server, "buttons", "Buttons-v0", 3, 7)
    with pytest.raises(CollectorError, match="Can't make Nothing-v0"):
        collect(server, "nothing", "Nothing-v0", 3, 7)
    with pytest.raises(CollectorError, match="do not make 4 different pairs"):
        collect(server, "few", "CartPole-v1", 4, 7, num_segments=3)
    with pytest.raises(CollectorError, match="The server refused: "):
        collect(server, "no name!", "CartPole-v1", 4, 7)
    with pytest.raises(CollectorError, match="must begin with http"):
        Server("127.0.0.1")
    with pytest.raises(CollectorError, match=r"No labelling server answers at http://127.0.0.1:9"):
        collect(Server("http://127.0.0.1:9", patience=0), "a", "CartPole-v1", 4, 7)
    for address in ("http://127.0.0.1:port", "http://[", "http://a b"):
        with pytest.raises(CollectorError, match="must be an address such as"):
            collect(Server(address), "a", "CartPole-v1", 4, 7)


BROKEN = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",  # breaks off
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\n{",
)


@contextlib.contextmanager
def replying(replies):
    """The address of a server that has a reply for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply():
            for said in replies:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(said)

        thread = threading.Thread(target=reply)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_a_reply_that_breaks_off_is_waited_for(monkeypatch):
    monkeypatch.setattr(prefloop_collector.time, "sleep", lambda _: None)
    whole = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"ids": ["a"]}'
    with replying([*BROKEN, whole]) as address:
        assert Server(address).add_segment("r", b"segment") == "a"


@pytest.mark.parametrize("reply", BROKEN)
def test_replies_that_break_off_are_a_sentence_in_the_end(reply):
    told = pytest.raises(CollectorError, match=r"No labelling server answers|503 Busy")
    with replying([reply]) as address, told:
        Server(address, patience=-1).add_segment("r", b"segment")


def test_tokens(tmp_path, store, clips):
    new = make_tokens()
    with serving(make_app(tmp_path, store, clips, new.hashed)) as client:
        url = str(client.base_url)
        with pytest.raises(CollectorError, match="A token is needed"):
            collect(Server(url), "a", "CartPole-v1", 3, 5, say=str)
        collect(Server(url, new.trainer), "a", "CartPole-v1", 3, 5, say=str)
    assert len(store.segments.sent_clips()) == 3


class OnePicture(gym.Env):
    """Draws into the same array again and again, and hands out the same observation."""

    observation_space, action_space = Box(0, 99, (1,)), Box(-1, 1, (1,))
    picture, obs = np.zeros((2, 2, 3), dtype=np.uint8), np.zeros(1, dtype=np.float32)

    def reset(self, seed=None, options=None):
        self.obs[:] = 0
        return self.obs, {}

    def step(self, action):
        self.obs += 1
        return self.obs, 0.0, bool(self.obs >= 5), False, {}

    def render(self):
        self.picture[:] = self.obs[0]
        return self.picture


def test_what_is_overwritten_later_is_kept_as_it_was():
    action = np.zeros(1, dtype=np.float32)

    def act(obs):
        action[:] = obs / 10
        return action

    segment = next(prefloop_collector._segments(OnePicture(), act, 5, 0))
    assert [float(obs[0]) for obs in segment.obs] == [0, 1, 2, 3, 4]
    assert [int(frame[0, 0, 0]) for frame in segment.frames] == [0, 1, 2, 3, 4]
    assert np.ravel(segment.actions) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_large_pictures_are_made_smaller(monkeypatch):
    pictures = list(np.random.default_rng(0).integers(255, size=(2, 960, 480, 3), dtype=np.uint8))

    def shape(data):
        with np.load(io.BytesIO(data)) as archive:
            return archive["deltas"].shape

    assert shape(pack_frames(pictures, 10)) == (2, 480, 240, 3)
    monkeypatch.setattr(prefloop_collector, "MAX_BYTES", 10**5)
    assert shape(pack_frames(pictures, 10)) == (2, 192, 96, 3)


def in_its_environment(python, url, *flags):
    command = [python, str(ROOT / "collector" / "prefloop_collector.py"), "--server", url, *flags]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONWARNINGS")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd="/", timeout=600, check=False, env=clean
    )


def test_as_a_program(url, store):
    flags = ["--run", "a", "--env", "CartPole-v1", "--pairs", "3", "--segment-length", "5"]
    done = in_its_environment(sys.executable, url, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("a has 3 pairs more to compare")
    done = in_its_environment(sys.executable, url, "--run", "a", "--env", "Acrobot-v1")
    assert done.returncode == 2
    assert "prefloop_collector: error: The server refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_may_stand_in_a_variable(url, monkeypatch, capsys):
    flags = "--run a --env CartPole-v1 --pairs 3 --segment-length 5"
    monkeypatch.setattr(sys, "argv", ["prefloop_collector.py", *flags.split()])
    monkeypatch.setenv("PREFLOOP_SERVER", url)
    prefloop_collector.main()
    assert "a has 3 pairs more to compare" in capsys.readouterr().out


def test_it_needs_nothing_else():
    code = "import json, sys; import prefloop_collector; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "collector",
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"prefloop", "torch", "av", "httpx", "pydantic"}


def pinned(package):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{package}=="))


@pytest.fixture(scope="module")
def old_python(tmp_path_factory):
    """A Python environment with gymnasium 0.29, numpy 1 and fancy_gym.

    PREFLOOP_FANCY_GYM_PYTHON names one that is there already: making it takes minutes.
    """
    made = os.environ.get("PREFLOOP_FANCY_GYM_PYTHON")
    if made:
        return made
    directory = tmp_path_factory.mktemp("fancy") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    python = str(directory / ("Scripts" if os.name == "nt" else "bin") / "python")
    # as docs/labelling.md says; PyTorch, which fancy_gym asks for, as pinned everywhere here
    pins = ["fancy_gym==0.3.0", "gymnasium==0.29.1", "numpy<2", "pygame", pinned("torch")]
    install = [python, "-m", "pip", "install", "--quiet", *pins]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"fancy_gym can't be installed here: {done.stderr.strip()[-200:]}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "module", "size"),
    [("CartPole-v1", "gymnasium", (480, 320)), ("fancy/Reacher5d-v0", "fancy_gym", (480, 480))],
)
def test_another_python_environment(old_python, url, store, clips, env_id, module, size):
    flags = ["--run", "a", "--env", env_id, "--import", module, "--pairs", "3"]
    done = in_its_environment(old_python, url, *flags, "--segment-length", "8")
    assert done.returncode == 0, done.stderr
    shown = [examine(clips.path(digest).read_bytes()) for digest in store.segments.sent_clips()]
    assert {(x.width, x.height) for x in shown} == {size}
    assert len(shown) == 3 and store.runs.get("a").counts.queries == 3
