"""What a living process has told isn't told again because its database was away for longer than a lease."""

import asyncio

from sqlalchemy import update

from bot.clock import WaitReason
from bot.store import Database
from bot.store.tables import decisions, inbox
from tests.decisions.test_inbox import PAUSE, with_button
from tests.manual_clock import ON_THE_WAY
from tests.proxy import Line, line_to
from tests.rows import execute
from tests.simulator.slack.workspace import SlackFault
from tests.watch import quiet
from tests.world import REF, World, world


async def lose_the_database(bot: World, line: Line) -> None:
    await quiet(bot)
    bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
    line.is_down = True
    line.cut()


async def fail_over(bot: World, line: Line, url: str) -> None:
    """Let the database be away for 30 s, and the round that takes over come first once it is back."""
    bot.time.follower = None
    await let_pass(bot, 30)
    database = Database(url)  # its own clock has gone on, too
    await execute(database, update(decisions).values(lease_until=0.0), update(inbox).values(lease_until=0.0))
    await database.close()
    line.is_down = False
    await bot.time.advance(5.0, only=WaitReason.RECOVERY)
    await asyncio.sleep(0.5)
    await let_pass(bot, 30)


async def let_pass(bot: World, seconds: float) -> None:
    for _ in range(int(seconds)):
        await bot.time.advance(1.0)
        await asyncio.sleep(0.02)


async def test_card_of_a_command_is_posted_once_though_the_database_was_away_for_half_a_minute(
    postgresql: str,
) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        with bot.slack.paused("chat.postMessage"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: bot.slack.is_waiting("chat.postMessage"))
            await lose_the_database(bot, line)
        await bot.answer()
        await fail_over(bot, line, postgresql)
        said = [message.text for message in bot.slack.visible()]
        assert len(said) == 1, said


async def test_pause_is_told_once_though_the_database_was_away_for_half_a_minute(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        message = with_button(bot, PAUSE)
        bot.slack.faults.append(SlackFault("response_url", "html"))
        with bot.slack.paused("chat.postEphemeral"):
            await bot.slack.press(message, PAUSE)
            await bot.slack.until(lambda: bot.slack.is_waiting("chat.postEphemeral"))
            await lose_the_database(bot, line)
        await bot.reply_privately()
        await fail_over(bot, line, postgresql)
        said = [each.text for each in bot.slack.visible("U0ALICE")]
        assert len(said) == 1, said


async def test_cancellation_that_together_confirmed_is_not_called_apparent_since_the_database_was_away(
    postgresql: str,
) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        with bot.together.paused("cancel"):
            await bot.slack.command(REF)
            await bot.together.until(lambda: bot.together.is_waiting("cancel"))
            await lose_the_database(bot, line)
        await fail_over(bot, line, postgresql)
        said = [message.text for message in bot.slack.visible()]
        assert not any("apparently" in text.lower() for text in said), said
