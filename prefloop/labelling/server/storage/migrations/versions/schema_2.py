"""Arenas: which agents a run compares, and which two a query is about."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Makes their tables; a run that is there stays an ordinary one."""
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_agents_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("run", "name", name=op.f("uq_agents_run_name")),
    )
    op.create_table(
        "contests",
        sa.Column("query", sa.Uuid(), nullable=False),
        sa.Column("first", sa.Uuid(), nullable=False),
        sa.Column("second", sa.Uuid(), nullable=False),
        sa.CheckConstraint("first <> second", name=op.f("ck_contests_agents")),
        sa.ForeignKeyConstraint(
            ["first"], ["agents.id"], name=op.f("fk_contests_first"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["query"], ["queries.id"], name=op.f("fk_contests_query"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["second"], ["agents.id"], name=op.f("fk_contests_second"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("query", name=op.f("pk_contests")),
    )
    op.create_index(op.f("ix_contests_first"), "contests", ["first"])
    op.create_index(op.f("ix_contests_second"), "contests", ["second"])
