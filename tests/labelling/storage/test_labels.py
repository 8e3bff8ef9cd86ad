import uuid

import pytest
import sqlalchemy
from people import FACTS, RUN, SESSION, label_one, make_run
from standing import done_is_what_stands, ids, standing

from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.records import NewLabel, Said

OTHER_SESSION = uuid.UUID(int=2)


@pytest.mark.parametrize(("choice", "label"), [("tie", 0.5), ("skip", None)])
def test_ties_and_skips(store, choice, label):
    make_run(store)
    event = label_one(store, choice=choice)
    assert event.label == label
    assert event.kind == ("skip" if choice == "skip" else "answer")
    assert store.labels.current(RUN) == [event]


def test_an_answer_that_is_sent_again_is_stored_once(store, clock):
    make_run(store)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    id = uuid.uuid4()
    event = store.labels.answer(id, lease.id, "left", (1, 4), 2.5)
    clock.go(10_000)
    assert store.labels.answer(id, lease.id, "left", (1, 4), 2.5) == event
    for other in ({"choice": "right"}, {"trim": None}, {"seconds": 3.0}):
        with pytest.raises(ConflictError, match="stands for another answer"):
            store.labels.answer(
                **{"id": id, "lease": lease.id, "choice": "left", "trim": (1, 4), "seconds": 2.5}
                | other
            )
    assert store.labels.current(RUN) == [event]
    assert (event.trim, event.seconds, event.number) == ((1, 4), 2.5, 1)


def test_a_query_is_answered_once(store):
    make_run(store)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    store.labels.answer(uuid.uuid4(), lease.id, "left")
    with pytest.raises(ConflictError, match="answered this query already"):
        store.labels.answer(uuid.uuid4(), lease.id, "right")
    with pytest.raises(NotFoundError, match="no such lease"):
        store.labels.answer(uuid.uuid4(), uuid.uuid4(), "left")
    assert len(store.labels.current(RUN)) == 1


@pytest.mark.parametrize("trim", [(3, 3), (4, 3), (0, 6), (5, 6)])
def test_a_trim_outside_of_the_segments_is_refused(store, trim):
    make_run(store, length=5)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    with pytest.raises(ConflictError, match="not in segments of 5 and 5 steps"):
        store.labels.answer(uuid.uuid4(), lease.id, "left", trim)
    assert store.labels.current(RUN) == []


def test_undo_takes_back_the_last_and_asks_again(store):
    asked = make_run(store, num_queries=3)
    label_one(store)
    last = label_one(store, choice="skip")
    id = uuid.uuid4()
    back = store.labels.undo(id, RUN, "ada", SESSION)
    assert ids(back) == [asked[1]]
    assert store.labels.undo(id, RUN, "ada", SESSION) == back
    assert [event.query for event in store.labels.current(RUN)] == [asked[0]]
    assert store.runs.get(RUN).counts.left == 2
    # it is the annotator's alone
    assert ids(store.queue.lease(RUN, "bob", OTHER_SESSION, 8)) == [asked[2]]
    store.labels.answer(uuid.uuid4(), back.queries[0].id, "tie")
    numbers = [(event.number, event.kind, event.undoes) for event in store.labels.since(RUN).events]
    assert numbers == [
        (1, "answer", None),
        (2, "skip", None),
        (3, "undo", last.id),
        (4, "answer", None),
    ]
    assert [event.label for event in store.labels.current(RUN)][1] == 0.5
    assert done_is_what_stands(store)


@pytest.mark.parametrize("choice", ["left", "right", "tie", "skip"])
def test_an_undo_says_what_was_said(store, clock, choice):
    make_run(store, num_queries=1)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    assert lease.said is None
    trim = None if choice == "skip" else (1, 4)
    store.labels.answer(uuid.uuid4(), lease.id, choice, trim)
    id = uuid.uuid4()
    (back,) = store.labels.undo(id, RUN, "ada", SESSION).queries
    assert back.said == Said(choice, trim)
    assert store.labels.undo(id, RUN, "ada", SESSION).queries == [back]
    # to her alone, and also where the sides have changed places
    swapped = {"left": "right", "right": "left"}.get(choice, choice)
    for _ in range(8):
        clock.go(3600)
        (again,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
        same = again.left == back.left
        assert again.said == Said(choice if same else swapped, trim)
    clock.go(3600)
    (others,) = store.queue.lease(RUN, "bob", SESSION, 1).queries
    assert others.said is None


def test_what_was_said_last_is_what_an_undo_brings_back(store):
    make_run(store, num_queries=1)
    for choice in ("left", "tie"):
        label_one(store, choice=choice)
        (back,) = store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION).queries
        assert back.said == Said(choice, None)


def test_undo_goes_back_one_by_one_and_ends(store):
    make_run(store)
    label_one(store)
    label_one(store)
    label_one(store, annotator="bob")
    store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
    store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
    with pytest.raises(ConflictError, match="nothing to take back"):
        store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
    assert [event.annotator for event in store.labels.current(RUN)] == ["bob"]


def test_ids_of_answers_are_not_those_of_undos(store):
    make_run(store)
    event = label_one(store)
    with pytest.raises(ConflictError, match="stands for another"):
        store.labels.undo(event.id, RUN, "ada", SESSION)
    undo = uuid.uuid4()
    store.labels.undo(undo, RUN, "ada", SESSION)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    with pytest.raises(ConflictError, match="stands for another"):
        store.labels.answer(undo, lease.id, "left")


def test_labelling_again_keeps_the_old_labels_and_asks_everything(store):
    asked = make_run(store, num_queries=2, repeats=1.0)
    label_one(store)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    assert store.runs.label_again(RUN).round == 2
    with pytest.raises(ConflictError, match="begun a new round"):
        store.labels.answer(uuid.uuid4(), lease.id, "left")
    assert store.labels.current(RUN) == []
    assert store.labels.since(RUN).events == []
    with pytest.raises(ConflictError, match="nothing to take back"):
        store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
    assert ids(store.queue.lease(RUN, "ada", SESSION, 8)) == asked
    with store._database.reading() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM events")).scalar() == 1


def test_reading_on_from_a_cursor(store):
    make_run(store, num_queries=5)
    for _ in range(4):
        label_one(store)
    page = store.labels.since(RUN, limit=3)
    assert ([event.number for event in page.events], page.next, page.more) == ([1, 2, 3], 3, True)
    page = store.labels.since(RUN, page.next)
    assert ([event.number for event in page.events], page.next, page.more) == ([4], 4, False)
    assert store.labels.since(RUN, page.next).next == 4
    label_one(store)
    assert [event.number for event in store.labels.since(RUN, page.next).events] == [5]


def test_labels_from_elsewhere(store):
    asked = make_run(store, num_queries=2)
    new = [
        NewLabel(uuid.uuid4(), asked[0], "ada", 1.0, (0, 3), 2.0),
        NewLabel(uuid.uuid4(), asked[0], "bob", None, None, None),
    ]
    assert store.labels.add(RUN, new) == 2
    assert store.labels.add(RUN, new) == 0
    assert standing(store) == [("ada", asked[0], 1.0), ("bob", asked[0], None)]
    with pytest.raises(ConflictError, match="ada has labelled"):
        store.labels.add(RUN, [NewLabel(uuid.uuid4(), asked[0], "ada", 0.0, None, None)])
    with pytest.raises(ConflictError, match="does not have"):
        store.labels.add(RUN, [NewLabel(uuid.uuid4(), uuid.uuid4(), "ada", 0.0, None, None)])
    assert ids(store.queue.lease(RUN, "eve", SESSION, 8)) == asked[1:]
    assert done_is_what_stands(store)


def test_a_label_from_elsewhere_takes_nothing_from_whoever_looks_at_the_pair(store):
    (query,) = make_run(store, num_queries=1)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    store.labels.add(RUN, [NewLabel(uuid.uuid4(), query, "bob", 1.0, None, None)])
    assert store.queue.lease(RUN, "eve", SESSION, 1).queries == []
    store.labels.answer(uuid.uuid4(), lease.id, "tie")
    assert [event.annotator for event in store.labels.current(RUN)] == ["bob", "ada"]
    assert store.runs.get(RUN).counts.left == 0


def test_a_label_from_elsewhere_is_of_steps_that_there_are(store):
    (query,) = make_run(store, num_queries=1)
    for trim in ((100, 2_000_000_000), (4, 6)):
        with pytest.raises(ConflictError, match="not in segments of 5 and 5"):
            store.labels.add(RUN, [NewLabel(uuid.uuid4(), query, "x", 1.0, trim, None)])
    assert store.labels.add(RUN, [NewLabel(uuid.uuid4(), query, "x", 1.0, (1, 4), None)]) == 1


def test_the_reward_report_is_kept(store):
    store.runs.put(RUN, FACTS)
    store.runs.put_reward_report(RUN, {"accuracy": 0.9})
    assert store.runs.get(RUN).reward_report == {"accuracy": 0.9}


def test_an_undo_that_names_an_answer_takes_back_no_other(store):
    asked = make_run(store, num_queries=3)
    before = label_one(store)
    last = label_one(store)
    for other in (before.id, uuid.uuid4()):
        with pytest.raises(ConflictError, match="not your last answer"):
            store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION, undoes=other)
    assert len(store.labels.current(RUN)) == 2
    id = uuid.uuid4()
    back = store.labels.undo(id, RUN, "ada", SESSION, undoes=last.id)
    assert ids(back) == [asked[1]]
    # the same once more; the same id for another answer is a mistake
    assert store.labels.undo(id, RUN, "ada", SESSION, undoes=last.id) == back
    with pytest.raises(ConflictError, match="stands for another"):
        store.labels.undo(id, RUN, "ada", SESSION, undoes=before.id)
    assert [event.id for event in store.labels.current(RUN)] == [before.id]
    assert done_is_what_stands(store)
