"""Indexes: of what a participant is given next, and of what anybody has before them now."""

import sqlalchemy as sa
from alembic import op

revision = "8"
down_revision = "7"


def upgrade() -> None:
    """Makes them; that takes seconds where there are millions of queries and leases."""
    wants = sa.text("done < wanted AND repeat_of IS NULL")
    op.create_index(
        "ix_queries_evenly",
        "queries",
        ["run", "done", "id"],
        sqlite_where=wants,
        postgresql_where=wants,
    )
    op.create_index(
        "ix_leases_open",
        "leases",
        ["run", "expires_at"],
        sqlite_where=sa.text("open = 1"),
        postgresql_where=sa.text("open"),
    )
