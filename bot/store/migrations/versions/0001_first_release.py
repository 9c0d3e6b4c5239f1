"""The first release. A new database gets its tables as they are now, so nothing is left to do here."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: a database with this version has the tables already."""
