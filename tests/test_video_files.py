import io

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from prefloop.errors import UserError
from prefloop.video_files import as_gif, write_video


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], stream


def test_odd_sizes(tmp_path):
    write_video(tmp_path / "odd.mp4", iter(np.zeros((3, 33, 51, 3), dtype=np.uint8)), fps=10)
    frames, _ = read(tmp_path / "odd.mp4")
    assert frames[0].shape == (32, 50, 3)


def test_large_pictures_are_made_smaller(tmp_path):
    picture = np.zeros((400, 601, 3), dtype=np.uint8)
    picture[:, :300] = 255
    write_video(tmp_path / "s.mp4", iter([picture] * 3), fps=10, max_side=480, clip=True)
    frames, _ = read(tmp_path / "s.mp4")
    assert [frame.shape for frame in frames] == [(320, 480, 3)] * 3
    assert frames[0][:, :230].min() > 240 and frames[0][:, 250:].max() < 15
    write_video(tmp_path / "t.mp4", iter([picture[:90, :120]]), fps=10, max_side=480)
    assert read(tmp_path / "t.mp4")[0][0].shape == (90, 120, 3)


def test_a_clip_can_be_stepped_through(tmp_path):
    pictures = np.random.default_rng(0).integers(255, size=(35, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "c.mp4", iter(pictures), fps=25, clip=True)
    with av.open(str(tmp_path / "c.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert not stream.codec_context.has_b_frames
        assert [float(p.pts * p.time_base) for p in packets] == [i / 25 for i in range(35)]
        assert [p.dts for p in packets] == [p.pts for p in packets]
        assert float(stream.duration * stream.time_base) == 35 / 25
    keyframes = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    assert np.diff([*keyframes, 35]).max() <= 10
    # the index stands before the pictures, so that playing begins before all is loaded
    data = (tmp_path / "c.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_stop_in_the_middle_leaves_no_half(tmp_path):
    def frames():
        yield np.zeros((32, 32, 3), dtype=np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "e.mp4", frames(), fps=10)
    assert list(tmp_path.iterdir()) == []


def test_where_it_can_not_be_written(tmp_path):
    (tmp_path / "e.mp4").mkdir()
    with pytest.raises(UserError, match="Can't write the video"):
        write_video(tmp_path / "e.mp4", iter(np.zeros((2, 32, 32, 3), dtype=np.uint8)), fps=10)


def gif_of(path):
    """Brightness and duration, in ms, of each picture."""
    data, width, height = as_gif(path)
    gif = Image.open(io.BytesIO(data))
    assert gif.size == (width, height)
    frames = ImageSequence.Iterator(gif)
    return [(int(np.asarray(f.convert("L")).mean()), f.info["duration"]) for f in frames], gif.size


def test_a_gif_is_small_and_as_long_as_its_video(tmp_path):
    shades = np.linspace(0, 255, 250).astype(np.uint8)
    frames = (np.full((200, 320, 3), shade) for shade in shades)
    write_video(tmp_path / "long.mp4", frames, fps=50)
    pictures, size = gif_of(tmp_path / "long.mp4")
    assert size == (160, 100)
    brightness, durations = zip(*pictures, strict=True)
    assert brightness[0] < 5 and brightness[-1] > 245
    assert len(pictures) == 84 and set(durations) == {60}  # every third of 20 ms each
    assert list(brightness) == sorted(brightness)


def test_a_short_video_keeps_its_pictures_in_a_gif(tmp_path):
    frames = (np.full((32, 32, 3), shade) for shade in np.array([0, 128, 255], np.uint8))
    write_video(tmp_path / "short.mp4", frames, fps=10)
    pictures, size = gif_of(tmp_path / "short.mp4")
    assert size == (32, 32) and [milliseconds for _, milliseconds in pictures] == [100] * 3
