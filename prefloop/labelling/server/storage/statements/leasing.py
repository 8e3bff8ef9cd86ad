"""Leases: what a page shows, and what is still somebody's."""

from sqlalchemy import (
    and_,
    bindparam,
    func,
    insert,
    select,
)

from prefloop.labelling.server.storage.statements.parts import (
    IS_A_PARTICIPANT,
    LIVE,
    SHOWN_LEASES,
    SIDES,
)
from prefloop.labelling.server.storage.tables import (
    CHECKS,
    PAIRS,
    current_labels,
    leases,
    queries,
    runs,
    studies,
    study_runs,
)

_LEASE = (
    leases.c.id.label("lease"),
    leases.c.query,
    leases.c.first_is_left,
    leases.c.expires_at,
    *SIDES,
)
_IN_ORDER = (leases.c.created_at, queries.c.position)
_THEIRS = and_(
    leases.c.run == runs.c.id,
    leases.c.round == runs.c.round,
    leases.c.annotator == bindparam("annotator"),
    LIVE,
)
# the study whose pairs or checks a run has, while it goes on
_STUDY = (
    select(studies.c.name)
    .join(study_runs, study_runs.c.study == studies.c.id)
    .where(
        study_runs.c.run == runs.c.id,
        study_runs.c.purpose.in_((PAIRS, CHECKS)),
        studies.c.closed_at.is_(None),
    )
    .limit(1)
    .correlate(runs)
    .scalar_subquery()
)
# a run and the live leases of one page, the oldest first; without any there is one row that holds
# none
PAGE = (
    select(
        runs.c.id, runs.c.name, runs.c.round, runs.c.repeats, runs.c.archived_at,
        _STUDY.label("study"), IS_A_PARTICIPANT.label("is_participant"), *_LEASE,
    )
    .select_from(runs.outerjoin(SHOWN_LEASES, and_(_THEIRS, leases.c.session == bindparam("session"))))
    .where(runs.c.name == bindparam("name"))
    .order_by(*_IN_ORDER)
)  # fmt: skip
# those of the annotator's other pages, perhaps closed
HELD_ELSEWHERE = (
    select(*_LEASE)
    .select_from(SHOWN_LEASES.join(runs, _THEIRS))
    .where(runs.c.id == bindparam("run"), leases.c.session != bindparam("session"))
    .order_by(*_IN_ORDER)
)

# labels of `annotator` in `run`, and live leases that may become some
_own_labels = and_(
    current_labels.c.run == bindparam("run"), current_labels.c.annotator == bindparam("annotator")
)
_own_leases = and_(
    leases.c.run == bindparam("run"), leases.c.annotator == bindparam("annotator"), LIVE
)
SPENT = select(
    select(func.count()).select_from(current_labels).where(_own_labels).scalar_subquery()
    + select(func.count()).select_from(leases).where(_own_leases).scalar_subquery()
)


# the live leases of a participant, who has some in these runs alone, on whatever page, the oldest first
HELD = (
    select(leases.c.run, leases.c.session, *_LEASE)
    .select_from(
        SHOWN_LEASES.join(runs, and_(runs.c.id == leases.c.run, runs.c.round == leases.c.round))
    )
    .where(leases.c.annotator == bindparam("annotator"), LIVE)
    .order_by(*_IN_ORDER)
)

INSERT_LEASE = insert(leases)
