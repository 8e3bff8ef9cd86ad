import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import av
import numpy as np
import pytest

from prefloop.errors import UserError
from prefloop.labelling.server import clips
from prefloop.labelling.server.clips import ClipStore, examine
from prefloop.video_files import write_video


def make_clip(directory, seed=0, frames=12, size=(48, 64)):
    path = directory / "made.mp4"
    pictures = np.random.default_rng(seed).integers(255, size=(frames, *size, 3), dtype=np.uint8)
    write_video(path, iter(pictures), fps=25)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path)


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "clips", max_bytes=10**9)


def names(store):
    return sorted(path.name for path in store.directory.iterdir())


def test_a_clip_is_named_by_its_content(store, clip):
    digest = store.put(clip)
    assert digest == hashlib.sha256(clip).hexdigest()
    assert store.path(digest).read_bytes() == clip
    assert store.put(clip) == digest
    assert names(store) == [f"{digest}.mp4"]


def test_a_file_is_copied(store, clip, tmp_path):
    (tmp_path / "a.mp4").write_bytes(clip)
    assert store.path(store.put_file(tmp_path / "a.mp4")).read_bytes() == clip
    with pytest.raises(UserError, match="Can't read"):
        store.put_file(tmp_path / "none.mp4")


def test_what_a_clip_is(clip):
    assert examine(clip) == clips.ClipFacts(frames=12, fps=25.0, width=64, height=48)


@pytest.mark.parametrize(
    "digest",
    ["", "a" * 63, "a" * 65, "A" * 64, "../" + "a" * 61, "/etc/passwd", "a" * 64 + "\n", "é" * 64,
     "a" * 32 + "/" + "a" * 31, "a" * 63 + "\0", "..", "a" * 64],
)  # fmt: skip
def test_no_other_name_is_a_path(store, clip, digest):
    store.put(clip)
    assert store.path(digest) is None


def test_a_folder_in_the_place_of_a_clip(store):
    (store.directory / f"{'a' * 64}.mp4").mkdir(parents=True)
    assert store.path("a" * 64) is None


def refused(store, data, words):
    with pytest.raises(UserError, match=words):
        store.put(data)
    assert not store.directory.exists() or names(store) == []


def test_what_is_no_video(store):
    refused(store, b"", "no MP4")
    refused(store, b"a text that somebody called clip.mp4", "no MP4")
    refused(store, b"\0\0\0\x20ftypisom" + bytes(500), "damaged")


def test_a_damaged_video(store, clip):
    refused(store, clip[: len(clip) // 2], "damaged")
    refused(store, clip[:-50], "damaged")
    middle = len(clip) // 2
    refused(store, clip[:middle] + bytes(2000) + clip[middle + 2000 :], "damaged")


def other_video(path, codec, pix_fmt, sound=False):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, width=64, height=48, pix_fmt=pix_fmt)
        streams = [stream]
        if sound:
            streams.append(container.add_stream("aac", rate=44100))
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2048), dtype=np.int16), "s16", "mono")
            silence.sample_rate = 44100
            container.mux(streams[1].encode(silence))
            container.mux(streams[1].encode())
    return path.read_bytes()


def test_what_not_every_browser_plays(store, tmp_path):
    refused(store, other_video(tmp_path / "a.mp4", "mpeg4", "yuv420p"), "H.264")
    refused(store, other_video(tmp_path / "b.mp4", "libx264", "yuv444p"), "yuv420p")
    refused(store, other_video(tmp_path / "c.mp4", "libx264", "yuv420p", sound=True), "one video")


def test_limits(store, clip, monkeypatch, tmp_path):
    (tmp_path / "a.mp4").write_bytes(clip)
    monkeypatch.setattr(clips, "MAX_FRAMES", 11)
    refused(store, clip, "at most 11 frames")
    monkeypatch.undo()
    monkeypatch.setattr(clips, "MAX_PIXELS", 64 * 48 - 1)
    refused(store, clip, "at most 3071 pixels, not 64 x 48")
    monkeypatch.undo()
    monkeypatch.setattr(clips, "MAX_CLIP_BYTES", len(clip) - 1)
    refused(store, clip, "at most 0 MiB")
    with pytest.raises(UserError, match="at most 0 MiB"):
        store.put_file(tmp_path / "a.mp4")


def test_the_least_recently_used_go_first(tmp_path):
    data = [make_clip(tmp_path, seed) for seed in range(4)]
    store = ClipStore(tmp_path / "clips", max_bytes=len(data[0]) + len(data[2]))
    digests = [store.put(one) for one in data]
    for age, digest in enumerate(digests):
        os.utime(store.directory / f"{digest}.mp4", (age, age))
    store.path(digests[0])  # somebody watches the oldest
    assert store.trim(protected=()) == [digests[1], digests[2]]
    assert store.trim(protected=()) == []
    assert [store.path(digest) is not None for digest in digests] == [True, False, False, True]


def test_protected_clips_stay(tmp_path):
    store = ClipStore(tmp_path / "clips", max_bytes=0)
    digests = [store.put(make_clip(tmp_path, seed)) for seed in range(3)]
    assert set(store.trim(protected={digests[1]})) == {digests[0], digests[2]}
    assert names(store) == [f"{digests[1]}.mp4"]


def test_trimming_what_is_not_there(store):
    assert store.trim(protected=()) == []


def test_what_a_killed_process_left_goes_after_a_while(store, clip):
    store.put(clip)
    for name, age in (("old", 2 * clips.LEFT_BEHIND), ("new", 0)):
        path = store.directory / f".{name}.mp4.123.tmp"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    store.trim(protected=())
    assert names(store) == [".new.mp4.123.tmp", f"{hashlib.sha256(clip).hexdigest()}.mp4"]


def test_many_threads_store_the_same(store, clip):
    digests = []
    threads = [threading.Thread(target=lambda: digests.append(store.put(clip))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [hashlib.sha256(clip).hexdigest()] * 8
    assert names(store) == [f"{digests[0]}.mp4"]


PUTS = """
    import sys
    from pathlib import Path
    from prefloop.labelling.server.clips import ClipStore
    store = ClipStore(Path(sys.argv[1]), max_bytes=int(sys.argv[3]))
    clips = [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())]
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(sys.argv[4])):
        for clip in clips:
            store.put(clip)
            if store.max_bytes < 10**9:
                store.trim(protected=())
    print("torch" in sys.modules)
"""


def putting(store, source, max_bytes, rounds):
    arguments = [str(store.directory), str(source), str(max_bytes), str(rounds)]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PUTS), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    for seed in range(6):
        (tmp_path / "source" / f"{seed}.mp4").write_bytes(make_clip(tmp_path, seed))
    return tmp_path / "source"


@pytest.mark.parametrize("max_bytes", [10**9, 50_000])
def test_two_processes_at_once(store, source, max_bytes):
    processes = [putting(store, source, max_bytes, 3) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate()
        assert (process.returncode, out) == (0, "False\n")
    for path in store.directory.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert len(names(store)) == 6 or max_bytes < 10**9


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_kill_in_the_middle_leaves_no_half(store, source):
    process = putting(store, source, 0, 10_000)
    process.stdin.write("go\n")
    process.stdin.flush()
    for _ in range(1000):
        if store.directory.exists() and names(store):
            break
        time.sleep(0.01)
    process.kill()
    process.communicate()
    whole = {hashlib.sha256(path.read_bytes()).hexdigest() for path in source.iterdir()}
    for path in store.directory.glob("[!.]*"):  # what is unfinished has a dot, and no reader
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert path.stem in whole


def test_a_disk_that_refuses(tmp_path, clip):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Can't make"):
        ClipStore(tmp_path / "file" / "clips", 10**9).put(clip)
