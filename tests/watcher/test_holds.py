"""Holds: who may, how long, and what ends them."""

import pytest

from tests.watch import HOLD, card, pass_time, poll, thread, until
from tests.world import APPROVE, CANCEL, IDS, OTHER, World

pytestmark = pytest.mark.bot(watching=True)


async def test_hold_is_shown_to_everyone_and_expires(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    assert "On hold until" in alert.text
    assert "<@U0ALICE> asks to wait" in alert.text
    assert bot.together.posts == []
    await pass_time(bot, 29 * 60)
    assert "On hold until" in alert.text
    assert [line for line in thread(bot, alert) if "has waited" in line] == []
    await pass_time(bot, 70)
    assert "On hold" not in alert.text
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD]


async def test_decision_ends_a_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert, 2)
    assert "hold" not in alert.text.lower()
    await poll(bot)
    assert "hold" not in alert.text.lower()


async def test_only_operators_may_hold(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0CAROL")
    assert "You may not hold remediations here." in (await bot.whisper("U0CAROL")).text
    assert alert.edits == 0


async def test_decided_remediation_cannot_be_held(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, HOLD)
    await bot.edited(alert)
    assert "Not held: it is “Approved, queued to start”." in alert.text or "Not held" in alert.text


async def test_untracked_remediation_cannot_be_held(bot: World) -> None:
    bot.together.add(OTHER, state="PENDING_APPROVAL")
    await card(bot, OTHER)
    bot.together.add()
    with bot.together.paused("list"):
        alert = bot.alert()
        alert.blocks[1]["elements"][0]["action_id"] = HOLD
        await bot.slack.press(alert, HOLD)
        assert "The bot does not follow this remediation" in (await bot.whisper()).text


@pytest.mark.parametrize("how", ["cancel", "approve"])
async def test_hold_that_read_before_a_decision_does_not_restore_its_buttons(bot: World, how: str) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("get answered"):
        await bot.slack.press(alert, HOLD)
        await bot.together.until(lambda: bot.together.is_waiting("get answered"))
        bot.together.review(IDS, how)
        with bot.together.open_for_others("get answered"):
            await card(bot, words="Cancelled: Reboot VM" if how == "cancel" else "Approved, queued")
            await pass_time(bot, 20)
    await until(bot, lambda: APPROVE not in alert.buttons)
    assert ("Cancelled" if how == "cancel" else "Approved") in alert.text


async def test_late_answer_to_a_hold_does_not_cover_a_newer_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.slack.paused("chat.update"):
        await bot.slack.press(alert, HOLD)
        await bot.slack.until(lambda: bot.slack.is_waiting("chat.update"))
        bot.together.review(IDS, "cancel")
        with bot.slack.open_for_others("chat.update"):
            await card(bot, words="Cancelled: Reboot VM")
            await pass_time(bot, 30)
    await until(bot, lambda: "Cancelled: Reboot VM" in alert.text and not alert.buttons)
    await pass_time(bot, 60)
    assert alert.buttons == {}
