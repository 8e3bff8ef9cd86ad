"""What is stored of a person, and that nothing of it is left once they are forgotten."""

import sqlite3
import uuid
from pathlib import Path

import pytest
import sqlalchemy
from people import RUN, SESSION, Clock, label_one, make_run, seeded
from standing import done_is_what_stands, standing

from prefloop.labelling.server.storage.errors import ForbiddenError, NotFoundError
from prefloop.labelling.server.storage.people import NAMED
from prefloop.labelling.server.storage.records import NewLink
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.storage.tables import metadata

NAME = "Zebedee Quux"  # stands nowhere else
REF = "5f3aZebedee"
ABOUT = {"code": "each", "pairs": 3, "block": None, "answers_per_pair": None, "one_device": True, "checks_every": 4}  # fmt: skip
TOKEN = "7" * 64


def fill(store):
    """Something of the person in every table that can hold it, and others beside them."""
    make_run(store, num_queries=12, repeats=0.5, annotators_per_query=2)
    for _ in range(14):
        label_one(store, annotator=NAME)
    store.labels.undo(uuid.uuid4(), RUN, NAME, SESSION)
    for _ in range(3):
        label_one(store, annotator="ada")
    store.runs.exclude(RUN, NAME)
    store.runs.put_reward_report(RUN, {"accuracy": 1.0, "labels": 3, "round": 1})
    about = {"env": "CartPole-v1", "by": NAME, "runs": [{"name": RUN}]}
    store.comparisons.put(uuid.uuid4(), about, ["a" * 64])


def join(store, answers=4):
    """A study in which somebody takes part whose id an address named."""
    make_run(store, "asked", num_queries=4)
    make_run(store, "checked", num_queries=2)
    for _ in range(2):
        label_one(store, "checked", "researcher")
    shown = {"pairs": ["asked"], "checks": ["checked"]}
    store.studies.put("pilot", ABOUT, shown, [NewLink("01", "1" * 64)], "2" * 64)
    person = store.taking_part.join("pilot", REF, TOKEN, 5)
    store.taking_part.enter(person.id, uuid.UUID(int=7))
    store.taking_part.advance(person.id, lambda _: {"consented_at": True, "consent": "3" * 64, "progress": {"practice": {"x": "left"}}})  # fmt: skip
    for _ in range(answers):  # three pairs and a check
        for given in store.assignment.lease(person.id, SESSION, 1).queries:
            store.labels.answer(uuid.uuid4(), given.id, "left", seconds=2.5, by=person.annotator)
    return person


def dumped(url):
    """All that a database holds, in bytes: the files of SQLite, rows and statistics of PostgreSQL."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url) as connection:
        tables = [*metadata.tables, "pg_stats"]
        rows = [connection.execute(f"SELECT t::text FROM {name} t").fetchall() for name in tables]
    return repr(rows).encode()


def test_what_is_stored_is_told_in_numbers(store):
    fill(store)
    person = join(store)
    found = store.people.stored(NAME)
    assert (found.answers, found.skips, found.taken_back, found.shown) == (14, 0, 1, 15)
    assert found.runs == [RUN] == found.excluded and found.comparisons == 1
    assert found.study is None and found.pages == 1
    found = store.people.stored(person.annotator)
    assert found.study == "pilot" and found.participant.ref == REF
    assert found.participant.consent == "3" * 64 and found.seconds == 10.0
    assert found.answers == 4 and found.runs == ["asked", "checked"]
    with pytest.raises(NotFoundError, match="called Zebedee Qux; did you mean Zebedee Quux"):
        store.people.stored("Zebedee Qux")
    with pytest.raises(NotFoundError, match=r"called eve\."):
        store.people.forget("eve")


def test_nothing_of_somebody_is_left(database_url):
    store = Store(database_url, Clock(), seeded())
    fill(store)
    person = join(store)
    secret = (NAME, REF, TOKEN, person.id.hex, str(person.id), uuid.UUID(int=7).hex)
    assert all(word.encode() in dumped(database_url) for word in (NAME, REF, TOKEN))
    before = standing(store)
    gone = store.people.forget(NAME)
    assert gone.wiped and gone.stored.answers == 14
    assert set(gone.rows) == {"events", "leases", "queries", "exclusions", "comparisons", "runs"}
    assert gone.rows["events"] == 15
    gone = store.people.forget(person.annotator)
    assert gone.wiped and gone.rows["participants"] == 1 and gone.asked_again == 3
    held = dumped(database_url)
    assert [word for word in secret if word.encode() in held] == []
    assert standing(store) == [said for said in before if said[0] != NAME]
    assert done_is_what_stands(store) and store.runs.get(RUN).reward_report is None
    # and all goes on: what they had is asked again, checks are not
    assert store.runs.get("asked").counts.left == 4 and store.runs.get("checked").counts.left == 0
    assert label_one(store, annotator=NAME) is not None
    store.close()


def test_every_column_that_can_hold_a_name_is_known():
    """A table that is new, or a column, must be thought of."""
    held = {column for table in metadata.tables.values() for column in table.columns}
    named = {
        c for c in held if c.name in ("annotator", "only_for", "by", "ref") or "name" in c.name
    }
    others = {"runs.name", "agents.name", "studies.name", "participants.ref"}
    assert {str(c) for c in named} - others == {str(column) for column in NAMED}


def test_who_is_forgotten_in_the_middle_is_told_so(store):
    person = join(store, answers=1)
    (given,) = store.assignment.lease(person.id, SESSION, 1).queries
    store.people.forget(person.annotator)
    with pytest.raises(NotFoundError, match="no such lease"):
        store.labels.answer(uuid.uuid4(), given.id, "left", by=person.annotator)
    for act in (
        lambda: store.taking_part.enter(person.id, uuid.uuid4()),
        lambda: store.taking_part.participant(person.id),
        lambda: store.assignment.lease(person.id, SESSION, 1),
        lambda: store.assignment.is_through(person.id),
    ):
        with pytest.raises(ForbiddenError, match="This link does not hold"):
            act()
    assert store.taking_part.link(TOKEN) is None


def test_events_are_read_anew(store):
    make_run(store, num_queries=6)
    label_one(store, annotator="ada")
    label_one(store, annotator="bob")
    before = store.labels.since(RUN)
    assert (before.next, before.forgotten) == (2, 0)
    store.people.forget("bob")
    label_one(store, annotator="eve")  # whose number was bob's
    after = store.labels.since(RUN, before.next)
    assert after.events == [] and after.forgotten == 1
    assert [event.annotator for event in store.labels.since(RUN).events] == ["ada", "eve"]


def test_a_file_that_others_read_is_said_to_hold_traces(sqlite_url):
    store = Store(sqlite_url, Clock(), seeded())
    make_run(store)
    label_one(store)
    store._database._engine.dispose()
    reader = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    with store._database._engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA busy_timeout = 100"))
        connection.rollback()
    assert not store.people.forget("ada").wiped
    reader.close()
    store.close()
