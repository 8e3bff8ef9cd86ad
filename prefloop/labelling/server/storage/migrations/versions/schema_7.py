"""How often somebody's labels of a run were deleted, so that who has read some of them reads anew."""

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"


def upgrade() -> None:
    """Adds the column; of a run that is there, nobody's were."""
    op.add_column("runs", sa.Column("forgotten", sa.Integer(), nullable=False, server_default="0"))
