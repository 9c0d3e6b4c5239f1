"""What is said of a decision that has no row that says it: as long as Slack doesn't take it."""

from sqlalchemy import delete, text

from bot.store.tables import audit, decisions
from tests.rows import execute_beside
from tests.simulator.slack.workspace import SlackFault
from tests.watch import pass_time
from tests.world import APPROVE, IDS, World, world

_REFUSE = (
    "CREATE TRIGGER refuse BEFORE INSERT ON audit WHEN NEW.event = 'outcome' BEGIN SELECT RAISE(ABORT, 'broken'); END"
)


def fail(bot: World) -> None:
    """Let Slack take nothing, while it says who somebody is."""
    for method in ("response_url", "chat.postEphemeral", "chat.postMessage", "chat.update"):
        bot.slack.faults.append(SlackFault(method, "internal_error", times=-1))


async def back_after_a_minute(bot: World) -> None:
    await pass_time(bot, 60)
    bot.slack.faults.clear()
    await pass_time(bot, 3600)


async def test_decision_that_was_set_aside_is_answered_once_slack_is_back() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await execute_beside(bot, text(_REFUSE))
        fail(bot)
        await bot.slack.press(alert, APPROVE)
        await back_after_a_minute(bot)
        assert len(bot.together.posts) == 1
        assert [message.text for message in bot.slack.visible() if message is not alert] != []


async def test_decision_whose_row_a_failover_lost_is_answered_once_slack_is_back(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("approve"):
            assert (await bot.slack.press(alert, APPROVE)).status == 200
            await bot.together.until(lambda: [call for call in bot.together.calls if call.verb == "approve"])
            await execute_beside(bot, delete(decisions), delete(audit))  # the new primary never had them
            fail(bot)
        await back_after_a_minute(bot)
        assert bot.together.state(IDS) != "PENDING_APPROVAL", "the repair was approved"
        assert [message.text for message in bot.slack.visible() if message is not alert] != []
