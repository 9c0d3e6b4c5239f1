"""Time between the look and the POST: an old click sends nothing, and an old look is repeated."""

import pytest

from tests.world import APPROVE, CANCEL, IDS, world


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
