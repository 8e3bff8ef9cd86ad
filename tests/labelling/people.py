"""Runs to label, made up."""

import random
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import sqlalchemy

from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces
from prefloop.labelling.arrays import Segment
from prefloop.labelling.server.storage.migrations import versions
from prefloop.labelling.server.storage.records import NewQuery, RunFacts

FACTS = RunFacts(EnvSettings(env="CartPole-v1"), Spaces((4,), "float32", True, 2))
RUN = "cartpole-01"
SESSION = uuid.UUID(int=1)
# of a store that is up to date: the newest of its migrations
SCHEMA = max(
    int(file.stem.removeprefix("schema_"))
    for file in Path(versions.__file__).parent.glob("schema_*.py")
)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self):
        return self.time

    def go(self, seconds):
        self.time += timedelta(seconds=seconds)


def make_segment(number, length=5):
    rng = np.random.default_rng(number)
    return Segment(
        rng.normal(size=(length, 4)).astype(np.float32),
        rng.integers(2, size=length),
        np.ones(length, dtype=np.float32),
        first_step=number,
    )


def make_run(store, name=RUN, num_queries=4, length=5, **facts):
    """A run whose query i compares segment 2 i with segment 2 i + 1; the queries' ids."""
    store.runs.put(name, RunFacts(**{**FACTS.__dict__, **facts}))
    segments = store.segments.add(name, [make_segment(i, length) for i in range(2 * num_queries)])
    new = [NewQuery(uuid.uuid4(), segments[2 * i], segments[2 * i + 1]) for i in range(num_queries)]
    store.queue.add(name, new, iteration=0)
    return [query.id for query in new]


def label_one(store, name=RUN, annotator="ada", choice="left", **lease):
    """Leases a query and answers it; the event, or None where nothing is free."""
    given = store.queue.lease(name, annotator, SESSION, 1, **lease)
    if not given.queries:
        return None
    return store.labels.answer(uuid.uuid4(), given.queries[0].id, choice)


def segment_ids(store, name=RUN):
    """The ids of a run's segments."""
    of_run = sqlalchemy.text(
        "SELECT s.id FROM segments s JOIN runs r ON r.id = s.run WHERE r.name = :name"
    )
    with store._database.reading() as connection:
        found = connection.execute(of_run.columns(id=sqlalchemy.Uuid), {"name": name})
        return list(found.scalars())


def seeded(seed=0):
    return random.Random(seed)
