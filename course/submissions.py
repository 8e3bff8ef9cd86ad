"""What students hand in: a folder, or a zip file, with their files in it or in a folder of it."""

import contextlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from prefloop.errors import UserError

MAX_BYTES, MAX_FILES = 2**28, 10_000  # unpacked
EXPECTED = ("utils.py", "offline_reward_learning.py", "reward.params", "synthetic", "rlhf")
LIKELY = 3  # of these make a folder somebody's work; the hand-out's two scripts alone do not
DEPTH = 3  # folders around a student's files, as zip programs and course systems make them


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder that holds a student's files, unpacked for as long as it is needed.

    Raises:
        UserError: there is no such folder or zip file, it can't be read or unpacked, or it holds
            the files of several students.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = path
            if not path.is_dir():
                temporary = tempfile.TemporaryDirectory(
                    prefix="submission-", ignore_cleanup_errors=True
                )
                folder = Path(stack.enter_context(temporary))
                _unpack(path, folder)
            found = innermost(folder)
        except OSError as error:
            verb = "read" if path.is_dir() else "unpack"
            raise UserError(f"Can't {verb} {path}: {error.strerror or error}.") from None
        if len(found) > 1:
            names = ", ".join(str(place.relative_to(folder)) for place in found[:3])
            more = ", ..." if len(found) > 3 else ""
            raise UserError(f"{path} holds several submissions ({names}{more}): name each of them.")
        yield found[0]


def innermost(folder: Path) -> list[Path]:
    """The folder with the expected files, or the given one where no other has more of them.

    Returns:
        It; and after it any others beside it that look like submissions of their own.
    """
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
    num_files = {place: sum((place / name).exists() for name in EXPECTED) for place in folders}
    best = max(folders, key=lambda place: num_files[place])
    around = {best, *best.parents}
    others = [place for place in folders if place not in around and best not in place.parents]
    return [best, *(place for place in others if num_files[place] >= LIKELY)]


IGNORED = ("__MACOSX", "__pycache__", "synthetic", "rlhf", "prefloop")


def _unpack(path: Path, folder: Path) -> None:
    """Unpacks plain files, as far as they are not too many or too large.

    Raises:
        UserError: they are; or there is no such file, or it is no zip file, damaged, or encrypted.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is neither a directory nor a zip file.")
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
                leads_out = name.is_absolute() or ".." in name.parts or PureWindowsPath(name).drive
                if is_link or leads_out or not name.parts:
                    continue
                place = folder.joinpath(*name.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (UserError, OSError):
        raise
    except Exception as error:  # each kind of compression has its own for what is damaged
        raise UserError(f"Can't unpack {path}: {error}.") from None
