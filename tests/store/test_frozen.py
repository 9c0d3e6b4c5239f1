"""Databases that don't answer, and processes that stand still inside a transaction."""

import asyncio
import shutil
import threading
import time as real
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from bot.errors import StorageUnavailable
from bot.models import Actor, AuditNote
from bot.store import Database, DecisionStore, InboxStore, audit
from bot.store.audit import lock_trail
from bot.store.connection import Connection
from bot.store.database import MIGRATIONS
from tests.manual_clock import HANGS_AFTER, ManualClock
from tests.proxy import COMMIT, line_to
from tests.rows import execute
from tests.store.examples import LEASE

SECONDS = 0.8  # what a statement may take in these tests
NOTE = AuditNote("refused", Actor("U0BOB", "bob", "T0HOME"), "C0OPS")


@asynccontextmanager
async def opened(url: str, time: ManualClock) -> AsyncIterator[Database]:
    database = Database(url, time.clock, seconds=SECONDS)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def busy(url: str, time: ManualClock) -> AsyncIterator[Database]:
    """A database whose threads all stand in a transaction."""
    database = Database(url, time.clock, seconds=HANGS_AFTER)
    await database.open()
    taken, free = threading.Semaphore(0), threading.Event()
    stuck = [asyncio.ensure_future(database.run(_wait_for, taken, free)) for _ in range(8)]
    try:
        for _ in stuck:
            await asyncio.to_thread(taken.acquire, timeout=HANGS_AFTER)
        yield database
    finally:
        free.set()
        await asyncio.gather(*stuck)
        await database.close()


@pytest.mark.parametrize("kind", ["write", "read"])
async def test_frozen_database_is_given_up_and_works_again_afterwards(
    postgresql: str, time: ManualClock, kind: str
) -> None:
    async with line_to(postgresql) as line, opened(line.url, time) as database:
        call = database.run if kind == "write" else database.read
        await call(_nothing)
        line.freeze()
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(call(_nothing), 10)
        line.thaw()
        await call(_nothing)


async def test_commit_that_gets_no_answer_is_in_doubt(postgresql: str, time: ManualClock) -> None:
    async with line_to(postgresql) as line, opened(line.url, time) as database:
        line.freeze_after = [COMMIT]
        with pytest.raises(StorageUnavailable) as unknown:
            await asyncio.wait_for(database.run(audit.note, NOTE), 10)
        assert unknown.value.in_doubt


async def test_transaction_that_gets_no_thread_was_certainly_not_done(postgresql: str, time: ManualClock) -> None:
    async with busy(postgresql, time) as database:
        database.seconds = SECONDS
        with pytest.raises(StorageUnavailable) as refused:
            await database.run(_nothing)
        assert not refused.value.in_doubt


async def test_frozen_database_keeps_nobody_from_ending(postgresql: str, time: ManualClock) -> None:
    async with line_to(postgresql) as line:
        database = Database(line.url, time.clock, seconds=SECONDS)
        await database.open()
        line.freeze()
        writing = asyncio.ensure_future(database.run(_nothing))
        await asyncio.sleep(0)
        began = real.monotonic()
        await asyncio.wait_for(database.close(), 10)
        assert real.monotonic() - began < 8  # a new connection may take 5 s
        assert isinstance((await asyncio.gather(writing, return_exceptions=True))[0], StorageUnavailable)


async def test_process_that_stands_still_in_a_transaction_blocks_nobody_for_long(
    postgresql: str, time: ManualClock
) -> None:
    """It holds the audit trail's lock, which every decision of every process needs."""
    async with opened(postgresql, time) as suspended, opened(postgresql, time) as alive:
        resumed, has_lock = threading.Event(), threading.Event()
        standing = asyncio.ensure_future(suspended.run(_stand_still, has_lock, resumed))
        await asyncio.to_thread(has_lock.wait, 10)
        for _ in range(20):
            try:
                await alive.run(audit.note, NOTE)
                break
            except StorageUnavailable:
                continue
        else:
            pytest.fail("the lock was never freed")
        assert not standing.done()
        resumed.set()
        await asyncio.gather(standing, return_exceptions=True)


async def test_heartbeat_waits_behind_no_other_transactions(postgresql: str, time: ManualClock) -> None:
    async with busy(postgresql, time) as database, asyncio.timeout(HANGS_AFTER):
        await DecisionStore(database, LEASE, time.clock).heartbeat()
        await InboxStore(database, LEASE).heartbeat({"a request's"})


async def test_upgrade_behind_a_backup_locks_no_running_process_out(
    postgresql: str, time: ManualClock, tmp_path: Path
) -> None:
    async with opened(postgresql, time):
        pass
    later = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, later)
    (later / "versions" / "9999_later.py").write_text(_LATER, "utf-8")
    database = Database(postgresql, time.clock, migrations=later)
    async with (
        await psycopg.AsyncConnection.connect(postgresql) as backup,
        await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as running,
    ):
        await backup.execute("LOCK TABLE decisions IN ACCESS SHARE MODE")  # as pg_dump does
        with pytest.raises(StorageUnavailable, match="LockNotAvailable"):
            await asyncio.wait_for(database.open(), 10)
        await running.execute("SET statement_timeout = 2000")
        await running.execute("SELECT count(*) FROM decisions")
    await database.open()
    await execute(database, text("SELECT later FROM decisions"))
    await database.close()


_LATER = f'''"""A column more, as a later release may have it."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{ScriptDirectory(str(MIGRATIONS)).get_current_head()}"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("later", sa.Text))
'''


def _nothing(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def _wait_for(_connection: Connection, taken: threading.Semaphore, free: threading.Event) -> None:
    taken.release()
    free.wait()


def _stand_still(connection: Connection, has_lock: threading.Event, resumed: threading.Event) -> None:
    lock_trail(connection)
    has_lock.set()
    resumed.wait(30)
    connection.execute(text("SELECT 1"))
