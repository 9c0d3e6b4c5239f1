"""Nothing acked is lost: deaths, takeovers, two replicas, and a database that goes away."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, update

from bot.clock import Pause
from bot.decisions.act import REPEAT_AFTER
from bot.models import Shown
from bot.store import Database, Store, audit
from bot.store.tables import decisions
from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, world


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


@pytest.fixture
async def bot(database_url: str) -> AsyncIterator[World]:
    async with world(drain_seconds=0.05, database=database_url) as running:
        yield running


async def test_a_post_that_never_arrived_is_repeated_once_and_counted(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"), bot.another():
        await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert len(bot.together.posts) == 1
    assert await column(bot, "repeats") == 1
    (waited,) = bot.time.slept(Pause.READ_BACK)
    assert 0 < waited <= REPEAT_AFTER


async def test_a_post_that_arrived_is_not_repeated(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"):
        bot.together.review(IDS, "approve", "Approved in Slack by alice (U0ALICE)")
        async with bot.another():
            await bot.edited(alert)
    assert bot.together.posts == []
    assert "Approved in Slack by <@U0ALICE>" in alert.text
    assert await column(bot, "repeats") == 0


@pytest.mark.parametrize("change", ["mode", "state"])
async def test_a_post_is_not_repeated_when_something_has_changed(bot: World, change: str) -> None:
    bot.together.add()
    alert = await left_behind(bot, CANCEL)
    async with died_while(bot, at="sent"):
        if change == "mode":
            bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        else:
            bot.together.review(IDS, "approve")
        async with bot.another():
            await bot.edited(alert)
    assert bot.together.posts == []
    assert "Not cancelled." in alert.text


async def test_a_post_is_not_repeated_after_ten_minutes(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"):
        await age_by(bot, 601)
        async with bot.another():
            await bot.edited(alert)
    assert bot.together.posts == []
    assert "your approval is not in effect as of" in alert.text
    assert list(alert.buttons) == [REFRESH]


async def test_what_cannot_be_read_after_a_death_is_unknown(bot: World) -> None:
    bot.together.add()
    await left_behind(bot, APPROVE)
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    async with died_while(bot, at="sent"), bot.another():
        error = await bot.answer(2)
    assert "It is unknown whether the approval took effect." in error.text
    assert bot.together.posts == []


async def test_what_was_not_sent_is_sent_by_the_next(bot: World) -> None:
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="read"), bot.another():
        await bot.edited(alert)
    assert len(bot.together.posts) == 1
    assert await column(bot, "repeats") == 0


async def age_by(bot: World, seconds: float) -> None:
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        c = decisions.c
        await connection.execute(
            update(decisions).values(received_at=c.received_at - seconds, sent_at=c.sent_at - seconds)
        )
    await database.close()


async def column(bot: World, name: str) -> Any:
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        value = (await connection.execute(select(decisions.c[name]))).scalar_one()
    await database.close()
    return value


async def test_the_row_of_an_answered_decision_is_blanked_and_audited(bot: World) -> None:
    bot.together.add()
    await bot.slack.command(f"{REF} by hand")
    await bot.answer()
    await bot.settle()
    assert await column(bot, "status") == "done"
    assert await column(bot, "request") is None
    database = Database(bot.settings.database_url)
    rows = [dict(row) async for row in audit.rows(database)]
    verdict = await audit.verify(database)
    await database.close()
    assert [(row["event"], row["outcome"], row["state"]) for row in rows] == [
        ("send", None, None),
        ("outcome", "cancelled", "CANCELLED"),
    ]
    assert rows[0]["reason"] == "by hand"
    assert (rows[1]["http_status"], rows[1]["request_id"]) == (200, "req-1")
    assert verdict.problems == []
    for secret in ("/response/", "xoxb-", bot.settings.together_api_key.get_secret_value()):
        assert secret not in json.dumps(rows)


async def test_a_refusal_is_audited_too(bot: World) -> None:
    bot.together.add()
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL")
    await bot.whisper("U0CAROL")
    await bot.settle()
    database = Database(bot.settings.database_url)
    (row,) = [row async for row in audit.rows(database)]
    await database.close()
    assert (row["event"], row["outcome"], row["user_id"], row["shown_state"]) == (
        "outcome",
        "NotAllowed",
        "U0CAROL",
        "PENDING_APPROVAL",
    )


async def test_an_error_is_audited_with_status_and_request_id(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="cancel", code=7, headers={"x-request-id": "req-7"}))
    await bot.slack.command(REF)
    await bot.answer()
    await bot.settle()
    database = Database(bot.settings.database_url)
    rows = [row async for row in audit.rows(database)]
    await database.close()
    assert (rows[-1]["outcome"], rows[-1]["http_status"], rows[-1]["request_id"]) == ("KeyRefused", 403, "req-7")


async def test_the_same_click_to_two_replicas_and_two_people_at_once(postgresql: str) -> None:
    rounds = 200
    async with world(database=postgresql) as bot, bot.another() as second:
        addresses = [f"http://127.0.0.1:{app.port}" for app in (bot.app, second)]
        posts: list[int] = []
        for number in range(rounds):
            ids = bot.together.add(("cluster-1", f"node-{number}", f"remediation-{number}"))
            alert = bot.alert(ids)
            alices, bobs = bot.slack.click(alert, APPROVE), bot.slack.click(alert, CANCEL, user="U0BOB")
            acks = await asyncio.gather(
                *(deliver(bot, payload, address) for payload in (alices, bobs) for address in addresses)
            )
            assert [ack.status for ack in acks] == [200] * 4
            await bot.edited(alert)
            posts.append(len([call for call in bot.together.posts if call.ids == ids]))
            assert bot.together.state(ids) in {"PENDING", "CANCELLED"}
        await bot.settle()
        assert posts == [1] * rounds


async def deliver(bot: World, payload: dict[str, Any], address: str) -> Any:
    bot.slack.bot_url = address
    return await bot.slack.deliver("interactive", payload)


async def test_a_store_that_is_away_takes_nothing_and_says_so(tmp_path: Path) -> None:
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


async def test_the_bot_reconnects_when_its_connections_are_cut(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        bot.together.add()
        connection = await asyncpg.connect(postgresql)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname <> ''"
        )
        await connection.close()
        await bot.slack.command(REF)
        assert "Cancelled: Reboot VM" in (await bot.answer()).text


async def test_a_living_replica_finishes_what_a_dead_one_left(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        async with bot.another() as survivor:
            bot.slack.bot_url = f"http://127.0.0.1:{bot.app.port}"
            alert = await left_behind(bot, APPROVE)
            await bot.time.end_pause(Pause.HEARTBEAT)
            await bot.edited(alert)
            assert bot.together.state(IDS) == "PENDING"
            assert survivor.tasks.accepting
