"""Studies: whose link it is, what they have seen, and what they have still to answer."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from prefloop.labelling.server.storage.statements.parts import (
    IS_A_PARTICIPANT,
    more_left,
)
from prefloop.labelling.server.storage.tables import (
    CHECKS,
    EXAMPLES,
    PAIRS,
    PRACTICE,
    UNDO,
    current_labels,
    events,
    leases,
    participants,
    queries,
    runs,
    segments,
    studies,
    study_runs,
)

# a participant, and how their study goes
PERSON = (
    select(participants, studies.c.about)
    .join(studies, studies.c.id == participants.c.study)
    .where(participants.c.id == bindparam("participant"))
)
# the runs of a study in order, each with what it is there for
RUNS_OF_STUDY = (
    select(runs.c.id, runs.c.name, study_runs.c.purpose)
    .join(study_runs, study_runs.c.run == runs.c.id)
    .where(study_runs.c.study == bindparam("study"))
    .order_by(study_runs.c.position)
)
_of_pairs = and_(study_runs.c.study == studies.c.id, study_runs.c.purpose == PAIRS)
# what the first run of a study has of its own
_OWN_SETTINGS = (
    select(runs.c.own_settings)
    .join(study_runs, study_runs.c.run == runs.c.id)
    .where(_of_pairs)
    .order_by(study_runs.c.position)
    .limit(1)
    .correlate(studies)
    .scalar_subquery()
    .label("own_settings")
)
# what its runs are there for
_PURPOSES = (
    select(func.aggregate_strings(study_runs.c.purpose, ","))
    .where(study_runs.c.study == studies.c.id)
    .correlate(studies)
    .scalar_subquery()
    .label("purposes")
)
_study = studies.c.name, studies.c.about, studies.c.closed_at, _PURPOSES, _OWN_SETTINGS
# whose link has a token, and how their study goes
LINK = (
    select(participants, *_study)
    .join(studies, studies.c.id == participants.c.study)
    .where(participants.c.token == bindparam("token"))
)
# the study whose open link has a token
OPEN_LINK = select(*_study).where(studies.c.open_link == bindparam("token"))
NUM_PAIRS = (
    select(func.count())
    .select_from(
        queries.join(study_runs, study_runs.c.run == queries.c.run).join(studies, _of_pairs)
    )
    .where(studies.c.name == bindparam("study"), queries.c.repeat_of.is_(None))
)


def _seen(which: ColumnElement[bool]) -> tuple[Select[Any], Select[Any]]:
    """Segments that `participant` was given, and those that everybody in their study is shown."""
    of_query = or_(queries.c.first == segments.c.id, queries.c.second == segments.c.id)
    this_person = participants.c.id == bindparam("participant")
    given = (
        select(segments.c.id)
        .select_from(participants)
        .join(leases, leases.c.annotator == participants.c.annotator)
        .join(queries, queries.c.id == leases.c.query)
        .join(segments, of_query)
        .where(this_person, which)
        .limit(1)
    )
    shown_to_all = (
        select(segments.c.id)
        .select_from(participants)
        .join(study_runs, study_runs.c.study == participants.c.study)
        .join(segments, segments.c.run == study_runs.c.run)
        .where(this_person, study_runs.c.purpose.in_((PRACTICE, EXAMPLES)), which)
        .limit(1)
    )
    return given, shown_to_all


SEEN_CLIP = _seen(segments.c.clip == bindparam("clip"))
SEEN_SEGMENT = _seen(segments.c.id == bindparam("segment"))

# the names of those who take part in a study that shows `run`, whatever for
PARTICIPANTS_OF_RUN = (
    select(participants.c.annotator)
    .join(study_runs, study_runs.c.study == participants.c.study)
    .where(study_runs.c.run == bindparam("run"))
    .distinct()
)


def _theirs(table: FromClause) -> ColumnElement[bool]:
    return and_(table.c.run == runs.c.id, table.c.annotator == participants.c.annotator)


# Of a participant, for each run of their study whose pairs are compared or whose answers are known: their labels, how
# many more of these had the first on the left, and whether they took one back. There is one row without a run where
# the study has none any more.
_labels = select(func.count()).where(_theirs(current_labels)).correlate_except(current_labels)
_took_back = exists().where(_theirs(events), events.c.kind == UNDO).correlate_except(events)
_to_answer = and_(
    study_runs.c.study == participants.c.study, study_runs.c.purpose.in_((PAIRS, CHECKS))
)
RUNS_TO_ANSWER = (
    select(
        participants.c.annotator, participants.c.number, participants.c.ended_at, studies.c.about,
        study_runs.c.purpose, runs.c.id, runs.c.round, runs.c.repeats, runs.c.archived_at,
        _labels.scalar_subquery().label("labels"),
        more_left(current_labels.c.first_was_left, _theirs(current_labels)).label("more_left"),
        _took_back.label("took_back"),
    )
    .select_from(
        participants.join(studies, studies.c.id == participants.c.study)
        .outerjoin(study_runs, _to_answer)
        .outerjoin(runs, runs.c.id == study_runs.c.run)
    )
    .where(participants.c.id == bindparam("participant"))
    .order_by(study_runs.c.position)
)  # fmt: skip
IS_PARTICIPANT = select(IS_A_PARTICIPANT)
