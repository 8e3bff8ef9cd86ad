"""Which queries somebody may be asked, and how many are left."""

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Float,
    FromClause,
    Integer,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    union_all,
    update,
)

from prefloop.labelling.server.storage.statements.parts import (
    LIVE_HERE,
    SHOWN,
    SIDES,
    counts,
    insert_numbered,
    labelled,
    more_left,
)
from prefloop.labelling.server.storage.tables import (
    ANSWER,
    CHECKS,
    current_labels,
    events,
    leases,
    participants,
    queries,
    runs,
    study_runs,
)


def _wants_labels(table: FromClause) -> ColumnElement[bool]:
    """Whether a query of `run` wants labels; as the indexes of `queries` have it."""
    return and_(
        table.c.run == bindparam("run"), table.c.done < table.c.wanted, table.c.repeat_of.is_(None)
    )


# how many more answers and leases of a query had its first on the left
MORE_LEFT = (
    more_left(current_labels.c.first_was_left, current_labels.c.query == queries.c.id)
    + more_left(leases.c.first_is_left, LIVE_HERE)
).label("more_left")

_UNLABELLED = ~labelled(queries.c.id, bindparam("annotator"), bindparam("round"))
# queries of `run` that want labels and have none by `annotator`
UNLABELLED = select(queries.c.id).where(_wants_labels(queries), _UNLABELLED).limit(1)

_taken = select(func.count()).where(LIVE_HERE).correlate(queries).scalar_subquery()
TAKEN = _taken.label("taken")
# how many labels of a query count
COUNTED = (
    select(func.count())
    .where(current_labels.c.query == queries.c.id, counts(current_labels))
    .correlate(queries)
    .scalar_subquery()
    .label("counted")
)
# queries that `annotator` may have; the limit stands in the text, since PostgreSQL keeps no plan for any limit,
# which would have to be one that reads all
_FREE = (
    select(queries.c.id, *SIDES)
    .where(
        _UNLABELLED,
        queries.c.done + _taken < queries.c.wanted,
        or_(
            queries.c.wanted == 1,
            ~exists()
            .where(LIVE_HERE, leases.c.annotator == bindparam("annotator"))
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
# a query of `run` whose answer is known, that `annotator` has not answered and does not have; one that was let go of
# comes again, since nobody may have seen it
_is_answered = exists().where(current_labels.c.query == queries.c.id, IS_KNOWN)
_has = or_(
    exists().where(LIVE_HERE, leases.c.annotator == bindparam("annotator")),
    exists().where(events.c.query == queries.c.id, events.c.annotator == bindparam("annotator")),
)
CHECK = (
    select(queries.c.id, *SIDES, MORE_LEFT)
    .select_from(SHOWN)
    .where(queries.c.run == bindparam("run"), queries.c.repeat_of.is_(None), _is_answered, ~_has)
    .order_by(func.random())
    .limit(1)
)

# how many queries of `run` want labels; counting tens of thousands would take long
MOST_COUNTED = 1000
LEFT_OVER = select(func.count()).select_from(
    select(queries.c.id).where(_wants_labels(queries)).limit(MOST_COUNTED).subquery()
)

# a query that has all the labels that it wants is asked about all the same
_one_more = queries.c.done + _taken + 1
WANT_ONE_MORE = (
    update(queries)
    .where(queries.c.id == bindparam("this_query"))
    .values(wanted=case((queries.c.wanted < _one_more, _one_more), else_=queries.c.wanted))
)
# and no more where whoever had it lets go: those of checks that have `query` want what is answered or open, at least
# as many as their run
_open = (
    select(func.count())
    .where(leases.c.query == queries.c.id, leases.c.open)
    .correlate(queries)
    .scalar_subquery()
)
_annotators = (
    select(runs.c.annotators_per_query)
    .where(runs.c.id == queries.c.run)
    .correlate(queries)
    .scalar_subquery()
)
_enough = case((queries.c.done + _open > _annotators, queries.c.done + _open), else_=_annotators)
WANT_NO_MORE = (
    update(queries)
    .where(
        queries.c.id.in_(bindparam("these_queries", expanding=True)),
        queries.c.run.in_(select(study_runs.c.run).where(study_runs.c.purpose == CHECKS)),
        queries.c.wanted > _enough,
    )
    .values(wanted=_enough)
)

INSERT_REPEAT = insert_numbered(queries, queries.c.position)
LAST_POSITION = select(func.coalesce(func.max(queries.c.position), 0)).where(
    queries.c.run == bindparam("run")
)
FIRST_POSITION = select(func.coalesce(func.min(queries.c.position), 1)).where(
    queries.c.run == bindparam("run")
)
