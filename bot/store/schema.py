"""The schema: a new database gets it as it is now, an older one is brought up to date by Alembic."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import StaticPool

from bot.store.tables import metadata

_LOCK = 7_265_646_501  # any number that nobody else in this database uses
_LOCK_SECONDS = 2  # a migration waits for a lock: those that wait behind it for the same table are live replicas


def upgrade(raw: Any, name: str, folder: Path, begin: str) -> None:  # noqa: ANN401 - the driver's own connection
    """Bring the schema up to date on a connection, one process at a time.

    Args:
        name: of the database, as SQLAlchemy has it.
    """
    schema = Config()
    schema.set_main_option("script_location", str(folder))
    url = "postgresql+psycopg://" if name == "postgresql" else "sqlite://"
    engine = create_engine(url, creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(begin)
        if name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")  # another replica may take long
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        schema.attributes["connection"] = connection
        if inspect(connection).has_table("alembic_version"):
            command.upgrade(schema, "head")
        else:
            metadata.create_all(connection)
            command.stamp(schema, "head")
        connection.commit()
