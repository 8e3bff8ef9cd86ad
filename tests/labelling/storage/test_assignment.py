"""Which pairs participants of a study are given, from the store itself and on both databases."""

import uuid
from collections import Counter

import pytest
from people import RUN, Clock, label_one, make_run, make_segment
from standing import done_is_what_stands

from prefloop.labelling.server.storage.records import NewLink, NewQuery
from prefloop.labelling.server.storage.store import Store

ABOUT = {"code": "", "pairs": None, "block": None, "answers_per_pair": None, "one_device": False, "checks_every": 10}  # fmt: skip
SESSION, ELSEWHERE = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url, clock):
    store = Store(database_url, clock)
    yield store
    store.close()


def make_study(store, people, **about):
    """Who takes part, by id."""
    links = [NewLink(f"{i:02}", f"{i:064}") for i in range(people)]
    shown = about.pop("shown", {"pairs": [RUN]})
    study = store.studies.put("pilot", {**ABOUT, **about}, shown, links, None)
    return study.participants


def answer(store, person, session=SESSION):
    """Has somebody answer their next pair; the event, or None where nothing is given."""
    given = store.assignment.lease(person.id, session, 1).queries
    if not given:
        return None
    return store.labels.answer(uuid.uuid4(), given[0].id, "left", by=person.annotator)


def test_the_fewest_answers_come_first_among_many(store):
    make_run(store, num_queries=120)
    people = make_study(store, 6, pairs=40, answers_per_pair=2)
    said = [answer(store, person) for person in people[:3] for _ in range(40)]
    assert len({event.query for event in said}) == 120, "each has one before any has two"
    said += [answer(store, person) for person in people[3:] for _ in range(40)]
    assert set(Counter(event.query for event in said).values()) == {2}
    assert len({(event.query, event.annotator) for event in said}) == 240
    assert done_is_what_stands(store) and answer(store, people[0]) is None


def test_no_order_of_ids_is_the_order_of_all(store):
    make_run(store, num_queries=1)
    (first, second) = store.segments.add(RUN, [make_segment(i) for i in (100, 101)])
    ids = [uuid.UUID(int=i) for i in range(1, 201)]
    store.queue.add(RUN, [NewQuery(id, first, second) for id in ids], iteration=0)
    people = make_study(store, 30, answers_per_pair=30)
    given = [store.assignment.lease(person.id, SESSION, 1).queries[0].query for person in people]
    assert len(set(given)) > 15
    assert any(id.int <= 100 for id in given) and any(100 < id.int <= 200 for id in given)


def test_the_last_that_are_free_are_found_behind_many_that_are_not(store):
    asked = make_run(store, num_queries=80)
    people = make_study(store, 10)
    given = [
        one for person in people for one in store.assignment.lease(person.id, SESSION, 8).queries
    ]
    assert sorted(one.query for one in given) == sorted(asked)
    assert store.assignment.lease(people[0].id, ELSEWHERE, 8).state == "queries", "their own"
    store.assignment.release(people[1].id, SESSION, {one.id: one.expires_at for one in given[8:16]})
    (free,) = store.assignment.lease(people[2].id, ELSEWHERE, 1, holding=[]).queries
    assert free.query in {one.query for one in given[8:16]}


def test_sides_are_balanced(store):
    make_run(store, num_queries=6)
    people = make_study(store, 4, answers_per_pair=4)
    said = [answer(store, person) for _ in range(6) for person in people]
    lefts = Counter(event.query for event in said if event.first_was_left)
    assert set(lefts.values()) == {2} and len(lefts) == 6


def test_one_alone_has_sides_in_turn(store):
    make_run(store, num_queries=9)
    (ada,) = make_study(store, 1)
    first, *given = store.assignment.lease(ada.id, SESSION, 5).queries
    assert len(given) == 4
    said = [store.labels.answer(uuid.uuid4(), first.id, "left", by=ada.annotator)]
    said += [store.labels.answer(uuid.uuid4(), one.id, "left", by=ada.annotator) for one in given]
    said += [answer(store, ada) for _ in range(4)]
    assert abs(sum(1 if event.first_was_left else -1 for event in said)) == 1


def test_a_pair_that_is_asked_again_comes_with_what_was_said(store):
    make_run(store, num_queries=1)
    (ada,) = make_study(store, 1)
    event = answer(store, ada)
    (again,) = store.labels.undo(uuid.uuid4(), RUN, ada.annotator, SESSION, by_link=True).queries
    assert (again.query, again.said.choice) == (event.query, "left")
    for session in (SESSION, ELSEWHERE):  # the same page, which did not hear of it, and another one
        (same,) = store.assignment.lease(ada.id, session, 1).queries
        assert (same.id, same.said) == (again.id, again.said)


def test_nothing_is_left_of_a_study_whose_run_was_deleted(store):
    make_run(store)
    (ada,) = make_study(store, 1, pairs=3)
    store.runs.delete(RUN)
    assert store.assignment.lease(ada.id, SESSION, 1).state == "finished"


def test_a_check_whose_time_ran_out_comes_again(store, clock):
    make_run(store)
    (check,) = make_run(store, "checks", num_queries=1)
    label_one(store, "checks", "researcher")
    (ada,) = make_study(store, 1, checks_every=2, shown={"pairs": [RUN], "checks": ["checks"]})
    assert answer(store, ada).query != check
    for _ in range(3):
        (given,) = store.assignment.lease(ada.id, SESSION, 1).queries
        assert given.query == check
        clock.go(3600)  # lunch
    assert store.runs.get("checks").counts.left == 1
    store.studies.close("pilot")
    counts = store.runs.get("checks").counts
    assert (counts.left, counts.labels) == (0, 1)
    store.studies.close("pilot", False)
    assert answer(store, ada).query == check
    rest = [answer(store, ada) for _ in range(4)]
    assert check not in {event.query for event in rest if event} and rest[-1] is None
    assert done_is_what_stands(store) and store.runs.get("checks").counts.left == 0
