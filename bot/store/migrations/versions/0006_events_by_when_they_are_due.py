"""The events that are due are found without reading those that wait to be tried again."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the index."""
    op.create_index("due_events", "outbox", ["target", "next_at", "id"])
