"""What participants of a study do: open a link, go through it, and see what they were shown. Of tokens there are hashes only."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, exists, func, or_, select

from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError, full
from prefloop.labelling.server.storage.leases import sides_of
from prefloop.labelling.server.storage.participants import (
    add_participant,
    change_participant,
    find_person,
    let_go,
    new_code,
    participant_of,
    person_of,
)
from prefloop.labelling.server.storage.records import Known, Link, NewLink, Participant, Person
from prefloop.labelling.server.storage.runs import own_settings_of
from prefloop.labelling.server.storage.statements import asking, parts, studying
from prefloop.labelling.server.storage.studies import find_study
from prefloop.labelling.server.storage.tables import (
    current_labels,
    participants,
    queries,
    study_runs,
)


class TakingPart:
    """Participants of all studies, each by a link of their own."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def link(self, token: str) -> Link | None:
        """What the hash of a link's token stands for; None: nothing, or no longer."""
        with self._database.reading() as connection:
            found = connection.execute(studying.LINK, {"token": token}).one_or_none()
            if found is not None:
                holds = found.revoked_at is None and found.closed_at is None
                return _link(found, person_of(found), holds)
            opened = connection.execute(studying.OPEN_LINK, {"token": token}).one_or_none()
            return None if opened is None else _link(opened, None, opened.closed_at is None)

    def join(self, name: str, ref: str | None, token: str, most: int) -> Participant:
        """Makes a participant of somebody who has opened the open link; asked twice, one.

        Args:
            ref: what a recruiting site calls them; None: they are given a name.
            token: the hash of a token that their browser made.
            most: participants that the study may have; those that left, failed or were revoked do
                not count.

        Raises:
            NotFoundError: there is no such study.
            ConflictError: somebody of this name takes part already, or there is no room for more.
        """

        def job(connection: Connection) -> Participant:
            study = find_study(connection, name)
            known = connection.execute(
                select(participants.c.id).where(
                    participants.c.study == study.id, participants.c.token == token
                )
            ).scalar()
            if known is not None:
                return participant_of(connection, known)
            there = select(func.count()).where(
                participants.c.study == study.id,
                participants.c.revoked_at.is_(None),
                or_(participants.c.outcome.is_(None), participants.c.outcome == "finished"),
            )
            if connection.execute(there).scalar_one() >= most:
                raise full()
            is_taken = exists().where(participants.c.study == study.id, participants.c.ref == ref)
            if ref is not None and connection.execute(select(is_taken)).scalar_one():
                raise ConflictError(
                    f"{ref} takes part already: go on in the browser in which you began, or ask "
                    "whoever runs the study for another link.",
                    "joined",
                )
            id = add_participant(
                connection, study, NewLink(ref or new_code().lower(), token), self._now()
            )
            return participant_of(connection, id)

        return self._database.write(job)

    def participant(self, id: UUID) -> Participant:
        """Who takes part, and how far they are."""
        with self._database.reading() as connection:
            return participant_of(connection, id)

    def enter(self, id: UUID, device: UUID) -> None:
        """From now on the link works on this device."""

        def job(connection: Connection) -> None:
            found = find_person(connection, id)
            started = {} if found.started_at else {"started_at": self._now()}
            change_participant(connection, id, device=device, **started)

        self._database.write(job)

    def advance(self, id: UUID, change: Callable[[Person], Mapping[str, Any] | None]) -> Person:
        """Takes a participant a step on.

        Args:
            change: gives the columns that change, of what is known; `progress` as a mapping. With
                `ended_at` given as True, the time is meant, and what they have open is free again.
        """

        def job(connection: Connection) -> Person:
            before = person_of(find_person(connection, id))
            values = dict(change(before) or {})
            for key in ("consented_at", "ended_at"):
                if values.get(key) is True:
                    values[key] = self._now()
            if "progress" in values:
                values["progress"] = json.dumps(values["progress"])
            if values:
                change_participant(connection, id, **values)
            if "ended_at" in values:
                let_go(connection, [before.annotator])
            return person_of(find_person(connection, id))

        return self._database.write(job)

    def num_pairs(self, name: str) -> int:
        """How many pairs the runs of a study have."""
        with self._database.reading() as connection:
            return int(connection.execute(studying.NUM_PAIRS, {"study": name}).scalar_one())

    def known(self, name: str, purpose: str) -> list[Known]:
        """Pairs with known answers that a study shows, in the order in which they were asked.

        Raises:
            NotFoundError: there is no such study.
        """
        with self._database.reading() as connection:
            study = find_study(connection, name)
            answered = (
                select(queries.c.id, current_labels.c.label, *parts.SIDES)
                .select_from(parts.SHOWN)
                .join(current_labels, current_labels.c.query == queries.c.id)
                .join(study_runs, study_runs.c.run == queries.c.run)
                .where(
                    study_runs.c.study == study.id,
                    study_runs.c.purpose == purpose,
                    queries.c.repeat_of.is_(None),
                    asking.IS_KNOWN,
                )
                .order_by(study_runs.c.position, queries.c.position, current_labels.c.number.desc())
            )
            # the first that was said of each
            found = {row.id: row for row in connection.execute(answered)}
        return [Known(row.id, *sides_of(row), row.label) for row in found.values()]

    def may_see_clip(self, id: UUID, digest: str) -> bool:
        """Whether a clip shows something that a participant was shown, or that everybody is."""
        return self._may_see(studying.SEEN_CLIP, {"participant": id, "clip": digest})

    def may_see_segment(self, id: UUID, segment: UUID) -> bool:
        """Whether a segment is one that a participant was shown, or that everybody is."""
        return self._may_see(studying.SEEN_SEGMENT, {"participant": id, "segment": segment})

    def _may_see(self, either: Sequence[Select[Any]], asked: Mapping[str, Any]) -> bool:
        with self._database.reading() as connection:
            seen = (connection.execute(one, asked).first() for one in either)
            return any(row is not None for row in seen)


def _link(row: AnyRow, person: Person | None, holds: bool) -> Link:
    """From a row of `studying.LINK` or `studying.OPEN_LINK`."""
    runs = frozenset((row.purposes or "").split(","))
    return Link(row.name, person, holds, json.loads(row.about), runs, own_settings_of(row))
