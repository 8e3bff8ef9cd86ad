"""Comparisons of policies, and the clips that they show."""

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Makes their tables."""
    op.create_table(
        "comparisons",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("env", sa.Text(), nullable=False),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=True),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
    )
    op.create_table(
        "comparison_clips",
        sa.Column("comparison", sa.Uuid(), nullable=False),
        sa.Column("clip", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["comparison"],
            ["comparisons.id"],
            name=op.f("fk_comparison_clips_comparison"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("comparison", "clip", name=op.f("pk_comparison_clips")),
    )
