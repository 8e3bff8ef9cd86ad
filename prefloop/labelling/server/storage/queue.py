"""The queue: queries, and who is shown which until when.

A query is leased before it is shown. At any time its labels and its live leases together are at most
as many as the annotators it wants, so nobody labels in vain.
"""

import random
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, and_, exists, func, insert, or_, select, text, update

from prefloop.labelling.server.storage.arenas import contests_for
from prefloop.labelling.server.storage.database import AnyRow, Clock, Database, chunks
from prefloop.labelling.server.storage.errors import ConflictError
from prefloop.labelling.server.storage.leases import (
    lease_of,
    left_over,
    new_lease,
    not_theirs,
    page_of,
    sides_of,
    with_what_was_said,
)
from prefloop.labelling.server.storage.records import Lease, Leases, NewQuery, Side, ToShow
from prefloop.labelling.server.storage.runs import RATE, env_of, find_run, own_settings_of
from prefloop.labelling.server.storage.statements import asking, leasing, parts, studying
from prefloop.labelling.server.storage.tables import (
    ANSWER,
    contests,
    current_labels,
    leases,
    queries,
    runs,
    segments,
)

REPEAT_AFTER = 5  # answers between a query and its repeat, so that it is judged and not recalled


class Queue:
    """The queries of a database."""

    def __init__(self, database: Database, clock: Clock, rng: random.Random) -> None:
        self._database, self._now, self._rng = database, clock, rng

    def add(
        self, name: str, new: Sequence[NewQuery], iteration: int, next_up: bool = False
    ) -> None:
        """Puts queries at the end of the queue; those that are there already stay as they are.

        Args:
            next_up: at its beginning instead.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: a segment is not the run's, or is compared with itself, or an id stands
                for another query; or as `contests_for`.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            known = _queries_by_id(connection, [query.id for query in new])
            if any(query.first == query.second and query.id not in known for query in new):
                raise ConflictError("A query compares a segment with itself.")
            fresh: dict[UUID, dict[str, Any]] = {}
            for query in new:
                asked = (run.id, query.first, query.second)
                if known.setdefault(query.id, asked) != asked:
                    raise ConflictError(f"The id {query.id} stands for another query already.")
                fresh.setdefault(query.id, {"first": query.first, "second": query.second})
            compared = contests_for(connection, run.id, name, list(new))
            stored = _queries_by_id(connection, list(fresh))
            fresh = {id: sides for id, sides in fresh.items() if id not in stored}
            sides = {side for row in fresh.values() for side in row.values()}
            if _segments_of(connection, run.id, sides) != sides:
                raise ConflictError(f"A query names a segment that the run {name} does not have.")
            if next_up:
                first = connection.execute(asking.FIRST_POSITION, {"run": run.id}).scalar_one()
                begin = first - len(fresh)
            else:
                begin = connection.execute(asking.LAST_POSITION, {"run": run.id}).scalar_one() + 1
            for number, (id, row) in enumerate(fresh.items(), begin):
                row.update(
                    id=id, run=run.id, iteration=iteration, position=number, done=0,
                    wanted=run.annotators_per_query, created_at=self._now(),
                )  # fmt: skip
            if fresh:
                connection.execute(insert(queries), list(fresh.values()))
                about = {row["query"]: row for row in compared if row["query"] in fresh}
                if about:
                    connection.execute(insert(contests), list(about.values()))
                if not self._database.is_sqlite:
                    # until PostgreSQL has looked, it takes the queue for short and sorts all of it
                    connection.execute(text("ANALYZE queries, segments"))

        self._database.write(job)

    def lease(
        self,
        name: str,
        annotator: str,
        session: UUID,
        count: int,
        holding: Sequence[UUID] = (),
        seconds: float = 300.0,
        max_labels: int | None = None,
    ) -> Leases:
        """Gives an annotator queries that nobody else gets meanwhile.

        Args:
            session: of the page; leases of another session of the same annotator are not touched.
            count: how many queries, at most.
            holding: leases that the page has. Others of its session are given again, so none is
                lost with a reply that never arrived.
            seconds: how long they are the annotator's.
            max_labels: that an annotator gives in this run; None: any number.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it is archived, or part of a study.
            ForbiddenError: the name is a participant's.
        """

        def job(connection: Connection) -> Leases:
            now = self._now()
            run, held = page_of(connection, now, name, annotator, session)
            if run.archived_at is not None:
                raise ConflictError(f"The run {name} is archived; a trainer can bring it back.")
            if run.study is not None:
                raise ConflictError(
                    f"The run {name} is part of the study {run.study}: its participants label it."
                )
            expires_at = now + timedelta(seconds=seconds)
            given = self.given_again(connection, held, holding, count, expires_at)
            room = count - len(given)
            is_done = False
            if room and max_labels is not None:
                room = min(room, max_labels - self.spent(connection, run, annotator))
                is_done = room <= 0
            if room > 0:
                new = self.next(connection, run, annotator, room)
                sides = [self._rng.random() < 0.5 for _ in new]
                given += self.give(connection, run, annotator, session, new, sides, expires_at)
            if not given:
                asked = {"session": session, "annotator": annotator, "run": run.id, **parts.at(now)}
                elsewhere = connection.execute(leasing.HELD_ELSEWHERE, asked).all()
                given = self.taken_over(connection, elsewhere, session, count, expires_at)
            if given:
                given = with_what_was_said(connection, annotator, given)
                return Leases(given, None, "queries")
            left = left_over(connection, run)
            waiting = left and not is_done and self.may_come(connection, run, annotator)
            return Leases([], left, "waiting" if waiting else "finished")

        return self._database.write(job)

    def given_again(
        self,
        connection: Connection,
        held: Sequence[AnyRow],
        holding: Sequence[UUID],
        count: int,
        expires_at: datetime,
    ) -> list[Lease]:
        """Live leases of a page that it does not know of, renewed."""
        missed = [row for row in held if row.lease not in holding][:count]
        self._renew(connection, missed, expires_at=expires_at)
        return [lease_of(row, expires_at) for row in missed]

    def give(
        self,
        connection: Connection,
        run: AnyRow,
        annotator: str,
        session: UUID,
        free: Sequence[AnyRow],
        first_is_left: Sequence[bool],
        expires_at: datetime,
    ) -> list[Lease]:
        """Leases of queries that are free, each with its first on the left or not."""
        rows = [
            {
                "id": uuid.uuid4(), "run": run.id, "query": row.id, "annotator": annotator,
                "session": session, "round": run.round, "created_at": self._now(),
                "first_is_left": is_left, "expires_at": expires_at, "open": True,
            }
            for row, is_left in zip(free, first_is_left, strict=True)
        ]  # fmt: skip
        if rows:
            connection.execute(leasing.INSERT_LEASE, rows)
        return [new_lease(lease, row) for lease, row in zip(rows, free, strict=True)]

    def release(
        self, name: str, annotator: str, session: UUID, given: Mapping[UUID, datetime]
    ) -> None:
        """Takes back leases of a page that is closed, so that others get their queries at once.

        Args:
            given: when the leases run out, by id. Those of other pages or annotators stay, and
                those that were renewed: the page was loaded anew, and that was quicker than this.

        Raises:
            NotFoundError: there is no such run.
            ForbiddenError: the name is a participant's.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            if connection.execute(studying.IS_PARTICIPANT, {"annotator": annotator}).scalar_one():
                raise not_theirs(annotator)
            theirs = (
                leases.c.run == run.id,
                leases.c.annotator == annotator,
                leases.c.session == session,
            )
            for id, expires_at in given.items():
                as_known = (*theirs, leases.c.id == id, leases.c.expires_at == expires_at)
                connection.execute(update(leases).where(*as_known).values(open=False))

        self._database.write(job)

    def sides(self, name: str, asked: Collection[UUID]) -> dict[UUID, tuple[Side, Side]]:
        """First and second of queries, as they are shown; queries of other runs are left out.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            run = find_run(connection, name)
            shown = select(queries.c.id, *parts.SIDES).select_from(parts.SHOWN)
            of_run = shown.where(queries.c.run == run.id, queries.c.id.in_(asked))
            return {row.id: sides_of(row) for row in connection.execute(of_run)}

    def ahead(self, count: int) -> list[ToShow]:
        """Segments that are being looked at or will be soon, in the order of need: first what is leased, of whatever run.

        Args:
            count: queries of each run that says nothing else, beyond those that are leased.
        """
        with self._database.reading() as connection:
            shown = select(runs.c.id, runs.c.own_settings).where(runs.c.archived_at.is_(None))
            sides = self._leased_sides(connection)
            for run in connection.execute(shown).all():
                own = own_settings_of(run).get("rendered_queue_size", count)
                sides += self._sides_ahead(connection, run.id, int(own))
            return _to_show(connection, sides)

    def to_show(self, asked: Sequence[UUID]) -> list[ToShow]:
        """Segments that are named, as they are shown; those that are not there are left out."""
        with self._database.reading() as connection:
            return _to_show(connection, asked)

    def _leased_sides(self, connection: Connection) -> list[UUID]:
        """What is leased of all runs, be it far behind in its queue."""
        leased = (
            select(queries.c.first, queries.c.second)
            .join(leases, leases.c.query == queries.c.id)
            .join(runs, runs.c.id == leases.c.run)
            .where(runs.c.archived_at.is_(None), parts.LIVE)
            .order_by(leases.c.created_at, queries.c.position)
        )
        pairs = connection.execute(leased, parts.at(self._now())).all()
        return [side for pair in pairs for side in pair]

    def _sides_ahead(self, connection: Connection, run: UUID, count: int) -> list[UUID]:
        """What nobody was shown yet; after it what somebody has labelled, whose clips were made for them."""
        sides = select(queries.c.first, queries.c.second)
        now = parts.at(self._now())
        pairs: list[AnyRow] = []
        is_leased = exists().where(leases.c.query == queries.c.id, parts.LIVE)
        free = and_(queries.c.run == run, queries.c.done < queries.c.wanted, ~is_leased)
        for labelled in (queries.c.done == 0, queries.c.done > 0):
            more = sides.where(free, labelled).order_by(queries.c.position).limit(count)
            found = connection.execute(more, now).all()
            pairs += found
            count -= len(found)
            if not count:
                break
        return [side for pair in pairs for side in pair]

    def taken_over(
        self,
        connection: Connection,
        elsewhere: Sequence[AnyRow],
        session: UUID,
        count: int,
        expires_at: datetime,
    ) -> list[Lease]:
        """Live leases of the annotator's other pages, which become this one's.

        A page that was closed keeps nothing from whoever opens it again.
        """
        rows = elsewhere[:count]
        self._renew(connection, rows, session=session, expires_at=expires_at)
        return [lease_of(row, expires_at) for row in rows]

    def _renew(self, connection: Connection, rows: Sequence[AnyRow], **values: Any) -> None:
        """Gives leases anew, from now on and in the order that they have."""
        now = self._now()
        for i, row in enumerate(rows):
            given = {**values, "created_at": now + timedelta(microseconds=i)}
            connection.execute(update(leases).where(leases.c.id == row.lease).values(**given))

    def spent(self, connection: Connection, run: AnyRow, annotator: str) -> int:
        """Labels of an annotator, and leases that may become some."""
        asked = {"run": run.id, "annotator": annotator, **parts.at(self._now())}
        return int(connection.execute(leasing.SPENT, asked).scalar_one())

    def next(
        self,
        connection: Connection,
        run: AnyRow,
        annotator: str,
        count: int,
        free: Select[Any] = asking.FREE,
    ) -> list[AnyRow]:
        """Free queries, after repeats that are due.

        Args:
            free: in which order they come.
        """
        asked = {
            "run": run.id,
            "round": run.round,
            "annotator": annotator,
            "count": count,
            "turn": self._rng.random(),
            **parts.at(self._now()),
        }
        found = list(connection.execute(free, asked).all())
        owed = self._owed(connection, run, annotator) if run.repeats else 0
        if owed > 0:
            repeated = self._repeats(connection, run, annotator, min(owed, count))
            found = [*repeated, *found[: count - len(repeated)]]
        return found

    def _owed(self, connection: Connection, run: AnyRow, annotator: str) -> int:
        """How many repeats an annotator is to get for the labels so far, without those they have."""
        labelled = (
            select(func.count())
            .select_from(current_labels)
            .join(queries, queries.c.id == current_labels.c.query)
            .where(
                current_labels.c.run == run.id,
                current_labels.c.annotator == annotator,
                queries.c.repeat_of.is_(None),
            )
        )
        leased = exists().where(leases.c.query == queries.c.id, parts.LIVE)
        repeated = select(func.count()).where(
            queries.c.run == run.id,
            queries.c.only_for == annotator,
            or_(queries.c.done > 0, leased),
        )
        labels = connection.execute(labelled).scalar_one()
        had = connection.execute(repeated, parts.at(self._now())).scalar_one()
        return int(run.repeats * labels) - had

    def _repeats(
        self, connection: Connection, run: AnyRow, annotator: str, count: int
    ) -> list[AnyRow]:
        """Queries that the annotator labelled a while ago, to be asked again."""
        theirs = [current_labels.c.run == run.id, current_labels.c.annotator == annotator]
        recent = (
            select(current_labels.c.number)
            .where(*theirs)
            .order_by(current_labels.c.number.desc())
            .limit(1)
            .offset(REPEAT_AFTER - 1)
        )
        newest = connection.execute(recent).scalar_one_or_none()
        if newest is None:
            return []
        again = queries.alias("again")
        leased = and_(leases.c.query == again.c.id, parts.LIVE)
        due = (
            select(queries, again.c.id.label("again"))
            .join(current_labels, current_labels.c.query == queries.c.id)
            .outerjoin(
                again, and_(again.c.repeat_of == queries.c.id, again.c.only_for == annotator)
            )
            .where(
                *theirs,
                queries.c.repeat_of.is_(None),
                current_labels.c.number < newest,
                current_labels.c.kind == ANSWER,
                or_(again.c.id.is_(None), and_(again.c.done == 0, ~exists().where(leased))),
            )
            .order_by(current_labels.c.number)
            .limit(count)
        )
        ids = []
        for row in connection.execute(due, parts.at(self._now())).all():
            ids.append(row.again or uuid.uuid4())
            if row.again is None:
                add_repeat(connection, ids[-1], row, annotator, self._now())
        if not ids:
            return []
        shown = select(queries.c.id, *parts.SIDES, asking.MORE_LEFT).select_from(parts.SHOWN)
        asked = shown.where(queries.c.id.in_(ids))
        return list(connection.execute(asked, parts.at(self._now())).all())

    def may_come(self, connection: Connection, run: AnyRow, annotator: str) -> bool:
        """Whether a query is left that this annotator could get once others let go of it."""
        asked = {"run": run.id, "round": run.round, "annotator": annotator}
        return connection.execute(asking.UNLABELLED, asked).one_or_none() is not None


def add_repeat(
    connection: Connection, id: UUID, query: AnyRow, annotator: str, now: datetime
) -> None:
    """Has somebody be asked again what they have answered; `query` is a row of `queries`."""
    repeat = {
        "id": id, "run": query.run, "first": query.first, "second": query.second,
        "wanted": 1, "done": 0, "iteration": query.iteration, "repeat_of": query.id,
        "only_for": annotator, "created_at": now,
    }  # fmt: skip
    connection.execute(asking.INSERT_REPEAT, parts.new(repeat))


def _to_show(connection: Connection, asked: Sequence[UUID]) -> list[ToShow]:
    found: dict[UUID, ToShow] = {}
    for some in chunks(list(dict.fromkeys(asked))):
        rows = connection.execute(
            select(
                segments.c.id,
                runs.c.env,
                runs.c.env_changes,
                runs.c.own_settings,
                runs.c.frames_per_second,
                segments.c.clip,
                segments.c.clip_was_sent,
                segments.c.clip_error,
            )
            .join(runs, runs.c.id == segments.c.run)
            .where(segments.c.id.in_(some))
        )
        shown = {row.id: _shown(row) for row in rows}
        found.update((id, shown[id]) for id in some if id in shown)
    return list(found.values())


def _shown(row: AnyRow) -> ToShow:
    return ToShow(
        segment=row.id,
        env=env_of(row),
        frames_per_second=row.frames_per_second,
        own_rate=own_settings_of(row).get(RATE),
        clip=row.clip,
        clip_was_sent=row.clip_was_sent,
        clip_error=row.clip_error,
    )


def _segments_of(connection: Connection, run: UUID, ids: set[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for some in chunks(list(ids)):
        own = select(segments.c.id).where(segments.c.run == run, segments.c.id.in_(some))
        found.update(connection.execute(own).scalars())
    return found


def _queries_by_id(
    connection: Connection, ids: Sequence[UUID]
) -> dict[UUID, tuple[UUID, UUID, UUID]]:
    found: dict[UUID, tuple[UUID, UUID, UUID]] = {}
    for some in chunks(ids):
        for row in connection.execute(select(queries).where(queries.c.id.in_(some))):
            found[row.id] = (row.run, row.first, row.second)
    return found
