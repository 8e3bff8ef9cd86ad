"""Stacks of frames, of which each frame is kept once, are what stacks kept whole would be."""

import numpy as np
import pytest

from prefloop.data.frames import (
    PackedFrames,
    Seen,
    StackedFrames,
    joined,
    rows_of,
    single_frames,
    stacked,
    swapped,
)

STACK = 3


def stacks(steps, envs, resets=(), seed=0):
    """Stacks as environments hand them over: at a reset the first frame fills the whole stack."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (steps, envs, 2, 2), dtype=np.uint8)
    obs = np.zeros((steps, envs, STACK, 2, 2), np.uint8)
    for step in range(steps):
        for env in range(envs):
            if step == 0 or (step, env) in resets:
                obs[step, env] = frames[step, env]
            else:
                obs[step, env] = [*obs[step - 1, env, 1:], frames[step, env]]
    return obs


def kept(obs):
    seen = Seen(STACK)
    for row in obs:
        seen.append(row)
    return seen.all()


@pytest.fixture(params=[(), ((4, 0), (7, 1), (8, 1))])
def whole(request):
    return stacks(12, 2, request.param)


def test_what_is_kept_is_what_was_seen(whole):
    frames = kept(whole)
    assert isinstance(frames, StackedFrames)
    assert (frames.shape, frames.dtype, frames.ndim, len(frames)) == (
        whole.shape, whole.dtype, whole.ndim, len(whole),
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(frames), whole)
    np.testing.assert_array_equal(frames[3:9], whole[3:9])
    np.testing.assert_array_equal(frames[5, 1], whole[5, 1])
    np.testing.assert_array_equal(frames.newest_frames([2, 8]), whole[[2, 8], :, -1])


def test_each_frame_is_kept_once():
    frames = kept(stacks(50, 4))
    assert len(frames.frames) == 4 * (50 + STACK - 1)


def test_rows_and_parts_share_their_frames(whole):
    frames = kept(whole)
    is_asked = np.random.default_rng(1).random(whole.shape[:2]) < 0.5
    some = rows_of(frames, is_asked)
    assert some.frames is frames.frames
    np.testing.assert_array_equal(np.asarray(some), whole[is_asked])
    np.testing.assert_array_equal(np.asarray(swapped(frames)), whole.swapaxes(0, 1))


def test_joined_they_are_as_if_never_apart(whole):
    other = stacks(5, 2, seed=9)
    both = joined([kept(whole), kept(other)])
    np.testing.assert_array_equal(np.asarray(both), np.concatenate([whole, other]))


def test_single_observations_stay_arrays():
    seen = Seen(1)
    for row in range(4):
        seen.append(np.full((2, 3), row))
    obs = seen.all()
    assert isinstance(obs, np.ndarray) and obs.shape == (4, 2, 3)
    assert joined([obs, obs]).shape == (8, 2, 3) and rows_of(obs, [1])[0, 0, 0] == 1


@pytest.fixture(params=[1, STACK])
def pictures(request):
    """Observations of four segments of six steps, plain and packed."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 6 + request.param - 1, 3, 5), dtype=np.uint8)
    return stacked(frames, request.param), PackedFrames.of(frames, request.param)


@pytest.mark.parametrize(
    "index",
    [
        2, -1, np.int64(1), slice(None), slice(1, 3), slice(0, 0), [3, 0, 3], np.array([1, 2]),
        np.array([True, False, True, False]), (1, slice(0, 4)), (slice(None), 0), ([2, 0], slice(1, None), 0),
        np.arange(24).reshape(4, 6) % 5 < 3, np.zeros((4, 6), bool),
    ],
)  # fmt: skip
def test_packed_frames_are_read_like_an_array(pictures, index):
    plain, packed = pictures
    np.testing.assert_array_equal(packed[index], plain[index])
    assert packed[index].dtype == plain.dtype and packed[index].shape == plain[index].shape


def test_packed_frames_look_like_an_array(pictures):
    plain, packed = pictures
    assert (packed.shape, packed.ndim, packed.dtype, len(packed)) == (
        plain.shape,
        plain.ndim,
        plain.dtype,
        4,
    )
    np.testing.assert_array_equal(np.asarray(packed), plain)
    stack = plain.shape[2] if plain.ndim > 4 else 1
    np.testing.assert_array_equal(packed.some([2, 0])[:], plain[[2, 0]])
    np.testing.assert_array_equal(
        single_frames(packed, stack, [1]), single_frames(plain, stack, [1])
    )


def test_packed_frames_are_padded_where_others_are_longer(pictures):
    plain, packed = pictures
    stack = plain.shape[2] if plain.ndim > 4 else 1
    short = PackedFrames.of(single_frames(plain, stack)[:, :-2], stack)
    both = PackedFrames.joined([short, packed])
    assert both.shape == (8, *plain.shape[1:])
    np.testing.assert_array_equal(both[4:], plain)
    np.testing.assert_array_equal(both[:4, :4], plain[:, :4])
    assert not both.frames([0])[0, -2:].any()


def test_games_take_a_fraction_of_their_size():
    frames = np.zeros((10, 28, 84, 84), np.uint8)
    frames[:, :, 40:44, 20:24] = 255
    assert PackedFrames.of(frames, 4).nbytes < frames.nbytes / 20
