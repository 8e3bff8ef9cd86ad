import av
import numpy as np
import pytest

from prefloop.errors import UserError
from prefloop.evaluation.videos import has_display, watch_episode, write_video


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def push_right(obs):
    return np.ones(len(obs), dtype=np.int64)


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], stream


def test_an_episode_becomes_a_playable_video(tmp_path):
    assert not has_display()
    episode_return, path = watch_episode("CartPole-v0", push_right, 0, tmp_path / "new" / "e.mp4")
    frames, stream = read(path)
    assert len(frames) == episode_return > 5
    assert frames[0].shape == (400, 600, 3)
    assert stream.average_rate == 50
    assert (frames[0] != frames[-1]).any()


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


def test_a_broken_display_falls_back_to_a_video(tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":983")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    assert not has_display()
    _, path = watch_episode("CartPole-v0", push_right, 0, tmp_path / "e.mp4")
    assert path and path.exists()


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
