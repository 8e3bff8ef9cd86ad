"""Pictures from elsewhere: a collector that can't encode videos sends them as arrays.

An archive of NumPy arrays (.npz) with

    deltas  the first picture, and of each later one its difference from the one before, modulo 256:
            what stands still is 0 and packs well, and nothing is lost; uint8 RGB;
            [length, height, width, 3]
    fps     frames per second; a number
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prefloop.errors import UserError
from prefloop.labelling.arrays import read_arrays, read_headers, require_small
from prefloop.labelling.server.clips import MAX_FRAMES, MAX_PIXELS, ClipStore
from prefloop.labelling.server.rendering import write_clip
from prefloop.labelling.server.uploads import Opener, open_here


def store_frames(
    data: bytes,
    length: int,
    clips: ClipStore,
    room: int | None = None,
    opener: Opener = open_here,
) -> str:
    """Makes a clip of pictures that were sent, and stores it.

    Args:
        data: the archive.
        length: of the segment that they show; one picture for each step.
        clips: where the clip goes.
        room: how many bytes the clip may have; None: as many as any clip.
        opener: reads the archive and writes the clip.

    Returns:
        The clip's name.

    Raises:
        NoRoomError: it has more than there is room for; nothing is stored.
        UserError: the archive is damaged or too large, or holds something else than pictures of
            the segment's steps.
    """
    require_small(data)
    name = uuid.uuid4().hex
    path = clips.directory / f".{name}.mp4"
    try:
        opener(write_frames, data, length, path)
        return clips.put_file(path, room)
    finally:
        for left in clips.directory.glob(f".*{name}*"):  # also of a process that was ended
            left.unlink(missing_ok=True)


def write_frames(data: bytes, length: int, path: Path) -> None:
    """Makes a clip of pictures that were sent; otherwise as `store_frames`."""
    deltas, fps = _read(data, length)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Can't make {path.parent}: {error.strerror}.") from None
    write_clip(path, _frames(deltas), fps)


def _read(data: bytes, length: int) -> tuple[NDArray, float]:
    shape, dtype = read_headers(data).get("deltas", ((), np.dtype(float)))
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
        raise UserError("The archive holds no pictures: deltas, uint8, [length, height, width, 3].")
    if shape[0] != length or length > MAX_FRAMES:
        raise UserError(f"The segment has {length} steps, and {shape[0]} pictures were sent.")
    height, width = shape[1:3]
    if min(height, width) < 2 or height * width > MAX_PIXELS:
        raise UserError(f"A picture has at most {MAX_PIXELS} pixels, not {width} x {height}.")
    arrays = read_arrays(data)
    deltas, fps = arrays["deltas"], arrays.get("fps")
    if fps is None or fps.ndim != 0 or not 0.1 <= float(fps) <= 1000:
        raise UserError("The archive must say how many frames per second there are, fps.")
    return deltas, float(fps)


def _frames(deltas: NDArray) -> Iterator[NDArray]:
    frame = np.zeros(deltas.shape[1:], dtype=np.uint8)
    for delta in deltas:
        frame = frame + delta  # modulo 256
        yield frame
