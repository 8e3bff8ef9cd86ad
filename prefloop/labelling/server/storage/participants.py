"""Rows of who takes part in studies: made, found, changed, and counted with what they have labelled."""

import json
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, exists, func, insert, or_, select, update

from prefloop.labelling.server.storage.database import AnyRow, chunks
from prefloop.labelling.server.storage.errors import ConflictError, no_link
from prefloop.labelling.server.storage.records import NewLink, Participant, Person
from prefloop.labelling.server.storage.statements import asking, studying
from prefloop.labelling.server.storage.tables import (
    CHECKS,
    PAIRS,
    current_labels,
    events,
    leases,
    participants,
    studies,
    study_runs,
)

EACH = "each"  # in place of a code: everybody has one of their own
_CODE = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no letter of it is taken for another
_CODE_LENGTH = 8


def add_participant(connection: Connection, study: AnyRow, link: NewLink, now: datetime) -> UUID:
    """Makes a participant of a study.

    Args:
        study: its row.
        link: with the hash of its token.

    Raises:
        ConflictError: the token is another link's, or the name stands under labels already.
    """
    annotator = f"{study.name}-{link.ref}"
    require_new_token(connection, link.token)
    for table in (participants, events, leases):
        if connection.execute(select(exists().where(table.c.annotator == annotator))).scalar():
            raise ConflictError(
                f"Somebody labels under the name {annotator} already; choose another name."
            )
    of_study = participants.c.study == study.id
    last = connection.execute(select(func.max(participants.c.number)).where(of_study)).scalar()
    code = json.loads(study.about)["code"]
    id = uuid.uuid4()
    connection.execute(
        insert(participants).values(
            id=id, study=study.id, number=0 if last is None else last + 1, ref=link.ref,
            annotator=annotator, token=link.token, progress="{}",
            code=new_code() if code == EACH else code or None, created_at=now,
        )
    )  # fmt: skip
    return id


def find_person(connection: Connection, id: UUID) -> AnyRow:
    """The row of a participant, with how their study goes.

    Raises:
        ForbiddenError: they were forgotten since their request began.
    """
    found = connection.execute(studying.PERSON, {"participant": id}).one_or_none()
    if found is None:
        raise no_link()
    return found


def participant_of(connection: Connection, id: UUID) -> Participant:
    """Who takes part, with how much they have labelled.

    Raises:
        ForbiddenError: they were forgotten since their request began.
    """
    row = find_person(connection, id)
    return with_labels(connection, row.study, [row])[0]


def participant_called(
    connection: Connection, annotator: str
) -> tuple[str, Participant] | tuple[None, None]:
    """The study that somebody takes part in, and what is known of them there; None twice for others."""
    found = connection.execute(
        select(participants, studies.c.name)
        .join(studies, studies.c.id == participants.c.study)
        .where(participants.c.annotator == annotator)
    ).one_or_none()
    if found is None:
        return None, None
    return found.name, with_labels(connection, found.study, [found])[0]


def with_labels(connection: Connection, study: UUID, people: Sequence[AnyRow]) -> list[Participant]:
    """Participants, each with how much they have labelled."""
    if not people:
        return []
    theirs = current_labels.c.annotator.in_([row.annotator for row in people])
    of_purpose = (
        select(current_labels.c.annotator, func.count())
        .join(study_runs, study_runs.c.run == current_labels.c.run)
        .where(study_runs.c.study == study, theirs)
        .group_by(current_labels.c.annotator)
    )

    def counted(statement: Select[Any]) -> dict[str, int]:
        return {row[0]: row[1] for row in connection.execute(statement)}

    pairs = counted(of_purpose.where(study_runs.c.purpose == PAIRS))
    checks = counted(of_purpose.where(study_runs.c.purpose == CHECKS))
    known = current_labels.alias("known")
    # as somebody has answered it who is no participant
    is_right = exists().where(
        known.c.query == current_labels.c.query,
        known.c.label == current_labels.c.label,
        ~exists().where(participants.c.annotator == known.c.annotator),
    )
    passed = counted(of_purpose.where(study_runs.c.purpose == CHECKS, is_right))
    return [
        Participant(
            **vars(person_of(row)),
            labels=pairs.get(row.annotator, 0),
            checks=checks.get(row.annotator, 0),
            passed=passed.get(row.annotator, 0),
        )
        for row in people
    ]


def person_of(row: AnyRow) -> Person:
    """A person, of a row."""
    return Person(
        id=row.id,
        ref=row.ref,
        number=row.number,
        annotator=row.annotator,
        device=row.device,
        progress=json.loads(row.progress),
        consented_at=row.consented_at,
        consent=row.consent,
        code=row.code,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        revoked_at=row.revoked_at,
        created_at=row.created_at,
    )


def change_participant(connection: Connection, id: UUID, **values: Any) -> None:
    """Sets columns of somebody's row."""
    connection.execute(update(participants).where(participants.c.id == id).values(**values))


def let_go(connection: Connection, annotators: Any) -> None:
    """Takes back all that somebody has open."""
    close_leases(connection, leases.c.annotator.in_(annotators))


def close_leases(connection: Connection, *which: ColumnElement[bool]) -> None:
    """Takes leases back; a check that was asked once more for their sake no longer is."""
    theirs = *which, leases.c.open
    held = connection.execute(select(leases.c.query).where(*theirs).distinct()).scalars().all()
    connection.execute(update(leases).where(*theirs).values(open=False))
    for some in chunks(held):
        connection.execute(asking.WANT_NO_MORE, {"these_queries": some})


def require_new_token(connection: Connection, token: str) -> None:
    """Refuses the hash of a token that is another link's.

    Raises:
        ConflictError: it is.
    """
    is_known = or_(
        exists().where(participants.c.token == token), exists().where(studies.c.open_link == token)
    )
    if connection.execute(select(is_known)).scalar():
        raise ConflictError("This token is that of another link.")


def new_code() -> str:
    """A new code, which nobody guesses and anybody can copy by hand."""
    return "".join(secrets.choice(_CODE) for _ in range(_CODE_LENGTH))
