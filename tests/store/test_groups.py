"""Group commit on SQLite: what waits for the writer is committed together, and each is answered as if it were alone."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bot.errors import LeaseLost, StorageUnavailable
from bot.store import Database
from bot.store.connection import Connection
from bot.store.database import Conflict
from tests.manual_clock import HANGS_AFTER, ManualClock

PAGE = 4096  # bytes, as SQLite has it unless told otherwise


class _Odd(BaseException):
    pass


@pytest.fixture
async def database(tmp_path: Path, time: ManualClock) -> AsyncIterator[Database]:
    path = tmp_path / "bot.db"
    database = Database(f"sqlite:///{path}", time.clock)
    database.group_seconds = HANGS_AFTER
    await database.open()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE owner (id PRIMARY KEY)")
        other.execute("CREATE TABLE thing (id PRIMARY KEY, owner REFERENCES owner DEFERRABLE INITIALLY DEFERRED)")
    await database.run(_add, "before")
    yield database
    await database.close()


async def together(database: Database, *functions: Callable[[Connection], Any]) -> list[Any]:
    """Run transactions that all wait while the writer is busy, and return what each got."""
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait)
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
    assert sum(each.startswith("COMMIT") for each in commits) == 3  # who sets the trace, who waits, and the four
    assert await things(database) == ["a", "b", "before", "c", "d"]


async def test_one_that_is_refused_harms_no_other(database: Database) -> None:
    results = await together(
        database,
        lambda connection: _add(connection, "a"),
        lambda connection: _add(connection, "before"),
        lambda connection: _add_and_raise(connection, "b", LeaseLost()),
        lambda connection: _add_and_raise(connection, "c", ValueError("a bug")),
        lambda connection: _add(connection, "d"),
    )
    assert [type(result) for result in results] == [str, Conflict, LeaseLost, ValueError, str]
    assert await things(database) == ["a", "before", "d"]


async def test_later_one_sees_what_an_earlier_one_has_written(database: Database) -> None:
    results = await together(database, lambda connection: _add(connection, "a"), _things)
    assert results == ["a", ["a", "before"]]


async def test_failed_commit_puts_all_of_the_group_in_doubt(database: Database) -> None:
    await database.run(_nothing)
    for each in database._pool._idle:
        each.raw.execute("PRAGMA foreign_keys = ON")
    results = await together(
        database,
        lambda connection: _add(connection, "a"),
        lambda connection: _add(connection, "b", owner="nobody"),
        lambda connection: _add_and_raise(connection, "c", LeaseLost()),
    )
    assert [(type(result), result.in_doubt) for result in results] == [(StorageUnavailable, True)] * 3
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


async def test_locked_file_refuses_the_whole_group_for_certain_after_one_wait(
    database: Database, tmp_path: Path
) -> None:
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait)
    waiting = [asyncio.ensure_future(database.run(_add, name)) for name in "abcdefgh"]
    await asyncio.sleep(0)
    locking = asyncio.ensure_future(asyncio.to_thread(_lock, tmp_path / "bot.db"))
    free.set()
    await first
    holder = await locking
    results = await asyncio.gather(*waiting, return_exceptions=True)
    holder.rollback()
    holder.close()
    refused = [result for result in results if isinstance(result, StorageUnavailable)]
    assert not any(each.in_doubt for each in refused)
    assert await things(database) == sorted(["before", *(result for result in results if isinstance(result, str))])
    assert len(refused) in {0, 8}  # it depends on which came first: all in one commit, or none


async def test_transaction_whose_caller_has_gone_before_it_began_is_not_run(database: Database) -> None:
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait)
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
    await asyncio.to_thread(is_busy.wait)
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


class Raw:
    """The driver's connection, with some calls that go wrong."""

    def __init__(self, raw: sqlite3.Connection, **wrong: Callable[[], None]) -> None:
        self._raw = raw
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        return self._wrong.get(name) or getattr(self._raw, name)


async def test_commit_that_fails_oddly_puts_all_of_the_group_in_doubt(database: Database) -> None:
    seen: list[Connection] = []
    await database.run(seen.append)
    raw: sqlite3.Connection = seen[0].raw
    commits: Iterator[Callable[[], None]] = iter([raw.commit, _out_of_memory, raw.commit])

    def commit() -> None:
        next(commits)()

    seen[0].raw = Raw(raw, commit=commit)
    results = await together(
        database, lambda connection: _add(connection, "a"), lambda connection: _add(connection, "b")
    )
    seen[0].raw = raw
    assert [(type(result), result.in_doubt) for result in results] == [(StorageUnavailable, True)] * 2
    assert await things(database) == ["before"]
    assert await database.run(_add, "later") == "later"


@pytest.mark.parametrize("error", [_Odd("a signal"), StopIteration("next")])
async def test_odd_error_of_one_is_its_own_and_stops_no_other(database: Database, error: BaseException) -> None:
    with pytest.raises((_Odd, RuntimeError)):
        await database.run(_raise, error)
    results = await together(
        database, lambda connection: _add(connection, "a"), lambda connection: _raise(connection, error)
    )
    assert results[0] == "a"
    assert isinstance(results[1], (_Odd, RuntimeError))
    assert await things(database) == ["a", "before"]


async def test_caller_who_goes_while_the_group_runs_has_withdrawn_what_has_not_begun(database: Database) -> None:
    free, is_busy, begun, go_on = (threading.Event() for _ in range(4))
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait)
    head = asyncio.ensure_future(database.run(_wait_for, begun, go_on))
    gone = asyncio.ensure_future(database.run(_add, "gone"))
    await asyncio.sleep(0)
    free.set()
    await asyncio.to_thread(begun.wait)
    gone.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, head)
    assert await things(database) == ["before"]


async def test_group_that_takes_long_is_committed_in_parts(tmp_path: Path, time: ManualClock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'slow.db'}", time.clock)
    database.group_seconds = 0.0
    await database.open()
    free, is_busy, begun, go_on = (threading.Event() for _ in range(4))
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait)
    head = asyncio.ensure_future(database.run(_nothing))
    rest = asyncio.ensure_future(database.run(_wait_for, begun, go_on))
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(first, head)
    assert not rest.done()
    go_on.set()
    await rest
    await database.close()


async def test_closing_does_not_wait_for_what_it_has_broken_off(tmp_path: Path, time: ManualClock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'stuck.db'}", time.clock, seconds=2 * HANGS_AFTER)
    await database.open()
    free, is_busy = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.run(_wait_for, is_busy, free))
    await asyncio.to_thread(is_busy.wait)
    stuck = [asyncio.ensure_future(database.run(each)) for each in (_count_for_ever, _nothing)]
    await asyncio.sleep(0)
    free.set()
    await first
    async with asyncio.timeout(HANGS_AFTER):
        await database.close()
    results = await asyncio.gather(*stuck, return_exceptions=True)
    assert [type(result) for result in results] == [StorageUnavailable] * 2


async def things(database: Database) -> list[str]:
    return await database.read(_things)


def _lock(path: Path) -> sqlite3.Connection:
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    holder.execute("BEGIN IMMEDIATE")
    return holder


def _things(connection: Connection) -> list[str]:
    return connection.execute(text("SELECT id FROM thing ORDER BY id")).scalars()


def _add(connection: Connection, name: str, owner: str | None = None) -> str:
    connection.execute(text("INSERT INTO thing (id, owner) VALUES (:name, :owner)"), {"name": name, "owner": owner})
    return name


def _out_of_memory() -> None:
    raise MemoryError


def _raise(_connection: Connection, error: BaseException) -> None:
    raise error


def _count_for_ever(connection: Connection) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n"
    )
    connection.execute(text(endless))


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
    free.wait(HANGS_AFTER)
