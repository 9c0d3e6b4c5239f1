"""Deleting what is old, while it is not over."""

from bot.models import Mode
from bot.store import purge
from tests.watch import card, pass_time, until, watching
from tests.watcher.test_started import AUTO
from tests.world import APPROVE, IDS

DAY = 86_400.0


async def test_repair_that_waits_again_after_its_message_was_purged_is_told_of(database_url: str) -> None:
    async with watching(database=database_url, BOT_RETENTION_DAYS="1", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 2 * DAY)
        waiting = dict(bot.together.remediations[IDS])
        bot.together.resolve(IDS)
        await card(bot, words="recovered")
        await pass_time(bot, 600)
        assert bot.app.database
        await purge(bot.app.database, 1)  # as Recovery does it once a day
        bot.together.remediations[IDS] = waiting
        await until(bot, lambda: any(APPROVE in message.buttons for message in bot.slack.cards(IDS[2])), 1800)


async def test_what_was_purged_is_not_said_to_have_never_been(database_url: str) -> None:
    async with watching(database=database_url, BOT_RETENTION_DAYS="1") as bot:
        bot.together.add()
        await card(bot)
        bot.together.resolve(IDS)
        await pass_time(bot, 4 * DAY)
        await bot.slack.command("history instance-1")
        assert "has no record of" in (await bot.reply_privately()).text


async def test_watch_that_begins_once_all_is_purged_calls_for_what_began_meanwhile(database_url: str) -> None:
    async with watching(database=database_url, BOT_RETENTION_DAYS="1", BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        await card(bot)
        bot.together.resolve(IDS)
        await card(bot, words="recovered")
        await pass_time(bot, 4 * DAY)
        await bot.settle()
        bot.together.add(("cluster-1", "i-2", "r-2"), mode=Mode.VM_ONLY, **AUTO)
        async with bot.another():
            alert = await card(bot, ("cluster-1", "i-2", "r-2"), words="Started automatically")
            assert "<!subteam^S0ONCALL>" in alert.text
