"""What is sent is opened apart: answers go on meanwhile, and what is dear to open is refused before."""

import contextlib
import io
import os
import threading
import time
import zipfile

import av
import httpx
import numpy as np
import pytest
from calls import fill, lease, say
from misbehaving import crash, grow, hang, refuse
from people import make_segment
from serving import ServerProcess

from prefloop.errors import UserError
from prefloop.labelling.arrays import from_archive, pad, to_archive
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore, examine
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.frames import store_frames, write_frames
from prefloop.labelling.server.rooms import HEAVY
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.uploads import EndingError, TooMuchError, UploadProcess


def video(frames, side=32):
    """Black pictures, as an MP4: hardly anything on its way."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), dtype=np.uint8))
        for _ in range(frames):
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def long_video():
    return video(9990)


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for i in range(members):
            file.writestr(str(i), b"")
    return buffer.getvalue()


def refused_at_once(function, *args, words):
    begun = time.process_time()
    with pytest.raises(UserError, match=words):
        function(*args)
    assert time.process_time() - begun < 0.5


# before anything is opened


def test_archives_of_many_members_are_refused_at_once():
    refused_at_once(from_archive, zipped(60_000), words="holds 60000 arrays; 50 are too many")
    refused_at_once(from_archive, zipped(51), words="holds 51 arrays")


def test_archives_of_nothing_are_refused_at_once():
    """233 KB, which took 15 seconds and 500 MB."""
    nothing = archive(
        obs=np.zeros((10_000, 400, 13), np.float32), actions=np.zeros((10_000, 400), np.int64)
    )
    assert len(nothing) < 300_000
    refused_at_once(from_archive, nothing, words="times as large unpacked")


def test_archives_of_too_many_numbers_are_refused_before_they_are_unpacked():
    buffer = io.BytesIO()  # not packed, so that nothing but their number is wrong
    np.savez(buffer, obs=np.zeros((2, 40_000_000), np.uint8), actions=np.zeros((2, 1), np.int64))
    refused_at_once(from_archive, buffer.getvalue(), words="at most 67108864 numbers")


def test_pictures_of_other_steps_are_refused_before_they_are_unpacked(tmp_path):
    many = archive(deltas=np.zeros((160, 1000, 1000, 3), np.uint8), fps=10.0)
    refused_at_once(write_frames, many, 20, tmp_path / "a.mp4", words="20 steps, and 160 pictures")


def test_a_long_video_is_not_taken_for_a_short_segment(long_video, tmp_path):
    refused_at_once(examine, long_video, 20, words="has 20 steps, and the video 9990 frames")
    assert examine(video(20), 20).frames == 20
    # nor where it is there already, as one that belongs to something else
    store = ClipStore(tmp_path, 10**9)
    digest = store.put(video(7))
    with pytest.raises(UserError, match="has 20 steps, and the video 7 frames"):
        store.put(video(7), frames=20)
    assert store.put(video(7), frames=7) == digest


# in a process of its own


@pytest.fixture
def uploads():
    process = UploadProcess(seconds=30, memory=700 * 2**20)
    yield process
    process.close()


def test_an_upload_process_opens_what_is_sent(uploads):
    assert uploads(examine, video(5), 5).frames == 5
    with pytest.raises(UserError, match="no MP4 video"):
        uploads(examine, b"none")
    with pytest.raises(TooMuchError, match="it is refused"):
        uploads(refuse)


@pytest.mark.skipif(os.name == "nt", reason="there is no such limit")
def test_what_takes_too_much_memory_ends(uploads):
    with pytest.raises(TooMuchError, match="more than 700 MiB of memory"):
        uploads(grow)
    assert uploads(examine, video(5)).frames == 5


def test_what_takes_too_long_or_crashes_ends():
    process = UploadProcess(seconds=30)
    try:
        process(examine, video(5))  # starting it takes a while
        process._seconds = 0.5
        with pytest.raises(TooMuchError, match=r"longer than 0.5 seconds"):
            process(hang)
        process._seconds = 30
        with pytest.raises(UserError, match="what opens it crashed"):
            process(crash)
        assert process(examine, video(5)).frames == 5
    finally:
        process.close()


def test_an_upload_that_the_servers_end_breaks_off_is_to_be_sent_again():
    process = UploadProcess()
    process(examine, video(5))
    ending = threading.Timer(0.5, process.close)
    ending.start()
    with pytest.raises(EndingError, match="try again"):
        process(hang)
    ending.join()


def test_pictures_of_a_process_that_was_ended_leave_nothing(tmp_path):
    clips = ClipStore(tmp_path / "clips", 10**9)
    pictures = archive(deltas=np.zeros((3, 8, 8, 3), np.uint8), fps=10.0)

    def ended(function, data, length, path):
        path.parent.mkdir()
        path.write_bytes(b"half")
        path.with_name(f".{path.stem}.77.mp4").write_bytes(b"half")
        raise UserError("it crashed")

    with pytest.raises(UserError, match="it crashed"):
        store_frames(pictures, 3, clips, opener=ended)
    assert list(clips.directory.iterdir()) == []


# while people label


def test_heavy_routes_are_there(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'labels.sqlite3'}")
    app = create_app(store, ClipStore(tmp_path, 1), SettingsFile(tmp_path / "labelling.yaml"))
    store.close()
    names = {
        operation["operationId"]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
    }
    assert names >= HEAVY


def test_45_uploads_hold_up_no_answer(tmp_path, long_video):
    home = {"HOME": str(tmp_path)}
    with (
        ServerProcess("--home", str(tmp_path), env=home) as process,
        httpx.Client(base_url=process.url, timeout=60, trust_env=False) as api,
    ):
        fill(api, num_queries=10, length=9990)
        fill(api, "short", num_queries=10)
        sides = [query["left"]["segment"] for query in lease(api, count=8)["queries"]]
        over = []

        def send(i):
            # each is another video, so that each is decoded
            data = long_video + i.to_bytes(8, "big")
            with contextlib.suppress(httpx.TransportError):  # the end of the server breaks it off
                httpx.put(
                    f"{process.url}/api/segments/{sides[i % 8]}/clip",
                    content=data,
                    timeout=600,
                    trust_env=False,
                )
                over.append(i)

        senders = [threading.Thread(target=send, args=(i,), daemon=True) for i in range(45)]
        for sender in senders:
            sender.start()
        times = []
        for _ in range(10):
            begun = time.monotonic()
            (query,) = lease(api, "short", count=1)["queries"]
            assert say(api, query).status_code == 200
            times.append(time.monotonic() - begun)
        assert len(over) < 45, "the uploads were over before"
        process.kill()
        for sender in senders:
            sender.join(1)
    assert sorted(times)[5] < 1, times
    assert max(times) < 3, times


def test_segments_are_stored_as_they_were_sent(tmp_path):
    home = {"HOME": str(tmp_path)}
    with (
        ServerProcess("--home", str(tmp_path), env=home) as process,
        httpx.Client(base_url=process.url, timeout=60, trust_env=False) as api,
    ):
        fill(api)
        sent = [make_segment(i) for i in range(50, 53)]
        ids = api.post("/api/runs/cartpole-01/segments", content=to_archive(pad(sent))).json()[
            "ids"
        ]
        reply = api.post("/api/runs/cartpole-01/segments/read", json={"ids": ids})
        assert [segment.digest for segment in from_archive(reply.content)] == [
            s.digest for s in sent
        ]
        other = zipped(60_000)
        assert api.post("/api/runs/cartpole-01/segments", content=other).status_code == 400
        code, output = process.stop()
    assert (code, "Traceback" in output) == (130, False)
