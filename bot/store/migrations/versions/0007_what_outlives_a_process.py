"""What a process knows outlives it: last edits, the end of an outage on its way, and how many nodes clusters have."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "last_edits",
        sa.Column("channel_id", sa.Text, primary_key=True),
        sa.Column("ts", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.add_column("clusters", sa.Column("nodes", sa.Integer))
    op.add_column("outages", sa.Column("over_mark", sa.Text, nullable=False, server_default=""))
