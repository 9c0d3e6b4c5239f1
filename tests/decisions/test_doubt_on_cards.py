"""What a card may say and offer while something is in doubt, or after an error."""

import json
import logging
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.cards import OTHER_MODE
from bot.cards.labels import UNCONFIRMED
from bot.clock import WaitReason
from bot.decisions.service import about_decision
from bot.logs import configure_logs
from bot.models import Mode, RemediationRef
from tests.manual_clock import ON_THE_WAY
from tests.rows import outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.simulator.together import Fault, Ids
from tests.sqlite import locked
from tests.store.examples import request
from tests.storms import began, choose, digest, review, storm
from tests.test_flow_home import opened as home_of
from tests.test_flow_home import said
from tests.test_flow_menu import opened as menu_opened
from tests.test_flow_reasons import opened
from tests.watch import card, pass_time, poll, quiet, thread, until, watching
from tests.watcher.test_who_is_called import calls
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, REJECT, World, as_alert, world

NOTHING_CAME_OF_IT = "instance-1: <@U0ALICE>, your approval hasn't taken effect. Decide again."
LONG_IDS: Ids = ("節" * 200, "点" * 200, "修" * 200)


def unreadable(bot: World) -> None:
    """Let nothing be read from now on."""
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))


async def approved_in_doubt(bot: World) -> Posted:
    """The card of an approval whose answer was lost, and which may take effect yet."""
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("cut", verb="approve"))
    await bot.slack.press(alert, APPROVE)
    return await card(bot, words="your approval hadn't taken effect")


async def test_look_brings_no_buttons_back_too_soon_where_the_databases_clock_is_behind(postgresql: str) -> None:
    async with watching(postgresql) as bot:
        follow = bot.time.follower
        assert follow
        bot.time.follower = lambda now: follow(now - 40.0)
        alert = await approved_in_doubt(bot)
        await pass_time(bot, 25)
        await bot.slack.press(alert, REFRESH, user="U0BOB")
        await until(bot, lambda: alert.edits > 1)
        assert list(alert.buttons) == [REFRESH], "the approval may still arrive"


async def test_failed_look_keeps_the_doubt_and_brings_no_buttons_back() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        bot.together.faults.append(Fault("cut", verb="approve"))
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="hadn't taken effect")
        assert list(alert.buttons) == [REFRESH]
        assert alert.title == "Not confirmed: reboot gpu-node-7 ❔ · cluster-1 (H100)"
        bot.together.faults.append(Fault("rpc", verb="get", code=8, times=9))
        before = len(bot.slack.visible())
        await bot.slack.press(alert, REFRESH, user="U0BOB")
        told = await bot.answer(before + 1)
        assert told.text.startswith("gpu-node-7, check: <@U0BOB> Couldn't check. Together is rate-limiting the bot.")
        bot.together.faults.clear()
        await poll(bot)
        assert APPROVE not in alert.buttons


async def test_look_that_finds_nothing_new_keeps_the_doubt_until_it_is_over() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        for _ in range(3):
            await pass_time(bot, 1.0)
            edits = alert.edits
            await bot.slack.press(alert, REFRESH, user="U0BOB")
            await bot.edited(alert, edits + 1)
            assert list(alert.buttons) == [REFRESH]
            assert "it still might" in alert.text
            assert alert.text.count("no change yet") == 1, "who presses the button sees that it was taken"
        await poll(bot)
        assert alert.text.count("no change yet") == 1
        assert "your approval" not in str(thread(bot, alert))
        await pass_time(bot, 90.0)
        assert APPROVE in alert.buttons
        assert "it still might" not in alert.text
        assert thread(bot, alert).count(NOTHING_CAME_OF_IT) == 1
        assert "no change yet" not in alert.text


@pytest.mark.parametrize("asked", ["hold 1h", "hold 1h instance-1"])
async def test_hold_keeps_the_doubt_until_it_is_over(asked: str) -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        thread_of = None if "instance" in asked else alert
        await bot.slack.say(f"<@{BOT_USER}> {asked}", user="U0BOB", thread=thread_of)
        await card(bot, words="On hold until")
        for _ in range(4):
            await pass_time(bot, 5.0)
            assert list(alert.buttons) == [REFRESH]
            assert "it still might" in alert.text
        assert [message for message in bot.slack.visible() if "put this on hold until" in message.text]
        await until(bot, lambda: APPROVE in alert.buttons)
        assert alert.title.startswith("On hold: ")


@pytest.mark.parametrize("way", ["home", "status", "mention"])
async def test_what_somebody_is_deciding_is_not_called_undecided_elsewhere(way: str) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            await pass_time(bot, 5.0)
            if way == "home":
                told = said(await home_of(bot, "U0BOB"))
            elif way == "status":
                await bot.slack.command("status instance-1", user="U0BOB")
                told = (await bot.reply_privately("U0BOB")).everything
            else:
                await bot.slack.say(f"<@{BOT_USER}> cancel", user="U0BOB", thread=alert)
                told = " ".join(await until(bot, lambda: thread(bot, alert)[1:]))
        assert UNCONFIRMED in told
        assert "Approval needed" not in told
        assert "Nothing has been sent yet" not in told


async def test_failed_look_says_nothing_of_what_was_sent_before(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.together.stop()
    await bot.slack.press(alert, REFRESH)
    told = await bot.answer(2)
    assert "Couldn't check. Couldn't reach Together." in told.text
    assert "Nothing was sent" not in told.text
    assert list(told.buttons) == [REFRESH]


@pytest.mark.parametrize("is_foreign", [False, True])
async def test_unknown_outcome_leaves_check_again_alone(*, is_foreign: bool) -> None:
    async with watching() as bot:
        bot.together.add()
        posted = await card(bot)
        alert = bot.alert() if is_foreign else posted
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        bot.together.on_call["approve"] = lambda: unreadable(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.slack.until(lambda: "approval may have gone" in alert.text)
        assert list(alert.buttons) == [REFRESH]


async def test_unknown_outcome_of_another_mode_leaves_check_again_alone() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        view = await menu_opened(bot, alert, OTHER_MODE)
        bot.together.faults.append(Fault("cut", verb="approve"))
        bot.together.on_call["approve"] = lambda: unreadable(bot)
        await bot.slack.submit(view, mode=Mode.VM_ONLY.value, reason="the disk is full")
        await until(bot, lambda: "approval may have gone" in alert.text, 30)
        assert list(alert.buttons) == [REFRESH]
        assert UNCONFIRMED in said(await home_of(bot))


async def test_unknown_outcome_of_a_typed_cancel_is_on_the_card_too() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("cut", verb="cancel"))
        bot.together.on_call["cancel"] = lambda: unreadable(bot)
        await bot.slack.command(REF)
        await bot.answer(2)
        await until(bot, lambda: APPROVE not in alert.buttons, 30)
        assert "The cancellation may have gone through." in alert.text


async def test_refusal_after_which_nothing_can_be_read_leaves_no_doubt() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="cancel", code=9))
        bot.together.on_call["cancel"] = lambda: unreadable(bot)
        await bot.slack.command(REF)
        await bot.answer(2)
        await until(bot, lambda: "isn't possible now" in alert.text, 30)
        assert APPROVE in alert.buttons
        assert not alert.title.startswith("Not confirmed")


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("way", ["typed", "home", "foreign"])
async def test_doubt_of_a_decision_made_elsewhere_is_on_the_card_and_over_once_it_is_read(
    way: str, *, is_read: bool
) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        verb = "cancel" if way == "typed" else "approve"
        bot.together.faults.append(Fault("cut", verb=verb))
        if not is_read:
            bot.together.on_call[verb] = lambda: unreadable(bot)
        if way == "typed":
            await bot.slack.command(REF, channel="C0OTHER")
        elif way == "home":
            await home_of(bot)
            await bot.slack.press_home(APPROVE)
        else:
            await bot.slack.press(bot.alert(channel="C0OTHER"), APPROVE)
        await until(bot, lambda: alert.title.startswith("Not confirmed: "), 30)
        assert list(alert.buttons) == [REFRESH]
        assert UNCONFIRMED in said(await home_of(bot))
        bot.together.faults.clear()
        bot.together.on_call.clear()
        await until(bot, lambda: APPROVE in alert.buttons, 180)
        assert alert.title.startswith("Approval needed: ")


async def test_look_elsewhere_while_somebody_decides_leaves_no_doubt_on_the_card() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await home_of(bot)
        bot.together.faults.append(Fault("rpc", verb="approve", code=7))
        other = bot.alert(channel="C0OTHER")
        with bot.together.paused("approve"):
            with bot.together.paused("get"):
                await bot.slack.press(other, REFRESH, user="U0BOB")
                await bot.together.until(lambda: bot.together.is_waiting("get"))
                await bot.slack.press_home(APPROVE)
                await quiet(bot)
            await bot.slack.until(lambda: "has been approving this since" in other.text)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
        await pass_time(bot, 10.0)
        assert UNCONFIRMED not in said(await home_of(bot))
        assert alert.title.startswith("Approval needed: ")


@pytest.mark.parametrize("channel", ["C0OPS", "C0OTHER"])
@pytest.mark.parametrize("is_listed", [True, False])
async def test_doubt_about_what_is_over_leaves_its_card_too(channel: str, *, is_listed: bool) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        if is_listed:
            bot.together.review(IDS, "cancel")
        else:
            bot.together.remediations.clear()
        title = "Cancelled" if is_listed else "No longer listed"
        await card(bot, words=title)
        bot.together.faults += [Fault("cut", verb="cancel"), Fault("rpc", verb="get", code=14, times=-1)]
        await bot.slack.command(REF, channel=channel)
        await card(bot, words="The cancellation may have gone through.")
        bot.together.faults.clear()
        await until(bot, lambda: "may have gone through" not in alert.text, 180)
        assert alert.title.startswith(title)
        await pass_time(bot, 3600)
        bot.together.calls.clear()
        await pass_time(bot, 300)
        assert "get" not in {call.verb for call in bot.together.calls}, "it is asked for no more"


@pytest.mark.parametrize("is_foreign", [True, False])
async def test_decision_that_came_too_late_to_be_sent_leaves_no_doubt_on_the_card(*, is_foreign: bool) -> None:
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        clicked = bot.alert(channel="C0OTHER") if is_foreign else alert
        with bot.together.paused("get"):
            await bot.slack.press(clicked, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        await bot.time.advance(601)
        async with bot.another():
            await until(bot, lambda: "Your approval wasn't sent: the bot couldn't" in str(thread(bot, clicked)), 30)
            await pass_time(bot, 10.0)
            assert UNCONFIRMED not in said(await home_of(bot))
            assert APPROVE in alert.buttons
        assert bot.together.posts == []


async def test_first_of_two_approvals_is_not_called_approved() -> None:
    async with watching(BOT_REASON="always", BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        await card(bot)
        alert = bot.alert()
        await bot.slack.submit(await opened(bot, alert, APPROVE), reason="why")
        await bot.edited(alert)
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        assert "Approved" not in alert.text
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_two_approvals_are_asked_for_announced_and_both_named() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        assert "Needs two approvers." in alert.text
        assert "First of 2 approvals: nothing runs yet." in str(alert.buttons[APPROVE]["confirm"])
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        assert "Second of 2 approvals: the repair starts." in str(alert.buttons[APPROVE]["confirm"])
        said = await until(bot, lambda: thread(bot, alert))
        first = "instance-1: 1 of 2 approvals for Reboot, by <@U0ALICE>. Someone else must approve too."
        assert said == [f"{first} <!subteam^S0ONCALL>"]
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="Approved by <@U0ALICE> and <@U0BOB>")
        await until(bot, lambda: len(thread(bot, alert)) == 2)
        assert "approved by <@U0ALICE> and <@U0BOB>" in thread(bot, alert)[1]


async def test_what_is_not_recorded_is_not_left_on_the_card(tmp_path: Path) -> None:
    async with watching(f"sqlite:///{tmp_path}/bot.db", drain_seconds=0.05, busy_seconds=0.1) as bot:
        bot.together.add()
        alert = await card(bot)
        async with AsyncExitStack() as stack:
            with bot.together.paused("get"):
                await bot.slack.press(alert, APPROVE)
                await bot.together.until(lambda: bot.together.is_waiting("get"))
                await stack.enter_async_context(locked(tmp_path / "bot.db"))
            await bot.slack.until(
                lambda: [message for message in bot.slack.visible() if "may still be sent" in message.text]
            )
        assert "so nothing was sent" in (await bot.reply_privately()).text
        await poll(bot)
        assert bot.together.posts == []
        assert "may still be sent" not in alert.text


async def test_error_line_has_a_time_and_goes_after_an_hour() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="approve", code=3))
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="'s approval: Together calls the request invalid")
        bot.together.faults.append(Fault("rpc", verb="approve", code=7))
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="'s approval: The bot's Together API key can't do that")
        assert "⚠️ <!date^" in alert.text
        await until(bot, lambda: "invalid" not in alert.text)
        assert "API key can't do that" in alert.text
        bot.together.faults.clear()
        await pass_time(bot, 3700)
        assert "API key can't do that" not in alert.text
        assert APPROVE in alert.buttons


async def test_progress_takes_the_place_of_an_older_error() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="approve", code=7))
        await bot.slack.press(alert, APPROVE)
        await poll(bot)
        assert "'s approval: The bot's Together API key can't do that" in alert.text
        with bot.together.paused("cancel"):
            await bot.slack.press(alert, CANCEL)
            await bot.together.until(lambda: bot.together.is_waiting("cancel"))
            await bot.time.advance(1)
            await bot.slack.until(lambda: "is cancelling this" in alert.everything)
            assert "API key can't do that" not in str(alert.blocks)


async def test_cancel_that_arrived_late_is_apparently_theirs() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("cut", verb="cancel"))
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="your cancellation hadn't taken effect")
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled, apparently by <@U0ALICE>")
        told = "instance-1: Reboot cancelled, apparently by <@U0ALICE>"
        await until(bot, lambda: told in " ".join(thread(bot, alert)))


@pytest.mark.parametrize("mode", ["REMEDIATION_MODE_REBOOT_VM", ""])
async def test_button_drawn_for_other_settings_still_asks(tmp_path: Path, mode: str) -> None:
    async with watching(f"sqlite:///{tmp_path}/bot.db", BOT_REASON="always") as bot:
        bot.together.add(mode=mode)
        alert = await card(bot)
        assert "confirm" not in alert.buttons[CANCEL]
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_reason": "never"})):
            await bot.slack.press(alert, CANCEL)
            await bot.slack.until(lambda: bot.slack.views)
            assert bot.together.posts == []


async def test_answer_elsewhere_calls_nobody_again() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        assert calls(await card(bot))
        bot.together.faults.append(Fault("cut", verb="cancel"))
        await bot.slack.command(REF, channel="C0OTHER")
        posted = await bot.answer(2)
        assert posted.channel == "C0OTHER"
        assert not calls(posted)


@pytest.mark.parametrize("count", [48, 49])
async def test_error_on_a_full_alert_keeps_its_buttons(count: int) -> None:
    async with world() as bot:
        bot.together.add()
        (words, row) = as_alert(bot.together.remediations[IDS])
        alert = bot.slack.post_as_tool([*[words] * count, row])
        bot.together.faults.append(Fault("rpc", verb="approve", code=7))
        await bot.slack.press(alert, APPROVE)
        await bot.answer(2)
        assert APPROVE in alert.buttons
        assert "'s approval: The bot's Together API key can't do that" in alert.text


async def test_long_ids_fit_into_the_reason_dialog_and_links_that_are_too_long_are_left_out() -> None:
    links: dict[str, Any] = {
        "BOT_CONSOLE_URL": "https://c/{cluster_id}/{instance_id}/{remediation_id}",
        "BOT_RUNBOOK_URL": "https://w/{xid}",
    }
    async with watching(BOT_REASON="always", **links) as bot:
        events = {"events": [{"xid_code": "79 " * 1000}]}
        bot.together.add(LONG_IDS, linked_alerts=[{"annotation": {"title": "x", "xid": events}}])
        bot.together.clusters[LONG_IDS[0]] = "long"
        await pass_time(bot, 700)
        (alert,) = bot.slack.visible()
        assert list(alert.buttons)[:2] == [APPROVE, CANCEL]
        await bot.slack.press(alert, APPROVE)
        await bot.slack.until(lambda: bot.slack.views)


async def test_blank_reason_is_refused_at_its_field() -> None:
    async with watching(BOT_REASON="always") as bot:
        bot.together.add()
        ack = await bot.slack.submit(await opened(bot, await card(bot), APPROVE), reason="   ")
        assert json.loads(ack.body) == {"response_action": "errors", "errors": {"reason": "Type a reason first."}}
        await quiet(bot)
        assert bot.together.posts == []


def test_json_log_hides_a_secret_in_a_reference(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs("INFO", "json", ["xoxb-123-abcdef"])
    with about_decision("a" * 32, request(ref=RemediationRef("xoxb-123-abcdef", "i", "r"))):
        logging.getLogger("bot").info("Received")
    root.handlers[:], root.level = handlers, level
    assert "xoxb-123-abcdef" not in capsys.readouterr().err


async def test_click_on_a_button_that_is_gone_is_answered_and_asks_no_reason() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        seen = alert.buttons[APPROVE]
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved by <@U0ALICE>")
        await bot.slack.press(alert, APPROVE, user="U0BOB", button=seen)
        await card(bot, words="Already approved by <@U0ALICE>")
        assert bot.slack.views == []
        assert len(bot.together.posts) == 1


async def test_doubt_ends_with_a_reading_and_not_with_time() -> None:
    """The approval took effect, and Together can't be read: buttons that come back would be of an older reading."""
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        bot.together.review(IDS, "approve", bot.together.posts[0].body["comment"])
        bot.together.faults.append(Fault("rpc", code=14, times=-1))
        await pass_time(bot, 1800)
        assert list(alert.buttons) == [REFRESH]
        bot.together.faults.clear()
        await card(bot, words="Approved by <@U0ALICE>")


async def test_doubt_about_what_never_arrived_ends_once_it_is_read() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        await pass_time(bot, 50)
        assert list(alert.buttons) == [REFRESH]
        await pass_time(bot, 60)
        assert APPROVE in alert.buttons
        assert "hadn't taken effect" not in alert.text


async def test_list_alone_ends_no_doubt() -> None:
    """It may lag behind, or come from before the decision arrived."""
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
        await pass_time(bot, 1800)
        assert list(alert.buttons) == [REFRESH]
        bot.together.faults.clear()
        await bot.slack.press(alert, REFRESH, user="U0BOB")
        await until(bot, lambda: APPROVE in alert.buttons, 0)
        await until(bot, lambda: NOTHING_CAME_OF_IT in thread(bot, alert), 30)


async def test_slow_look_that_began_before_a_doubt_was_over_ends_it_not() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await pass_time(bot, 59)
        bot.together.on_call["get"] = partial(setattr, bot.time, "seconds", bot.time.seconds + 3)  # while it is asked
        await bot.slack.press(alert, REFRESH, user="U0BOB")
        await until(bot, lambda: "no change yet" in alert.text, 0)
        assert list(alert.buttons) == [REFRESH]


async def test_approval_is_not_denied_while_nobody_knows_what_the_state_means() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("cut", verb="approve"))
        bot.together.on_call["approve"] = lambda: bot.together.remediations[IDS].update(state="VALIDATING")
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="your approval hadn't taken effect")
        await pass_time(bot, 180.0)
        assert "hadn't taken effect" not in alert.text
        assert APPROVE not in alert.buttons
        assert "Decide again" not in str(thread(bot, alert))


async def test_newer_doubt_outlives_an_older_one() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        await pass_time(bot, 50)
        assert list(alert.buttons) == [REFRESH]
        bot.together.faults.append(Fault("cut", verb="cancel"))
        unread = Fault("rpc", verb="get", code=14, times=-1)
        bot.together.on_call["cancel"] = lambda: bot.together.faults.append(unread)
        await bot.slack.command(REF, user="U0BOB")
        await until(bot, lambda: "cancellation may have gone" in str([e.everything for e in bot.slack.visible()]), 30)
        told_at = bot.time.seconds
        bot.together.on_call.clear()
        bot.together.faults.clear()
        await until(bot, lambda: APPROVE in alert.buttons, 200)
        assert bot.time.seconds - told_at >= 60
        both = "<@U0ALICE>, your approval hasn't taken effect. <@U0BOB>, your cancellation hasn't taken effect."
        assert f"instance-1: {both} Decide again." in thread(bot, alert)


async def test_own_approval_before_the_alert_cleared_is_not_denied() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        cleared = {"state": "AUTO_RESOLVED", "end_time": bot.together.remediations[IDS]["create_time"]}
        bot.together.on_call["get"] = lambda: bot.together.remediations[IDS].update(
            cleared if bot.together.posts else {}
        )
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "your approval went through, and then the alert cleared" in alert.text
        assert "Not approved" not in alert.text


async def test_typed_cancellation_is_not_denied_where_its_remediation_opened_again_seconds_later() -> None:
    async with world() as bot:
        bot.together.add()
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        again = datetime.fromtimestamp(bot.time.now() + 8, UTC).isoformat()
        later = {"state": "AUTO_RESOLVED", "create_time": again, "end_time": again}

        def open_again() -> None:
            bot.time.seconds += 10
            bot.together.remediations[IDS].update(later)

        bot.together.on_call["get"] = open_again
        await bot.slack.command(REF)
        told = await bot.answer()
        assert "your cancellation may have gone through" in told.text
        assert "Not cancelled" not in told.text


@pytest.mark.parametrize(("state", "says"), [("AUTO_RESOLVED", "recovered on its own"), ("PENDING_APPROVAL", "Reboot")])
async def test_nothing_is_denied_of_what_has_ended_and_opened_again_since(state: str, says: str) -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))

        def open_again() -> None:
            if bot.together.posts:
                again = datetime.fromtimestamp(bot.time.now() + 90, UTC).isoformat()
                kept = bot.together.remediations[IDS]
                kept.pop("end_time", None)
                kept.update(state=state, create_time=again, update_time=again)

        bot.together.on_call["get"] = open_again
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert (
            "your cancellation may have gone through: the remediation has ended and opened again since." in alert.text
        )
        assert "Not cancelled" not in alert.text
        assert says in alert.text
        assert await outcomes_by_user(bot) == [("U0ALICE", "opened_again")]


async def test_cancellation_that_was_only_read_back_is_apparently_theirs() -> None:
    """It never arrived, and somebody cancelled in Together's console since."""
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="cancel"))

        def in_the_console() -> None:
            if bot.together.posts and bot.together.state(IDS) == "PENDING_APPROVAL":
                bot.together.review(IDS, "cancel")

        bot.together.on_call["get"] = in_the_console
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert "Cancelled, apparently by <@U0ALICE>" in alert.text


async def test_line_that_points_at_the_card_is_no_surer_than_the_card() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.command(REF)
        await card(bot, words="Cancelled, apparently by <@U0ALICE>")
        told = "gpu-node-7: cancelled, apparently by <@U0ALICE>."
        await until(bot, lambda: [message for message in bot.slack.visible() if message.text.startswith(told)])


@pytest.mark.parametrize("way", ["command", "click"])
async def test_cancellation_that_may_be_somebodys_is_apparently_theirs_to_who_comes_later(way: str) -> None:
    async with world() as bot:
        bot.together.add()
        alert, later = bot.alert(), bot.alert()
        bot.together.faults.append(Fault("rpc", verb="cancel", code=14))
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert)
        bot.together.review(IDS, "cancel")  # in the console
        await (bot.slack.command(REF) if way == "command" else bot.slack.press(later, CANCEL))
        told = "lready cancelled, apparently by <@U0BOB>"
        await bot.slack.until(lambda: [message for message in bot.slack.visible() if told in message.text])


async def test_cancellation_that_was_only_read_back_stays_apparently_theirs() -> None:
    async with world() as bot:
        bot.together.add()
        alert, later = bot.alert(), bot.alert()
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.slack.until(lambda: "Cancelled, apparently by <@U0BOB>" in alert.text)
        await bot.slack.press(later, CANCEL)
        await bot.slack.until(lambda: "lready cancelled, apparently by <@U0BOB>" in later.text)
        assert "Cancelled, apparently by <@U0BOB>" in later.text


async def test_rejection_is_not_called_a_cancellation_to_who_comes_later() -> None:
    async with world() as bot:
        bot.together.add()
        alert, later = bot.alert(), bot.alert()
        await bot.slack.press(alert, REJECT, user="U0BOB")
        await bot.slack.until(lambda: "Rejected by <@U0BOB>" in alert.text)
        await bot.slack.press(later, CANCEL)
        await bot.slack.until(lambda: "Already rejected by <@U0BOB>" in later.text)


async def failed_late(bot: World, verb: str, words: str) -> tuple[Posted, int]:
    """Let Bob decide while no list can be read, and Alice fail to cancel later. Returns the card, and when Bob did."""
    bot.together.add()
    alert = await card(bot)
    seen = alert.controls[CANCEL]
    bot.together.faults.append(Fault("html", verb="list", status=500, times=-1))
    await bot.slack.press(alert, verb, user="U0BOB")
    await card(bot, words=words)
    decided_at = int(bot.time.now())
    await pass_time(bot, 100)
    unreadable(bot)
    await bot.slack.press(alert, CANCEL, button=seen)
    await card(bot, words="cancellation wasn't sent")
    return alert, decided_at


async def test_error_of_a_late_click_does_not_make_a_decided_card_wait_again() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        alert, _ = await failed_late(bot, CANCEL, "Cancelled by <@U0BOB>")
        await pass_time(bot, 600)
        assert "Cancelled: reboot" in alert.text
        assert "Approv" not in alert.text


async def test_error_of_a_late_click_does_not_take_the_approval_out_of_the_title() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        alert, _ = await failed_late(bot, APPROVE, "Approved by <@U0BOB>")
        await pass_time(bot, 600)
        assert "Approved, queued: reboot" in alert.text


async def test_click_that_failed_confirms_nothing() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        alert, decided_at = await failed_late(bot, APPROVE, "Approved by <@U0BOB>")
        await pass_time(bot, 600)
        assert f"Last confirmed <!date^{decided_at}^" in alert.text


async def test_who_cancelled_learns_that_it_runs_though_a_late_click_failed_and_its_error_is_over() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        alert, _ = await failed_late(bot, CANCEL, "Cancelled by <@U0BOB>")
        await pass_time(bot, 4000)
        bot.together.remediations[IDS]["state"] = "RUNNING"
        bot.together.faults.clear()
        went_on = "Together went on with this although <@U0BOB> cancelled it."
        await until(bot, lambda: went_on in " ".join(thread(bot, alert)), 600)


async def test_approval_of_a_later_incident_is_not_the_first_ones() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved by <@U0ALICE>")
        bot.together.advance(IDS)
        await poll(bot)
        bot.together.fail(IDS, "it broke")
        await poll(bot)
        await pass_time(bot, 3600)
        fields = bot.together.remediations[IDS]
        fields["state"] = "PENDING_APPROVAL"
        for name in ("review_time", "reviewed_by", "review_comment", "start_time"):
            fields.pop(name, None)
        await pass_time(bot, 3660)
        bot.together.review(IDS, "approve", "I looked at it")
        await pass_time(bot, 60)
        assert not [message.text for message in bot.slack.visible() if "Approved by <@U0ALICE>" in message.text]
        assert not [line for line in thread(bot, alert)[2:] if "approved by <@U0ALICE>" in line]


async def test_older_answer_that_slack_took_late_does_not_stay_over_a_newer_one(database_url: str) -> None:
    async with watching(database=database_url, BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}
        bot.slack.faults.append(SlackFault("chat.update", "ratelimited", retry_after=7))
        await bot.slack.press(alert, APPROVE)
        await quiet(bot)
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await quiet(bot)
        assert "Cancelled by <@U0BOB>" in alert.text
        await pass_time(bot, 60)
        assert "Cancelled by <@U0BOB>" in alert.text, alert.text
        assert set(alert.buttons).isdisjoint({APPROVE, CANCEL})


async def test_late_cancellation_of_what_a_selection_has_approved_since_is_named() -> None:
    async with watching() as bot:
        await began(bot)
        first, *_ = storm(bot, 6)
        message = await digest(bot)
        bot.together.faults.append(Fault("cut", verb="cancel"))
        await bot.slack.command("/".join(first))
        await pass_time(bot, 15)
        await bot.slack.submit(await choose(bot, message, user="U0BOB"), user="U0BOB")
        await digest(bot, "6 of 6 approved")
        await pass_time(bot, 30)
        bot.together.review(first, "cancel")  # it arrives
        told = await until(bot, lambda: [line for line in thread(bot, message) if "gpu-node-0000: Reboot" in line])
        assert told[0].startswith("gpu-node-0000: Reboot cancelled, apparently by <@U0ALICE> after ")
        await pass_time(bot, 300)
        assert len([line for line in thread(bot, message) if "gpu-node-0000: " in line]) == 1


@pytest.mark.parametrize("through_slack", [True, False])
async def test_approved_repair_of_a_digest_that_is_cancelled_is_named(*, through_slack: bool) -> None:
    async with watching() as bot:
        await began(bot)
        first, *_ = storm(bot, 6)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message, user="U0BOB"), user="U0BOB")
        await digest(bot, "6 of 6 approved")
        await pass_time(bot, 30)
        if through_slack:
            await bot.slack.command("/".join(first))
        else:
            bot.together.review(first, "cancel")
        by = "by <@U0ALICE>" if through_slack else "in Together"
        await until(
            bot, lambda: any(f"gpu-node-0000: Reboot cancelled {by} after" in line for line in thread(bot, message))
        )


async def in_doubt(bot: World, *nodes: str) -> Posted:
    """Approve some nodes of a storm; of the first, Together's answer leaves a doubt."""
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.submit(await choose(bot, message, *nodes))
    return await digest(bot, "but it still might")


async def test_digest_says_that_a_decision_may_still_take_effect_only_as_long_as_it_may() -> None:
    async with watching() as bot:
        message = await in_doubt(bot, "gpu-node-0001", "gpu-node-0002")
        assert "1 of 2 approved · 1 unclear · " in message.everything
        assert "skipped" not in message.everything
        await pass_time(bot, 180)
        assert "gpu-node-0000–0001" in message.text, "it waits"
        assert "still might" not in message.everything
        assert "1 of 2 approved · 1 unclear · " in message.everything


async def test_dialogs_of_a_review_say_which_decision_may_still_take_effect() -> None:
    async with watching() as bot:
        message = await in_doubt(bot, "gpu-node-0001")
        for view in (await review(bot, message, user="U0BOB"), await choose(bot, message, user="U0BOB")):
            lines = [line for block in view["blocks"] if block["type"] == "rich_text" for line in block["elements"]]
            (told,) = [line["elements"] for line in lines if "Not confirmed" in str(line)]
            assert [each["text"] for each in told] == ["Not confirmed, may still take effect (1): ", "gpu-node-0001"]
        others = await choose(bot, message, "gpu-node-0002", user="U0BOB")
        assert "Not confirmed" not in str(others)
        await pass_time(bot, 180)
        assert "Not confirmed" not in str(await review(bot, message, user="U0BOB"))


@pytest.mark.parametrize("is_answered", [True, False])
async def test_review_names_what_somebody_decides_or_has_decided_in_doubt_elsewhere(*, is_answered: bool) -> None:
    async with watching() as bot:
        await began(bot)
        ids = storm(bot, 6)
        message = await digest(bot)
        bot.together.faults += [Fault("cut", verb="cancel")] if is_answered else []
        with bot.together.paused("nothing" if is_answered else "cancel"):
            await bot.slack.command("/".join(ids[1]), user="U0BOB")
            await bot.together.until(lambda: bot.together.posts)
            if is_answered:
                await until(
                    bot, lambda: [message for message in bot.slack.visible() if "it still might" in message.text]
                )
            view = str(await review(bot, message))
        assert "Not confirmed, may still take effect (1): " in view


@pytest.mark.parametrize("is_answered", [True, False])
async def test_nobody_is_reminded_of_what_somebody_decides_or_has_decided_in_doubt(*, is_answered: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        ids, *others = storm(bot, 6)
        message = await digest(bot)
        await poll(bot)
        for each in others:
            bot.together.review(each, "cancel")
        await pass_time(bot, 15 * 60 - 5 - (bot.time.now() - float(message.ts)))
        assert thread(bot, message) == []
        bot.together.faults += [Fault("cut", verb="cancel")] if is_answered else []
        with bot.together.paused("nothing" if is_answered else "cancel"):
            await bot.slack.command("/".join(ids), user="U0BOB")
            await bot.together.until(lambda: bot.together.posts)
            await pass_time(bot, 12, longest=0)
            assert thread(bot, message) == []
        if is_answered:
            reminded = "1 node in cluster-1 (H100) has waited"
            await until(bot, lambda: any(line.startswith(reminded) for line in thread(bot, message)), 180)


async def test_first_card_says_that_a_decision_on_another_tools_alert_is_in_doubt() -> None:
    async with watching(BOT_ONCALL="U0BOB") as bot:
        await began(bot)
        bot.together.add(instance_name="gpu-node-7")
        theirs = bot.alert(channel="C0OTHER")
        bot.together.faults.append(Fault("cut", verb="approve"))
        await bot.slack.press(theirs, APPROVE)
        await until(bot, lambda: "it still might" in theirs.text, 10)
        assert not bot.slack.cards(IDS[2])
        alert = await card(bot)
        assert APPROVE not in alert.controls
        await until(bot, lambda: APPROVE in alert.controls, 600)


async def test_doubt_is_told_to_others_where_nothing_is_watched() -> None:
    async with watching(BOT_ALERT_CHANNEL="") as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="approve"))
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "it still might" in alert.text)
        asked = await bot.slack.say("<@U0BOT> approve gpu-node-7", user="U0BOB")
        (answer,) = await bot.slack.until(lambda: bot.slack.replies(asked))
        assert "Nothing has been sent" not in answer.text
        view = await home_of(bot, "U0BOB")
        assert APPROVE not in said(view)
        await bot.slack.command("status gpu-node-7", user="U0BOB")
        assert "Somebody has decided" in (await bot.reply_privately("U0BOB")).everything
