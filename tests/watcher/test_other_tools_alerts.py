"""Alerts of other tools in the alert channel, posted as docs/extending.md says: none of the bot's own cards."""

from datetime import UTC, datetime

import pytest

from tests.simulator.slack.workspace import Posted, SlackFault
from tests.storms import began
from tests.watch import card, pass_time, watching
from tests.world import APPROVE, IDS, World, as_alert

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
CALL = "<!subteam^S0ONCALL>"
METADATA = {
    "event_type": "remediation_alert",
    "event_payload": dict(zip(("cluster_id", "instance_id", "remediation_id"), IDS, strict=True)),
}


def moment(bot: World, seconds: float = 0.0) -> str:
    return datetime.fromtimestamp(bot.time.now() + seconds, UTC).isoformat()


def tools_alert(bot: World) -> Posted:
    """Post an alert of another tool, as docs/extending.md says."""
    return bot.slack.post_as_tool(as_alert(bot.together.remediations[IDS]), metadata=METADATA)


async def test_alert_of_another_tool_in_the_alert_channel_keeps_its_words(bot: World) -> None:
    await began(bot)
    bot.together.add()
    own = await card(bot)
    tool = tools_alert(bot)
    await pass_time(bot, 2 * 3600)
    assert "GPU has fallen off the bus" in tool.everything, (tool.text, own.text)


async def test_alert_of_another_tool_is_not_taken_for_the_own_card_after_an_unclear_post(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error"))  # it didn't take it
    bot.together.add()
    tool = tools_alert(bot)
    await pass_time(bot, 300)
    said = [message.text for message in bot.slack.visible() if message is not tool]
    assert "GPU has fallen off the bus" in tool.everything, tool.text
    assert [each for each in said if CALL in each], "on-call was called by no message that arrived"


async def test_alert_of_another_tool_is_not_taken_for_the_own_card_at_the_first_start() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        tool = tools_alert(bot)
        await pass_time(bot, 120)
        said = [message.text for message in bot.slack.visible() if message is not tool]
        assert "GPU has fallen off the bus" in tool.everything, tool.text
        assert said


async def test_failure_of_what_was_approved_on_another_tools_alert_before_the_first_look_is_told(bot: World) -> None:
    await began(bot)
    bot.together.add()
    tool = bot.alert()
    await bot.slack.press(tool, APPROVE)
    await bot.edited(tool)
    await pass_time(bot, 120)
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
    await pass_time(bot, 120)
    bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": moment(bot), "error_message": "no host"}
    await pass_time(bot, 1800)
    assert [message.text for message in bot.slack.visible() if "ailed" in message.text], [
        e.text for e in bot.slack.visible()
    ]
