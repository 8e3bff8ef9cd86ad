import csv
import shutil

import numpy as np
import pytest
from conftest import assert_one_sentence

from course.assignment import compare
from course.checks import REFERENCE
from course.report import checkpoint_returns, draw_controls, draw_learning_curves, metrics
from prefloop.evaluation.statistics import mean_estimate


@pytest.fixture
def done(tmp_path):
    """A directory in which all three parts were run: short ones of the reference."""
    for name, epochs in (("synthetic", 10), ("rlhf", 2)):
        (tmp_path / name).mkdir()
        for epoch in range(epochs):
            shutil.copy(REFERENCE / name / f"policy_checkpoint{epoch}.params", tmp_path / name)
        lines = (REFERENCE / name / "metrics.csv").read_text().splitlines()[: epochs + 1]
        (tmp_path / name / "metrics.csv").write_text("\n".join(lines) + "\n")
    for name in ("reward.params", "reward.json"):
        shutil.copy(REFERENCE / name, tmp_path)
    return tmp_path


def test_the_report(run, done):
    outcome = run("course.report --num_rollouts 4 --control_seeds 1")
    assert outcome.code == 0
    names = {path.name for path in (done / "report").iterdir()} - {".lock"}
    figures = {"comparison", "learning_curves", "checkpoints", "predicted_returns"}
    figures |= {"learned_reward", "controls", "controls_table"}
    assert names == {f"{name}.png" for name in figures} | {"report.pdf"}
    assert (done / "report" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert len(outcome.out.splitlines()) == len(names)


def test_columns_and_curves(done):
    columns = metrics(done / "synthetic")
    with (done / "synthetic" / "metrics.csv").open() as file:
        assert columns["true_return"].tolist() == [
            float(row["true_return"]) for row in csv.DictReader(file)
        ]
    figure = draw_learning_curves({"a": columns}, mean_estimate([30, 40]))
    line, best = figure.axes[0].lines
    assert line.get_ydata().tolist() == columns["true_return"].tolist()
    assert set(best.get_ydata()) == {35}


def test_controls_show_the_mean_over_seeds():
    figure = draw_controls({"constant": np.array([[1.0, 3.0], [3.0, 7.0]])})
    assert figure.axes[0].lines[0].get_ydata().tolist() == [2, 5]


def test_every_checkpoint_is_evaluated(done):
    estimates = checkpoint_returns(done / "synthetic", num_episodes=50, seed=0)
    assert list(estimates) == list(range(10))
    assert estimates[9].mean > estimates[0].mean


def test_what_came_of_the_assignment():
    results = compare(REFERENCE, seed=0, num_episodes=50)
    (best, demonstrated), (learned, returns) = results.items()
    assert "synthetic" in best
    assert learned.endswith("policy_checkpoint49.params")
    assert np.mean(returns) > 180 > 150 > np.mean(demonstrated) > 25


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("synthetic/metrics.csv", "synthetic has no readable metrics.csv"),
        ("reward.params", "reward.params does not exist"),
        ("rlhf/metrics.csv", "rlhf has no readable"),
    ],
)
def test_what_is_missing_is_named(run, done, missing, words):
    (done / missing).unlink()
    assert_one_sentence(run("course.report"), words)
    assert not (done / "report").exists()


def test_misuse(run, done):
    (done / "file").write_text("")
    assert_one_sentence(run("course.report --out file"), "file is a file")
    assert_one_sentence(run("course.report --num_rollouts 1"), "--num_rollouts")
    (done / "rlhf" / "metrics.csv").write_text("epoch,loss\n0\n")
    assert_one_sentence(run("course.report"), "no readable metrics.csv")


@pytest.mark.slow
def test_the_assignment_end_to_end(run, tmp_path, capfd):
    assert run("course.assignment --seed 1 --num_rollouts 20").code == 0
    assert (tmp_path / "rlhf" / "policy_checkpoint49.params").exists()


def test_a_part_that_fails_ends_the_assignment(run, tmp_path, capfd):
    (tmp_path / "synthetic").write_text("in the way")
    assert_one_sentence(run("course.assignment"), "vpg.py ended with exit code 2")
    assert_one_sentence(run("course.assignment --directory nowhere"), "nowhere is not a directory")
