"""Labels: what annotators said, as events that are only ever added."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, update

from prefloop.labelling.server.storage.database import AnyRow, Clock, Database, chunks
from prefloop.labelling.server.storage.errors import ConflictError, ForbiddenError, NotFoundError
from prefloop.labelling.server.storage.leases import (
    lease_of,
    left_over,
    new_lease,
    not_theirs,
    page_of,
    with_what_was_said,
)
from prefloop.labelling.server.storage.queue import add_repeat
from prefloop.labelling.server.storage.records import (
    Asked,
    Choice,
    Event,
    EventPage,
    Leases,
    NewLabel,
)
from prefloop.labelling.server.storage.runs import excluded_from, find_run
from prefloop.labelling.server.storage.statements import answering, leasing, parts, studying
from prefloop.labelling.server.storage.tables import (
    ANSWER,
    SKIP,
    UNDO,
    current_labels,
    events,
    queries,
)

PAGE = 1000  # events in one reply


class Labels:
    """The labels of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def answer(
        self,
        id: UUID,
        lease: UUID,
        choice: Choice,
        trim: tuple[int, int] | None = None,
        seconds: float | None = None,
        by: str | None = None,
        most: int | None = None,
    ) -> Event:
        """Stores what an annotator said of a leased query.

        Args:
            id: made by the page; the same answer sent again is stored once.
            trim: the steps that were compared, half-open.
            seconds: from the first look to the answer.
            by: the participant whose link says so; None: it is none's.
            most: pairs that the participant compares in their study; None: any number.

        Returns:
            The event; it is on disk.

        Raises:
            NotFoundError: there is no such lease.
            ConflictError: the id stands for something else, the annotator has labelled the query, or the
                lease had run out and the query has gone to somebody else, or a participant has
                answered as many as their link is for.
            ForbiddenError: the lease is another one's: a participant answers by their own link alone.
        """

        def job(connection: Connection) -> Event:
            asked = answering.LEASED if most is None else answering.LEASED_IN_STUDY
            row = connection.execute(asked, {"lease": lease, "event": id}).one_or_none()
            if row is None:
                raise NotFoundError("There is no such lease; fetch the next queries.", "lease")
            if by != (row.annotator if row.is_participant else None):
                raise ForbiddenError("This pair was given to somebody else to answer.", "lease")
            label = {"tie": 0.5, "skip": None}.get(
                choice, float((choice == "left") ^ row.first_is_left)
            )
            said = {
                "lease": lease,
                "kind": SKIP if choice == "skip" else ANSWER,
                "label": label,
                "trim_start": trim[0] if trim else None,
                "trim_stop": trim[1] if trim else None,
                "seconds": seconds,
            }
            if row.is_stored:
                stored = connection.execute(answering.EVENT, {"event": id}).one()
                if any(getattr(stored, key) != value for key, value in said.items()):
                    raise ConflictError("This id stands for another answer already.")
                return _event(stored, row.repeat_of)
            if trim:
                _require_inside(trim, (row.first_length, row.second_length))
            self._require_free(connection, row)
            # leases that were let go of, and are answered late, may come to more
            if most is not None and row.pairs_answered >= most:
                raise ConflictError(
                    "You have answered all the pairs that your link is for.", "enough"
                )
            values = {
                **said, "id": id, "run": row.run, "query": row.query, "annotator": row.annotator,
                "round": row.round, "first_was_left": row.first_is_left,
            }  # fmt: skip
            counts = row.repeat_of is not None or not row.is_excluded
            told = {"this_lease": lease, "this_query": row.query, "this_counts": counts}
            if not self._database.is_sqlite:
                return self._store_event(connection, values, row.repeat_of, told)
            connection.execute(answering.CLOSE_LEASE, told)
            connection.execute(answering.ONE_MORE_DONE, told)
            return self._store_event(connection, values, row.repeat_of)

        return self._database.write(job)

    def undo(
        self,
        id: UUID,
        name: str,
        annotator: str,
        session: UUID,
        seconds: float = 300.0,
        undoes: UUID | None = None,
        by_link: bool = False,
    ) -> Leases:
        """Takes back the last answer or skip of an annotator that stands, and asks again.

        Args:
            id: made by the page; the same undo sent again is stored once.
            session: of the page.
            seconds: how long the query is the annotator's again.
            undoes: the event that is meant; None: whichever is the last.
            by_link: whether it is a participant's own link that asks.

        Raises:
            NotFoundError: there is no such run.
            ForbiddenError: the name is a participant's.
            ConflictError: the id stands for something else, there is nothing to take back, or the
                last that stands is not the one that is meant.
        """

        def job(connection: Connection) -> Leases:
            run, held = page_of(connection, self._now(), name, annotator, session, by_link)
            stored = _stored(connection, id)
            if stored is not None:
                same = (stored.kind, stored.run, stored.annotator) == (UNDO, run.id, annotator)
                if not same or undoes not in (None, stored.undoes):
                    raise ConflictError("This id stands for another answer already.")
                given = [lease_of(row, row.expires_at) for row in held if row.query == stored.query]
                if given:
                    given = with_what_was_said(connection, annotator, given)
                    return Leases(given, None, "queries")
                return Leases([], left_over(connection, run), "waiting")
            last = connection.execute(
                select(current_labels)
                .where(current_labels.c.run == run.id, current_labels.c.annotator == annotator)
                .order_by(current_labels.c.number.desc())
                .limit(1)
            ).one_or_none()
            if last is None:
                raise ConflictError("There is nothing to take back.", "nothing")
            if undoes not in (None, last.id):
                raise ConflictError(
                    "That is not your last answer that stands; it is not taken back.", "not-last"
                )
            shown = select(*parts.SIDES, queries.c.repeat_of).select_from(parts.SHOWN)
            row = connection.execute(shown.where(queries.c.id == last.query)).one()
            if row.repeat_of is not None or annotator not in excluded_from(connection, run.id):
                of_query = update(queries).where(queries.c.id == last.query)
                connection.execute(of_query.values(done=queries.c.done - 1))
            now = self._now()
            lease = {
                "id": uuid.uuid4(), "run": run.id, "query": last.query, "annotator": annotator,
                "session": session, "round": run.round, "created_at": now,
                "first_is_left": last.first_was_left is not False, "open": True,
                "expires_at": now + timedelta(seconds=seconds),
            }  # fmt: skip
            connection.execute(leasing.INSERT_LEASE, lease)
            values = {
                "id": id, "run": run.id, "query": last.query, "lease": last.lease,
                "annotator": annotator, "round": run.round, "kind": UNDO, "undoes": last.id,
            }  # fmt: skip
            self._store_event(connection, values, row.repeat_of)
            given = with_what_was_said(connection, annotator, [new_lease(lease, row)])
            return Leases(given, None, "queries")

        return self._database.write(job)

    def add(self, name: str, new: Sequence[NewLabel]) -> int:
        """Stores labels that were given elsewhere, for instance by an import.

        Returns:
            How many were not stored before.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: a query is not the run's, or its annotator has labelled it already.
            ForbiddenError: the annotator takes part in a study that shows the run.
        """

        def job(connection: Connection) -> int:
            run = find_run(connection, name)
            out = excluded_from(connection, run.id)
            asked = connection.execute(studying.PARTICIPANTS_OF_RUN, {"run": run.id})
            by_link = set(asked.scalars())
            added = 0
            for label in new:
                stored = _stored(connection, label.id)
                query = self._query_of(connection, run, label)
                said = {
                    "query": query.id,
                    "annotator": label.annotator,
                    "kind": SKIP if label.label is None else ANSWER,
                    "label": label.label,
                    "trim_start": label.trim[0] if label.trim else None,
                    "trim_stop": label.trim[1] if label.trim else None,
                    "seconds": label.seconds,
                }
                if stored is not None:
                    if any(getattr(stored, key) != value for key, value in said.items()):
                        raise ConflictError(f"The id {label.id} stands for another label already.")
                    continue
                if label.annotator in by_link:
                    raise not_theirs(label.annotator)
                if label.trim:
                    _require_inside(label.trim, _lengths(connection, query))
                if _has_labelled(connection, query.id, label.annotator, run.round):
                    raise ConflictError(
                        f"{label.annotator} has labelled the query {label.query} already."
                    )
                if query.repeat_of is not None or label.annotator not in out:
                    # whoever has it before them can answer it all the same
                    taken = _taken_by_others(connection, query.id, label.annotator, self._now())
                    wanted = max(query.wanted, query.done + 1 + taken)
                    more = update(queries).where(queries.c.id == query.id)
                    connection.execute(more.values(done=query.done + 1, wanted=wanted))
                values = {
                    **said, "id": label.id, "run": run.id, "round": run.round,
                    "first_was_left": label.first_was_left,
                    "created_at": label.given_at or self._now(),
                }  # fmt: skip
                self._store_event(connection, values, query.repeat_of)
                added += 1
            return added

        return self._database.write(job)

    def since(self, name: str, after: int = 0, limit: int = PAGE) -> EventPage:
        """The run's events since a cursor: answers, skips, and undos of earlier ones.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            run = find_run(connection, name)
            found = connection.execute(
                select(events, queries.c.repeat_of)
                .join(queries, queries.c.id == events.c.query)
                .where(events.c.run == run.id, events.c.round == run.round, events.c.number > after)
                .order_by(events.c.number)
                .limit(limit + 1)
            ).all()
            rows = found[:limit]
            last = rows[-1].number if rows else after
            more = len(found) > limit
            said = [_event(row, row.repeat_of) for row in rows]
            return EventPage(
                said,
                _asked(connection, [event.query for event in said]),
                last,
                more,
                run.round,
                run.annotators_per_query,
                excluded_from(connection, run.id),
                run.forgotten,
            )

    def current(self, name: str) -> list[Event]:
        """The labels that stand, in order.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            return current_labels_of(connection, find_run(connection, name).id)

    def _query_of(self, connection: Connection, run: AnyRow, label: NewLabel) -> AnyRow:
        """What a label from elsewhere is about; of a repeat, the query that asks its annotator again.

        Raises:
            ConflictError: the run has no such query.
        """
        of_run = select(queries).where(queries.c.run == run.id)
        query = connection.execute(of_run.where(queries.c.id == label.query)).one_or_none()
        if query is None or (label.repeat and query.repeat_of is not None):
            raise ConflictError(f"A label is for a query that the run {run.name} does not have.")
        if not label.repeat:
            return query
        again = of_run.where(queries.c.repeat_of == query.id, queries.c.only_for == label.annotator)
        if (known := connection.execute(again).one_or_none()) is not None:
            return known
        add_repeat(connection, uuid.uuid4(), query, label.annotator, self._now())
        return connection.execute(again).one()

    def _require_free(self, connection: Connection, row: AnyRow) -> None:
        """Refuses an answer that is late or given already; `row` is of `answering.LEASED`."""
        if row.round != row.current_round:
            raise ConflictError("The run has begun a new round; fetch the next queries.", "round")
        if row.is_labelled:
            raise ConflictError("You have answered this query already.", "answered")
        if row.is_excluded:
            return  # it takes nobody's place
        now, taken = self._now(), 0
        # a clock that was set back and forth may have given the query to two people
        if not parts.is_live(row, now):
            taken = _taken_by_others(connection, row.query, row.annotator, now)
        if row.done + taken >= row.wanted:
            raise ConflictError(
                "The time for this query had run out and somebody else has it now.", "late"
            )

    def _store_event(
        self,
        connection: Connection,
        values: dict[str, Any],
        repeat_of: UUID | None,
        told: Mapping[str, UUID | bool] | None = None,
    ) -> Event:
        """Stores an event; with `told`, it is an answer whose lease is closed and whose query is counted."""
        row = {**_NO_EVENT, "created_at": self._now(), **values}
        statement = answering.INSERT_ANSWER if told else answering.INSERT_EVENT
        number = connection.execute(statement, {**parts.new(row), **(told or {})}).scalar_one()
        return _event_from({**row, "number": number}, repeat_of)


_NO_EVENT: dict[str, Any] = {c.name: None for c in events.columns if c is not events.c.number}


def _require_inside(trim: tuple[int, int], lengths: Sequence[int]) -> None:
    """Refuses steps that the two segments of a query do not have."""
    shorter, longer = sorted(lengths)
    if not (0 <= trim[0] < trim[1] <= longer and trim[0] < shorter):
        raise ConflictError(
            f"The steps {trim[0]} to {trim[1]} are not in segments of {shorter} and {longer} steps."
        )


def _lengths(connection: Connection, query: AnyRow) -> tuple[int, int]:
    shown = select(*parts.SIDES).select_from(parts.SHOWN).where(queries.c.id == query.id)
    row = connection.execute(shown).one()
    return row.first_length, row.second_length


def _asked(connection: Connection, ids: Sequence[UUID]) -> list[Asked]:
    """The queries of these ids, each once."""
    names = ("id", "first", "second", "iteration", "position")
    columns = [queries.c[name] for name in names]
    found = []
    for some in chunks(list(dict.fromkeys(ids))):
        rows = connection.execute(select(*columns).where(queries.c.id.in_(some)))
        found += [Asked(*row) for row in rows]
    return found


def _taken_by_others(connection: Connection, query: UUID, annotator: str, now: datetime) -> int:
    """How many live leases of a query others have."""
    asked = {"query": query, "annotator": annotator, **parts.at(now)}
    return int(connection.execute(answering.TAKEN_BY_OTHERS, asked).scalar_one())


def _has_labelled(connection: Connection, query: UUID, annotator: str, round: int) -> bool:
    asked = {"query": query, "annotator": annotator, "round": round}
    return bool(connection.execute(answering.IS_LABELLED, asked).scalar_one())


def _stored(connection: Connection, event: UUID) -> AnyRow | None:
    return connection.execute(answering.EVENT, {"event": event}).one_or_none()


def _event(row: AnyRow, repeat_of: UUID | None) -> Event:
    return _event_from(row._mapping, repeat_of)


def _event_from(row: Mapping[str, Any], repeat_of: UUID | None) -> Event:
    trimmed = row["trim_start"] is not None
    return Event(
        id=row["id"],
        number=row["number"],
        query=repeat_of or row["query"],
        repeat=repeat_of is not None,
        annotator=row["annotator"],
        kind=row["kind"],
        label=row["label"],
        first_was_left=row["first_was_left"],
        trim=(row["trim_start"], row["trim_stop"]) if trimmed else None,
        seconds=row["seconds"],
        created_at=row["created_at"],
        undoes=row["undoes"],
    )


def current_labels_of(connection: Connection, run: UUID) -> list[Event]:
    """The labels of a run that stand, in order."""
    rows = connection.execute(
        select(current_labels, queries.c.repeat_of)
        .join(queries, queries.c.id == current_labels.c.query)
        .where(current_labels.c.run == run)
        .order_by(current_labels.c.number)
    )
    return [_event(row, row.repeat_of) for row in rows]
