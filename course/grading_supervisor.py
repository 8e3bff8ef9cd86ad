"""Watches over the process that runs a student's code. Started by course/sandbox.py, never imported.

It stands between that process and the grader, so that nothing of the student's code outlives either:
it drains what is printed, counts time and disk, and ends what is left when the answer is there, or
when the grader is gone. Needs nothing but Python.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

TAIL_BYTES = 2**16  # of what is printed; its end tells what went wrong
LINUX = sys.platform == "linux"


def adopt_orphans() -> None:
    """Makes this process the parent of all that the student's code leaves behind (Linux)."""
    if LINUX:
        import ctypes

        set_dumpable, child_subreaper = 4, 36
        libc = ctypes.CDLL(None)
        libc.prctl(child_subreaper, 1, 0, 0, 0)
        libc.prctl(set_dumpable, 0, 0, 0, 0)  # /proc shows the student nothing of this process


def descendants(user: int | None) -> list[int]:
    """Processes that came from this one, and all of the student's user if that is one for them alone."""
    parents, found = {}, set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended since
                # a process gives itself any name, of bytes that may be no text
                fields = (folder / "stat").read_text("latin-1").rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
                if user is not None and folder.stat().st_uid == user and fields[0] != "Z":
                    found.add(int(folder.name))
    known, waiting = {os.getpid()}, [os.getpid()]
    while waiting:
        parent = waiting.pop()
        children = {p for p, of in parents.items() if of == parent} - known
        known |= children
        waiting += children
    return sorted((known | found) - {os.getpid()})


def end_all(worker: subprocess.Popen, user: int | None) -> None:
    """Ends the student's code and what it has started; where not on Linux, what stayed in its group."""
    if sys.platform == "win32":
        worker.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    for _ in range(200 * LINUX):  # a process may start another while it is being looked for
        left = descendants(user)
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left:
            return
        time.sleep(0.01)


def bytes_in(folder: str) -> int:
    """What a folder takes on the disk, with something for every name in it."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += 4096 + entry.stat(follow_symlinks=False).st_size
                if entry.is_dir(follow_symlinks=False):
                    total += bytes_in(entry.path)
    return total


class Tail:
    """The end of what a process prints, however much it is."""

    def __init__(self, stream: Any) -> None:
        self._kept = bytearray()
        self._stream = stream
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while part := self._stream.read1(TAIL_BYTES):
            self._kept += part
            del self._kept[:-TAIL_BYTES]

    def text(self) -> str:
        """What was kept; called when all who could print have ended."""
        self._thread.join(2)
        return bytes(self._kept).decode(errors="replace")


def watch(worker: subprocess.Popen, order: dict[str, Any], gone: threading.Event) -> str:
    """Waits until the worker has ended, or must.

    Returns:
        Why it must, or nothing.
    """
    started = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(0.1)
            return ""
        if gone.is_set():
            return "gone"
        if time.monotonic() - started > order["wall_seconds"]:
            return "time"
        if bytes_in(order["work"]) > order["disk"]:
            return "disk"


def main() -> None:
    """Starts the worker, watches it, and reports how it ended, on stdout."""
    adopt_orphans()
    order = json.loads(sys.stdin.readline())
    gone = threading.Event()  # the grader: it has ended, however it did, when the pipe has

    def wait_for_grader() -> None:
        os.read(0, 1)
        gone.set()

    threading.Thread(target=wait_for_grader, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, frame: gone.set())
    user = order["user"]
    identity: dict[str, Any] = {}
    if user is not None:
        identity = {"user": user, "group": user, "extra_groups": [], "umask": 0o077}
    worker = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", *order["command"]],
        cwd=order["work"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **identity,
    )
    assert worker.stdin is not None
    tail = Tail(worker.stdout)
    with contextlib.suppress(OSError):
        worker.stdin.write(json.dumps({**order["worker"], "parent": os.getpid()}).encode() + b"\n")
        worker.stdin.flush()  # and stays open: its end tells the worker of ours
    try:
        stopped = watch(worker, order, gone)
    finally:
        end_all(worker, user)
    if stopped == "gone":
        shutil.rmtree(Path.cwd(), ignore_errors=True)
        return
    report = {"returncode": worker.returncode, "stopped": stopped, "printed": tail.text()}
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
