import os
import queue
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from prefloop.envs.settings import EnvSettings
from prefloop.labelling.arrays import Segment, pack
from prefloop.labelling.server.clips import ClipStore, examine
from prefloop.labelling.server.worker import Job, RenderWorker

WAIT = 120  # seconds; a slow machine takes a few


def cartpole(length=5, scale=0.01):
    obs = (np.arange(length * 4).reshape(length, 4) * scale).astype(np.float32)
    actions = np.zeros(length, dtype=np.int64)
    return pack(Segment(obs, actions, np.zeros(length, dtype=np.float32)))


@pytest.fixture
def results():
    return queue.Queue()


@pytest.fixture
def worker(tmp_path, results):
    worker = RenderWorker(tmp_path / "clips", results.put, max_jobs=8)
    yield worker
    worker.close()
    assert worker.pid is None


def test_clips_are_made_in_turn(worker, results, tmp_path):
    worker.start()
    assert worker.submit(Job("a", EnvSettings(env="CartPole-v1"), cartpole(5)))
    assert worker.submit(Job("b", EnvSettings(env="CartPole-v1"), cartpole(7), fps=10))
    assert worker.submit(Job("c", EnvSettings(env="NoSuchEnv-v0"), cartpole(3)))
    assert worker.submit(Job("d", EnvSettings(env="NoSuchEnv-v0"), cartpole(3), trace=True))
    assert worker.submit(Job("e", EnvSettings(env="CartPole-v1"), b"no archive"))
    assert worker.submit(Job("f", EnvSettings(env="CartPole-v1"), cartpole(5)))
    a, b, c, d, e, f = (results.get(timeout=WAIT) for _ in range(6))
    assert [x.key for x in (a, b, c, d, e, f)] == list("abcdef")
    store = ClipStore(tmp_path / "clips", 10**9)
    facts = [examine(store.path(x.clip).read_bytes()) for x in (a, b, d)]
    assert [(x.frames, x.fps) for x in facts] == [(5, 50), (7, 10), (3, 30)]
    assert c.clip is None and "Can't make the environment 'NoSuchEnv-v0'" in c.error
    assert e.clip is None and e.error.startswith("Drawing CartPole-v1 failed: ")
    assert f.clip == a.clip  # the same segment, the same bytes
    assert len(list((tmp_path / "clips").iterdir())) == 3


def test_a_module_is_imported_only_where_nobody_else_names_it(tmp_path, results, monkeypatch):
    (tmp_path / "somebodys.py").write_text(
        "from pathlib import Path\n"
        "import gymnasium\n"
        "Path(__file__).with_suffix('.imported').touch()\n"
        "gymnasium.register('Pole-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)  # which the process that draws inherits
    for may_import in (False, True):
        worker = RenderWorker(tmp_path / "clips", results.put, may_import=may_import)
        worker.start()
        worker.submit(Job("a", EnvSettings(env="somebodys:Pole-v0"), cartpole()))
        drawn = results.get(timeout=WAIT)
        worker.submit(Job("b", EnvSettings(env="somebodys:Pole-v0"), cartpole(), trace=True))
        plotted = results.get(timeout=WAIT)
        worker.close()
        assert plotted.clip is not None
        assert (drawn.clip is not None) == may_import
        assert may_import or "imports no module that they name" in drawn.error
        assert (tmp_path / "somebodys.imported").exists() == may_import


CRASHES = """
    import os
    from pathlib import Path
    import gymnasium

    tries = Path(__file__).with_suffix(".tries")
    with tries.open("a") as file:
        file.write("x")
    if len(tries.read_text()) <= TIMES:
        os._exit(3)
    gymnasium.register("Pole-v0", "gymnasium.envs.classic_control:CartPoleEnv")
"""


@pytest.mark.parametrize("times", [1, 2])
def test_what_crashed_is_drawn_once_more(tmp_path, worker, results, monkeypatch, times):
    code = textwrap.dedent(CRASHES).replace("TIMES", str(times))
    (tmp_path / "crashing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    worker.start()
    worker.submit(Job("a", EnvSettings(env="crashing:Pole-v0"), cartpole()))
    result = results.get(timeout=WAIT)
    assert (result.clip is not None) == (times == 1)
    assert result.error == (None if times == 1 else "Drawing crashing:Pole-v0 crashed.")
    assert (tmp_path / "crashing.tries").read_text() == "xx"


def test_only_so_many_wait(worker, results):
    accepted = [
        worker.submit(Job(str(i), EnvSettings(env="CartPole-v1"), cartpole())) for i in range(10)
    ]
    assert accepted == [True] * 8 + [False] * 2
    worker.start()
    assert [results.get(timeout=WAIT).key for _ in range(8)] == [str(i) for i in range(8)]


def test_few_wait_where_nothing_else_is_said(tmp_path, results):
    worker = RenderWorker(tmp_path, results.put)
    jobs = (Job(str(i), EnvSettings(env="CartPole-v1"), cartpole()) for i in range(64))
    assert sum(map(worker.submit, jobs)) <= 8, (
        "what turns up later and is needed sooner waits for them"
    )


def test_a_crash_costs_one_clip(worker, results):
    worker.start()
    worker.submit(Job("a", EnvSettings(env="CartPole-v1"), cartpole()))
    assert results.get(timeout=WAIT).clip
    first = worker.pid
    os.kill(first, signal.SIGTERM)
    worker.submit(Job("b", EnvSettings(env="CartPole-v1"), cartpole()))
    worker.submit(Job("c", EnvSettings(env="CartPole-v1"), cartpole()))
    b, c = (results.get(timeout=WAIT) for _ in range(2))
    assert b.clip or b.error == "Drawing CartPole-v1 crashed."
    assert c.clip and worker.pid != first


def test_what_takes_too_long(tmp_path, results):
    worker = RenderWorker(tmp_path, results.put, render_seconds=0.1)  # a process hardly starts
    worker.start()
    worker.submit(Job("a", EnvSettings(env="CartPole-v1"), cartpole(2000, scale=1e-6)))
    result = results.get(timeout=WAIT)
    worker.close()
    assert result.clip is None
    assert result.error == "Drawing CartPole-v1 took longer than 0.1 seconds."


def test_a_listener_that_fails(tmp_path, results, caplog):
    def listener(result):
        results.put(result)
        raise RuntimeError("the database is locked")

    worker = RenderWorker(tmp_path, listener)
    worker.start()
    for key in "ab":
        worker.submit(Job(key, EnvSettings(env="CartPole-v1"), cartpole()))
    assert [results.get(timeout=WAIT).key for _ in range(2)] == ["a", "b"]
    worker.close()
    assert "the database is locked" in caplog.text


def test_closing_what_never_ran(tmp_path, results):
    RenderWorker(tmp_path, results.put).close()
    assert results.empty()


PARENT = """
    import sys, time
    from pathlib import Path
    from prefloop.envs.settings import EnvSettings
    from prefloop.labelling.server.worker import Job, RenderWorker
    from test_worker import cartpole

    if __name__ == "__main__":
        def on_result(result):
            print(result.clip is not None, worker.pid, flush=True)
        worker = RenderWorker(Path(sys.argv[1]), on_result)
        worker.start()
        worker.submit(Job("a", EnvSettings(env="CartPole-v1"), cartpole()))
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass
        worker.close()
        print("torch" in sys.modules, flush=True)
"""


def start_parent(tmp_path, pytestconfig):
    (tmp_path / "parent.py").write_text(textwrap.dedent(PARENT))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "clips")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(pytestconfig.rootpath), str(Path(__file__).parent)]),
        },
        start_new_session=True,
    )
    made, pid = process.stdout.readline().split()
    assert made == "True"
    return process, int(pid)


def has_ended(pid):
    for _ in range(WAIT * 20):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            if file.read().rpartition(")")[2].split()[0] == "Z":
                return True  # ended; nobody has asked how
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110


@needs_proc
def test_it_ends_with_a_killed_parent(tmp_path, pytestconfig):
    process, pid = start_parent(tmp_path, pytestconfig)
    process.kill()
    process.communicate()
    assert has_ended(pid)


@needs_proc
def test_ctrl_c_is_quiet(tmp_path, pytestconfig):
    process, pid = start_parent(tmp_path, pytestconfig)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out, err) == (0, "False\n", "")
    assert has_ended(pid)
