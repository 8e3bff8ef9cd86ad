"""The store of runs, queries and labels: plain methods, dataclasses in and out."""

import random
from datetime import datetime, timezone
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select

from prefloop.labelling.arrays import unpack
from prefloop.labelling.server.storage.arenas import agents_of, contests_of
from prefloop.labelling.server.storage.assignment import Assignment
from prefloop.labelling.server.storage.comparisons import Comparisons
from prefloop.labelling.server.storage.database import Clock, Database
from prefloop.labelling.server.storage.errors import NotFoundError
from prefloop.labelling.server.storage.labels import Labels, current_labels_of
from prefloop.labelling.server.storage.names import tidy_names
from prefloop.labelling.server.storage.people import People
from prefloop.labelling.server.storage.queue import Queue
from prefloop.labelling.server.storage.records import Exported, Vote
from prefloop.labelling.server.storage.runs import Runs, excluded_from, find_run, with_counts
from prefloop.labelling.server.storage.segments import Segments
from prefloop.labelling.server.storage.studies import Studies
from prefloop.labelling.server.storage.tables import queries, segments
from prefloop.labelling.server.storage.taking_part import TakingPart
from prefloop.labelling.server.storage.trainings import Trainings


def utc_now() -> datetime:
    """The time."""
    return datetime.now(timezone.utc)


def _is_labelled(run: UUID) -> ColumnElement[bool]:
    """Whether a segment stands in a query with a label."""
    shown = or_(queries.c.first == segments.c.id, queries.c.second == segments.c.id)
    return exists().where(queries.c.run == run, queries.c.done > 0, shown)


class Store:
    """All that is kept, in a database.

    Attributes:
        runs: labelling jobs, each for one environment.
        segments: what was done in them.
        queue: which two segments are compared, and who is shown them until when.
        labels: what annotators said.
        trainings: who trains on it now.
        comparisons: policies side by side.
        studies: how each goes, and who is invited to it by a link of their own.
        taking_part: what they do with it.
        assignment: which pairs they are shown.
        people: what is stored of whom, until they are forgotten.

    Args:
        url: `sqlite:///path` or `postgresql://...`.
        clock: what time it is, with its zone.
        rng: which segment is shown left, and which query is repeated.

    Raises:
        UserError: as `Database`.
    """

    def __init__(self, url: str, clock: Clock = utc_now, rng: random.Random | None = None) -> None:
        self._database = Database(url)
        self._database.write(tidy_names)
        self.runs = Runs(self._database, clock)
        self.segments = Segments(self._database, clock)
        rng = rng or random.Random()
        self.queue = Queue(self._database, clock, rng)
        self.labels = Labels(self._database, clock)
        self.trainings = Trainings(self._database, clock)
        self.comparisons = Comparisons(self._database, clock)
        self.studies = Studies(self._database, clock)
        self.taking_part = TakingPart(self._database, clock)
        self.assignment = Assignment(self._database, clock, self.queue, rng)
        self.people = People(self._database)

    @property
    def schema(self) -> int:
        """The number of the database's schema."""
        return self._database.schema

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()

    def sent_clips(self) -> set[str]:
        """Digests of all clips that came from outside, whatever they show: nobody can draw them again."""
        return self.segments.sent_clips() | self.trainings.videos() | self.comparisons.clips()

    def export(self, name: str) -> Exported:
        """Everything that a preference dataset of a run needs, of one moment.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.snapshot() as connection:
            row = find_run(connection, name)
            run = with_counts(connection, row)
            out = excluded_from(connection, row.id)
            labels = [e for e in current_labels_of(connection, row.id) if e.annotator not in out]
            agents = contests_of(connection, row.id)
            asked = {
                query.id: (query.first, query.second, query.iteration)
                for query in connection.execute(
                    select(queries)
                    .where(queries.c.run == row.id, queries.c.repeat_of.is_(None))
                    .order_by(queries.c.position)
                )
            }
            digests = {name: row.digest for name, row in agents_of(connection, row.id).items()}
            columns = (segments.c[name] for name in ("id", "arrays", "clip", "clip_was_sent"))
            shown = connection.execute(
                select(*columns).where(segments.c.run == row.id, _is_labelled(row.id))
            ).all()
        return Exported(
            run,
            {segment.id: unpack(segment.arrays) for segment in shown},
            asked,
            labels,
            agents,
            digests,
            {segment.id: segment.clip for segment in shown if segment.clip_was_sent},
        )

    def votes(self, name: str) -> tuple[list[str], list[Vote]]:
        """The agents of an arena by name, and the votes that stand, skips among them, in order.

        A repeat says how consistent somebody is, and is no vote.

        Raises:
            NotFoundError: there is no such run, or it is no arena.
        """
        with self._database.snapshot() as connection:
            run = find_run(connection, name).id
            agents = sorted(agents_of(connection, run))
            if not agents:
                raise NotFoundError(f"The run {name} is no arena: it compares no agents.")
            compared = contests_of(connection, run)
            out = excluded_from(connection, run)
            said = [e for e in current_labels_of(connection, run) if e.annotator not in out]
        votes = [
            Vote(event.query, *compared[event.query], event.label)
            for event in said
            if not event.repeat
        ]
        return agents, votes
