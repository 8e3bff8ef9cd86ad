"""What a folder is judged by: points for what is right, reasons that are true."""

import shutil

import pytest
import torch
from conftest import ROOT
from submitted import LIMITS, learning, network, scores, spoil

from course.checks import (
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
from course.handout import build

pytest_plugins = ["submission_fixtures"]


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


def test_a_final_policy_counts_for_both_graders(run, submission, tmp_path):
    for path in (submission / "rlhf").glob("policy_checkpoint*.params"):
        path.rename(submission / "rlhf" / "final_policy.params")
    checks = {check.name: check for check in grade_policies(submission, num_rollouts=5)}
    assert checks["rlhf/ solves CartPole"].score > 0
    assert "average return" in run("rollout_policy.py --checkpoint student/rlhf").out


def test_points():
    assert [partial(x, 0.5, 0.9, 10) for x in (0.3, 0.5, 0.7, 0.9, 1)] == [0, 0, 5, 10, 10]


def test_pair_accuracy_by_hand():
    import numpy as np

    assert pair_accuracy(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(2 / 3)
    assert pair_accuracy(np.array([1, 2]), np.array([5, 5])) == 0
