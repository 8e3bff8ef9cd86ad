import io

import av
import numpy as np
import pytest

from prefloop.errors import UserError
from prefloop.labelling.server.clips import ClipStore, examine
from prefloop.labelling.server.frames import store_frames


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "clips", 10**9)


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_pictures_become_a_clip(store):
    pictures = np.zeros((6, 40, 60, 3), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        picture[:, 10 * i : 10 * i + 10] = 255
    deltas = np.diff(pictures, axis=0, prepend=np.zeros_like(pictures[:1]))
    digest = store_frames(archive(deltas=deltas, fps=12.5), 6, store)
    path = store.path(digest)
    facts = examine(path.read_bytes())
    assert (facts.frames, facts.fps, facts.width, facts.height) == (6, 12.5, 60, 40)
    with av.open(str(path)) as container:
        for shown, sent in zip(container.decode(video=0), pictures, strict=True):
            assert np.abs(shown.to_ndarray(format="rgb24").astype(int) - sent).mean() < 12
    assert [file.name for file in store.directory.iterdir()] == [f"{digest}.mp4"]


GOOD = {"deltas": np.zeros((3, 8, 8, 3), dtype=np.uint8), "fps": 10.0}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"deltas": GOOD["deltas"]}, "frames per second"),
        ({**GOOD, "fps": np.nan}, "frames per second"),
        ({**GOOD, "fps": 0.0}, "frames per second"),
        ({**GOOD, "fps": np.ones(2)}, "frames per second"),
        ({"fps": 10.0}, "no pictures"),
        ({**GOOD, "deltas": GOOD["deltas"].astype(float)}, "no pictures"),
        ({**GOOD, "deltas": GOOD["deltas"][..., :2]}, "no pictures"),
        ({**GOOD, "deltas": GOOD["deltas"][:2]}, "has 3 steps, and 2 pictures"),
        ({**GOOD, "deltas": np.zeros((3, 1, 8, 3), dtype=np.uint8)}, "not 8 x 1"),
        ({**GOOD, "deltas": np.zeros((3, 1300, 1300, 3), dtype=np.uint8)}, "not 1300 x 1300"),
        ({**GOOD, "deltas": np.array([None])}, "no archive"),
    ],
)
def test_what_is_refused(store, arrays, words):
    with pytest.raises(UserError, match=words):
        store_frames(archive(**arrays), 3, store)
    assert not store.directory.exists()


def test_what_is_no_archive(store):
    with pytest.raises(UserError, match="no archive"):
        store_frames(b"PK\3\4 and no more", 3, store)
