"""The clips: MP4 files by the hash of their content, in a folder of limited size.

A clip is named by the SHA-256 of its bytes, so a name is never taken twice, nobody can point it
outside of the folder, and a browser may keep what it got for ever.
"""

import contextlib
import hashlib
import io
import os
import re
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.labelling.server.uploads import Opener, open_here

MAX_CLIP_BYTES = 32 * 2**20
MAX_FRAMES = 10_000
MAX_PIXELS = 1280 * 1280  # of one frame
LEFT_BEHIND = 3600  # seconds after which an unfinished file is a killed process's


class NoRoomError(UserError):
    """The clips that were sent take as much as they may."""


@dataclass(frozen=True)
class ClipFacts:
    """What a clip is.

    Attributes:
        frames: how many pictures it has.
        fps: frames per second, as its header says.
        width, height: in pixels.
    """

    frames: int
    fps: float
    width: int
    height: int


def examine(data: bytes, frames: int | None = None) -> ClipFacts:
    """Decodes a whole clip, a stranger's perhaps, to see that a browser will play it.

    Args:
        frames: how many it must have, since it shows as many steps; None: any number.

    Raises:
        UserError: it is no H.264 MP4, is damaged or cut short, has another number of frames, or is larger
            than the limits.
    """
    _require_mp4(data)
    try:
        return _examine(data, frames)
    except (av.FFmpegError, ValueError, IndexError, EOFError, OverflowError):
        # what PyAV says of it means nothing to who sent it
        raise UserError("This MP4 is damaged or cut short.") from None


def _require_mp4(data: bytes) -> None:
    if len(data) > MAX_CLIP_BYTES:
        raise UserError(f"A clip has at most {MAX_CLIP_BYTES >> 20} MiB.")
    # FFmpeg guesses dozens of formats, some of which open other files; only this one is let in
    if data[4:8] != b"ftyp":
        raise UserError("This is no MP4 video.")


def _examine(data: bytes, wanted: int | None) -> ClipFacts:
    # the decoder itself refuses larger pictures, before it makes room for them
    limits = {"max_pixels": str(MAX_PIXELS)}
    options: Any = [limits] * 4  # PyAV's types say list[str], and it wants one dict a stream
    with av.open(io.BytesIO(data), "r", format="mp4", stream_options=options) as container:
        if len(container.streams) != 1 or not container.streams.video:
            raise UserError("A clip has one video and nothing else.")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None or context.name != "h264" or context.pix_fmt != "yuv420p":
            raise UserError("A clip must be H.264 in yuv420p, which every browser plays.")
        width, height = context.width, context.height
        if width * height > MAX_PIXELS:
            raise UserError(f"A frame has at most {MAX_PIXELS} pixels, not {width} x {height}.")
        if stream.frames > MAX_FRAMES:
            raise UserError(f"A clip has at most {MAX_FRAMES} frames.")
        # before any is decoded; what is said here holds, or the clip is refused below
        if wanted is not None and stream.frames != wanted:
            raise UserError(
                f"The segment has {wanted} steps, and the video {stream.frames} frames."
            )
        context.options = limits
        context.thread_count = 1
        frames = 0
        for frame in container.decode(stream):
            frames += 1
            if frames > stream.frames:
                raise ValueError("it has more pictures than it says")
            if (frame.width, frame.height) != (width, height):
                raise ValueError("its pictures change in size")
            if frame.is_corrupt:
                raise ValueError("a picture is damaged")
        if not frames or frames != stream.frames:
            raise ValueError(f"{frames} of {stream.frames} pictures are there")
        return ClipFacts(frames, float(stream.average_rate or 0), width, height)


class ClipStore:
    """Clips in a folder; any number of threads and processes may use it at once.

    A clip that was shown or stored lately is kept; which ones that is, the files' own times say.
    """

    # a temporary file's name has the process in it, not the thread
    _writing = threading.Lock()

    def __init__(self, directory: Path, max_bytes: int, opener: Opener = open_here) -> None:
        """Makes no folder yet.

        Args:
            directory: where the clips lie; made when the first is stored.
            max_bytes: how much they may take; see `trim`.
            opener: decodes the clips that are to be stored.
        """
        self._opener = opener
        self._frames: dict[str, int] = {}  # of clips that were examined, by their names
        self.directory = directory
        self.max_bytes = max_bytes

    def put(self, data: bytes, room: int | None = None, frames: int | None = None) -> str:
        """Stores a clip; when this returns, it is on disk. The same clip is stored once.

        Args:
            room: how many bytes it may have; None: as many as any clip.
            frames: how many pictures it must have; None: any number.

        Returns:
            Its name, the SHA-256 of its bytes in 64 hexadecimal digits.

        Raises:
            NoRoomError: it has more than there is room for; nothing is stored.
            UserError: it is no clip (`examine`), or the disk refuses.
        """
        digest = hashlib.sha256(data).hexdigest()
        _require_mp4(data)
        is_there = self.path(digest) is not None
        if is_there and frames in (None, self._frames.get(digest)):
            return digest
        if not is_there and room is not None and len(data) > room:
            raise NoRoomError(
                "No more clips can be sent: they have reached sent_clips_mb of labelling.yaml."
            )
        self._frames[digest] = self._opener(examine, data, frames).frames
        if is_there:
            return digest
        with self._writing:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"Can't make {self.directory}: {error.strerror}.") from None
            write_atomically(self.directory / f"{digest}.mp4", data, durable=True)
        return digest

    def put_file(self, path: Path, room: int | None = None) -> str:
        """Stores a copy of a file; otherwise as `put`."""
        try:
            if path.stat().st_size > MAX_CLIP_BYTES:
                raise UserError(f"A clip has at most {MAX_CLIP_BYTES >> 20} MiB.")
            return self.put(path.read_bytes(), room)
        except OSError as error:
            raise UserError(f"Can't read {path}: {error.strerror}.") from None

    def size(self, digests: Collection[str]) -> int:
        """How many bytes these clips take; those that are not there take none."""
        total = 0
        for digest in digests:
            with contextlib.suppress(OSError):
                total += (self.directory / f"{digest}.mp4").stat().st_size
        return total

    def path(self, digest: str) -> Path | None:
        """Where a clip lies, and that it is in use; None where there is none of that name.

        Another process may remove it before it is opened: whoever opens it must expect that.
        """
        if not re.fullmatch("[0-9a-f]{64}", digest):
            return None
        path = self.directory / f"{digest}.mp4"
        try:
            if not path.is_file():
                return None
            os.utime(path)
        except OSError:
            return None  # removed in between
        return path

    def trim(self, protected: Collection[str], fresh_seconds: float = 0.0) -> list[str]:
        """Removes what was used least recently, until the rest keeps within the limit.

        Args:
            protected: names of clips that stay in any case: those that nobody can render again,
                and those that are being shown.
            fresh_seconds: what was used so recently stays as well.

        Returns:
            The names of the removed.
        """
        files, total, now = [], 0, time.time()
        for path in self._files():
            try:
                facts = path.stat()
            except OSError:
                continue  # another process was quicker
            if path.name.startswith("."):
                if now - facts.st_mtime > LEFT_BEHIND:
                    path.unlink(missing_ok=True)
                continue
            total += facts.st_size
            if now - facts.st_mtime >= fresh_seconds:
                files.append((facts.st_mtime_ns, facts.st_size, path))
        removed = []
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                break
            if path.stem in protected:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path.stem)
            total -= size
        return removed

    def _files(self) -> list[Path]:
        try:
            return [path for path in self.directory.iterdir() if path.suffix in (".mp4", ".tmp")]
        except FileNotFoundError:
            return []
