"""Puts questions to a student's code without trusting it.

The code runs in a process of its own, in a copy of the student's folder beside what the hand-out
holds, with limits on time, memory and disk. It is asked for numbers only; which numbers are right is
not known there.
"""

import contextlib
import ctypes
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from course.handout import handed_out
from prefloop.errors import UserError

WORKER = Path(__file__).with_name("grading_worker.py")
OUT_OF_TIME = 152  # the worker's exit code then
PATIENCE = 5  # wall-clock time for each second of computing: the machine may be busy
TAIL = 2**16  # bytes of what is printed that are kept, from its end
FILE_BYTES, DISK_BYTES = 2**24, 2**28
NOBODY = "nobody"
PR_SET_CHILD_SUBREAPER = 36  # of Linux
MARK = "PREFLOOP_GRADING"  # in the environment of whatever belongs to a question


@dataclass(frozen=True)
class Limits:
    """What one question to the student's code may take.

    Attributes:
        seconds: of computing; waiting for a core does not count.
        memory_gib: on Linux.
    """

    seconds: float = 120
    memory_gib: float = 2


class NoAnswerError(Exception):
    """The student's code gave no usable answer; the text says why."""


@dataclass(frozen=True)
class Answers:
    """What the student's code said.

    Attributes:
        numbers: by name, finite numbers; what could not be answered is missing.
        problems: what went wrong, by the same names, and where in the student's files.
    """

    numbers: dict[str, Any]
    problems: dict[str, str]

    def problem(self, name: str) -> str:
        """What went wrong with a part, as the rest of a sentence; empty if nothing did."""
        return f" ({self.problems[name]})" if name in self.problems else ""


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """A throw-away copy of the student's scripts and reward beside the hand-out's library.

    Only plain files are copied: a link could lead to the solution. The instructor's scripts are
    not copied, so an import of a file that is missing does not find theirs.

    Raises:
        UserError: there is no room for it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as name:
            copy = Path(name)
            for path in (*folder.glob("*.py"), folder / "reward.params"):
                if path.is_file() and not path.is_symlink() and path.stat().st_size < FILE_BYTES:
                    shutil.copyfile(path, copy / path.name)
            shutil.rmtree(copy / "prefloop", ignore_errors=True)
            for source, place in handed_out().items():
                (copy / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy / place)
            # the worker runs from here, too: its path would lead to the solution
            shutil.copyfile(WORKER, copy / WORKER.name)
            yield copy
    except OSError as error:
        raise UserError(f"Can't make a folder to grade in: {error.strerror or error}.") from None


def ask(
    question: str, folder: Path, limits: Limits, task: dict[str, NDArray] | None = None
) -> Answers:
    """Puts one question to the student's code.

    Args:
        question: a name in the worker's QUESTIONS.
        folder: the student's.
        task: arrays that the question is about.

    Raises:
        NoAnswerError: it stopped with an error, ran out of time, memory or disk, or answered
            nonsense.
        UserError: there is no room for a sandbox.
    """
    with sandbox(folder) as directory:
        np.savez(directory / "task.npz", **(task or {}))  # type: ignore[arg-type]
        token = secrets.token_hex()
        facts = {
            "token": token,
            "question": question,
            "grader": os.getpid(),
            "seconds": limits.seconds,
            "memory_bytes": int(limits.memory_gib * 2**30),
            "file_bytes": FILE_BYTES,
            "packages": [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))],
        }
        returncode, printed = _run(directory, facts, limits)
        answers = directory / "answers.json"
        if returncode != 0 or not answers.is_file() or answers.is_symlink():
            raise NoAnswerError(_last_words(printed, returncode, limits))
        try:
            written = json.loads(answers.read_text(encoding="utf-8"))
            if written["token"] != token:
                raise NoAnswerError("Your code wrote the grader's answers itself.")
            for values in written["answers"].values():
                if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
                    raise NoAnswerError("Your code gave NaN or infinity.")
            problems = {str(k): str(v)[:1000] for k, v in written["problems"].items()}
            return Answers(dict(written["answers"]), problems)
        except (
            OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError
        ):  # fmt: skip
            raise NoAnswerError("Your code gave no numbers.") from None


def _run(directory: Path, facts: dict[str, Any], limits: Limits) -> tuple[int, str]:
    """Starts the worker and waits for it.

    Returns:
        Its exit code, and the end of what it printed.
    """
    mark = secrets.token_hex(8)
    # without the environment's own start: an editable install would put the solution in reach
    python = getattr(sys, "_base_executable", sys.executable)
    environment = {"OMP_NUM_THREADS": "1", "HOME": str(directory), MARK: mark}
    for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TEMP", "TMP"):
        if name in os.environ:
            environment[name] = os.environ[name]
    as_another: dict[str, Any] = {}
    if _can_be_nobody():
        as_another = {"user": NOBODY, "group": _group(), "extra_groups": []}
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, NOBODY, _group())
    with _adopting_orphans() as own:
        process = subprocess.Popen(
            [python, "-I", "-S", "-B", WORKER.name],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_another,
        )
        assert process.stdin is not None and process.stdout is not None
        tail = bytearray()
        reader = threading.Thread(target=_keep_tail, args=(process.stdout, tail), daemon=True)
        reader.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                # it stays open: when it closes, the grader has ended
                process.stdin.write(json.dumps(facts).encode() + b"\n")
                process.stdin.flush()
            _wait(process, directory, limits)
        finally:
            _end(process, mark, own)
            with contextlib.suppress(OSError):
                process.stdin.close()
        reader.join(1)  # whoever inherited the pipe may hold it open
        return process.returncode, bytes(tail).decode(errors="replace")


def _keep_tail(stream: IO[bytes], tail: bytearray) -> None:
    """Reads on, so that nobody waits for a reader, and keeps the end."""
    with contextlib.suppress(ValueError, OSError), stream:
        while chunk := stream.read1(TAIL):  # type: ignore[attr-defined]
            tail += chunk
            del tail[:-TAIL]


def _wait(process: subprocess.Popen, directory: Path, limits: Limits) -> None:
    deadline = time.monotonic() + PATIENCE * limits.seconds
    while True:
        try:
            process.wait(0.2)
            return
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise NoAnswerError(
                    f"Stopped after {PATIENCE * limits.seconds:g} s: your code waited for "
                    "something and did not come to an end."
                ) from None
            if _size(directory) > DISK_BYTES:
                raise NoAnswerError(
                    f"Your code wrote more than the {DISK_BYTES // 2**20} MiB it may use."
                ) from None


def _size(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return total


def _end(process: subprocess.Popen, mark: str, own: set[int]) -> None:
    """Ends the student's code and what it has started.

    On Linux also what has left its process group: it has the question's mark in its environment,
    or was adopted by this process when its parent ended.

    Args:
        own: children that this process had before.
    """
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(10):  # what is ended may have started more meanwhile
        left = [pid for pid in _strangers(mark) if pid not in own]
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
        if not left:
            return


def _strangers(mark: str = "") -> list[int]:
    """This process's children, and whoever has the mark in the environment; Linux."""
    found = []
    for folder in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            is_child = int(parent) == os.getpid()
            is_marked = mark and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes()
            if (is_child or is_marked) and state not in "ZX":
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[set[int]]:
    """Makes orphans of the student's processes this one's, which ends them; Linux.

    Returns:
        The children that this process has already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield set(_strangers())
    finally:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


@functools.lru_cache
def _can_be_nobody() -> bool:
    """Whether the student's code can run as a user without rights, who can't end the grader."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return False
    packages = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    python = getattr(sys, "_base_executable", sys.executable)
    code = f"import sys; sys.path += {packages!r}; import torch, gymnasium"
    try:
        command = [python, "-I", "-S", "-B", "-c", code]
        options: dict[str, Any] = {"user": NOBODY, "group": _group(), "extra_groups": []}
        return subprocess.run(command, capture_output=True, cwd="/", **options).returncode == 0
    except (OSError, LookupError, ValueError, subprocess.SubprocessError):
        return False


def _group() -> int:
    import pwd

    return pwd.getpwnam(NOBODY).pw_gid


def _last_words(printed: str, returncode: int, limits: Limits) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    if returncode == 0:
        return "Your code ended the program before it could be asked anything."
    if returncode == OUT_OF_TIME or -returncode == getattr(signal, "SIGXCPU", None):
        return f"Stopped after {limits.seconds:g} s: your code did not come to an end."
    if "MemoryError" in printed or "can't allocate memory" in printed:
        return "Your code ran out of the memory it may use."
    if returncode < 0:
        return f"Your code was ended by signal {-returncode}."
    return f"Your code stopped with an error: {lines[-1][:500] if lines else 'no message'}"


def stored(name: str, trajs: list[NDArray]) -> dict[str, NDArray]:
    """Trajectories as the worker reads them."""
    lengths = np.array([len(traj) for traj in trajs])
    return {name: np.concatenate(trajs), f"{name}_lengths": lengths}
