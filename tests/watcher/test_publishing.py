"""Posts and edits when Slack limits, refuses or doesn't answer clearly."""

import asyncio
from functools import partial
from itertools import pairwise

import pytest
from sqlalchemy import select

from bot.cards.blocks import context, folded
from bot.models import RemediationRef
from bot.store import rows
from bot.store.tables import messages
from bot.watcher.workqueue import Lane
from handlers.alert_channels import UPDATES_PER_MINUTE
from handlers.client import SlackClient
from tests.deaths import kill_the_watch
from tests.rows import execute_beside
from tests.simulator.slack.workspace import BOT_TOKEN, SlackFault
from tests.storms import began, digest, storm
from tests.watch import card, enforce_slacks_limits, pass_time, poll, quiet, until, updates, watching
from tests.world import APPROVE, IDS, World

pytestmark = pytest.mark.bot(watching=True)


async def test_fifty_changes_at_once_stay_within_slacks_limits(bot: World) -> None:
    bot.together.clusters.update({f"c-{number}": "H100" for number in range(10)})
    await poll(bot)
    enforce_slacks_limits(bot)
    ids = [bot.together.add((f"c-{number % 10}", f"instance-{number}", f"r-{number:03d}")) for number in range(50)]
    await until(bot, lambda: all(bot.slack.cards(ids[2]) for ids in ids), 200)
    for each in ids:
        bot.together.review(each, "approve")
    alerts = [bot.slack.cards(ids[2])[0] for ids in ids]
    await until(bot, lambda: all("Approved, queued" in message.text for message in alerts), 300)
    await until(bot, lambda: all(bot.slack.replies(message) for message in alerts), 300)
    assert bot.slack.refused_for_limits == []
    assert {message.edits for message in alerts} == {1}


async def test_card_is_edited_at_most_once_in_three_seconds(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    edited: list[float] = []
    for number in range(12):
        bot.together.remediations[IDS]["reason"] = f"reason {number}"
        before = alert.edits
        await pass_time(bot, 2)
        edited += [bot.time.seconds] * (alert.edits - before)
    assert len(edited) >= 2
    assert all(later - earlier >= 3 for earlier, later in pairwise(edited))


@pytest.mark.parametrize("kind", ["drop", "html", "internal_error"])
async def test_unclear_post_is_looked_for_before_it_is_repeated(bot: World, kind: str) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", kind, after=True))
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 60)
    assert bot.slack.visible() == [alert]
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")


@pytest.mark.parametrize("kind", ["drop", "internal_error", "not_in_channel", "ratelimited"])
async def test_post_that_did_not_arrive_is_repeated(bot: World, kind: str) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", kind, retry_after=5))
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 60)
    assert bot.slack.visible() == [alert]


async def test_without_the_history_scope_a_second_card_is_preferred_to_none() -> None:
    async with watching() as bot:
        bot.slack.may_read_history = False
        bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
        bot.together.add()
        await card(bot)
        await pass_time(bot, 60)
        assert len(bot.slack.cards(IDS[2])) == 2


async def test_deleted_card_is_given_up(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.messages.remove(alert)
    bot.together.review(IDS, "approve")
    await poll(bot)
    tries = updates(bot)
    assert tries == 1
    await pass_time(bot, 120)
    assert updates(bot) == tries


@pytest.mark.bot(BOT_ONCALL="S0ONCALL")
async def test_deleted_card_is_posted_again_while_it_waits(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 60)
    bot.slack.messages.remove(alert)
    again = await until(bot, lambda: bot.slack.cards(IDS[2]), 16 * 60)
    assert APPROVE in again[0].buttons
    reminder = await until(bot, lambda: bot.slack.replies(again[0]))
    assert "has been waiting 15 min" in reminder[0].text
    assert [str(message.blocks).count("S0ONCALL") for message in (again[0], *reminder)] == [0, 1], "called once"


async def test_deleted_card_is_posted_again_without_reminders() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        bot.slack.messages.remove(await card(bot))
        await until(bot, lambda: bot.slack.cards(IDS[2]), 3700)


@pytest.mark.parametrize("count", [1, 9])
async def test_what_the_app_before_this_one_has_posted_is_posted_again_with_buttons_that_work(
    bot: World, count: int
) -> None:
    await began(bot)
    storm(bot, count)
    await until(bot, bot.slack.visible)
    await bot.settle()
    (old,) = bot.slack.visible()
    old.by = "U0BEFORE"  # the app was made again: Slack lets only the one that posted a message change it
    async with bot.another():
        await until(bot, lambda: len(bot.slack.visible()) > 1)
        await pass_time(bot, 7200, longest=600)
        shown = [message for message in bot.slack.visible() if message.thread_ts is None]
        assert [list(message.buttons) for message in shown] == [list(old.buttons)] * 2


async def test_deleted_digest_is_posted_again_after_a_restart(bot: World) -> None:
    await began(bot)
    storm(bot, 9)
    bot.slack.messages.remove(await digest(bot))
    await bot.settle()
    async with bot.another():
        again = await digest(bot, "9 nodes in cluster-1 (H100) need a decision")
        await pass_time(bot, 60)
        assert bot.slack.visible() == [again]


async def test_edit_that_slack_did_not_take_is_repeated(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", times=2))
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued")


@pytest.mark.parametrize("kind", ["list", "text", "bytes", "html"])
async def test_odd_response_about_the_channel_does_not_end_the_watch(bot: World, kind: str) -> None:
    bot.slack.faults += [
        SlackFault("chat.postMessage", "drop", after=True),
        SlackFault("conversations.history", kind, times=3),
    ]
    bot.together.add()
    await card(bot)
    await pass_time(bot, 60)
    assert not bot.running.done()
    assert len(bot.slack.cards(IDS[2])) == 1
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")


async def test_locked_thread_is_given_up(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "cannot_reply_to_message", times=-1))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")
    await pass_time(bot, 300)
    assert [method for method, _ in bot.slack.calls].count("chat.postMessage") == 2
    assert [call.verb for call in bot.together.calls].count("get") == 1


@pytest.mark.parametrize("hours", [0, -1], ids=["", "Slack's clock behind the bot's"])
@pytest.mark.parametrize("may_read", [True, False])
async def test_line_that_may_have_arrived_is_sent_at_most_twice(bot: World, hours: int, *, may_read: bool) -> None:
    right = bot.slack.now
    bot.slack.now = lambda: right() + 3600 * hours
    bot.slack.may_read_history = may_read
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=-1, after=True))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")
    await pass_time(bot, 300)
    assert len(bot.slack.replies(alert)) == (1 if may_read else 2)


async def test_without_the_history_scope_an_unclear_digest_is_not_posted_endlessly(bot: World) -> None:
    await began(bot)
    bot.slack.may_read_history = False
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=3, after=True))
    storm(bot, 9)
    await pass_time(bot, 300)
    assert len(bot.slack.digests()) <= 4


async def test_card_whose_blocks_slack_refuses_is_posted_as_text(bot: World) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", "invalid_blocks", times=2))
    bot.together.add()
    alert = await card(bot)
    assert alert.blocks == []
    assert "Approve reboot?" in alert.text


async def test_what_slack_does_not_fold_is_drawn_openly_from_then_on(bot: World) -> None:
    bot.slack.is_new = False
    bot.together.add()
    alert = await card(bot)
    assert {block["type"] for block in alert.blocks} == {"rich_text", "actions", "context"}
    assert "`cluster-1` / `instance-1` / `remediation-1`" in alert.everything
    refused = [1 for method, body in bot.slack.calls if "container" in str(body)]
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: "Approved" in alert.text)
    assert [1 for method, body in bot.slack.calls if "container" in str(body)] == refused
    assert "`cluster-1` / `instance-1` / `remediation-1`" in alert.everything


async def test_messages_that_leave_at_once_are_all_drawn_openly(bot: World) -> None:
    bot.slack.is_new = False
    client = SlackClient(BOT_TOKEN, base_url=bot.slack.api_url)
    body = {"channel": "C0OPS", "text": "x", "blocks": [folded("IDs", [context("c-7f2")])]}
    await asyncio.gather(*(client.api_call("chat.postMessage", json=body) for _ in range(3)))
    assert [message.blocks[0]["type"] for message in bot.slack.messages if message.text == "x"] == ["context"] * 3


async def test_watch_starts_although_the_channel_cannot_be_read() -> None:
    async with watching() as bot:
        bot.slack.faults.append(SlackFault("conversations.history", "internal_error", times=2))
        bot.together.add()
        await card(bot)


@pytest.mark.parametrize("arrives", [True, False])
async def test_unclear_card_is_looked_for_in_the_channel_it_was_posted_to(bot: World, *, arrives: bool) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
    bot.together.add()
    await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.postMessage"])
    await kill_the_watch(bot)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 60)
        assert [message.channel for message in bot.slack.cards(IDS[2])] == ["C0OTHER"]
        assert len(bot.slack.visible()) == (2 if arrives else 1), "the one that was found there names the new channel"
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled: reboot")


@pytest.mark.parametrize("arrives", [True, False])
async def test_unclear_digest_is_looked_for_in_the_channel_it_was_posted_to(bot: World, *, arrives: bool) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
    ids = storm(bot, 6)
    await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.postMessage"])
    await kill_the_watch(bot)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 60)
        assert [message.channel for message in bot.slack.digests()] == ["C0OTHER"]
        assert len(bot.slack.visible()) == (2 if arrives else 1), "the one that was found there names the new channel"
        bot.together.review(ids[0], "cancel")
        await digest(bot, "5 nodes in cluster-1 (H100) need a decision")


async def test_digest_that_cannot_be_posted_is_logged(bot: World, caplog: pytest.LogCaptureFixture) -> None:
    await began(bot)
    bot.slack.channels["C0OPS"].bot_may_post = False
    storm(bot, 6)
    await until(bot, lambda: "Can't post alerts in C0OPS: not_in_channel." in caplog.text)
    bot.slack.channels["C0OPS"].bot_may_post = True
    await digest(bot)


async def test_thread_line_is_sent_although_slack_was_busy_and_unclear(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults += [
        SlackFault("chat.postMessage", "ratelimited", retry_after=5),
        SlackFault("chat.postMessage", "drop"),
    ]
    bot.together.review(IDS, "approve")
    await until(bot, lambda: bot.slack.replies(alert))


async def test_failure_in_a_digest_is_reported_although_slack_was_unclear(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop"))
    bot.together.remediations[ids[0]] |= {"state": "FAILED", "error_message": "no host left"}
    await until(bot, lambda: [reply for reply in bot.slack.replies(message) if "no host left" in reply.text])


async def test_failures_are_told_apart_by_all_three_ids(bot: World) -> None:
    await began(bot)
    ids = [bot.together.add(("cluster-1", f"instance-{number}", "same")) for number in range(6)]
    message = await digest(bot)
    for number, words in ((0, "no host left"), (1, "no power")):
        bot.together.remediations[ids[number]] |= {"state": "FAILED", "error_message": words}
        await until(bot, lambda words=words: [1 for reply in bot.slack.replies(message) if words in reply.text])  # type: ignore[misc] # mypy cannot see the default


async def test_unclear_edit_is_drawn_over_although_nothing_changed(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    before = message.text
    bot.slack.faults.append(SlackFault("chat.update", "drop", after=True, times=-1))
    kept = bot.together.remediations[ids[0]]["state"]
    bot.together.remediations[ids[0]]["state"] = "RUNNING"
    await until(bot, lambda: message.text != before)
    bot.together.remediations[ids[0]]["state"] = kept
    await until(bot, lambda: message.text == before)


@pytest.mark.parametrize("count", [1, 6])
async def test_unclear_post_in_a_new_channel_is_looked_for_there(bot: World, count: int) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop"))
    storm(bot, count)
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    await kill_the_watch(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 200)
        assert [message.channel for message in bot.slack.visible()] == ["C0OTHER"]


@pytest.mark.parametrize(
    "code", ["channel_not_found", "not_in_channel", "is_archived", "restricted_action_thread_only_channel"]
)
async def test_card_in_a_closed_former_channel_is_given_up(bot: World, code: str) -> None:
    bot.together.add()
    await card(bot)
    await bot.settle()
    bot.slack.faults += [SlackFault(f"chat.{method}", code, times=-1) for method in ("update", "postMessage")]
    bot.together.review(IDS, "cancel")
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 600)
    assert await execute_beside(bot, select(messages.c.is_open)) == [{"is_open": False}]


async def test_cards_in_a_former_channel_are_updated_there(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.settle()
    settings = bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})
    async with bot.another(settings):
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled: reboot")
        await until(bot, lambda: bot.slack.replies(alert))
        assert {message.channel for message in bot.slack.messages} == {"C0OPS"}


@pytest.mark.parametrize("lane", [Lane.LOOK, Lane.REPLY])
async def test_message_that_was_just_edited_waits_and_takes_no_turn(bot: World, lane: Lane) -> None:
    bot.together.add()
    alert = await card(bot)
    assert bot.app.database
    assert bot.app._watcher
    redraw = partial(bot.app.database.run, rows.mark_stale, RemediationRef(*IDS))
    enforce_slacks_limits(bot)
    (row,) = await execute_beside(bot, select(messages.c.id))
    await redraw()
    await until(bot, lambda: alert.edits == 1)
    await redraw()
    for _ in range(UPDATES_PER_MINUTE if lane is Lane.LOOK else 1):  # in the other, each takes a turn to post
        bot.app._watcher._queue.put(str(row["id"]), lane)
        await quiet(bot)
    assert alert.edits == 1
    await until(bot, lambda: alert.edits == 2, seconds=10)


@pytest.mark.parametrize("noticed", [True, False])
async def test_failure_of_a_repair_whose_card_was_deleted_is_told(bot: World, *, noticed: bool) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved, queued")
    bot.slack.messages.remove(alert)
    if noticed:
        bot.together.advance(IDS)
        await pass_time(bot, 60)
        assert bot.slack.cards(IDS[2]) == []
    bot.together.remediations[IDS]["state"] = "RUNNING"
    bot.together.fail(IDS, "no host left")
    again = await card(bot, words="Failed: reboot")
    told = await until(bot, lambda: [reply for reply in bot.slack.replies(again) if "failed on" in reply.text])
    assert told[0].broadcast
    assert told[0].text.startswith("<@U0ALICE>, Reboot failed on instance-1")


async def test_deleted_card_of_a_repair_that_succeeds_is_not_posted_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved, queued")
    bot.slack.messages.remove(alert)
    for _ in range(4):
        bot.together.advance(IDS)
        await poll(bot)
    await pass_time(bot, 120)
    assert bot.slack.visible() == []


@pytest.mark.bot(watching=True)
async def test_post_whose_answer_names_no_message_is_looked_for(bot: World) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", "nothing", after=True))
    bot.together.add()
    await card(bot)
    await pass_time(bot, 600)
    assert [APPROVE in message.buttons for message in bot.slack.visible()] == [True]
