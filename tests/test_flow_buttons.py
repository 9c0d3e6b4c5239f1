"""A click in, Slack calls out."""

import json
from typing import Any

import pytest

from bot.models import token_of
from tests.rows import column, outcomes_by_user
from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, IDS, REFRESH, REJECT, World, both_transports


@both_transports
async def test_click_approves_what_was_shown(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    assert (await bot.slack.press(alert, APPROVE)).status == 200
    await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert bot.together.posts[0].body == {
        "comment": f"[{token_of(await column(bot, 'id'))}] Approved in Slack by alice (U0ALICE)",
        "mode": "REMEDIATION_MODE_REBOOT_VM",
    }
    assert "Approved, queued: reboot" in alert.text
    assert list(alert.buttons) == [CANCEL]
    await bot.settle()
    assert len(bot.slack.messages) == 1


@pytest.mark.parametrize("action", [REJECT, CANCEL])
async def test_click_rejects_or_cancels(bot: World, action: str) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, action, user="U0BOB")
    await bot.edited(alert)
    assert bot.together.state(IDS) == "CANCELLED"
    assert [call.verb for call in bot.together.posts] == [action.partition(":")[2]]
    assert "by <@U0BOB>" in alert.text
    assert alert.buttons == {}


async def test_approved_repair_can_be_cancelled_from_its_card(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert, 2)
    assert bot.together.state(IDS) == "CANCELLED"
    assert "Cancelled: reboot" in alert.text


async def test_check_again_reads_and_redraws(bot: World) -> None:
    bot.together.add(state="RUNNING")
    alert = bot.alert()
    await bot.slack.press(alert, REFRESH, user="U0CAROL")
    await bot.edited(alert)
    assert "Rebooting" in alert.text
    assert bot.together.posts == []


@pytest.mark.parametrize("action", [APPROVE, CANCEL, REJECT])
async def test_changed_mode_is_shown_and_nothing_is_sent(bot: World, action: str) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.escalate(IDS, "REMEDIATION_MODE_HOST_AWARE")
    await bot.slack.press(alert, action)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "the repair changed from “Reboot” to “Migrate to new host”. Review it and" in alert.text
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert, 2)
    assert bot.together.remediations[IDS]["mode"] == "REMEDIATION_MODE_HOST_AWARE"
    assert bot.together.state(IDS) == "PENDING"


async def test_cancel_is_not_sent_when_a_colleague_approved_meanwhile(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "cancellation wasn't sent: the state changed from “Waiting for approval” to “Queued”" in alert.text
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert, 2)
    assert bot.together.state(IDS) == "CANCELLED"


async def test_auto_resolved_remediation_is_not_called_denied(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.resolve(IDS)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "to “Resolved on its own”. There's nothing left to decide." in alert.text
    assert alert.buttons == {}


async def test_state_of_tomorrow_is_not_called_over(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.remediations[IDS]["state"] = "SCHEDULED"
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "to “State SCHEDULED”. Check it in Together." in alert.text


async def test_power_cycle_is_approved_without_naming_the_mode(bot: World) -> None:
    bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert "mode" not in bot.together.posts[0].body


async def test_button_without_mode_shows_the_card_before_it_approves(bot: World) -> None:
    bot.together.add()
    alert = bot.alert(mode=None, state=None)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "the alert didn't say which repair would run. It's “Reboot”." in alert.text
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert, 2)
    assert bot.together.state(IDS) == "PENDING"


async def test_button_without_mode_and_state_cancels_what_still_waits(bot: World) -> None:
    bot.together.add()
    alert = bot.alert(mode=None, state=None)
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.state(IDS) == "CANCELLED"


async def test_button_without_state_does_not_cancel_what_was_approved(bot: World) -> None:
    bot.together.add()
    alert = bot.alert(mode=None, state=None)
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert bot.together.state(IDS) == "PENDING"


async def test_button_on_a_running_repair_sends_nothing(bot: World) -> None:
    bot.together.add(state="RUNNING")
    alert = bot.alert()
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert bot.together.posts == []
    assert "it's already “Running” and can't be cancelled. There's nothing left to decide." in alert.text


async def test_mode_that_changed_during_the_approval_is_reported(bot: World) -> None:
    bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
    alert = bot.alert()
    bot.together.on_call["approve"] = lambda: bot.together.escalate(IDS, "REMEDIATION_MODE_HOST_AWARE")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved, but the repair is now “Migrate to new host”. You approved “Power cycle”." in alert.text


async def test_approval_during_the_cancellation_is_reported(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()

    def approve_first() -> None:
        bot.time.seconds += 2.0
        bot.together.review(IDS, "approve")
        bot.time.seconds += 1.0  # what ends with its review, in one moment, was rejected

    bot.together.on_call["cancel"] = approve_first
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert "This had already been approved. Let the approver know it's cancelled." in alert.text


async def test_approval_of_an_earlier_incident_is_not_said_of_the_one_that_is_cancelled(bot: World) -> None:
    """Of this one, Together says when the one before it ended, and not when it was suggested."""
    ended, reviewed = "2026-11-24T02:00:00Z", "2026-11-23T03:00:00Z"
    bot.together.add(create_time=None, end_time=ended, reviewed_by="sam", review_time=reviewed)
    alert = bot.alert()
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert "Cancelled by <@U0ALICE>" in alert.text
    assert "already been approved" not in alert.text


async def test_error_of_a_click_goes_to_its_thread_and_leaves_the_card(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="approve", code=7, message="no *permission* <!here>"))
    await bot.slack.press(alert, APPROVE)
    error = await bot.answer(2)
    assert error.thread_ts == alert.ts
    assert "<@U0ALICE>" in error.text
    assert "The bot's Together API key can't do that (HTTP 403). Nothing changed." in error.text
    assert "no *permission* <!here>" in error.everything  # drawn literally
    assert alert.edits == 1
    assert "<@U0ALICE>'s approval: The bot's Together API key can't do that" in alert.text


async def test_card_says_whose_approval_was_not_sent_since_everyone_reads_it(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="get", code=5))
    await bot.slack.press(alert, APPROVE)
    assert "Your approval wasn't sent" in (await bot.answer(2)).text
    assert ": <@U0ALICE>'s approval wasn't sent. Together has no such remediation" in alert.text
    assert "Your" not in alert.text


async def test_error_of_a_click_in_a_thread_stays_in_that_thread(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.thread_ts = "1.0"
    bot.together.faults.append(Fault("rpc", verb="get", code=5))
    await bot.slack.press(alert, APPROVE)
    error = await bot.answer(2)
    assert error.thread_ts == "1.0"
    assert "Your approval wasn't sent" in error.text


async def test_buttons_in_an_attachment_are_removed_too(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.attachments, alert.blocks = [{"color": "danger", "blocks": alert.blocks}], []
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert list(alert.buttons) == [CANCEL]
    assert "GPU has fallen off the bus" in str(alert.attachments)  # the alert's own words stay


@pytest.mark.parametrize("value", ["", "x", "[]", '{"cluster_id":"c"}', json.dumps({
    "cluster_id": "c", "instance_id": "..", "remediation_id": "r"}), json.dumps({
    "cluster_id": "c", "instance_id": "i", "remediation_id": "r", "mode": 5})])  # fmt: skip
async def test_unreadable_button_is_reported_privately(bot: World, value: str) -> None:
    button = {"type": "button", "action_id": APPROVE, "text": {"type": "plain_text", "text": "x"}, "value": value}
    alert = bot.slack.post_as_tool([{"type": "actions", "elements": [button]}])
    await bot.slack.press(alert, APPROVE)
    assert "This button doesn't work" in (await bot.reply_privately()).text
    assert bot.together.calls == []


async def test_deeply_nested_button_value_is_unreadable(bot: World) -> None:
    payload = bot.slack.click(bot_alert(bot), APPROVE)
    payload["actions"][0]["value"] = "[" * 100_000
    await bot.slack.deliver("interactive", payload)
    assert "This button doesn't work" in (await bot.reply_privately()).text


def bot_alert(bot: World) -> Any:
    bot.together.add()
    return bot.alert()


async def test_odd_blocks_in_the_clicked_message_do_no_harm(bot: World) -> None:
    alert = bot_alert(bot)
    payload = bot.slack.click(alert, APPROVE)
    payload["message"] |= {"blocks": [None, *payload["message"]["blocks"]], "attachments": [None]}
    with bot.together.paused("approve"):
        await bot.slack.deliver("interactive", payload)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        await bot.edited(alert)
    await bot.edited(alert, 2)
    assert "Approved, queued" in alert.text


@pytest.mark.parametrize(("action", "done"), [(APPROVE, "approved"), (CANCEL, "cancelled")])
async def test_second_click_does_not_take_back_what_the_first_showed(bot: World, action: str, done: str) -> None:
    bot.together.add()
    alert = bot.alert()
    second = bot.slack.click(alert, action)
    await bot.slack.press(alert, action)
    await bot.edited(alert)
    await bot.slack.deliver("interactive", second)
    await bot.edited(alert, 2)
    assert f"Already {done} by <@U0ALICE>, " in alert.text
    assert f"{done.capitalize()} by <@U0ALICE>, " in alert.text
    assert len(bot.together.posts) == 1


async def test_refreshed_card_still_names_who_decided(bot: World) -> None:
    bot.together.add()
    alert, other = bot.alert(), bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await bot.slack.press(other, REFRESH, user="U0CAROL")
    await bot.edited(other)
    assert "Approved by <@U0ALICE>" in other.everything


async def test_zero_review_time_is_not_a_review(bot: World) -> None:
    bot.together.add(state="PENDING", review_time="0001-01-01T00:00:00Z")
    alert = bot.alert()
    await bot.slack.press(alert, REFRESH)
    await bot.edited(alert)
    assert "Queued: reboot" in alert.text


@pytest.mark.parametrize("odd", ["\0", "\ud83d", "\u202e", "x" * 201])
async def test_button_value_with_odd_characters_is_refused_at_the_door(bot: World, odd: str) -> None:
    bot.together.add()
    alert = bot.alert()
    payload = bot.slack.click(alert, APPROVE)
    payload["actions"][0]["value"] = json.dumps({**json.loads(payload["actions"][0]["value"]), "mode": f"M{odd}"})
    assert (await bot.slack.deliver("interactive", payload)).status == 200
    assert "This button doesn't work" in (await bot.reply_privately()).text
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]
