"""When the database goes away in the middle of a decision."""

import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest

from bot.clock import Pause
from tests.sqlite import locked
from tests.world import APPROVE, IDS, REF, REFRESH, World, world

pytestmark = pytest.mark.bot(drain_seconds=0.05)


async def test_locked_database_takes_nothing_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    async with world(database=f"sqlite:///{path}") as bot:
        bot.together.add()
        alert = bot.alert()
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        assert (await bot.slack.press(alert, APPROVE)).status == 200
        assert "The bot cannot reach its own database, so it did not take this." in (await bot.whisper()).text
        holder.execute("ROLLBACK")
        holder.close()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await bot.settle()
        assert len(bot.together.posts) == 1
        with sqlite3.connect(path) as connection:
            statuses = [status for (status,) in connection.execute("SELECT status FROM decisions ORDER BY received_at")]
        assert statuses[-1] == "done"
        assert set(statuses) <= {"void", "done"}


async def test_bot_reconnects_when_its_connections_are_cut(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        bot.together.add()
        connection = await asyncpg.connect(postgresql)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname <> ''"
        )
        await connection.close()
        await bot.slack.command(REF)
        assert "Cancelled: Reboot VM" in (await bot.answer()).text


async def test_decision_whose_row_cannot_be_written_is_not_carried_out(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    async with AsyncExitStack() as stack:
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        assert "The bot cannot reach its own database" in (await bot.whisper()).text
    await bot.settle()
    assert bot.together.posts == []
    assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_outcome_that_cannot_be_written_yet_is_told_all_the_same(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    async with AsyncExitStack() as stack:
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        await bot.edited(alert)
        assert "Approved in Slack by <@U0ALICE>" in alert.text
    await until_done(bot)
    assert alert.edits == 1


async def until_done(bot: World) -> None:
    """Wait until the bot has nothing in hand; it writes as soon as the database lets it."""
    await bot.app.tasks.drain(20)
    with sqlite3.connect(bot.settings.database_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT status, outcome FROM decisions").fetchall() == [("done", "approved")]


async def test_readyz_says_that_the_database_is_locked(bot: World, tmp_path: Path) -> None:
    async with locked(tmp_path / "bot.db"):
        await bot.time.end_pause(Pause.HEARTBEAT)
        async with httpx.AsyncClient(trust_env=False) as http:
            while (ready := await http.get(f"{bot.slack.bot_url}/readyz")).status_code == 200:
                pass
    assert ready.text.startswith("The database cannot be reached")


async def test_decision_that_cannot_be_handed_back_is_answered_as_interrupted(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        async with locked(tmp_path / "bot.db"):
            await bot.settle()
    error = await bot.answer(2)
    assert "The bot was stopped while Together was working on the approval: it may have taken effect." in error.text
    assert list(error.buttons) == [REFRESH]
