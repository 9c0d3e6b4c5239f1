"""Requests that are no decisions are stored before they are acked, too."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "inbox",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("done_at", sa.Double),
    )
    op.create_index("inbox_by_end", "inbox", ["done_at", "lease_until"])
