import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import make_segments, random_segments

from prefloop.data.segments import concatenate, cut, whole_episodes
from prefloop.data.trajectories import Trajectories
from prefloop.errors import UserError


def trajectories(lengths, terminated, discrete=True):
    """Step t of episode e is observed as [e, t] and rewarded by 100 e + t."""
    lengths = np.array(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(n) for n in lengths])
    obs = np.stack([episode, step], axis=1).astype(np.float32)
    actions = step % 2 if discrete else np.stack([step, -step, 0 * step], axis=1).astype(np.float64)
    terminated = np.array(terminated, dtype=bool)
    return Trajectories(
        obs=obs,
        actions=actions,
        rewards=100.0 * episode + step,
        next_obs=obs + np.array([0, 1]),
        lengths=lengths,
        terminated=terminated,
        truncated=~terminated,
    )


def test_whole_episodes_by_hand():
    segments = whole_episodes(trajectories([2, 3, 1], [1, 0, 1]), policy=4)
    assert segments.lengths.tolist() == [2, 3, 1]
    assert segments.mask.tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert segments.obs[0].tolist() == [[0, 0], [0, 1], [0, 0]]
    assert segments.obs[1].tolist() == [[1, 0], [1, 1], [1, 2]]
    assert segments.actions.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert segments.rewards.tolist() == [[0, 1, 0], [100, 101, 102], [200, 0, 0]]
    assert segments.returns.tolist() == [1, 303, 200]
    assert segments.policy.tolist() == [4, 4, 4]
    assert segments.first_step.tolist() == [0, 0, 0]
    assert segments.discrete


def test_continuous_actions():
    segments = whole_episodes(trajectories([2, 3], [1, 0], discrete=False))
    assert not segments.discrete
    assert segments.actions.dtype == np.float32
    assert segments.actions[0].tolist() == [[0, 0, 0], [1, -1, 0], [0, 0, 0]]


def test_every_place_that_may_be_cut():
    # a terminal state may come early, what a time limit cut short may not
    segments = cut(trajectories([4, 5], [1, 0]), 3, 99, np.random.default_rng(0), policy=1)
    starts = list(zip(segments.obs[:, 0, 0], segments.first_step, segments.lengths, strict=True))
    assert starts == [(0, 0, 3), (0, 1, 3), (0, 2, 2), (0, 3, 1), (1, 0, 3), (1, 1, 3), (1, 2, 3)]
    assert (segments.policy == 1).all()


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 9),
    st.integers(1, 30),
    st.integers(0, 99),
)
def test_cut_segments_are_stretches_of_one_episode(ends, length, num, seed):
    played = trajectories(*zip(*ends, strict=True))
    if played.lengths.max() < length:
        with pytest.raises(UserError, match=f"Can't cut segments of {length} steps"):
            cut(played, length, num, np.random.default_rng(seed))
        return
    segments = cut(played, length, num, np.random.default_rng(seed))
    assert 1 <= len(segments) <= num
    places = set()
    for i, steps in enumerate(segments.lengths):
        episode, first = segments.obs[i, 0].astype(int)
        expected = first + np.arange(steps)
        np.testing.assert_array_equal(segments.obs[i, :steps, 0], episode)
        np.testing.assert_array_equal(segments.obs[i, :steps, 1], expected)
        np.testing.assert_array_equal(segments.rewards[i, :steps], 100 * episode + expected)
        assert segments.first_step[i] == first
        to_the_end = steps == played.lengths[episode] - first
        assert steps == length or (to_the_end and played.terminated[episode])
        places.add((episode, first))
    assert len(places) == len(segments)
    assert (segments.obs[~segments.mask] == 0).all()
    assert (segments.rewards[~segments.mask] == 0).all()


def test_cuts_are_spread_evenly_and_repeat_with_their_seed():
    played = trajectories([10, 6], [0, 0])
    counts = np.zeros(8)
    for seed in range(2000):
        segments = cut(played, 5, 2, np.random.default_rng(seed))
        counts[(6 * segments.obs[:, 0, 0] + segments.first_step).astype(int)] += 1
    assert counts.sum() == 4000
    assert abs(counts - 500).max() < 4 * np.sqrt(500)
    again = cut(played, 5, 2, np.random.default_rng(1999))
    np.testing.assert_array_equal(segments.obs, again.obs)


def test_too_long():
    with pytest.raises(UserError, match="Can't cut segments of 7 steps from episodes of at most 6"):
        cut(trajectories([6, 3], [1, 1]), 7, 5, np.random.default_rng(0))


def test_concatenate_pads_to_the_longest():
    short = make_segments(np.ones((1, 2, 3)), np.ones((1, 2)), rewards=np.ones((1, 2)))
    long = make_segments(np.full((2, 4, 3), 2), np.zeros((2, 4)), rewards=np.full((2, 4), 5.0))
    joined = concatenate([short, long])
    assert joined.lengths.tolist() == [2, 4, 4]
    assert joined.returns.tolist() == [2, 20, 20]
    assert joined.obs[0, :, 0].tolist() == [1, 1, 0, 0]
    assert joined.actions[0].tolist() == [1, 1, 0, 0]
    assert joined.mask[0].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    "other",
    [
        make_segments(np.ones((1, 2, 4)), np.ones((1, 2))),
        make_segments(np.ones((1, 2, 3)), np.ones((1, 2, 1))),
    ],
)
def test_other_kinds_are_not_concatenated(other):
    own = make_segments(np.ones((1, 2, 3)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="different observations or actions"):
        concatenate([own, other])


def test_nothing_to_concatenate():
    with pytest.raises(ValueError, match="no segments"):
        concatenate([])


def test_some_of_them():
    segments = random_segments(5, 4, np.random.default_rng(0), lengths=np.array([1, 2, 3, 4, 1]))
    some = segments[np.array([3, 0, 3])]
    assert some.lengths.tolist() == [4, 1, 4]
    np.testing.assert_array_equal(some.obs[1], segments.obs[0])
    assert len(segments[:0]) == 0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"obs": np.zeros((2, 3), np.float32)}, "have no steps"),
        ({"obs": np.zeros((2, 4, 3), np.float32)}, "differ in shape"),
        ({"rewards": np.zeros((2, 2), np.float32)}, "differ in shape"),
        ({"policy": np.zeros(3, np.int64)}, "one entry for each segment"),
        ({"first_step": np.zeros((2, 1), np.int64)}, "one entry for each segment"),
        ({"mask": np.ones((2, 3))}, "mask must be True"),
        ({"mask": np.array([[True] * 3, [False, True, True]])}, "mask must be True"),
        ({"mask": np.array([[True] * 3, [False] * 3])}, "a segment has no steps"),
        ({"obs": np.zeros((2, 3, 3))}, "obs must be float32, not float64"),
        ({"actions": np.zeros((2, 3), np.float32)}, "actions must be int64, not float32"),
        ({"actions": np.zeros((2, 3, 1), np.int64)}, "actions must be float32, not int64"),
        ({"rewards": np.zeros((2, 3), complex)}, "rewards must be float32"),
        ({"policy": np.zeros(2)}, "policy must be int64"),
    ],
)
def test_arrays_that_do_not_belong_together(change, words):
    segments = random_segments(2, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(segments, **change)
