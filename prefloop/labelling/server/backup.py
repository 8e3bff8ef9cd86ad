"""A server's folder as it is at one moment, while the server runs."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from prefloop.errors import UserError
from prefloop.files import whole_folder, write_atomically
from prefloop.labelling.home import CLIPS, DATABASE, SECRET, SETTINGS, TOKENS, running_server
from prefloop.labelling.server.storage.copying import Copied, copy_store
from prefloop.labelling.server.storage.database import shown_address, sqlite_url
from prefloop.labelling.server.storage.store import Store


@dataclass(frozen=True)
class BackedUp:
    """What a backup holds.

    Attributes:
        tables: of the database.
        clips: how many clips that were sent.
        gone: how many more the database names, which were deleted meanwhile.
    """

    tables: list[Copied]
    clips: int
    gone: int


def back_up(home: Path, folder: Path, database_url: str = "") -> BackedUp:
    """Writes a folder that a server can be started on: database, settings, secrets, sent clips.

    The database is that of one moment, always an SQLite file, compared with what it was read from.
    Clips that the server has drawn are left out: it draws them again.

    Args:
        home: of the server, which may run meanwhile.
        folder: is made, and must not be there; a backup that is killed does not make it.
        database_url: where the server keeps labels; empty: in the folder.

    Raises:
        UserError: there is nothing to back up, the server keeps its labels elsewhere, the folder is
            there or can't be written; or as `copy_store`.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists already; choose another folder.")
    _require_its_database(home, database_url)
    with whole_folder(folder) as unfinished:
        if os.name != "nt":
            unfinished.chmod(0o700)
        copy = sqlite_url(unfinished / DATABASE)
        tables = copy_store(database_url or sqlite_url(home / DATABASE), copy)
        for name in (SETTINGS, TOKENS, SECRET):
            if (home / name).is_file():
                content = _read(home / name)
                write_atomically(unfinished / name, content, private=name != SETTINGS)
        store = Store(copy)
        try:
            sent = sorted(store.sent_clips())
        finally:
            store.close()
        clips = sum(_copy_clip(home, unfinished, digest) for digest in sent)
    return BackedUp(tables, clips, len(sent) - clips)


def _require_its_database(home: Path, database_url: str) -> None:
    """Refuses another database than that of the server that runs: it would be an old one."""
    running = running_server(home)
    given = shown_address(database_url) if database_url else ""
    if running is None or running.database == given:
        return
    raise UserError(
        f"The server for {home} keeps its labels in {running.database}; give its address by "
        "--database_url or PREFLOOP_DATABASE_URL."
        if running.database
        else f"The server for {home} keeps its labels there and not in {given}."
    )


def _copy_clip(home: Path, folder: Path, digest: str) -> bool:
    """Whether it was there."""
    clip = home / CLIPS / f"{digest}.mp4"
    try:
        (folder / CLIPS).mkdir(exist_ok=True)
        shutil.copyfile(clip, folder / CLIPS / clip.name)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"Can't copy {clip}: {error.strerror}.") from None
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Can't read {path}: {error.strerror}.") from None
