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


def hide(folder: str, kept: list[str]) -> None:
    """Puts an empty folder over another, for this process and those that it starts (Linux).

    Args:
        folder: absolute, as are those of `kept`.
        kept: folders in it that stay as they are, to be read only.

    Raises:
        OSError: there are no rights to that.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, new_user = 0x20000, 0x10000000
    read_only, no_suid, no_dev, remount, bind, everywhere, private = (
        1, 2, 4, 32, 4096, 16384, 1 << 18
    )  # fmt: skip

    def check(failed: int) -> None:
        if failed:
            raise OSError(ctypes.get_errno(), "no rights")

    def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        texts = (os.fsencode(text) for text in (source, target, kind))
        check(libc.mount(*texts, ctypes.c_ulong(flags), options.encode()))

    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(new_mounts | (new_user if user else 0)))
    if user:  # whoever has no rights may get those to mount within a namespace of their own
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    mount("none", "/", "", everywhere | private)
    places = {path: os.open(path, os.O_PATH) for path in kept}
    mount("tmpfs", folder, "tmpfs", no_suid | no_dev, "mode=755,size=1m")
    mask = os.umask(0o022)
    for path, place in places.items():
        Path(path).mkdir(parents=True)
        mount(f"/proc/self/fd/{place}", path, "", bind | everywhere)
        with contextlib.suppress(OSError):  # where it has other restrictions that have to stay
            mount("none", path, "", bind | remount | read_only)
        os.close(place)
    os.umask(mask)
    mount("none", folder, "", remount | read_only | no_suid | no_dev)


def hide_if_possible(folder: str, kept: list[str]) -> None:
    """As `hide`, or nothing at all."""
    if sys.platform != "linux":
        return
    trial = os.fork()  # half of it would leave the student's code without its packages
    if trial == 0:
        try:
            hide(folder, kept)
        except BaseException:
            os._exit(1)
        os._exit(0)
    if os.waitpid(trial, 0)[1] == 0:
        hide(folder, kept)


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
    order = json.loads(sys.stdin.readline())
    if order["hidden"]:
        hide_if_possible(order["hidden"], order["kept"])
    adopt_orphans()
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
