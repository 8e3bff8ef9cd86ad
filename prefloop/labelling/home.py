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
DATABASE, CLIPS, TOKENS, SETTINGS = "labels.sqlite3", "clips", "tokens.json", "labelling.yaml"
SECRET = "pseudonyms.key"
KEPT = (SERVER, "server.log", DATABASE, CLIPS, TOKENS, SETTINGS, SECRET)  # or what begins so


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        url: where programs on this machine reach it.
        pid: its process.
        started_by: the program that started it and that it ends with; empty: it ends when it is told to.
        database: where it keeps labels, without a password; empty: in its folder.
    """

    url: str
    pid: int
    started_by: str = ""
    database: str = ""


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


def make_home(home: Path) -> None:
    """Makes a server's folder, which only its owner may look into; whoever claims it says what is in the way.

    One that is there becomes so, too, unless it holds something else: then it is not the server's alone.
    """
    with contextlib.suppress(OSError):
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        names = [path.name for path in home.iterdir() if not path.name.startswith(".")]
        if os.name != "nt" and all(name.startswith(KEPT) for name in names):
            home.chmod(0o700)


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
            str(content["url"]),
            int(content["pid"]),
            str(content.get("started_by", "")),
            str(content.get("database", "")),
        )
    except (UserError, KeyError, TypeError, ValueError):
        return None
    return found if is_claimed(home) else None
