"""Studies: who takes part in them, by which link, and how far they are. Of tokens there are hashes only."""

import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Select,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError, no_link
from prefloop.labelling.server.storage.leases import sides_of
from prefloop.labelling.server.storage.records import (
    Known,
    Link,
    NewLink,
    Participant,
    Person,
    Study,
)
from prefloop.labelling.server.storage.runs import find_run, own_settings_of
from prefloop.labelling.server.storage.statements import asking, parts, studying
from prefloop.labelling.server.storage.tables import (
    CHECKS,
    PAIRS,
    current_labels,
    events,
    leases,
    participants,
    queries,
    runs,
    studies,
    study_runs,
)

EACH = "each"  # in place of a code: everybody has one of their own
_CODE = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no letter of it is taken for another
_CODE_LENGTH = 8


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
                self._add(connection, study, link)

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
                    self._add(connection, study, link)

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
        """The same, as long as nobody asks who takes part: quick, however many they are.

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
                _change(connection, row.id, revoked_at=self._now())
                let_go(connection, [row.annotator])
            return _participant(connection, row.id)

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
                _require_new(connection, token)
                _change(connection, row.id, token=token, device=None, revoked_at=None)
            return _participant(connection, row.id)

        return self._database.write(job)

    def link(self, token: str) -> Link | None:
        """What the hash of a link's token stands for; None: nothing, or no longer."""
        with self._database.reading() as connection:
            found = connection.execute(studying.LINK, {"token": token}).one_or_none()
            if found is not None:
                holds = found.revoked_at is None and found.closed_at is None
                return _link(found, _person(found), holds)
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
                return _participant(connection, known)
            there = select(func.count()).where(
                participants.c.study == study.id,
                participants.c.revoked_at.is_(None),
                or_(participants.c.outcome.is_(None), participants.c.outcome == "finished"),
            )
            if connection.execute(there).scalar_one() >= most:
                raise ConflictError(
                    "This study has all the participants that it needs. Thank you!", "full"
                )
            is_taken = exists().where(participants.c.study == study.id, participants.c.ref == ref)
            if ref is not None and connection.execute(select(is_taken)).scalar_one():
                raise ConflictError(
                    f"{ref} takes part already: go on in the browser in which you began, or ask "
                    "whoever runs the study for another link.",
                    "joined",
                )
            id = self._add(connection, study, NewLink(ref or _code().lower(), token))
            return _participant(connection, id)

        return self._database.write(job)

    def participant(self, id: UUID) -> Participant:
        """Who takes part, and how far they are."""
        with self._database.reading() as connection:
            return _participant(connection, id)

    def enter(self, id: UUID, device: UUID) -> None:
        """From now on the link works on this device."""

        def job(connection: Connection) -> None:
            found = find_person(connection, id)
            started = {} if found.started_at else {"started_at": self._now()}
            _change(connection, id, device=device, **started)

        self._database.write(job)

    def advance(self, id: UUID, change: Callable[[Person], Mapping[str, Any] | None]) -> Person:
        """Takes a participant a step on.

        Args:
            change: gives the columns that change, of what is known; `progress` as a mapping. With
                `ended_at` given as True, the time is meant, and what they have open is free again.
        """

        def job(connection: Connection) -> Person:
            before = _person(find_person(connection, id))
            values = dict(change(before) or {})
            for key in ("consented_at", "ended_at"):
                if values.get(key) is True:
                    values[key] = self._now()
            if "progress" in values:
                values["progress"] = json.dumps(values["progress"])
            if values:
                _change(connection, id, **values)
            if "ended_at" in values:
                let_go(connection, [before.annotator])
            return _person(find_person(connection, id))

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
                    study_runs.c.study == study.id, study_runs.c.purpose == purpose, asking.IS_KNOWN
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
        """The same of a segment."""
        return self._may_see(studying.SEEN_SEGMENT, {"participant": id, "segment": segment})

    def _may_see(self, either: Sequence[Select[Any]], asked: Mapping[str, Any]) -> bool:
        with self._database.reading() as connection:
            seen = (connection.execute(one, asked).first() for one in either)
            return any(row is not None for row in seen)

    def _add(self, connection: Connection, study: AnyRow, link: NewLink) -> UUID:
        annotator = f"{study.name}-{link.ref}"
        _require_new(connection, link.token)
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
                code=_code() if code == EACH else code or None, created_at=self._now(),
            )
        )  # fmt: skip
        return id


def _link(row: AnyRow, person: Person | None, holds: bool) -> Link:
    """From a row of `studying.LINK` or `studying.OPEN_LINK`."""
    runs = frozenset((row.purposes or "").split(","))
    return Link(row.name, person, holds, json.loads(row.about), runs, own_settings_of(row))


def _code() -> str:
    """What nobody guesses, and anybody can copy by hand."""
    return "".join(secrets.choice(_CODE) for _ in range(_CODE_LENGTH))


def _named(name: str) -> Any:
    return select(studies).where(studies.c.name == name)


def find_study(connection: Connection, name: str) -> AnyRow:
    """The row of a study.

    Raises:
        NotFoundError: there is none of this name.
    """
    found = connection.execute(_named(name)).one_or_none()
    if found is None:
        raise _no_study(name)
    return found


def _no_study(name: str) -> NotFoundError:
    return NotFoundError(f"There is no study {name}.")


def _links_of(connection: Connection, study: UUID) -> list[NewLink]:
    of_study = participants.c.study == study
    found = connection.execute(select(participants.c.ref, participants.c.token).where(of_study))
    return [NewLink(*row) for row in found]


def _require_new(connection: Connection, token: str) -> None:
    is_known = or_(
        exists().where(participants.c.token == token), exists().where(studies.c.open_link == token)
    )
    if connection.execute(select(is_known)).scalar():
        raise ConflictError("This token is that of another link.")


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


def let_go(connection: Connection, annotators: Any) -> None:
    """Takes back all that somebody has open."""
    theirs = leases.c.annotator.in_(annotators), leases.c.open
    connection.execute(update(leases).where(*theirs).values(open=False))


def _change(connection: Connection, id: UUID, **values: Any) -> None:
    connection.execute(update(participants).where(participants.c.id == id).values(**values))


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
        participants=_with_labels(connection, row.id, people),
    )


def find_person(connection: Connection, id: UUID) -> AnyRow:
    """The row of a participant, with how their study goes.

    Raises:
        ForbiddenError: they were forgotten since their request began.
    """
    found = connection.execute(studying.PERSON, {"participant": id}).one_or_none()
    if found is None:
        raise no_link()
    return found


def _participant(connection: Connection, id: UUID) -> Participant:
    row = find_person(connection, id)
    return _with_labels(connection, row.study, [row])[0]


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
    return found.name, _with_labels(connection, found.study, [found])[0]


def _with_labels(
    connection: Connection, study: UUID, people: Sequence[AnyRow]
) -> list[Participant]:
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
            **vars(_person(row)),
            labels=pairs.get(row.annotator, 0),
            checks=checks.get(row.annotator, 0),
            passed=passed.get(row.annotator, 0),
        )
        for row in people
    ]


def _person(row: AnyRow) -> Person:
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
