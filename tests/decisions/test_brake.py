"""The storm brake: approvals of a cluster pause automatically while so much of it is broken at once."""

from collections.abc import Collection
from typing import Any

import pytest
from sqlalchemy import select

from bot.models import Brake
from bot.store.tables import audit
from bot.watcher.faults import FRESH_SECONDS
from tests.rows import execute_beside, outcomes_by_user
from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Ids
from tests.storms import began, digest, storm
from tests.watch import PAUSE_DIALOG, card, ends, enforce_slacks_limits, pass_time, poll, thread, until, watching
from tests.world import APPROVE, CANCEL, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4")
PAUSE, RESUME, ASK = "approvals:pause", "approvals:resume", "approvals:resume-reason"
CALL = "<!subteam^S0ONCALL>"


async def broken(bot: World, count: int = 4, start: int = 0) -> tuple[list[Ids], Posted]:
    """Let nodes break, and return their remediations and the message about the brake."""
    ids = storm(bot, count, start=start)
    return ids, await braked(bot)


async def braked(bot: World, words: str = "Approvals are paused automatically") -> Posted:
    def look() -> Posted | None:
        return next(
            (message for message in bot.slack.visible() if words in message.text and not message.thread_ts), None
        )

    return await until(bot, look)


async def resume(
    bot: World,
    message: Posted,
    reason: str = "it was a false alarm",
    user: str = "U0BOB",
    whose: Collection[str] | None = None,
) -> dict[str, Any]:
    """Press the button, and tick some or all in the dialog."""
    before = len(bot.slack.views)
    await bot.slack.press(message, ASK, user=user)
    await bot.slack.until(lambda: len(bot.slack.views) > before)
    view = bot.slack.views[-1]
    await bot.slack.submit(view, user=user, **{ASK: reason}, **ends(view, whose))
    return view


async def pause(bot: World, message: Posted) -> None:
    """Press "Pause approvals" as an older message has it."""
    payload = bot.slack.click(message, ASK)
    payload["actions"][0] |= {"action_id": PAUSE, "value": "cluster-1"}
    await bot.slack.deliver("interactive", payload)


def clear(bot: World, ids: list[Ids]) -> None:
    for each in ids:
        bot.together.resolve(each)


async def test_approvals_pause_where_so_much_is_broken_and_whoever_resumes_them_says_why(bot: World) -> None:
    enforce_slacks_limits(bot)
    bot.together.nodes["cluster-1"] = 64
    await began(bot)
    ids, message = await broken(bot)
    alert = await card(
        bot, ids[0], "Approvals are paused in cluster-1 (H100) automatically: 4 or more of 64 nodes were broken."
    )
    head, cause, how, called = message.text.splitlines()
    assert head == "cluster-1 (H100): 4 of 64 nodes broken at once. Approvals are paused automatically ⛔"
    assert cause.startswith("Most common: Xid 79, on 4. If one switch or rack is the cause, repairing single nodes")
    assert how.endswith("Otherwise approvals resume after 30 min with fewer than 2 broken nodes.")
    assert called == f"On call: {CALL}"
    await bot.slack.press(alert, APPROVE)
    assert "Not approved: approvals are paused automatically" in (await bot.reply_privately()).text
    await bot.slack.press(alert, CANCEL, user="U0BOB")
    await card(bot, ids[0], "Cancelled by <@U0BOB>")
    view = await resume(bot, message)
    assert "The storm brake: 4 or more of 64 nodes were broken" in str(view)
    assert "Approvals resumed in cluster-1 (H100)." in (await bot.reply_privately("U0BOB")).text
    await until(bot, lambda: "storm brake released by <@U0BOB>: “it was a false alarm”" in message.text)
    assert message.buttons == {}
    again = await card(bot, ids[1])
    await until(bot, lambda: "paused" not in again.text)
    await bot.slack.press(again, APPROVE)
    await card(bot, ids[1], "Approved by <@U0ALICE>")
    rows = select(audit.c.event, audit.c.user_id, audit.c.reason).where(
        audit.c.cluster_id == "cluster-1", audit.c.verb == ""
    )
    assert await execute_beside(bot, rows) == [
        {"event": "braked", "user_id": "", "reason": None},
        {"event": "resumed", "user_id": "U0BOB", "reason": "it was a false alarm"},
    ]
    assert await outcomes_by_user(bot) == [("U0ALICE", "paused"), ("U0BOB", "cancelled"), ("U0ALICE", "approved")]
    assert thread(bot, message) == []


async def test_it_resumes_after_thirty_quiet_minutes_and_not_before(bot: World) -> None:
    ids, message = await broken(bot)
    clear(bot, ids[1:])
    await pass_time(bot, 1500, longest=60)
    ids += storm(bot, 2, start=10)
    await pass_time(bot, 600, longest=60)
    assert "Approvals are paused automatically" in message.text, "it wasn't quiet for long enough"
    clear(bot, ids[-2:])
    await pass_time(bot, 1600, longest=60)
    assert "Approvals are paused automatically" in message.text
    await until(bot, lambda: "the storm brake is released" in message.text, 400)
    assert message.buttons == {}
    assert [
        call["text"].count(CALL)
        for method, call in bot.slack.calls
        if "broken at once" in str(call.get("text")) and method == "chat.postMessage"
    ] == [1]
    alert = await card(bot, ids[0])
    await until(bot, lambda: "paused" not in alert.text, 10)


async def test_brake_does_not_say_that_more_nodes_are_broken_than_there_are(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 3  # Together's list of them lags
    await began(bot)
    await pass_time(bot, 700)
    ids, _ = await broken(bot)
    assert "4 or more nodes were broken" in (await card(bot, ids[0], "paused")).text


async def test_nodes_that_have_recovered_are_not_said_to_be_broken_while_approvals_are_paused(bot: World) -> None:
    ids, _ = await broken(bot)
    alert = await card(bot, ids[0], "paused")
    clear(bot, ids[1:])
    await pass_time(bot, 600, longest=60)
    await bot.slack.press(alert, APPROVE)
    for said in alert.text, (await bot.reply_privately()).text:
        assert "nodes were broken" in said


async def test_after_a_resume_it_latches_again_when_half_as_many_more_break_or_once_it_was_quiet(bot: World) -> None:
    ids, message = await broken(bot)
    await resume(bot, message)
    await until(bot, lambda: "storm brake released by" in message.text)
    ids += storm(bot, 1, start=10)
    await pass_time(bot, 300)
    assert "5 nodes were broken" in message.text
    assert "paused automatically" not in message.text
    ids += storm(bot, 1, start=11)
    await until(bot, lambda: "Approvals are paused automatically" in message.text)
    await until(bot, lambda: CALL in str(thread(bot, message)))
    await resume(bot, message)
    await until(bot, lambda: "storm brake released by" in message.text)
    clear(bot, ids)
    await until(bot, lambda: "the storm brake is released" in message.text)
    await broken(bot, start=20)


@pytest.mark.bot(BOT_STORM_BRAKE="20%")
async def test_share_of_a_cluster_counts_critical_alerts_and_each_node_once(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 20
    await began(bot)
    storm(bot, 2)
    bot.together.add(("cluster-1", "instance-1", "another"), linked_alerts=[])
    bot.together.fire("a-1", "cluster-1", "gpu-1", severity="PHC_SEVERITY_WARNING")
    bot.together.fire("a-2", "cluster-1", "gpu-2")
    bot.together.fire("a-3", "cluster-1", "gpu-2")
    await pass_time(bot, 700)  # until the list of clusters is read again
    assert not [message for message in bot.slack.visible() if "broken at once" in message.text]
    bot.together.fire("a-4", "cluster-1", "gpu-3")
    assert "4 of 20 nodes broken at once" in (await braked(bot)).text


async def test_pause_of_a_person_and_the_brake_are_two_holders_of_one_pause(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    brake = await braked(bot)
    await until(bot, lambda: ASK in message.buttons)
    await pause(bot, brake)
    await until(bot, lambda: "by <@U0ALICE>, and in cluster-1 (H100) automatically: 4 or" in message.everything)
    await pass_time(bot, 3700)
    assert "automatically" in message.everything
    assert "by <@U0ALICE>" not in message.text
    await pause(bot, brake)
    await until(bot, lambda: "by <@U0ALICE>, and in cluster-1 (H100) automatically" in message.everything)
    view = await resume(bot, brake)
    assert "<@U0ALICE> until" in str(view)
    assert "The storm brake" in str(view)
    await until(bot, lambda: ASK not in message.buttons)


async def test_brake_holds_over_a_change_of_the_watch(database_url: str) -> None:
    async with watching(database=database_url, BOT_STORM_BRAKE="4", BOT_ONCALL="S0ONCALL") as bot:
        ids, message = await broken(bot)
        await bot.settle()
        async with bot.another():
            alert = await card(bot, ids[0])
            await bot.slack.press(alert, APPROVE)
            assert "approvals are paused automatically" in (await bot.reply_privately()).text
            await resume(bot, message)
            await until(bot, lambda: "storm brake released by <@U0BOB>" in message.text)
            await pass_time(bot, 600)
            assert (
                len([message for message in bot.slack.visible() if "broken" in message.text and not message.thread_ts])
                == 1
            )


async def test_reason_is_needed_and_only_operators_resume(bot: World) -> None:
    _, message = await broken(bot)
    await bot.slack.press(message, ASK, user="U0CAROL")
    assert "Only operators can do this" in (await bot.reply_privately("U0CAROL")).text
    before = len(bot.slack.views)
    await bot.slack.press(message, ASK)
    await bot.slack.until(lambda: len(bot.slack.views) > before)
    ack = await bot.slack.submit(bot.slack.views[-1], **{ASK: "  "})
    assert "Type a reason first." in str(ack.body)
    await poll(bot)
    assert "Approvals are paused automatically" in message.text


async def test_other_tools_are_told() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ, BOT_STORM_BRAKE="4") as bot:
            _, message = await broken(bot)
            await resume(bot, message)
            told = await until(
                bot,
                lambda: (
                    found
                    if len(found := [event for event in webhook.events if event["type"].endswith(".brake")]) == 2
                    else None
                ),
            )
            assert [each["data"] for each in told] == [
                {"cluster_id": "cluster-1", "is_over": False, "broken": 4, "nodes": 4},
                {"cluster_id": "cluster-1", "is_over": True, "by": "U0BOB", "broken": 4, "nodes": 4},
            ]


@pytest.mark.bot(BOT_STORM_BRAKE="")
async def test_nothing_pauses_where_it_is_not_set(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    await pass_time(bot, 300)
    assert PAUSE_DIALOG in message.buttons


@pytest.mark.bot(BOT_UNREPAIRED_MINUTES="0")
async def test_message_of_the_brake_ends_though_alerts_fire_that_nobody_is_to_be_told_of(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    ids, message = await broken(bot)
    assert "gpu-1" not in message.text
    clear(bot, ids)
    await until(bot, lambda: "the storm brake is released" in message.text, 2100)
    assert "no critical fault" not in message.text


async def test_end_of_the_brake_and_of_faults_is_told_whole_though_slack_refused_it_before(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    ids, message = await broken(bot)
    await until(bot, lambda: CALL in str(thread(bot, message)), 1200)
    clear(bot, ids)
    bot.together.alerts.clear()
    await pass_time(bot, 1500)
    bot.slack.faults.append(SlackFault("chat.update", "no_permission", times=-1))
    await pass_time(bot, 900)
    bot.slack.faults.clear()
    words = "the storm brake is released, and Together lists no critical fault without a repair"
    await until(bot, lambda: words in message.text)


async def test_brake_that_is_set_no_longer_is_released(database_url: str) -> None:
    async with watching(database=database_url, BOT_STORM_BRAKE="4") as bot:
        _, message = await broken(bot)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_storm_brake": None})):
            await until(bot, lambda: "the storm brake is released" in message.text)


def test_brake_counts_quiet_minutes_that_were_read_and_by_a_clock_that_was_set_back() -> None:
    brake: Brake | None = Brake(1, 4, None, 0.0, looked_at=9000.0, quiet_since=9000.0)
    for now in range(100, 1900, 300):
        brake = brake and brake.then(1, None, 4, float(now), blind_seconds=FRESH_SECONDS)
    assert brake is not None
    assert brake.quiet_since == 100.0
    assert brake.then(1, None, 4, 1900.0, blind_seconds=FRESH_SECONDS) is None
    late = brake.then(1, None, 4, 3600.0, blind_seconds=FRESH_SECONDS)
    assert late is not None
    assert late.quiet_since == 3600.0
