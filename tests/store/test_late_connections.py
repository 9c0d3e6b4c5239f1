"""Connections that open after the caller's time: nothing begins on them."""

import asyncio

import pytest
from sqlalchemy import select, text

from bot.errors import StorageUnavailable
from bot.store import Database, DecisionStore
from bot.store.connection import Connection
from bot.store.tables import audit, decisions
from tests.manual_clock import ManualClock
from tests.proxy import line_to
from tests.rows import execute
from tests.store.examples import ANSWER, APPROVED, LEASE, received
from tests.store.test_frozen import opened


async def busy(store: DecisionStore) -> "asyncio.Task[object]":
    """Let the only open connection be in use for a quarter of a second."""
    task = asyncio.ensure_future(store.database.read(Connection.execute, text("SELECT pg_sleep(0.25)")))
    await asyncio.sleep(0.05)  # until it is in its thread
    return task


async def test_claim_that_was_given_up_while_it_connected_is_not_made_after_the_outcome(
    postgresql: str, time: ManualClock
) -> None:
    async with line_to(postgresql) as line:
        async with opened(postgresql, time):
            pass  # the tables are there
        store = DecisionStore(Database(line.url, time.clock, seconds=0.5), LEASE, time.clock)
        job = await received(store)
        line.opens.clear()  # from here on, who connects waits: a failover, or a full accept queue
        reading = await busy(store)
        with pytest.raises(StorageUnavailable):  # no answer within 1.8 s, so the person is told "nothing was sent"
            await store.claim(job, sends=True)
        await reading
        await store.record_outcome(job, APPROVED, ANSWER)
        line.opens.set()
        await store.database.close()  # no thread works any more
        async with opened(postgresql, time) as database:
            rows = await execute(database, select(audit.c.event).order_by(audit.c.seq))
            (present,) = await execute(database, select(decisions.c.status))
        assert [row["event"] for row in rows] == ["outcome"]
        assert present["status"] == "answered"


async def test_thread_whose_connection_came_after_its_time_is_not_stuck_for_ever(
    postgresql: str, time: ManualClock
) -> None:
    async with line_to(postgresql) as line:
        line.opens.clear()
        database = Database(line.url, time.clock, seconds=0.2)
        pulse = asyncio.ensure_future(database.keep(Connection.execute, text("SELECT 'beat'")))
        with pytest.raises(StorageUnavailable):  # after 1.3 s
            await pulse
        line.freeze_after = [b"beat"]  # a firewall forgets the connection: nothing is refused, nothing answered
        line.opens.set()
        try:
            await database.keep(Connection.execute, text("SELECT 2"))
        finally:
            line.thaw()
            await database.close()
