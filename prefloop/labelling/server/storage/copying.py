"""A whole store in another database: every row of every table, counted and compared.

What is read is one state of the source, be it in use or not. All is written in one transaction, which
ends when each table of the target was read again and is what the source's is: a copy that was killed,
or that differs, leaves an empty target.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, insert, select, text

from prefloop.errors import UserError
from prefloop.labelling.server.storage.database import AnyRow, Database
from prefloop.labelling.server.storage.tables import metadata

ROWS = 200  # read and written at once; those of pictures are large


@dataclass(frozen=True)
class Copied:
    """A table that stands in two databases.

    Attributes:
        rows: how many it has.
        digest: of all that they hold, in hexadecimal digits; the same in whatever order they come.
    """

    table: str
    rows: int
    digest: str


def copy_store(source: str, target: str) -> list[Copied]:
    """Copies a store from one database to another, SQLite or PostgreSQL.

    Args:
        source, target: addresses as of `Store`; the source stays as it is.

    Returns:
        What was copied, table by table.

    Raises:
        UserError: the source is not there or has another schema; the target holds something already;
            one of them does not answer; or what was written is not what was read, and is taken back.
    """
    with (
        closing(Database(source, "as it is")) as one,
        closing(Database(target, "empty")) as other,
        one.snapshot() as reading,
    ):

        def job(writing: Connection) -> list[Copied]:
            other.require_empty(writing)  # still: two copies may have begun at once
            copied = [_copied(reading, writing, table) for table in metadata.sorted_tables]
            for table, read in zip(metadata.sorted_tables, copied, strict=True):
                if _summed(table.name, _portions(writing, table)) != read:
                    raise UserError(
                        f"{other} does not give back what was written to its table {table.name}; "
                        "nothing was copied."
                    )
            if not other.is_sqlite:
                writing.execute(text("ANALYZE"))  # or its first queries are planned without a look
            return copied

        return other.write(job)


def _copied(reading: Connection, writing: Connection, table: Table) -> Copied:
    def written() -> Iterator[Sequence[AnyRow]]:
        for rows in _portions(reading, table):
            writing.execute(insert(table), [row._asdict() for row in rows])
            yield rows

    return _summed(table.name, written())


def _portions(connection: Connection, table: Table) -> Iterator[Sequence[AnyRow]]:
    """All rows; those that others of the table refer to (repeats, undos) come before these."""
    own = [c for c in table.columns if any(key.column.table is table for key in c.foreign_keys)]
    first = [column.is_not(None) for column in own]
    all_rows = select(table).order_by(*first, *table.primary_key.columns)
    yield from connection.execute(all_rows.execution_options(yield_per=ROWS)).partitions()


def _summed(name: str, portions: Iterator[Sequence[AnyRow]]) -> Copied:
    rows, total = 0, 0
    for row in (row for some in portions for row in some):
        said = repr([_plain(value) for value in row]).encode()
        # a sum, since databases sort text each in its own way
        total += int.from_bytes(hashlib.sha256(said).digest(), "big")
        rows += 1
    return Copied(name, rows, f"{total % 2**256:064x}")


def _plain(value: Any) -> object:
    """A value so that its text is the same, whichever database it comes from."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, UUID):
        return value.hex
    return bytes(value) if isinstance(value, memoryview) else value
