"""Names that were stored before they were kept as they are shown (`limits.as_shown`)."""

import logging
from typing import Any

from sqlalchemy import Column, Connection, select, update

from prefloop.labelling.limits import as_shown
from prefloop.labelling.server.storage.tables import agents, events, leases, queries

logger = logging.getLogger(__name__)

_ANNOTATORS = (events.c.annotator, leases.c.annotator, queries.c.only_for)


def tidy_names(connection: Connection) -> None:
    """Gives annotators and agents the names that they would have today.

    So whoever comes back is known, and is asked nothing twice. Where the run has somebody of that name
    already, both may have labelled one query: they stay two, as they are.
    """
    for columns in (_ANNOTATORS, (agents.c.name,)):
        _tidy(connection, columns)


def _tidy(connection: Connection, columns: tuple[Column[Any], ...]) -> None:
    taken = {
        (row.run, row.name)
        for column in columns
        for row in connection.execute(
            select(column.table.c.run, column.label("name")).where(column.is_not(None)).distinct()
        )
    }
    for run, name in sorted(taken, key=str):
        shown = as_shown(name)
        if shown == name:
            continue
        if not shown or (run, shown) in taken:
            logger.warning("%a stays beside %a: both have been at work in one run", name, shown)
            continue
        taken.add((run, shown))
        for column in columns:
            here = column.table.c.run == run, column == name
            connection.execute(update(column.table).where(*here).values({column: shown}))
