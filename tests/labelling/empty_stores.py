"""Databases with the newest schema and nothing in them: made once a process, since its migrations take half a second."""

import functools
import tempfile
from pathlib import Path

from prefloop.labelling.server.storage.store import Store


@functools.cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.sqlite3"
        Store(f"sqlite:///{path}").close()
        return path.read_bytes()


def empty_sqlite(path: Path) -> str:
    """The address of such a file, which is put there."""
    path.write_bytes(_made())
    return f"sqlite:///{path}"
