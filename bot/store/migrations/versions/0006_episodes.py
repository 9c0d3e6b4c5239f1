"""A first approval counts only until the remediation has ended and come back. Those from before count no longer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("first_approvals", sa.Column("episode", sa.Text, nullable=False, server_default=""))
