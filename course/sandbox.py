"""Puts questions to a student's code without trusting it.

The code runs in a process of its own, in a copy of the student's folder, with limits on time, memory
and disk, and as another user where there are the rights to that. It is asked for numbers only; which
numbers are right is not known there. Three files make it up: this one asks, grading_supervisor.py
watches, grading_worker.py answers.
"""

import contextlib
import ctypes
import errno
import functools
import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course.handout import handed_out
from prefloop.errors import UserError
from prefloop.startup import group_of_its_own

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("grading_supervisor.py", "grading_worker.py")
MAX_FILE_BYTES = 2**24  # of a student's that is copied
MAX_ANSWER_BYTES = 2**16
DISK_BYTES = 2**28  # that the code may fill
PROCESSES = 512  # that the code may start, where they have a user to themselves; with threads
WALL_FACTOR = 5  # a busy machine may take this many times as long as the code computes
WALL_SECONDS = 20  # and as long as this to begin


@dataclass(frozen=True)
class Limits:
    """What one question to the student's code may take.

    Attributes:
        seconds: of computing, on however busy a machine; five times as much by the clock.
        memory_gib: where the system has such a limit.
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
        places: of the student's functions, by their names, each as the beginning of a sentence.
    """

    numbers: dict[str, Any]
    problems: dict[str, str]
    places: dict[str, str] = field(default_factory=dict)

    def problem(self, name: str) -> str:
        """What went wrong with a part, as the rest of a sentence; empty if nothing did."""
        return f" ({self.problems[name]})" if name in self.problems else ""

    def at(self, function: str) -> str:
        """Where a function of the student's is; empty if that is not known."""
        return f"{self.places[function]}: " if function in self.places else ""


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """A throw-away folder: `work` with the student's files, `library` with what the hand-out holds.

    Only plain files are copied: a link could lead to the solution. The instructor's scripts are
    not copied, so an import of a file that is missing does not find theirs.

    Raises:
        UserError: the folder for temporary files can't be written.
    """
    try:
        directory = Path(tempfile.mkdtemp(prefix="grade-"))
    except OSError as error:
        raise _unwritable(error) from None
    try:
        try:
            fill(directory, folder)
        except OSError as error:
            raise _unwritable(error) from None
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _unwritable(error: OSError) -> UserError:
    return UserError(f"Can't write temporary files in {tempfile.gettempdir()}: {error.strerror}.")


def is_full(directory: Path) -> bool:
    """Whether the disk is, and not by what the student's code has written there."""
    written = sum(path.stat().st_size for path in (directory / "work").glob("*") if path.is_file())
    return shutil.disk_usage(directory).free < MAX_ANSWER_BYTES and written < MAX_FILE_BYTES


def fill(directory: Path, folder: Path) -> None:
    """Copies what a question needs into a sandbox."""
    directory.chmod(0o711)  # another user has to get through
    work, library = directory / "work", directory / "library"
    work.mkdir()
    library.mkdir()
    for path in handed_in(folder):
        if not why_not_read(path):
            shutil.copyfile(path, work / path.name)
    for source, place in handed_out().items():
        (library / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, library / place)
    # they run from here, too: their path would lead to the solution
    for name in PROGRAMS:
        shutil.copyfile(Path(__file__).with_name(name), library / name)


def handed_in(folder: Path) -> list[Path]:
    """A student's scripts and learned reward, whatever they are."""
    return [path for path in (*folder.glob("*.py"), folder / "reward.params") if path.is_file()]


def why_not_read(path: Path) -> str:
    """Why a student's file is left out, as the rest of a sentence; empty if it is not."""
    if path.is_symlink():
        return "is a link, and links are not followed"
    if path.stat().st_size >= MAX_FILE_BYTES:
        return f"is larger than {MAX_FILE_BYTES // 2**20} MiB and was not read"
    return ""


def not_read(folder: Path) -> list[str]:
    """A sentence for each of the student's files that was left out."""
    reasons = {path.name: why_not_read(path) for path in handed_in(folder)}
    return [f"{name} {reason}." for name, reason in reasons.items() if reason]


def python() -> str:
    """The interpreter, not by its place in a virtual environment beside the solution."""
    return getattr(sys, "_base_executable", None) or sys.executable


def package_folders() -> list[str]:
    """Where the worker finds PyTorch and the like, and not this project."""
    standard = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}

    def is_for_packages(path: Path) -> bool:
        is_own = path == ROOT or ROOT in path.parents
        is_standard = path in standard or (path.parent in standard and path.name == "lib-dynload")
        return path.is_dir() and not is_standard and (not is_own or path.name == "site-packages")

    folders = [Path(entry).resolve() for entry in sys.path if entry]
    return [str(path) for path in folders if is_for_packages(path) and path != Path.cwd()]


def hidden_and_kept(directory: Path) -> dict[str, Any]:
    """The solution's folder, which the student's code is not to see, and what it needs of that.

    Args:
        directory: the sandbox.
    """
    needed = [Path(python()), Path(sys.base_prefix), directory]
    if any(ROOT in path.resolve().parents for path in needed):
        return {"hidden": None, "kept": []}
    return {
        "hidden": str(ROOT),
        "kept": [path for path in package_folders() if ROOT in Path(path).parents],
    }


@functools.cache
def can_run_as_another() -> bool:
    """Whether another user can run this Python with its packages, in the folder for temporary files."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return False
    temporary = Path(tempfile.gettempdir()).resolve()
    if not all(path.stat().st_mode & stat.S_IXOTH for path in (temporary, *temporary.parents)):
        return False
    program = f"import sys; sys.path += {package_folders()!r}; import numpy; from importlib.util import find_spec as f; assert f('torch') and f('gymnasium')"
    try:
        tried = subprocess.run(
            [python(), "-I", "-S", "-B", "-c", program],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            user=another_user(),
            group=another_user(),
            extra_groups=[],
        )
    except OSError:
        return False
    return tried.returncode == 0


@functools.cache
def another_user() -> int:
    """Number of a user that nobody is: whatever it runs is the student's, and may be ended."""
    import pwd  # Windows has none

    def is_somebody(number: int) -> bool:
        try:
            pwd.getpwuid(number)
        except KeyError:
            return False
        return True

    number = 50_000 + os.getpid() % 10_000
    while is_somebody(number):
        number += 1
    return number


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
        UserError: the folder for temporary files can't be written.
    """
    try:
        return _ask(question, folder, limits, task or {})
    except NoAnswerError as error:
        raise NoAnswerError(" ".join([str(error), *not_read(folder)])) from None


def _ask(question: str, folder: Path, limits: Limits, task: dict[str, NDArray]) -> Answers:
    """As `ask`."""
    token = secrets.token_hex()
    with sandbox(folder) as directory:
        try:
            np.savez(directory / "work" / "task.npz", **task)  # type: ignore[arg-type]
        except OSError as error:
            raise _unwritable(error) from None
        user = another_user() if can_run_as_another() else None
        if user is not None and sys.platform != "win32":
            for path in (directory / "work", *(directory / "work").iterdir()):
                os.chown(path, user, user)
        order = {
            "command": [str(directory / "library" / "grading_worker.py")],
            "work": str(directory / "work"),
            "user": user,
            "disk": DISK_BYTES,
            **hidden_and_kept(directory),
            "wall_seconds": WALL_FACTOR * limits.seconds + WALL_SECONDS,
            "worker": {
                "question": question,
                "token": token,
                "paths": [str(directory / "library"), *package_folders()],
                "seconds": limits.seconds,
                "memory": int(limits.memory_gib * 2**30),
                "processes": None if user is None else PROCESSES,
            },
        }
        report = supervise(directory, order)
        written = read_answers(directory / "work" / "answers.json")
        if written.get("token") != token and is_full(directory):
            raise _unwritable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if written.get("token") != token:
        if not report["stopped"] and report["returncode"] == 0 and written:
            raise NoAnswerError("Your code wrote the grader's answers itself.")
        raise NoAnswerError(how_it_ended(report, limits))
    if written["failure"] or report["returncode"] != 0:
        raise NoAnswerError(str(written["failure"])[:500] or how_it_ended(report, limits))
    problems, places = (
        {name: str(text)[:1000] for name, text in written[part].items()}
        for part in ("problems", "places")
    )
    try:
        for values in written["answers"].values():
            if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
                last = next(reversed(places.values()), "Your files")
                raise NoAnswerError(f"{last}: your code gave NaN or infinity.")
    except (ValueError, TypeError, OverflowError):
        raise NoAnswerError("Your code gave no numbers.") from None
    return Answers(written["answers"], problems, places)


def supervise(directory: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Has the worker run; everything it started has ended when this returns, or raises.

    Returns:
        The supervisor's report.

    Raises:
        NoAnswerError: the student's code has ended its supervisor.
    """
    work = str(directory / "work")
    environment = {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        **dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE"), work),
        **dict.fromkeys(("USER", "LOGNAME"), "student"),
        "PATH": os.defpath,
    }
    for name in ("SYSTEMROOT", "LD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if sys.platform == "win32":
        environment["PATH"] = os.environ["PATH"]  # where DLLs are found
    supervisor = directory / "library" / "grading_supervisor.py"
    process = subprocess.Popen(
        [python(), "-I", "-S", "-B", str(supervisor)],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **group_of_its_own(),
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()  # and stays open: its end tells the supervisor of ours
        report = process.stdout.read()
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.stdout.close()
    try:
        return dict(json.loads(report))
    except ValueError:
        raise NoAnswerError("Your code ended the process that watches over it.") from None


def read_answers(path: Path) -> dict[str, Any]:
    """The worker's file, which the student's code may have replaced by anything.

    Returns:
        What stands in it; nothing where it is missing or no JSON object of the worker's form.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags), encoding="utf-8") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                return {}
            written = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return {"token": None}
    parts = ("answers", "problems", "places")
    if not isinstance(written, dict) or not all(isinstance(written.get(p), dict) for p in parts):
        return {"token": None}
    return written


def how_it_ended(report: dict[str, Any], limits: Limits) -> str:
    """Why there is no answer, as far as the process's end tells; the last line it printed."""
    returncode = report["returncode"]
    lines = [line.strip() for line in str(report["printed"]).splitlines() if line.strip()]
    last = f" The last it said: {lines[-1][-300:]}" if lines else ""
    if report["stopped"] == "disk":
        return f"Your code wrote more than the {DISK_BYTES // 2**20} MiB it may use."
    out_of_time = sys.platform != "win32" and returncode == -signal.SIGXCPU
    if report["stopped"]:
        clock = WALL_FACTOR * limits.seconds + WALL_SECONDS
        return (
            f"Stopped after {clock:g} s: your code waited for something and did not come to an "
            f"end.{last}"
        )
    if out_of_time:
        return f"Stopped after {limits.seconds:g} s: your code did not come to an end.{last}"
    if returncode == 0:
        return f"Your code ended the program before it could be asked anything.{last}"
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"Your code was ended by {signal.Signals(-returncode).name}.{last}"
    return f"Your code stopped with an error.{last}"


def stored(name: str, trajs: list[NDArray]) -> dict[str, NDArray]:
    """Trajectories as the worker reads them."""
    lengths = np.array([len(traj) for traj in trajs])
    return {name: np.concatenate(trajs), f"{name}_lengths": lengths}


def notice_of_rights() -> str:
    """What a person with rights should know: that the student's code has them, too."""
    if sys.platform == "win32" or os.geteuid() != 0 or can_run_as_another():
        return ""
    return (
        f"Students' code runs as root, since another user can't run {python()} with its packages "
        f"in {tempfile.gettempdir()}. Put both where all may read, or grade as another user."
    )


def hide_from_students() -> None:
    """Keeps what /proc shows of this process from the student's code: its folder, for one (Linux)."""
    if sys.platform == "linux":
        set_dumpable = 4
        ctypes.CDLL(None).prctl(set_dumpable, 0, 0, 0, 0)
