"""Slack fails for a while: nothing acknowledged is lost, nothing is said twice, and all of it is said in the end."""

from tests.fetch import get
from tests.simulator.slack import SlackFault
from tests.watch import HOLD, card, pass_time, poll, quiet, thread, until, watching
from tests.world import APPROVE, IDS, REF, World, both_transports

SECOND = ("cluster-1", "instance-2", "remediation-2")


def fail(bot: World) -> None:
    """Let every call of the Web API, and every `response_url`, be answered with a 5xx."""
    bot.slack.faults += [SlackFault("*", "html", times=-1), SlackFault("response_url", "html", times=-1)]


@both_transports
async def test_ten_minutes_of_5xx_lose_nothing_and_say_nothing_twice(transport: str) -> None:
    async with watching(socket=transport == "socket", endless=()) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, HOLD)  # from now on she is known, and he is not
        await quiet(bot)
        fail(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.slack.command(REF, user="U0BOB")
        bot.together.add(SECOND)
        await pass_time(bot, 600)
        status, reason = await get(bot.app, "/readyz")
        assert (status, "Slack isn't usable" in reason) == (503, True)
        assert [call.verb for call in bot.together.posts] == ["approve"]
        assert "Approved" not in alert.text
        assert bot.slack.visible() == [alert]
        bot.slack.faults.clear()
        bot.together.advance(IDS)
        second = await until(bot, lambda: next(iter(bot.slack.cards(SECOND[2])), None), 120)
        await until(bot, lambda: "Approved by <@U0ALICE>" in alert.everything, 700)
        told = await until(bot, lambda: bot.slack.visible("U0BOB"), 700)
        assert "Couldn't check your permissions" in told[0].text
        assert next(iter(second.buttons)) == APPROVE
        await pass_time(bot, 900)
        assert [message for message in bot.slack.visible() if not message.thread_ts] == [alert, second]
        assert len(bot.slack.visible("U0BOB")) == 1
        assert len(thread(bot, alert)) == len(set(thread(bot, alert)))
        assert (await get(bot.app, "/readyz"))[0] == 200


@both_transports
async def test_token_revoked_in_flight_is_answered_without_it_and_caught_up_with_the_next(transport: str) -> None:
    async with watching(socket=transport == "socket") as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            bot.slack.token_error = "token_revoked"
        await until(bot, lambda: "Approved by <@U0ALICE>" in alert.everything)
        bot.together.add(SECOND)
        await poll(bot)
        await pass_time(bot, 60)
        assert bot.slack.cards(SECOND[2]) == []
        assert "token_revoked" in (await get(bot.app, "/readyz"))[1]
        bot.slack.token_error = None
        await until(bot, lambda: bot.slack.cards(SECOND[2]), 120)
        await quiet(bot)
        assert len(bot.slack.cards(SECOND[2])) == 1
        assert len(bot.together.posts) == 1
