"""Files that are whole or absent: a kill, a full disk or a second process leaves no halves."""

import codecs
import contextlib
import csv
import errno
import hashlib
import io
import json
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from prefloop.errors import UserError

logger = logging.getLogger(__name__)
# on Windows a file can't be replaced while a virus scanner or a spreadsheet reads it
HELD_SECONDS = 2.0 if os.name == "nt" else 0.0


def write_atomically(path: Path, data: bytes, durable: bool = False, private: bool = False) -> None:
    """Writes a file under another name and renames it, so that `path` is the old or the new one.

    A symbolic link stays one, and what it points to is written; a file's mode stays as it was.

    Args:
        durable: return only when the data are on disk, not just with the operating system.
        private: only its owner may read it, whatever its mode was.

    Raises:
        UserError: it can't be written (read-only, full disk, a directory in the way); the old
            file is untouched.
    """
    target = link_target(path)
    temporary = unfinished(target, "tmp")
    try:
        try:
            if private or target.exists():
                temporary.touch(mode=0o600)  # nobody reads what they could not read before
            temporary.write_bytes(data)
            if not private:
                keep_mode(target, temporary)
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            put_in_place(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None


def unfinished(target: Path, ending: str) -> Path:
    """A name beside `target` for what is to take its place.

    By the process alone two would have the same: in containers all have one number, and a killed one's file is
    there still.
    """
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.{ending}")


def put_in_place(temporary: Path, target: Path) -> None:
    """Renames; as soon as nobody holds `target` open where that hinders, for `HELD_SECONDS` at most."""
    until = time.monotonic() + HELD_SECONDS
    while True:
        try:
            temporary.replace(target)
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)
        else:
            return


def require_writable(path: Path) -> None:
    """Refuses a file that can't be written, before the work whose outcome it is to hold.

    Raises:
        UserError: there is no such folder, nothing may be written there, or a directory is in the way.
    """
    try:
        target = link_target(path)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = unfinished(target, "tmp")
        try:
            temporary.touch()
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None


def make_private(path: Path) -> None:
    """Has only its owner read a file that is to be written, before anything stands in it.

    One that is there is kept and can't be read by others any more; where that is not ours to say, it
    stays as it is. On Windows a folder's own rules hold.
    """
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)


def require_empty(path: Path) -> None:
    """Refuses a place at which something stands.

    Raises:
        UserError: it does.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} holds something by now, which stays as it is; choose another.")


@contextlib.contextmanager
def whole_folder(
    path: Path, require_free: Callable[[Path], None] = require_empty
) -> Iterator[Path]:
    """Gives a folder to write into, which takes the place of `path` when all is written.

    Until then it stands beside it under another name, and it is removed if that does not come to
    pass. What stood at `path` goes with it only then.

    Args:
        require_free: refuses what is to stay, which may have come while this one was written.

    Raises:
        UserError: it can't be made, or can't take the place.
    """
    target = Path(os.path.abspath(link_target(path)))  # noqa: PTH100 - `.` has no name to stand beside
    temporary, earlier = unfinished(target, "tmp"), unfinished(target, "old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"Can't write the folder {path}: {error.strerror}.") from None
    try:
        yield temporary
        try:
            require_free(path)
            if target.exists():
                target.rename(earlier)
            try:
                temporary.rename(target)
            except BaseException:
                if earlier.exists():
                    earlier.rename(target)
                raise
        except OSError as error:
            raise UserError(f"Can't write the folder {path}: {error.strerror}.") from None
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Removes what a process that was killed had under another name, in a folder that this one has claimed."""
    with contextlib.suppress(OSError):  # they take room, and do no harm
        for path in folder.iterdir():
            if re.fullmatch(r"\..+\.\d+(-[0-9a-f]{8})?\.(tmp|mp4)", path.name):
                path.unlink()


def link_target(path: Path) -> Path:
    """The path to which a symbolic link leads, be it there or not; any other path as it is.

    Raises:
        UserError: it leads round in a circle.
    """
    target = path
    if path.is_symlink():
        with contextlib.suppress(OSError, RuntimeError):  # or, from Python 3.13 on, none of them
            target = path.resolve()
    if target.is_symlink():
        raise UserError(f"Can't write {path}: its link leads round in a circle.")
    return target


def keep_mode(old: Path, new: Path) -> None:
    """Gives a file that is to replace another the other's mode, if there is one."""
    if old.exists():
        new.chmod(stat.S_IMODE(old.stat().st_mode))


def is_file(path: Path) -> bool:
    """Whether there is one; a name that is too long for the system is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an indented JSON file atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path, max_bytes: int = 1_000_000) -> dict[str, Any]:
    """Reads a JSON object, from a stranger perhaps.

    Raises:
        UserError: the file is missing, too large, or holds no JSON object.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise UserError(f"{path} is too large to be a description of a run.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it holds no JSON.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object.")
    return content


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows with the first one's keys as the header, atomically."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, encodable(text.getvalue()).encode())


def encodable(text: str) -> str:
    r"""A text in which no letter stands for a byte that is none, as in names of files: `\udce9`."""
    return text.encode(errors="backslashreplace").decode()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Reads rows that `write_csv` wrote, also after a spreadsheet program has saved them.

    In half of the world it puts semicolons between values and commas into numbers.

    Raises:
        UserError: the file can't be read.
    """
    try:
        data = path.read_bytes()
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"Can't read {path}: {reason}.") from None
    text = re.sub(r"\Asep=.\r?\n", "", text)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))
    if separator == ",":
        return rows
    return [
        {name: _with_point(value) for name, value in row.items() if name is not None}
        for row in rows
    ]


def _with_point(value: str | None) -> str:
    """A number with a decimal comma as one with a point; anything else as it is."""
    text = value or ""
    return text.replace(",", ".") if re.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?", text) else text


def sha256(path: Path) -> str:
    """Fingerprint of a file's bytes.

    Raises:
        UserError: it can't be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror or error}.") from None


LOCK = ".lock"  # in a directory that a process has claimed, or had


class ClaimedError(UserError):
    """Another process keeps the directory."""


@contextlib.contextmanager
def claimed_directory(path: Path) -> Iterator[Path]:
    """Makes a directory and keeps it for this process until the block ends.

    Raises:
        ClaimedError: another process works in it.
        UserError: it can't be made or written.
    """
    with contextlib.ExitStack() as kept:
        try:
            path.mkdir(parents=True, exist_ok=True)
            kept.enter_context(filelock.FileLock(path / LOCK, timeout=0))
            kept.enter_context(_locked(path))
        except FileExistsError:
            raise UserError(f"{path} is a file; a directory is needed.") from None
        except NotADirectoryError:
            raise UserError(f"Can't make the directory {path}: a file is in the way.") from None
        except (filelock.Timeout, BlockingIOError):
            raise ClaimedError(
                f"Another process is writing to {path}; wait for it or choose another."
            ) from None
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"Can't write to the directory {path}: {reason}.") from None
        yield path


@contextlib.contextmanager
def _locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Locks the directory itself: a lock file can be deleted, and a second one made.

    Where directories can't be locked (Windows, where a file that is in use can't be deleted; some
    disks of a network) the lock file is all there is.

    Raises:
        BlockingIOError: another process has locked it.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    with contextlib.ExitStack() as kept:
        try:
            place = os.open(path, os.O_RDONLY)
            kept.callback(os.close, place)
            fcntl.flock(place, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            # also for whoever was forked meanwhile
            kept.callback(fcntl.flock, place, fcntl.LOCK_UN)
        except BlockingIOError:
            raise
        except OSError:
            logger.debug("%s can't be locked", path, exc_info=True)
        yield


def is_claimed(path: Path) -> bool:
    """Whether a process keeps a directory by `claimed_directory` now; False where that can't be told."""
    try:
        with filelock.FileLock(path / LOCK, timeout=0), _locked(path, shared=True):
            return False
    except (filelock.Timeout, BlockingIOError):
        return True
    except (OSError, NotImplementedError):
        return False
