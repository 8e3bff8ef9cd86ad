"""PEBBLE, killed in the middle of each thing that it does: the same command goes on to the same bytes."""

import subprocess
import sys

import pytest
from conftest import ROOT
from small_pebble import SMALL

RUN = SMALL.removeprefix("prefloop.cli ")
FILES = ("metrics.csv", "final_policy.params", "reward.params", "preferences/preferences.jsonl", "replay/rewards.npy")  # fmt: skip

# what is run before the command: `killed(nth)` ends the process at the nth call
BEFORE = """
import itertools, os, signal, sys
from pathlib import Path
import numpy as np
from prefloop.agents.sac import SAC
from prefloop.cli import main
from prefloop.data.replay_buffer import ReplayBuffer
from prefloop.rewards.training import RewardFit
from prefloop.training.answers import SimulatedAnswers

calls = itertools.count(1)

def killed(nth):
    if next(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)

def after(kind, name, nth):
    original = getattr(kind, name)
    def call(*arguments, **named):
        result = original(*arguments, **named)
        killed(nth)
        return result
    setattr(kind, name, call)
"""
IN_THE_MIDDLE = {
    "exploring": "after(SAC, 'update', 20)",
    "asking": "after(SimulatedAnswers, 'ask', 2)",
    "fitting": "after(RewardFit, 'iterate', 2)",
    "relabelling": """
original = ReplayBuffer.relabel
def relabel(self, reward, chunk=4096):
    def judged(*steps):
        found = reward(*steps)
        killed(7)
        return found
    original(self, judged, 100)
ReplayBuffer.relabel = relabel
""",
    "forgetting": "after(SAC, 'reset_critic', 1)",
    "learning": "after(SAC, 'update', 230)",
    "saving": """
original = Path.write_bytes
def half(self, data):
    if "training_state" not in self.name:
        return original(self, data)
    original(self, data[: len(data) // 2])
    killed(3)
    return original(self, data)
Path.write_bytes = half
""",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(
        [sys.executable, "-m", "prefloop", *RUN.split(), str(folder / "p")],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return {name: (folder / "p" / name).read_bytes() for name in FILES}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("where", IN_THE_MIDDLE)
def test_killed_in_the_middle_it_goes_on_as_if_it_was_not(whole, run, tmp_path, where):
    script = f"{BEFORE}\n{IN_THE_MIDDLE[where]}\nmain(sys.argv[1:])"
    child = subprocess.run(
        [sys.executable, "-c", script, *RUN.split(), str(tmp_path / "p")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert child.returncode == -9, child.stderr
    outcome = run(f"prefloop.cli {RUN} p --resume")
    assert outcome.code == 0, outcome.err
    for name in FILES:
        assert (tmp_path / "p" / name).read_bytes() == whole[name], name
