import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import random_segments

from prefloop.errors import UserError
from prefloop.queries.selection import random_pairs, select_queries, worth_showing
from prefloop.query_strategies import STRATEGIES, Strategy, binary_entropy


def segments(num):
    return random_segments(num, 2, np.random.default_rng(0))


def unordered(pairs):
    return {frozenset(pair) for pair in np.asarray(pairs).tolist()}


@st.composite
def sizes(draw):
    num_segments = draw(st.integers(2, 12))
    return num_segments, draw(st.integers(0, num_segments * (num_segments - 1) // 2))


@given(sizes(), st.integers(0, 999))
def test_pairs_are_distinct_and_of_different_segments(size, seed):
    num_segments, num_pairs = size
    pairs = random_pairs(num_segments, num_pairs, np.random.default_rng(seed))
    assert pairs.shape == (num_pairs, 2)
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert ((pairs >= 0) & (pairs < num_segments)).all()
    assert len(unordered(pairs)) == num_pairs


@given(sizes(), st.integers(0, 999), st.data())
def test_more_pairs_begin_with_the_same(size, seed, data):
    num_segments, num_pairs = size
    fewer = data.draw(st.integers(0, num_pairs))
    some, more = (
        random_pairs(num_segments, n, np.random.default_rng(seed)) for n in (fewer, num_pairs)
    )
    np.testing.assert_array_equal(some, more[:fewer])


@pytest.mark.parametrize("num_pairs", [1, 3, 9])
def test_pairs_are_uniform(num_pairs):
    """Each of the 20 ordered pairs as often as any other, wherever it is drawn."""
    counts = np.zeros((num_pairs, 5, 5))
    repeats = 4000
    rng = np.random.default_rng(1)
    for _ in range(repeats):
        pairs = random_pairs(5, num_pairs, rng)
        counts[np.arange(num_pairs), pairs[:, 0], pairs[:, 1]] += 1
    off_diagonal = ~np.eye(5, dtype=bool)
    assert (counts[:, ~off_diagonal] == 0).all()
    expected = repeats / 20
    chi_squared = ((counts[:, off_diagonal] - expected) ** 2 / expected).sum(axis=1)
    assert (chi_squared < 50).all()  # 19 degrees of freedom: p = 1e-4


def test_all_pairs_there_are():
    pairs = random_pairs(30, 435, np.random.default_rng(0))
    assert len(unordered(pairs)) == 435


@pytest.mark.parametrize("num_segments, possible", [(0, 0), (1, 0), (2, 1), (5, 10)])
def test_too_many_pairs(num_segments, possible):
    with pytest.raises(UserError, match=f"{num_segments} segments make only {possible};"):
        random_pairs(num_segments, possible + 1, np.random.default_rng(0))
    assert len(random_pairs(num_segments, possible, np.random.default_rng(0))) == possible


def test_uniform_queries_are_random_pairs():
    queries = select_queries("uniform", segments(6), 8, np.random.default_rng(3))
    pairs = random_pairs(6, 8, np.random.default_rng(3))
    np.testing.assert_array_equal(np.stack([queries.first, queries.second], axis=1), pairs)


def chosen(selection, opinions, num_queries, num_candidates=None, seed=0):
    """Pairs chosen among four segments, and the candidates that were looked at, in their order.

    Args:
        opinions: from an unordered pair, each member's probability.
    """
    seen = []

    def predict(queries):
        seen.extend(zip(queries.first.tolist(), queries.second.tolist(), strict=True))
        return np.array([opinions[frozenset(pair)] for pair in seen]).T

    rng = np.random.default_rng(seed)
    queries = select_queries(selection, segments(4), num_queries, rng, num_candidates, predict)
    return list(zip(queries.first.tolist(), queries.second.tolist(), strict=True)), seen


OPINIONS = {  # standard deviation and mean of the members' probabilities
    frozenset({0, 1}): (0.5, 0.5),  # 0, 0.5: all are uncertain
    frozenset({0, 2}): (0.0, 1.0),  # 0.5, 0.5: each is sure
    frozenset({0, 3}): (0.2, 0.6),  # 0.2, 0.4
    frozenset({1, 2}): (0.9, 0.9),  # 0, 0.9
    frozenset({1, 3}): (0.3, 0.9),  # 0.3, 0.6
    frozenset({2, 3}): (0.1, 0.3),  # 0.1, 0.2
}


@pytest.mark.parametrize("seed", range(5))
def test_disagreement_takes_what_members_see_differently(seed):
    pairs, seen = chosen("disagreement", OPINIONS, 3, seed=seed)
    assert len(seen) == 6  # ten times as many as wanted are more than there are
    assert [set(pair) for pair in pairs] == [{0, 2}, {1, 3}, {0, 3}]


@pytest.mark.parametrize("seed", range(5))
def test_entropy_takes_what_is_least_certain_on_the_whole(seed):
    pairs, _ = chosen("entropy", OPINIONS, 5, seed=seed)
    sets = [set(pair) for pair in pairs]
    assert {frozenset(x) for x in sets[:2]} == {frozenset({0, 1}), frozenset({0, 2})}
    assert {frozenset(x) for x in sets[2:4]} == {frozenset({0, 3}), frozenset({1, 3})}
    assert sets[4] == {2, 3}


@pytest.mark.parametrize("selection", ["disagreement", "entropy"])
def test_only_candidates_are_chosen(selection):
    for seed in range(20):
        pairs, seen = chosen(selection, OPINIONS, 2, num_candidates=3, seed=seed)
        expected = random_pairs(4, 3, np.random.default_rng(seed)).tolist()
        assert [list(pair) for pair in seen] == expected
        assert set(pairs) <= set(seen)
        assert len(set(pairs)) == 2


def test_ten_candidates_for_each_query():
    shapes = []

    def predict(queries):
        shapes.append(len(queries))
        return np.zeros((3, len(queries)))

    for num_candidates in (None, 17, 10**6):
        select_queries(
            "entropy", segments(20), 4, np.random.default_rng(0), num_candidates, predict
        )
    assert shapes == [40, 17, 190]


def test_binary_entropy_by_hand():
    expected = [0, 0.5623351446188083, np.log(2), 0.5623351446188083, 0]
    np.testing.assert_allclose(
        binary_entropy(np.array([0, 0.25, 0.5, 0.75, 1])), expected, atol=1e-9
    )


def test_misuse():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="must be one of uniform, disagreement, entropy, not '1'"):
        select_queries("1", segments(4), 2, rng)
    with pytest.raises(ValueError, match="'entropy' needs an ensemble's predictions"):
        select_queries("entropy", segments(4), 2, rng)
    with pytest.raises(UserError, match="5 queries can't be chosen from 4 candidates"):
        select_queries("entropy", segments(4), 5, rng, 4, lambda queries: np.zeros((1, 4)))
    for selection in ("uniform", "disagreement"):
        with pytest.raises(UserError, match="7 pairs are wanted, but 4 segments make only 6"):
            select_queries(selection, segments(4), 7, rng, None, lambda q: np.zeros((2, len(q))))


def farthest_apart(candidates, probabilities, number):
    """By what is seen of the segments; no reward is asked."""
    assert probabilities.shape == (0, len(candidates))
    starts = candidates.segments.obs[:, 0, 0]
    return np.argsort(-np.abs(starts[candidates.first] - starts[candidates.second]))[:number]


def test_a_strategy_of_ones_own_sees_the_segments(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "far", Strategy(farthest_apart, min_members=0))
    pool = segments(6)
    queries = select_queries("far", pool, 2, np.random.default_rng(0))
    starts = pool.obs[:, 0, 0]
    assert {queries.first[0], queries.second[0]} == {starts.argmin(), starts.argmax()}


ADDED = """
import sys

from prefloop.query_strategies import STRATEGIES, Strategy

STRATEGIES["first"] = Strategy(lambda candidates, probabilities, number: range(number), min_members=3)
from prefloop.cli import main

for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit:
        pass
"""


def test_a_strategy_costs_one_entry(tmp_path):
    plain = "pairs --env CartPole-v1 --policies p --out q --queries"
    learning = "--env CartPole-v1 --out q --ensemble 2 --queries first"
    lines = [
        f"{plain} first",
        f"{plain} uniform --reward r",
        f"{plain} uniform --candidates 3",
        f"pref-ppo {learning}",
        f"pebble {learning}",
        f"pref-ppo {learning} --ensemble 3 --surf --surf_selection third",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", ADDED, *lines],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line.partition("error: ")[2] for line in ended.stderr.splitlines() if "error" in line]
    assert [error.replace("'", "") for error in errors] == [
        "--queries first needs --reward, an ensembles folder",
        "--reward is for --queries disagreement or entropy or first, not uniform",
        "--candidates does nothing with --queries uniform; give --queries disagreement or entropy or first",
        *2 * ["--queries first needs an --ensemble of 3 or more, not 2"],
        "argument --surf_selection: invalid choice: third (choose from uniform, disagreement, entropy, first)",
    ]


def test_people_are_not_asked_about_the_last_few_steps_where_there_is_more_to_see():
    lengths = np.array([46, 46, 1, 9, 10, 4, 12, 3])
    pool = random_segments(8, 46, np.random.default_rng(0), lengths=lengths)
    pool = dataclasses.replace(
        pool,
        first_step=np.array([9, 0, 80, 80, 80, 0, 5, 9]),  # the sixth is a whole episode
        policy=np.array([0, 0, 0, 0, 0, 0, 1, 1]),  # one that falls soon
    )
    assert worth_showing(pool, 10).lengths.tolist() == [46, 46, 10, 4, 12]
    assert worth_showing(pool, 11) is pool  # there are not so many pairs of them
    short = random_segments(3, 3, np.random.default_rng(0), lengths=np.array([3, 3, 2]))
    short = dataclasses.replace(short, first_step=np.array([1, 1, 1]))
    assert worth_showing(short, 1).lengths.tolist() == [3, 3]
