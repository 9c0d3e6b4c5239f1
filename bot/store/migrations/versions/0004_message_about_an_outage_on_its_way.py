"""By what the message about an outage is found, once it has left. Release 0.1 writes none."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the mark, and when it left."""
    op.add_column("outages", sa.Column("mark", sa.Text, nullable=False, server_default=""))
    op.add_column("outages", sa.Column("sent_at", sa.Double, nullable=False, server_default="0"))
