"""The statements of the store that run with every query and answer, built once.

To build one takes longer than to run it. What differs from call to call is a parameter, named here
in `bindparam`; those of updates begin with `this_`, apart from the names of columns.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from prefloop.labelling.tables import UNDO, events, leases, queries, runs, segments

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

# a lease that is still somebody's, at the time `now`
LIVE = and_(leases.c.open, leases.c.expires_at > bindparam("now"))


def _labelled(query: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a label of a query by `annotator` stands in `round`."""
    undone = events.alias("undone")
    return exists().where(
        events.c.query == query,
        events.c.annotator == bindparam("annotator"),
        events.c.round == bindparam("round"),
        events.c.kind != UNDO,
        ~exists().where(undone.c.undoes == events.c.id).correlate(events),
    )


RUN_NAMED = select(runs).where(runs.c.name == bindparam("name"))

# live leases of an annotator's pages, the oldest first
_HELD = (
    select(leases.c.id, leases.c.query, leases.c.first_is_left, leases.c.expires_at, *SIDES)
    .select_from(SHOWN.join(leases, leases.c.query == queries.c.id))
    .where(
        leases.c.run == bindparam("run"),
        leases.c.annotator == bindparam("annotator"),
        leases.c.round == bindparam("round"),
        LIVE,
    )
    .order_by(leases.c.created_at, queries.c.position)
)
HELD = _HELD.where(leases.c.session == bindparam("session"))
HELD_ELSEWHERE = _HELD.where(leases.c.session != bindparam("session"))  # perhaps closed

# queries of `run` that want labels and have none by `annotator`
_UNLABELLED = (
    queries.c.run == bindparam("run"),
    queries.c.done < queries.c.wanted,
    queries.c.repeat_of.is_(None),
    ~_labelled(queries.c.id),
)
UNLABELLED = select(queries.c.id).where(*_UNLABELLED).limit(1)

_live_here = and_(leases.c.query == queries.c.id, LIVE)
_taken = select(func.count()).where(_live_here).correlate(queries).scalar_subquery()
# those of them that `annotator` may have, locked until the transaction ends
FREE = (
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
    .order_by(queries.c.position)
    .limit(bindparam("count"))
    .with_for_update(of=queries, skip_locked=True)
)
STILL_FREE = FREE.where(queries.c.id.in_(bindparam("found", expanding=True)))

# how many queries of `run` want labels; counting tens of thousands each time would take longer than
# all the rest
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

# a lease with its query, which stays locked until the transaction ends
LEASED = (
    select(
        leases.c.run, leases.c.query, leases.c.annotator, leases.c.round, leases.c.open,
        leases.c.first_is_left, leases.c.expires_at, queries.c.done, queries.c.wanted,
        queries.c.repeat_of, runs.c.round.label("current_round"),
        _first.c.length.label("first_length"), _second.c.length.label("second_length"),
    )
    .select_from(
        SHOWN.join(leases, leases.c.query == queries.c.id).join(runs, runs.c.id == leases.c.run)
    )
    .where(leases.c.id == bindparam("lease"))
    .with_for_update(of=queries)
)  # fmt: skip

EVENT = select(events).where(events.c.id == bindparam("event"))
HAS_LABELLED = select(_labelled(bindparam("query", type_=queries.c.id.type)))

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

CLOSE_LEASE = update(leases).where(leases.c.id == bindparam("this_lease")).values(open=False)
ONE_MORE_DONE = (
    update(queries).where(queries.c.id == bindparam("this_query")).values(done=queries.c.done + 1)
)
# the next number of a run's events, and of its queries' positions
NEXT_EVENT = (
    update(runs)
    .where(runs.c.id == bindparam("this_run"))
    .values(last_event=runs.c.last_event + 1)
    .returning(runs.c.last_event)
)
NEXT_POSITION = (
    update(runs)
    .where(runs.c.id == bindparam("this_run"))
    .values(last_position=runs.c.last_position + 1)
    .returning(runs.c.last_position)
)
INSERT_EVENT = insert(events)
INSERT_LEASE = insert(leases)
