"""What clusters are called. Release 0.1 neither reads nor writes it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "clusters", sa.Column("cluster_id", sa.Text, primary_key=True), sa.Column("name", sa.Text, nullable=False)
    )
