"""What students hand in: a folder, or a zip file, with their files in it or in a folder of it."""

import contextlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from prefloop.errors import UserError

MAX_BYTES, MAX_FILES = 2**28, 10_000  # unpacked
EXPECTED = ("utils.py", "offline_reward_learning.py", "reward.params", "synthetic", "rlhf")
DEPTH = 3  # folders around a student's files, as zip programs and course systems make them


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder that holds a student's files, unpacked for as long as it is needed.

    Raises:
        UserError: there is no such folder or zip file, or it can't be unpacked.
    """
    if path.is_dir():
        yield innermost(path)
        return
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is neither a directory nor a zip file.")
    try:
        with tempfile.TemporaryDirectory(
            prefix="submission-", ignore_cleanup_errors=True
        ) as folder:
            _unpack(path, Path(folder))
            yield innermost(Path(folder))
    except OSError as error:
        raise UserError(f"Can't unpack {path}: {error.strerror or error}.") from None


def innermost(folder: Path) -> Path:
    """The folder with the expected files, or the given one where no other has more of them."""
    folders = [folder]
    level = [folder]
    for _ in range(DEPTH):
        level = [
            child
            for parent in level
            for child in sorted(parent.iterdir())
            # what a Mac's zip program adds; and a student's own folders
            if child.is_dir() and not child.is_symlink() and child.name not in IGNORED
        ]
        folders += level
    return max(folders, key=lambda place: sum((place / name).exists() for name in EXPECTED))


IGNORED = ("__MACOSX", "__pycache__", "synthetic", "rlhf", "prefloop")


def _unpack(path: Path, folder: Path) -> None:
    """Unpacks plain files, as far as they are not too many or too large.

    Raises:
        UserError: they are; or the file is damaged, or encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            size = sum(member.file_size for member in members)
            if size > MAX_BYTES or len(members) > MAX_FILES:
                raise UserError(
                    f"{path} is too large to be a submission ({size / 2**20:.0f} MiB in "
                    f"{len(members)} files)."
                )
            for member in members:
                name = PurePosixPath(member.filename.replace("\\", "/"))
                is_link = stat.S_ISLNK(member.external_attr >> 16)
                if is_link or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                    continue
                place = folder.joinpath(*name.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise UserError(f"Can't unpack {path}: {error}.") from None
