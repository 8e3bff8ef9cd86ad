"""Segments: what was done, and the clips that show it."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, insert, select, update

from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces
from prefloop.labelling.arrays import Segment, unpack
from prefloop.labelling.server.storage.database import Clock, Database, chunks
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.packed import Packed, packed
from prefloop.labelling.server.storage.runs import env_of, find_run, spaces_of_run
from prefloop.labelling.server.storage.tables import runs, segments


class Segments:
    """The segments of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def add(self, name: str, new: Sequence[Segment]) -> list[UUID]:
        """Stores segments; one that the run holds already is not stored again.

        Returns:
            Their ids, in order.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: they are of other sizes than the run's.
        """
        spaces = self.spaces(name)
        return self.add_packed(name, packed(new, spaces), spaces)

    def spaces(self, name: str) -> Spaces:
        """What a run's segments must be of.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            return spaces_of_run(find_run(connection, name))

    def add_packed(self, name: str, new: Sequence[Packed], spaces: Spaces) -> list[UUID]:
        """Stores segments that were packed for a run with these spaces; otherwise as `add`."""
        rows: list[dict[str, Any]] = [asdict(segment) for segment in new]

        def job(connection: Connection) -> list[UUID]:
            run = find_run(connection, name)
            if spaces_of_run(run) != spaces:
                raise ConflictError(f"{name} is another run now.")
            ids = _segments_by_digest(connection, run.id, [row["digest"] for row in rows])
            fresh = []
            for row in rows:
                if row["digest"] not in ids:
                    ids[row["digest"]] = uuid.uuid4()
                    own = {"id": ids[row["digest"]], "run": run.id, "clip_was_sent": False}
                    fresh.append({**row, **own, "created_at": self._now()})
            if fresh:
                connection.execute(insert(segments), fresh)
            return [ids[row["digest"]] for row in rows]

        return self._database.write(job)

    def get(self, segment: UUID) -> Segment:
        """A segment's arrays.

        Raises:
            NotFoundError: there is none with this id.
        """
        with self._database.reading() as connection:
            arrays = select(segments.c.arrays).where(segments.c.id == segment)
            data = connection.execute(arrays).scalar_one_or_none()
        if data is None:
            raise NotFoundError("There is no such segment.")
        return unpack(data)

    def env_of(self, segment: UUID) -> EnvSettings:
        """What a segment was done in.

        Raises:
            NotFoundError: there is none with this id.
        """
        facts = (
            select(runs.c.env, runs.c.env_changes)
            .join(segments, segments.c.run == runs.c.id)
            .where(segments.c.id == segment)
        )
        with self._database.reading() as connection:
            row = connection.execute(facts).one_or_none()
        if row is None:
            raise NotFoundError("There is no such segment.")
        return env_of(row)

    def get_many(self, name: str, ids: Sequence[UUID], with_replay: bool = False) -> list[Segment]:
        """Segments of a run, in this order, without what shows them if that is not asked for.

        Raises:
            NotFoundError: there is no such run, or it has no such segment.
        """
        data: dict[UUID, bytes] = {}
        with self._database.reading() as connection:
            run = find_run(connection, name)
            for some in chunks(list(ids)):
                rows = connection.execute(
                    select(segments.c.id, segments.c.arrays).where(
                        segments.c.run == run.id, segments.c.id.in_(some)
                    )
                )
                data.update((row.id, row.arrays) for row in rows)
        if missing := set(ids) - data.keys():
            raise NotFoundError(f"{name} has no segment {min(missing, key=str)}.")
        found = [unpack(data[id]) for id in ids]
        return found if with_replay else [replace(segment, replay={}) for segment in found]

    def length(self, segment: UUID) -> int:
        """How many steps a segment has.

        Raises:
            NotFoundError: there is none with this id.
        """
        with self._database.reading() as connection:
            length = select(segments.c.length).where(segments.c.id == segment)
            found = connection.execute(length).scalar_one_or_none()
        if found is None:
            raise NotFoundError("There is no such segment.")
        return int(found)

    def set_clip(self, segment: UUID, digest: str, sent: bool) -> None:
        """Says which video shows a segment.

        Args:
            sent: it came from outside; a rendered one never takes its place.

        Raises:
            NotFoundError: there is no such segment.
        """

        def job(connection: Connection) -> None:
            this = segments.c.id == segment
            found = select(segments.c.clip_was_sent).where(this)
            was_sent = connection.execute(found).scalar_one_or_none()
            if was_sent is None:
                raise NotFoundError("There is no such segment.")
            if sent or not was_sent:
                values: dict[str, Any] = {"clip": digest, "clip_was_sent": sent}
                if sent:
                    values["clip_error"] = None
                connection.execute(update(segments).where(this).values(**values))

        self._database.write(job)

    def set_clip_error(self, segment: UUID, sentence: str) -> None:
        """Says why a segment can't be drawn. A clip that comes later is a plot of it."""

        def job(connection: Connection) -> None:
            this = and_(segments.c.id == segment, ~segments.c.clip_was_sent)
            values = {"clip": None, "clip_error": sentence}
            connection.execute(update(segments).where(this).values(**values))

        self._database.write(job)

    def sent_clips(self) -> set[str]:
        """Digests of the videos that came from outside: nobody can render them again."""
        with self._database.reading() as connection:
            sent = select(segments.c.clip).where(segments.c.clip_was_sent).distinct()
            return set(connection.execute(sent).scalars())


def _segments_by_digest(
    connection: Connection, run: UUID, digests: Sequence[str]
) -> dict[str, UUID]:
    found: dict[str, UUID] = {}
    for some in chunks(digests):
        known = select(segments.c.digest, segments.c.id).where(
            segments.c.run == run, segments.c.digest.in_(some)
        )
        found.update((row.digest, row.id) for row in connection.execute(known))
    return found
