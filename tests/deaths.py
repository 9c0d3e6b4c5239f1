"""Processes that die: what they leave behind, and how a test lets one die."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select, update

from bot.models import SeenState, token_of
from bot.store import Database, DecisionStore
from bot.store.tables import decisions, leases
from bot.watcher import Watcher
from bot.watcher.fault_teller import FaultTeller
from bot.watcher.faults import FaultWatch
from bot.watcher.outages import OutageTeller
from bot.watcher.poller import Poller
from bot.watcher.reconciler import Reconciler
from bot.watcher.summary import SummaryTeller
from bot.watcher.teller import ThreadTeller
from handlers.alert_channels import SlackAlertChannels
from tests.rows import execute, execute_beside
from tests.simulator.slack.workspace import SlackFault
from tests.watch import until
from tests.world import World


@asynccontextmanager
async def died_while(bot: World, *, at: str) -> AsyncIterator[None]:
    """Leave behind in the database what a process leaves that dies at a point of its work, and look at it alone."""
    bot.app.tasks.limit = 0
    database = Database(bot.settings.database_url, bot.time.clock)
    try:
        store = DecisionStore(database, 15, bot.time.clock)
        (row,) = await execute(database, select(decisions))
        assert row["status"] != "done"
        await execute(database, update(decisions).values(lease_until=0.0))
        (job,) = await store.take_over(1)
        if at == "sent":
            job.seen = SeenState("REMEDIATION_MODE_REBOOT_VM", "PENDING_APPROVAL")
            await store.record_send(job)
        await store.release(job)
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


async def own_comment(bot: World) -> str:
    """Return what the only decision's POST would leave in Together's record."""
    (row,) = await execute_beside(bot, select(decisions.c.id))
    return f"[{token_of(row['id'])}] Approved in Slack by alice (U0ALICE)"


OF_THE_WATCH = (
    Watcher, Reconciler, ThreadTeller, SlackAlertChannels, Poller, FaultWatch, FaultTeller, OutageTeller, SummaryTeller,
)  # fmt: skip


async def kill_the_watch(bot: World) -> None:
    """Let the watch end in the middle of what it is doing, like a process that is killed; the lease is free then."""
    begins = tuple(f"{part.__qualname__}." for part in OF_THE_WATCH)
    for task in asyncio.all_tasks():
        coroutine = getattr(task.get_coro(), "__qualname__", "")
        if coroutine.startswith(begins):
            task.cancel()
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


async def free_the_lease(url: str) -> None:
    """Let time pass for the lease alone."""
    database = Database(url)
    await execute(database, update(leases).values(until=0.0))
    await database.close()


async def die_sending(bot: World, fault: SlackFault) -> None:
    """Let the process with the watch die while a message is on its way, and another one have the lease."""
    bot.slack.faults.append(fault)
    await until(bot, lambda: fault.times == 0)
    await kill_the_watch(bot)


async def age_by(bot: World, seconds: float) -> None:
    c = decisions.c
    await execute_beside(
        bot, update(decisions).values(received_at=c.received_at - seconds, sent_at=c.sent_at - seconds)
    )
