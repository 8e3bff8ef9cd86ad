"""Comparisons: policies side by side, as somebody has sent them. Their clips are named by content."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select, update

from prefloop.labelling.server.storage.database import Clock, Database, chunks
from prefloop.labelling.server.storage.errors import NotFoundError
from prefloop.labelling.server.storage.tables import comparison_clips, comparisons

UNFINISHED = timedelta(days=1)  # after which one whose clips never came is forgotten


@dataclass(frozen=True)
class Comparison:
    """A comparison, in brief.

    Attributes:
        runs: their names.
        by: who shows it; None: they did not say.
        clips: how many it has.
    """

    id: UUID
    env: str
    runs: list[str]
    by: str | None
    created_at: datetime
    clips: int


def _none() -> NotFoundError:
    return NotFoundError("There is no such comparison; it may have been removed.")


class Comparisons:
    """The comparisons of a database. One is shown once all of its clips have come."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def put(self, id: UUID, about: Mapping[str, Any], clips: Collection[str]) -> None:
        """Keeps a comparison, in place of another one of this id; its clips are protected from now on.

        Args:
            about: as JSON holds it, with `env`, `by` and `runs`, each with a `name`.
            clips: digests.
        """
        text, now = json.dumps(about), self._now()

        def job(connection: Connection) -> None:
            late = ~comparisons.c.complete, comparisons.c.created_at < now - UNFINISHED
            connection.execute(delete(comparisons).where(*late))
            of_id = comparisons.c.id == id
            found = connection.execute(select(comparisons.c.about).where(of_id)).scalar()
            if found == text:
                return
            connection.execute(delete(comparisons).where(of_id))
            connection.execute(
                insert(comparisons).values(
                    id=id,
                    env=about["env"],
                    runs=json.dumps([run["name"] for run in about["runs"]]),
                    by=about["by"],
                    about=text,
                    complete=False,
                    created_at=now,
                )
            )
            rows = [{"comparison": id, "clip": clip} for clip in sorted(clips)]
            for some in chunks(rows):
                connection.execute(insert(comparison_clips), some)

        self._database.write(job)

    def complete(self, id: UUID) -> None:
        """Shows it from now on: all of its clips are there.

        Raises:
            NotFoundError: there is no such comparison.
        """

        def job(connection: Connection) -> None:
            of_id = comparisons.c.id == id
            if not connection.execute(
                update(comparisons).where(of_id).values(complete=True)
            ).rowcount:
                raise _none()

        self._database.write(job)

    def all(self) -> list[Comparison]:
        """Those that are complete, the newest first."""
        brief = [c for c in comparisons.c if c is not comparisons.c.about]  # which is long
        clips = (
            select(func.count())
            .where(comparison_clips.c.comparison == comparisons.c.id)
            .scalar_subquery()
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*brief, clips.label("clips"))
                .where(comparisons.c.complete)
                .order_by(comparisons.c.created_at.desc(), comparisons.c.id)
            ).all()
        return [
            Comparison(row.id, row.env, json.loads(row.runs), row.by, row.created_at, row.clips)
            for row in rows
        ]

    def get(self, id: UUID) -> str:
        """All that a complete one says, as JSON.

        Raises:
            NotFoundError: there is no such comparison.
        """
        with self._database.reading() as connection:
            found: str | None = connection.execute(
                select(comparisons.c.about).where(comparisons.c.id == id, comparisons.c.complete)
            ).scalar()
        if found is None:
            raise _none()
        return found

    def has_clip(self, id: UUID, clip: str) -> bool:
        """Whether a comparison, complete or not, names a clip."""
        of_both = comparison_clips.c.comparison == id, comparison_clips.c.clip == clip
        with self._database.reading() as connection:
            return connection.execute(select(comparison_clips).where(*of_both)).first() is not None

    def clips(self) -> set[str]:
        """Digests of the clips of all of them: nobody can draw them again."""
        with self._database.reading() as connection:
            return set(connection.execute(select(comparison_clips.c.clip).distinct()).scalars())

    def remove(self, id: UUID) -> list[str]:
        """Removes one, complete or not.

        Returns:
            Digests of its clips.

        Raises:
            NotFoundError: there is no such comparison.
        """

        def job(connection: Connection) -> list[str]:
            of_id = comparison_clips.c.comparison == id
            clips = list(connection.execute(select(comparison_clips.c.clip).where(of_id)).scalars())
            if not connection.execute(delete(comparisons).where(comparisons.c.id == id)).rowcount:
                raise _none()
            return clips

        return self._database.write(job)
