"""How an answer reaches its reader when Slack doesn't take it the first way."""

import asyncio
from typing import Any

import pytest

from bot.clock import WaitReason
from tests.manual_clock import HANGS_AFTER
from tests.rows import column
from tests.simulator.slack import Posted, SlackFault
from tests.simulator.together import Fault
from tests.watch import pass_time
from tests.world import APPROVE, CANCEL, REF, World, both_transports, button_row


@both_transports
async def test_ephemeral_card_is_changed_through_response_url(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.only_for = "U0ALICE"
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved, queued" in alert.text
    bot.together.faults.append(Fault("rpc", verb="get", code=5))
    await bot.slack.press(alert, CANCEL)
    assert "Your cancellation wasn't sent" in (await bot.reply_privately("U0ALICE", 2)).text
    assert bot.slack.visible() == []


async def test_answer_goes_through_response_url_where_the_bot_may_not_post(bot: World) -> None:
    bot.together.add()
    bot.slack.channels["C0OPS"].bot_may_post = False
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Cancelled: reboot" in card.text
    assert card.channel == "C0OPS"


async def test_person_gets_a_direct_message_where_nothing_else_works(bot: World) -> None:
    bot.together.add()
    bot.slack.channels["C0OPS"].bot_may_post = False
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.command(REF)
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert "Cancelled: reboot" in bot.slack.direct("U0ALICE")[0].text


async def test_private_answer_falls_back_to_an_ephemeral_message(bot: World) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL")
    told = await bot.reply_privately("U0CAROL")
    assert "Only operators can do this." in told.text
    assert told.thread_ts is None, "Slack shows it in a thread only while that is active (docs.slack.dev)"


async def test_refusal_is_told_once_slack_can_be_reached_again(bot: World) -> None:
    ways = "response_url", "chat.postEphemeral", "chat.postMessage"
    bot.slack.faults += [SlackFault(way, "down", times=2) for way in ways]
    button = {"type": "button", "action_id": APPROVE, "text": {"type": "plain_text", "text": "x"}, "value": "x"}
    alert = bot.slack.post_as_tool([{"type": "actions", "elements": [button]}])
    await bot.slack.press(alert, APPROVE)
    for _ in range(2):
        await bot.time.until_sleeping(WaitReason.TELL_AGAIN)
        await bot.time.advance(10)
    assert "This button doesn't work" in (await bot.reply_privately()).text


async def test_update_that_slack_refuses_becomes_a_reply(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.by = "U0OTHERBOT"
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.press(alert, APPROVE)
    reply = await bot.answer(2)
    assert reply.thread_ts == alert.ts
    assert "Approved, queued" in reply.text


async def test_blocks_that_slack_refuses_are_sent_as_text(bot: World) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("chat.postMessage", "invalid_blocks", times=2))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Cancelled: reboot" in card.text
    assert card.blocks == []


async def test_blocks_that_slack_refuses_are_not_sent_again_after_a_rate_limit(bot: World) -> None:
    class RefusedBlocks(SlackFault):
        def strikes(self, method: str, body: dict[str, Any]) -> bool:
            return super().strikes(method, body) and "blocks" in body

    bot.together.add()
    bot.slack.faults.append(RefusedBlocks("chat.postMessage", "invalid_blocks", times=-1))
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=7))
    await bot.slack.command(REF)
    assert "Cancelled: reboot" in (await bot.answer()).text
    assert bot.time.slept(WaitReason.SLACK_LIMIT) == [7.0]
    posts = [body for method, body in bot.slack.calls if method == "chat.postMessage"]
    assert ["blocks" in post for post in posts[-2:]] == [False, False]


async def test_other_tools_alert_keeps_its_folded_words(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    alert.by = "U0OTHERBOT"
    inside = [{"type": "context", "elements": [{"type": "plain_text", "text": "step 1"}]}]
    alert.blocks.append({
        "type": "container", "title": {"type": "plain_text", "text": "Runbook"}, "child_blocks": inside,
    })  # fmt: skip
    await bot.slack.press(alert, APPROVE)
    await bot.slack.until(lambda: "Approved" in alert.text)
    assert "Runbook" in alert.everything


async def test_slack_rate_limit_is_waited_out(bot: World) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=7, times=2))
    await bot.slack.command(REF)
    await bot.answer()
    assert bot.time.slept(WaitReason.SLACK_LIMIT) == [7.0, 7.0]


@pytest.mark.parametrize("fault", [
    SlackFault("chat.postMessage", "ratelimited", retry_after=60),
    SlackFault("chat.postMessage", "ratelimited", retry_after=2, times=3),
    SlackFault("chat.postMessage", "html"),
    SlackFault("chat.postMessage", "drop"),
    SlackFault("chat.postMessage", "is_archived"),
], ids=["long", "again", "html", "drop", "archived"])  # fmt: skip
async def test_another_way_is_taken_when_slack_cannot_post(bot: World, fault: SlackFault) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault(**vars(fault)))
    await bot.slack.command(REF)
    assert "Cancelled: reboot" in (await bot.answer()).text
    assert ("response_url" in [method for method, _ in bot.slack.calls]) is True


async def test_answer_is_shown_where_progress_could_not_be(bot: World) -> None:
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
    assert alert.edits == 1  # through the response_url, which may change any message that was clicked
    assert "<@U0ALICE>'s approval: The bot's Together API key can't do that" in alert.text


async def test_progress_does_not_wait_for_a_rate_limit(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.slack.faults.append(SlackFault("chat.update", "ratelimited", retry_after=7))
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        await bot.slack.until(lambda: "chat.update" in [method for method, _ in bot.slack.calls])
    await bot.edited(alert)
    assert "Approved, queued" in alert.text
    assert bot.time.slept(WaitReason.SLACK_LIMIT) == []


async def test_delivered_private_answer_is_not_logged_as_an_error(bot: World, caplog: pytest.LogCaptureFixture) -> None:
    bot.together.add()
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await bot.settle()
    assert "Couldn't answer" not in caplog.text


@pytest.mark.parametrize("kind", ["text", "list", "bytes"])
async def test_odd_response_of_slack_does_not_swallow_the_answer(bot: World, kind: str) -> None:
    bot.together.add()
    bot.slack.faults.append(SlackFault("chat.postMessage", kind))
    await bot.slack.command(REF)
    assert "Cancelled: reboot" in (await bot.answer()).text


@pytest.mark.parametrize("url", ["https://[oops", 5, "https://hooks.slack.com.evil.example/x"])
async def test_odd_response_url_does_not_swallow_the_answer(bot: World, url: Any) -> None:
    bot.together.add()
    await bot.slack.press(bot.alert(), APPROVE, user="U0CAROL", response_url=url)
    assert "Only operators can do this" in (await bot.reply_privately("U0CAROL")).text


@pytest.mark.parametrize("url", ["https://hooks.slack.com.evil.example/x", "http://10.0.0.1/x", "file:///x", "x", None])
async def test_foreign_or_missing_response_url_is_not_called(bot: World, url: str | None) -> None:
    message = bot.slack.post_as_tool([button_row("remediation:explode")])
    await bot.slack.press(message, "remediation:explode", response_url=url)
    assert "doesn't recognize the button" in (await bot.reply_privately()).text
    assert [method for method, _ in bot.slack.calls if method.startswith("chat.")] == ["chat.postEphemeral"]


def lose_every_answer(bot: World) -> None:
    """Let Slack take nothing."""
    methods = ("chat.update", "chat.postMessage", "chat.postEphemeral")
    bot.slack.faults += [SlackFault(method, "html", times=-1) for method in methods]
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))


async def approved_unheard(bot: World) -> Posted:
    """Approve on an alert while Slack takes nothing, until the answer waits for another attempt."""
    bot.together.add()
    alert = bot.alert()
    lose_every_answer(bot)
    await bot.slack.press(alert, APPROVE)
    await until_postponed(bot)
    return alert


async def test_answer_that_slack_did_not_take_is_delivered_later(bot: World) -> None:
    alert = await approved_unheard(bot)
    assert alert.edits == 0
    bot.slack.faults.clear()
    await pass_time(bot, 20)
    assert "Approved by <@U0ALICE>" in alert.text
    assert (alert.edits, len(bot.together.posts)) == (1, 1)


async def test_undelivered_answer_blocks_no_other_decision_and_is_delivered_by_the_next_process(bot: World) -> None:
    alert = await approved_unheard(bot)
    await bot.settle()
    bot.slack.faults.clear()
    async with bot.another():
        await bot.edited(alert)
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert, 2)
    assert [call.verb for call in bot.together.posts] == ["approve", "cancel"]


async def test_late_answer_is_shown_over_no_newer_one_on_another_tools_alert(bot: World) -> None:
    alert = await approved_unheard(bot)
    bot.slack.faults.clear()
    for edits in (1, 2):  # shows that it was approved, then cancels
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert, edits)
    await pass_time(bot, 20)
    assert "Cancelled by <@U0BOB>" in alert.text
    (late,) = bot.slack.replies(alert)
    assert "Approved by <@U0ALICE>" in late.text
    assert late.buttons == {}


async def test_answer_is_given_up_after_a_day_and_counted(bot: World, caplog: pytest.LogCaptureFixture) -> None:
    await approved_unheard(bot)
    request = await column(bot, "request")
    assert "/response/" in request
    await pass_time(bot, 3600)
    assert "/response/" not in await column(bot, "request"), "Slack takes it for 30 minutes only"
    await pass_time(bot, 86_400)
    assert await column(bot, "status") == "undelivered"
    assert "Slack didn't take the answer for 24 h; giving up" in caplog.text


async def test_answer_of_two_days_ago_is_not_given_up_because_slack_does_not_take_it_once(bot: World) -> None:
    alert = await approved_unheard(bot)
    await bot.settle()
    await bot.time.advance(2 * 86_400)
    async with bot.another():
        await pass_time(bot, 60)
        bot.slack.faults.clear()
        await pass_time(bot, 300)
    assert "Approved by <@U0ALICE>" in alert.text


async def until_postponed(bot: World) -> None:
    async with asyncio.timeout(HANGS_AFTER):
        while await column(bot, "deliveries") < 1:
            pass
    assert await column(bot, "status") == "answered"
