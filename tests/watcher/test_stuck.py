"""Repairs that don't end: the card and the thread say so, who is on call is mentioned once, and it can be reported."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from bot import cards
from bot.store.tables import messages
from tests.deaths import kill_the_watch
from tests.rows import execute_beside
from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.test_flow_home import opened as home_of
from tests.watch import card, enforce_slacks_limits, pass_time, poll, thread, until, watching
from tests.world import APPROVE, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10")
CALL = "<!subteam^S0ONCALL>"
STUCK = "may be stuck. Not finished after"


def calls(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if STUCK in line]


async def running(bot: World) -> Posted:
    """Approve a repair, and let it run."""
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    return await card(bot, words="Rebooting")


async def test_repair_that_does_not_end_is_told_once_and_on_call_is_mentioned(bot: World) -> None:
    alert = await running(bot)
    await pass_time(bot, 38 * 60)
    assert calls(bot, alert) == []
    await until(bot, lambda: calls(bot, alert), seconds=300)
    assert "May be stuck: under way since" in alert.text
    await pass_time(bot, 3 * 3600)
    (line,) = calls(bot, alert)
    assert line.startswith("instance-1 (cluster-1 (H100)): Reboot may be stuck. Not finished after 40 min.")
    assert line.endswith(CALL)
    bot.together.remediations[IDS]["state"] = "SUCCEEDED"
    await card(bot, words="Rebooted")
    assert "stuck" not in alert.text


@pytest.mark.parametrize("seconds", [60, 2000])  # before and after the bot has noticed it
async def test_repair_that_does_not_end_calls_although_its_card_was_deleted(bot: World, seconds: int) -> None:
    alert = await running(bot)
    bot.slack.messages.remove(alert)
    if seconds > 60:
        bot.together.remediations[IDS]["instance_name"] = "gpu-node-7"  # so the card is edited
    await pass_time(bot, seconds)
    assert bot.slack.cards(IDS[2]) == []
    again = await card(bot, words="May be stuck", seconds=3600)
    (line,) = await until(bot, lambda: calls(bot, again))
    assert line.endswith(CALL)
    bot.together.remediations[IDS]["state"] = "SUCCEEDED"
    await card(bot, words="Rebooted")


async def test_support_gets_all_that_is_known_as_text(bot: World) -> None:
    enforce_slacks_limits(bot)
    alert = await running(bot)
    assert cards.SUPPORT not in [option["value"] for option in alert.controls[cards.MORE]["options"]]
    await until(bot, lambda: calls(bot, alert), seconds=3600)
    await bot.slack.press(alert, cards.MORE, choice=cards.SUPPORT, user="U0CAROL")
    text = (await bot.reply_privately("U0CAROL")).everything
    assert "Remediation remediation-1: Reboot (REMEDIATION_MODE_REBOOT_VM), state RUNNING" in text
    assert "Cluster cluster-1, instance instance-1, node instance-1" in text
    assert "approve by U0ALICE in Slack: approved" in text


async def test_support_gets_all_of_a_long_history(bot: World) -> None:
    enforce_slacks_limits(bot)
    alert = await running(bot)
    bot.together.remediations[IDS]["linked_alerts"] = [
        {"alert_name": f"alert-{number}", "annotation": {"title": f"{number} {'x' * 200}"}} for number in range(20)
    ]
    await until(bot, lambda: calls(bot, alert), seconds=3600)
    await bot.slack.press(alert, cards.MORE, choice=cards.SUPPORT, user="U0CAROL")
    said = await bot.reply_privately("U0CAROL")
    pieces = [element["text"] for block in said.blocks for piece in block["elements"] for element in piece["elements"]]
    assert "Alert alert-19" in pieces[1]
    assert "approve by U0ALICE in Slack: approved" in pieces[1]


async def test_stuck_repairs_of_a_digest_are_one_line(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot, "8 nodes")
    for number, ids in enumerate(list(bot.together.remediations)):
        bot.together.remediations[ids]["state"] = "SUCCEEDED" if number == 7 else "RUNNING"
    await pass_time(bot, 4 * 3600)
    (line,) = calls(bot, message)
    assert "gpu-node-0006: 7 repairs may be stuck" in line
    await bot.slack.command(f"status {'/'.join(next(iter(bot.together.remediations)))}")
    shown = (await bot.reply_privately()).text
    assert "May be stuck" in shown
    assert "card's menu" not in shown, "none of them has a card"


async def test_stuck_repairs_whose_time_comes_one_after_another_are_told_together(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 8)
    message = await digest(bot, "8 nodes")
    for number, each in enumerate(ids):
        start = datetime.fromtimestamp(bot.time.now() + 20 * number, UTC).isoformat()
        bot.together.remediations[each] |= {"state": "RUNNING", "start_time": start}
    await until(bot, lambda: calls(bot, message), seconds=3 * 3600)
    await pass_time(bot, 3600)
    assert len(calls(bot, message)) <= 2  # ten minutes may end in between


async def test_repair_that_has_just_ended_is_not_said_to_be_stuck(bot: World) -> None:
    alert = await running(bot)
    await pass_time(bot, 38 * 60)
    bot.together.lists_as[IDS] = "RUNNING"
    bot.together.remediations[IDS]["state"] = "SUCCEEDED"
    await pass_time(bot, 240)
    del bot.together.lists_as[IDS]
    await card(bot, words="Rebooted")
    assert calls(bot, alert) == []


async def test_nothing_is_said_to_be_stuck_while_together_can_not_be_asked(bot: World) -> None:
    alert = await running(bot)
    await pass_time(bot, 38 * 60)
    bot.together.faults.append(Fault("rpc", code=14, times=100_000))
    await pass_time(bot, 1200)
    assert calls(bot, alert) == []
    bot.together.faults.clear()
    await until(bot, lambda: calls(bot, alert), seconds=600)
    await pass_time(bot, 3600)
    assert len(calls(bot, alert)) == 1


@pytest.mark.bot(BOT_REMIND_MINUTES="0")
@pytest.mark.parametrize("unreadable", ["cluster-1", "cluster-2"])
async def test_it_is_told_while_another_cluster_of_the_digest_can_not_be_read(bot: World, unreadable: str) -> None:
    ids = [*storm(bot, 4), *storm(bot, 4, cluster="cluster-2")]
    message = await digest(bot)
    await pass_time(bot, 60)
    for each in (ids[0], ids[4]):
        bot.together.review(each, "approve")
        start = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
        bot.together.remediations[each] |= {"state": "RUNNING", "start_time": start}
    await pass_time(bot, 60)
    for verb in ("list", "get", "cluster"):
        bot.together.faults.append(Fault("rpc", verb=verb, code=14, times=-1, cluster=unreadable))
    await pass_time(bot, 2 * 3600)
    assert len(calls(bot, message)) == 1
    bot.together.faults.clear()
    await pass_time(bot, 1200)
    assert len(calls(bot, message)) == 2


@pytest.mark.bot(BOT_REMIND_MINUTES="0")
async def test_it_is_told_once_slack_is_back_while_another_repair_of_the_digest_can_not_be_read(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 7)
    message = await digest(bot)
    for each in ids[:2]:
        bot.together.review(each, "approve")
        start = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
        bot.together.remediations[each] |= {"state": "RUNNING", "start_time": start}
    await pass_time(bot, 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
    bot.together.lost.add(ids[1])
    bot.together.faults.append(Fault("rpc", verb="get", times=-1, instance=ids[1][1]))
    await pass_time(bot, 3600)
    bot.slack.faults.clear()
    (line,) = await until(bot, lambda: calls(bot, message), seconds=600)
    assert line.startswith("gpu-node-0000 (cluster-1 (H100)): Reboot may be stuck.")


async def test_node_that_is_not_back_is_told_though_another_repair_of_the_digest_may_be_stuck(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 7)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await until(bot, lambda: "7 of 7 approved" in message.everything, 300)
    for each in ids:
        start = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
        bot.together.remediations[each] |= {"state": "RUNNING", "start_time": start}
    await pass_time(bot, 25 * 60)
    end = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
    bot.together.remediations[ids[1]] |= {"state": "SUCCEEDED", "end_time": end}
    bot.together.node_status["instance-1"] = "NODE_PHASE_FAILED"
    await poll(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await pass_time(bot, 3600)
    assert any("isn't running" in line for line in thread(bot, message))


async def test_repair_that_ends_while_the_line_is_posted_opens_no_incident() -> None:
    async with WebhookReceiver() as webhook:
        minutes = {"BOT_STUCK_MINUTES": "30", "BOT_WAIT_MINUTES": "*=10"}
        environ: Any = {**minutes, **webhook.settings}
        async with watching(**environ) as bot:
            alert = await running(bot)
            await pass_time(bot, 38 * 60)
            bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
            await until(bot, lambda: calls(bot, alert), seconds=300)
            bot.together.remediations[IDS]["state"] = "SUCCEEDED"
            await card(bot, words="Rebooted")
            await pass_time(bot, 600)
            assert [event["type"].rpartition(".")[2] for event in webhook.events][-1] == "succeeded"


async def test_repair_that_hangs_again_once_it_runs_is_told_again(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: calls(bot, alert), seconds=3600)
    start = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": start}
    await card(bot, words="Rebooting")
    assert "stuck" not in alert.text
    await pass_time(bot, 3 * 3600)
    assert len(calls(bot, alert)) == 2
    assert "May be stuck: under way since" in alert.text


async def test_it_is_told_once_over_a_change_of_the_watch(bot: World) -> None:
    alert = await running(bot)
    await until(bot, lambda: calls(bot, alert), seconds=3600)
    await kill_the_watch(bot)
    async with bot.another():
        await pass_time(bot, 3600)
        assert len(calls(bot, alert)) == 1


async def test_it_is_told_once_though_the_next_watch_has_more_to_tell(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await pass_time(bot, 38 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
    await until(bot, lambda: calls(bot, alert), seconds=300)
    await kill_the_watch(bot)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    async with bot.another():
        await until(bot, lambda: any("Reboot started" in line for line in thread(bot, alert)), seconds=600)
        await pass_time(bot, 600)
        assert len(calls(bot, alert)) == 1


async def test_it_is_told_once_though_slack_shows_no_thread_for_long_after_a_death(bot: World) -> None:
    alert = await running(bot)
    await pass_time(bot, 38 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
    await until(bot, lambda: calls(bot, alert), seconds=300)
    await kill_the_watch(bot)
    bot.slack.faults.append(SlackFault("conversations.replies", "internal_error", times=10_000))
    async with bot.another():
        await pass_time(bot, 900)
        bot.slack.faults.clear()
        await pass_time(bot, 600)
        assert len(calls(bot, alert)) == 1


@pytest.mark.parametrize("way", ["automatic", "in Home"])
async def test_other_tools_learn_of_a_stuck_repair_that_slack_never_took_a_card_of(way: str) -> None:
    async with WebhookReceiver() as tool:
        settings: dict[str, Any] = tool.settings
        async with watching(BOT_ONCALL="S0ONCALL", BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10", **settings) as bot:
            await began(bot)
            refused = SlackFault("chat.postMessage", "ratelimited", times=-1, retry_after=1)
            bot.slack.faults.append(refused)
            if way == "automatic":
                bot.together.add(state="RUNNING", reviewed_by="Auto-Approved")
            else:
                bot.together.add()
                await poll(bot)
                await home_of(bot)
                await bot.slack.press_home(APPROVE)
                await until(bot, lambda: bot.together.state(IDS) == "PENDING")
                bot.together.remediations[IDS]["state"] = "RUNNING"
            await pass_time(bot, 45 * 60)
            assert sum(each["type"].endswith(".stuck") for each in tool.events) == 1
            bot.slack.faults.remove(refused)
            alert = await card(bot, words="May be stuck", seconds=900)
            (line,) = await until(bot, lambda: calls(bot, alert))
            assert line.endswith(CALL)
            await pass_time(bot, 600)
            assert sum(each["type"].endswith(".stuck") for each in tool.events) == 1


async def test_stuck_repair_that_nobody_is_told_of_is_not_looked_at_all_the_time() -> None:
    async with watching(BOT_AUTOMATIC_REPAIRS="destructive", BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=0") as bot:
        await began(bot)
        bot.together.add(reviewed_by="Auto-Approved", state="RUNNING")
        await pass_time(bot, 3600)
        (row,) = await execute_beside(bot, select(messages.c.next_at))
        assert bot.slack.visible() == []
        assert row["next_at"] is None


async def test_setting_switches_it_off() -> None:
    async with watching(BOT_STUCK_MINUTES="0") as bot:
        alert = await running(bot)
        await pass_time(bot, 24 * 3600)
        assert calls(bot, alert) == []
        assert "stuck" not in alert.text
