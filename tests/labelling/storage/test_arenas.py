"""Arenas in the store: who is compared, what was said of whom, and a database of before there were any."""

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from people import FACTS, RUN, SCHEMA, SESSION, label_one, make_run, make_segment

from prefloop.labelling.server.storage import database
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.records import NewQuery
from prefloop.labelling.server.storage.store import Store

AGENTS = {"strong": "a" * 64, "weak": "b" * 64}


def make_arena(store, name=RUN, agents=AGENTS, num_queries=3, **facts):
    """An arena whose queries compare the first two agents, in turn the one way round and the other."""
    store.runs.put(name, replace(FACTS, agents=agents, **facts))
    segments = store.segments.add(name, [make_segment(i) for i in range(2 * num_queries)])
    both = list(agents)[:2]
    new = [
        NewQuery(uuid.uuid4(), *segments[2 * i : 2 * i + 2], tuple(both[:: 1 if i % 2 else -1]))
        for i in range(num_queries)
    ]
    store.queue.add(name, new, 0)
    return new


def test_votes_are_what_stands_and_name_who_was_compared(store):
    new = make_arena(store)
    assert store.votes(RUN) == (["strong", "weak"], [])
    first = label_one(store, choice="left")
    label_one(store, choice="skip")
    _, votes = store.votes(RUN)
    asked = {query.id: query.agents for query in new}
    assert [(v.first, v.second) for v in votes] == [asked[v.query] for v in votes]
    assert [v.label for v in votes] == [first.label, None]
    store.labels.undo(uuid.uuid4(), RUN, "ada", SESSION)
    assert [vote.query for vote in store.votes(RUN)[1]] == [first.query]
    assert store.export(RUN).agents == asked


def test_a_repeat_is_no_vote(store):
    make_arena(store, num_queries=6, repeats=1.0)
    said = []
    while (event := label_one(store)) is not None:
        said.append(event)
    assert any(event.repeat for event in said)
    assert len(store.votes(RUN)[1]) == 6


def test_agents_come_later_and_none_is_forgotten(store):
    make_arena(store)
    store.runs.put(RUN, replace(FACTS, agents={"weak": "b" * 64, "new": "c" * 64}))
    assert store.votes(RUN)[0] == ["new", "strong", "weak"]
    with pytest.raises(ConflictError, match="weak stands for another policy in the arena"):
        store.runs.put(RUN, replace(FACTS, agents={"weak": "d" * 64, "newer": "e" * 64}))
    assert store.votes(RUN)[0] == ["new", "strong", "weak"]
    with pytest.raises(ConflictError, match="at most 20 agents"):
        store.runs.put(RUN, replace(FACTS, agents={f"agent {i}": "f" * 64 for i in range(18)}))


def test_an_arena_is_no_ordinary_run_and_the_other_way_round(store):
    make_arena(store)
    make_run(store, "ordinary")
    assert (store.runs.get(RUN).arena, store.runs.get("ordinary").arena) == (True, False)
    with pytest.raises(ConflictError, match=f"The run {RUN} is an arena"):
        store.runs.put(RUN, FACTS)
    with pytest.raises(ConflictError, match="The run ordinary exists and is no arena"):
        store.runs.put("ordinary", replace(FACTS, agents=AGENTS))
    with pytest.raises(NotFoundError, match="The run ordinary is no arena"):
        store.votes("ordinary")
    with pytest.raises(NotFoundError, match="no run nowhere"):
        store.votes("nowhere")


@pytest.mark.parametrize(
    ("name", "agents", "words"),
    [
        (RUN, None, "each query names two agents"),
        (RUN, ("strong", "nobody"), "an agent that the arena"),
        (RUN, ("weak", "weak"), "an agent with itself"),
        ("ordinary", ("strong", "weak"), "the run ordinary is no arena"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_and_nothing_stored(store, name, agents, words):
    make_arena(store)
    make_run(store, "ordinary")
    before = store.runs.get(name).counts.queries
    one, two = store.segments.add(name, [make_segment(50), make_segment(51)])
    with pytest.raises(ConflictError, match=words):
        store.queue.add(name, [NewQuery(uuid.uuid4(), one, two, agents)], 0)
    assert store.runs.get(name).counts.queries == before


def test_two_agents_that_do_the_same_share_a_segment(store):
    store.runs.put(RUN, replace(FACTS, agents={**AGENTS, "twin": "c" * 64}))
    one, other = store.segments.add(RUN, [make_segment(0), make_segment(1)])
    asked = [NewQuery(uuid.uuid4(), one, other, (agent, "weak")) for agent in ("strong", "twin")]
    store.queue.add(RUN, asked, 0)
    while label_one(store) is not None:
        pass
    assert {vote.first for vote in store.votes(RUN)[1]} == {"strong", "twin"}


def test_sending_again_asks_nothing_twice(store):
    new = make_arena(store)
    store.queue.add(RUN, new, 0)
    assert store.runs.get(RUN).counts.queries == 3


def test_deleting_and_renaming_an_arena(store):
    make_arena(store)
    make_arena(store, "other")
    label_one(store)
    store.runs.rename(RUN, "renamed")
    assert len(store.votes("renamed")[1]) == 1
    store.runs.delete("renamed")
    assert len(store.votes("other")[0]) == 2
    with store._database.reading() as connection:
        left = [
            connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("agents", "contests")
        ]
    assert left == [2, 3]


def test_after_label_again_earlier_votes_no_longer_count(store):
    make_arena(store)
    label_one(store)
    store.runs.label_again(RUN)
    assert store.votes(RUN) == (["strong", "weak"], [])


def test_a_database_of_before_there_were_arenas_is_brought_up_to_date(database_url, monkeypatch):
    def upgrade_to_1(self):
        config = Config()
        folder = Path(database.__file__).parent / "migrations"
        config.set_main_option("script_location", str(folder))
        with self._transaction() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "1")
        return 1

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "_upgrade", upgrade_to_1)
        old = database.Database(database_url)
    run, time = uuid.uuid4().hex, "2026-01-01 00:00:00"
    made = sqlalchemy.text(
        "INSERT INTO runs (id, name, env, instructions, created_at, env_changes, spaces,"
        " annotators_per_query, repeats, round) VALUES (:id, 'old', 'CartPole-v1', '', :time, '{}',"
        ' \'{"obs_shape": [4], "obs_dtype": "float32", "discrete": true, "num_actions": 2}\', 1, 0, 1)'
    )
    old.write(lambda connection: connection.execute(made, {"id": run, "time": time}))
    old.close()
    store = Store(database_url)
    assert store.schema == SCHEMA and store.runs.get("old").arena is False
    make_arena(store)
    assert len(store.votes(RUN)[0]) == 2
    store.close()
