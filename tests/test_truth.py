"""Answers name the right person, claim no effect that is not theirs, and never overwrite the truth."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.clock import Pause
from tests.simulator.slack import SlackFault
from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, world


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with world() as running:
        yield running


async def test_what_was_cancelled_days_ago_was_not_cancelled_by_you(bot: World) -> None:
    bot.together.add(state="CANCELLED", end_time="2026-11-20T00:00:00Z")
    bot.together.faults.append(Fault("rpc", verb="cancel", code=14))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Nothing left to do: it was already cancelled." in card.text
    assert "in Slack by" not in card.text


async def test_a_colleagues_rejection_is_not_your_cancellation(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.on_call["cancel"] = lambda: bot.together.review(IDS, "reject", "from the console")
    bot.together.faults.append(Fault("cut", verb="cancel"))
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    assert "Nothing left to do: it was already cancelled." in alert.text
    assert "in Slack by" not in alert.text


async def test_an_approval_without_a_comment_is_not_yours(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.on_call["approve"] = lambda: bot.together.review(IDS, "approve")
    bot.together.faults.append(Fault("cut", verb="approve"))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Nothing left to do: it was already approved by web-user@example.com." in alert.text


async def test_your_approval_that_was_cancelled_since_took_effect(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("cut", verb="approve", after=True))
    reads = iter(["before"])
    bot.together.on_call["get"] = lambda: None if next(reads, None) else bot.together.review(IDS, "cancel")
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Your approval took effect, but it was cancelled since." in alert.text


async def test_the_reviewer_is_not_called_the_canceller(bot: World) -> None:
    bot.together.add()
    bot.together.review(IDS, "approve", by="bob@example.com")
    bot.together.review(IDS, "cancel", by="carol@example.com")
    await bot.slack.command(REF)
    assert "it was already cancelled. " in (await bot.answer()).text


async def test_a_command_that_cancels_an_approved_repair_says_so(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert)
    await bot.slack.command(REF)
    assert "It had been approved before it was cancelled. Tell whoever approved it." in (await bot.answer(2)).text


@pytest.mark.parametrize(("action", "done"), [(APPROVE, "approved"), (CANCEL, "cancelled")])
async def test_an_impatient_second_click_takes_nothing_back(bot: World, action: str, done: str) -> None:
    bot.together.add()
    alert = bot.alert()
    second = bot.slack.click(alert, action)
    await bot.slack.press(alert, action)
    await bot.edited(alert)
    await bot.slack.deliver("interactive", second)
    await bot.edited(alert, 2)
    assert f"Nothing left to do: it was already {done} by <@U0ALICE> in Slack." in alert.text
    assert f"{done.capitalize()} in Slack by <@U0ALICE>" in alert.everything
    assert len(bot.together.posts) == 1


async def test_a_card_that_is_looked_at_again_still_names_who_decided(bot: World) -> None:
    bot.together.add()
    alert, other = bot.alert(), bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await bot.slack.press(other, REFRESH, user="U0CAROL")
    await bot.edited(other)
    assert "Approved in Slack by <@U0ALICE>" in other.everything


async def test_a_slow_look_does_not_overwrite_a_decision(bot: World) -> None:
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
    assert "knows no such remediation" in error.text
    assert alert.edits == 0


async def test_whoever_cannot_be_shown_progress_is_shown_the_answer(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.by = "U0OTHERBOT"
    bot.together.faults.append(Fault("rpc", verb="approve", code=7))
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        await bot.slack.until(lambda: "chat.update" in [method for method, _ in bot.slack.calls])
    await bot.answer(2)
    assert (alert.text, alert.edits) == ("alert", 0)


async def test_progress_waits_for_no_rate_limit(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.slack.faults.append(SlackFault("chat.update", "ratelimited", retry_after=7))
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        await bot.slack.until(lambda: "chat.update" in [method for method, _ in bot.slack.calls])
    await bot.edited(alert)
    assert "Approved, queued to start" in alert.text
    assert bot.time.slept(Pause.SLACK_LIMIT) == []


async def test_a_private_word_that_was_heard_is_no_error_in_the_log(
    bot: World, caplog: pytest.LogCaptureFixture
) -> None:
    bot.together.add()
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL")
    await bot.whisper("U0CAROL")
    await bot.settle()
    assert "Could not answer" not in caplog.text


@pytest.mark.parametrize("kind", ["text", "list", "bytes"])
async def test_an_odd_answer_of_slack_does_not_swallow_ours(bot: World, kind: str) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("chat.postMessage", kind))
    await bot.slack.command(REF)
    assert "Cancelled: Reboot VM" in (await bot.answer()).text


@pytest.mark.parametrize("url", ["https://[oops", 5, "https://hooks.slack.com.evil.example/x"])
async def test_an_odd_response_url_does_not_swallow_an_answer(bot: World, url: Any) -> None:
    bot.together.add()
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL", response_url=url)
    assert "You may not approve" in (await bot.whisper("U0CAROL")).text


async def test_an_odd_button_value_is_unreadable(bot: World) -> None:
    payload = bot.slack.click(bot_alert(bot), APPROVE)
    payload["actions"][0]["value"] = "[" * 100_000
    await bot.slack.deliver("interactive", payload)
    assert "This button cannot be read" in (await bot.whisper()).text


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
    assert "Approved, queued to start" in alert.text


async def test_a_link_in_an_attachment_is_a_link(bot: World) -> None:
    button = {
        "type": "button",
        "action_id": "x",
        "text": {"type": "plain_text", "text": "x"},
        "url": "https://x.example",
    }
    message = bot.slack.post_as_tool([], attachments=[{"blocks": [{"type": "actions", "elements": [button]}]}])
    assert (await bot.slack.press(message, "x")).status == 200
    await bot.settle()
    assert len(bot.slack.messages) == 1


@pytest.mark.parametrize("body", [b"payload=[1]", b'payload="x"', b"payload=null", b"payload=" + b"[" * 5000])
async def test_a_forged_body_that_is_no_object_is_401(bot: World, body: bytes) -> None:
    assert (await bot.slack.post_signed(body, x_slack_signature="v0=forged")).status == 401


async def test_a_legacy_dialog_is_acked_and_answered(bot: World) -> None:
    payload = {"type": "dialog_submission", "callback_id": "x", "team": {"id": "T0HOME"}, "user": {"id": "U0ALICE"}}
    assert (await bot.slack.deliver("interactive", {**payload, "submission": {}, "action_ts": "1"})).status == 200
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))


async def test_a_zero_review_time_is_no_review(bot: World) -> None:
    bot.together.add(state="PENDING", review_time="0001-01-01T00:00:00Z")
    alert = bot.alert()
    await bot.slack.press(alert, REFRESH)
    await bot.edited(alert)
    assert "Queued to start: Reboot VM" in alert.text
