"""Outcome recorded and answer delivered become two states; undelivered answers are tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns, and give decisions whose outcome is known the new state."""
    op.add_column("decisions", sa.Column("answered_at", sa.Double))
    op.add_column("decisions", sa.Column("deliveries", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE decisions SET status = 'answered' WHERE status IN ('received', 'active') AND answer IS NOT NULL")
    op.execute("UPDATE decisions SET answered_at = received_at WHERE status = 'answered'")
    op.drop_index("unfinished_decisions", "decisions")
    unfinished = sa.text("status IN ('received', 'active', 'answered')")
    op.create_index(
        "unfinished_decisions", "decisions", ["lease_until"], sqlite_where=unfinished, postgresql_where=unfinished
    )
