"""When an alert last changed: what ends now may have been first seen long ago. Release 0.1 writes 0."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the time, and look by it."""
    op.add_column("alerts", sa.Column("changed_at", sa.Double, nullable=False, server_default="0"))
    op.execute("UPDATE alerts SET changed_at = seen_at")
    op.drop_index("alerts_by_state", "alerts")
    op.create_index("alerts_by_state", "alerts", ["state", "changed_at"])
    op.create_index("alerts_by_change", "alerts", ["changed_at"])
