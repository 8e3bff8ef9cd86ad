"""Which pairs a participant of a study is shown: as many as they are to answer, spread evenly.

Pairs with the fewest answers come first, in a new order for everybody. The sides are drawn so that of a
pair's answers, and of a participant's, half had the first on the left. Where a study shows several
runs, their blocks take turns, and the next participant begins with the next run. In between come pairs whose
answer is known.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select, tuple_

from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError, no_link
from prefloop.labelling.server.storage.leases import with_what_was_said
from prefloop.labelling.server.storage.participants import close_leases, find_person
from prefloop.labelling.server.storage.queue import Queue
from prefloop.labelling.server.storage.records import Lease, Leases
from prefloop.labelling.server.storage.statements import asking, leasing, parts, studying
from prefloop.labelling.server.storage.tables import (
    CHECKS,
    PAIRS,
    current_labels,
    events,
    leases,
    runs,
    study_runs,
)


@dataclass(frozen=True)
class _Standing:
    """How a participant stands in a run of their study, before they are given anything.

    Attributes:
        run: of `studying.RUNS_TO_ANSWER`.
        spent: labels, and leases that may become some.
        more_left: how many more of these have the first on the left than on the right.
    """

    run: AnyRow
    spent: int
    more_left: int


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
            now = self._now()
            shown = connection.execute(studying.RUNS_TO_ANSWER, {"participant": participant}).all()
            if not shown:
                raise no_link()  # forgotten since the request began
            person = shown[0]
            if person.ended_at is not None:
                raise ConflictError("You have been through this study. Thank you!", "over")
            about = json.loads(person.about)
            theirs = {"annotator": person.annotator, **parts.at(now)}
            held = connection.execute(leasing.HELD, theirs).all()
            leased = Counter(row.run for row in held)
            lefts = Counter(row.run for row in held if row.first_is_left)
            stands = [
                _Standing(
                    run,
                    run.labels + leased[run.id],
                    run.more_left + 2 * lefts[run.id] - leased[run.id],
                )
                for run in shown
                if run.id is not None
            ]
            open_runs = [one for one in stands if one.run.purpose == PAIRS]
            checks = [one for one in stands if one.run.purpose == CHECKS]
            expires_at = now + timedelta(seconds=seconds)
            here = [row for row in held if row.session == session]
            given = self._queue.given_again(connection, here, holding, count, expires_at)
            spent = sum(one.spent for one in open_runs)
            most = min(_limit(about["pairs"]), _limit(up_to))
            room = int(min(count - len(given), most - spent))
            for one in checks:
                if room > 0 and one.spent < _checks_due(spent, about["checks_every"]):
                    given += self._check(connection, one, session, expires_at)
                    room = min(room, count - len(given))
            if room > 0 and open_runs:  # their runs may have been deleted
                given += self._new(
                    connection, person, about, open_runs, session, spent, room, expires_at
                )
            if not given:
                elsewhere = [row for row in held if row.session != session]
                given = self._queue.taken_over(connection, elsewhere, session, count, expires_at)
            if given:
                if any(run.took_back for run in shown):
                    given = with_what_was_said(connection, person.annotator, given)
                return Leases(given, None, "queries")
            waiting = most > spent and any(
                self._queue.may_come(connection, one.run, person.annotator)
                for one in open_runs
                if one.run.archived_at is None
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
            as_known = tuple_(leases.c.id, leases.c.expires_at).in_(given.items())
            close_leases(connection, *theirs, as_known)

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
        open_runs: Sequence[_Standing],
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
            stands = open_runs[(person.number + block + i) % len(open_runs)]
            run = stands.run
            if run.archived_at is not None:
                continue
            free = self._queue.next(
                connection, run, person.annotator, room, asking.FREE_EVENLY_OF_SOME
            )
            if len(free) < room:
                free = self._queue.next(connection, run, person.annotator, room, asking.FREE_EVENLY)
            if free:
                return self._give(connection, stands, session, free, expires_at)
        return []

    def _check(
        self, connection: Connection, stands: _Standing, session: UUID, expires_at: datetime
    ) -> list[Lease]:
        """A pair whose answer is known and that they have not seen; it looks like any other."""
        theirs = {"run": stands.run.id, "annotator": stands.run.annotator}
        found = connection.execute(asking.CHECK, {**theirs, **parts.at(self._now())}).all()
        for row in found:
            connection.execute(
                asking.WANT_ONE_MORE, {"this_query": row.id, **parts.at(self._now())}
            )
        return self._give(connection, stands, session, found, expires_at)

    def _give(
        self,
        connection: Connection,
        stands: _Standing,
        session: UUID,
        free: Sequence[AnyRow],
        expires_at: datetime,
    ) -> list[Lease]:
        """Leases, each with the first on the left if that was seldom so for its pair, or else for the participant."""
        own, sides = stands.more_left, []
        for row in free:
            more = row.more_left or own
            is_left = more < 0 if more else self._rng.random() < 0.5
            own += 1 if is_left else -1
            sides.append(is_left)
        run = stands.run
        return self._queue.give(connection, run, run.annotator, session, free, sides, expires_at)


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
