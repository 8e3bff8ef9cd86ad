"""Leases as the queue gives them and an undo gives them back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from prefloop.labelling.server.storage.database import AnyRow
from prefloop.labelling.server.storage.errors import ForbiddenError, no_run
from prefloop.labelling.server.storage.records import Choice, Lease, Said, Side
from prefloop.labelling.server.storage.statements import answering, asking, leasing, parts
from prefloop.labelling.server.storage.tables import SKIP


def page_of(
    connection: Connection,
    now: datetime,
    name: str,
    annotator: str,
    session: UUID,
    by_link: bool = False,
) -> tuple[AnyRow, list[AnyRow]]:
    """A run, and the live leases of one of its pages, the oldest first.

    Args:
        by_link: whether it is a participant's own link that asks.

    Raises:
        NotFoundError: there is no such run.
        ForbiddenError: the name is a participant's, whose link alone may act under it.
    """
    asked = {"name": name, "annotator": annotator, "session": session, **parts.at(now)}
    rows = connection.execute(leasing.PAGE, asked).all()
    if not rows:
        raise no_run(name)
    if rows[0].is_participant and not by_link:
        raise not_theirs(annotator)
    return rows[0], [row for row in rows if row.lease is not None]


def not_theirs(annotator: str) -> ForbiddenError:
    """Somebody acts under a participant's name without their link."""
    return ForbiddenError(f"{annotator} takes part in a study: only their own link acts for them.")


def left_over(connection: Connection, run: AnyRow) -> int:
    """How many queries of a run want labels, counted up to a limit."""
    return connection.execute(asking.LEFT_OVER, {"run": run.id}).scalar_one()


def lease_of(row: AnyRow, expires_at: datetime) -> Lease:
    """From a row of `leasing.PAGE` and its kin."""
    return _shown(row.lease, row.query, row.first_is_left, row, expires_at)


def new_lease(made: Mapping[str, Any], row: AnyRow) -> Lease:
    """From what is stored as a lease, and the row of its query."""
    return _shown(made["id"], made["query"], made["first_is_left"], row, made["expires_at"])


def sides_of(row: AnyRow) -> tuple[Side, Side]:
    """First and second, from `parts.SIDES`."""
    return (
        Side(row.first, row.first_length, row.first_clip, row.first_error),
        Side(row.second, row.second_length, row.second_clip, row.second_error),
    )


def with_what_was_said(
    connection: Connection, annotator: str, given: Sequence[Lease]
) -> list[Lease]:
    """The leases, each with what their annotator said of its query and took back last.

    Args:
        given: of queries of which none has a label of the annotator that stands.
    """
    asked = {"queries": [lease.query for lease in given], "annotator": annotator}
    rows = connection.execute(answering.TAKEN_BACK, asked) if given else ()
    last = {row.query: row for row in rows}
    return [
        replace(lease, said=_said(last[lease.query], lease)) if lease.query in last else lease
        for lease in given
    ]


def _said(event: AnyRow, lease: Lease) -> Said:
    """What an answer or a skip was, as a page says it that shows the lease."""
    first_is_left = lease.left.segment == event.first
    sides: dict[float, Choice] = {
        0.0: "left" if first_is_left else "right",
        0.5: "tie",
        1.0: "right" if first_is_left else "left",
    }
    choice = "skip" if event.kind == SKIP else sides.get(event.label)
    trim = None if event.trim_start is None else (event.trim_start, event.trim_stop)
    return Said(choice, trim)


def _shown(id: UUID, query: UUID, first_is_left: bool, row: AnyRow, expires_at: datetime) -> Lease:
    first, second = sides_of(row)
    left, right = (first, second) if first_is_left else (second, first)
    return Lease(id, query, expires_at, left, right)
