"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

CURRENT_LABELS = """
CREATE VIEW current_labels AS
SELECT e.* FROM events e JOIN runs r ON r.id = e.run
WHERE e.round = r.round AND e.kind <> 'undo'
AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.id)
"""


def upgrade() -> None:
    """Makes all tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("env", sa.String(length=200), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("env_changes", sa.Text(), nullable=False),
        sa.Column("spaces", sa.Text(), nullable=False),
        sa.Column("frames_per_second", sa.Float(), nullable=True),
        sa.Column("annotators_per_query", sa.Integer(), nullable=False),
        sa.Column("repeats", sa.Float(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("reward_report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("name", name=op.f("uq_runs_name")),
    )
    op.create_table(
        "segments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("arrays", sa.LargeBinary(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("clip", sa.String(length=64), nullable=True),
        sa.Column("clip_was_sent", sa.Boolean(), nullable=False),
        sa.Column("clip_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_segments_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("run", "digest", name=op.f("uq_segments_run_digest")),
    )
    op.create_table(
        "queries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("first", sa.Uuid(), nullable=False),
        sa.Column("second", sa.Uuid(), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("repeat_of", sa.Uuid(), nullable=True),
        sa.Column("only_for", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("done >= 0 AND done <= wanted", name=op.f("ck_queries_done")),
        sa.ForeignKeyConstraint(
            ["first"], ["segments.id"], name=op.f("fk_queries_first"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repeat_of"], ["queries.id"], name=op.f("fk_queries_repeat_of"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_queries_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["second"], ["segments.id"], name=op.f("fk_queries_second"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queries")),
        sa.UniqueConstraint("repeat_of", "only_for", name=op.f("uq_queries_repeat_of_only_for")),
        sa.UniqueConstraint("run", "position", name=op.f("uq_queries_run_position")),
    )
    op.create_index(op.f("ix_queries_first"), "queries", ["first"])
    op.create_index(
        "ix_queries_open",
        "queries",
        ["run", "position"],
        sqlite_where=sa.text("done < wanted"),
        postgresql_where=sa.text("done < wanted"),
    )
    op.create_index(op.f("ix_queries_second"), "queries", ["second"])
    op.create_table(
        "leases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("query", sa.Uuid(), nullable=False),
        sa.Column("annotator", sa.String(length=64), nullable=False),
        sa.Column("session", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("first_is_left", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["query"], ["queries.id"], name=op.f("fk_leases_query"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_leases_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
    )
    op.create_index(op.f("ix_leases_query"), "leases", ["query"])
    op.create_index(op.f("ix_leases_session_open"), "leases", ["session", "open"])
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("query", sa.Uuid(), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("annotator", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("label", sa.Float(), nullable=True),
        sa.Column("first_was_left", sa.Boolean(), nullable=True),
        sa.Column("trim_start", sa.Integer(), nullable=True),
        sa.Column("trim_stop", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undoes", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(kind = 'answer') = (label IS NOT NULL)", name=op.f("ck_events_label")),
        sa.CheckConstraint("(kind = 'undo') = (undoes IS NOT NULL)", name=op.f("ck_events_undoes")),
        sa.CheckConstraint("kind IN ('answer', 'skip', 'undo')", name=op.f("ck_events_kind")),
        sa.ForeignKeyConstraint(
            ["lease"], ["leases.id"], name=op.f("fk_events_lease"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["query"], ["queries.id"], name=op.f("fk_events_query"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_events_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["undoes"], ["events.id"], name=op.f("fk_events_undoes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("run", "number", name=op.f("uq_events_run_number")),
        sa.UniqueConstraint("undoes", name=op.f("uq_events_undoes")),
    )
    op.create_index(op.f("ix_events_query_annotator"), "events", ["query", "annotator"])
    op.create_index(
        op.f("ix_events_run_annotator_number"), "events", ["run", "annotator", "number"]
    )
    op.execute(CURRENT_LABELS)
