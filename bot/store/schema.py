"""The schema: a new database gets it as it is now, an older one is brought up to date by Alembic."""

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, String, Table, create_engine, inspect
from sqlalchemy.pool import StaticPool

from bot.store.tables import metadata

_LOCK = 7_265_646_501  # any number that nobody else in this database uses
# As Alembic makes and reads it.
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
_LOCK_SECONDS = 2  # a migration waits for a lock: those that wait behind it for the same table are live replicas


def upgrade(raw: Any, name: str, folder: Path, newest: str, begin: str) -> None:  # noqa: ANN401 - the driver's own connection
    """Bring the schema up to date on a connection, one process at a time.

    Args:
        name: of the database, as SQLAlchemy has it.
        newest: the version that the tables have.
    """
    url = "postgresql+psycopg://" if name == "postgresql" else "sqlite://"
    engine = create_engine(url, creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(begin)
        if name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")  # another replica may take long
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        if inspect(connection).has_table(_VERSION.name):
            _migrate(connection, folder)
        else:
            metadata.create_all(connection)
            _VERSION.create(connection)
            connection.execute(_VERSION.insert().values(version_num=newest))
        connection.commit()


def _migrate(connection: Connection, folder: Path) -> None:
    from alembic import command, config  # noqa: PLC0415 - a new database doesn't need it, and it takes 0.1 s to load

    schema = config.Config()
    schema.set_main_option("script_location", str(folder))
    schema.attributes["connection"] = connection
    command.upgrade(schema, "head")
