import threading
import uuid
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from people import FACTS, SESSION, Clock, label_one, make_run, make_segment, seeded

from prefloop.errors import UserError
from prefloop.labelling import database
from prefloop.labelling.database import Database, StoreUnavailableError
from prefloop.labelling.records import NewLabel, NewQuery
from prefloop.labelling.store import REPEAT_AFTER, ConflictError, NotFoundError, Store
from prefloop.labelling.tables import metadata

RUN = "cartpole-01"
OTHER_SESSION = uuid.UUID(int=2)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url, clock):
    store = Store(database_url, clock, seeded())
    yield store
    store.close()


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'labels.sqlite3'}"


def ids(leases):
    return [lease.query for lease in leases.queries]


def standing(store, name=RUN):
    return [(event.annotator, event.query, event.label) for event in store.current(name)]


def done_is_what_stands(store):
    """The counter beside each query says what the events say."""
    with store._database.reading() as connection:
        text = """SELECT q.id, q.done, count(c.id) FROM queries q
                  LEFT JOIN current_labels c ON c.query = q.id GROUP BY q.id, q.done"""
        return all(done == count for _, done, count in connection.execute(sqlalchemy.text(text)))


# the schema


def test_migrations_make_the_tables_that_the_code_expects(database_url):
    store = Store(database_url)
    with store._database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert store.schema == 1
    store.close()
    again = Store(database_url)
    assert again.schema == 1
    again.close()


def test_a_newer_schema_is_refused(database_url):
    store = Store(database_url)
    store._database.write(
        lambda c: c.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '999'"))
    )
    store.close()
    with pytest.raises(UserError, match="has schema 999, and this prefloop knows up to 1; install"):
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


# runs


def test_a_run_is_made_once_and_continued(store):
    run = store.put_run(RUN, replace(FACTS, instructions="Watch the pole."), repeats=0.25)
    assert (run.env, run.round, run.annotators_per_query, run.repeats) == (
        "CartPole-v1",
        1,
        1,
        0.25,
    )
    again = store.put_run(RUN, replace(FACTS, annotators_per_query=2))
    assert again.id == run.id
    assert (again.instructions, again.annotators_per_query) == ("Watch the pole.", 2)
    assert [run.name for run in store.runs()] == [RUN]


@pytest.mark.parametrize("other", [{"env": "Acrobot-v1"}, {"obs_dim": 3}, {"discrete": False}])
def test_a_run_of_something_else_is_not_overwritten(store, other):
    store.put_run(RUN, FACTS)
    with pytest.raises(ConflictError, match=f"exists and its {next(iter(other))} is"):
        store.put_run(RUN, replace(FACTS, **other))


def test_renaming(store):
    make_run(store)
    store.put_run("other", FACTS)
    with pytest.raises(ConflictError, match="a run other already"):
        store.rename(RUN, "other")
    assert store.rename(RUN, "better").counts.queries == 4
    assert store.rename("better", "better").name == "better"
    with pytest.raises(NotFoundError, match=f"no run {RUN}"):
        store.run(RUN)


def test_deleting_removes_one_run_and_names_the_clips_that_nobody_shows_any_more(store):
    make_run(store, num_queries=10)
    make_run(store, "other")
    label_one(store)
    label_one(store, "other")
    mine, theirs = (store.export(name).segments for name in (RUN, "other"))
    for segment, clip in zip(list(mine)[:2], ("a" * 64, "b" * 64), strict=True):
        store.set_clip(segment, clip, sent=True)
    store.set_clip(next(iter(theirs)), "b" * 64, sent=True)
    assert store.delete(RUN) == ["a" * 64]
    assert [run.name for run in store.runs()] == ["other"]
    assert len(store.current("other")) == 1
    with pytest.raises(NotFoundError):
        store.delete(RUN)


def test_counts(store):
    make_run(store, num_queries=5, annotators_per_query=2)
    label_one(store, annotator="ada")
    label_one(store, annotator="bob")
    label_one(store, annotator="ada", choice="skip")
    counts = store.run(RUN).counts
    assert (counts.queries, counts.answered, counts.skipped, counts.left) == (5, 1, 1, 4)
    assert (counts.labels, counts.annotators) == (3, 2)
    assert store.runs()[0].counts == counts


# segments and queries


def test_a_segment_is_stored_once_and_comes_back(store):
    store.put_run(RUN, FACTS)
    segment = replace(make_segment(0), replay={"replay_seed": np.int64(7)})
    first = store.add_segments(RUN, [segment, make_segment(1), segment])
    assert first[0] == first[2] != first[1]
    assert store.add_segments(RUN, [make_segment(1), make_segment(0)]) == [first[1], first[0]]
    back = store.segment(first[0])
    np.testing.assert_array_equal(back.obs, segment.obs)
    np.testing.assert_array_equal(back.actions, segment.actions)
    assert back.replay["replay_seed"] == 7
    with pytest.raises(NotFoundError):
        store.segment(uuid.uuid4())


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"obs_dim": 3}, "3 numbers in an observation, not 4"),
        ({"discrete": False}, "actions are vectors"),
        ({"action_dim": 1}, "actions are 0 to 0"),
    ],
)
def test_segments_of_other_sizes_are_refused(store, facts, words):
    store.put_run(RUN, replace(FACTS, **facts))
    with pytest.raises(ConflictError, match=words):
        store.add_segments(RUN, [make_segment(i) for i in range(4)])
    assert store.export(RUN).segments == {}


def test_the_same_queries_are_stored_once(store):
    store.put_run(RUN, FACTS)
    a, b, c = store.add_segments(RUN, [make_segment(i) for i in range(3)])
    new = [NewQuery(uuid.uuid4(), a, b), NewQuery(uuid.uuid4(), b, c)]
    store.add_queries(RUN, [*new, new[0]], 0)
    store.add_queries(RUN, new, 1)
    assert list(store.export(RUN).queries.values()) == [(a, b, 0), (b, c, 0)]
    with pytest.raises(ConflictError, match="stands for another query"):
        store.add_queries(RUN, [replace(new[0], second=c)], 0)


def test_a_query_about_another_runs_segments_is_refused(store):
    make_run(store, "other")
    theirs = next(iter(store.export("other").segments))
    store.put_run(RUN, FACTS)
    (mine,) = store.add_segments(RUN, [make_segment(100)])
    with pytest.raises(ConflictError, match="does not have"):
        store.add_queries(RUN, [NewQuery(uuid.uuid4(), mine, theirs)], 0)
    assert store.run(RUN).counts.queries == 0


def test_more_queries_than_one_statement_takes(store):
    store.put_run(RUN, FACTS)
    made = store.add_segments(RUN, [make_segment(i, length=1) for i in range(1200)])
    new = [NewQuery(uuid.uuid4(), first, made[0]) for first in made[1:]]
    store.add_queries(RUN, new, 0)
    store.add_queries(RUN, new, 0)
    assert store.run(RUN).counts.queries == 1199
    assert ids(store.lease(RUN, "ada", SESSION, 8)) == [query.id for query in new[:8]]


def test_what_is_looked_at_next_is_rendered_first(store):
    make_run(store, num_queries=4)
    export = store.export(RUN)
    order = [side for first, second, _ in export.queries.values() for side in (first, second)]
    assert [shown.segment for shown in store.ahead(1)] == order[:2]
    store.lease(RUN, "ada", SESSION, 1)
    assert [shown.segment for shown in store.ahead(1)] == order[:4]
    store.set_clip(order[0], "a" * 64, sent=False)
    store.set_clip_error(order[1], "No picture.")
    shown = store.ahead(1)
    assert [(s.segment, s.clip, s.clip_error) for s in shown[:3]] == [
        (order[0], "a" * 64, None),
        (order[1], None, "No picture."),
        (order[2], None, None),
    ]
    store.set_clip(order[1], "b" * 64, sent=False)
    assert (store.ahead(1)[1].clip, store.ahead(1)[1].clip_error) == ("b" * 64, "No picture.")
    label_one(store)
    lease = store.lease(RUN, "ada", SESSION, 1)
    assert {lease.queries[0].left.segment, lease.queries[0].right.segment} == set(order[2:4])


def test_a_clip_that_was_sent_is_not_replaced_by_a_rendered_one(store):
    make_run(store, num_queries=1)
    side = store.ahead(1)[0].segment
    store.set_clip(side, "a" * 64, sent=True)
    store.set_clip(side, "b" * 64, sent=False)
    store.set_clip_error(side, "No picture.")
    assert next((s.clip, s.clip_was_sent) for s in store.ahead(1)) == ("a" * 64, True)
    with pytest.raises(NotFoundError):
        store.set_clip(uuid.uuid4(), "a" * 64, sent=True)


# leases


def test_nobody_gets_what_another_has(store):
    asked = make_run(store, num_queries=4)
    assert ids(store.lease(RUN, "ada", SESSION, 2)) == asked[:2]
    second = store.lease(RUN, "bob", OTHER_SESSION, 8)
    assert (ids(second), second.left_over, second.state) == (asked[2:], 2, "queries")
    third = store.lease(RUN, "eve", uuid.uuid4(), 1)
    assert (third.queries, third.left_over, third.state) == ([], 4, "waiting")
    # but where nothing else is free, one's own: the window that had it may have been closed
    window = uuid.uuid4()
    taken = store.lease(RUN, "ada", window, 1)
    assert ids(taken) == asked[:1]
    store.answer(uuid.uuid4(), taken.queries[0].id, "tie")
    assert ids(store.lease(RUN, "ada", window, 8)) == asked[1:2]


def test_a_reply_that_never_arrived_is_given_again(store):
    asked = make_run(store, num_queries=4)
    lost = store.lease(RUN, "ada", SESSION, 2)
    again = store.lease(RUN, "ada", SESSION, 2)
    assert ids(again) == ids(lost) == asked[:2]
    assert [lease.left for lease in again.queries] == [lease.left for lease in lost.queries]
    more = store.lease(RUN, "ada", SESSION, 2, holding=[lease.id for lease in again.queries])
    assert ids(more) == asked[2:]


def test_a_lease_runs_out(store, clock):
    asked = make_run(store, num_queries=1)
    given = store.lease(RUN, "ada", SESSION, 1, seconds=60)
    clock.go(59)
    assert store.lease(RUN, "bob", OTHER_SESSION, 1).state == "waiting"
    clock.go(1)
    taken = store.lease(RUN, "bob", OTHER_SESSION, 1, seconds=60)
    assert ids(taken) == asked
    with pytest.raises(ConflictError, match="somebody else has it now"):
        store.answer(uuid.uuid4(), given.queries[0].id, "left")
    clock.go(61)  # bob's has run out too
    late = store.answer(uuid.uuid4(), given.queries[0].id, "left")
    assert (late.annotator, late.query) == ("ada", asked[0])
    with pytest.raises(ConflictError, match="somebody else has it now"):
        store.answer(uuid.uuid4(), taken.queries[0].id, "left")
    assert len(store.current(RUN)) == 1
    assert store.lease(RUN, "bob", OTHER_SESSION, 1).state == "finished"


def test_several_annotators_where_they_are_wanted(store, clock):
    asked = make_run(store, num_queries=1, annotators_per_query=2)
    ada = store.lease(RUN, "ada", SESSION, 1)
    assert ids(store.lease(RUN, "bob", OTHER_SESSION, 1)) == asked
    assert store.lease(RUN, "eve", uuid.uuid4(), 1).state == "waiting"
    store.answer(uuid.uuid4(), ada.queries[0].id, "left")
    # never again to one who has answered
    assert store.lease(RUN, "ada", SESSION, 1).state == "finished"
    clock.go(1000)
    assert ids(store.lease(RUN, "eve", uuid.uuid4(), 1)) == asked


def test_a_limit_of_labels_for_each_annotator(store):
    make_run(store, num_queries=4)
    first = store.lease(RUN, "ada", SESSION, 8, max_labels=2)
    assert len(first.queries) == 2
    for lease in first.queries:
        store.answer(uuid.uuid4(), lease.id, "skip")
    after = store.lease(RUN, "ada", SESSION, 1, max_labels=2)
    assert (after.queries, after.state, after.left_over) == ([], "finished", 2)
    assert len(store.lease(RUN, "bob", OTHER_SESSION, 8, max_labels=2).queries) == 2


def test_sides_are_shuffled_and_remembered(store):
    asked = make_run(store, num_queries=40)
    queries = store.export(RUN).queries
    lefts = 0
    for query in asked:
        (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
        first = queries[query][0]
        assert {lease.left.segment, lease.right.segment} == set(queries[query][:2])
        first_is_left = lease.left.segment == first
        lefts += first_is_left
        event = store.answer(uuid.uuid4(), lease.id, "left")
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
    counts = store.run(RUN).counts
    assert (counts.queries, counts.answered, counts.labels) == (20, 20, 20)
    assert done_is_what_stands(store)


def test_repeats_are_asked_of_the_same_annotator_only(store):
    make_run(store, num_queries=30, repeats=0.5)
    for _ in range(15):
        label_one(store, annotator="ada")
    while event := label_one(store, annotator="bob"):
        if event.repeat:
            own = [e for e in store.current(RUN) if e.query == event.query and not e.repeat]
            assert [e.annotator for e in own] == ["bob"]


# answers


@pytest.mark.parametrize(("choice", "label"), [("tie", 0.5), ("skip", None)])
def test_ties_and_skips(store, choice, label):
    make_run(store)
    event = label_one(store, choice=choice)
    assert event.label == label
    assert event.kind == ("skip" if choice == "skip" else "answer")
    assert store.current(RUN) == [event]


def test_an_answer_that_is_sent_again_is_stored_once(store, clock):
    make_run(store)
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    id = uuid.uuid4()
    event = store.answer(id, lease.id, "left", (1, 4), 2.5)
    clock.go(10_000)
    assert store.answer(id, lease.id, "left", (1, 4), 2.5) == event
    for other in ({"choice": "right"}, {"trim": None}, {"seconds": 3.0}):
        with pytest.raises(ConflictError, match="stands for another answer"):
            store.answer(
                **{"id": id, "lease": lease.id, "choice": "left", "trim": (1, 4), "seconds": 2.5}
                | other
            )
    assert store.current(RUN) == [event]
    assert (event.trim, event.seconds, event.number) == ((1, 4), 2.5, 1)


def test_a_query_is_answered_once(store):
    make_run(store)
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    store.answer(uuid.uuid4(), lease.id, "left")
    with pytest.raises(ConflictError, match="answered this query already"):
        store.answer(uuid.uuid4(), lease.id, "right")
    with pytest.raises(NotFoundError, match="no such lease"):
        store.answer(uuid.uuid4(), uuid.uuid4(), "left")
    assert len(store.current(RUN)) == 1


@pytest.mark.parametrize("trim", [(3, 3), (4, 3), (0, 6), (5, 6)])
def test_a_trim_outside_of_the_segments_is_refused(store, trim):
    make_run(store, length=5)
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    with pytest.raises(ConflictError, match="not in segments of 5 and 5 steps"):
        store.answer(uuid.uuid4(), lease.id, "left", trim)
    assert store.current(RUN) == []


def test_undo_takes_back_the_last_and_asks_again(store):
    asked = make_run(store, num_queries=3)
    label_one(store)
    last = label_one(store, choice="skip")
    id = uuid.uuid4()
    back = store.undo(id, RUN, "ada", SESSION)
    assert ids(back) == [asked[1]]
    assert store.undo(id, RUN, "ada", SESSION) == back
    assert [event.query for event in store.current(RUN)] == [asked[0]]
    assert store.run(RUN).counts.left == 2
    # it is the annotator's alone
    assert ids(store.lease(RUN, "bob", OTHER_SESSION, 8)) == [asked[2]]
    store.answer(uuid.uuid4(), back.queries[0].id, "tie")
    numbers = [(event.number, event.kind, event.undoes) for event in store.labels(RUN).events]
    assert numbers == [
        (1, "answer", None),
        (2, "skip", None),
        (3, "undo", last.id),
        (4, "answer", None),
    ]
    assert [event.label for event in store.current(RUN)][1] == 0.5
    assert done_is_what_stands(store)


def test_undo_goes_back_one_by_one_and_ends(store):
    make_run(store)
    label_one(store)
    label_one(store)
    label_one(store, annotator="bob")
    store.undo(uuid.uuid4(), RUN, "ada", SESSION)
    store.undo(uuid.uuid4(), RUN, "ada", SESSION)
    with pytest.raises(ConflictError, match="nothing to take back"):
        store.undo(uuid.uuid4(), RUN, "ada", SESSION)
    assert [event.annotator for event in store.current(RUN)] == ["bob"]


def test_ids_of_answers_are_not_those_of_undos(store):
    make_run(store)
    event = label_one(store)
    with pytest.raises(ConflictError, match="stands for another"):
        store.undo(event.id, RUN, "ada", SESSION)
    undo = uuid.uuid4()
    store.undo(undo, RUN, "ada", SESSION)
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    with pytest.raises(ConflictError, match="stands for another"):
        store.answer(undo, lease.id, "left")


def test_labelling_again_keeps_the_old_labels_and_asks_everything(store):
    asked = make_run(store, num_queries=2, repeats=1.0)
    label_one(store)
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    assert store.label_again(RUN).round == 2
    with pytest.raises(ConflictError, match="begun a new round"):
        store.answer(uuid.uuid4(), lease.id, "left")
    assert store.current(RUN) == []
    assert store.labels(RUN).events == []
    with pytest.raises(ConflictError, match="nothing to take back"):
        store.undo(uuid.uuid4(), RUN, "ada", SESSION)
    assert ids(store.lease(RUN, "ada", SESSION, 8)) == asked
    with store._database.reading() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM events")).scalar() == 1


def test_reading_on_from_a_cursor(store):
    make_run(store, num_queries=5)
    for _ in range(4):
        label_one(store)
    page = store.labels(RUN, limit=3)
    assert ([event.number for event in page.events], page.next, page.more) == ([1, 2, 3], 3, True)
    page = store.labels(RUN, page.next)
    assert ([event.number for event in page.events], page.next, page.more) == ([4], 4, False)
    assert store.labels(RUN, page.next).next == 4
    label_one(store)
    assert [event.number for event in store.labels(RUN, page.next).events] == [5]


def test_labels_from_elsewhere(store):
    asked = make_run(store, num_queries=2)
    new = [
        NewLabel(uuid.uuid4(), asked[0], "ada", 1.0, (0, 3), 2.0),
        NewLabel(uuid.uuid4(), asked[0], "bob", None, None, None),
    ]
    assert store.add_labels(RUN, new) == 2
    assert store.add_labels(RUN, new) == 0
    assert standing(store) == [("ada", asked[0], 1.0), ("bob", asked[0], None)]
    with pytest.raises(ConflictError, match="ada has labelled"):
        store.add_labels(RUN, [NewLabel(uuid.uuid4(), asked[0], "ada", 0.0, None, None)])
    with pytest.raises(ConflictError, match="does not have"):
        store.add_labels(RUN, [NewLabel(uuid.uuid4(), uuid.uuid4(), "ada", 0.0, None, None)])
    assert ids(store.lease(RUN, "eve", SESSION, 8)) == asked[1:]
    assert done_is_what_stands(store)


def test_the_reward_report_is_kept(store):
    store.put_run(RUN, FACTS)
    store.put_reward_report(RUN, {"accuracy": 0.9})
    assert store.run(RUN).reward_report == {"accuracy": 0.9}


# many at once


@pytest.mark.parametrize("servers", [1, 2])
def test_many_at_once_never_share_a_query(database_url, servers):
    stores = [Store(database_url) for _ in range(servers)]
    asked = make_run(stores[0], num_queries=60)
    given, labels, failures = [], [], []

    def work(number):
        store, session = stores[number % servers], uuid.uuid4()
        try:
            while leases := store.lease(RUN, f"annotator {number}", session, 2).queries:
                given.extend(lease.query for lease in leases)
                labels.extend(store.answer(uuid.uuid4(), lease.id, "left") for lease in leases)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(given) == len(set(given))
    # one who found all rows locked by others may have left early, but nothing is asked twice
    while event := label_one(stores[0]):
        labels.append(event)
    assert sorted(event.query for event in labels) == sorted(asked)
    assert [event.number for event in stores[0].labels(RUN).events] == list(range(1, 61))
    assert done_is_what_stands(stores[0])
    for store in stores:
        store.close()


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
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    with store._database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store.close()
    store = Store(sqlite_url)
    # a database that may not grow behaves as one on a full disk
    limit = lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}")  # noqa: E731
    sqlalchemy.event.listen(store._database._engine, "connect", limit)
    store._database._engine.dispose()
    with pytest.raises(StoreUnavailableError, match="nothing was stored"):
        store.add_segments(RUN, [make_segment(i, length=2000) for i in range(100, 120)])
    assert store.answer(uuid.uuid4(), lease.id, "left").number == 1
    assert len(store.export(RUN).segments) == 8
    store.close()


def test_a_database_that_is_busy_for_too_long_is_told(sqlite_url, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    store, other = Store(sqlite_url), Store(sqlite_url)

    def job(connection):
        with pytest.raises(StoreUnavailableError, match="locked"):
            other.put_run(RUN, FACTS)

    store._database.write(job)
    assert other.put_run(RUN, FACTS).name == RUN
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
            store.current(RUN)
        assert len(store.current(RUN)) == 1
        store.close()


def test_an_undo_that_names_an_answer_takes_back_no_other(store):
    asked = make_run(store, num_queries=3)
    before = label_one(store)
    last = label_one(store)
    for other in (before.id, uuid.uuid4()):
        with pytest.raises(ConflictError, match="not your last answer"):
            store.undo(uuid.uuid4(), RUN, "ada", SESSION, undoes=other)
    assert len(store.current(RUN)) == 2
    id = uuid.uuid4()
    back = store.undo(id, RUN, "ada", SESSION, undoes=last.id)
    assert ids(back) == [asked[1]]
    # the same once more; the same id for another answer is a mistake
    assert store.undo(id, RUN, "ada", SESSION, undoes=last.id) == back
    with pytest.raises(ConflictError, match="stands for another"):
        store.undo(id, RUN, "ada", SESSION, undoes=before.id)
    assert [event.id for event in store.current(RUN)] == [before.id]
    assert done_is_what_stands(store)


def test_the_sides_of_a_runs_queries(store):
    asked = make_run(store, num_queries=2)
    others = make_run(store, "other", num_queries=1)
    (lease,) = store.lease(RUN, "ada", SESSION, 1).queries
    store.set_clip(lease.left.segment, "d" * 64, sent=True)
    shown = store.sides(RUN, [asked[0], *others, uuid.uuid4()])
    assert list(shown) == [asked[0]]
    assert {side.segment for side in shown[asked[0]]} == {lease.left.segment, lease.right.segment}
    assert {side.clip for side in shown[asked[0]]} == {"d" * 64, None}
    assert store.sides(RUN, []) == {}
    with pytest.raises(NotFoundError):
        store.sides("missing", asked)
