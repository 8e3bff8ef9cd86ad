import json
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
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import ROOT, assert_one_sentence

from course.checks import (
    LEARNING,
    REFERENCE,
    grade,
    grade_learning,
    grade_network,
    grade_policies,
    grade_saved_reward,
    learned,
    pair_accuracy,
    partial,
)
from course.example_class import CLASS
from course.grades import Check, file_names
from course.handout import build
from course.sandbox import (
    Limits,
    another_user,
    can_run_as_another,
    hidden_and_kept,
    read_answers,
)
from course.submissions import opened
from prefloop.errors import UserError
from prefloop.files import read_csv

LIMITS = Limits(seconds=30)


@pytest.fixture
def submission(tmp_path):
    """The solution as a student's folder, to be spoiled."""
    folder = tmp_path / "student"
    folder.mkdir()
    for name in ("utils.py", "offline_reward_learning.py"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(REFERENCE, folder, dirs_exist_ok=True)
    return folder


def spoil(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def scores(checks):
    return {check.name: check.score for check in checks}


def learning(checks):
    return sum(c.score for c in checks if c.name.startswith("learn_reward"))


def network(checks):
    return sum(c.score for c in checks if c.name.startswith("Net "))


def test_the_solution_gets_full_marks(submission):
    checks = grade(submission, LIMITS)
    assert all(check.score == check.max_score for check in checks), checks
    assert sum(check.max_score for check in checks) == 100


def test_the_blank_handout_gets_none(tmp_path):
    build(tmp_path / "handout")
    checks = grade(tmp_path / "handout", LIMITS)
    assert sum(check.score for check in checks) == 0
    assert sum(check.max_score for check in checks) == 100
    assert any("is yours to write" in check.reason for check in checks)


def test_an_empty_folder_gets_none(tmp_path):
    """The instructor's own utils.py must not stand in for a missing one."""
    checks = grade(tmp_path, LIMITS)
    assert sum(check.score for check in checks) == 0
    assert any("No module named 'utils'" in check.reason for check in checks)


def test_a_wrong_sign_learns_nothing_but_keeps_the_rest(submission):
    spoil(
        submission,
        "offline_reward_learning.py",
        "returns[first], returns[second]",
        "returns[second], returns[first]",
    )
    checks = grade(submission, LIMITS, num_rollouts=20)
    assert network(checks) == 35
    assert scores(checks)["learn_reward learns the preferences"] == 0
    assert scores(checks)["learn_reward generalises"] == 0
    assert scores(checks)["rlhf/ solves CartPole"] == 10


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


def points_of(student, folder):
    """Which checks of `Net` and `learn_reward` a student of the class does not pass whole."""
    student.write(ROOT, folder)
    checks = [*grade_network(folder, LIMITS), *grade_learning(folder, LIMITS)]
    return tuple(i for i, check in enumerate(checks) if check.score < check.max_score), checks


FEW = ("dropout and LayerNorm", "BatchNorm", "float64", "tensors alone", "no sum", "no Python",
       "an error at ties")  # fmt: skip


@pytest.mark.parametrize("student", [s for s in CLASS if s.name in FEW], ids=lambda s: s.name)
def test_some_of_the_class(tmp_path, student):
    lost, checks = points_of(student, tmp_path / "student")
    assert lost == student.lost, checks
    if student.name == "tensors alone":
        assert "utils.py, predict_return, line" in checks[0].reason


@pytest.mark.slow
@pytest.mark.parametrize("student", CLASS, ids=lambda s: s.name)
def test_the_whole_class(tmp_path, student):
    lost, checks = points_of(student, tmp_path / "student")
    assert lost == student.lost, checks


def test_what_was_not_learned_earns_nothing():
    assert learned(0.67, before=0.67, full=0.9, points=15) == 0
    assert learned(0.95, before=0.89, full=0.9, points=15) == 15
    assert learned(0.7, before=0.2, full=0.9, points=10) == 5


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


def test_a_file_with_nothing_but_net(submission):
    """As the original assignment had it: Part 2 can't start, and learn_reward is right."""
    text = (submission / "utils.py").read_text()
    end = text.index("def make_reward_network")
    (submission / "utils.py").write_text(text[:end])
    assert network(grade_network(submission, LIMITS)) == 35
    assert learning(grade_learning(submission, LIMITS)) == 35


def test_the_size_of_an_observation_under_another_name(submission):
    spoil(submission, "utils.py", "obs_dim: int = 4", "size: int = 4")
    spoil(submission, "utils.py", "mlp([obs_dim,", "mlp([size,")
    assert network(grade_network(submission, LIMITS)) == 35


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


SUM = "return self(states.to(weight)).sum()"
INIT = "super().__init__()"


@pytest.mark.parametrize(
    "old, new, function, words",
    [
        (
            SUM,
            "self(states.to(weight)).sum()",
            "predict_return",
            "gives None: is `return` missing?",
        ),
        (SUM, SUM + " * float('nan')", "predict_return", "NaN or infinity"),
        ("class Net(nn.Module)", "class Net", "__init__", "no torch.nn.Module"),
        ("self, traj: torch", "self, more, traj: torch", "predict_return", "missing 1 required"),
    ],
)
def test_reasons_name_the_place_of_what_has_no_line_of_its_own(
    submission, old, new, function, words
):
    spoil(submission, "utils.py", old, new)
    checks = grade_network(submission, LIMITS)
    assert network(checks) == 0
    assert checks[0].reason.startswith(f"utils.py, Net.{function}, line "), checks
    assert checks[0].reason.count("line ") == 1 and words in checks[0].reason


def test_the_place_of_a_function_that_takes_something_else(submission):
    spoil(
        submission,
        "offline_reward_learning.py",
        "num_iter: int,\n)",
        "num_iter: int, lr: float,\n)",
    )
    reason = grade_learning(submission, LIMITS)[0].reason
    assert reason.startswith("offline_reward_learning.py, learn_reward, line "), reason
    assert "missing 1 required positional argument: 'lr'" in reason


def test_what_is_frozen_needs_no_gradient(submission):
    scale = f"{INIT}\n        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)"
    spoil(submission, "utils.py", INIT, scale)
    assert network(grade_network(submission, LIMITS)) == 35
    spoil(submission, "utils.py", SUM, f"self.requires_grad_(False)\n        {SUM}")
    assert scores(grade_network(submission, LIMITS))["Net carries gradients"] == 0


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


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_reward_that_part_3_reads_counts(submission, prefix):
    weights = torch.load(submission / "reward.params", weights_only=True)
    torch.save({prefix + name: x for name, x in weights.items()}, submission / "reward.params")
    assert grade_saved_reward(submission, LIMITS).score == 10


def test_a_mean_does_not_cost_the_saved_reward(submission):
    spoil(submission, "utils.py", "(states.to(weight)).sum()", "(states.to(weight)).mean()")
    assert grade_saved_reward(submission, LIMITS).score == 10
    check = grade_network(submission, LIMITS)[2]
    assert (check.score, check.reason[:35]) == (0, "utils.py, Net.predict_return, line ")
    assert "averages" in check.reason


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


def test_links_are_not_followed(submission):
    shutil.rmtree(submission / "rlhf")
    (submission / "utils.py").unlink()
    try:
        (submission / "utils.py").symlink_to(ROOT / "utils.py")
        (submission / "rlhf").symlink_to(REFERENCE / "rlhf", target_is_directory=True)
    except OSError:
        pytest.skip("links need a privilege here")
    assert network(grade_network(submission, LIMITS)) == 0
    checks = {check.name: check for check in grade_policies(submission, num_rollouts=5)}
    assert checks["rlhf/ solves CartPole"].score == 0
    assert "is a link" in checks["rlhf/ solves CartPole"].reason
    circle = submission / "synthetic" / "policy_checkpoint3.params"
    circle.unlink()
    circle.symlink_to(circle)
    assert "in a circle" in grade_policies(submission, num_rollouts=5)[0].reason


@pytest.mark.parametrize("seed", [1, 2])
def test_the_solution_finds_other_rules_as_well(submission, seed):
    assert learning(grade_learning(submission, LIMITS, seed)) == 35


def test_missing_and_damaged_files(submission):
    (submission / "reward.params").write_bytes(b"x")
    shutil.rmtree(submission / "rlhf")
    (submission / "synthetic" / "policy_checkpoint4.params").unlink()
    checks = {check.name: check for check in grade(submission, LIMITS, num_rollouts=20)}
    assert checks["reward.params ranks demonstrations"].score == 0
    assert "policy_checkpoint4.params" in checks["synthetic/ has ten demonstrators"].reason
    assert "run Part 3" in checks["rlhf/ solves CartPole"].reason


def test_many_at_once(run, submission, tmp_path, monkeypatch):
    """A zip with a folder in it, a folder within, one without rlhf/, and no submission."""
    passed = [Check(name, most, most, "as elsewhere") for name, most in LEARNING.items()]
    monkeypatch.setattr("course.checks.grade_learning", lambda *_: passed)  # which takes its time
    nested = tmp_path / "bea" / "my homework" / "part-2"
    shutil.copytree(submission, nested)
    shutil.make_archive(str(tmp_path / "cy"), "zip", tmp_path, "student")
    shutil.copytree(submission, tmp_path / "dan-e")
    shutil.rmtree(tmp_path / "dan-e" / "rlhf")
    (tmp_path / "eve.zip").write_bytes(b"PK")
    outcome = run(
        "course.grade bea cy.zip dan-e eve.zip --num-rollouts 5 --gradescope grades "
        "--csv grades.csv --json all.json"
    )
    assert outcome.code == 1
    rows = {row["student"]: row for row in read_csv(tmp_path / "grades.csv")}
    assert list(rows) == ["bea", "cy.zip", "dan-e", "eve.zip"]
    assert float(rows["bea"]["score"]) == float(rows["cy.zip"]["score"]) >= 90
    assert rows["dan-e"]["rlhf/ solves CartPole"] == "0"
    assert "run Part 3" in outcome.out
    assert "neither a directory nor a zip" in rows["eve.zip"]["error"]
    written = sorted(path.stem for path in (tmp_path / "grades").iterdir())
    assert written == ["bea", "cy", "dan-e", "eve"]
    content = json.loads((tmp_path / "grades" / "dan-e.json").read_text())
    assert content["score"] == float(rows["dan-e"]["score"])
    assert json.loads((tmp_path / "all.json").read_text())["eve.zip"]["error"]


def test_one_who_can_not_be_graded_has_the_files(run, submission, tmp_path, monkeypatch):
    """Gradescope shows a broken autograder where there is none, and the student no reason."""
    damaged(tmp_path / "ada.zip", zipfile.ZIP_STORED)
    files = "--gradescope results.json --csv grades.csv --json all.json"
    assert_one_sentence(run(f"course.grade ada.zip {files}"), "ada.zip")
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["score"] == 0 and "ada.zip" in result["output"]
    assert "ada.zip" in json.loads((tmp_path / "all.json").read_text())["error"]
    (row,) = read_csv(tmp_path / "grades.csv")
    assert row["student"] == "ada.zip" and row["error"] == result["output"]

    def defective(*_):
        raise RecursionError("too deep")

    monkeypatch.setattr("course.grade.grade", defective)
    with pytest.raises(RecursionError):
        run(f"course.grade student {files}")
    assert "too deep" in json.loads((tmp_path / "results.json").read_text())["output"]


def test_a_folder_for_gradescope_is_one_for_any_number(run, submission, tmp_path, monkeypatch):
    monkeypatch.setattr("course.grade.grade", lambda *_: [Check("all", 1, 1, "right")])
    shutil.copytree(submission, tmp_path / "bea")
    assert run("course.grade student --gradescope grades").code == 0
    assert run("course.grade student bea --gradescope grades").code == 0
    assert run("course.grade bea --gradescope grades").code == 0
    written = sorted(path.name for path in (tmp_path / "grades").iterdir())
    assert written == ["bea.json", "student.json"]
    (tmp_path / "of.json").mkdir()
    assert run("course.grade student --gradescope of.json").code == 0
    assert (tmp_path / "of.json" / "student.json").exists()


def test_what_can_not_be_written_is_told_before_anybody_is_graded(
    run, submission, tmp_path, monkeypatch
):
    monkeypatch.setattr("course.grade.grade", lambda *_: pytest.fail("graded"))
    (tmp_path / "grades").write_text("a file")
    (tmp_path / "folder").mkdir()
    for flags, words in (
        ("student --gradescope grades", "grades is a file"),
        ("student other --gradescope grades", "grades is a file"),
        ("student --gradescope grades/of", "Can't make the folder"),
        ("student other --gradescope results.json", "there are 2 students"),
        ("student --gradescope no/results.json", "Can't write no"),
        ("student --csv folder", "Can't write folder"),
        ("student --json no/all.json", "Can't write no"),
    ):
        assert_one_sentence(run(f"course.grade {flags}"), words)
    assert (tmp_path / "grades").read_text() == "a file"


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "C:/evil.py"])
def test_a_zip_that_leads_elsewhere(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
        archive.writestr("utils.py", "y")
    with opened(tmp_path / "a.zip") as folder:
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["utils.py"]
    assert not (tmp_path / "evil.py").exists()


def damaged(path, compression):
    """A zip file whose table is whole and whose content is not."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("utils.py", "y" * 10_000)
    content = bytearray(path.read_bytes())
    content[45:65] = b"\xff" * 20
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_LZMA", "ZIP_BZIP2"])
def test_a_damaged_zip_is_a_sentence(tmp_path, kind):
    damaged(tmp_path / "a.zip", getattr(zipfile, kind))
    with pytest.raises(UserError, match=r"a\.zip"), opened(tmp_path / "a.zip"):
        pass


def test_a_zip_with_a_member_that_has_no_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(".", "x")
        archive.writestr("Homework: 1/utils.py", "y")
    with opened(tmp_path / "a.zip") as folder:
        assert [path.name for path in folder.iterdir()] == ["utils.py"]


def test_what_goes_wrong_while_grading_is_not_laid_to_the_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("utils.py", "y")
    with pytest.raises(BlockingIOError), opened(tmp_path / "a.zip"):
        raise BlockingIOError("no more processes")


def test_a_folder_of_several_students_is_not_one(submission, tmp_path):
    """Whoever forgets the star would get the first one's grade for all."""
    for place in ("all/ada", "all/bea/homework"):
        shutil.copytree(submission, tmp_path / place)
    shutil.rmtree(tmp_path / "all/bea/homework/rlhf")
    with pytest.raises(UserError, match="several submissions"), opened(tmp_path / "all"):
        pass
    # an earlier state within one's own folder is no other submission
    shutil.copytree(submission, submission / "before")
    with opened(submission) as folder:
        assert folder == submission


@pytest.mark.parametrize(
    "paths, names",
    [
        (["ada", "bea.zip"], ["ada", "bea"]),
        (["ada.lovelace", "ada.byron.zip", "cy"], ["ada.lovelace", "ada.byron", "cy"]),
        (["a/work", "b/work.ZIP"], ["a-work", "b-work"]),
        (["cy", "cy.zip"], ["cy", "cy.zip"]),
        (["Ada", "ada"], ["Ada-1", "ada-2"]),  # one file on many systems
        (["ada", "./ada"], ["ada-1", "ada-2"]),
        (["."], [Path.cwd().name]),
    ],
)
def test_names_of_files(paths, names):
    assert file_names(paths) == names


def test_one_defect_does_not_stop_the_class(run, submission, tmp_path, monkeypatch):
    shutil.copytree(submission, tmp_path / "bea")

    def defective(folder, *_):
        if folder.name == "student":
            raise RecursionError("too deep")
        return []

    monkeypatch.setattr("course.grade.grade", defective)
    outcome = run("course.grade student bea")
    assert outcome.code == 1
    assert "student could not be graded: RecursionError: too deep" in outcome.out
    with pytest.raises(RecursionError):
        run("course.grade student")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", bytes(2**28 + 1))
    with pytest.raises(UserError, match="too large"), opened(tmp_path / "a.zip"):
        pass


def test_a_final_policy_counts_for_both_graders(run, submission, tmp_path):
    for path in (submission / "rlhf").glob("policy_checkpoint*.params"):
        path.rename(submission / "rlhf" / "final_policy.params")
    checks = {check.name: check for check in grade_policies(submission, num_rollouts=5)}
    assert checks["rlhf/ solves CartPole"].score > 0
    assert "average return" in run("rollout_policy.py --checkpoint student/rlhf").out


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


def test_the_command(run, submission, tmp_path):
    outcome = run(
        "course.grade student --num_rollouts 20 --gradescope results.json --json all.json"
    )
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1].split()[-2:] == ["in", "all"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["score"] == sum(test["score"] for test in results["tests"])
    assert sum(test["max_score"] for test in results["tests"]) == 100
    network = [line for line in outcome.out.splitlines() if "Net " in line]
    again = [f"{c.score:5.1f} of {c.max_score:3.0f}  {c.name}: {c.reason}" for c in
             grade_network(submission, LIMITS)]  # fmt: skip
    assert network == again


def test_misuse(run, tmp_path):
    assert_one_sentence(run("course.grade nowhere"), "nowhere does not exist")
    assert_one_sentence(run("course.grade . --num_rollouts 1"), "--num_rollouts")
    for value in ("0", "nan", "inf"):
        assert_one_sentence(run(f"course.grade . --seconds {value}"), "--seconds")
    assert_one_sentence(run("course.grade . --memory-gib nan"), "--memory_gib")


def test_points():
    assert [partial(x, 0.5, 0.9, 10) for x in (0.3, 0.5, 0.7, 0.9, 1)] == [0, 0, 5, 10, 10]


def test_pair_accuracy_by_hand():
    import numpy as np

    assert pair_accuracy(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(2 / 3)
    assert pair_accuracy(np.array([1, 2]), np.array([5, 5])) == 0
