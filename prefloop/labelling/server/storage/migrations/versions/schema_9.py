"""Labels of whoever is excluded count no longer towards those that queries want."""

from alembic import op

revision = "9"
down_revision = "8"

_OUT = "EXISTS (SELECT 1 FROM exclusions x WHERE x.run = c.run AND x.annotator = c.annotator)"


def upgrade() -> None:
    """Counts anew where somebody is excluded: those pairs are asked again."""
    op.execute(
        "UPDATE queries SET done = (SELECT count(*) FROM current_labels c "
        f"WHERE c.query = queries.id AND NOT {_OUT}) "
        "WHERE repeat_of IS NULL AND run IN (SELECT run FROM exclusions)"
    )
