"""What a policy and a reward see of a segment, for people: its pictures as they were observed, on one sheet."""

import io
import math

import numpy as np
from numpy.typing import NDArray

from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment

MAX_PIXELS = 16 * 2**20  # of all pictures together; a second of Atari at 84 pixels has 0.2 million


def sheet_of(segment: Segment) -> bytes:
    """The segment's frames, each once, in rows from left to right; a PNG.

    There are as many in a row as it takes rows, or one more; where frames are stacked, the first of them
    lie before the segment's first step.

    Raises:
        UserError: it does not observe pictures, or there is too much of them for a page.
    """
    from PIL import Image  # here, since few servers show any

    frames = segment.frames
    frames = frames[..., 0] if frames.ndim == 4 and frames.shape[3] == 1 else frames
    if frames.dtype != np.uint8 or not (frames.ndim == 3 or frames.shape[3:] == (3,)):
        raise UserError("This segment's observations are no pictures.")
    if frames.size > MAX_PIXELS:
        raise UserError("There is too much in this segment's pictures to be shown by a page.")
    buffer = io.BytesIO()
    Image.fromarray(_side_by_side(frames)).save(buffer, "png")
    return buffer.getvalue()


def _side_by_side(frames: NDArray) -> NDArray:
    count, height, width, *colours = frames.shape
    columns = math.isqrt(count - 1) + 1  # no side is so long that a browser draws it no more
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width, *colours), np.uint8)
    sheet[:count] = frames
    tiled = sheet.reshape(rows, columns, height, width, *colours).swapaxes(1, 2)
    return np.ascontiguousarray(tiled.reshape(rows * height, columns * width, *colours))
