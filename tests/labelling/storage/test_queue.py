import uuid

import pytest
from people import RUN, SESSION, label_one, make_run
from standing import done_is_what_stands, ids

from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.queue import REPEAT_AFTER

OTHER_SESSION = uuid.UUID(int=2)


def test_nobody_gets_what_another_has(store):
    asked = make_run(store, num_queries=4)
    assert ids(store.queue.lease(RUN, "ada", SESSION, 2)) == asked[:2]
    second = store.queue.lease(RUN, "bob", OTHER_SESSION, 8)
    assert (ids(second), second.left_over, second.state) == (asked[2:], None, "queries")
    third = store.queue.lease(RUN, "eve", uuid.uuid4(), 1)
    assert (third.queries, third.left_over, third.state) == ([], 4, "waiting")
    # but where nothing else is free, one's own: the window that had it may have been closed
    window = uuid.uuid4()
    taken = store.queue.lease(RUN, "ada", window, 1)
    assert ids(taken) == asked[:1]
    store.labels.answer(uuid.uuid4(), taken.queries[0].id, "tie")
    assert ids(store.queue.lease(RUN, "ada", window, 8)) == asked[1:2]


def test_a_reply_that_never_arrived_is_given_again(store):
    asked = make_run(store, num_queries=4)
    lost = store.queue.lease(RUN, "ada", SESSION, 2)
    again = store.queue.lease(RUN, "ada", SESSION, 2)
    assert ids(again) == ids(lost) == asked[:2]
    assert [lease.left for lease in again.queries] == [lease.left for lease in lost.queries]
    more = store.queue.lease(RUN, "ada", SESSION, 2, holding=[lease.id for lease in again.queries])
    assert ids(more) == asked[2:]


def test_a_lease_runs_out(store, clock):
    asked = make_run(store, num_queries=1)
    given = store.queue.lease(RUN, "ada", SESSION, 1, seconds=60)
    clock.go(59)
    assert store.queue.lease(RUN, "bob", OTHER_SESSION, 1).state == "waiting"
    clock.go(1)
    taken = store.queue.lease(RUN, "bob", OTHER_SESSION, 1, seconds=60)
    assert ids(taken) == asked
    with pytest.raises(ConflictError, match="somebody else has it now"):
        store.labels.answer(uuid.uuid4(), given.queries[0].id, "left")
    clock.go(61)  # bob's has run out too
    late = store.labels.answer(uuid.uuid4(), given.queries[0].id, "left")
    assert (late.annotator, late.query) == ("ada", asked[0])
    with pytest.raises(ConflictError, match="somebody else has it now"):
        store.labels.answer(uuid.uuid4(), taken.queries[0].id, "left")
    assert len(store.labels.current(RUN)) == 1
    assert store.queue.lease(RUN, "bob", OTHER_SESSION, 1).state == "finished"


def test_several_annotators_where_they_are_wanted(store, clock):
    asked = make_run(store, num_queries=1, annotators_per_query=2)
    ada = store.queue.lease(RUN, "ada", SESSION, 1)
    assert ids(store.queue.lease(RUN, "bob", OTHER_SESSION, 1)) == asked
    assert store.queue.lease(RUN, "eve", uuid.uuid4(), 1).state == "waiting"
    store.labels.answer(uuid.uuid4(), ada.queries[0].id, "left")
    # never again to one who has answered
    assert store.queue.lease(RUN, "ada", SESSION, 1).state == "finished"
    clock.go(1000)
    assert ids(store.queue.lease(RUN, "eve", uuid.uuid4(), 1)) == asked


def test_a_limit_of_labels_for_each_annotator(store):
    make_run(store, num_queries=4)
    first = store.queue.lease(RUN, "ada", SESSION, 8, max_labels=2)
    assert len(first.queries) == 2
    for lease in first.queries:
        store.labels.answer(uuid.uuid4(), lease.id, "skip")
    after = store.queue.lease(RUN, "ada", SESSION, 1, max_labels=2)
    assert (after.queries, after.state, after.left_over) == ([], "finished", 2)
    assert len(store.queue.lease(RUN, "bob", OTHER_SESSION, 8, max_labels=2).queries) == 2


def test_a_limit_lets_a_page_that_was_opened_again_have_its_pairs(store):
    make_run(store, num_queries=20)
    held = store.queue.lease(RUN, "ada", SESSION, 4, max_labels=6).queries
    for lease in held[:2]:
        store.labels.answer(uuid.uuid4(), lease.id, "left")
    store.queue.lease(RUN, "ada", SESSION, 2, [lease.id for lease in held], max_labels=6)
    again = store.queue.lease(RUN, "ada", OTHER_SESSION, 8, max_labels=6)
    assert len(again.queries) == 4
    for lease in again.queries:
        store.labels.answer(uuid.uuid4(), lease.id, "left")
    assert store.queue.lease(RUN, "ada", OTHER_SESSION, 8, max_labels=6).state == "finished"


def test_sides_are_shuffled_and_remembered(store):
    asked = make_run(store, num_queries=40)
    queries = store.export(RUN).queries
    lefts = 0
    for query in asked:
        (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
        first = queries[query][0]
        assert {lease.left.segment, lease.right.segment} == set(queries[query][:2])
        first_is_left = lease.left.segment == first
        lefts += first_is_left
        event = store.labels.answer(uuid.uuid4(), lease.id, "left")
        # the label is of first and second, whatever was left
        assert event.label == (0 if first_is_left else 1)
        assert event.first_was_left == first_is_left
    assert 10 < lefts < 30


def test_a_share_of_repeats(store):
    asked = make_run(store, num_queries=20, repeats=1.0)
    events = []
    while event := label_one(store):
        events.append(event)
    again = [event for event in events if event.repeat]
    # every query that was answered long enough before the last
    assert len(again) >= 20 - REPEAT_AFTER
    assert len({event.query for event in again}) == len(again)
    assert {event.query for event in events if not event.repeat} == set(asked)
    for place, event in enumerate(events):
        if event.repeat:
            before = [i for i, other in enumerate(events[:place]) if other.query == event.query]
            assert len(before) == 1
            assert place - before[0] > REPEAT_AFTER
    counts = store.runs.get(RUN).counts
    assert (counts.queries, counts.answered, counts.labels) == (20, 20, 20)
    assert done_is_what_stands(store)


def test_a_short_run_has_its_share_of_repeats_too(store):
    make_run(store, num_queries=12, repeats=0.25, annotators_per_query=2)
    for annotator in ("ada", "bob"):
        events = []
        while event := label_one(store, annotator=annotator):
            events.append(event)
        assert sum(event.repeat for event in events) == 3


def known(held):
    return {lease.id: lease.expires_at for lease in held}


def test_what_a_closed_page_gives_back_is_free_at_once(store, clock):
    asked = make_run(store, num_queries=3)
    held = store.queue.lease(RUN, "ada", SESSION, 3).queries
    assert store.queue.lease(RUN, "bob", OTHER_SESSION, 3).state == "waiting"
    # nobody gives back what others hold
    for who, session in (("bob", SESSION), ("ada", OTHER_SESSION)):
        store.queue.release(RUN, who, session, known(held))
    assert store.queue.lease(RUN, "bob", OTHER_SESSION, 3).state == "waiting"
    # nor what a page holds that was loaded anew meanwhile
    clock.go(1)
    again = store.queue.lease(RUN, "ada", SESSION, 3).queries
    store.queue.release(RUN, "ada", SESSION, known(held))
    assert store.queue.lease(RUN, "bob", OTHER_SESSION, 3).state == "waiting"
    store.queue.release(RUN, "ada", SESSION, known(again[1:]))
    assert ids(store.queue.lease(RUN, "bob", OTHER_SESSION, 3)) == asked[1:]
    assert store.labels.answer(uuid.uuid4(), held[0].id, "left").number == 1
    with pytest.raises(ConflictError, match="somebody else has it"):
        store.labels.answer(uuid.uuid4(), held[1].id, "left")
    with pytest.raises(NotFoundError):
        store.queue.release("missing", "ada", SESSION, {})


def test_repeats_are_asked_of_the_same_annotator_only(store):
    make_run(store, num_queries=30, repeats=0.5)
    for _ in range(15):
        label_one(store, annotator="ada")
    while event := label_one(store, annotator="bob"):
        if event.repeat:
            own = [e for e in store.labels.current(RUN) if e.query == event.query and not e.repeat]
            assert [e.annotator for e in own] == ["bob"]


def test_the_sides_of_a_runs_queries(store):
    asked = make_run(store, num_queries=2)
    others = make_run(store, "other", num_queries=1)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    store.segments.set_clip(lease.left.segment, "d" * 64, sent=True)
    shown = store.queue.sides(RUN, [asked[0], *others, uuid.uuid4()])
    assert list(shown) == [asked[0]]
    assert {side.segment for side in shown[asked[0]]} == {lease.left.segment, lease.right.segment}
    assert {side.clip for side in shown[asked[0]]} == {"d" * 64, None}
    assert store.queue.sides(RUN, []) == {}
    with pytest.raises(NotFoundError):
        store.queue.sides("missing", asked)


def test_a_clock_that_is_set_back_keeps_no_pair(store, clock):
    asked = make_run(store, num_queries=1)
    (given,) = store.queue.lease(RUN, "ada", SESSION, 1, seconds=300).queries
    clock.go(-30)  # as clocks of servers differ that share a database
    assert store.queue.lease(RUN, "bob", OTHER_SESSION, 1).state == "waiting"
    clock.go(-7200)
    taken = store.queue.lease(RUN, "bob", OTHER_SESSION, 1, seconds=300)
    assert ids(taken) == asked
    with pytest.raises(ConflictError, match="somebody else has it now"):
        store.labels.answer(uuid.uuid4(), given.id, "left")
    assert store.labels.answer(uuid.uuid4(), taken.queries[0].id, "right").annotator == "bob"
    # set right again, ada's time has not run out, but her pair is labelled
    clock.go(7230)
    with pytest.raises(ConflictError, match="somebody else has it now"):
        store.labels.answer(uuid.uuid4(), given.id, "left")
    assert done_is_what_stands(store) and len(store.labels.current(RUN)) == 1


def test_a_clock_that_is_set_back_lets_whoever_holds_a_pair_answer(store, clock):
    make_run(store, num_queries=1)
    (given,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    clock.go(-7200)
    assert store.labels.answer(uuid.uuid4(), given.id, "left").annotator == "ada"


def test_a_pair_that_was_given_again_is_not_kept_by_a_clock_either(store, clock):
    asked = make_run(store, num_queries=2)
    store.queue.lease(RUN, "ada", SESSION, 2, seconds=7200)
    clock.go(3600)
    # the page was loaded anew, and has the same in the same order
    for _ in range(2):
        assert ids(store.queue.lease(RUN, "ada", SESSION, 2, seconds=7200)) == asked
    clock.go(-1800)
    assert ids(store.queue.lease(RUN, "bob", OTHER_SESSION, 2)) == asked
