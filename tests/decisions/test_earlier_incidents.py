"""Buttons of an earlier incident under the same ID."""

import pytest

from bot import cards
from tests import test_flow_chooser as chooser
from tests import test_flow_menu as menu
from tests.samples import remediation
from tests.simulator.together import Fault
from tests.storms import XID
from tests.test_flow_reasons import opened
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, CANCEL, IDS, REF, World, world


def waits_again(bot: World) -> None:
    """Let it end, and wait again under the same ID for another reason."""
    bot.together.resolve(IDS)
    bot.together.remediations[IDS].update(state="PENDING_APPROVAL", linked_alerts=[{"alert_name": "another fault"}])


@pytest.mark.parametrize("says_which", [True, False])
async def test_alert_of_an_earlier_incident_decides_nothing_about_the_next_one(*, says_which: bool) -> None:
    """The remediation ended, and waits again under the same ID with the same repair suggested."""
    async with world() as bot:
        bot.together.add()
        alert = bot.alert(episode="" if says_which else None)
        await bot.time.advance(3600)
        bot.together.resolve(IDS)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert (
            "your approval wasn't sent: the remediation ended and opened again since you saw it. "
            "Review it and approve again." in alert.text
        )
        assert bot.together.posts == []
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert, 2)
        assert bot.together.state(IDS) == "PENDING"


@pytest.mark.parametrize("paragraphs", [1, 40])
async def test_dialog_of_an_alert_that_does_not_say_its_incident_decides_nothing_about_the_next_one(
    paragraphs: int,
) -> None:
    """Words for which the dialog has no room are answered in the thread; when they were posted still counts."""
    async with world(BOT_REASON="always") as bot:
        bot.together.add()
        alert = bot.alert(episode=None)
        alert.blocks[:1] *= paragraphs
        await bot.time.advance(3600)
        bot.together.resolve(IDS)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        await bot.slack.press(alert, APPROVE)
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        await bot.slack.submit(view, reason="as agreed")
        await bot.slack.until(lambda: bot.slack.replies(alert) or alert.edits)
        said = alert.text if alert.edits else bot.slack.replies(alert)[-1].text
        assert "the remediation ended and opened again since you saw it" in said
        assert bot.together.posts == []


async def test_alert_that_does_not_say_its_incident_decides_about_the_one_it_was_posted_in() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert(episode=None)
        await bot.time.advance(3600)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


@pytest.mark.bot(watching=True)
async def test_dialog_of_an_earlier_incident_approves_no_other_mode(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await menu.opened(bot, alert, cards.OTHER_MODE)
    await bot.time.advance(10)
    waits_again(bot)
    await bot.slack.submit(view, mode=menu.REPLACE, reason="the disk is full")
    await card(bot, words="approval wasn't sent: the remediation ended and opened again")
    assert bot.together.posts == []


@pytest.mark.bot(watching=True)
async def test_card_that_was_drawn_again_approves_another_mode(bot: World) -> None:
    """The card is older than the incident that it shows by now."""
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 3600)
    bot.together.resolve(IDS)
    await poll(bot)
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await pass_time(bot, 60)
    alert = next(message for message in bot.slack.visible() if APPROVE in message.buttons)
    view = await menu.opened(bot, alert, cards.OTHER_MODE)
    await bot.slack.submit(view, mode=menu.REPLACE, reason="the disk is full")
    await until(bot, lambda: "Approved “Quick reprovision”" in alert.text)


async def test_dialog_of_an_earlier_incident_cancels_nothing() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=XID, **chooser.NAMES)
        await card(bot)
        view = await chooser.opened(bot, "gpu-node-7")
        assert "Xid 79" in chooser.shown_in(view)
        await pass_time(bot, 3600)
        waits_again(bot)
        await bot.slack.submit(view)
        await quiet(bot)
        told = " ".join(message.everything for message in bot.slack.visible())
        assert "your cancellation wasn't sent: the remediation ended and opened again since you saw it." in told
        assert bot.together.posts == []


async def test_typed_cancel_is_not_repeated_for_a_later_incident(postgresql: str) -> None:
    """The process died after it recorded that the POST leaves."""
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        bot.together.faults.append(Fault("hang", verb="cancel"))  # it never arrives
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        await bot.settle()
        await bot.time.advance(60)
        waits_again(bot)
        async with bot.another():
            await bot.time.advance(30)
            told = await bot.answer()
            assert "It wasn't sent again: the remediation ended and opened again since you typed" in told.everything
        assert len(bot.together.posts) == 1


async def test_card_drawn_from_what_was_answered_can_be_cancelled() -> None:
    """Together's clock isn't this process's, so when it was approved is known a moment more or less."""
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        bot.together.now = lambda: bot.time.now() - 0.4
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved by <@U0ALICE>")
        bot.together.faults.append(unreadable := Fault("rpc", verb="get", code=14, times=-1))
        await pass_time(bot, 1800)
        assert "Last confirmed" in alert.text
        bot.together.faults.remove(unreadable)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled by <@U0ALICE>")


@pytest.mark.parametrize("read", ["2026-11-24T03:00:00.9Z", "2026-11-24T03:00:00Z", "2026-11-24T03:00:01Z"])
def test_list_that_rounds_times_shows_the_same_incident(read: str) -> None:
    drawn = remediation(create_time="2026-11-24T03:00:00.9Z").episode_key
    assert remediation(create_time=read).is_of(drawn)
    assert not remediation(create_time=read, end_time="2026-11-24T03:05:00Z").is_of(drawn)
    assert remediation(create_time=None).is_of(drawn)
    assert not remediation(create_time=read).is_of("not a moment")


@pytest.mark.parametrize("end", ["rejected", "ran"])
async def test_dialog_of_an_incident_that_was_decided_doesnt_approve_the_next(end: str) -> None:
    async with watching(BOT_REASON="always") as bot:
        bot.together.add()
        alert = await card(bot)
        view = await opened(bot, alert, APPROVE)
        await pass_time(bot, 120)
        if end == "rejected":
            bot.together.review(IDS, "reject", "not this one")
            await card(bot, words="ancelled")
        else:
            bot.together.review(IDS, "approve", "ok")
            bot.together.advance(IDS, "SUCCEEDED")
            del bot.together.remediations[IDS]["end_time"]
            await pass_time(bot, 60)
            assert not alert.buttons.get(APPROVE), alert.text
        await pass_time(bot, 1200)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "update_time": moment(bot)}
        await card(bot, words="Approve reboot?")
        await poll(bot)
        await bot.slack.submit(view, reason="checkpointed")
        await pass_time(bot, 10)
        assert [call.verb for call in bot.together.posts] == []
