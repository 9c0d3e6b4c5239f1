"""An SQLite file that goes away under a running bot, or is damaged."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.app import App
from bot.clock import Clock, WaitReason
from bot.errors import StartError, StorageUnavailable
from bot.store import Database, LeasedDatabase
from bot.store.connection import Connection, check_writable
from bot.store.sqlite import SQLiteFile
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER, ManualClock
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.sqlite import fill_sqlite, locked
from tests.world import APPROVE, World, settings_for


@pytest.mark.bot(drain_seconds=0.1)  # the decision in the deleted file can never be finished
async def test_file_that_was_deleted_is_noticed_before_anything_more_is_acknowledged(
    bot: World, tmp_path: Path
) -> None:
    nodes = [bot.together.add(("cluster-1", f"i{n}", f"r{n}")) for n in range(2)]
    first, second = (bot.alert(ids) for ids in nodes)
    assert (await bot.slack.press(first, APPROVE)).status == 200
    await bot.edited(first)
    await bot.time.until_sleeping(WaitReason.HEARTBEAT)
    (tmp_path / "bot.db").unlink()
    await bot.time.end_pause(WaitReason.HEARTBEAT)
    await bot.time.until_sleeping(WaitReason.HEARTBEAT)
    assert (await get(bot.app, "/readyz"))[0] == 503
    assert (await bot.slack.press(second, APPROVE)).status == 503


async def test_file_that_is_no_database_is_not_called_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "bot.db").write_bytes(b"half a copy of something " * 400)
    time = ManualClock()
    async with Slack(time.now) as slack, Together(time.now) as together:
        settings = settings_for(slack, together, DATABASE_URL=f"sqlite:///{tmp_path}/bot.db")
        app, stop = App(settings, clock=time.clock), asyncio.Event()
        running = asyncio.create_task(app.run(stop))
        await app.listening.wait()
        await asyncio.wait({running}, timeout=1)
        said = (await get(app, "/readyz"))[1] if not running.done() else ""
        stop.set()
        await asyncio.wait({running})
        assert "Can't reach the database" not in said
        assert isinstance(running.exception(), StartError)


@pytest.mark.bot(busy_seconds=0.1, BOT_LEASE_SECONDS="300")
async def test_readyz_notices_within_half_a_minute_that_nothing_can_be_written(bot: World, tmp_path: Path) -> None:
    alert = bot.alert(bot.together.add())
    await bot.time.until_sleeping(WaitReason.HEARTBEAT)
    async with locked(tmp_path / "bot.db"):
        assert (await bot.slack.press(alert, APPROVE)).status == 503
        await bot.time.advance(30)
        async with asyncio.timeout(HANGS_AFTER):
            while (ready := await get(bot.app, "/readyz"))[0] != 503:
                pass
    assert ready[1] == "Can't reach the database (OperationalError: database is locked).\n"


@pytest.mark.parametrize("pauses", [1, 2, 3])
async def test_watch_tries_three_times_before_a_lock_ends_it(tmp_path: Path, time: ManualClock, pauses: int) -> None:
    database = Database(f"sqlite:///{tmp_path / 'bot.db'}", time.clock, busy_seconds=0.05)
    await database.open()
    leased = LeasedDatabase(database, "watch", 60, time.clock)
    await leased.acquire()
    async with locked(tmp_path / "bot.db"):
        writing = asyncio.create_task(leased.run(check_writable))
        for number in range(min(pauses, 2)):
            await time.until_sleeping(WaitReason.WATCH_AGAIN)
            if number < pauses - 1:
                await time.end_pause(WaitReason.WATCH_AGAIN)
        if pauses > 2:
            with pytest.raises(StorageUnavailable):
                await writing
    if pauses <= 2:
        await time.end_pause(WaitReason.WATCH_AGAIN)
        await writing
    await database.close()


class AnswersLost(Database):
    """Writes, and never says so."""

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        await super().run(function, *args, **kwargs)
        raise StorageUnavailable("the line was cut", in_doubt=True)


async def test_watch_does_not_try_again_what_may_have_been_written(tmp_path: Path, time: ManualClock) -> None:
    database, written = AnswersLost(f"sqlite:///{tmp_path / 'bot.db'}", time.clock), list[Connection]()
    await database.open()
    leased = LeasedDatabase(database, "watch", 60, time.clock)
    await leased.acquire()
    with pytest.raises(StorageUnavailable):
        await leased.run(written.append)
    await database.close()
    assert len(written) == 1


async def test_disk_that_is_full_is_called_full(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    await fill_sqlite(url)
    database = Database(url)
    await database.open()

    def fill(connection: Connection) -> None:
        connection.raw.execute("PRAGMA max_page_count = 1")  # not a page more than it has

    await database.run(fill)
    with pytest.raises(StorageUnavailable, match=r"^OperationalError: database or disk is full$"):
        await database.run(check_writable)
    await database.close()


def test_file_that_cannot_be_used_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    path.write_bytes(b"half a copy of something " * 400)
    with pytest.raises(sqlite3.DatabaseError) as refused:
        SQLiteFile(f"sqlite:///{path}", Clock(), 1.0).connect()
    handles = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert refused.value.sqlite_errorname == "SQLITE_NOTADB"
    assert path not in handles
