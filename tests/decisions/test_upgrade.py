"""Decisions that an earlier release left behind end well under this one."""

import asyncio

from sqlalchemy import case, select, update

from bot.app import App
from bot.store import Database
from bot.store.connection import now
from bot.store.tables import decisions
from tests.manual_clock import HANGS_AFTER, ON_THE_WAY, ManualClock
from tests.releases import RESPONSE_URL, fill_like_release_0_1
from tests.rows import execute
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.world import running, settings_for


async def test_unfinished_decisions_of_release_0_1_end_well(database_url: str) -> None:
    time = ManualClock(ON_THE_WAY)
    async with Slack(time.now) as slack, Together(time.now) as together:
        slack.ack_seconds = HANGS_AFTER
        clicked = {number: slack.post_as_tool([], text="alert") for number in range(1, 8)}
        texts = {f'\\"{number}.0\\"': f'\\"{message.ts}\\"' for number, message in clicked.items()}
        texts[RESPONSE_URL] = slack.response_url("C0OPS", "U0ALICE", None)
        for number in clicked:
            ids = ("cluster-1", f"instance-{number}", f"remediation-{number}")
            together.add(ids, create_time="2026-10-01T00:00:00Z")  # before any of them was decided
        together.review(("cluster-1", "instance-4", "remediation-4"), "approve", "Approved in Slack by alice (U0ALICE)")
        database = Database(database_url, time.clock)
        await asyncio.to_thread(fill_like_release_0_1, database_url, texts)
        if not database.is_sqlite:
            # PostgreSQL has its own clock, by which all of this is long ago.
            sent_at = case((decisions.c.sent_at.is_not(None), now()))
            await execute(database, update(decisions).values(lease_until=0.0, received_at=now(), sent_at=sent_at))
        # A read-back lets time pass for all decisions at once, and no heartbeat comes in between: a long lease.
        settings = settings_for(slack, together, DATABASE_URL=database_url, BOT_LEASE_SECONDS="300")
        app = App(settings, clock=time.clock)
        async with running(app, slack):
            async with asyncio.timeout(HANGS_AFTER):
                while not all(clicked[number].edits for number in (1, 2, 3, 4, 7)):
                    try:
                        async with asyncio.timeout(5):
                            await slack.news()
                    except TimeoutError:
                        # Another one's read-back has let this one's moment to send pass: it is taken over again.
                        await time.advance(100)
        states = [together.state(("cluster-1", f"instance-{number}", f"remediation-{number}")) for number in clicked]
        assert states == ["PENDING"] * 4 + ["PENDING_APPROVAL"] * 2 + ["CANCELLED"]
        assert len(together.posts) == 4
        rows = await execute(database, select(decisions.c.id, decisions.c.status).order_by(decisions.c.id))
        assert {row["status"] for row in rows} == {"done", "void"}
        await database.close()
