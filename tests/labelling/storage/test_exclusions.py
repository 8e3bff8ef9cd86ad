"""What somebody said who is left out is asked again, of others; on both databases."""

import uuid

import pytest
import sqlalchemy
from people import RUN, SESSION, label_one, make_run
from standing import done_is_what_stands, ids, standing

from prefloop.labelling.server.storage.store import Store


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    yield store
    store.close()


def counts(store):
    found = store.runs.get(RUN).counts
    return found.answered, found.skipped, found.left, found.labels


def test_others_are_asked_and_what_they_said_stays(store):
    asked = make_run(store, num_queries=3)
    label_one(store, choice="skip")
    for _ in range(2):
        label_one(store)
    assert counts(store) == (2, 1, 0, 3) and label_one(store, annotator="bob") is None
    store.runs.exclude(RUN, "ada")
    assert counts(store) == (0, 0, 3, 3) and done_is_what_stands(store)
    assert store.queue.lease(RUN, "ada", SESSION, 3).state == "finished", "she has answered all"
    assert [label_one(store, annotator="bob").query for _ in range(2)] == asked[:2]
    (open_one,) = store.queue.lease(RUN, "bob", SESSION, 1).queries
    store.runs.exclude(RUN, "ada", False)
    assert counts(store) == (3, 0, 1, 5) and done_is_what_stands(store)
    assert store.labels.answer(uuid.uuid4(), open_one.id, "left"), "what he has before him is his"
    assert counts(store) == (3, 0, 0, 6) and len(standing(store)) == 6
    for _ in range(2):  # as often as one likes
        store.runs.exclude(RUN, "bob")
        store.runs.exclude(RUN, "ada")
        assert counts(store)[2] == 3 and done_is_what_stands(store)
        store.runs.exclude(RUN, "bob", False)
        store.runs.exclude(RUN, "ada", False)
        assert counts(store) == (3, 0, 0, 6) and done_is_what_stands(store)


def test_whoever_is_left_out_goes_on_and_takes_nobodys_place(store):
    make_run(store, num_queries=6, repeats=0.5)
    for _ in range(6):
        label_one(store)
    store.runs.exclude(RUN, "ada")
    for _ in range(3):  # repeats of her own among them
        label_one(store)
    assert done_is_what_stands(store) and store.runs.get(RUN).counts.left == 6
    for _ in range(6):
        label_one(store, annotator="bob")
    said = store.labels.current(RUN)
    (again,) = store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION).queries
    assert done_is_what_stands(store)
    store.labels.answer(uuid.uuid4(), again.id, "right")
    assert len(store.labels.current(RUN)) == len(said) and done_is_what_stands(store)
    store.people.forget("ada")
    assert done_is_what_stands(store) and {one[0] for one in standing(store)} == {"bob"}


def test_a_store_of_an_earlier_version_is_counted_anew(store, database_url):
    asked = make_run(store, num_queries=2)
    for annotator in ("ada", "bob"):
        label_one(store, annotator=annotator)
    store.runs.exclude(RUN, "ada")

    def as_before(connection):
        for text in ("UPDATE queries SET done = 1", "UPDATE alembic_version SET version_num = '8'"):
            connection.execute(sqlalchemy.text(text))

    store._database.write(as_before)
    store.close()
    again = Store(database_url)
    assert done_is_what_stands(again)
    assert ids(again.queue.lease(RUN, "eve", SESSION, 2)) == asked[:1]
    again.close()
