"""Answers in a run's folder, which a run that goes on learns from again."""

import json
import shutil

import pytest
from conftest import assert_one_sentence
from test_stopping import PEBBLE, PREF_PPO, result

from prefloop import checkpoints, run_files


@pytest.mark.parametrize(("line", "answers"), [(PEBBLE, 12), (PREF_PPO, 20)])
def test_a_run_goes_on_with_the_answers_that_it_had_and_with_no_others(
    run, tmp_path, line, answers
):
    assert run(f"{line} p").code == 0
    before = result(tmp_path / "p")
    folder = tmp_path / "p" / run_files.PREFERENCES
    file = folder / "preferences.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    first = json.loads(lines[0])
    other = json.dumps({**first, "label": 1 - first["label"]}).encode() + b"\n"

    def refused(*words):
        outcome = run(f"{line} p --resume")
        assert_one_sentence(outcome, *words, "so the run can't go on")

    file.write_bytes(b"".join(lines[:3]))
    refused(f"preferences/ in the run's folder holds 3 of the {answers} answers that it had")
    file.write_bytes(b"".join([other, *lines[1:]]))
    refused("preferences/ in the run's folder holds other answers than those that it had")
    file.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    refused("holds other answers")
    folder.rename(tmp_path / "away")
    refused(f"holds 0 of the {answers} answers")
    shutil.rmtree(folder)
    (tmp_path / "away").rename(folder)
    # what an iteration that was stopped had asked besides is no mistake
    file.write_bytes(b"".join([*lines, other]))
    assert run(f"{line} p --resume").code == 0
    file.write_bytes(b"".join(lines))
    # states of earlier versions say how many there were
    state = checkpoints.load(tmp_path / "p" / run_files.STATE)
    del state["learner"]["answers"]
    checkpoints.save(tmp_path / "p" / run_files.STATE, state)
    assert run(f"{line} p --resume").code == 0
    assert result(tmp_path / "p") == before
    file.write_bytes(b"".join(lines[:3]))
    refused(f"holds 3 of the {answers} answers")
