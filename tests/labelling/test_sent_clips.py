"""Clips that somebody sends: served in parts, refused where they are none, within a limit, removed with their run."""

import io
import uuid

import numpy as np
import pytest
from calls import fill, lease

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def clip():
    """A small video."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for i in range(5):
            picture = np.full((32, 32, 3), 40 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return buffer.getvalue()


def test_a_clip_comes_back_whole_and_in_part(api, clip):
    fill(api)
    segment = lease(api)["queries"][0]["left"]["segment"]
    url = api.put(f"/api/segments/{segment}/clip", content=clip).json()["clip_url"]
    (again,) = lease(api)["queries"]
    assert again["left"]["clip_url"] == url
    reply = api.get(url)
    assert reply.content == clip
    assert reply.headers["content-type"] == "video/mp4"
    assert "immutable" in reply.headers["cache-control"]
    assert api.get(url, headers={"if-none-match": reply.headers["etag"]}).status_code == 304
    part = api.get(url, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, clip[10:20])
    assert api.get(url, headers={"range": f"bytes={len(clip)}-"}).status_code == 416


def test_a_video_that_is_none_is_not_stored(api, clip, tmp_path):
    fill(api)
    segment = lease(api)["queries"][0]["left"]["segment"]
    for data in (b"", b"no video", clip[: len(clip) // 2], clip[:100] + b"<script>" * 100):
        reply = api.put(f"/api/segments/{segment}/clip", content=data)
        assert reply.status_code == 400
        assert "Traceback" not in reply.text
    assert api.put(f"/api/segments/{uuid.uuid4()}/clip", content=clip).status_code == 404
    assert list((tmp_path / "clips").glob("*")) == []
    assert lease(api)["queries"][0]["left"]["clip_url"] is None


def test_clips_that_are_sent_have_a_limit(api, clip, tmp_path):
    fill(api)
    sides = lease(api)["queries"][0]
    first, second = (f"/api/segments/{sides[side]['segment']}" for side in ("left", "right"))
    assert api.put("/api/settings", json={"sent_clips_mb": 1}).status_code == 200
    assert api.put(f"{first}/clip", content=clip).status_code == 200
    (stored,) = (tmp_path / "clips").glob("*.mp4")
    with stored.open("ab") as file:  # as if it had been that large
        file.truncate(10**6)
    deltas = io.BytesIO()
    np.savez(deltas, deltas=np.zeros((5, 32, 32, 3), dtype=np.uint8), fps=np.float64(10))
    sent_anew = {f"{second}/clip": clip + b"\0" * 8, f"{second}/frames": deltas.getvalue()}
    for url, data in sent_anew.items():
        reply = api.put(url, content=data)
        assert reply.status_code == 507, reply.text
        assert "sent_clips_mb" in reply.json()["detail"]
    assert list((tmp_path / "clips").iterdir()) == [stored]
    assert api.put("/api/settings", json={"sent_clips_mb": 2}).status_code == 200
    assert api.put(f"{second}/frames", content=deltas.getvalue()).status_code == 200


def test_deleting_a_run_deletes_the_clips_that_were_sent(api, clip, tmp_path):
    fill(api)
    segment = lease(api)["queries"][0]["left"]["segment"]
    url = api.put(f"/api/segments/{segment}/clip", content=clip).json()["clip_url"]
    api.delete("/api/runs/cartpole-01")
    assert api.get(url).status_code == 404
    assert list((tmp_path / "clips").glob("*.mp4")) == []
