"""The load test of benchmarks/, with few participants: nothing is lost, doubled or given to too many."""

import importlib
import os
import re
import subprocess
import sys
import uuid
from types import SimpleNamespace

import pytest
from conftest import ROOT


def load(database_url, tmp_path, *flags):
    """Exit code and output of the load test."""
    program = [sys.executable, ROOT / "benchmarks" / "labelling_load.py"]
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*program, "--database-url", database_url, *flags],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_lost_under_load(database_url, tmp_path):
    code, output = load(
        database_url, tmp_path,
        "--participants", "10", "--labels", "5", "--pace", "0.3", "--answers_per_pair", "2",
        "--kills", "1", "--strangers", "60", "--uploads", "8", "--upload_segments", "16",
        "--processes", "1",
        "--most", "10",  # a machine may be busy with other tests: how long it takes is measured elsewhere
    )  # fmt: skip
    assert code == 0, output
    assert output.count("killed and started again") == 1
    assert {"0"} == set(re.findall(r"^ +(\d+) [a-z ]+$", output, re.MULTILINE)), output


@pytest.fixture
def checking(monkeypatch):
    """What the load test finds wrong, of two people who answered a pair each."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    crowd, program = importlib.import_module("crowd"), importlib.import_module("labelling_load")
    asked = {uuid.uuid4(): (uuid.uuid4(), uuid.uuid4()) for _ in range(2)}
    diaries, events = [], []
    for number, (query, (first, second)) in enumerate(asked.items()):
        diary, id = crowd.Diary(f"{number}", code="code"), uuid.uuid4()
        diary.given[f"lease {number}"] = str(query)
        diary.said[str(id)] = crowd.Said(str(query), str(first), str(second), "right")
        diaries.append(diary)
        events.append(
            SimpleNamespace(
                id=id, query=query, annotator=f"load-{number}", label=1.0, number=number
            )
        )
    settings = SimpleNamespace(labels=1, answers_per_pair=1)

    def found():
        wrong = program.wrongs(diaries, events, asked, {}, settings)
        return {name: number for name, number in wrong.items() if number}

    return diaries, events, found


def test_what_is_wrong_is_found(checking):
    diaries, events, found = checking
    assert found() == {}
    events[0].label = 0.0
    assert found() == {"stored otherwise than said": 1}
    events[0].label = 1.0
    twice = SimpleNamespace(**{**vars(events[0]), "id": uuid.uuid4()})
    events.append(twice)
    assert found() == {
        "stored twice": 1,
        "stored and never acknowledged": 1,
        "participants with another number of labels": 1,
    }
    events.pop()
    lost = events.pop()
    assert found() == {
        "acknowledged and not stored": 1,
        "participants with another number of labels": 1,
    }
    events.append(lost)
    diaries[0].given["another lease"] = diaries[1].given["lease 1"]
    assert found() == {"pairs given to more people than wanted": 1}
    diaries[0].given["another lease"] = diaries[0].given["lease 0"]
    assert found() == {"pairs given to somebody twice": 1}
    del diaries[0].given["another lease"]
    diaries[0].code = None
    assert found() == {"participants without a code": 1}
