"""Agents ranked by votes: by hand, under changes that must not matter, and by simulation."""

import time

import numpy as np
import pytest

from prefloop.evaluation.agent_ranking import rank

WEAK = 1e4  # a prior so wide that nothing is seen of it


def votes(rng, strengths, tie, num):
    """Davidson's model, written down once more: between all pairs in turn."""
    pairs = [(i, j) for i in range(len(strengths)) for j in range(i + 1, len(strengths))]
    sides = np.array([pairs[n % len(pairs)] for n in range(num)])
    labels = []
    for i, j in sides:
        won, lost = np.exp(strengths[i]), np.exp(strengths[j])
        even = np.exp(tie) * np.sqrt(won * lost)
        weights = np.array([won, even, lost]) / (won + even + lost)
        labels.append(rng.choice([0, 0.5, 1], p=weights))
    return sides[:, 0], sides[:, 1], np.array(labels)


def some_votes(num=200, seed=0):
    return votes(np.random.default_rng(seed), [1.5, 0.5, -0.5, -1.5], 0.0, num)


def test_two_agents_by_hand():
    # 60 wins, 15 losses, 30 ties: shares are matched, so e^gap = 4 and e^t = 30 / sqrt(60 * 15) = 1
    labels = [0] * 60 + [1] * 15 + [0.5] * 30
    found = rank(2, [0] * 105, [1] * 105, labels, spread=WEAK)
    assert found.strengths == pytest.approx([np.log(4) / 2, -np.log(4) / 2], abs=1e-6)
    assert found.beats[0, 1] == pytest.approx((60 + 15) / 105)
    assert found.beats[1, 0] == pytest.approx(1 - found.beats[0, 1])
    assert found.tie == pytest.approx(1 / 3)
    assert (found.wins.tolist(), found.losses.tolist()) == ([60, 15], [15, 60])
    assert found.ties.tolist() == [30, 30] and found.groups == [[0, 1]]
    assert np.isnan(np.diagonal(found.beats)).all() and np.isnan(np.diagonal(found.above)).all()


def test_a_chain_of_three_by_hand():
    # no ties: 0 beats 1 by 3 to 1, 1 beats 2 by 2 to 1; who never met is compared by way of 1
    first, second = [0] * 40 + [1] * 30, [1] * 40 + [2] * 30
    labels = [0] * 30 + [1] * 10 + [0] * 20 + [1] * 10
    found = rank(3, first, second, labels, spread=WEAK)
    gaps = found.strengths[:-1] - found.strengths[1:]
    assert gaps == pytest.approx([np.log(3), np.log(2)], abs=1e-4)
    assert found.strengths.sum() == pytest.approx(0, abs=1e-6)
    assert found.beats[0, 2] == pytest.approx(6 / 7, abs=1e-4)


def test_at_the_maximum_no_strength_can_be_moved_for_the_better():
    first, second, labels = some_votes()
    found = rank(4, first, second, labels)
    tie = np.log(2 * found.tie / (1 - found.tie))

    def value(strengths, tie):
        half = (strengths[first] - strengths[second]) / 2
        logits = np.stack([half, np.full(len(half), tie), -half])
        chosen = logits[(2 * labels).astype(int), np.arange(len(half))]
        said = (chosen - np.log(np.exp(logits).sum(axis=0))).sum()
        return said - (np.sum(strengths**2) + tie**2) / (2 * 5.0**2)

    best = value(found.strengths, tie)
    for step in (0.01, -0.01):
        assert value(found.strengths, tie + step) < best
        for i in range(4):
            assert value(found.strengths + step * np.eye(4)[i], tie) < best


def test_sides_do_not_matter():
    first, second, labels = some_votes()
    swap = np.arange(len(labels)) % 3 == 0
    one = rank(4, first, second, labels)
    other = rank(
        4, np.where(swap, second, first), np.where(swap, first, second),
        np.where(swap, 1 - labels, labels),
    )  # fmt: skip
    for name in ("strengths", "low", "high", "beats", "above", "wins"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_order_in_which_agents_are_named_does_not_matter():
    first, second, labels = some_votes()
    place = np.array([2, 0, 3, 1])
    one, other = rank(4, first, second, labels), rank(4, place[first], place[second], labels)
    np.testing.assert_allclose(other.strengths[place], one.strengths, atol=1e-7)
    np.testing.assert_allclose(other.beats[np.ix_(place, place)], one.beats, atol=1e-7)
    assert other.groups == [[int(place[i]) for i in one.groups[0]]]
    # resamples are others then, and about as wide
    np.testing.assert_allclose(other.low[place], one.low, atol=0.1)


def test_twice_the_votes_say_the_same_with_twice_the_information():
    first, second, labels = some_votes(400)
    one = rank(4, first, second, labels, spread=WEAK)
    other = rank(4, *(np.tile(x, 2) for x in (first, second, labels)), spread=WEAK)
    np.testing.assert_allclose(other.strengths, one.strengths, atol=1e-6)
    narrower = (other.high - other.low) / (one.high - one.low)
    np.testing.assert_allclose(narrower, np.sqrt(0.5), rtol=0.06)
    # the same votes counted twice, and known to be: nothing is known that was not
    known = np.tile(np.arange(len(labels)), 2)
    same = rank(4, *(np.tile(x, 2) for x in (first, second, labels)), known, spread=WEAK)
    np.testing.assert_allclose(same.high - same.low, one.high - one.low, rtol=0.06)


def test_who_has_won_everything_is_first_and_finite_and_hardly_known():
    found = rank(3, [0] * 6 + [1] * 4, [1] * 3 + [2] * 3 + [2] * 4, [0] * 6 + [0, 1, 0.5, 0])
    assert found.groups == [[0, 1, 2]]
    assert np.isfinite(found.strengths).all() and found.strengths[0] < 10
    assert found.beats[0, 1] > 0.9 and found.above[0, 1] > 0.99
    # the bootstrap knows no other outcome; the curvature says how little six votes are
    assert found.low[0] < 0.5 < found.strengths[0] and found.high[0] > found.strengths[0] + 1


def test_ties_alone_say_that_agents_are_alike():
    found = rank(2, [0] * 9, [1] * 9, [0.5] * 9)
    assert found.strengths == pytest.approx([0, 0], abs=1e-9)
    assert found.beats[0, 1] == pytest.approx(0.5) and found.above[0, 1] == 0.5
    assert found.tie > 0.9 and found.low[0] < 0 < found.high[0]


def test_agents_that_no_vote_connects_are_not_compared():
    first, second = [0, 0, 0, 3, 3], [1, 1, 1, 4, 4]
    found = rank(6, first, second, [0, 0, 1, 1, 0.5])
    assert found.groups == [[0, 1], [4, 3], [2], [5]]
    assert np.isnan(found.beats[0, 3]) and np.isnan(found.above[4, 1])
    assert found.beats[0, 1] > 0.5 > found.beats[3, 4]
    assert found.strengths[0] + found.strengths[1] == pytest.approx(0, abs=1e-9)
    for name in ("strengths", "low", "high"):
        assert np.isnan(getattr(found, name)).tolist() == [False, False, True, False, False, True]


def test_without_votes_nobody_is_ranked():
    for labels in ([], [np.nan, np.nan]):
        sides = [0] * len(labels), [1] * len(labels)
        found = rank(2, *sides, labels)
        assert found.groups == [[0], [1]] and np.isnan(found.strengths).all()
        assert np.isnan(found.tie) and found.wins.tolist() == [0, 0]


def test_skips_are_no_votes_and_a_label_may_be_between():
    one = rank(2, [0, 0, 0], [1, 1, 1], [0, 1, np.nan])
    other = rank(2, [0, 0], [1, 1], [0, 1])
    np.testing.assert_array_equal(one.strengths, other.strengths)
    between = rank(2, [0] * 4, [1] * 4, [0.25] * 4, spread=WEAK)
    assert between.strengths[0] == pytest.approx(np.log(3) / 2, abs=1e-4)
    assert between.wins.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        (([0], [0], [1]), "between an agent and itself"),
        (([0], [2], [1]), "outside of 0 to 1"),
        (([0], [1], [2]), r"in \[0, 1\]"),
        (([0, 1], [1], [1]), "differ in shape"),
    ],
)
def test_votes_that_can_not_be_meant(votes, words):
    with pytest.raises(ValueError, match=words):
        rank(2, *votes)


def test_200_votes_find_the_order_and_intervals_hold_the_truth():
    truth = np.array([1.5, 0.5, -0.5, -1.5])
    rng = np.random.default_rng(1)
    holds, right = np.zeros(4), 0
    for _ in range(100):
        found = rank(4, *votes(rng, truth, 0.0, 200))
        holds += (found.low <= truth) & (truth <= found.high)
        right += found.groups == [[0, 1, 2, 3]]
    assert (holds >= 90).all(), holds
    assert right >= 95


def test_2000_replicates_take_well_under_a_second():
    first, second, labels = some_votes()
    start = time.process_time()
    rank(4, first, second, labels, replicates=2000)
    assert time.process_time() - start < 0.5
