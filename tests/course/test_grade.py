"""The command: a class, its files, and what can't be graded."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import assert_one_sentence
from submitted import LIMITS, damaged

from course.checks import LEARNING, grade_network
from course.grades import Check, file_names
from prefloop.files import read_csv

pytest_plugins = ["submission_fixtures"]


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


def test_the_command(run, submission, tmp_path):
    outcome = run(
        "course.grade student --num_rollouts 20 --gradescope results.json --json all.json"
    )
    assert outcome.code == 0
    *_, total, wrote = outcome.out.splitlines()
    assert total.split()[-2:] == ["in", "all"] and wrote == "Wrote all.json and results.json."
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
