"""Processes that die: what they leave behind, and how a test lets one die."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from sqlalchemy import select, update

from bot.models import Shown
from bot.store import Database, Store
from bot.store.tables import decisions, leases
from tests.world import World


@asynccontextmanager
async def died_while(bot: World, *, at: str) -> AsyncIterator[None]:
    """Leave behind in the database what a process leaves that dies at a point of its work, and look at it alone."""
    bot.app.tasks.limit = 0
    database = Database(bot.settings.database_url)
    try:
        store = Store(database, 15, bot.time.clock)
        async with database.begin() as connection:
            (row,) = (await connection.execute(select(decisions))).mappings().all()
            assert row["status"] != "done"
            await connection.execute(update(decisions).values(lease_until=0.0))
        (job,) = await store.take_over(1)
        if at == "sent":
            await store.sending(job, Shown("REMEDIATION_MODE_REBOOT_VM", "PENDING_APPROVAL"))
        await store.hand_back(job)
        yield
    finally:
        await database.close()


async def left_behind(bot: World, action: str) -> Any:
    """Click, and let the process stop before it has read anything."""
    alert = bot.alert()
    with bot.together.paused("get"):
        await bot.slack.press(alert, action)
        await bot.together.until(lambda: bot.together.calls)
        await bot.settle()
    bot.together.calls.clear()
    return alert


def kill_the_watch() -> None:
    """Let the watch end in the middle of what it is doing, like a process that is killed."""
    for task in asyncio.all_tasks():
        coroutine = getattr(task.get_coro(), "__qualname__", "")
        if coroutine.startswith(("Watcher.", "Writer.", "SlackBoard.", "DigestWriter.", "Poller.")):
            task.cancel()


async def free_the_lease(url: str) -> None:
    """Let time pass for the lease alone."""
    database = Database(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        connection = await stack.enter_async_context(database.begin())
        await connection.execute(update(leases).values(until=0.0))


async def age_by(bot: World, seconds: float) -> None:
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        c = decisions.c
        await connection.execute(
            update(decisions).values(received_at=c.received_at - seconds, sent_at=c.sent_at - seconds)
        )
    await database.close()
