"""What Slack hasn't taken of messages that are left, or may have of the end of an outage, outlives the process."""

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
    op.add_column("outages", sa.Column("over_mark", sa.Text, nullable=False, server_default=""))
