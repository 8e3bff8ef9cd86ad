import ast
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, assert_one_sentence

from course.handout import blank, build
from prefloop.errors import UserError


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    out = tmp_path_factory.mktemp("course") / "handout"
    build(out)
    return out


def in_handout(handout, *command):
    """Runs a student's command with nothing of this project but the hand-out in reach."""
    program = (
        "import runpy, sys; sys.path[:] = ['.'] + [p for p in sys.path if p]\n"
        f"sys.path = [p for p in sys.path if p != {str(ROOT)!r}]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in type(f).__module__ + str(f)]\n"
        f"sys.argv = {list(command)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=handout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_part_1_runs_and_part_2_says_what_to_write(handout):
    part1 = in_handout(
        handout, "vpg.py", "--epochs", "10", "--batch_size", "100", "--num_envs", "4",
        "--checkpoint", "--checkpoint_dir", "./synthetic",
    )  # fmt: skip
    assert part1.returncode == 0, part1.stderr
    assert (handout / "synthetic" / "policy_checkpoint9.params").exists()
    part2 = in_handout(handout, "offline_reward_learning.py")
    assert part2.returncode == 2
    assert "Net.__init__ is yours to write" in part2.stderr
    assert "Traceback" not in part2.stderr
    # with Net written, the next blank is named
    solved = (ROOT / "utils.py").read_text()
    blanked = (handout / "utils.py").read_text()
    (handout / "utils.py").write_text(solved)
    part2 = in_handout(handout, "offline_reward_learning.py")
    (handout / "utils.py").write_text(blanked)
    assert part2.returncode == 2
    assert "learn_reward is yours to write" in part2.stderr
    rollout = in_handout(
        handout, "rollout_policy.py", "--checkpoint", "synthetic/policy_checkpoint9.params"
    )
    assert rollout.returncode == 0


def test_no_solution_is_in_reach(handout):
    solutions = []
    for name in ("utils.py", "offline_reward_learning.py"):
        inside = False
        for line in (ROOT / name).read_text().splitlines():
            inside = (inside or "# BEGIN SOLUTION" in line) and "# END SOLUTION" not in line
            code = line.strip()
            if inside and len(code) > 12 and not code.startswith("#"):
                solutions.append(code)
    assert len(solutions) > 15
    given = (ROOT / "vpg.py").read_text()  # `loss.backward()` is no secret
    solutions = [line for line in solutions if line not in given]
    texts = [path.read_text() for path in handout.rglob("*.py")]
    assert not [line for line in solutions for text in texts if line in text]
    assert not (handout / "prefloop" / "bradley_terry.py").exists()
    assert not any("SOLUTION" in text or "bradley_terry" in text for text in texts)


def test_the_readme_is_the_assignment(handout):
    text = (handout / "README.md").read_text()
    assert text.startswith("# The assignment")
    for words in ("Part 1", "Part 2", "Part 3", "Questions", "Handing in", "imitation_learning"):
        assert words in text
    assert "instructors" not in text.lower()


def test_every_file_is_python_and_hints_stay(handout):
    for path in handout.rglob("*.py"):
        ast.parse(path.read_text())
    assert (handout / "utils.py").read_text().count("# HINT:") >= 4
    assert "CrossEntropyLoss" in (handout / "offline_reward_learning.py").read_text()


SOURCE = """
# BEGIN SOLUTION
import secret
# END SOLUTION


class A:
    def f(self):
        # BEGIN SOLUTION
        # HINT: think
        return secret
        # END SOLUTION
"""


def test_blank():
    text = blank(SOURCE, "a.py")
    assert "secret" not in text
    assert '        # HINT: think\n        raise NotImplementedError("a.py: A.f is yours' in text


@pytest.mark.parametrize(
    "source",
    [
        "# BEGIN SOLUTION\n",
        "# END SOLUTION\n",
        "# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION\n",
    ],
)
def test_markers_that_do_not_pair_up(source):
    with pytest.raises(UserError, match=r"a\.py:[12]"):
        blank(source, "a.py")


def test_an_existing_folder_is_left_alone(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text(json.dumps("precious"))
    (tmp_path / "plain").write_text("file")
    for out in ("mine", "plain", "plain/sub"):
        assert_one_sentence(run(f"course.handout --out {out}"), out)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_a_name_that_neither_utf8_nor_the_terminal_knows(tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "HOME": str(tmp_path)}
    folder = os.fsdecode(b"caf\xe9")
    result = subprocess.run(
        [sys.executable, "-m", "course.handout", f"--out=~/{folder}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / folder / "vpg.py").exists() and r"caf\udce9 holds" in result.stdout
