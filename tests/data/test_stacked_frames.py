"""Stacks of frames, of which each frame is kept once, are what stacks kept whole would be."""

import numpy as np
import pytest

from prefloop.data.frames import Seen, StackedFrames, joined, rows_of, swapped

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
