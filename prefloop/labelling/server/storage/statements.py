"""The statements of the store that run with every query and answer, built once.

To build one takes longer than to run it. What differs from call to call is a parameter, named here
in `bindparam`; those of updates begin with `this_`, apart from the names of columns.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Insert,
    ScalarSelect,
    Select,
    Table,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
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

_first, _second = segments.alias("first_segment"), segments.alias("second_segment")
SHOWN = queries.join(_first, _first.c.id == queries.c.first).join(
    _second, _second.c.id == queries.c.second
)
SIDES = (
    queries.c.first,
    _first.c.length.label("first_length"),
    _first.c.clip.label("first_clip"),
    _first.c.clip_error.label("first_error"),
    queries.c.second,
    _second.c.length.label("second_length"),
    _second.c.clip.label("second_clip"),
    _second.c.clip_error.label("second_error"),
)

CLOCKS_DIFFER = timedelta(seconds=60)  # at most, those of servers that share a database

# A lease that is still somebody's, at the time that `at` says. One that was given later than now is
# from before the clock was set back: it would keep its query for as long as that.
LIVE = and_(
    leases.c.open,
    leases.c.expires_at > bindparam("now"),
    leases.c.created_at <= bindparam("latest"),
)


def at(now: datetime) -> dict[str, datetime]:
    """What `LIVE` asks for."""
    return {"now": now, "latest": now + CLOCKS_DIFFER}


def is_live(lease: Any, now: datetime) -> bool:
    """The same of a row."""
    return bool(lease.open and lease.expires_at > now and lease.created_at <= now + CLOCKS_DIFFER)


def _labelled(
    query: ColumnElement[Any], annotator: ColumnElement[Any], round: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Whether a label of a query by an annotator stands in a round."""
    undone = events.alias("undone")
    standing = select(func.count()).where(
        events.c.query == query,
        events.c.annotator == annotator,
        events.c.round == round,
        events.c.kind != UNDO,
        ~exists().where(undone.c.undoes == events.c.id).correlate(events),
    )
    # a count and not `exists`, which PostgreSQL turns into a join with all of the annotator's events
    return standing.correlate_except(events, undone).scalar_subquery() > 0


# a participant, and how their study goes
PERSON = (
    select(participants, studies.c.about)
    .join(studies, studies.c.id == participants.c.study)
    .where(participants.c.id == bindparam("participant"))
)
# the runs of a study whose pairs are compared, or whose answers are known
RUNS_TO_ANSWER = (
    select(runs.c.name, study_runs.c.purpose)
    .join(study_runs, study_runs.c.run == runs.c.id)
    .where(study_runs.c.study == bindparam("study"), study_runs.c.purpose.in_((PAIRS, CHECKS)))
    .order_by(study_runs.c.position)
)
_of_pairs = and_(study_runs.c.study == studies.c.id, study_runs.c.purpose == PAIRS)
# how the study `study` goes, and what its first run has of its own
RULES = (
    select(studies.c.about, runs.c.own_settings)
    .select_from(studies.outerjoin(study_runs.join(runs, runs.c.id == study_runs.c.run), _of_pairs))
    .where(studies.c.name == bindparam("study"))
    .order_by(study_runs.c.position)
    .limit(1)
)
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

RUN_NAMED = select(runs).where(runs.c.name == bindparam("name"))

_LEASE = (
    leases.c.id.label("lease"),
    leases.c.query,
    leases.c.first_is_left,
    leases.c.expires_at,
    *SIDES,
)
_LEASED = SHOWN.join(leases, leases.c.query == queries.c.id)
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
# whether a name is that of a link, by which alone anything is done under it
_IS_PARTICIPANT = exists().where(participants.c.annotator == bindparam("annotator"))
IS_PARTICIPANT = select(_IS_PARTICIPANT)

# a run and the live leases of one page, the oldest first; without any there is one row that holds
# none
PAGE = (
    select(
        runs.c.id, runs.c.name, runs.c.round, runs.c.repeats, runs.c.archived_at,
        _STUDY.label("study"), _IS_PARTICIPANT.label("is_participant"), *_LEASE,
    )
    .select_from(runs.outerjoin(_LEASED, and_(_THEIRS, leases.c.session == bindparam("session"))))
    .where(runs.c.name == bindparam("name"))
    .order_by(*_IN_ORDER)
)  # fmt: skip
# those of the annotator's other pages, perhaps closed
HELD_ELSEWHERE = (
    select(*_LEASE)
    .select_from(_LEASED.join(runs, _THEIRS))
    .where(runs.c.id == bindparam("run"), leases.c.session != bindparam("session"))
    .order_by(*_IN_ORDER)
)

_undos = events.alias("undos")
# what `annotator` said of `queries` in a round and took back, what was taken back last at the end
TAKEN_BACK = (
    select(
        events.c.query,
        events.c.kind,
        events.c.label,
        events.c.trim_start,
        events.c.trim_stop,
        queries.c.first,
    )
    .join(_undos, _undos.c.undoes == events.c.id)
    .join(queries, queries.c.id == events.c.query)
    .where(
        events.c.query.in_(bindparam("queries", expanding=True)),
        events.c.annotator == bindparam("annotator"),
        events.c.round == bindparam("round"),
    )
    .order_by(_undos.c.number)
)

# queries of `run` that want labels and have none by `annotator`
_UNLABELLED = (
    queries.c.run == bindparam("run"),
    queries.c.done < queries.c.wanted,
    queries.c.repeat_of.is_(None),
    ~_labelled(queries.c.id, bindparam("annotator"), bindparam("round")),
)
UNLABELLED = select(queries.c.id).where(*_UNLABELLED).limit(1)

_live_here = and_(leases.c.query == queries.c.id, LIVE)
_taken = select(func.count()).where(_live_here).correlate(queries).scalar_subquery()
# those of them that `annotator` may have
_FREE = (
    select(queries.c.id, queries.c.wanted, queries.c.done, *SIDES)
    .select_from(SHOWN)
    .where(
        *_UNLABELLED,
        queries.c.done + _taken < queries.c.wanted,
        or_(
            queries.c.wanted == 1,
            ~exists()
            .where(_live_here, leases.c.annotator == bindparam("annotator"))
            .correlate(queries),
        ),
    )
    .limit(bindparam("count"))
)
FREE = _FREE.order_by(queries.c.position)
# those with the fewest answers first, so that a study which ends early has as many of each; in no order else,
# so that no pair is judged by all when they are tired
FREE_EVENLY = _FREE.order_by(queries.c.done + _taken, func.random())
# the same of a few of those: whose they are is looked up for each, which takes long for thousands
_some = queries.alias("some")
_SOME = (
    select(_some.c.id)
    .where(
        _some.c.run == bindparam("run"),
        _some.c.done < _some.c.wanted,
        _some.c.repeat_of.is_(None),
    )
    .order_by(_some.c.done, func.random())
    .limit(32)
)
FREE_EVENLY_OF_SOME = FREE_EVENLY.where(queries.c.id.in_(_SOME))

# how many queries of `run` want labels; counting tens of thousands would take long
MOST_COUNTED = 1000
LEFT_OVER = select(func.count()).select_from(
    select(queries.c.id)
    .where(
        queries.c.run == bindparam("run"),
        queries.c.done < queries.c.wanted,
        queries.c.repeat_of.is_(None),
    )
    .limit(MOST_COUNTED)
    .subquery()
)

# a lease with its query, and what speaks against storing `event` as its answer
LEASED = (
    select(
        leases.c.run, leases.c.query, leases.c.annotator, leases.c.round, leases.c.open,
        leases.c.first_is_left, leases.c.created_at, leases.c.expires_at, queries.c.done, queries.c.wanted,
        queries.c.repeat_of, runs.c.round.label("current_round"),
        _first.c.length.label("first_length"), _second.c.length.label("second_length"),
        exists().where(events.c.id == bindparam("event")).label("is_stored"),
        _labelled(leases.c.query, leases.c.annotator, leases.c.round).label("is_labelled"),
        exists().where(participants.c.annotator == leases.c.annotator).label("is_participant"),
    )
    .select_from(_LEASED.join(runs, runs.c.id == leases.c.run))
    .where(leases.c.id == bindparam("lease"))
)  # fmt: skip

EVENT = select(events).where(events.c.id == bindparam("event"))
IS_LABELLED = select(
    _labelled(
        bindparam("query", type_=queries.c.id.type), bindparam("annotator"), bindparam("round")
    )
)

# live leases of a query that others than `annotator` have
TAKEN_BY_OTHERS = (
    select(func.count())
    .select_from(leases)
    .where(
        leases.c.query == bindparam("query"),
        LIVE,
        leases.c.annotator != bindparam("annotator"),
    )
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


def _more_left(labelled: ColumnElement[bool], leased: ColumnElement[bool]) -> Select[Any]:
    """How many more labels and leases had the first on the left than on the right."""
    of_label = case((current_labels.c.first_was_left, 1), else_=-1)
    of_lease = case((leases.c.first_is_left, 1), else_=-1)
    known = current_labels.c.first_was_left.is_not(None)
    return select(
        select(func.coalesce(func.sum(of_label), 0)).where(labelled, known).scalar_subquery()
        + select(func.coalesce(func.sum(of_lease), 0)).where(leased).scalar_subquery()
    )


MORE_LEFT_OF_ANNOTATOR = _more_left(_own_labels, _own_leases)
MORE_LEFT_OF_QUERY = _more_left(
    current_labels.c.query == bindparam("query", type_=queries.c.id.type),
    and_(leases.c.query == bindparam("query", type_=queries.c.id.type), LIVE),
)

CLOSE_LEASE = update(leases).where(leases.c.id == bindparam("this_lease")).values(open=False)
ONE_MORE_DONE = (
    update(queries).where(queries.c.id == bindparam("this_query")).values(done=queries.c.done + 1)
)


def _next(column: Column[Any], run: ColumnElement[Any]) -> ScalarSelect[Any]:
    """The next number of a run's events, or of its queries' positions.

    Writers take turns, so numbers appear in order and a reader's cursor never passes one over. A
    database's own sequence does not promise that.
    """
    taken = column.table.alias("taken")
    last = func.max(taken.c[column.name])
    return select(func.coalesce(last, 0) + 1).where(taken.c.run == run).scalar_subquery()


def _insert(table: Table, numbered: Column[Any]) -> Insert:
    values = {column.name: bindparam(column.name, type_=column.type) for column in table.columns}
    number = _next(numbered, bindparam("run", type_=table.c.run.type))
    return insert(table).values({**values, numbered.name: number})


INSERT_EVENT = _insert(events, events.c.number).returning(events.c.number)
INSERT_REPEAT = _insert(queries, queries.c.position)
LAST_POSITION = select(func.coalesce(func.max(queries.c.position), 0)).where(
    queries.c.run == bindparam("run")
)
INSERT_LEASE = insert(leases)
