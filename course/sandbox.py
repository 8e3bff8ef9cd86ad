"""Puts questions to a student's code without trusting it.

The code runs in a process of its own, in a copy of the student's folder, with limits on time and
memory. It is asked for numbers only; which numbers are right is not known there.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("grading_worker.py")


@dataclass(frozen=True)
class Limits:
    """What one question to the student's code may take."""

    seconds: float = 120
    memory_gib: float = 2


class NoAnswerError(Exception):
    """The student's code gave no usable answer; the text says why."""


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """A throw-away copy of the student's scripts and reward beside the library.

    Only plain files are copied: a link could lead to the solution. The instructor's scripts are
    not copied, so an import of a file that is missing does not find theirs.
    """
    with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as name:
        copy = Path(name)
        for path in (*folder.glob("*.py"), folder / "reward.params"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24:
                shutil.copyfile(path, copy / path.name)
        shutil.rmtree(copy / "prefloop", ignore_errors=True)
        shutil.copytree(
            ROOT / "prefloop", copy / "prefloop", ignore=shutil.ignore_patterns("__pycache__")
        )
        # the worker runs from here, too: its path would lead to the solution
        shutil.copyfile(WORKER, copy / WORKER.name)
        yield copy


def ask(
    question: str, folder: Path, limits: Limits, task: dict[str, NDArray] | None = None
) -> dict[str, Any]:
    """Puts one question to the student's code.

    Args:
        question: a name in the worker's QUESTIONS.
        folder: the student's.
        task: arrays that the question is about.

    Returns:
        The worker's answers; not checked beyond being lists of finite numbers.

    Raises:
        NoAnswerError: it stopped with an error, ran out of time or memory, or answered nonsense.
    """
    with sandbox(folder) as directory:
        np.savez(directory / "task.npz", **(task or {}))  # type: ignore[arg-type]
        memory = str(int(limits.memory_gib * 2**30))
        command = [sys.executable, "-B", WORKER.name, question, str(directory), memory]
        environment = {
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "HOME": str(directory),
            "PYTHONUSERBASE": site.getuserbase(),
        }
        for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TEMP", "TMP", "USERPROFILE"):
            if name in os.environ:
                environment[name] = os.environ[name]
        with (directory / "output.txt").open("w+b") as output:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert process.stdin is not None
            token = secrets.token_hex()
            try:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(f"{token}\n".encode())
                    process.stdin.close()
                process.wait(limits.seconds)
            except subprocess.TimeoutExpired:
                raise NoAnswerError(
                    f"Stopped after {limits.seconds:g} s: your code did not come to an end."
                ) from None
            finally:
                _end(process)
            output.seek(0)
            printed = output.read(2**20).decode(errors="replace")
        answers = directory / "answers.json"
        if not answers.is_file() or process.returncode != 0:
            raise NoAnswerError(_last_words(printed, process.returncode))
        try:
            written = json.loads(answers.read_text(encoding="utf-8"))
            if written["token"] != token:
                raise NoAnswerError("Your code wrote the grader's answers itself.")
            content = written["answers"]
            for values in content.values():
                if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
                    raise NoAnswerError("Your code gave NaN or infinity.")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise NoAnswerError("Your code gave no numbers.") from None
        return dict(content)


def _end(process: subprocess.Popen) -> None:
    """Ends the student's code and what it has started, unless that has left its process group."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(printed: str, returncode: int) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    if returncode == 0:
        return "Your code ended the program before it could be asked anything."
    if "MemoryError" in printed or "can't allocate memory" in printed:
        return "Your code ran out of the memory it may use."
    if returncode < 0:
        return f"Your code was ended by signal {-returncode}."
    return f"Your code stopped with an error: {lines[-1][:300] if lines else 'no message'}"


def stored(name: str, trajs: list[NDArray]) -> dict[str, NDArray]:
    """Trajectories as the worker reads them."""
    lengths = np.array([len(traj) for traj in trajs])
    return {name: np.concatenate(trajs), f"{name}_lengths": lengths}
