"""What is stored of one person, wherever that stands, and how all of it is deleted."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    delete,
    distinct,
    func,
    select,
    true,
    union,
    update,
)

from prefloop.labelling.server.storage.counting import give_back
from prefloop.labelling.server.storage.database import Database, chunks
from prefloop.labelling.server.storage.errors import NotFoundError
from prefloop.labelling.server.storage.participants import let_go, participant_called
from prefloop.labelling.server.storage.records import DeletedStudy, Forgotten, Stored
from prefloop.labelling.server.storage.studies import find_study
from prefloop.labelling.server.storage.tables import (
    ANSWER,
    CHECKS,
    SKIP,
    UNDO,
    comparisons,
    current_labels,
    events,
    exclusions,
    leases,
    participants,
    queries,
    runs,
    studies,
    study_runs,
)
from prefloop.words import perhaps

# every column that holds somebody's name, but for texts that a researcher wrote
NAMED = (
    events.c.annotator,
    leases.c.annotator,
    queries.c.only_for,
    exclusions.c.annotator,
    participants.c.annotator,
    comparisons.c.by,
)


class People:
    """Whoever has labelled, takes part in a study or has put comparisons on the page."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stored(self, name: str) -> Stored:
        """What is stored of somebody.

        Raises:
            NotFoundError: nothing is; says who has a name like it.
        """
        with self._database.reading() as connection:
            return _stored(connection, name)

    def forget(self, name: str) -> Forgotten:
        """Deletes all that is stored of somebody; their pairs are in the queue again.

        What a trainer said of its reward is deleted, too, in runs that they labelled: it is about their answers.

        Raises:
            NotFoundError: nothing is stored of them; says who has a name like it.
        """

        def job(connection: Connection) -> Forgotten:
            stored = _stored(connection, name)
            rows, asked_again = _delete(connection, name)
            return Forgotten(stored, rows, asked_again, wiped=False)

        found = self._database.write(job)
        return replace(found, wiped=self._database.wipe(sorted(found.rows)))

    def delete_study(self, name: str, with_answers: bool) -> DeletedStudy:
        """Deletes a study: its links, and all that is known of its participants.

        Args:
            with_answers: also what they answered; else that stays in the runs under their names, but for
                answers to checks: nothing would tell them from those that are known.

        Raises:
            NotFoundError: there is no such study.
        """

        def job(connection: Connection) -> DeletedStudy:
            study = find_study(connection, name)
            of_study = participants.c.study == study.id
            people = list(
                connection.execute(select(participants.c.annotator).where(of_study)).scalars()
            )
            let_go(connection, people)
            of_purpose = study_runs.c.study == study.id, study_runs.c.purpose == CHECKS
            checks = list(connection.execute(select(study_runs.c.run).where(*of_purpose)).scalars())
            rows: Counter[str] = Counter()
            asked_again = 0
            for annotator in people:
                gone, again = (
                    _delete(connection, annotator)
                    if with_answers
                    else _delete_labels(connection, annotator, checks)
                )
                rows += gone
                asked_again += again
            connection.execute(delete(studies).where(studies.c.id == study.id))
            return DeletedStudy(len(people), rows[events.name], asked_again, wiped=False)

        found = self._database.write(job)
        tables = (participants, studies, events, leases, queries)
        return replace(found, wiped=self._database.wipe([table.name for table in tables]))


def _stored(connection: Connection, name: str) -> Stored:
    def counted(*which: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).where(*which)).scalar_one()

    said = events.c.annotator == name
    given = leases.c.annotator == name
    about = select(
        func.coalesce(func.sum(events.c.seconds), 0.0),
        func.min(events.c.created_at),
        func.max(events.c.created_at),
    ).where(said)
    seconds, first, last = connection.execute(about).one()
    pages = select(func.count(distinct(leases.c.session))).where(given)
    begun = connection.execute(select(func.min(leases.c.created_at)).where(given)).scalar()
    study, participant = participant_called(connection, name)
    stored = Stored(
        name=name,
        study=study,
        participant=participant,
        answers=counted(said, events.c.kind == ANSWER),
        skips=counted(said, events.c.kind == SKIP),
        taken_back=counted(said, events.c.kind == UNDO),
        trims=counted(said, events.c.trim_start.is_not(None)),
        seconds=float(seconds),
        shown=counted(given),
        pages=connection.execute(pages).scalar_one(),
        runs=_run_names(connection, events, said) or _run_names(connection, leases, given),
        excluded=_run_names(connection, exclusions, exclusions.c.annotator == name),
        comparisons=counted(comparisons.c.by == name),
        first=min((time for time in (first, begun) if time), default=None),
        last=last or begun,
    )
    if not (participant or stored.runs or stored.excluded or stored.comparisons):
        raise NotFoundError(_nobody(connection, name))
    return stored


def _run_names(connection: Connection, table: Any, which: ColumnElement[bool]) -> list[str]:
    theirs = select(runs.c.name).join(table, table.c.run == runs.c.id).where(which).distinct()
    return sorted(connection.execute(theirs).scalars())


def _nobody(connection: Connection, name: str) -> str:
    known = union(*(select(column).where(column.is_not(None)) for column in NAMED))
    names = sorted(connection.execute(known).scalars())
    return f"Nothing is stored of anybody called {name}{perhaps(name, names)}"


def _delete(connection: Connection, name: str) -> tuple[Counter[str], int]:
    """Deletes somebody's rows; how many are gone, by table, and how many pairs are asked again."""
    rows, asked_again = _delete_labels(connection, name)
    for table in (exclusions, participants):
        theirs = delete(table).where(table.c.annotator == name)
        rows[table.name] += connection.execute(theirs).rowcount
    rows[comparisons.name] += _unsign(connection, name)
    return +rows, asked_again  # those that are not 0


def _delete_labels(
    connection: Connection, name: str, only: Sequence[UUID] | None = None
) -> tuple[Counter[str], int]:
    """Deletes what somebody said and was shown, in all runs or in some."""

    def theirs(column: Column[Any]) -> ColumnElement[bool]:
        return and_(column == name, true() if only is None else column.table.c.run.in_(only))

    asked_again = give_back(connection, theirs(current_labels.c.annotator))
    said = theirs(events.c.annotator)
    labelled = list(connection.execute(select(events.c.run).where(said).distinct()).scalars())
    rows: Counter[str] = Counter()
    # in this order no row has to be looked for that refers to a removed one
    for table, which in (
        (events, and_(said, events.c.kind == UNDO)),
        (events, said),
        (leases, theirs(leases.c.annotator)),
        (queries, theirs(queries.c.only_for)),
    ):
        rows[table.name] += connection.execute(delete(table).where(which)).rowcount
    for some in chunks(labelled):
        # numbers of events are given anew; and a report is of labels that are gone
        changed = {"forgotten": runs.c.forgotten + 1, "reward_report": None}
        connection.execute(update(runs).where(runs.c.id.in_(some)).values(changed))
    rows[runs.name] += len(labelled)
    return rows, asked_again


def _unsign(connection: Connection, name: str) -> int:
    """Takes somebody's name off the comparisons that they put on the page; how many."""
    theirs = connection.execute(
        select(comparisons.c.id, comparisons.c.about).where(comparisons.c.by == name)
    ).all()
    for row in theirs:
        about = json.dumps({**json.loads(row.about), "by": None})
        unsigned = update(comparisons).where(comparisons.c.id == row.id)
        connection.execute(unsigned.values(by=None, about=about))
    return len(theirs)
