import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from made_up import random_segments
from people import make_segment

from prefloop.errors import UserError
from prefloop.labelling.arrays import from_archive, pack, pad, to_archive, unpack


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def some(**changes):
    arrays = {"obs": np.zeros((2, 3, 4), np.float32), "actions": np.zeros((2, 3), np.int64)}
    return archive(**{k: v for k, v in {**arrays, **changes}.items() if v is not None})


@pytest.mark.parametrize("discrete", [True, False])
def test_segments_come_through_whole(discrete):
    rng = np.random.default_rng(0)
    segments = random_segments(5, 7, rng, discrete, lengths=np.array([7, 1, 3, 7, 2]))
    segments.obs[~segments.mask] = 0
    segments.actions[~segments.mask] = 0
    states = rng.normal(size=(5, 7, 2))
    sent = from_archive(to_archive(replace(segments, replay={"replay_states": states})))
    assert [segment.length for segment in sent] == [7, 1, 3, 7, 2]
    back = [unpack(pack(segment)) for segment in sent]
    joined = pad(back)
    for name in ("obs", "actions", "mask", "rewards", "policy", "first_step"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(segments, name))
    np.testing.assert_array_equal(back[2].replay["replay_states"], states[2])
    assert back[2].digest == sent[2].digest
    assert len({segment.digest for segment in sent}) == 5


def test_what_may_be_missing():
    (segment, _) = from_archive(some())
    assert (segment.length, segment.policy, segment.first_step) == (3, 0, 0)
    assert segment.rewards.sum() == 0


def test_where_it_comes_from_makes_no_other_segment():
    segment = make_segment(0)
    assert segment.part(0, 5).digest == segment.digest != segment.part(0, 4).digest
    assert segment.part(2, 4).first_step == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no archive"),
        (b"PK\x03\x04 and then nothing", "no archive"),
        (archive(obs=np.zeros((1, 2, 3), np.float32)), "no array actions"),
        (some(obs=np.zeros((2, 3), np.float32)), "have no steps"),
        (some(frame_stack=np.array(4)), "obs must be"),
        (some(frame_stack=np.array(0)), "frame_stack is a number from 1"),
        (some(actions=np.zeros((2, 4), np.int64)), "differ in shape"),
        (some(actions=np.zeros((2, 3), np.float32)), "whole numbers"),
        (some(obs=np.full((2, 3, 4), np.nan)), "NaN or infinite obs"),
        (some(obs=np.full((2, 3, 4), np.inf)), "NaN or infinite obs"),
        (some(mask=np.zeros((2, 3), bool)), "no steps"),
        (some(mask=np.ones((2, 3), np.int64)), "mask"),
        (some(policy=np.zeros(3, np.int64)), "one entry"),
        (some(policy=np.zeros(2, np.float32)), "int64"),
        (some(replay_seed=np.zeros(3, np.int64)), "replay_seed needs one row"),
        (some(replay_seed=np.int64(3)), "replay_seed needs one row"),
        (archive(obs=np.zeros((0, 2, 3), np.float32), actions=np.zeros((0, 2), np.int64)), "1 to"),
        (some(note=np.array("text")), "something else than numbers"),
        (some(note=np.array([{}], dtype=object)), "something else than numbers"),
    ],
)
def test_what_is_no_archive_of_segments_ends_in_a_sentence(data, words):
    with pytest.raises(UserError, match=words):
        from_archive(data)


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9)}\n"), "another size"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n"), "no archive"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + b"x" * 8, "numbers"),
        (header("__import__('os').abort()\n"), "no archive"),
        (b"\x93NUMPY\x09\x00", "unknown format|no archive"),
        (b"", "no archive"),
    ],
)  # fmt: skip
def test_headers_that_lie(content, words):
    with pytest.raises(UserError, match=words):
        from_archive(zipped(obs=content, actions=content))


def test_a_small_file_that_unpacks_to_a_large_one():
    data = zipped(obs=b"\0" * (600 * 2**20), actions=b"")
    assert len(data) < 2**20
    with pytest.raises(UserError, match="larger than 512 MiB unpacked"):
        from_archive(data)
