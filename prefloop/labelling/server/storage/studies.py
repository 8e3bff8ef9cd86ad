"""Studies, as whoever runs them sees them: made, looked at, ended. Of tokens there are hashes only."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, exists, insert, select, update

from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.participants import (
    add_participant,
    change_participant,
    let_go,
    participant_of,
    require_new_token,
    with_labels,
)
from prefloop.labelling.server.storage.records import NewLink, Participant, Study
from prefloop.labelling.server.storage.runs import find_run
from prefloop.labelling.server.storage.statements import asking, studying
from prefloop.labelling.server.storage.tables import (
    PAIRS,
    current_labels,
    participants,
    queries,
    runs,
    studies,
    study_runs,
)


class Studies:
    """The studies of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def put(
        self,
        name: str,
        about: Mapping[str, Any],
        shown: Mapping[str, Sequence[str]],
        links: Sequence[NewLink],
        open_link: str | None,
    ) -> Study:
        """Makes a study; sent twice, it is there once.

        Args:
            about: how it goes.
            shown: names of runs by what they are there for.
            open_link: the hash of the token of a link that makes participants; None: there is none.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: another study has the name, or a run, or a participant's name stands under
                labels already.
        """
        text = json.dumps(about, sort_keys=True)

        def job(connection: Connection) -> None:
            found = connection.execute(_named(name)).one_or_none()
            if found is not None:
                same = (found.about, found.open_link) == (text, open_link)
                if not same or not set(links) <= set(_links_of(connection, found.id)):
                    raise ConflictError(f"There is a study {name} already; choose another name.")
                return
            id = uuid.uuid4()
            values = {"id": id, "name": name, "about": text, "open_link": open_link}
            connection.execute(insert(studies).values(**values, created_at=self._now()))
            for purpose, names in shown.items():
                for i, run in enumerate(names):
                    row = find_run(connection, run)
                    _require_unused(connection, row, purpose)
                    values = {"study": id, "run": row.id, "purpose": purpose, "position": i}
                    connection.execute(insert(study_runs).values(**values))
                    if purpose != PAIRS:
                        _require_known(connection, row, purpose)
                    elif about["answers_per_pair"] is not None:
                        _want(connection, row.id, about["answers_per_pair"])
            study = connection.execute(_named(name)).one()
            for link in links:
                add_participant(connection, study, link, self._now())

        links = list(links)
        self._database.write(job)
        return self.get(name)

    def add(self, name: str, links: Sequence[NewLink]) -> Study:
        """Adds participants; sent twice, they are there once.

        Raises:
            NotFoundError: there is no such study.
            ConflictError: a participant of this name is there, with another link.
        """

        def job(connection: Connection) -> None:
            study = find_study(connection, name)
            known = _links_of(connection, study.id)
            for link in links:
                if link not in known:
                    add_participant(connection, study, link, self._now())

        self._database.write(job)
        return self.get(name)

    def all(self) -> list[Study]:
        """All studies, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(studies).order_by(studies.c.created_at.desc(), studies.c.name)
            )
            return [_study(connection, row) for row in rows.all()]

    def get(self, name: str) -> Study:
        """One study.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._database.reading() as connection:
            return _study(connection, find_study(connection, name))

    def get_without_people(self, name: str) -> Study:
        """A study as `get` gives it, without who takes part: quick, however many they are.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._database.reading() as connection:
            return _study(connection, find_study(connection, name), with_people=False)

    def close(self, name: str, closed: bool = True) -> Study:
        """Ends a study: no link of it holds, and its runs are anybody's again. Or goes on with it.

        Raises:
            NotFoundError: there is no such study.
            ConflictError: to go on: another one shows its runs by now.
        """

        def job(connection: Connection) -> None:
            study = find_study(connection, name)
            if (study.closed_at is not None) == closed:
                return
            if not closed:
                for row in connection.execute(studying.RUNS_OF_STUDY, {"study": study.id}).all():
                    _require_unused(connection, row, row.purpose)
            since = self._now() if closed else None
            of_study = studies.c.id == study.id
            connection.execute(update(studies).where(of_study).values(closed_at=since))
            if closed:
                let_go(connection, select(participants.c.annotator).where(participants.c.study == study.id))  # fmt: skip

        self._database.write(job)
        return self.get(name)

    def revoke(self, name: str, ref: str) -> Participant:
        """Ends one participant's link; what they had open is free again, and their labels stay.

        Raises:
            NotFoundError: there is no such study, or no such participant.
        """

        def job(connection: Connection) -> Participant:
            row = _participant_named(connection, name, ref)
            if row.revoked_at is None:
                change_participant(connection, row.id, revoked_at=self._now())
                let_go(connection, [row.annotator])
            return participant_of(connection, row.id)

        return self._database.write(job)

    def revoke_open_link(self, name: str) -> Study:
        """Ends the link that makes participants; those that it made go on.

        Raises:
            NotFoundError: there is no such study, or it has no such link.
        """

        def job(connection: Connection) -> None:
            study = find_study(connection, name)
            if study.open_link is None:
                raise NotFoundError(f"The study {name} has no open link.")
            of_study = studies.c.id == study.id
            connection.execute(update(studies).where(of_study).values(open_link=None))

        self._database.write(job)
        return self.get(name)

    def renew(self, name: str, ref: str, token: str) -> Participant:
        """Gives a participant another link, in place of one that was lost or revoked.

        Args:
            token: the hash of its token.

        Raises:
            NotFoundError: there is no such study, or no such participant.
            ConflictError: the token is somebody else's.
        """

        def job(connection: Connection) -> Participant:
            row = _participant_named(connection, name, ref)
            if row.token != token:
                require_new_token(connection, token)
                change_participant(connection, row.id, token=token, device=None, revoked_at=None)
            return participant_of(connection, row.id)

        return self._database.write(job)


def _named(name: str) -> Any:
    return select(studies).where(studies.c.name == name)


def find_study(connection: Connection, name: str) -> AnyRow:
    """The row of a study.

    Raises:
        NotFoundError: there is none of this name.
    """
    found = connection.execute(_named(name)).one_or_none()
    if found is None:
        raise NotFoundError(f"There is no study {name}.")
    return found


def _links_of(connection: Connection, study: UUID) -> list[NewLink]:
    of_study = participants.c.study == study
    found = connection.execute(select(participants.c.ref, participants.c.token).where(of_study))
    return [NewLink(*row) for row in found]


def _require_unused(connection: Connection, run: AnyRow, purpose: str) -> None:
    """Refuses pairs that another study asks about, which would take its participants' answers."""
    if purpose != PAIRS:
        return
    other = connection.execute(
        select(studies.c.name)
        .join(study_runs, study_runs.c.study == studies.c.id)
        .where(
            study_runs.c.run == run.id,
            study_runs.c.purpose == PAIRS,
            studies.c.closed_at.is_(None),
        )
        .limit(1)
    ).scalar()
    if other is not None:
        raise ConflictError(
            f"The run {run.name} is part of the study {other}; close that, or take another run."
        )


def _require_known(connection: Connection, run: AnyRow, purpose: str) -> None:
    """Refuses a run without a single answer to know."""
    said = exists().where(current_labels.c.run == run.id, asking.IS_KNOWN)
    if not connection.execute(select(said)).scalar_one():
        raise ConflictError(
            f"The run {run.name} is there for {purpose}, whose answers must be known: answer its pairs first."
        )


def _want(connection: Connection, run: UUID, answers: int) -> None:
    """How many people are to label each pair of a run; those who have are enough where they are more."""
    wanted = case((queries.c.done > answers, queries.c.done), else_=answers)
    of_run = queries.c.run == run, queries.c.repeat_of.is_(None)
    connection.execute(update(queries).where(*of_run).values(wanted=wanted))
    connection.execute(update(runs).where(runs.c.id == run).values(annotators_per_query=answers))


def _participant_named(connection: Connection, name: str, ref: str) -> AnyRow:
    study = find_study(connection, name)
    of_ref = participants.c.study == study.id, participants.c.ref == ref
    found = connection.execute(select(participants).where(*of_ref)).one_or_none()
    if found is None:
        raise NotFoundError(f"Nobody called {ref} takes part in the study {name}.")
    return found


def _study(connection: Connection, row: AnyRow, with_people: bool = True) -> Study:
    shown: dict[str, list[str]] = {}
    for run in connection.execute(studying.RUNS_OF_STUDY, {"study": row.id}):
        shown.setdefault(run.purpose, []).append(run.name)
    people: Sequence[AnyRow] = []
    if with_people:
        of_study = participants.c.study == row.id
        ordered = select(participants).where(of_study).order_by(participants.c.number)
        people = connection.execute(ordered).all()
    return Study(
        id=row.id,
        name=row.name,
        about=json.loads(row.about),
        runs=shown,
        open_link=row.open_link is not None,
        created_at=row.created_at,
        closed_at=row.closed_at,
        participants=with_labels(connection, row.id, people),
    )
