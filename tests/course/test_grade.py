import json
import shutil
import textwrap

import pytest
from conftest import ROOT, assert_one_sentence

from course.grade import (
    REFERENCE,
    Limits,
    grade,
    grade_learning,
    grade_network,
    grade_policies,
    grade_saved_reward,
    pair_accuracy,
    partial,
)
from course.handout import build

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
        "returns[first], returns[second], labels",
        "returns[second], returns[first], labels",
    )
    checks = grade(submission, LIMITS)
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
    checks = grade_learning(submission, Limits(seconds=6))
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
    (submission / "utils.py").write_text(textwrap.dedent(FAKES[name]))
    checks = [*grade_network(submission, LIMITS), *grade_learning(submission, LIMITS)]
    checks.append(grade_saved_reward(submission, LIMITS))
    assert sum(check.score for check in checks) == 0, checks
    assert all(check.reason for check in checks)


def test_a_network_without_gradients(submission):
    spoil(
        submission,
        "utils.py",
        "return self(states.to(weight)).sum()",
        "return self(states.to(weight)).sum().detach().requires_grad_()",
    )
    checks = scores(grade_network(submission, LIMITS))
    assert checks["Net takes trajectories of any length and type"] == 10
    assert checks["Net carries gradients"] == 0


def test_a_mean_is_no_sum(submission):
    spoil(submission, "utils.py", "(states.to(weight)).sum()", "(states.to(weight)).mean()")
    assert scores(grade_network(submission, LIMITS))["Net adds up the rewards of the states"] == 0


def test_a_reward_of_the_length_alone(submission):
    """It adds up and has gradients, but looks at nothing."""
    spoil(
        submission,
        "utils.py",
        "return self(states.to(weight)).sum()",
        "return self(0 * states.to(weight)).sum()",
    )
    assert scores(grade_network(submission, LIMITS))["Net adds up the rewards of the states"] == 0


def test_ties_read_as_the_first_is_better(submission):
    spoil(
        submission,
        "offline_reward_learning.py",
        "torch.tensor(training_outputs, dtype=torch.float32, device=device)",
        "torch.tensor(training_outputs).long().float()",
    )
    checks = scores(grade_learning(submission, LIMITS))
    assert checks["learn_reward generalises"] == 15
    assert checks["learn_reward knows ties"] == 0


def test_an_error_at_ties_costs_the_ties_alone(submission):
    spoil(
        submission,
        "offline_reward_learning.py",
        "    for _ in tqdm(range(num_iter)",
        "    assert 0.5 not in training_outputs\n    for _ in tqdm(range(num_iter)",
    )
    checks = scores(grade_learning(submission, LIMITS))
    assert list(checks.values()) == [15, 15, 0]


def test_a_net_for_arrays_alone_loses_that_check_alone(submission):
    spoil(
        submission,
        "utils.py",
        "states = torch.as_tensor(np.asarray(traj) if isinstance(traj, list) else traj)",
        "states = torch.from_numpy(traj)",
    )
    checks = scores(grade_network(submission, LIMITS))
    assert list(checks.values()) == [0, 10, 10, 5]


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


@pytest.mark.parametrize("seed", [1, 2])
def test_the_solution_finds_other_rules_as_well(submission, seed):
    assert learning(grade_learning(submission, LIMITS, seed)) == 35


def test_missing_and_damaged_files(submission):
    (submission / "reward.params").write_bytes(b"x")
    shutil.rmtree(submission / "rlhf")
    (submission / "synthetic" / "policy_checkpoint4.params").unlink()
    checks = {check.name: check for check in grade(submission, LIMITS)}
    assert checks["reward.params ranks demonstrations"].score == 0
    assert "policy_checkpoint4.params" in checks["synthetic/ has ten demonstrators"].reason
    assert "run Part 3" in checks["rlhf/ solves CartPole"].reason


def test_the_command(run, submission, tmp_path):
    outcome = run(
        "course.grade student --num_rollouts 20 --gradescope results.json --json all.json"
    )
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1].split()[-2:] == ["in", "all"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["score"] == sum(test["score"] for test in results["tests"])
    assert sum(test["max_score"] for test in results["tests"]) == 100
    again = run("course.grade student --num_rollouts 20")
    assert again.out == outcome.out


def test_misuse(run, tmp_path):
    assert_one_sentence(run("course.grade nowhere"), "nowhere is not a directory")
    assert_one_sentence(run("course.grade . --num_rollouts 1"), "--num_rollouts")
    assert_one_sentence(run("course.grade . --seconds 0"), "--seconds")


def test_points():
    assert [partial(x, 0.5, 0.9, 10) for x in (0.3, 0.5, 0.7, 0.9, 1)] == [0, 0, 5, 10, 10]


def test_pair_accuracy_by_hand():
    import numpy as np

    assert pair_accuracy(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(2 / 3)
    assert pair_accuracy(np.array([1, 2]), np.array([5, 5])) == 0
