"""Opening databases: schemas, files, drivers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from bot.errors import StartError, StoreUnavailable
from bot.models import (
    About,
)
from bot.store import Database, Store, audit
from bot.store.engine import MIGRATIONS
from bot.store.tables import metadata
from tests.manual_clock import ManualClock
from tests.store.examples import ANSWER, APPROVED, LEASE, REF, open_store, received


async def test_replicas_that_start_together_create_the_schema_once(postgresql: str, time: ManualClock) -> None:
    databases = [Database(postgresql) for _ in range(5)]
    await asyncio.gather(*(database.open() for database in databases))
    assert await Store(databases[0], LEASE, time.clock).take_over(1) == []
    for database in databases:
        await database.close()


async def test_newer_schema_stops_an_older_program(database_url: str, time: ManualClock) -> None:
    async with open_store(database_url, time) as store, store.database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database = Database(database_url)
    with pytest.raises(StartError, match="schema 9999, which is newer than this version of the bot knows"):
        await database.open()
    await database.close()


async def test_sqlite_file_belongs_to_one_process(tmp_path: Path, time: ManualClock) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    async with open_store(url, time):
        second = Database(url)
        with pytest.raises(StartError, match="Another process of the bot uses"):
            await second.open()
        await second.close()
    async with open_store(url, time):
        pass


async def test_missing_sqlite_folder_stops_the_start(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/bot.db")
    with pytest.raises(StartError, match="cannot be written: No such file or directory"):
        await database.open()
    await database.close()


async def test_sqlite_is_as_durable_as_it_can_be(tmp_path: Path, time: ManualClock) -> None:
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store, store.database.begin() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar() == 2  # FULL


@pytest.mark.parametrize("url", ["postgres://u@127.0.0.1:1/db", "postgresql://u@localhost:1/db?sslmode=disable"])
async def test_database_that_is_not_there_is_unavailable(url: str) -> None:
    database = Database(url)
    with pytest.raises(StoreUnavailable):
        await database.open()
    await database.close()


async def test_hosts_url_is_read_by_the_driver_itself(postgresql: str, time: ManualClock) -> None:
    url = postgresql.replace("postgresql://", "postgres://") + "&sslmode=prefer&application_name=bot"
    async with open_store(url, time) as store:
        await received(store)


async def test_database_of_the_first_release_is_migrated_with_all_that_it_holds(
    database_url: str, time: ManualClock
) -> None:
    database = Database(database_url)
    async with database.begin() as connection:
        await connection.run_sync(_make_first_schema)
    store = Store(database, LEASE, time.clock)
    job = await received(store)
    await database.open()
    try:
        assert await store.activate(job) is None
        await store.conclude(job, APPROVED, ANSWER)
        assert await store.agreed.about(REF) == About()
        async with database.begin() as connection:
            assert await connection.run_sync(_differences) == []
        assert (await audit.verify(database)).problems == []
    finally:
        await database.close()


def _make_first_schema(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


def _differences(connection: Connection) -> list[Any]:
    """Where the migrated schema is not what the tables say."""
    return list(compare_metadata(MigrationContext.configure(connection), metadata))
