"""A server's folder: where it is, and where the server that works in it can be reached.

While a server runs, `server.json` in its folder says so. A server that was killed leaves the file
behind, so it is believed only while the folder's lock is held.
"""

import contextlib
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from prefloop.errors import UserError
from prefloop.files import is_claimed, read_json, write_json

SERVER = "server.json"


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        url: where programs on this machine reach it.
        pid: its process.
        started_by: the program that started it and that it ends with; empty: it ends when it is told to.
    """

    url: str
    pid: int
    started_by: str = ""


def home_directory(profile: str, home: str = "") -> Path:
    """The folder that everything is kept in.

    Args:
        profile: a part of ~/.prefloop; empty: what PREFLOOP_PROFILE says, or `default`.
        home: the folder itself, instead.

    Raises:
        UserError: the profile is no name for a folder.
    """
    if home:
        return _named_by_text(Path(home).expanduser())
    name = named_profile(profile) or "default"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UserError(f"A profile is named by letters, digits and dashes, not {name!r}.")
    return _named_by_text(Path.home() / ".prefloop" / name)


def _named_by_text(path: Path) -> Path:
    """Refuses names that are no text, which the address of a database can't hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path} can't hold labels: its name is no UTF-8.") from None
    return path


def named_profile(profile: str) -> str:
    """The profile that was asked for, here or by PREFLOOP_PROFILE; empty: none was."""
    return profile or os.environ.get("PREFLOOP_PROFILE", "")


def announce(home: Path, running: Running) -> None:
    """Says in its folder where a server is, which has claimed the folder.

    Raises:
        UserError: the file can't be written.
    """
    write_json(home / SERVER, asdict(running))


def withdraw(home: Path) -> None:
    """Says so no longer."""
    with contextlib.suppress(OSError):  # nothing that can be taken away is in the way
        (home / SERVER).unlink()


def running_server(home: Path) -> Running | None:
    """The server that works in a folder; None where none does, or it is not ready or about to end."""
    try:
        content = read_json(home / SERVER)
        found = Running(
            str(content["url"]), int(content["pid"]), str(content.get("started_by", ""))
        )
    except (UserError, KeyError, TypeError, ValueError):
        return None
    return found if is_claimed(home) else None
