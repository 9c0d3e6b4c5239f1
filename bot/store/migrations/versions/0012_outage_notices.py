"""Where an outage was told, so that its message loses its button once it is over."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns; what was told before is left as it is."""
    for name in ("channel_id", "ts"):
        op.add_column("outages", sa.Column(name, sa.Text, nullable=False, server_default=""))
