"""What tests share: running a script as its user would, and small trained things to run it on."""

import contextlib
import importlib
import io
import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Outcome]:
    """Runs `script.py --flags` or `package.module --flags` in a temporary directory.

    In this process, where PyTorch is loaded already.
    """
    monkeypatch.chdir(tmp_path)

    def command(line: str) -> Outcome:
        script, *arguments = shlex.split(line, posix=os.name != "nt")
        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            mock.patch.object(sys, "argv", [script, *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                if script.endswith(".py"):
                    runpy.run_path(str(ROOT / script), run_name="__main__")
                else:
                    importlib.import_module(script).main()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, out.getvalue(), err.getvalue())

    return command


def start(*arguments: str, cwd: Path, **kwargs: object) -> subprocess.Popen:
    """Starts a script as a process of its own."""
    command = [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, **(pipes | kwargs))  # type: ignore[call-overload]


def assert_one_sentence(outcome: Outcome, *words: str) -> None:
    """A user's mistake: exit code 2, no traceback, and one line that names what is wrong."""
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    last = outcome.err.strip().splitlines()[-1]
    for word in words:
        assert word in last, last


@pytest.fixture(scope="session")
def demonstrators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Part 1's ten checkpoints, from short epochs."""
    import vpg

    directory = tmp_path_factory.mktemp("part1") / "synthetic"
    settings = vpg.Settings(batch_size=500, checkpoint=True, checkpoint_dir=str(directory))
    with contextlib.redirect_stdout(io.StringIO()):
        vpg.train(settings)
    return directory
