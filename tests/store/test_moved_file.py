"""An SQLite file that is deleted while something is under way in it: nothing written there is called done."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.errors import StorageUnavailable
from bot.store import Database
from bot.store.connection import Connection
from tests.manual_clock import ManualClock

WRITE = text("INSERT INTO leases (name, owner, until) VALUES ('written', 'me', 0)")


def _wait_for(connection: Connection, is_busy: threading.Event, free: threading.Event) -> None:
    connection.execute(text("SELECT 1"))
    is_busy.set()
    free.wait(10)


async def test_write_after_the_file_was_deleted_is_not_made_on_the_connection_of_a_long_read(
    tmp_path: Path, time: ManualClock
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'bot.db'}", time.clock)
    await database.open()
    free, is_busy = threading.Event(), threading.Event()
    reading = asyncio.ensure_future(database.read(_wait_for, is_busy, free))  # a digest, or the audit trail
    await asyncio.to_thread(is_busy.wait, 10)
    (tmp_path / "bot.db").unlink()
    writing = asyncio.ensure_future(database.run(Connection.execute, WRITE))
    await asyncio.sleep(0.2)  # until it is in its thread
    free.set()
    await asyncio.gather(reading, return_exceptions=True)
    with pytest.raises(StorageUnavailable):
        await writing
    await database.close()


@pytest.mark.parametrize("count", [1, 2])
async def test_commit_into_a_file_that_was_deleted_meanwhile_is_in_doubt(
    tmp_path: Path, time: ManualClock, count: int
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'bot.db'}", time.clock)
    await database.open()
    free, is_busy = threading.Event(), threading.Event()

    def write(connection: Connection) -> None:
        connection.execute(WRITE)
        is_busy.set()
        free.wait(10)

    head_free, head_busy = threading.Event(), threading.Event()
    head = asyncio.ensure_future(database.run(_wait_for, head_busy, head_free))
    await asyncio.to_thread(head_busy.wait, 10)
    writing: list[asyncio.Future[object]] = [asyncio.ensure_future(database.run(write))]
    writing += [asyncio.ensure_future(database.run(Connection.execute, text("SELECT 1"))) for _ in range(count - 1)]
    await asyncio.sleep(0)
    head_free.set()
    await head
    await asyncio.to_thread(is_busy.wait, 10)
    (tmp_path / "bot.db").unlink()
    free.set()
    with pytest.raises(StorageUnavailable) as refused:
        await writing[0]
    assert refused.value.in_doubt
    await asyncio.gather(*writing, return_exceptions=True)
    await database.close()
