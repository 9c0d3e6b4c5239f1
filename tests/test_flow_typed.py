"""A typed cancel where the remediation's card already is: the card is edited, and one line points at it."""

import pytest

from tests.simulator.together import Fault
from tests.watch import card, poll, quiet, thread, until
from tests.world import APPROVE, CANCEL, REF, World

pytestmark = pytest.mark.bot(watching=True)
LINK = "<https://home.slack.com/archives/C0OPS/p"


async def test_typed_cancel_edits_the_card_in_its_channel_and_adds_one_line(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.command(f"{REF} rebooted by hand")
    line = await bot.answer(2)
    assert line.text.startswith("instance-1: cancelled by <@U0ALICE>. ")
    assert f"{LINK}{alert.ts.replace('.', '')}|See the card>" in line.text
    assert alert.title == "Cancelled: reboot instance-1 🚫 · cluster-1 (H100)"
    assert "Cancelled by <@U0ALICE>, " in alert.text
    assert "“rebooted by hand”" in alert.everything
    assert alert.buttons == {}
    await poll(bot)
    assert [message.text for message in bot.slack.visible() if message.thread_ts is None] == [alert.text, line.text]
    assert thread(bot, alert)[0].startswith("instance-1: Reboot cancelled by <@U0ALICE>")


async def test_same_cancel_again_gets_one_line_and_leaves_the_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.command(REF)
    await bot.answer(2)
    await quiet(bot)
    drawn = alert.blocks
    await bot.slack.command(REF, user="U0BOB")
    again = await bot.answer(len(bot.slack.visible()) + 1)
    assert again.text.startswith("instance-1: already cancelled by <@U0ALICE>, <!date^")
    assert LINK in again.text
    assert alert.blocks == drawn


async def test_typed_cancel_elsewhere_posts_the_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.command(REF, channel="C0OTHER")
    posted = await bot.answer(2)
    assert posted.channel == "C0OTHER"
    assert posted.title == "Cancelled: reboot instance-1 🚫 · cluster-1 (H100)"
    await card(bot, words="Cancelled: reboot")
    await bot.slack.command(REF, channel="C0OTHER")
    again = await bot.answer(len(bot.slack.visible()) + 1)
    assert "already cancelled by <@U0ALICE>" in again.text
    assert "|See the card>" not in again.text
    assert alert.buttons == {}


async def test_typed_cancel_that_came_too_late_says_so_on_the_card_and_in_the_line(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.remediations[tuple(REF.split("/"))]["state"] = "RUNNING"  # type: ignore[index] # three parts
    await bot.slack.command(REF)
    line = await bot.answer(2)
    assert line.text.startswith("instance-1: Too late to cancel: it's already “Running”.")
    assert "Too late to cancel" in alert.text


async def test_typed_cancel_without_a_clear_answer_leaves_check_again_on_the_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("cut", verb="cancel"))
    await bot.slack.command(REF)
    line = await bot.answer(2)
    assert "your cancellation hadn't taken effect as of" in line.text
    assert APPROVE not in alert.buttons
    assert CANCEL not in alert.buttons


async def test_deleted_card_does_not_swallow_the_answer(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.messages.remove(alert)
    await bot.slack.command(REF)
    posted = await bot.answer()
    assert posted.title == "Cancelled: reboot instance-1 🚫 · cluster-1 (H100)"
    await quiet(bot)
    assert not [message for message in bot.slack.visible() if "|See the card>" in message.text]


async def test_result_on_a_card_that_was_just_deleted_is_posted_whole(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("cancel"):
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        bot.slack.messages.remove(alert)
    (posted,) = await until(bot, bot.slack.visible)
    assert posted.title == "Cancelled: reboot instance-1 🚫 · cluster-1 (H100)"


async def test_card_beside_the_alerts_own_offers_no_decision_that_would_outlive_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="cancel", code=9))
    await bot.slack.command(REF, channel="C0OTHER")
    copy = await bot.answer(2)
    assert "the remediation is still waiting" in copy.text
    assert not {APPROVE, CANCEL} & set(copy.controls)
    assert {APPROVE, CANCEL} <= set(alert.controls)


async def test_typed_cancel_in_capitals_is_answered_as_what_it_was(bot: World) -> None:
    """Whether Together tells apart IDs that differ in case isn't documented; phones begin with a capital."""
    bot.together.add()
    alert = await card(bot)
    bot.together.folds_ids = True
    await bot.slack.command(REF.upper())
    await until(bot, lambda: "Cancelled: reboot" in alert.text)
    (answer,) = [message for message in bot.slack.visible() if message.ts != alert.ts and not message.thread_ts]
    assert answer.title.startswith("Cancelled: reboot instance-1 🚫")
    assert "Cancelled by <@U0ALICE>, " in answer.text
