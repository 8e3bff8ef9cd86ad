import math
import random
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefloop.labelling.server.doubts import doubts
from prefloop.labelling.server.results import (
    MAX_CURVES,
    MAX_POINTS,
    Alpha,
    Seconds,
    Share,
    cohens_kappa,
    krippendorffs_alpha,
    results,
)
from prefloop.labelling.server.storage.records import Event

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
LABELS = st.sampled_from((0.0, 0.5, 1.0))
QUERIES = [uuid.UUID(int=i) for i in range(1000)]


def make_events(*said):
    """Events from (annotator, query, label) and, optionally, what else is to be said of each."""
    events = []
    for number, (annotator, query, label, *more) in enumerate(said, 1):
        facts = {"repeat": False, "first_was_left": True, "seconds": None} | (
            more[0] if more else {}
        )
        kind = "skip" if label is None else "answer"
        events.append(
            Event(
                id=uuid.uuid4(), number=number, query=QUERIES[query], annotator=annotator,
                kind=kind, label=label, trim=None, undoes=None,
                created_at=START + timedelta(seconds=number), **facts,
            )
        )  # fmt: skip
    return events


def test_nothing_yet():
    found = results([])
    assert (found.over_time, found.annotators, found.pairs) == ([], [], [])
    assert found.agreement == found.consistency == Share(0, None)


def test_agreement_by_hand():
    found = results(
        make_events(
            ("ada", 0, 0), ("ada", 1, 1), ("ada", 2, 0.5), ("ada", 3, 0), ("ada", 4, None),
            ("bob", 0, 0), ("bob", 1, 0), ("bob", 2, 0.5), ("bob", 4, 1), ("eve", 3, 1),
        )
    )  # fmt: skip
    assert {pair.annotators: (pair.n, pair.share) for pair in found.pairs} == {
        ("ada", "bob"): (3, 2 / 3),
        ("ada", "eve"): (1, 0),
    }
    assert found.agreement == Share(4, 0.5)
    ada = found.annotators[0]
    assert (ada.answers, ada.ties, ada.skips) == (4, 1, 1)


def test_cohens_kappa_by_hand():
    # Cohen's own layout: 20 and 15 agree, 5 and 10 do not; chance agrees on half
    pairs = [(0.0, 0.0)] * 20 + [(0.0, 1.0)] * 5 + [(1.0, 0.0)] * 10 + [(1.0, 1.0)] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([(0.0, 0.0)] * 3) is None
    assert cohens_kappa([]) is None
    assert cohens_kappa([(0.0, 1.0), (1.0, 0.0)]) == -1


def test_krippendorffs_alpha_by_hand():
    # Krippendorff 2011, example A: Meg and Owen contradict each other in 4 of 10; of the 20 answers 14 are
    # one thing and 6 the other, so alpha is 1 - 19 * 4 / (14 * 6)
    meg, owen = (dict(enumerate(map(float, said))) for said in ("0100000010", "1110010000"))
    assert krippendorffs_alpha([meg, owen]) == Alpha(20, pytest.approx(0.095, abs=5e-4))
    # 3 first, 2 ties, 3 second; a tie is ((3 + 2) / 2)^2 from either, and they are (3 / 2 + 2 + 3 / 2)^2
    # from each other. Observed: 4 * 6.25. By chance: 2 * (2 * 6.25 * 3 * 2 + 25 * 3 * 3) / 7
    one, other = {0: 0.0, 1: 1.0, 2: 0.5, 3: 0.5}, {0: 0.0, 1: 1.0, 2: 0.0, 3: 1.0}
    assert krippendorffs_alpha([one, other]).value == pytest.approx(1 - 25 / (600 / 7))
    # who answered a query alone says nothing of agreement, and neither does a side that has another name
    assert krippendorffs_alpha([{**one, 7: 1.0}, other, {8: 0.0}]).value == pytest.approx(17 / 24)
    turned = [{query: 1 - label for query, label in said.items()} for said in (one, other)]
    assert krippendorffs_alpha(turned).value == pytest.approx(17 / 24)
    # an import may hold labels that no page gives
    assert krippendorffs_alpha([{0: 0.2, 1: 0.7}, {0: 0.1, 1: 1.0}]) == Alpha(4, 1.0)


@pytest.mark.parametrize(
    ("said", "n"),
    [
        ([], 0),
        ([{0: 0.0, 1: 1.0}], 0),
        ([{0: 0.0}, {1: 1.0}], 0),
        ([{0: 0.5, 1: 0.5, 2: 1.0}, {0: 0.5, 1: 0.5}], 4),
    ],
)
def test_alpha_is_not_defined_without_overlap_or_where_all_say_the_same(said, n):
    assert krippendorffs_alpha(said) == Alpha(n, None)


@given(st.lists(st.tuples(LABELS, LABELS, LABELS), min_size=2, max_size=30))
def test_alpha_does_not_care_who_is_who_nor_which_side_is_first(answers):
    people = [{query: one[i] for query, one in enumerate(answers)} for i in range(3)]
    alpha = krippendorffs_alpha(people).value
    turned = krippendorffs_alpha([{q: 1 - x for q, x in one.items()} for one in people[::-1]]).value
    assert turned == (None if alpha is None else pytest.approx(alpha))
    assert alpha is None or alpha <= 1 + 1e-12


def test_alpha_leaves_out_skips_and_repeats():
    found = results(
        make_events(
            ("ada", 0, 0), ("ada", 1, 1), ("ada", 2, 1), ("bob", 0, 0), ("bob", 1, 1),
            ("bob", 2, None), ("ada", 0, 1, {"repeat": True}),
        )
    )  # fmt: skip
    assert found.alpha == Alpha(4, 1.0)


def test_agreement_is_that_of_those_who_count():
    said = make_events(
        ("ada", 0, 0), ("ada", 1, 1), ("bob", 0, 0), ("bob", 1, 1), ("eve", 0, 1), ("eve", 1, 0)
    )  # fmt: skip
    assert results(said).alpha.value < 0
    found = results(said, excluded=["eve"])
    assert found.alpha == Alpha(4, 1.0) and found.agreement.share == 1.0


def test_consistency_counts_repeats_only():
    repeat = {"repeat": True}
    found = results(
        make_events(
            ("ada", 0, 0), ("ada", 1, 1), ("ada", 2, 1), ("bob", 5, 0),
            ("ada", 0, 0, repeat), ("ada", 1, 0, repeat), ("ada", 2, None, repeat),
        )
    )  # fmt: skip
    assert found.consistency == Share(2, 0.5) == found.annotators[0].consistency
    assert found.annotators[1].consistency == Share(0, None)
    assert found.agreement.n == 0


def test_sides_and_seconds():
    right = {"first_was_left": False, "seconds": 3.0}
    found = results(
        make_events(
            ("ada", 0, 0, {"seconds": 1.0}), ("ada", 1, 1, right), ("ada", 2, 0, right), ("ada", 3, 0.5),
        )
    )  # fmt: skip
    # left was chosen in the first two, right in the third
    assert found.annotators[0].chose_left == pytest.approx(2 / 3)
    assert found.seconds == found.annotators[0].seconds == Seconds(3, 1.4, 3.0, 3.0)


def test_seconds_are_told_by_their_quantiles():
    def seconds(*known):
        events = make_events(*(("ada", i, 0, {"seconds": s}) for i, s in enumerate(known)))
        return results(events).seconds

    assert seconds() == seconds(None) == Seconds(0, None, None, None)
    assert seconds(None, 4.0) == Seconds(1, 4.0, 4.0, 4.0)
    assert seconds(*map(float, range(11))) == Seconds(11, 1.0, 5.0, 9.0)


def test_those_who_labelled_most_have_curves_of_their_own():
    alone = make_events(("ada", 0, 0), ("ada", 1, 0))
    assert results(alone).curves == []
    names = [f"annotator {i}" for i in range(MAX_CURVES + 1)]
    said = [(name, query, 0) for query, name in enumerate([*names[1:], *names[1:], names[0]])]
    curves = results(make_events(*said)).curves
    assert [curve.annotator for curve in curves] == names[1:]
    assert [(point.time, point.labels) for point in curves[0].points] == [
        (START + timedelta(seconds=1), 1),
        (START + timedelta(seconds=1 + MAX_CURVES), 2),
    ]


@pytest.mark.parametrize("n", [1, 2, MAX_POINTS, MAX_POINTS + 1, 999])
def test_over_time_ends_with_all_labels(n):
    points = results(make_events(*(("ada", i, 0) for i in range(n)))).over_time
    assert len(points) <= MAX_POINTS + 1
    assert points[-1].labels == n
    assert points[-1].time == START + timedelta(seconds=n)
    assert [point.labels for point in points] == sorted({point.labels for point in points})


def alone(*said):
    """Doubts about one annotator, from what is said of each label."""
    (annotator,) = results(
        make_events(*(("ada", i, *one) for i, one in enumerate(said)))
    ).annotators
    return {doubt.kind: doubt for doubt in annotator.doubts}


LEFT, RIGHT = (0,), (1,)  # the first is shown left


@pytest.mark.parametrize(
    ("lefts", "rights", "side"),
    [
        (11, 0, None),
        (12, 0, "left"),
        (0, 12, "right"),
        (37, 6, None),
        (38, 5, "left"),
        (20, 20, None),
    ],
)
def test_who_nearly_always_prefers_one_side_is_doubted(lefts, rights, side):
    found = alone(*[LEFT] * lefts, *[RIGHT] * rights, (0.5,), (None,))  # ties and skips have none
    if side is None:
        assert found == {}
    else:
        doubt = found["one-side"]
        assert (doubt.side, doubt.count, doubt.n) == (side, max(lefts, rights), lefts + rights)
        assert 0.75 < doubt.low < doubt.count / doubt.n <= doubt.high + 1e-9


@pytest.mark.parametrize(
    ("quick", "slow", "doubted"), [(3, 0, False), (4, 0, True), (31, 19, False), (32, 18, True)]
)
def test_who_answers_before_anybody_could_look_is_doubted(quick, slow, doubted):
    took = [0.2] * quick + [0.5] * slow
    found = alone(*((i % 2, {"seconds": seconds}) for i, seconds in enumerate(took)), LEFT)
    assert ("hasty" in found) == doubted
    if doubted:
        assert (found["hasty"].count, found["hasty"].n) == (quick, quick + slow)


@pytest.mark.parametrize(
    ("alike", "other", "doubted"),
    [(0, 3, False), (0, 4, True), (3, 7, False), (2, 8, True), (9, 13, True), (9, 1, False)],
)
def test_who_contradicts_themselves_is_doubted(alike, other, doubted):
    n = alike + other
    events = make_events(
        *(("ada", i, i % 2) for i in range(n)),
        *(("ada", i, i % 2 if i < alike else 1 - i % 2, {"repeat": True}) for i in range(n)),
    )
    (ada,) = results(events).annotators
    assert [doubt.kind for doubt in ada.doubts] == ["unsteady"] * doubted
    if doubted:
        assert (ada.doubts[0].count, ada.doubts[0].n) == (alike, n)
        assert ada.doubts[0].high < 0.75


def test_whoever_answers_at_random_sides_and_at_leisure_is_hardly_ever_doubted():
    rng = random.Random(0)
    marked = 0
    for _ in range(200):
        said = [(rng.choice([0, 1]), {"seconds": rng.uniform(0.6, 4)}) for _ in range(60)]
        marked += bool(alone(*said))
    assert marked == 0


def apart(said, **more):
    """Who is doubted for being apart: (answers that say what is clear, clear pairs).

    Args:
        said: of each query in turn, by name.
    """
    labels = [
        (name, i, label, {"first_was_left": i % 2 == 0})
        for name, said in said.items()
        for i, label in enumerate(said)
    ]
    found = doubts(make_events(*labels), **more)
    return {
        name: (doubt.count, doubt.n)
        for name, about in found.items()
        for doubt in about
        if doubt.kind == "apart"
    }


OTHERS = {"ada": [0] * 10, "bob": [0] * 10, "cleo": [0] * 10}


@pytest.mark.parametrize(("alike", "doubted"), [(5, True), (6, False), (10, False)])
def test_who_says_something_else_of_clear_pairs_is_doubted(alike, doubted):
    eve = [0] * alike + [1] * (10 - alike)
    assert apart({**OTHERS, "eve": eve}) == ({"eve": (alike, 10)} if doubted else {})
    # what is a tie or skipped, and what others are at odds about, says nothing
    more = {"ada": 0, "bob": 1, "cleo": 0, "eve": 1}
    said = {name: [*said, more[name]] for name, said in {**OTHERS, "eve": eve}.items()}
    said["eve"] += [0.5, None]
    said["ada"], said["bob"] = said["ada"] + [1, 1], said["bob"] + [1, 1]
    assert apart(said) == ({"eve": (alike, 10)} if doubted else {})


def test_one_other_makes_no_pair_clear():
    assert apart({"ada": [0] * 10, "eve": [1] * 10}) == {}


def test_whose_answers_are_left_out_makes_nothing_clear_and_is_judged_all_the_same():
    said = {"ada": [0] * 10, "bob": [0] * 10, "cleo": [0] * 10, "dan": [1] * 10, "eve": [1] * 10}
    assert apart(said) == {}  # three of five
    assert apart(said, excluded=["dan", "eve"]) == {"dan": (0, 10), "eve": (0, 10)}


def test_behind_one_who_is_told_another_is_found():
    """With dan among the others no pair is clear for eve, but those whose answer is known."""
    right = {QUERIES[i]: 0.0 for i in range(10)}
    said = {"ada": [0] * 30, "bob": [0] * 30, "eve": [0] * 10 + [1, 1, 1, 0] * 5}
    assert apart({**said, "dan": [1] * 30}, known=right) == {"dan": (0, 30), "eve": (15, 30)}
    said["eve"] = [0] * 30
    assert apart({**said, "dan": [1] * 30}, known=right) == {"dan": (0, 30)}


def test_answers_that_are_known_come_before_what_others_say():
    right = {QUERIES[i]: 0.0 for i in range(10)}
    said = {"ada": [0] * 10, "bob": [0] * 10, "cleo": [0] * 10, "eve": [1] * 10}
    assert apart({**said, "dan": [0] * 10}, known=right) == {"eve": (0, 10)}
    assert apart({name: said[name] for name in ("ada", "bob", "eve")}, known=right) == {
        "eve": (0, 10)
    }


def test_nobody_is_apart_in_a_crowd_that_is_divided():
    rng = random.Random(0)
    for _ in range(20):
        assert apart({str(i): [rng.choice([0, 1]) for _ in range(60)] for i in range(6)}) == {}


def study(rng, careless):
    """Labels of twenty people, 40 pairs each of 160 and four of them again; the first few throw coins, the others err as people do.

    Close pairs are answered by chance, others rightly, and one in ten without looking.
    """
    how_clear = [abs(rng.gauss(0, 1)) for _ in range(160)]
    labels = []
    for person in range(20):
        # each pair goes to five people
        asked = [(person * 40 + 41 * i) % 160 for i in range(40)]
        for i, query in enumerate([*asked, *asked[:4]]):
            looks = person >= careless and rng.random() > 0.1
            right = 1 / (1 + math.exp(-6 * how_clear[query])) if looks else 0.5
            said = 1 if rng.random() < right else 0
            label = said if query % 2 else 1 - said
            labels.append(
                (person, query, label, {"repeat": i >= 40, "first_was_left": rng.random() < 0.5})
            )
    return make_events(*labels)


def test_in_studies_the_careless_are_marked_and_who_errs_as_people_do_is_not():
    rng = random.Random(0)
    found, wrongly = 0, 0
    for _ in range(50):
        about = doubts(study(rng, careless=4))
        found += sum(bool(about[person]) for person in range(4))
        wrongly += sum(bool(about[person]) for person in range(4, 20))
    assert found > 0.9 * 50 * 4
    assert wrongly < 0.01 * 50 * 16
