"""Which labels count towards those that queries want: of whoever is excluded none does, so that others are asked.

`queries.done` is how many do. A repeat is for one person alone, and counts whoever that is.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from prefloop.labelling.server.storage.database import chunks
from prefloop.labelling.server.storage.statements import asking, parts
from prefloop.labelling.server.storage.tables import current_labels, queries, runs


def give_back(connection: Connection, which: ColumnElement[bool]) -> int:
    """Counts some labels no longer; how many queries are asked again for that.

    Args:
        which: of `current_labels`; those of whoever is excluded are passed over, which did not count.
    """
    theirs = (
        select(current_labels.c.query, func.count().label("labels"))
        .where(which, parts.counts(current_labels))
        .group_by(current_labels.c.query)
        .subquery()
    )
    columns = (queries.c.id, queries.c.done, queries.c.wanted, runs.c.annotators_per_query)
    labelled = connection.execute(
        select(*columns, theirs.c.labels)
        .join(theirs, theirs.c.query == queries.c.id)
        .join(runs, runs.c.id == queries.c.run)
        .where(queries.c.repeat_of.is_(None))
    ).all()
    changed = []
    for row in labelled:
        done = row.done - row.labels
        # one that was asked for their sake alone, as a check, is not asked for once more
        wanted = max(row.wanted - row.labels, min(row.wanted, row.annotators_per_query), done)
        changed.append({"this_query": row.id, "this_done": done, "this_wanted": wanted})
    _change(connection, changed)
    return sum(one["this_done"] < one["this_wanted"] for one in changed)


def take_in(connection: Connection, run: UUID, annotator: str, at: dict[str, Any]) -> None:
    """Counts the labels of somebody who was excluded until now, also where others were asked meanwhile.

    Args:
        at: the time, as `parts.at` says it.
    """
    theirs = select(current_labels.c.query).where(
        current_labels.c.run == run, current_labels.c.annotator == annotator
    )
    ids = list(connection.execute(theirs).scalars())
    changed = []
    for some in chunks(ids):
        of_these = queries.c.id.in_(some), queries.c.repeat_of.is_(None)
        for row in connection.execute(
            select(queries, asking.COUNTED, asking.TAKEN).where(*of_these), at
        ):
            # whoever has it before them can answer it all the same
            wanted = max(row.wanted, row.counted + row.taken)
            changed.append({"this_query": row.id, "this_done": row.counted, "this_wanted": wanted})
    _change(connection, changed)


def _change(connection: Connection, changed: Sequence[dict[str, Any]]) -> None:
    if changed:
        of_query = update(queries).where(queries.c.id == bindparam("this_query"))
        values = of_query.values(done=bindparam("this_done"), wanted=bindparam("this_wanted"))
        connection.execute(values, list(changed))
