"""Alerts that fire while no repair is open: one message per cluster, Home, and the private list."""

import logging
from typing import Any

import pytest
from sqlalchemy import select

from bot.cards.faults import unrepaired
from bot.store.tables import faults
from tests.deaths import kill_the_watch
from tests.manual_clock import POLL
from tests.rows import execute_beside
from tests.simulation.steps import Trace
from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.simulator.together import Fault
from tests.storms import began
from tests.watch import CHANNEL, card, carried_out, enforce_slacks_limits, pass_time, thread, until, watching
from tests.world import CANCEL, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
CALL = "<!subteam^S0ONCALL>"
WARNING: dict[str, Any] = {"severity": "PHC_SEVERITY_WARNING"}
XID: dict[str, Any] = {"annotation": {"title": "GPU has fallen off the bus", "xid": {"events": [{"xid_code": "79"}]}}}
TOLD = "no repair is open"


def told(bot: World) -> list[Posted]:
    """The messages about faults, as they were posted."""
    own = [message for message in bot.slack.visible() if message.thread_ts is None]
    return [message for message in own if TOLD in message.text or "lists no critical fault" in message.text]


async def message(bot: World, words: str = TOLD, seconds: float = 1200) -> Posted:
    """The one message about faults, as soon as it says so."""

    def look() -> Posted | None:
        found = told(bot)
        return found[0] if found and words in found[0].text else None

    return await until(bot, look, seconds)


def alerts_read(bot: World) -> int:
    return sum(call.verb == "alerts" for call in bot.together.calls)


async def test_critical_fault_without_a_repair_is_told_once_kept_current_and_goes(bot: World) -> None:
    enforce_slacks_limits(bot)
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    await pass_time(bot, 840)
    assert told(bot) == [], "Together may suggest a repair yet"
    alert = await message(bot, seconds=120)
    first, line, last, called = alert.text.splitlines()
    assert first == "gpu-1 (cluster-1 (H100)): Xid 79, GPU has fallen off the bus, and no repair is open for it ⚠️"
    assert line.startswith("gpu-1  Critical: Xid 79, GPU has fallen off the bus · since <!date^")
    assert last == "Check it, or request a repair in Together."
    assert called == f"On call: {CALL}"
    edits = alert.edits
    await pass_time(bot, 3600)
    assert (told(bot), alert.edits) == ([alert], edits)
    bot.together.alerts.clear()
    await until(bot, lambda: "Together lists no critical fault without a repair" in alert.text)
    await pass_time(bot, 3600)
    assert CALL not in alert.text
    assert told(bot) == [alert]


async def test_message_is_not_drawn_again_while_nothing_changes(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    await message(bot)
    with Trace() as trace:
        await pass_time(bot, 60)
        bot.together.fire("a-2", "cluster-1", "gpu-2", **XID)
        await pass_time(bot, 60)
    assert trace.count(unrepaired) == 3, "for what came, and as its message is written down before and after its edit"


async def test_next_one_is_in_the_same_message_and_called_for_in_its_thread(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    alert = await message(bot)
    bot.together.fire("a-2", "cluster-1", "gpu-2", **XID)
    await until(bot, lambda: thread(bot, alert), 1200)
    assert thread(bot, alert)[0] == "gpu-2: critical, firing for 15 min or longer, and no repair is open for it."
    assert alert.text.startswith(
        "gpu-1, gpu-2 (cluster-1 (H100)): Xid 79, GPU has fallen off the bus, and no repair is open"
    )
    await pass_time(bot, 3600)
    assert sum(CALL in line for line in thread(bot, alert)) == 1
    assert told(bot) == [alert]


@pytest.mark.parametrize("refusal", ["no_permission", "html"])
async def test_next_one_is_called_for_although_slack_takes_no_edit(bot: World, refusal: str) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    alert = await message(bot)
    bot.slack.faults.append(SlackFault("chat.update", refusal, times=-1))
    bot.together.fire("a-2", "cluster-1", "gpu-2", **XID)
    await until(bot, lambda: CALL in " ".join(thread(bot, alert)), 1800)
    bot.slack.faults.clear()
    await until(bot, lambda: "gpu-1, gpu-2" in alert.text)


async def test_fault_with_an_open_repair_is_not_told_and_counts_from_its_end(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    alert = await card(bot)
    await pass_time(bot, 3600)
    assert told(bot) == []
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await pass_time(bot, 840)
    assert told(bot) == [], "somebody has just decided to leave the node as it is"
    await message(bot)


async def test_repair_that_is_suggested_late_ends_the_message(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", **XID)  # it names no node
    alert = await message(bot)
    assert "unknown node (cluster-1" in alert.text
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await until(bot, lambda: "lists no critical fault" in alert.text)


async def test_warning_is_in_the_home_and_the_list_and_nowhere_else(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID, **WARNING)
    bot.together.fire("a-2", "cluster-2", "gpu-2")
    await pass_time(bot, 3 * POLL)
    await bot.slack.open_home()
    await bot.slack.until(lambda: "without a repair" in str(bot.slack.homes.get("U0ALICE")))
    home = str(bot.slack.homes["U0ALICE"])
    assert "Faults without a repair: 2" in home
    assert home.index("gpu-1") < home.index("gpu-2"), "the oldest first"
    assert "Warning: Xid 79, GPU has fallen off the bus" in home
    await bot.slack.command("list")
    listed = (await bot.reply_privately()).text
    assert "Faults without a repair: 2." in listed
    assert "cluster-1 (H100) · Warning: Xid 79" in listed
    bot.together.alerts.pop("a-2")
    await pass_time(bot, 7200)
    assert told(bot) == []


@pytest.mark.parametrize("code", [7, 5, 12])
async def test_list_that_is_not_there_is_said_once_and_asked_for_each_hour(
    bot: World, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    bot.together.faults.append(Fault("rpc", verb="alerts", code=code, times=-1))
    with caplog.at_level(logging.WARNING):
        await pass_time(bot, 4 * 3600 + 300)
    assert sum("doesn't list firing alerts" in record.message for record in caplog.records) == 1
    assert 4 <= alerts_read(bot) <= 6
    bot.together.faults.clear()
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await message(bot, seconds=3600 + 1200)


async def test_storm_of_alerts_is_no_storm_of_calls(bot: World) -> None:
    enforce_slacks_limits(bot)
    bot.together.max_page = 200
    for number in range(10_000):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
    before = alerts_read(bot)
    await pass_time(bot, 4 * POLL, longest=0)
    assert 20 <= alerts_read(bot) - before <= 5 * 20
    alert = await message(bot)
    assert "…and" in alert.text
    assert len(alert.text) < 4000
    await pass_time(bot, 1200)
    assert len(told(bot)) == 1


async def test_alerts_are_read_once_in_five_minutes_while_together_is_slow(bot: World) -> None:
    await began(bot)
    count = alerts_read(bot)

    def takes_long() -> None:
        bot.time.seconds += 2.5

    bot.together.on_call["list"] = takes_long
    await pass_time(bot, 1500, longest=15)
    assert 4 <= alerts_read(bot) - count <= 6


@pytest.mark.bot(BOT_UNREPAIRED_MINUTES="0")
async def test_nobody_is_told_where_it_is_switched_off(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await pass_time(bot, 7200)
    assert told(bot) == []


async def test_deleted_message_is_posted_again_and_calls_nobody(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.slack.messages.remove(alert)
    bot.together.fire("a-2", "cluster-1", "gpu-2", **WARNING)
    bot.together.alerts["a-1"]["annotation"] = XID["annotation"]
    again = await until(bot, lambda: next((message for message in told(bot) if message is not alert), None), 600)
    posted = [body for method, body in bot.slack.calls if method == "chat.postMessage"]
    assert [CALL in str(message["text"]) for message in posted] == [True, False]
    assert "Xid 79" in again.text


@pytest.mark.parametrize("arrives", [True, False])
async def test_death_between_a_row_and_its_post_leaves_one_message(database_url: str, *, arrives: bool) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        await began(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
        await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.postMessage"], 1200)
        await kill_the_watch(bot)
        async with bot.another():
            await message(bot)
            await pass_time(bot, 1800)
            assert len(told(bot)) == 1


@pytest.mark.parametrize("arrives", [True, False])
async def test_reply_whose_result_is_not_known_is_looked_for(bot: World, *, arrives: bool) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=arrives))
    bot.together.fire("a-2", "cluster-1", "gpu-2")
    await until(bot, lambda: thread(bot, alert), 1800)
    await pass_time(bot, 1800)
    assert sum(CALL in line for line in thread(bot, alert)) == 1


async def test_it_is_told_once_slack_is_back(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", times=-1))
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await pass_time(bot, 1500)
    bot.slack.faults.clear()
    alert = await message(bot)
    bot.slack.faults.append(SlackFault("chat.update", "drop", times=-1))
    bot.together.alerts.clear()
    await pass_time(bot, 600)
    bot.slack.faults.clear()
    await until(bot, lambda: "lists no critical fault" in alert.text)
    assert told(bot) == [alert]


async def test_message_about_a_cluster_that_is_gone_says_so(bot: World) -> None:
    bot.together.fire("a-1", "cluster-2", "gpu-1")
    alert = await message(bot)
    bot.together.clusters.pop("cluster-2")
    await until(bot, lambda: "isn't monitored any more" in alert.text, 3600)
    await pass_time(bot, 7200)
    assert await execute_beside(bot, select(faults)) == []


async def test_other_tools_are_told_when_people_are() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            bot.together.fire("a-1", "cluster-1", "gpu-1")
            await message(bot)
            bot.together.alerts.clear()
            events = await until(bot, lambda: webhook.events if len(webhook.events) == 2 else None)
            assert [(event["type"].rpartition(".")[2], event["data"]) for event in events] == [
                ("unrepaired", {"cluster_id": "cluster-1", "is_over": False, "nodes": 1}),
                ("unrepaired", {"cluster_id": "cluster-1", "is_over": True, "is_watched": True}),
            ]


@pytest.mark.parametrize("refusal", ["no_permission", "is_archived", "html"])
async def test_other_tools_are_told_that_a_fault_is_over_although_slack_takes_no_edit(refusal: str) -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            bot.together.fire("a-1", "cluster-1", "gpu-1")
            alert = await message(bot)
            bot.slack.faults.append(SlackFault("chat.update", refusal, times=-1))
            bot.together.alerts.clear()
            await until(bot, lambda: [event["data"]["is_over"] for event in webhook.events] == [False, True], 300)
            bot.slack.faults.clear()
            await until(bot, lambda: "lists no critical fault" in alert.text, 300)
            await pass_time(bot, 600)
            assert [event["data"]["is_over"] for event in webhook.events] == [False, True]


async def test_end_that_slack_took_late_is_told_by_a_reading_of_then(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.slack.faults.append(SlackFault("chat.update", "no_permission", times=-1))
    bot.together.alerts.clear()
    await pass_time(bot, 300)
    bot.together.faults.append(Fault("rpc", "alerts", times=-1))
    await pass_time(bot, 900)
    bot.slack.faults.clear()
    await until(bot, lambda: "no critical fault without a repair is known" in alert.text, 600)
    bot.together.faults.clear()
    await until(bot, lambda: "Together lists no critical fault without a repair" in alert.text, 600)


async def came_back(bot: World, seconds: float, key: str) -> Posted:
    """Let a repair end, and its fault fire again so long after it. Returns its card."""
    bot.together.add(linked_alerts=[{"alert_name": "DmesgXidError", **XID}])
    alert = await carried_out(bot)
    await pass_time(bot, seconds)
    bot.together.fire(key, "cluster-1", "instance-1", **XID)
    await until(bot, lambda: "Fault came back after" in alert.text)
    return alert


async def repaired_while_it_fires(bot: World) -> Posted:
    """Let a repair end while the alert that led to it still fires. Returns its card."""
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    return await carried_out(bot)


async def test_fault_that_fires_again_after_its_repair_came_back(bot: World) -> None:
    await began(bot)
    alert = await came_back(bot, 300, "a-9")
    assert "Xid 79 is back: check the node and any new remediation." in alert.text
    await until(bot, lambda: [line for line in thread(bot, alert) if f"{CALL}, Xid 79 came back on" in line])


async def test_fault_that_still_fires_a_quarter_of_an_hour_after_its_repair_did_not_stop_with_it(bot: World) -> None:
    await began(bot)
    alert = await repaired_while_it_fires(bot)
    await pass_time(bot, 840)
    assert "didn't help" not in alert.text, "an alert takes its time to clear"
    await until(bot, lambda: "Reboot didn't help" in alert.text, 900)


async def test_alert_that_clears_soon_after_its_repair_is_no_fault_without_one(bot: World) -> None:
    await began(bot)
    await repaired_while_it_fires(bot)
    bot.together.fire("a-2", "cluster-1", "gpu-2", **WARNING)  # what fires has changed, so returns are looked for
    await pass_time(bot, 240)
    assert told(bot) == []
    bot.together.alerts.pop("a-1")
    await pass_time(bot, 600)
    assert told(bot) == []


async def test_alert_has_its_time_to_clear_also_where_faults_without_a_repair_are_told_sooner() -> None:
    async with watching(BOT_UNREPAIRED_MINUTES="2") as bot:
        await began(bot)
        await repaired_while_it_fires(bot)
        await pass_time(bot, 600)
        assert told(bot) == []


async def test_message_about_another_fault_asks_for_no_repair_while_an_alert_has_its_time_to_clear(bot: World) -> None:
    bot.together.fire("a-2", "cluster-1", "gpu-2", **XID)
    about = await message(bot)
    await repaired_while_it_fires(bot)
    await pass_time(bot, 240)
    assert "gpu-2" in about.text
    assert "instance-1" not in about.text
    await until(bot, lambda: "instance-1" in about.text, 900)


async def test_fault_that_clears_for_minutes_is_shown_again_and_calls_nobody(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    over = await message(bot)
    bot.together.alerts.clear()
    await message(bot, "lists no critical fault")
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    again = await until(bot, lambda: next((message for message in told(bot) if message is not over), None), 600)
    assert TOLD in again.text
    assert CALL not in again.text


async def test_fault_that_came_back_is_shown_once_its_next_repair_was_cancelled(bot: World) -> None:
    await began(bot)
    await came_back(bot, 1800, "a-1")
    ids = bot.together.add(("cluster-1", "instance-1", "remediation-2"), linked_alerts=[bot.together.alerts["a-1"]])
    await bot.slack.press(await card(bot, ids), CANCEL)
    await message(bot)


@pytest.mark.parametrize("minutes", ["0", "15"])
async def test_fault_that_came_back_is_told_on_its_card_alone(minutes: str) -> None:
    async with watching(BOT_UNREPAIRED_MINUTES=minutes) as bot:
        await began(bot)
        await came_back(bot, 1800, "a-1")
        await pass_time(bot, 1800)
        assert told(bot) == []


async def test_alerts_are_read_each_minute_and_at_once_when_a_repair_ends(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    bot.together.fire("a-2", "cluster-1", "gpu-2", **XID, **WARNING)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    alert = await card(bot)
    await pass_time(bot, 600)
    before = alerts_read(bot)
    await pass_time(bot, 1200, longest=15)
    assert 15 <= alerts_read(bot) - before <= 21
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    before = alerts_read(bot)
    await pass_time(bot, 2 * POLL)
    assert alerts_read(bot) > before


@pytest.mark.parametrize("is_archived", [True, False])
async def test_message_moves_with_the_alerts_of_its_cluster_and_calls_there(bot: World, *, is_archived: bool) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    old = await message(bot)
    bot.slack.channels[CHANNEL].is_archived = is_archived
    await bot.settle()
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 600)
        (new,) = [
            message for message in bot.slack.visible() if message.channel == "C0OTHER" and "gpu-1" in message.everything
        ]
        assert "S0ONCALL" in new.everything
        if not is_archived:
            assert old.text == "Cluster cluster-1 (H100): its alerts moved to <#C0OTHER>."
        bot.together.fire("a-2", "cluster-1", "gpu-2")
        await until(bot, lambda: "gpu-2" in new.everything, 1800)


async def test_message_whose_post_called_nobody_never_says_who_is_on_call(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.slack.messages.remove(alert)
    bot.together.fire("a-2", "cluster-1", "gpu-2", **WARNING)
    bot.together.alerts["a-1"]["annotation"] = XID["annotation"]
    again = await until(bot, lambda: next((message for message in told(bot) if message is not alert), None), 600)
    await pass_time(bot, 120)
    assert "On call" not in again.text
    bot.together.fire("a-3", "cluster-1", "gpu-3")
    await until(bot, lambda: CALL in str(thread(bot, again)), 1200)
    await until(bot, lambda: f"On call: {CALL}" in again.text)
