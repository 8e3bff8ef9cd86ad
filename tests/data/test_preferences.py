import numpy as np
import pytest
from made_up import make_segments, preferences, random_segments

from prefloop.data.preferences import Preferences, Queries
from prefloop.data.segments import concatenate
from prefloop.errors import UserError

NAN = float("nan")


@pytest.fixture
def segments():
    return random_segments(4, 3, np.random.default_rng(0))


@pytest.fixture
def prefs(segments):
    """First, second, tie, skipped, and leaning to the second."""
    return preferences(segments, (0, 1, 0.0), (2, 1, 1.0), (3, 0, 0.5), (1, 3, NAN), (0, 2, 0.7))


def test_answered(prefs):
    answered = prefs.answered
    assert (len(prefs), len(answered)) == (5, 4)
    assert answered.first.tolist() == [0, 2, 3, 0]
    assert answered.labels.tolist() == [0, 1, 0.5, 0.7]
    assert answered.segments is prefs.segments


def test_ties(prefs):
    assert prefs.num_ties == 1
    assert prefs[:2].num_ties == 0


def test_preferred(prefs):
    assert sorted(prefs.preferred.tolist()) == [0, 0, 1, 2, 3]
    assert prefs[3:4].preferred.tolist() == []


def test_flipped(prefs):
    np.testing.assert_allclose(prefs.flipped.labels, [1, 0, 0.5, NAN, 0.3])
    np.testing.assert_array_equal(prefs.flipped.first, prefs.first)
    np.testing.assert_allclose(prefs.flipped.flipped.labels, prefs.labels)


def test_some_of_them(prefs):
    some = prefs[np.array([4, 0])]
    assert (some.first.tolist(), some.second.tolist()) == ([0, 0], [2, 1])
    assert some.labels.tolist() == [0.7, 0]


@pytest.mark.parametrize("label", [-0.01, 1.01, 2, float("inf"), -float("inf")])
def test_labels_are_probabilities(segments, label):
    with pytest.raises(ValueError, match=r"a label must be in \[0, 1\] or NaN"):
        preferences(segments, (0, 1, 1.0), (0, 1, label))


@pytest.mark.parametrize("place", [-1, 4, 99])
def test_positions_exist(segments, place):
    for first, second in ((place, 0), (0, place)):
        with pytest.raises(ValueError, match="names a segment outside of 0 to 3"):
            Queries(segments, np.array([first]), np.array([second]))


def test_lengths_agree(segments):
    with pytest.raises(ValueError, match="second segments"):
        Queries(segments, np.array([0, 1]), np.array([0]))
    with pytest.raises(ValueError, match="2 labels for 1 queries"):
        Preferences(segments, np.array([0]), np.array([1]), np.zeros(2))


@pytest.mark.parametrize(
    "answers, words",
    [
        ([(0, 1, NAN), (1, 2, NAN)], "all 2 queries were skipped"),
        ([(0, 1, 0.5), (1, 2, NAN)], "all 1 answers are ties"),
    ],
)
def test_nothing_to_learn(segments, answers, words):
    with pytest.raises(UserError, match=words):
        preferences(segments, *answers).require_something_to_learn()


def test_nothing_was_asked(segments, prefs):
    with pytest.raises(UserError, match="there is no query"):
        prefs[:0].require_something_to_learn()
    with pytest.raises(UserError, match="from 1 segment: a preference needs two"):
        preferences(segments[:1], (0, 0, 1.0)).require_something_to_learn()


def test_one_answer_is_something_to_learn(segments):
    preferences(segments, (0, 1, NAN), (1, 2, 0.5), (2, 3, 0.0)).require_something_to_learn()


def test_a_pair_is_known_whichever_way_round_and_under_whatever_numbers():
    segments = random_segments(4, 5, np.random.default_rng(0), lengths=np.array([5, 3, 4, 5]))
    wider = concatenate([segments, random_segments(1, 9, np.random.default_rng(1))])
    twice = concatenate([wider, segments])
    queries = Queries(twice, np.array([0, 1, 6, 5, 0]), np.array([1, 0, 5, 1, 2]))
    keys = queries.pairs
    assert keys[0] == keys[1] == keys[2] == keys[3] != keys[4]


def test_what_is_shown_makes_the_fingerprint():
    rng = np.random.default_rng(0)
    segments = random_segments(3, 5, rng, lengths=np.array([5, 3, 5]))
    prints = segments.fingerprints
    assert len(set(prints.tolist())) == 3
    zeros = make_segments(np.zeros((1, 2, 3)), np.zeros((1, 2)))
    negative = make_segments(-np.zeros((1, 2, 3)), np.zeros((1, 2)))
    assert zeros.fingerprints == negative.fingerprints  # the same number
    acted = make_segments(np.zeros((1, 2, 3)), np.array([[0, 1]]))
    assert acted.fingerprints != zeros.fingerprints
    segments.obs[1, 3:], segments.rewards[:] = 7, 9  # neither padding nor reward is shown
    np.testing.assert_array_equal(segments.fingerprints, prints)
