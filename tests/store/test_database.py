"""Opening databases: schemas, files, drivers."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from bot.clock import Clock
from bot.errors import StartError, StorageUnavailable
from bot.models import Hold
from bot.store import Database, DecisionStore, audit, batches, messages
from bot.store.database import MIGRATIONS
from bot.store.tables import metadata
from tests.engine import engine_of
from tests.manual_clock import START, ManualClock
from tests.releases import fill_like_release_0_1
from tests.rows import execute
from tests.store.examples import LEASE, open_store, received


async def test_replicas_that_start_together_create_the_schema_once(postgresql: str) -> None:
    databases = [Database(postgresql) for _ in range(5)]
    await asyncio.gather(*(database.open() for database in databases))
    assert await DecisionStore(databases[0], LEASE, Clock()).take_over(1) == []
    for database in databases:
        await database.close()


async def test_alembic_has_nothing_to_do_in_a_new_database(database_url: str, time: ManualClock) -> None:
    async with open_store(database_url, time):
        assert await asyncio.to_thread(_heads, database_url) == {*ScriptDirectory(str(MIGRATIONS)).get_heads()}
        assert await asyncio.to_thread(_differences, database_url) == []


async def test_newer_schema_stops_an_older_program(database_url: str, time: ManualClock) -> None:
    async with open_store(database_url, time) as store:
        await execute(store.database, text("UPDATE alembic_version SET version_num = '9999'"))
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


@pytest.mark.parametrize("name", ["symbolic.db", "hard.db", "bot.db?timeout=1", "../{folder}/bot.db"])
async def test_sqlite_file_belongs_to_one_process_under_all_its_names(
    tmp_path: Path, time: ManualClock, name: str
) -> None:
    (tmp_path / "bot.db").touch()
    (tmp_path / "symbolic.db").symlink_to("bot.db")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "bot.db")
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store:
        second = Database(f"sqlite:///{tmp_path}/{name.format(folder=tmp_path.name)}")
        assert second.is_in_use()
        with pytest.raises(StartError, match="Another process of the bot uses"):
            await second.open()
        await second.close()
        await received(store)
    assert not second.is_in_use()


async def test_missing_sqlite_folder_stops_the_start(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/bot.db")
    with pytest.raises(StartError, match="can't be written: No such file or directory"):
        await database.open()
    await database.close()


async def test_journal_that_grew_beside_a_backup_shrinks_again(tmp_path: Path, time: ManualClock) -> None:
    write = text("INSERT INTO cursors VALUES (hex(randomblob(8)) || printf('%.*c', 1000000, 'x'), 1)")
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store:
        with closing(sqlite3.connect(tmp_path / "bot.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT * FROM cursors").fetchall()
            for _ in range(30):
                await execute(store.database, write)
        for _ in range(3):
            await execute(store.database, write)
        assert (tmp_path / "bot.db-wal").stat().st_size < 10_000_000


async def test_sqlite_is_as_durable_as_it_can_be(tmp_path: Path, time: ManualClock) -> None:
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):  # 2 is FULL
            assert await execute(store.database, text(f"PRAGMA {pragma}")) == [{pragma: value}]


@pytest.mark.parametrize("url", ["postgres://u@127.0.0.1:1/db", "postgresql://u@localhost:1/db?sslmode=disable"])
async def test_database_that_is_not_there_is_unavailable(url: str) -> None:
    database = Database(url)
    with pytest.raises(StorageUnavailable):
        await database.open()
    await database.close()


async def test_hosts_url_is_read_by_the_driver_itself(postgresql: str, time: ManualClock) -> None:
    url = postgresql.replace("postgresql://", "postgres://") + "&sslmode=prefer&application_name=bot"
    async with open_store(url, time) as store:
        await received(store)


async def test_database_of_an_earlier_release_is_migrated_with_all_that_it_holds(
    database_url: str, time: ManualClock
) -> None:
    database = Database(database_url, time.clock)
    await asyncio.to_thread(fill_like_release_0_1, database_url, {})
    await database.open()
    try:
        assert await asyncio.to_thread(_differences, database_url) == []
        assert (await audit.verify(database)).problems == []
        tracked = {alert.message_id: alert for alert in await database.read(messages.tracked)}
        assert tracked.pop("m").hold == Hold("U0ALICE", START + 1800, reason="why", name="alice")
        (selection,) = await database.read(batches.of_digest, *tracked)
        assert (selection.is_running, len(selection.items)) == (True, 2)
        jobs = {job.id: job for job in await DecisionStore(database, LEASE, time.clock).take_over(10, at_start=True)}
        if database.is_sqlite:
            recorded = [jobs[f"job-{number}"] for number in (1, 2, 3, 4, 7)]
            assert len(jobs) == 6, "these, and the first of the selection"
            assert [job.is_active for job in recorded] == [False, True, True, True, True]
            assert [job.sent_at is not None for job in recorded] == [False, False, True, True, True]
            assert [job.answer is not None for job in recorded] == [False, False, False, True, False]
    finally:
        await database.close()


def _heads(url: str) -> set[str]:
    """The versions that Alembic finds."""
    with engine_of(url).connect() as connection:
        return {*MigrationContext.configure(connection).get_current_heads()}


def _differences(url: str) -> list[Any]:
    """Where the migrated schema is not what the tables say."""
    with engine_of(url).connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_sqlite_files_are_for_nobody_else_to_read(tmp_path: Path, time: ManualClock) -> None:
    (tmp_path / "bot.db").touch(0o644)
    async with open_store(f"sqlite:///{tmp_path}/bot.db", time) as store:
        await received(store)
        files = [path for path in tmp_path.iterdir()]  # noqa: ASYNC240, C416 - a test's own folder
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
