"""Alerts that fire without a repair, and the storm brake."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "faults",
        sa.Column("cluster_id", sa.Text, primary_key=True),
        sa.Column("brake", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
    )
