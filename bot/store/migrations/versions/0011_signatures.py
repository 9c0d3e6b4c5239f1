"""A head may have several signatures: of a renewed key, and none of somebody else keeps the bot's own out."""

from alembic import op
from sqlalchemy import Column, Double, Integer, Text

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the table again, since SQLite can't change a primary key."""
    op.rename_table("signed_heads", "signed_heads_before")
    op.create_table(
        "signed_heads",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("signature", Text, primary_key=True),
        Column("hash", Text, nullable=False),
        Column("at", Double, nullable=False),
        Column("key_id", Text, nullable=False, server_default=""),
    )
    op.execute(
        "INSERT INTO signed_heads (seq, signature, hash, at) SELECT seq, signature, hash, at FROM signed_heads_before"
    )
    op.drop_table("signed_heads_before")
