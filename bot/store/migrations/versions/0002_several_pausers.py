"""Several people can pause the same clusters. A process of release 0.1 sees the longest pause, as before."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what the longest pause leaves out."""
    op.add_column("pauses", sa.Column("others", sa.Text, nullable=False, server_default="[]"))
