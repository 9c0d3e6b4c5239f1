"""What was made isn't denied by the process that tells of it."""

from dataclasses import replace

import pytest

from bot.app import App
from tests.deaths import left_behind
from tests.decisions.test_inbox import BOT, PAUSE, RESUME, events, with_button
from tests.rows import outcomes
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.watch import card, pass_time, quiet, until
from tests.world import APPROVE, World, running, world

UNTAKEN = "response_url", "chat.postEphemeral", "chat.postMessage"
pytestmark = pytest.mark.bot(drain_seconds=0.05)


async def made_and_untold(bot: World, button: str = PAUSE) -> None:
    """Press a button, and let the process stop before Slack has taken the answer."""
    message = with_button(bot, button)
    for method in UNTAKEN:
        bot.slack.faults.append(SlackFault(method, "internal_error", times=-1))
    assert (await bot.slack.press(message, button)).status == 200
    await quiet(bot)
    await bot.settle()
    bot.slack.faults.clear()


async def told_by_the_next(bot: World) -> str:
    """Return what the person reads once the next process has answered."""
    async with bot.another():
        await bot.reply_privately()
        await quiet(bot)
    return "\n".join(message.text for message in bot.slack.visible("U0ALICE"))


async def test_pause_that_was_made_is_not_denied_where_the_next_process_cannot_look_up_who_asked(bot: World) -> None:
    await made_and_untold(bot)
    assert await events(bot) == ["paused"]
    bot.slack.faults.append(SlackFault("users.info", "internal_error", times=-1))
    assert "Approvals are paused in cluster-1 until" in await told_by_the_next(bot)


async def test_pause_that_was_made_is_not_denied_to_who_has_left_the_group_since() -> None:
    async with world(BOT_OPERATORS="S0ONCALL", drain_seconds=0.05) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await made_and_untold(bot)
        assert await events(bot) == ["paused"]
        bot.slack.groups["S0ONCALL"] = []
        assert "Approvals are paused in cluster-1 until" in await told_by_the_next(bot)


@pytest.mark.bot(watching=True)
async def test_hold_by_mention_that_is_made_is_not_denied(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await quiet(bot)
    with bot.together.paused("get"):
        await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE")
        await until(bot, lambda: bot.together.is_waiting("get"))
        await bot.settle()
    await bot.settle()
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    async with bot.another():
        await until(bot, lambda: "On hold until" in alert.text)
        await pass_time(bot, 60)
    assert await outcomes(bot) == ["held"]
    said = [message.text for message in bot.slack.visible("U0ALICE")]
    assert said == [], said


@pytest.mark.parametrize("behind", [0.0, 20.0])
async def test_click_is_carried_out_by_the_next_process_whose_clock_is_a_little_behind(
    postgresql: str, behind: float
) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        late = replace(bot.time.clock, now=lambda: bot.time.now() - behind)
        bot.others.append(app := App(bot.settings, clock=late))
        async with running(app, bot.slack):
            await pass_time(bot, 10)
        said = [message.text for message in bot.slack.visible("U0ALICE")]
        assert "Approved by" in alert.text, (said, alert.text, await outcomes(bot))


async def test_resumption_that_was_made_is_not_denied_where_the_next_process_cannot_look_up_who_asked(
    bot: World,
) -> None:
    await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
    await bot.reply_privately("U0BOB")
    await made_and_untold(bot, RESUME)
    assert await events(bot) == ["paused", "resumed"]
    bot.slack.faults.append(SlackFault("users.info", "internal_error", times=-1))
    assert "Approvals resumed in cluster-1." in await told_by_the_next(bot)
