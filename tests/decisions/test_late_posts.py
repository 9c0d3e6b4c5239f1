"""Time before the POST: an old click sends nothing, an old look is repeated, and an old command looks first."""

import pytest

from tests.world import APPROVE, CANCEL, IDS, REF, World, world


def wait_again(bot: World) -> None:
    """Let the remediation end, and wait again under its ID for another reason."""
    bot.together.resolve(IDS)
    bot.together.remediations[IDS].update(state="PENDING_APPROVAL", linked_alerts=[{"alert_name": "another fault"}])


async def typed_and_left(bot: World) -> None:
    """A command is acknowledged, and its process ends while Slack is asked who typed it."""
    with bot.slack.paused("users.info"):
        assert (await bot.slack.command(REF)).status == 200
        await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
        await bot.settle()
    assert bot.together.calls == []
    await bot.time.advance(300)


async def test_limit_that_is_counted_for_long_lets_no_other_incident_be_approved() -> None:
    async with world(BOT_MAX_IN_REPAIR="5") as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("list"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            bot.together.resolve(IDS)
            bot.time.seconds += 20
            bot.together.add()
        await bot.edited(alert)
        assert bot.together.posts == [], alert.text


@pytest.mark.parametrize("action", [APPROVE, CANCEL])
async def test_click_of_an_hour_ago_is_not_sent_after_a_suspension(action: str) -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get answered"):
            await bot.slack.press(alert, action)
            await bot.together.until(lambda: bot.together.is_waiting("get answered"))
            bot.time.seconds += 3600  # the machine is suspended: no timer of the loop runs
        await bot.edited(alert)
        assert bot.together.posts == [], alert.text


async def test_look_from_before_a_suspension_does_not_approve_the_next_incident() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get answered"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("get answered"))
            bot.together.resolve(IDS)
            bot.time.seconds += 300
            bot.together.add()
        await bot.edited(alert)
        assert bot.together.posts == [], alert.text


async def test_command_that_another_process_takes_over_does_not_cancel_the_next_incident(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        await typed_and_left(bot)
        wait_again(bot)
        async with bot.another():
            await bot.time.advance(30)
            told = (await bot.answer()).text
        assert "ended and opened again since you typed the command" in told
        assert bot.together.posts == []


async def test_command_that_another_process_takes_over_does_not_cancel_what_was_approved_since(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        await typed_and_left(bot)
        bot.together.review(IDS, "approve", "we need it")
        await bot.time.advance(120)
        async with bot.another():
            await bot.time.advance(30)
            await bot.answer()
        assert bot.together.state(IDS) == "PENDING"


async def test_command_of_before_a_suspension_does_not_cancel_the_next_incident() -> None:
    async with world() as bot:
        bot.together.add()
        with bot.slack.paused("users.info"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            bot.time.seconds += 300
            wait_again(bot)
        told = (await bot.answer()).text
        assert "ended and opened again since you typed the command" in told
        assert bot.together.posts == []
