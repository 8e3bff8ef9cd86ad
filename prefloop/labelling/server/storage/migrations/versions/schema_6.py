"""Studies: the runs that they show, and who takes part by a link of their own; whose labels are left out."""

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    """Makes their tables; a run that is there belongs to none."""
    op.create_table(
        "studies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("open_link", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
        sa.UniqueConstraint("open_link", name=op.f("uq_studies_open_link")),
    )
    op.create_table(
        "exclusions",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("annotator", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_exclusions_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run", "annotator", name=op.f("pk_exclusions")),
    )
    op.create_table(
        "study_runs",
        sa.Column("study", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=8), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"], ["runs.id"], name=op.f("fk_study_runs_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["study"], ["studies.id"], name=op.f("fk_study_runs_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study", "run", "purpose", name=op.f("pk_study_runs")),
    )
    op.create_index(op.f("ix_study_runs_run"), "study_runs", ["run"])
    op.create_index(op.f("ix_leases_annotator"), "leases", ["annotator"])
    op.create_table(
        "participants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("ref", sa.String(length=39), nullable=False),
        sa.Column("annotator", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("device", sa.Uuid(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("consented_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("consent", sa.String(length=64), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=8), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study"], ["studies.id"], name=op.f("fk_participants_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_participants")),
        sa.UniqueConstraint("annotator", name=op.f("uq_participants_annotator")),
        sa.UniqueConstraint("study", "number", name=op.f("uq_participants_study_number")),
        sa.UniqueConstraint("study", "ref", name=op.f("uq_participants_study_ref")),
        sa.UniqueConstraint("token", name=op.f("uq_participants_token")),
    )
