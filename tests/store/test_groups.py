"""Group commit on SQLite: what waits for the writer is committed together, and each is answered as if it were alone."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bot.errors import LeaseLost, StorageUnavailable
from bot.store import Database
from bot.store.connection import Connection
from bot.store.database import Conflict
from tests.manual_clock import ManualClock

PAGE = 4096  # bytes, as SQLite has it unless told otherwise


@pytest.fixture
async def database(tmp_path: Path, time: ManualClock) -> AsyncIterator[Database]:
    path = tmp_path / "bot.db"
    database = Database(f"sqlite:///{path}", time.clock)
    await database.open()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE owner (id PRIMARY KEY)")
        other.execute("CREATE TABLE thing (id PRIMARY KEY, owner REFERENCES owner DEFERRABLE INITIALLY DEFERRED)")
    other.close()
    await database.run(_add, "before")
    yield database
    await database.close()


async def together(database: Database, *functions: Callable[[Connection], Any]) -> list[Any]:
    """Run transactions that all wait while the writer is busy, and return what each got."""
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait, 10)
    waiting = [asyncio.ensure_future(database.run(each)) for each in functions]
    await asyncio.sleep(0)
    free.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_transactions_that_wait_are_committed_together(database: Database) -> None:
    commits: list[str] = []
    await database.run(lambda connection: connection.raw.set_trace_callback(commits.append))
    results = await together(database, *(lambda connection, name=name: _add(connection, name) for name in "abcd"))
    assert results == ["a", "b", "c", "d"]
    assert await things(database) == ["a", "b", "before", "c", "d"]
    assert sum(each.startswith("COMMIT") for each in commits) == 3  # who sets the trace, who waits, and the four


async def test_one_that_is_refused_harms_no_other(database: Database) -> None:
    results = await together(
        database,
        lambda connection: _add(connection, "a"),
        lambda connection: _add(connection, "before"),
        lambda connection: _add_and_raise(connection, "b", LeaseLost()),
        lambda connection: _add_and_raise(connection, "c", ValueError("a bug")),
        lambda connection: _add(connection, "d"),
    )
    assert [type(each) for each in results] == [str, Conflict, LeaseLost, ValueError, str]
    assert await things(database) == ["a", "before", "d"]


async def test_later_one_sees_what_an_earlier_one_has_written(database: Database) -> None:
    results = await together(database, lambda connection: _add(connection, "a"), _things)
    assert results == ["a", ["a", "before"]]


async def test_failed_commit_puts_all_of_the_group_in_doubt(database: Database) -> None:
    await database.run(_nothing)
    for each in database._connections:
        each.raw.execute("PRAGMA foreign_keys = ON")
    results = await together(
        database,
        lambda connection: _add(connection, "a"),
        lambda connection: _add(connection, "b", owner="nobody"),
        lambda connection: _add_and_raise(connection, "c", LeaseLost()),
    )
    assert [(type(each), each.in_doubt) for each in results] == [(StorageUnavailable, True)] * 3
    assert await things(database) == ["before"]
    assert await database.run(_add, "later") == "later"


async def test_full_disk_refuses_for_certain_only_what_does_not_fit(database: Database) -> None:
    await database.run(_limit_pages, 8)
    results = await together(
        database,
        lambda connection: _add(connection, "a"),
        lambda connection: _add(connection, "b" * 64 * PAGE),
        lambda connection: _add(connection, "c"),
    )
    assert [results[0], results[2]] == ["a", "c"]
    assert isinstance(results[1], StorageUnavailable)
    assert not results[1].in_doubt
    assert await things(database) == ["a", "before", "c"]


async def test_transaction_whose_caller_has_gone_before_it_began_is_not_run(database: Database) -> None:
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait, 10)
    gone, stays = (asyncio.ensure_future(database.run(_add, name)) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(first, stays)
    assert await things(database) == ["before", "stays"]


async def test_what_waits_when_the_database_is_closed_was_certainly_not_done(
    tmp_path: Path, time: ManualClock, database: Database
) -> None:
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait, 10)
    waiting = asyncio.ensure_future(database.run(_add, "late"))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(database.close())
    with pytest.raises(StorageUnavailable) as refused:
        await waiting
    assert not refused.value.in_doubt
    free.set()
    await asyncio.gather(first, closing)
    again = Database(f"sqlite:///{tmp_path / 'bot.db'}", time.clock)
    await again.open()
    assert await things(again) == ["before"]
    await again.close()


async def things(database: Database) -> list[str]:
    return await database.read(_things)


def _things(connection: Connection) -> list[str]:
    return connection.execute(text("SELECT id FROM thing ORDER BY id")).scalars()


def _add(connection: Connection, name: str, owner: str | None = None) -> str:
    connection.execute(text("INSERT INTO thing (id, owner) VALUES (:name, :owner)"), {"name": name, "owner": owner})
    return name


def _add_and_raise(connection: Connection, name: str, error: Exception) -> None:
    _add(connection, name)
    raise error


def _limit_pages(connection: Connection, more: int) -> None:
    (pages,) = connection.raw.execute("PRAGMA page_count").fetchone()
    connection.raw.execute(f"PRAGMA max_page_count = {pages + more}")


def _nothing(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def _wait_for(_connection: Connection, is_busy: threading.Event, free: threading.Event) -> None:
    is_busy.set()
    free.wait(10)
