"""A store in another database, whole or not at all."""

import os
import signal
import subprocess
import sys
import uuid

import pytest
import sqlalchemy
from conftest import ROOT
from people import RUN, SESSION, Clock, label_one, make_run, make_segment, seeded
from standing import done_is_what_stands, ids

from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment
from prefloop.labelling.server.storage import copying
from prefloop.labelling.server.storage.copying import copy_store
from prefloop.labelling.server.storage.records import NewQuery
from prefloop.labelling.server.storage.store import Store


def fill(url):
    """A store with something in every table: a run with repeats, trims and an undo, and an arena."""
    store = Store(url, Clock(), seeded())
    make_run(store, num_queries=8, repeats=0.5, annotators_per_query=2)
    for _ in range(10):
        label_one(store)
    given = store.queue.lease(RUN, "bob", SESSION, 4).queries
    store.labels.answer(uuid.uuid4(), given[0].id, "tie", trim=(1, 3), seconds=2.75)
    store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
    store.runs.set_own(RUN, {"playback_speed": 0.5})
    store.trainings.tell(RUN, uuid.uuid4(), {"phase": "learning", "steps": 3})
    drawn = make_segment(99)
    replay = {"replay_states": drawn.obs.astype("float64")}
    shown = Segment(drawn.obs, drawn.actions, drawn.rewards, 1, 2, replay)
    (one,) = store.segments.add(RUN, [shown])
    store.segments.set_clip(one, "a" * 64, sent=True)
    make_run(store, "arena", num_queries=0, agents={"strong": "1" * 64, "weak": "2" * 64})
    two = store.segments.add("arena", [make_segment(1), make_segment(2)])
    contest = NewQuery(uuid.uuid4(), *two, agents=("weak", "strong"))
    store.queue.add("arena", [contest], 0)
    store.close()


def filled(url, target):
    fill(url)
    return copy_store(url, target)


@pytest.fixture
def other_url(request, tmp_path):
    """Of an empty database of the other kind."""
    if "postgresql" in request.node.name:
        return f"sqlite:///{tmp_path / 'other.sqlite3'}"
    psycopg = pytest.importorskip("psycopg")
    address = request.getfixturevalue("postgres")
    name = f"other_{uuid.uuid4().hex}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return address.replace("/postgres?", f"/{name}?")


def test_there_and_back_nothing_is_lost(database_url, other_url, tmp_path):
    there = filled(database_url, other_url)
    back = f"sqlite:///{tmp_path / 'back.sqlite3'}"
    assert copy_store(other_url, back) == there
    counts = {one.table: one.rows for one in there}
    assert counts["runs"] == 2 and counts["events"] == 12 and counts["segments"] == 19
    assert all(counts[name] for name in ("queries", "leases", "trainings", "agents", "contests"))
    stores = [Store(url, Clock(), seeded()) for url in (database_url, other_url, back)]
    exports = [store.export(RUN) for store in stores]
    for export in exports[1:]:
        assert export.labels == exports[0].labels and export.run == exports[0].run
        assert export.queries == exports[0].queries and export.clips == exports[0].clips
    # and they go on alike
    for store in stores:
        assert done_is_what_stands(store)
        assert store.labels.current(RUN)[-1].number == 11
    shown = [ids(store.queue.lease(RUN, "eve", uuid.UUID(int=9), 8)) for store in stores]
    assert shown[0] == shown[1] == shown[2] != []
    for store in stores:
        store.close()


def test_labels_that_come_meanwhile_are_in_it_or_not(database_url, other_url, monkeypatch):
    fill(database_url)
    store = Store(database_url)
    summed = copying._summed

    def labels_come(name, portions):
        if name == "queries":
            assert label_one(store, annotator="eve") is not None
        return summed(name, portions)

    monkeypatch.setattr(copying, "_summed", labels_come)
    tables = copy_store(database_url, other_url)
    assert next(one.rows for one in tables if one.table == "events") == 12
    copy = Store(other_url)
    assert done_is_what_stands(copy) and len(store.labels.current(RUN)) > len(
        copy.labels.current(RUN)
    )
    copy.close()
    store.close()


def test_what_holds_something_is_not_copied_to(database_url, other_url):
    filled(database_url, other_url)
    for target in (other_url, database_url):
        with pytest.raises(UserError, match="holds labels already; give an empty one"):
            copy_store(database_url, target)


def test_a_source_that_is_none(sqlite_url, tmp_path):
    target = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    with pytest.raises(UserError, match="There is no database"):
        copy_store(sqlite_url, target)
    assert not (tmp_path / "labels.sqlite3").exists()
    (tmp_path / "labels.sqlite3").touch()
    with pytest.raises(UserError, match="holds no labels"):
        copy_store(sqlite_url, target)
    fill(f"sqlite:///{tmp_path / 'old.sqlite3'}")
    store = Store(f"sqlite:///{tmp_path / 'old.sqlite3'}")
    older = sqlalchemy.text("UPDATE alembic_version SET version_num = '4'")
    store._database.write(lambda connection: connection.execute(older))
    store.close()
    with pytest.raises(UserError, match=r"has schema 4 of \d; start `prefloop label` on it once"):
        copy_store(f"sqlite:///{tmp_path / 'old.sqlite3'}", target)


def test_a_row_that_is_not_what_was_read_takes_all_back(database_url, other_url, monkeypatch):
    fill(database_url)
    plain, written = copying._plain, []

    def differs(value):
        written.append(value)
        # the last value that is compared, as if a database had rounded it
        return plain(value) if value != 2.75 or written.count(2.75) == 1 else 2.5

    with monkeypatch.context() as patch:
        patch.setattr(copying, "_plain", differs)
        with pytest.raises(
            UserError, match="does not give back what was written to its table events"
        ):
            copy_store(database_url, other_url)
    assert copy_store(database_url, other_url)  # which is empty still


KILLED = """
import os, signal, sys
from prefloop.labelling.server.storage import copying
summed = copying._summed
def killed(name, portions):
    if name == "events":
        for some in portions:
            os.kill(os.getpid(), signal.SIGKILL)
    return summed(name, portions)
copying._summed = killed
copying.copy_store(*sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_copy_that_is_killed_leaves_nothing(database_url, other_url):
    fill(database_url)
    command = [sys.executable, "-c", KILLED, database_url, other_url]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    store = Store(other_url)
    assert store.runs.all() == []
    store.close()
    assert copy_store(database_url, other_url)
