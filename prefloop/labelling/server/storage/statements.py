"""The statements of the store that run with every query and answer, built once.

To build one takes longer than to run it. What differs from call to call is a parameter, named here
in `bindparam`; those of updates begin with `this_` and those of inserts with `new_`, since what has a column's
name is taken for a value of it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    FromClause,
    Insert,
    Integer,
    ScalarSelect,
    Select,
    Table,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from prefloop.labelling.server.storage.tables import (
    ANSWER,
    CHECKS,
    EXAMPLES,
    PAIRS,
    PRACTICE,
    UNDO,
    current_labels,
    events,
    exclusions,
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


def counts(labels: FromClause) -> ColumnElement[bool]:
    """Whether labels are of somebody whom nobody has excluded from their run."""
    theirs = exclusions.c.run == labels.c.run, exclusions.c.annotator == labels.c.annotator
    return ~exists().where(*theirs).correlate(labels)


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
# what `annotator` said of `queries` in this round and took back, what was taken back last at the end
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
    .join(runs, and_(runs.c.id == events.c.run, runs.c.round == events.c.round))
    .where(
        events.c.query.in_(bindparam("queries", expanding=True)),
        events.c.annotator == bindparam("annotator"),
    )
    .order_by(_undos.c.number)
)


def _more_left(was_left: Column[Any], which: ColumnElement[bool]) -> ScalarSelect[Any]:
    """How many more labels or leases had the first on the left than on the right."""
    more = func.sum(case((was_left, 1), (was_left.is_(None), 0), else_=-1))
    found = select(func.coalesce(more, 0)).where(which)
    return found.correlate_except(was_left.table).scalar_subquery()


def _wants_labels(table: FromClause) -> ColumnElement[bool]:
    """Whether a query of `run` wants labels; as the indexes of `queries` have it."""
    return and_(
        table.c.run == bindparam("run"), table.c.done < table.c.wanted, table.c.repeat_of.is_(None)
    )


_live_here = and_(leases.c.query == queries.c.id, LIVE)
# how many more answers and leases of a query had its first on the left
MORE_LEFT = (
    _more_left(current_labels.c.first_was_left, current_labels.c.query == queries.c.id)
    + _more_left(leases.c.first_is_left, _live_here)
).label("more_left")

_UNLABELLED = ~_labelled(queries.c.id, bindparam("annotator"), bindparam("round"))
# queries of `run` that want labels and have none by `annotator`
UNLABELLED = select(queries.c.id).where(_wants_labels(queries), _UNLABELLED).limit(1)

_taken = select(func.count()).where(_live_here).correlate(queries).scalar_subquery()
TAKEN = _taken.label("taken")
# how many labels of a query count
COUNTED = (
    select(func.count())
    .where(current_labels.c.query == queries.c.id, counts(current_labels))
    .correlate(queries)
    .scalar_subquery()
    .label("counted")
)
# those of them that `annotator` may have; the limit stands in the text, since PostgreSQL keeps no plan for any limit,
# which would have to be one that reads all
_FREE = (
    select(queries.c.id, *SIDES)
    .where(
        _UNLABELLED,
        queries.c.done + _taken < queries.c.wanted,
        or_(
            queries.c.wanted == 1,
            ~exists()
            .where(_live_here, leases.c.annotator == bindparam("annotator"))
            .correlate(queries),
        ),
    )
    .limit(bindparam("count", type_=Integer, literal_execute=True))
)
FREE = _FREE.select_from(SHOWN).where(_wants_labels(queries)).order_by(queries.c.position)
# those with the fewest answers first, so that a study which ends early has as many of each; in no order else,
# so that no pair is judged by all when they are tired
_EVENLY = _FREE.add_columns(MORE_LEFT).order_by(queries.c.done + _taken, func.random())
FREE_EVENLY = _EVENLY.select_from(SHOWN).where(_wants_labels(queries))

# The same of a few of those that have the fewest answers, or one more: whose a query is has to be looked up, and
# thousands would be sorted. An index has them by their ids, and is read from another place on each time, that of a
# query which is drawn by its position, `turn` (0 to 1) of the way to the last: ids may have been made in order.
_some, _drawn = queries.alias("some"), queries.alias("drawn")
_last = select(func.max(_drawn.c.position)).where(_drawn.c.run == bindparam("run"))
_place = cast(bindparam("turn", type_=Float) * _last.scalar_subquery(), BigInteger)
_from_here = (
    select(_drawn.c.id)
    .where(_drawn.c.run == bindparam("run"), _drawn.c.position >= _place)
    .order_by(_drawn.c.position)
    .limit(1)
    .scalar_subquery()
)
_fewest = select(func.min(_some.c.done)).where(_wants_labels(_some)).scalar_subquery()
_FEW = 32
_parts = [
    select(_some.c.id)
    .where(_wants_labels(_some), _some.c.done == _fewest + more, side)
    .order_by(_some.c.id)
    .limit(_FEW)
    .subquery()
    for more in (0, 1)
    for side in (_some.c.id >= _from_here, _some.c.id < _from_here)
]
_few = select(union_all(*map(select, _parts)).subquery()).limit(_FEW).subquery("few")
FREE_EVENLY_OF_SOME = _EVENLY.select_from(SHOWN.join(_few, _few.c.id == queries.c.id))

# what somebody has answered who is no participant
IS_KNOWN = and_(
    current_labels.c.kind == ANSWER,
    ~exists().where(participants.c.annotator == current_labels.c.annotator),
)
# a query of `run` whose answer is known, and that `annotator` was never given
_is_answered = exists().where(current_labels.c.query == queries.c.id, IS_KNOWN)
_was_given = exists().where(
    leases.c.query == queries.c.id, leases.c.annotator == bindparam("annotator")
)
CHECK = (
    select(queries.c.id, *SIDES, MORE_LEFT)
    .select_from(SHOWN)
    .where(
        queries.c.run == bindparam("run"), queries.c.repeat_of.is_(None), _is_answered, ~_was_given
    )
    .order_by(func.random())
    .limit(1)
)

# how many queries of `run` want labels; counting tens of thousands would take long
MOST_COUNTED = 1000
LEFT_OVER = select(func.count()).select_from(
    select(queries.c.id).where(_wants_labels(queries)).limit(MOST_COUNTED).subquery()
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
        (~counts(leases)).label("is_excluded"),
    )
    .select_from(_LEASED.join(runs, runs.c.id == leases.c.run))
    .where(leases.c.id == bindparam("lease"))
)  # fmt: skip

# the same of a participant's, with how many pairs of their study they have answered, if it is one of those
_pairs_of_study = (
    select(study_runs.c.run)
    .join(participants, participants.c.study == study_runs.c.study)
    .where(participants.c.annotator == leases.c.annotator, study_runs.c.purpose == PAIRS)
    .correlate(leases)
)
_pairs_answered = (
    select(func.count())
    .where(
        current_labels.c.annotator == leases.c.annotator,
        current_labels.c.run.in_(_pairs_of_study),
        leases.c.run.in_(_pairs_of_study),
    )
    .correlate(leases)
    .scalar_subquery()
)
LEASED_IN_STUDY = LEASED.add_columns(_pairs_answered.label("pairs_answered"))

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

# the names of those who take part in a study that shows `run`, whatever for
PARTICIPANTS_OF_RUN = (
    select(participants.c.annotator)
    .join(study_runs, study_runs.c.study == participants.c.study)
    .where(study_runs.c.run == bindparam("run"))
    .distinct()
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
        _more_left(current_labels.c.first_was_left, _theirs(current_labels)).label("more_left"),
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
# the live leases of a participant, who has some in these runs alone, on whatever page, the oldest first
HELD = (
    select(leases.c.run, leases.c.session, *_LEASE)
    .select_from(
        _LEASED.join(runs, and_(runs.c.id == leases.c.run, runs.c.round == leases.c.round))
    )
    .where(leases.c.annotator == bindparam("annotator"), LIVE)
    .order_by(*_IN_ORDER)
)

CLOSE_LEASE = update(leases).where(leases.c.id == bindparam("this_lease")).values(open=False)
# if the answer counts
ONE_MORE_DONE = (
    update(queries)
    .where(queries.c.id == bindparam("this_query"), bindparam("this_counts", type_=Boolean))
    .values(done=queries.c.done + 1)
)
# a query that has all the labels that it wants is asked about all the same
_one_more = queries.c.done + _taken + 1
WANT_ONE_MORE = (
    update(queries)
    .where(queries.c.id == bindparam("this_query"))
    .values(wanted=case((queries.c.wanted < _one_more, _one_more), else_=queries.c.wanted))
)


def _next(column: Column[Any], run: ColumnElement[Any]) -> ScalarSelect[Any]:
    """The next number of a run's events, or of its queries' positions.

    Writers take turns, so numbers appear in order and a reader's cursor never passes one over. A
    database's own sequence does not promise that.
    """
    taken = column.table.alias("taken")
    last = func.max(taken.c[column.name])
    return select(func.coalesce(last, 0) + 1).where(taken.c.run == run).scalar_subquery()


def new(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as `INSERT_EVENT` and its kin ask for it."""
    return {f"new_{name}": value for name, value in row.items()}


def _insert(table: Table, numbered: Column[Any]) -> Insert:
    values = {c.name: bindparam(f"new_{c.name}", type_=c.type) for c in table.columns}
    return insert(table).values({**values, numbered.name: _next(numbered, values["run"])})


INSERT_EVENT = _insert(events, events.c.number).returning(events.c.number)
# The same with what belongs to it, at once, which SQLite can't; there, a statement costs no round trip.
INSERT_ANSWER = INSERT_EVENT.add_cte(CLOSE_LEASE.cte("closed"), ONE_MORE_DONE.cte("counted"))
INSERT_REPEAT = _insert(queries, queries.c.position)
LAST_POSITION = select(func.coalesce(func.max(queries.c.position), 0)).where(
    queries.c.run == bindparam("run")
)
INSERT_LEASE = insert(leases)
