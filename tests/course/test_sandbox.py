"""How students' code is run: what it can't do, and what its limits say."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest
from conftest import ROOT
from submitted import LIMITS, learning, network, spoil

from course.checks import grade_learning, grade_network, grade_saved_reward
from course.sandbox import Limits, another_user, can_run_as_another, hidden_and_kept, read_answers
from prefloop.errors import UserError

pytest_plugins = ["submission_fixtures"]


def test_an_infinite_loop_is_stopped(submission):
    spoil(
        submission,
        "offline_reward_learning.py",
        "    for _ in tqdm(range(num_iter)",
        "    while True: pass\n    for _ in tqdm(range(num_iter)",
    )
    checks = grade_learning(submission, Limits(seconds=4))
    assert learning(checks) == 0
    assert any("did not come to an end" in check.reason for check in checks)
    assert network(grade_network(submission, LIMITS)) == 35


FAKES = {
    "prints and writes a result": """
        import json, os, sys
        from pathlib import Path
        print(json.dumps({"score": 100, "tests": [{"score": 100, "max_score": 100}]}))
        for name in ("results.json", "answers.json", "../results.json"):
            try:
                Path(name).write_text(json.dumps({"score": 100, "training": [1.0] * 60, "held_out": [1.0] * 60}))
            except OSError:
                print("no")
        sys.stdout.flush()
        os._exit(0)
    """,
    "forges answers": """
        import json, os
        from pathlib import Path
        answers = {"returns": [1.0, 2.0, 3.0, 4.0, 1.0], "training": list(range(60)), "held_out": list(range(60))}
        Path("answers.json").write_text(json.dumps({"token": "", "answers": answers}))
        os._exit(0)
    """,
    "answers too deeply": """
        import os
        from pathlib import Path
        Path("answers.json").write_text("[" * 100_000)
        os._exit(0)
    """,
    "exits": "import sys; sys.exit(0)",
    "answers nonsense": """
        import json, os
        from pathlib import Path
        Path("answers.json").write_text('{"training": "all", "held_out": {"a": null}}')
        os._exit(0)
    """,
    "answers no json": """
        import os
        from pathlib import Path
        Path("answers.json").write_bytes(b"\\xff{")
        os._exit(0)
    """,
    "answers a list": """
        import os
        from pathlib import Path
        Path("answers.json").write_text("[1, 2]")
        os._exit(0)
    """,
    "fills the memory": "x = bytearray(10**11)",
    "fills the disk": "open('big', 'wb').write(bytes(2**26))",
    "dies": "import os; os.abort()",
    "is no python": "def",
}


@pytest.mark.parametrize("name", FAKES)
def test_faking_and_breaking_earn_nothing(submission, name):
    for file in ("utils.py", "offline_reward_learning.py"):
        (submission / file).write_text(textwrap.dedent(FAKES[name]))
    checks = [*grade_network(submission, LIMITS), grade_saved_reward(submission, LIMITS)]
    if name in ("forges answers", "is no python"):  # each is asked alike, and four times
        checks += grade_learning(submission, LIMITS)
    assert sum(check.score for check in checks) == 0, checks
    assert all(check.reason for check in checks)


@pytest.mark.parametrize(
    "code, words",
    [
        ("print('x' * 2**25); raise ValueError('the reason')", "utils.py, <module>, line 1: ValueError: the reason"),
        ("import time\ntime.sleep(10**6)", "waited for something"),
        ("for i in range(99): open(f'{i}', 'wb').write(bytes(2**23))", "MiB it may use"),
        ("class Net:\n    def __init__(self, obs_dim=4): pass\n    def eval(self): return self\n"
         "    def predict_return(self, traj): return 10**400", "Overflow"),
    ],
)  # fmt: skip
def test_reasons_are_true(tmp_path, monkeypatch, code, words):
    monkeypatch.setattr("course.sandbox.WALL_SECONDS", 0)
    (tmp_path / "utils.py").write_text(code)
    checks = grade_network(tmp_path, Limits(seconds=3))
    assert words in checks[0].reason, checks
    assert network(checks) == 0


def test_waiting_for_a_core_costs_no_time(submission, monkeypatch):
    """The limit is on computing: a question that takes longer because others compute, too."""
    spoil(
        submission,
        "utils.py",
        "import numpy as np",
        "import time\nimport numpy as np\ntime.sleep(6)",
    )
    assert network(grade_network(submission, Limits(seconds=5))) == 35


def is_running(mark):
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems can't tell")
@pytest.mark.parametrize("leaves", ["the group", "the group and the environment"])
def test_daemons_end_with_the_question(tmp_path, leaves):
    mark = f"daemon-{uuid.uuid4().hex}"
    environment = "{}" if "environment" in leaves else "dict(os.environ)"
    (tmp_path / "utils.py").write_text(
        "import os, subprocess, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)', '{mark}'],"
        f" env={environment})\n"
        "    os._exit(0)\n"
        "import time; time.sleep(1)\n"
    )
    grade_network(tmp_path, LIMITS)
    assert not is_running(mark)


def processes_with(word):
    """Processes of whose command line a word is part."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def open_to_all():
    """A folder for temporary files that another user can use, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


DAEMON = """
    import subprocess, sys, time
    line = "import os, time; os.setsid() if os.fork() == 0 else os._exit(0); time.sleep(1000)"
    subprocess.Popen([sys.executable, "-c", line, "{word}"], start_new_session=True).wait()
    {then}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems can't tell")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_grader(submission, tmp_path, open_to_all, number):
    word = f"daemon-{tmp_path.parent.name}-{tmp_path.name}"
    code = textwrap.dedent(DAEMON.format(word=word, then="while True: pass"))
    (submission / "utils.py").write_text(code)
    temporary = open_to_all
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": path}
    grader = subprocess.Popen(
        [sys.executable, "-m", "course.grade", "student"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        while not processes_with(word):
            assert grader.poll() is None, grader.communicate()
            time.sleep(0.05)
        grader.send_signal(number)
        grader.communicate(timeout=60)
        for _ in range(600):
            if not processes_with(word) and not processes_with(str(temporary)):
                break
            time.sleep(0.05)
        assert not processes_with(word)
        assert not processes_with(str(temporary))
        assert not list(temporary.iterdir())
    finally:
        grader.kill()
        grader.wait()


def test_the_code_runs_as_another_user(submission):
    if not can_run_as_another():
        pytest.skip("no rights to run as another user, or Python lies where it can't be read")
    code = "import os\nos.kill(os.getppid(), 0)"
    (submission / "utils.py").write_text(code)
    assert "PermissionError" in grade_network(submission, LIMITS)[0].reason


def test_the_other_user_is_nobody():
    pwd = pytest.importorskip("pwd")
    with pytest.raises(KeyError):
        pwd.getpwuid(another_user())


def test_a_user_that_is_somebody_is_passed_over(monkeypatch):
    pwd = pytest.importorskip("pwd")
    first = 50_000 + os.getpid() % 10_000

    def getpwuid(number):
        if number > first + 1:
            raise KeyError
        return "somebody, whose processes are not the student's"

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    assert another_user.__wrapped__() == first + 2


def test_other_children_of_the_graders_process_go_on(tmp_path):
    """They are nobody's concern, also when they are started while a question is asked."""
    (tmp_path / "utils.py").write_text("import time; time.sleep(2)")
    others = []
    later = [sys.executable, "-c", "input()"]
    timer = threading.Timer(
        0.5, lambda: others.append(subprocess.Popen(later, stdin=subprocess.PIPE))
    )
    timer.start()
    grade_network(tmp_path, LIMITS)
    timer.join()
    assert others[0].poll() is None
    others[0].communicate(b"\n")
    assert others[0].returncode == 0


def test_who_computes_without_end_is_told_where(tmp_path):
    (tmp_path / "utils.py").write_text("def spin():\n    while True:\n        pass\n\nspin()\n")
    reason = grade_network(tmp_path, Limits(seconds=1))[0].reason
    assert reason.startswith("utils.py, spin, line ")
    assert "did not come to an end" in reason


@pytest.mark.parametrize("code", ["os.killpg(0, 9)", "os.kill(os.getppid(), 9)"])
def test_code_that_ends_others_ends_itself(submission, code):
    if os.name == "nt":
        pytest.skip("Windows has no such groups")
    spoil(submission, "utils.py", "import numpy as np", f"import os\nimport numpy as np\n{code}")
    assert network(grade_network(submission, LIMITS)) == 0


def test_a_thread_that_goes_on_is_not_waited_for(submission, monkeypatch):
    monkeypatch.setattr("course.sandbox.WALL_FACTOR", 1)
    spoil(
        submission,
        "utils.py",
        "import numpy as np",
        "import threading, time\nimport numpy as np\n"
        "threading.Thread(target=time.sleep, args=(10**6,)).start()",
    )
    assert network(grade_network(submission, LIMITS)) == 35


def test_limits_beyond_what_can_be_counted(submission):
    assert network(grade_network(submission, Limits(seconds=1e30, memory_gib=1e30))) == 35


def test_what_was_not_read_is_said(submission, tmp_path):
    (submission / "utils.py").rename(tmp_path / "utils.py")
    (submission / "utils.py").write_bytes(bytes(2**24))
    assert "utils.py is larger than 16 MiB" in grade_network(submission, LIMITS)[0].reason
    (submission / "utils.py").unlink()
    try:
        (submission / "utils.py").symlink_to(tmp_path / "utils.py")
    except OSError:
        pytest.skip("links need a privilege here")
    assert "utils.py is a link" in grade_network(submission, LIMITS)[0].reason


def test_answers_that_are_no_file(tmp_path):
    whole = '{"token": "t", "answers": {}, "problems": {}, "places": {}}'
    (tmp_path / "whole").write_text(whole)
    assert read_answers(tmp_path / "whole")["token"] == "t"
    assert read_answers(tmp_path / "none") == {}
    (tmp_path / "list").write_text("[1, 2]")
    assert read_answers(tmp_path / "list") == {"token": None}
    if hasattr(os, "mkfifo"):
        (tmp_path / "link").symlink_to(tmp_path / "whole")
        os.mkfifo(tmp_path / "pipe")
        for name in ("link", "pipe"):
            assert read_answers(tmp_path / name).get("token") is None


def test_nothing_shows_where_the_solution_is(tmp_path):
    """But for the place of installed packages, which a virtual environment in the checkout gives."""
    (tmp_path / "utils.py").write_text(
        "import os, sys\n"
        "seen = [os.getcwd(), *sys.argv, *map(str, os.environ.items()), sys.executable, sys.prefix]\n"
        "seen += [p for p in sys.path if not p.endswith(('site-packages', 'dist-packages'))]\n"
        "if os.path.isdir('/proc/self/fd'):\n"
        "    seen += [os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]\n"
        "    if os.access(f'/proc/{os.getppid()}/cwd', os.R_OK):\n"
        "        seen += [os.path.realpath(f'/proc/{os.getppid()}/cwd')]\n"
        "    seen += [open(f'/proc/{os.getppid()}/cmdline').read()]\n"
        "for name in ('course', 'vpg', 'prefloop.bradley_terry', 'prefloop.rewards', 'tests'):\n"
        "    try:\n"
        "        __import__(name)\n"
        "        seen.append('imports ' + name)\n"
        "    except ImportError:\n"
        "        pass\n"
        "raise ValueError(' '.join(s for s in seen if 'imports' in s or ROOT in s) or 'nothing')\n"
        .replace("ROOT", repr(str(ROOT)))
    )  # fmt: skip
    reason = grade_network(tmp_path, LIMITS)[0].reason
    assert reason.endswith("ValueError: nothing"), reason


def hiding(folder, kept, then):
    """What a program prints after it has hidden a folder; nothing where there are no rights to that."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from course.grading_supervisor import hide\n"
        f"folder = Path({str(folder)!r})\n"
        "try:\n"
        f"    hide(str(folder), {[str(path) for path in kept]!r})\n"
        "except OSError:\n"
        "    sys.exit()\n" + textwrap.dedent(then)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    if not done.stdout:
        pytest.skip("no rights to hide folders")
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems hide nothing")
def test_what_is_hidden_and_what_is_kept(tmp_path):
    for name in ("utils.py", "lib/packages/torch.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    look = """
        print(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
        for name in ("new", "lib/packages/new"):
            try:
                (folder / name).write_text("x")
            except OSError as error:
                print(error.strerror)
    """
    listing, *errors = hiding(tmp_path, [tmp_path / "lib" / "packages"], look).splitlines()
    assert listing == str(["lib", "lib/packages", "lib/packages/torch.py"])
    assert errors == ["Read-only file system"] * 2
    assert (tmp_path / "utils.py").read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems hide nothing")
def test_the_solution_is_hidden(tmp_path):
    """Also from code that knows where it is, as the place of the installed packages may tell."""
    if not hidden_and_kept(tmp_path)["hidden"]:
        pytest.skip("Python itself lies in the checkout")
    hiding(tmp_path, [], "print('rights')")
    (tmp_path / "utils.py").write_text(f"open({str(ROOT / 'utils.py')!r})")
    assert "No such file" in grade_network(tmp_path, LIMITS)[0].reason


def test_a_folder_that_python_lies_in_is_not_hidden(tmp_path, monkeypatch):
    for name in ("base_prefix", "_base_executable"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, str(ROOT / "env" / "bin"))
            assert hidden_and_kept(tmp_path)["hidden"] is None
    assert hidden_and_kept(ROOT / "tmp")["hidden"] is None


def test_a_full_temporary_folder_is_a_sentence(submission, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course.sandbox.shutil.copyfile", full)
    with pytest.raises(UserError, match="No space left on device"):
        grade_network(submission, LIMITS)


def test_a_disk_that_is_full_is_not_laid_to_the_student(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("course.sandbox.shutil.disk_usage", lambda _: usage)
    (tmp_path / "utils.py").write_text("import os; os._exit(1)")  # as if nothing could be written
    with pytest.raises(UserError, match="No space left on device"):
        grade_network(tmp_path, LIMITS)
