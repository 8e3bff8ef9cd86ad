"""What statements have in common."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Insert,
    ScalarSelect,
    Table,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    select,
)

from prefloop.labelling.server.storage.tables import (
    UNDO,
    events,
    exclusions,
    leases,
    participants,
    queries,
    segments,
)

first_side, second_side = segments.alias("first_segment"), segments.alias("second_segment")
SHOWN = queries.join(first_side, first_side.c.id == queries.c.first).join(
    second_side, second_side.c.id == queries.c.second
)
SIDES = (
    queries.c.first,
    first_side.c.length.label("first_length"),
    first_side.c.clip.label("first_clip"),
    first_side.c.clip_error.label("first_error"),
    queries.c.second,
    second_side.c.length.label("second_length"),
    second_side.c.clip.label("second_clip"),
    second_side.c.clip_error.label("second_error"),
)

SHOWN_LEASES = SHOWN.join(leases, leases.c.query == queries.c.id)

CLOCKS_DIFFER = timedelta(seconds=60)  # at most, those of servers that share a database

# A lease that is still somebody's, at the time that `at` says. One that was given later than now is
# from before the clock was set back: it would keep its query for as long as that.
LIVE = and_(
    leases.c.open,
    leases.c.expires_at > bindparam("now"),
    leases.c.created_at <= bindparam("latest"),
)


def at(now: datetime) -> dict[str, datetime]:
    """Parameters of `LIVE`."""
    return {"now": now, "latest": now + CLOCKS_DIFFER}


def is_live(lease: Any, now: datetime) -> bool:
    """Whether a row of leases is live, as `LIVE` has it."""
    return bool(lease.open and lease.expires_at > now and lease.created_at <= now + CLOCKS_DIFFER)


def labelled(
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


def more_left(was_left: Column[Any], which: ColumnElement[bool]) -> ScalarSelect[Any]:
    """How many more labels or leases had the first on the left than on the right."""
    more = func.sum(case((was_left, 1), (was_left.is_(None), 0), else_=-1))
    found = select(func.coalesce(more, 0)).where(which)
    return found.correlate_except(was_left.table).scalar_subquery()


# a live lease of the query that is looked at
LIVE_HERE = and_(leases.c.query == queries.c.id, LIVE)
# whether a name is that of a link, by which alone anything is done under it
IS_A_PARTICIPANT = exists().where(participants.c.annotator == bindparam("annotator"))


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


def insert_numbered(table: Table, numbered: Column[Any]) -> Insert:
    """A row of a run, which gets the next number."""
    values = {c.name: bindparam(f"new_{c.name}", type_=c.type) for c in table.columns}
    return insert(table).values({**values, numbered.name: _next(numbered, values["run"])})
