"""Pictures as files that move: MP4 for browsers and players, GIF for where only pictures are shown."""

import io
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from prefloop.errors import UserError
from prefloop.files import keep_mode, link_target, put_in_place, unfinished

# x264's own choice takes twice as long for a twentieth less
_VIDEO_OPTIONS: dict[str, object] = {"preset": "veryfast"}
# Quick to jump about in, too. A browser that shows some frame decodes from the last
# keyframe before it: at most ten small pictures here, while every frame a keyframe would be three
# times as large. Without B-frames nothing is reordered, so the first frame stands at time 0 and
# frame i at i / fps. One thread, since others have work for the cores as well.
_CLIP_OPTIONS = _VIDEO_OPTIONS | {"g": "10", "bf": "0", "threads": "1"}


def write_video(
    path: Path,
    frames: Iterator[NDArray],
    fps: float,
    max_side: int | None = None,
    clip: bool = False,
) -> None:
    """Writes an MP4 (H.264) that browsers and players open; each picture is one frame.

    Args:
        frames: pictures of one size, uint8 RGB; each [height, width, 3].
        fps: frames per second.
        max_side: the most pixels of the longer side; larger pictures are made smaller.
        clip: for people who play it again and again, step through it and scrub.

    Raises:
        UserError: the file can't be written; an old one is untouched.
    """
    target = link_target(path)
    temporary = unfinished(target.with_suffix(""), path.suffix[1:])
    try:
        try:
            with av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.pix_fmt = "yuv420p"
                stream.options = _CLIP_OPTIONS if clip else _VIDEO_OPTIONS
                for i, frame in enumerate(frames):
                    # this pixel format halves the colour resolution, so both sides must be even
                    height, width = (side // 2 * 2 for side in frame.shape[:2])
                    scale = min(1.0, (max_side or np.inf) / max(height, width, 1))
                    if i == 0:
                        stream.height = max(2, int(height * scale) // 2 * 2)
                        stream.width = max(2, int(width * scale) // 2 * 2)
                    picture = av.VideoFrame.from_ndarray(
                        np.ascontiguousarray(frame[:height, :width]), format="rgb24"
                    )
                    if scale < 1:
                        picture = picture.reformat(
                            stream.width, stream.height, "yuv420p", interpolation="AREA"
                        )
                    container.mux(stream.encode(picture))
                container.mux(stream.encode())
            keep_mode(target, temporary)
            put_in_place(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, av.FFmpegError) as error:
        raise UserError(f"Can't write the video {path}: {error.strerror}.") from None


def as_gif(video: Path, max_side: int = 160, most: int = 100) -> tuple[bytes, int, int]:
    """A video for where only pictures are shown: small, and of so few frames that it stays so.

    Args:
        video: an MP4.
        max_side: the most pixels of its longer side.
        most: the most frames, evenly apart; it plays as long as the video.

    Returns:
        The GIF, its width and its height.
    """
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        every = math.ceil(stream.frames / most) or 1
        scale = min(1.0, max_side / max(stream.width, stream.height))
        width, height = (max(1, round(side * scale)) for side in (stream.width, stream.height))
        pictures = [
            frame.to_image(width=width, height=height)
            for i, frame in enumerate(container.decode(stream))
            if i % every == 0
        ]
        milliseconds = round(1000 * every / float(stream.average_rate or 30))
    gif = io.BytesIO()
    first, *others = pictures
    first.save(
        gif, "GIF", save_all=True, append_images=others, duration=max(20, milliseconds), loop=0
    )
    return gif.getvalue(), width, height
