"""Runs that are archived, and settings of their own."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Adds the columns; a run that is there is not archived, and has no settings of its own."""
    op.add_column("runs", sa.Column("own_settings", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
