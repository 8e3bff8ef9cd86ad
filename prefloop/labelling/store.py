"""The store of runs, queries and labels: plain methods, dataclasses in and out.

What an annotator said is an event that is never changed or removed, but with its whole run. A query
is leased before it is shown. At any time its labels and its live leases together are at most as
many as the annotators it wants, so nobody labels in vain.
"""

import json
import random
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    and_,
    case,
    delete,
    distinct,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from prefloop.errors import UserError
from prefloop.labelling import statements as sql
from prefloop.labelling.arrays import Segment, pack, unpack
from prefloop.labelling.database import Database
from prefloop.labelling.records import (
    Choice,
    Counts,
    Event,
    Exported,
    Labels,
    Lease,
    Leases,
    NewLabel,
    NewQuery,
    Run,
    RunFacts,
    Side,
    ToShow,
)
from prefloop.labelling.tables import (
    ANSWER,
    SKIP,
    UNDO,
    current_labels,
    events,
    leases,
    queries,
    runs,
    segments,
)

REPEAT_AFTER = 5  # answers between a query and its repeat, so that it is judged and not recalled
PAGE = 1000  # events in one reply

AnyRow = Any  # of a result; which columns it has depends on the query


class NotFoundError(UserError):
    """There is no such run, segment or lease."""


class ConflictError(UserError):
    """It contradicts what is stored."""


def utc_now() -> datetime:
    """The time."""
    return datetime.now(timezone.utc)


class Store:
    """Runs, segments, queries, leases and events in a database.

    Args:
        url: `sqlite:///path` or `postgresql://...`.
        clock: what time it is, with its zone.
        rng: which segment is shown left, and which query is repeated.

    Raises:
        UserError: as `Database`.
    """

    def __init__(
        self,
        url: str,
        clock: Callable[[], datetime] = utc_now,
        rng: random.Random | None = None,
    ) -> None:
        self._database = Database(url)
        self._now = clock
        self._rng = rng or random.Random()

    @property
    def schema(self) -> int:
        """The number of the database's schema."""
        return self._database.schema

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()

    # runs

    def put_run(
        self, name: str, facts: RunFacts, annotators_per_query: int = 1, repeats: float = 0.0
    ) -> Run:
        """Makes a run, or goes on with the one of this name.

        Args:
            annotators_per_query, repeats: for a new run whose facts leave them open.

        Raises:
            ConflictError: the name is taken by a run of another environment or of other sizes.
        """
        given = {field.name: getattr(facts, field.name) for field in fields(RunFacts)}

        def job(connection: Connection) -> None:
            found = connection.execute(
                sql.RUN_NAMED.with_for_update(), {"name": name}
            ).one_or_none()
            if found is None:
                defaults = {
                    "instructions": "",
                    "annotators_per_query": annotators_per_query,
                    "repeats": repeats,
                }
                values = {k: defaults.get(k) if v is None else v for k, v in given.items()}
                connection.execute(
                    insert(runs).values(
                        id=uuid.uuid4(), name=name, created_at=self._now(), round=1,
                        last_event=0, last_position=0, **values,
                    )
                )  # fmt: skip
                return
            for fact in ("env", "obs_dim", "action_dim", "discrete"):
                if getattr(found, fact) != given[fact]:
                    raise ConflictError(
                        f"The run {name} exists and its {fact} is {getattr(found, fact)}, not "
                        f"{given[fact]}; choose another name."
                    )
            changed = {k: v for k, v in given.items() if v is not None and v != getattr(found, k)}
            if changed:
                connection.execute(update(runs).where(runs.c.id == found.id).values(**changed))

        self._database.write(job)
        return self.run(name)

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(runs).order_by(runs.c.created_at.desc(), runs.c.name))
            counts = _counts(connection)
            return [_run(row, counts.get(row.id, Counts())) for row in rows]

    def run(self, name: str) -> Run:
        """One run.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._database.reading() as connection:
            row = _find_run(connection, name)
            return _run(row, _counts(connection, row.id).get(row.id, Counts()))

    def rename(self, name: str, new_name: str) -> Run:
        """Gives a run another name.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: the new name is taken.
        """

        def job(connection: Connection) -> None:
            run = _find_run(connection, name)
            taken = connection.execute(sql.RUN_NAMED, {"name": new_name}).one_or_none()
            if taken is not None and taken.id != run.id:
                raise ConflictError(f"There is a run {new_name} already.")
            connection.execute(update(runs).where(runs.c.id == run.id).values(name=new_name))

        self._database.write(job)
        return self.run(new_name)

    def delete(self, name: str) -> list[str]:
        """Removes a run with all its segments, queries and labels.

        Returns:
            Digests of videos that were sent to it and that no other run shows.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> list[str]:
            run = _find_run(connection, name)
            others = segments.alias()
            sent = (
                select(segments.c.clip)
                .distinct()
                .where(
                    segments.c.run == run.id,
                    segments.c.clip_was_sent,
                    segments.c.clip.is_not(None),
                    ~exists().where(others.c.clip == segments.c.clip, others.c.run != run.id),
                )
            )
            digests = list(connection.execute(sent).scalars())
            # in this order no row has to be looked for that refers to a removed one
            for table in (events, leases, queries, segments):
                connection.execute(delete(table).where(table.c.run == run.id))
            connection.execute(delete(runs).where(runs.c.id == run.id))
            return digests

        return self._database.write(job)

    def label_again(self, name: str) -> Run:
        """Begins a new round: every query is asked again. The labels so far stay stored.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> None:
            run = _find_run(connection, name)
            asked = queries.c.run == run.id
            connection.execute(update(queries).where(asked).values(done=0))
            connection.execute(
                update(runs).where(runs.c.id == run.id).values(round=runs.c.round + 1)
            )
            live = and_(leases.c.run == run.id, leases.c.open)
            connection.execute(update(leases).where(live).values(open=False))

        self._database.write(job)
        return self.run(name)

    def put_reward_report(self, name: str, report: Mapping[str, Any]) -> None:
        """Keeps what the trainer says of its reward model.

        Raises:
            NotFoundError: there is no such run.
        """
        content = json.dumps(report)

        def job(connection: Connection) -> None:
            run = _find_run(connection, name)
            values = update(runs).where(runs.c.id == run.id).values(reward_report=content)
            connection.execute(values)

        self._database.write(job)

    # segments and queries

    def add_segments(self, name: str, new: Sequence[Segment]) -> list[UUID]:
        """Stores segments; one that the run holds already is not stored again.

        Returns:
            Their ids, in order.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: they are of other sizes than the run's.
        """
        rows: list[dict[str, Any]] = [
            {"digest": segment.digest, "arrays": pack(segment), "length": segment.length}
            for segment in new
        ]

        def job(connection: Connection) -> list[UUID]:
            run = connection.execute(sql.RUN_NAMED.with_for_update(), {"name": name}).one_or_none()
            if run is None:
                raise _no_run(name)
            for segment in new:
                _require_fitting(segment, run)
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

    def segment(self, segment: UUID) -> Segment:
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

    def has_segment(self, segment: UUID) -> bool:
        """Whether there is a segment with this id."""
        with self._database.reading() as connection:
            found = select(segments.c.id).where(segments.c.id == segment)
            return connection.execute(found).one_or_none() is not None

    def set_clip(self, segment: UUID, digest: str, sent: bool) -> None:
        """Says which video shows a segment.

        Args:
            sent: it came from outside; a rendered one never takes its place.

        Raises:
            NotFoundError: there is no such segment.
        """

        def job(connection: Connection) -> None:
            this = segments.c.id == segment
            found = select(segments.c.clip_was_sent).where(this).with_for_update()
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

    def ahead(self, count: int) -> list[ToShow]:
        """Segments that are being looked at or will be soon, in the order of need.

        Args:
            count: queries of each run, beyond those that are leased.
        """
        found: dict[UUID, ToShow] = {}
        with self._database.reading() as connection:
            for run in connection.execute(select(runs.c.id, runs.c.env, runs.c.frames_per_second)):
                leased = select(func.count()).where(leases.c.run == run.id, sql.LIVE)
                limit = count + connection.execute(leased, {"now": self._now()}).scalar_one()
                pairs = (
                    select(queries.c.first, queries.c.second)
                    .where(queries.c.run == run.id, queries.c.done < queries.c.wanted)
                    .order_by(queries.c.position)
                    .limit(limit)
                )
                wanted = [side for pair in connection.execute(pairs) for side in pair]
                clips = {
                    row.id: row
                    for row in connection.execute(
                        select(
                            segments.c.id,
                            segments.c.clip,
                            segments.c.clip_was_sent,
                            segments.c.clip_error,
                        ).where(segments.c.id.in_(set(wanted)))
                    )
                }
                for side in wanted:
                    if side in clips:
                        row = clips[side]
                        found[side] = ToShow(
                            side,
                            run.env,
                            run.frames_per_second,
                            row.clip,
                            row.clip_was_sent,
                            row.clip_error,
                        )
        return list(found.values())

    def add_queries(self, name: str, new: Sequence[NewQuery], iteration: int) -> None:
        """Puts queries at the end of the queue; those that are there already stay as they are.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: a segment is not the run's, or an id stands for another query.
        """

        def job(connection: Connection) -> None:
            run = connection.execute(sql.RUN_NAMED.with_for_update(), {"name": name}).one_or_none()
            if run is None:
                raise _no_run(name)
            known = _queries_by_id(connection, [query.id for query in new])
            fresh: dict[UUID, dict[str, Any]] = {}
            for query in new:
                asked = (run.id, query.first, query.second)
                if known.setdefault(query.id, asked) != asked:
                    raise ConflictError(f"The id {query.id} stands for another query already.")
                fresh.setdefault(query.id, {"first": query.first, "second": query.second})
            stored = _queries_by_id(connection, list(fresh))
            fresh = {id: sides for id, sides in fresh.items() if id not in stored}
            sides = {side for row in fresh.values() for side in row.values()}
            if _segments_of(connection, run.id, sides) != sides:
                raise ConflictError(f"A query names a segment that the run {name} does not have.")
            for number, (id, row) in enumerate(fresh.items(), run.last_position + 1):
                row.update(
                    id=id, run=run.id, iteration=iteration, position=number, done=0,
                    wanted=run.annotators_per_query, created_at=self._now(),
                )  # fmt: skip
            if fresh:
                connection.execute(insert(queries), list(fresh.values()))
                last = run.last_position + len(fresh)
                connection.execute(
                    update(runs).where(runs.c.id == run.id).values(last_position=last)
                )
                if not self._database.is_sqlite:
                    # until PostgreSQL has looked, it takes the queue for short and sorts all of it
                    connection.execute(text("ANALYZE queries, segments"))

        self._database.write(job)

    # labelling

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
        """

        def job(connection: Connection) -> Leases:
            run = _find_run(connection, name)
            now = self._now()
            expires_at = now + timedelta(seconds=seconds)
            held = self._held(connection, run, annotator, session)
            missed = [row for row in held if row.id not in holding][:count]
            if missed:
                again = leases.c.id.in_([row.id for row in missed])
                connection.execute(update(leases).where(again).values(expires_at=expires_at))
            given = [
                _lease(row.id, row.query, row.first_is_left, row, expires_at) for row in missed
            ]
            room = count - len(given)
            if room and max_labels is not None:
                room = min(room, max_labels - self._spent(connection, run, annotator))
                if room <= 0 and not given:
                    return Leases([], _left_over(connection, run.id), "finished")
            if room > 0:
                new = self._next(connection, run, annotator, room)
                rows = [
                    {
                        "id": uuid.uuid4(), "run": run.id, "query": row.id, "annotator": annotator,
                        "session": session, "round": run.round, "created_at": now,
                        "first_is_left": self._rng.random() < 0.5, "expires_at": expires_at,
                        "open": True,
                    }
                    for row in new
                ]  # fmt: skip
                if rows:
                    connection.execute(sql.INSERT_LEASE, rows)
                given += [
                    _lease(lease["id"], row.id, lease["first_is_left"], row, expires_at)
                    for lease, row in zip(rows, new, strict=True)
                ]
            if not given:
                # a page that was closed keeps nothing from whoever opens it again
                given = self._taken_over(connection, run, annotator, session, count, expires_at)
            left = max(_left_over(connection, run.id) - len(given), 0)
            if given:
                return Leases(given, left, "queries")
            waiting = left and self._may_come(connection, run, annotator)
            return Leases([], left, "waiting" if waiting else "finished")

        return self._database.write(job)

    def answer(
        self,
        id: UUID,
        lease: UUID,
        choice: Choice,
        trim: tuple[int, int] | None = None,
        seconds: float | None = None,
    ) -> Event:
        """Stores what an annotator said of a leased query.

        Args:
            id: made by the page; the same answer sent again is stored once.
            trim: the steps that were compared, half-open.
            seconds: from the first look to the answer.

        Returns:
            The event; it is on disk.

        Raises:
            NotFoundError: there is no such lease.
            ConflictError: the id stands for something else, the annotator has labelled the query, or the
                lease had run out and the query has gone to somebody else.
        """

        def job(connection: Connection) -> Event:
            row = connection.execute(sql.LEASED, {"lease": lease}).one_or_none()
            if row is None:
                raise NotFoundError("There is no such lease; fetch the next queries.")
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
            stored = _stored(connection, id)
            if stored is not None:
                if any(getattr(stored, key) != value for key, value in said.items()):
                    raise ConflictError("This id stands for another answer already.")
                return _event(stored, row.repeat_of)
            lengths = sorted((row.first_length, row.second_length))
            if trim and not (0 <= trim[0] < trim[1] <= lengths[1] and trim[0] < lengths[0]):
                raise ConflictError(
                    f"The steps {trim[0]} to {trim[1]} are not in segments of {lengths[0]} and "
                    f"{lengths[1]} steps."
                )
            self._require_free(connection, row)
            connection.execute(sql.CLOSE_LEASE, {"this_lease": lease})
            connection.execute(sql.ONE_MORE_DONE, {"this_query": row.query})
            values = {
                **said, "id": id, "run": row.run, "query": row.query, "annotator": row.annotator,
                "round": row.round, "first_was_left": row.first_is_left,
            }  # fmt: skip
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
    ) -> Leases:
        """Takes back the last answer or skip of an annotator that stands, and asks again.

        Args:
            id: made by the page; the same undo sent again is stored once.
            session: of the page.
            seconds: how long the query is the annotator's again.
            undoes: the event that is meant; None: whichever is the last.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: the id stands for something else, there is nothing to take back, or the
                last that stands is not the one that is meant.
        """

        def job(connection: Connection) -> Leases:
            run = _find_run(connection, name)
            stored = _stored(connection, id)
            if stored is not None:
                same = (stored.kind, stored.run, stored.annotator) == (UNDO, run.id, annotator)
                if not same or undoes not in (None, stored.undoes):
                    raise ConflictError("This id stands for another answer already.")
                held = self._held(connection, run, annotator, session)
                given = [
                    _lease(row.id, row.query, row.first_is_left, row, row.expires_at)
                    for row in held
                    if row.query == stored.query
                ]
                left = max(_left_over(connection, run.id) - len(given), 0)
                return Leases(given, left, "queries" if given else "waiting")
            last = connection.execute(
                select(current_labels)
                .where(current_labels.c.run == run.id, current_labels.c.annotator == annotator)
                .order_by(current_labels.c.number.desc())
                .limit(1)
            ).one_or_none()
            if last is None:
                raise ConflictError("There is nothing to take back.")
            if undoes not in (None, last.id):
                raise ConflictError(
                    "That is not your last answer that stands; it is not taken back."
                )
            shown = select(*sql.SIDES, queries.c.repeat_of).select_from(sql.SHOWN)
            row = connection.execute(
                shown.where(queries.c.id == last.query).with_for_update(of=queries)
            ).one()
            fewer = (
                update(queries).where(queries.c.id == last.query).values(done=queries.c.done - 1)
            )
            connection.execute(fewer)
            now = self._now()
            lease = {
                "id": uuid.uuid4(), "run": run.id, "query": last.query, "annotator": annotator,
                "session": session, "round": run.round, "created_at": now,
                "first_is_left": last.first_was_left is not False, "open": True,
                "expires_at": now + timedelta(seconds=seconds),
            }  # fmt: skip
            connection.execute(sql.INSERT_LEASE, lease)
            values = {
                "id": id, "run": run.id, "query": last.query, "lease": last.lease,
                "annotator": annotator, "round": run.round, "kind": UNDO, "undoes": last.id,
            }  # fmt: skip
            self._store_event(connection, values, row.repeat_of)
            given = [
                _lease(lease["id"], last.query, lease["first_is_left"], row, lease["expires_at"])
            ]
            return Leases(given, max(_left_over(connection, run.id) - 1, 0), "queries")

        return self._database.write(job)

    def add_labels(self, name: str, new: Sequence[NewLabel]) -> int:
        """Stores labels that were given elsewhere, for instance by an import.

        Returns:
            How many were not stored before.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: a query is not the run's, or its annotator has labelled it already.
        """

        def job(connection: Connection) -> int:
            run = _find_run(connection, name)
            added = 0
            for label in new:
                stored = _stored(connection, label.id)
                said = {
                    "query": label.query,
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
                query = connection.execute(
                    select(queries)
                    .where(queries.c.id == label.query, queries.c.run == run.id)
                    .with_for_update()
                ).one_or_none()
                if query is None:
                    raise ConflictError(
                        f"A label is for a query that the run {name} does not have."
                    )
                if _has_labelled(connection, label.query, label.annotator, run.round):
                    raise ConflictError(
                        f"{label.annotator} has labelled the query {label.query} already."
                    )
                wanted = max(query.wanted, query.done + 1)
                more = update(queries).where(queries.c.id == query.id)
                connection.execute(more.values(done=query.done + 1, wanted=wanted))
                values = {**said, "id": label.id, "run": run.id, "round": run.round}
                self._store_event(connection, values, query.repeat_of)
                added += 1
            return added

        return self._database.write(job)

    def sides(self, name: str, asked: Collection[UUID]) -> dict[UUID, tuple[Side, Side]]:
        """First and second of queries, as they are shown; queries of other runs are left out.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            run = _find_run(connection, name)
            shown = select(queries.c.id, *sql.SIDES).select_from(sql.SHOWN)
            of_run = shown.where(queries.c.run == run.id, queries.c.id.in_(asked))
            return {row.id: _sides(row) for row in connection.execute(of_run)}

    # reading

    def labels(self, name: str, after: int = 0, limit: int = PAGE) -> Labels:
        """The run's events since a cursor: answers, skips, and undos of earlier ones.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            run = _find_run(connection, name)
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
            return Labels(
                [_event(row, row.repeat_of) for row in rows],
                last,
                more,
                run.round,
                run.annotators_per_query,
            )

    def current(self, name: str) -> list[Event]:
        """The labels that stand, in order.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            return _current(connection, _find_run(connection, name).id)

    def export(self, name: str) -> Exported:
        """Everything that a preference dataset of a run needs, of one moment.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            row = _find_run(connection, name)
            run = _run(row, _counts(connection, row.id).get(row.id, Counts()))
            labels = _current(connection, row.id)
            asked = {
                query.id: (query.first, query.second, query.iteration)
                for query in connection.execute(
                    select(queries)
                    .where(queries.c.run == row.id, queries.c.repeat_of.is_(None))
                    .order_by(queries.c.position)
                )
            }
            stored = {
                segment.id: unpack(segment.arrays)
                for segment in connection.execute(
                    select(segments.c.id, segments.c.arrays).where(segments.c.run == row.id)
                )
            }
        return Exported(run, stored, asked, labels)

    # what the methods above are made of

    def _held(
        self, connection: Connection, run: AnyRow, annotator: str, session: UUID
    ) -> Sequence[AnyRow]:
        """Live leases of one page, the oldest first."""
        asked = {"session": session, "annotator": annotator, "run": run.id, "round": run.round}
        return connection.execute(sql.HELD, {**asked, "now": self._now()}).all()

    def _taken_over(
        self,
        connection: Connection,
        run: AnyRow,
        annotator: str,
        session: UUID,
        count: int,
        expires_at: datetime,
    ) -> list[Lease]:
        """Live leases of the annotator's other pages, which become this one's."""
        asked = {"session": session, "annotator": annotator, "run": run.id, "round": run.round}
        rows = connection.execute(sql.HELD_ELSEWHERE, {**asked, "now": self._now()}).all()[:count]
        if rows:
            theirs = leases.c.id.in_([row.id for row in rows])
            values = {"session": session, "expires_at": expires_at}
            connection.execute(update(leases).where(theirs).values(**values))
        return [_lease(row.id, row.query, row.first_is_left, row, expires_at) for row in rows]

    def _spent(self, connection: Connection, run: AnyRow, annotator: str) -> int:
        """Labels of an annotator, and leases that may become some."""
        theirs = [current_labels.c.run == run.id, current_labels.c.annotator == annotator]
        given = connection.execute(select(func.count()).where(*theirs)).scalar_one()
        live = select(func.count()).where(
            leases.c.run == run.id, leases.c.annotator == annotator, sql.LIVE
        )
        return given + connection.execute(live, {"now": self._now()}).scalar_one()

    def _next(
        self, connection: Connection, run: AnyRow, annotator: str, count: int
    ) -> list[AnyRow]:
        """Free queries, locked until the transaction ends; some of them repeats, if there are to be."""
        asked = {
            "run": run.id,
            "round": run.round,
            "annotator": annotator,
            "count": count,
            "now": self._now(),
        }
        found = list(connection.execute(sql.FREE, asked).all())
        if found and not self._database.is_sqlite:
            # Another server may have leased one of them between this transaction's look and its
            # lock. It has ended by now, so another look sees its lease.
            again = {**asked, "found": [row.id for row in found]}
            found = list(connection.execute(sql.STILL_FREE, again).all())
        repeats = sum(self._rng.random() < run.repeats for _ in found) if run.repeats else 0
        if repeats:
            repeated = self._repeats(connection, run, annotator, repeats)
            found = [*repeated, *found[: len(found) - len(repeated)]]
        return found

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
        leased = and_(leases.c.query == again.c.id, sql.LIVE)
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
        for row in connection.execute(due, {"now": self._now()}).all():
            ids.append(row.again or uuid.uuid4())
            if row.again is None:
                connection.execute(
                    insert(queries).values(
                        id=ids[-1], run=run.id, first=row.first, second=row.second, wanted=1, done=0,
                        iteration=row.iteration, position=connection.execute(sql.NEXT_POSITION, {"this_run": run.id}).scalar_one(),
                        repeat_of=row.id, only_for=annotator, created_at=self._now(),
                    )
                )  # fmt: skip
        if not ids:
            return []
        shown = select(queries.c.id, *sql.SIDES).select_from(sql.SHOWN).where(queries.c.id.in_(ids))
        return list(connection.execute(shown.with_for_update(of=queries)).all())

    def _may_come(self, connection: Connection, run: AnyRow, annotator: str) -> bool:
        """Whether a query is left that this annotator could get once others let go of it."""
        asked = {"run": run.id, "round": run.round, "annotator": annotator}
        return connection.execute(sql.UNLABELLED, asked).one_or_none() is not None

    def _require_free(self, connection: Connection, row: AnyRow) -> None:
        """Refuses an answer that is late or given already; `row` is of `sql.LEASED`."""
        if row.round != row.current_round:
            raise ConflictError("The run has begun a new round; fetch the next queries.")
        if _has_labelled(connection, row.query, row.annotator, row.round):
            raise ConflictError("You have answered this query already.")
        now = self._now()
        if row.open and row.expires_at > now:
            return
        asked = {"query": row.query, "annotator": row.annotator, "now": now}
        if row.done + connection.execute(sql.TAKEN_BY_OTHERS, asked).scalar_one() >= row.wanted:
            raise ConflictError("The time for this query had run out and somebody else has it now.")

    def _store_event(
        self, connection: Connection, values: dict[str, Any], repeat_of: UUID | None
    ) -> Event:
        number = connection.execute(sql.NEXT_EVENT, {"this_run": values["run"]}).scalar_one()
        row = {**_NO_EVENT, **values, "number": number, "created_at": self._now()}
        connection.execute(sql.INSERT_EVENT, row)
        return _event_from(row, repeat_of)


_NO_EVENT: dict[str, Any] = {column.name: None for column in events.columns}


def _no_run(name: str) -> NotFoundError:
    return NotFoundError(f"There is no run {name}.")


def _find_run(connection: Connection, name: str) -> AnyRow:
    row = connection.execute(sql.RUN_NAMED, {"name": name}).one_or_none()
    if row is None:
        raise _no_run(name)
    return row


def _run(row: AnyRow, counts: Counts) -> Run:
    own = {field.name: getattr(row, field.name) for field in fields(Run) if field.name != "counts"}
    own["reward_report"] = json.loads(row.reward_report) if row.reward_report else None
    return Run(**own, counts=counts)


def _counts(connection: Connection, run: UUID | None = None) -> dict[UUID, Counts]:
    """Of one run or of all, by id."""
    asked = select(
        queries.c.run,
        func.count().label("queries"),
        func.sum(case((queries.c.done < queries.c.wanted, 1), else_=0)).label("left"),
    ).where(queries.c.repeat_of.is_(None))
    answered = case((current_labels.c.kind == ANSWER, current_labels.c.query))
    said = (
        select(
            current_labels.c.run,
            func.count().label("labels"),
            func.count(distinct(current_labels.c.query)).label("labelled"),
            func.count(distinct(answered)).label("answered"),
            func.count(distinct(current_labels.c.annotator)).label("annotators"),
        )
        .join(queries, queries.c.id == current_labels.c.query)
        .where(queries.c.repeat_of.is_(None))
    )
    if run is not None:
        asked, said = asked.where(queries.c.run == run), said.where(current_labels.c.run == run)
    labels = {row.run: row for row in connection.execute(said.group_by(current_labels.c.run))}
    counts = {}
    for row in connection.execute(asked.group_by(queries.c.run)):
        own = labels.get(row.run)
        counts[row.run] = Counts(
            queries=row.queries,
            answered=own.answered if own else 0,
            skipped=own.labelled - own.answered if own else 0,
            left=int(row.left),
            labels=own.labels if own else 0,
            annotators=own.annotators if own else 0,
        )
    return counts


def _left_over(connection: Connection, run: UUID) -> int:
    return connection.execute(sql.LEFT_OVER, {"run": run}).scalar_one()


def _has_labelled(connection: Connection, query: UUID, annotator: str, round: int) -> bool:
    asked = {"query": query, "annotator": annotator, "round": round}
    return bool(connection.execute(sql.HAS_LABELLED, asked).scalar_one())


def _stored(connection: Connection, event: UUID) -> AnyRow | None:
    return connection.execute(sql.EVENT, {"event": event}).one_or_none()


def _lease(id: UUID, query: UUID, first_is_left: bool, row: AnyRow, expires_at: datetime) -> Lease:
    first, second = _sides(row)
    left, right = (first, second) if first_is_left else (second, first)
    return Lease(id, query, expires_at, left, right)


def _sides(row: AnyRow) -> tuple[Side, Side]:
    """First and second, from `sql.SIDES`."""
    return (
        Side(row.first, row.first_length, row.first_clip, row.first_error),
        Side(row.second, row.second_length, row.second_clip, row.second_error),
    )


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


def _current(connection: Connection, run: UUID) -> list[Event]:
    rows = connection.execute(
        select(current_labels, queries.c.repeat_of)
        .join(queries, queries.c.id == current_labels.c.query)
        .where(current_labels.c.run == run)
        .order_by(current_labels.c.number)
    )
    return [_event(row, row.repeat_of) for row in rows]


def _require_fitting(segment: Segment, run: AnyRow) -> None:
    """Refuses a segment of other sizes than the run's."""
    if segment.obs.shape[1:] != (run.obs_dim,):
        raise ConflictError(
            f"The run has {run.obs_dim} numbers in an observation, not {segment.obs.shape[1]}."
        )
    if segment.discrete != run.discrete:
        kind = "numbers of actions" if run.discrete else "vectors"
        raise ConflictError(f"The run's actions are {kind}.")
    if run.discrete and not (segment.actions.min() >= 0 and segment.actions.max() < run.action_dim):
        raise ConflictError(f"The run's actions are 0 to {run.action_dim - 1}.")
    if not run.discrete and segment.actions.shape[1] != run.action_dim:
        raise ConflictError(
            f"The run's actions have {run.action_dim} numbers, not {segment.actions.shape[1]}."
        )


# databases limit how many values one statement takes
_CHUNK = 500


def _chunks(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK)]


def _segments_by_digest(
    connection: Connection, run: UUID, digests: Sequence[str]
) -> dict[str, UUID]:
    found: dict[str, UUID] = {}
    for some in _chunks(digests):
        known = select(segments.c.digest, segments.c.id).where(
            segments.c.run == run, segments.c.digest.in_(some)
        )
        found.update((row.digest, row.id) for row in connection.execute(known))
    return found


def _segments_of(connection: Connection, run: UUID, ids: set[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for some in _chunks(list(ids)):
        own = select(segments.c.id).where(segments.c.run == run, segments.c.id.in_(some))
        found.update(connection.execute(own).scalars())
    return found


def _queries_by_id(
    connection: Connection, ids: Sequence[UUID]
) -> dict[UUID, tuple[UUID, UUID, UUID]]:
    found: dict[UUID, tuple[UUID, UUID, UUID]] = {}
    for some in _chunks(ids):
        for row in connection.execute(select(queries).where(queries.c.id.in_(some))):
            found[row.id] = (row.run, row.first, row.second)
    return found
