"""Events and queries are numbered from those that are there; counters beside them are gone."""

from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Drops the counters."""
    op.drop_column("runs", "last_event")
    op.drop_column("runs", "last_position")
