"""A database that took over and lacks the last commits, while the process that watches lives on."""

import asyncio

import psycopg
import pytest
from sqlalchemy import delete, select, update

from bot.store import Database
from bot.store.tables import alerts, messages
from tests.proxy import Line, line_to
from tests.rows import execute
from tests.watch import card, pass_time, poll, quiet, thread, watching
from tests.world import APPROVE, IDS, World


async def fail_over(bot: World, line: Line, url: str, *, is_seen: bool) -> None:
    """Cut all connections; new ones lead, at once or after a while, to a server that lacks the last commits."""

    async def follow(now: float) -> None:  # the bot's own connection for it is cut, too
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as beside:
            await beside.execute("UPDATE present SET seconds = %s", (now,))

    bot.time.follower = follow
    if is_seen:
        line.is_down = True
    else:
        line.opens.clear()
    line.cut()
    database = Database(url)
    await execute(database, delete(alerts), delete(messages))
    await database.close()
    for _ in range(6 if is_seen else 2):
        await bot.time.advance(2.0)
        await asyncio.sleep(0.1)
    line.is_down = False
    line.opens.set()


@pytest.mark.parametrize("is_seen", [True, False])
async def test_alert_whose_row_a_failover_lost_is_reminded_of(postgresql: str, *, is_seen: bool) -> None:
    async with line_to(postgresql) as line, watching(database=line.url, BOT_REMIND_MINUTES="15") as bot:
        await poll(bot)
        bot.together.add()
        await card(bot)
        await quiet(bot)
        await fail_over(bot, line, postgresql, is_seen=is_seen)
        await pass_time(bot, 4000)
        cards = bot.slack.cards(IDS[2])
        assert [text for each in cards for text in thread(bot, each)], [each.text for each in cards]


@pytest.mark.parametrize("is_seen", [True, False])
async def test_card_whose_row_a_failover_lost_offers_no_approval_of_what_was_cancelled(
    postgresql: str, *, is_seen: bool
) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        await poll(bot)
        bot.together.add()
        alert = await card(bot)
        await quiet(bot)
        await fail_over(bot, line, postgresql, is_seen=is_seen)
        await pass_time(bot, 60)
        bot.together.remediations[IDS]["state"] = "CANCELLED"
        await pass_time(bot, 4000)
        assert APPROVE not in alert.buttons, alert.text


async def test_card_of_what_was_cancelled_offers_no_approval_again_once_a_failover_has_lost_that(
    postgresql: str,
) -> None:
    async with watching(database=postgresql) as bot:
        await poll(bot)
        bot.together.add()
        alert = await card(bot)
        await quiet(bot)
        database = Database(postgresql)
        (was,) = await execute(database, select(alerts))
        (shown,) = await execute(database, select(messages))
        bot.together.remediations[IDS]["state"] = "CANCELLED"
        await card(bot, words="Cancelled")
        await quiet(bot)
        # The last commits are lost, and all connections lead to the new server before anybody has asked it anything.
        await execute(database, update(alerts).values(**was), update(messages).values(**shown))
        await database.close()
        await pass_time(bot, 8000)
        assert APPROVE not in alert.buttons, alert.text
