"""Two people or two deliveries at once, and slow calls: one POST, one answer each."""

import pytest

from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, REF, REFRESH, World, both_transports


@both_transports
async def test_two_people_at_once_cause_one_post_and_both_get_an_answer(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        told = await bot.reply_privately("U0BOB")
        assert "<@U0ALICE> is already approving this" in told.text
        await bot.slack.press(alert, APPROVE)
        assert "You're already approving this (since" in (await bot.reply_privately("U0ALICE")).text
        await bot.slack.press(alert, REFRESH, user="U0CAROL")
        assert "<@U0ALICE> is already approving" in (await bot.reply_privately("U0CAROL")).text
    await bot.edited(alert)
    await bot.settle()
    assert [call.verb for call in bot.together.posts] == ["approve"]
    assert alert.edits == 1


async def test_redelivered_click_is_done_once(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    payload = bot.slack.click(alert, APPROVE)
    first = await bot.slack.deliver("interactive", payload)
    second = await bot.slack.deliver("interactive", payload)
    assert (first.status, second.status) == (200, 200)
    await bot.edited(alert)
    await bot.settle()
    assert len(bot.together.posts) == 1
    assert len(bot.slack.messages) + alert.edits == 2


@pytest.mark.bot(drain_seconds=0.05)
async def test_redelivery_after_a_restart_is_ignored(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    payload = bot.slack.click(alert, APPROVE)
    await bot.slack.deliver("interactive", payload)
    await bot.edited(alert)
    await bot.settle()
    async with bot.another():
        assert (await bot.slack.deliver("interactive", payload)).status == 200
        await bot.slack.command(f"{REF} to see that it works")
        await bot.answer(2)
    assert alert.edits == 1


async def test_refresh_while_a_decision_begins_draws_no_buttons(bot: World) -> None:
    bot.together.add()
    alert, other = bot.alert(), bot.alert()
    with bot.together.paused("cancel"):
        with bot.together.paused("get"):
            await bot.slack.press(other, REFRESH, user="U0CAROL")
            await bot.together.until(lambda: [call for call in bot.together.calls if call.verb == "get"])
            await bot.slack.command(REF)
            await bot.together.until(lambda: bot.together.posts)
        await bot.edited(other)
        assert "<@U0ALICE> has been cancelling this since" in other.text
        assert list(other.buttons) == [REFRESH]
    assert alert.edits == 0


async def test_slow_call_shows_who_is_deciding_and_then_the_card(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("approve"):
        await bot.press_until_progress(alert, APPROVE)
        assert "<@U0ALICE> is approving this" in alert.text
        assert "GPU has fallen off the bus" in alert.everything
        assert alert.buttons == {}
    await bot.edited(alert, 2)
    assert "Approved, queued" in alert.text


async def test_slow_error_restores_the_card_and_its_buttons(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    before = [dict(block) for block in alert.blocks]
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    with bot.together.paused("approve"):
        await bot.press_until_progress(alert, APPROVE)
    error = await bot.answer(2)
    assert "(HTTP 403)" in error.text
    assert alert.edits == 2
    assert [block for block in alert.blocks if block["block_id"] != "remediation-bot-added-line"] == before
    assert "<@U0ALICE>'s approval: The bot's Together API key can't do that" in alert.text


async def test_slow_refresh_does_not_overwrite_a_decision(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused("get"):
        await bot.slack.press(alert, REFRESH, user="U0CAROL")
        await bot.together.until(lambda: bot.together.calls)
        await bot.time.advance(1)
        await bot.slack.command(REF, user="U0BOB")
        await bot.answer(2)
        bot.together.faults.append(Fault("rpc", verb="get", code=5))
    error = await bot.answer(3)
    assert "no such remediation" in error.text
    assert alert.edits == 0
