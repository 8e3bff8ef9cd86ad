import os
import sqlite3
import stat
import threading
import uuid

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from people import FACTS, RUN, SESSION, label_one, make_run, make_segment, segment_ids
from standing import done_is_what_stands

from prefloop.errors import UserError
from prefloop.labelling.server.storage import database
from prefloop.labelling.server.storage.database import Database, StoreUnavailableError
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.storage.tables import metadata


def test_migrations_make_the_tables_that_the_code_expects(database_url):
    store = Store(database_url)
    with store._database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert store.schema == 9
    store.close()
    again = Store(database_url)
    assert again.schema == 9
    again.close()


def test_an_export_is_of_one_moment(database_url, monkeypatch):
    store = Store(database_url)
    make_run(store, num_queries=1)
    label_one(store)

    def contests_of(connection, run):  # what is said while it is read
        store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
        return {}

    monkeypatch.setattr("prefloop.labelling.server.storage.store.contests_of", contests_of)
    exported = store.export(RUN)
    assert len(exported.labels) == 1 and len(exported.segments) == 2
    store.close()


def test_a_newer_schema_is_refused(database_url):
    store = Store(database_url)
    store._database.write(
        lambda c: c.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '999'"))
    )
    store.close()
    with pytest.raises(UserError, match="has schema 999, and this prefloop knows up to 9; install"):
        Store(database_url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "must look like"),
        ("mysql://host/name", "SQLite or PostgreSQL, not in mysql"),
        ("sqlite://", "would lose labels"),
        ("sqlite:////nowhere/at/all/labels.sqlite3", "Can't open the database"),
        ("postgresql://user:secret@/name?host=/nowhere", "Can't open the database"),
    ],
)
def test_an_address_that_is_none_ends_in_a_sentence(url, words):
    with pytest.raises(UserError, match=words) as error:
        Store(url)
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_ends_in_a_sentence(tmp_path):
    path = tmp_path / "labels.sqlite3"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="Can't open the database"):
        Store(f"sqlite:///{path}")
    assert path.read_bytes() == b"no database" * 100


def test_sqlite_waits_for_the_disk(sqlite_url):
    store = Store(sqlite_url)
    with store._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


def test_the_next_query_is_found_by_an_index(sqlite_url):
    store = Store(sqlite_url)
    with store._database.reading() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM queries WHERE run = 'x' AND done < wanted "
            "ORDER BY position LIMIT 1"
        ).all()
    assert "ix_queries_open" in plan[0][-1]
    store.close()


@pytest.mark.parametrize("servers", [1, 2])
def test_many_at_once_never_share_a_query(database_url, servers):
    stores = [Store(database_url) for _ in range(servers)]
    asked = make_run(stores[0], num_queries=60)
    given, labels, failures = [], [], []

    def work(number):
        store, session = stores[number % servers], uuid.uuid4()
        try:
            while leases := store.queue.lease(RUN, f"annotator {number}", session, 2).queries:
                given.extend(lease.query for lease in leases)
                labels.extend(
                    store.labels.answer(uuid.uuid4(), lease.id, "left") for lease in leases
                )
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(given) == len(set(given))
    assert sorted(event.query for event in labels) == sorted(asked)
    assert [event.number for event in stores[0].labels.since(RUN).events] == list(range(1, 61))
    assert done_is_what_stands(stores[0])
    for store in stores:
        store.close()


def test_a_connection_for_each_thread_is_opened_once(database_url):
    store, opened, together = Store(database_url), [], threading.Barrier(40)
    sqlalchemy.event.listen(store._database._engine, "connect", lambda *_: opened.append(1))

    def read():
        for _ in range(3):
            with store._database.reading():
                together.wait(timeout=60)  # while all the others read, too
            together.wait(timeout=60)

    readers = [threading.Thread(target=read) for _ in range(40)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    store.close()
    assert 39 <= len(opened) <= 40  # one may have been there since the start


def test_what_readers_ask_again_and_again_stays_prepared(database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite plans in no time")
    base = Database(database_url)
    for _ in range(10):
        with base.reading() as connection:
            connection.execute(sqlalchemy.text("SELECT count(*) FROM runs"))
    with base.reading() as connection:
        found = connection.execute(sqlalchemy.text("SELECT statement FROM pg_prepared_statements"))
        assert "SELECT count(*) FROM runs" in found.scalars().all()
    base.close()


def test_a_job_that_fails_takes_no_other_with_it(sqlite_url):
    base = Database(sqlite_url)
    begun, outcomes = threading.Event(), {}

    def slow(connection):
        begun.set()
        while len(base._waiting) < 3:
            pass

    def insert(value):
        def job(connection):
            connection.execute(sqlalchemy.text(f"INSERT INTO notes VALUES ({value})"))
            if value == 2:
                raise UserError("not this one")
            return value

        return job

    def write(name, job):
        try:
            outcomes[name] = base.write(job)
        except UserError as error:
            outcomes[name] = str(error)

    base.write(lambda c: c.execute(sqlalchemy.text("CREATE TABLE notes (value INTEGER)")))
    threads = [threading.Thread(target=write, args=("slow", slow))]
    threads[0].start()
    begun.wait()
    threads += [threading.Thread(target=write, args=(i, insert(i))) for i in (1, 2, 3)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"slow": None, 1: 1, 2: "not this one", 3: 3}
    with base.reading() as connection:
        found = connection.execute(sqlalchemy.text("SELECT value FROM notes ORDER BY value"))
        assert found.scalars().all() == [1, 3]
    base.close()


def test_a_full_disk_is_told_and_nothing_is_stored(sqlite_url):
    store = Store(sqlite_url)
    make_run(store)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    with store._database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store.close()
    store = Store(sqlite_url)
    # a database that may not grow behaves as one on a full disk
    limit = lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}")  # noqa: E731
    sqlalchemy.event.listen(store._database._engine, "connect", limit)
    store._database._engine.dispose()
    with pytest.raises(StoreUnavailableError, match="nothing was stored"):
        store.segments.add(RUN, [make_segment(i, length=2000) for i in range(100, 120)])
    assert store.labels.answer(uuid.uuid4(), lease.id, "left").number == 1
    assert len(segment_ids(store, RUN)) == 8
    store.close()


def test_a_database_that_is_busy_for_too_long_is_told(database_url, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    store, other = Store(database_url), Store(database_url)

    def job(connection):
        with pytest.raises(StoreUnavailableError, match=r"locked|lock timeout"):
            other.runs.put(RUN, FACTS)

    store._database.write(job)
    assert other.runs.put(RUN, FACTS).name == RUN
    store.close()
    other.close()


def test_a_database_that_was_restarted_is_found_again(postgres):
    psycopg = pytest.importorskip("psycopg")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        store = Store(postgres.replace("/postgres?", f"/{name}?"))
        make_run(store)
        # all its connections end, as they do when PostgreSQL is restarted
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(end, [name])
        assert label_one(store).number == 1
        connection.execute(end, [name])
        with pytest.raises(StoreUnavailableError, match="can't be read"):
            store.labels.current(RUN)
        assert len(store.labels.current(RUN)) == 1
        store.close()


@pytest.mark.skipif(os.name == "nt", reason="a folder's own rules hold there")
@pytest.mark.parametrize("earlier", [None, 0o644])
def test_labels_are_their_owner_s_to_read(tmp_path, monkeypatch, earlier):
    file = tmp_path / "labels.sqlite3"
    if earlier is not None:
        Store(f"sqlite:///{file}").close()
        file.chmod(earlier)
    connect, seen = sqlite3.connect, []

    def looked_at(path, *args, **kwargs):
        seen.append(stat.S_IMODE(file.stat().st_mode))  # before the first byte is in it
        return connect(path, *args, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", looked_at)
    monkeypatch.setattr(sqlite3.dbapi2, "connect", looked_at)
    before = os.umask(0)
    try:
        store = Store(f"sqlite:///{file}")
        make_run(store)
        files = sorted(tmp_path.glob("labels.sqlite3*"))
        assert [f.name for f in files] == [
            "labels.sqlite3",
            "labels.sqlite3-shm",
            "labels.sqlite3-wal",
        ]
        assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
        store.close()
    finally:
        os.umask(before)
    assert seen and set(seen) == {0o600}


@pytest.mark.skipif(os.name == "nt", reason="a folder's own rules hold there")
def test_a_file_that_is_no_database_keeps_its_mode(tmp_path):
    file = tmp_path / "thesis.txt"
    file.write_text("not a database, but somebody's thesis")
    file.chmod(0o644)
    with pytest.raises(UserError):
        Store(f"sqlite:///{file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
