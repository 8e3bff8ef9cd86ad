"""Which pairs a participant of a study is shown: as many as they are to answer, spread evenly.

Pairs with the fewest answers come first, in a new order for everybody. The sides are drawn so that of a
pair's answers, and of a participant's, half had the first on the left. Where a study shows several
runs, their blocks take turns, and the next participant begins with the next run. In between come pairs whose
answer is known.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, exists, func, select, update

from prefloop.labelling.server.storage import statements as sql
from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError
from prefloop.labelling.server.storage.leases import page_of, with_what_was_said
from prefloop.labelling.server.storage.queue import Queue
from prefloop.labelling.server.storage.records import Lease, Leases
from prefloop.labelling.server.storage.studies import IS_KNOWN, find_person
from prefloop.labelling.server.storage.tables import (
    CHECKS,
    PAIRS,
    current_labels,
    events,
    leases,
    queries,
    runs,
    study_runs,
)


class Assignment:
    """Who of a study is shown what."""

    def __init__(self, database: Database, clock: Clock, queue: Queue, rng: random.Random) -> None:
        self._database, self._now, self._queue, self._rng = database, clock, queue, rng

    def lease(
        self,
        participant: UUID,
        session: UUID,
        count: int,
        up_to: int | None = None,
        holding: Sequence[UUID] = (),
        seconds: float = 300.0,
    ) -> Leases:
        """Gives a participant pairs that nobody else gets meanwhile.

        Args:
            session, count, holding, seconds: as `Queue.lease`.
            up_to: how many they are to have answered then, all together; None: all that they may.

        Raises:
            ConflictError: it is over for them.
        """

        def job(connection: Connection) -> Leases:
            person = find_person(connection, participant)
            if person.ended_at is not None:
                raise ConflictError("You have been through this study. Thank you!", "over")
            about = json.loads(person.about)
            shown = connection.execute(sql.RUNS_TO_ANSWER, {"study": person.study}).all()
            pages, checks = (
                [
                    page_of(
                        connection, self._now(), run.name, person.annotator, session, by_link=True
                    )
                    for run in shown
                    if run.purpose == purpose
                ]
                for purpose in (PAIRS, CHECKS)
            )
            expires_at = self._now() + timedelta(seconds=seconds)
            given: list[Lease] = []
            for _, held in [*pages, *checks]:
                room = count - len(given)
                given += self._queue.given_again(connection, held, holding, room, expires_at)
            open_runs = [run for run, _ in pages]
            check_runs = [run for run, _ in checks]
            spent = sum(self._queue.spent(connection, run, person.annotator) for run in open_runs)
            most = min(_limit(about["pairs"]), _limit(up_to))
            room = int(min(count - len(given), most - spent))
            for run in check_runs:
                had = self._queue.spent(connection, run, person.annotator)
                if room > 0 and had < _checks_due(spent, about["checks_every"]):
                    given += self._check(connection, person.annotator, run, session, expires_at)
                    room = min(room, count - len(given))
            if room > 0:
                given += self._new(
                    connection, person, about, open_runs, session, spent, room, expires_at
                )
            for run in [*open_runs, *check_runs]:
                if not given:
                    given = self._queue.taken_over(
                        connection, run, person.annotator, session, count, expires_at
                    )
            if given:
                for run in [*open_runs, *check_runs]:
                    given = with_what_was_said(connection, run, person.annotator, given)
                return Leases(given, None, "queries")
            waiting = most > spent and any(
                self._queue.may_come(connection, run, person.annotator) for run in open_runs
            )
            return Leases([], None, "waiting" if waiting else "finished")

        return self._database.write(job)

    def is_through(self, participant: UUID) -> bool:
        """Whether somebody has answered all that they were to, or all that there is for them."""
        with self._database.reading() as connection:
            person = find_person(connection, participant)
            answered = select(func.count()).where(
                current_labels.c.annotator == person.annotator,
                current_labels.c.run.in_(_run_ids(person.study)),
            )
            wanted = json.loads(person.about)["pairs"]
            if connection.execute(answered).scalar_one() >= _limit(wanted):
                return True
            found = connection.execute(
                select(runs.c.id, runs.c.round).where(
                    runs.c.id.in_(_run_ids(person.study)), runs.c.archived_at.is_(None)
                )
            ).all()
            return not any(self._queue.may_come(connection, run, person.annotator) for run in found)

    def release(self, participant: UUID, session: UUID, given: Mapping[UUID, datetime]) -> None:
        """Takes back leases of a page that is closed, as `Queue.release`."""

        def job(connection: Connection) -> None:
            annotator = find_person(connection, participant).annotator
            theirs = leases.c.annotator == annotator, leases.c.session == session
            for id, expires_at in given.items():
                as_known = (*theirs, leases.c.id == id, leases.c.expires_at == expires_at)
                connection.execute(update(leases).where(*as_known).values(open=False))

        self._database.write(job)

    def run_to_undo(self, participant: UUID, id: UUID, undoes: UUID | None) -> str:
        """The run in which a participant takes an answer back.

        Args:
            id: of the undo, which may be stored already.
            undoes: the answer that is meant; None: the last that stands.

        Raises:
            ConflictError: there is nothing to take back.
        """
        with self._database.reading() as connection:
            person = find_person(connection, participant)
            annotator = person.annotator
            shown = select(study_runs.c.run).where(study_runs.c.study == person.study)
            theirs = select(runs.c.name).join(events, events.c.run == runs.c.id)
            named = theirs.where(events.c.id == (undoes or id), events.c.annotator == annotator)
            last = (
                select(runs.c.name)
                .join(current_labels, current_labels.c.run == runs.c.id)
                .where(current_labels.c.annotator == annotator, runs.c.id.in_(shown))
                .order_by(current_labels.c.created_at.desc(), current_labels.c.number.desc())
                .limit(1)
            )
            found = connection.execute(named).scalar()
            if found is None and undoes is None:
                found = connection.execute(last).scalar()
            if found is None:
                raise ConflictError("There is nothing to take back.", "nothing")
            name: str = found
            return name

    def _new(
        self,
        connection: Connection,
        person: AnyRow,
        about: Mapping[str, Any],
        open_runs: Sequence[AnyRow],
        session: UUID,
        spent: int,
        room: int,
        expires_at: datetime,
    ) -> list[Lease]:
        """New pairs of the run whose turn it is; of the next where that has none left for them."""
        size = _block(about, len(open_runs))
        block, within = divmod(spent, size) if size else (0, 0)
        room = min(room, size - within) if size else room
        for i in range(len(open_runs)):
            run = open_runs[(person.number + block + i) % len(open_runs)]
            if run.archived_at is not None:
                continue
            free = self._queue.next(
                connection, run, person.annotator, room, sql.FREE_EVENLY_OF_SOME
            )
            if len(free) < room:
                free = self._queue.next(connection, run, person.annotator, room, sql.FREE_EVENLY)
            if free:
                sides = self._sides(connection, run.id, person.annotator, [row.id for row in free])
                return self._queue.give(
                    connection, run, person.annotator, session, free, sides, expires_at
                )
        return []

    def _check(
        self,
        connection: Connection,
        annotator: str,
        run: AnyRow,
        session: UUID,
        expires_at: datetime,
    ) -> list[Lease]:
        """A pair whose answer is known and that they have not seen; it looks like any other."""
        others = leases.alias()
        seen = exists().where(others.c.query == queries.c.id, others.c.annotator == annotator)
        answered = exists().where(current_labels.c.query == queries.c.id, *IS_KNOWN)
        found = connection.execute(
            select(queries.c.id, *sql.SIDES)
            .select_from(sql.SHOWN)
            .where(queries.c.run == run.id, queries.c.repeat_of.is_(None), answered, ~seen)
            .order_by(func.random())
            .limit(1)
        ).all()
        for row in found:
            # it has all the labels that it wants, and is asked about all the same
            live = select(func.count()).where(leases.c.query == row.id, sql.LIVE)
            wanted = queries.c.done + connection.execute(live, sql.at(self._now())).scalar_one() + 1
            more = case((queries.c.wanted < wanted, wanted), else_=queries.c.wanted)
            of_query = queries.c.id == row.id
            connection.execute(update(queries).where(of_query).values(wanted=more))
        sides = self._sides(connection, run.id, annotator, [row.id for row in found])
        return self._queue.give(connection, run, annotator, session, found, sides, expires_at)

    def _sides(
        self, connection: Connection, run: UUID, annotator: str, asked: Sequence[UUID]
    ) -> list[bool]:
        """Whether the first goes left: as seldom so far for its pair, or else for the participant."""
        at = sql.at(self._now())
        theirs = {"run": run, "annotator": annotator, **at}
        own = int(connection.execute(sql.MORE_LEFT_OF_ANNOTATOR, theirs).scalar_one())
        sides = []
        for query in asked:
            of_query = {"query": query, **at}
            more = int(connection.execute(sql.MORE_LEFT_OF_QUERY, of_query).scalar_one())
            is_left = (more or own) < 0 if more or own else self._rng.random() < 0.5
            own += 1 if is_left else -1
            sides.append(is_left)
        return sides


def _checks_due(spent: int, every: int) -> int:
    """How many pairs with a known answer somebody is to have had: one in the middle of every so many."""
    return (spent + every // 2) // every


def _limit(number: int | None) -> float:
    return math.inf if number is None else number


def _block(about: Mapping[str, Any], num_runs: int) -> int | None:
    """How many pairs in turn are of one run; None: all that it has."""
    if about["block"] is not None:
        return int(about["block"])
    return math.ceil(about["pairs"] / num_runs) if about["pairs"] is not None else None


def _run_ids(study: UUID) -> Any:
    of_study = study_runs.c.study == study, study_runs.c.purpose == PAIRS
    return select(study_runs.c.run).where(*of_study)
