"""Machines that share no folder, have another clock, or lack a package: with an engine of the same interface."""

import os
import re
import sys
import time
from concurrent.futures import Future

import pytest
from given import as_given
from inline import Inline
from test_sweep_results import made

from prefloop.errors import UserError
from prefloop.files import read_json
from prefloop.sweeps import engines, running
from prefloop.sweeps.compare import run_study

STUDY = """
env: CartPole-v0
methods: [dpo, true-reward]
labels: 10
seeds: 0-1
"""
DAY = 86400  # seconds


class Elsewhere(Inline):
    """Does each job on a disk of its own."""

    def submit(self, function, job):
        done = Future()
        done.set_result(None)
        return done


class WithoutAtari(Inline):
    """Does each job where ale-py is not installed."""

    def submit(self, function, job):
        with pytest.MonkeyPatch.context() as here:
            here.setitem(sys.modules, "ale_py", None)
            return super().submit(function, job)


def test_a_folder_that_is_not_shared(tmp_path, monkeypatch):
    file = tmp_path / "s.yaml"
    file.write_text(STUDY)
    monkeypatch.setattr(engines, "ThisMachine", Elsewhere)
    with pytest.raises(UserError, match=r"nothing came to .*; do all machines share it") as refused:
        run_study(as_given(file, out=str(tmp_path / "c")))
    assert str(refused.value).startswith("4 of 4 runs could not be done.")


def test_a_node_without_what_the_environment_needs(tmp_path, monkeypatch):
    pytest.importorskip("ale_py")
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.replace("CartPole-v0", "ALE/Pong-v5").replace("dpo, ", ""))
    monkeypatch.setattr(engines, "ThisMachine", WithoutAtari)
    with pytest.raises(UserError, match=r"2 of 2 runs .* pip install 'prefloop\[atari\]'"):
        run_study(as_given(file, out=str(tmp_path / "c")))
    (failure,) = tmp_path.glob("c/*/random/seed-0/failed.json")
    assert "need ale-py" in read_json(failure)["reason"]


@pytest.mark.parametrize("shift", [-400 * DAY, 400 * DAY])
def test_results_of_a_machine_whose_clock_differs(tmp_path, monkeypatch, capsys, shift):
    made(tmp_path / "c", STUDY)
    (tmp_path / "c" / "study.yaml").write_text(STUDY)
    then = time.time() + shift
    for path in tmp_path.glob("c/**/*"):
        os.utime(path, (then, then))
    ran = []
    monkeypatch.setattr(running, "run_cell", lambda settings, cell: ran.append(cell))
    monkeypatch.setattr(engines, "ThisMachine", Inline)
    run_study(as_given(tmp_path / "c.yaml", out=str(tmp_path / "c")))
    assert not ran and "4 of 4 runs are there already" in capsys.readouterr().out
    assert not re.search("failed", (tmp_path / "c" / "results.csv").read_text())
