"""Why approvals are paused."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the reason; older pauses have none."""
    op.add_column("pauses", sa.Column("reason", sa.Text, nullable=False, server_default=""))
