"""Faults without a repair, over time: answers that lack something, clocks, deaths, and edits that go wrong."""

import asyncio
import json
import re
from typing import Any

import pytest

from tests.deaths import free_the_lease, kill_the_watch
from tests.decisions.test_brake import broken
from tests.manual_clock import ON_THE_WAY, POLL
from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, storm
from tests.watch import card, carried_out, enforce_slacks_limits, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import CALL, TOLD, WARNING, XID, message, told
from tests.world import IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
OVER = "lists no critical fault"


def calls_of(bot: World) -> int:
    """How many posts that stand in Slack or were made mention on-call."""
    return sum(
        CALL in json.dumps(body) or "S0ONCALL" in json.dumps(body)
        for method, body in bot.slack.calls
        if method == "chat.postMessage"
    )


async def test_over_is_not_said_while_a_younger_critical_one_fires(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.together.fire("a-2", "cluster-1", "gpu-2")
    await pass_time(bot, 60)
    bot.together.alerts.pop("a-1")
    await pass_time(bot, 120)
    assert OVER not in alert.text, alert.text  # a-2 is critical, fires, and has no repair


async def test_alert_missing_from_one_answer_is_not_called_for_again(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    bot.together.fire("a-2", "cluster-1", "gpu-2", started_at="2026-11-24T03:00:00Z")
    await message(bot)
    await pass_time(bot, 60)
    before = calls_of(bot)
    for _ in range(5):
        gone = bot.together.alerts.pop("a-1")
        await pass_time(bot, POLL + 3)
        bot.together.alerts["a-1"] = gone
        await pass_time(bot, POLL + 3)
    assert calls_of(bot) == before, (before, calls_of(bot))


async def test_alert_that_the_last_list_lacks_is_not_told_for_the_first_time(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await pass_time(bot, 880)
    bot.together.alerts.clear()
    await pass_time(bot, 2 * POLL)
    assert told(bot) == []


async def test_pages_that_shift_while_read_call_nobody_again(bot: World) -> None:
    bot.together.max_page = 2
    for number in range(4):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
    await message(bot)
    await pass_time(bot, 60)
    before = calls_of(bot)
    reads = []

    def shift() -> None:
        reads.append(1)
        if len(reads) == 2:
            bot.together.alerts.pop("a-3")  # of the first page, once that was read

    bot.together.on_call["alerts"] = shift
    await pass_time(bot, 120)
    assert calls_of(bot) == before, (before, calls_of(bot))


async def test_nothing_is_told_from_what_was_read_long_ago(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await pass_time(bot, 60)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
    bot.together.alerts.clear()  # it clears at once, but that can't be read
    await pass_time(bot, 1800)
    assert told(bot) == [], told(bot)[0].text


async def test_nothing_is_told_while_neither_list_can_be_read(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1")
    await pass_time(bot, 60)
    bot.together.faults.append(Fault("rpc", code=14, times=-1))
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])  # a repair is open
    await pass_time(bot, 1800)
    assert told(bot) == [], told(bot)[0].text


@pytest.mark.parametrize("severity", ["CRITICAL", "WARNING"])
async def test_home_and_the_sum_of_a_shift_say_as_of_when_they_know_a_fault(bot: World, severity: str) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", severity=f"PHC_SEVERITY_{severity}")
    await pass_time(bot, 1200)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
    await pass_time(bot, 3600)
    bot.together.alerts.clear()
    for old in (True, False):
        await bot.slack.open_home()
        await bot.slack.command("tonight")
        told = (await bot.reply_privately(count=2 - old)).text
        await quiet(bot)
        for shown in (told, json.dumps(bot.slack.homes["U0ALICE"])):
            assert ("Faults without a repair: 1" in shown) is old
            assert ("Can't read Together's alerts now." in shown) is old
        bot.together.faults.clear()
        await pass_time(bot, 900)


@pytest.mark.bot(BOT_POLL_SECONDS="900")
async def test_nothing_is_called_old_between_two_polls(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot, seconds=3600)
    for _ in range(8):
        await pass_time(bot, 240)
        await bot.slack.open_home()
        await quiet(bot)
        home = json.dumps(bot.slack.homes["U0ALICE"])
        assert "Faults without a repair: 1" in home
        assert "Can't read Together's alerts now." not in home + alert.text


async def test_404_about_one_cluster_does_not_blind_the_others(bot: World) -> None:
    await began(bot)
    bot.together.clusters["cluster-2"] = "two"
    await pass_time(bot, 700)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=5, times=1, cluster="cluster-2"))
    await pass_time(bot, 30)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await message(bot, seconds=1200)


async def test_clock_that_is_set_back_does_not_end_the_message(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    before = calls_of(bot)
    bot.time.set_back = 600
    await pass_time(bot, 60)
    text = alert.text
    bot.time.set_back = 0
    await pass_time(bot, 60)
    assert (OVER in text, calls_of(bot) - before) == (False, 0)


@pytest.mark.parametrize("minutes", ["0", "120"])
async def test_changed_setting_does_not_say_that_nothing_fires(database_url: str, minutes: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        alert = await message(bot)
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_unrepaired_minutes": int(minutes)})):
            await pass_time(bot, 120)
            assert OVER not in alert.text


async def test_cluster_no_longer_watched_is_not_said_to_be_without_faults(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        bot.together.fire("a-1", "cluster-2", "gpu-1")
        alert = await message(bot, seconds=3000)
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_clusters": ("cluster-1",)})):
            await pass_time(bot, 120)
            assert OVER not in alert.text  # it still fires; the bot just doesn't look


async def test_cluster_no_longer_watched_with_a_card_is_not_shown_forever(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        bot.together.add(("cluster-2", "instance-9", "remediation-9"))
        bot.together.fire("a-1", "cluster-2", "gpu-1")
        alert = await message(bot, seconds=3000)
        await bot.settle()
        await free_the_lease(database_url)
        bot.together.alerts.clear()
        async with bot.another(bot.settings.model_copy(update={"bot_clusters": ("cluster-1",)})):
            await pass_time(bot, 3600)
            assert TOLD not in alert.text  # it has cleared an hour ago


async def test_repair_that_ended_during_a_takeover_still_gives_its_minutes(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
        await card(bot)
        await pass_time(bot, 3600)
        await kill_the_watch(bot)
        bot.together.review(IDS, "cancel")
        async with bot.another():
            await pass_time(bot, 120)
            assert told(bot) == []


async def test_on_call_is_not_called_twice_for_a_fault_that_came_back(bot: World) -> None:
    await began(bot)
    bot.together.add(linked_alerts=[{"alert_name": "DmesgXidError", **XID}])
    await carried_out(bot)
    await pass_time(bot, 300)
    before = calls_of(bot)
    bot.together.fire("a-9", "cluster-1", "instance-1", **XID)
    await pass_time(bot, 2400)
    assert calls_of(bot) - before == 1, calls_of(bot) - before


async def test_on_call_is_not_called_twice_for_a_fault_that_did_not_stop(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await carried_out(bot)
    before = calls_of(bot)
    await pass_time(bot, 2400)
    assert calls_of(bot) - before == 1, calls_of(bot) - before


async def test_repair_is_not_said_to_have_failed_by_an_alert_that_is_not_read(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    alert = await carried_out(bot)
    await pass_time(bot, 60)
    bot.together.max_page = 50
    for number in range(1100):
        bot.together.fire(f"b-{number}", "cluster-1", f"gpu-{number}", **WARNING)
    bot.together.alerts.pop("a-1")  # the repair helped
    await pass_time(bot, 2400)
    assert "didn't help" not in alert.text


async def test_critical_fault_is_over_only_once_all_alerts_can_be_read(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.together.max_page = 50
    for number in range(1100):
        bot.together.fire(f"b-{number}", "cluster-1", f"gpu-{number}", **WARNING)
    await pass_time(bot, 1800)
    assert TOLD in alert.text  # the newest come first, so nobody can see that it fires
    for each in ["a-1", *(f"b-{number}" for number in range(200))]:
        bot.together.alerts.pop(each)
    await until(bot, lambda: OVER in alert.text)


async def test_very_many_are_counted(bot: World) -> None:
    bot.together.max_page = 200
    for number in range(1000):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
    await pass_time(bot, 840)
    alert = await message(bot)
    assert "997 more" in alert.text.splitlines()[0], alert.text.splitlines()[0]


async def test_edit_of_unclear_result_is_put_right(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    fault = SlackFault("chat.update", "drop", after=True)
    bot.slack.faults.append(fault)
    bot.together.fire("a-2", "cluster-1", "gpu-2")
    await until(bot, lambda: fault.times == 0)
    bot.together.alerts.pop("a-2")
    await pass_time(bot, 3600)
    assert "gpu-2" not in alert.text


async def test_edit_that_died_with_its_process_is_put_right(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        alert = await message(bot)
        fault = SlackFault("chat.update", "hang", after=True)
        bot.slack.faults.append(fault)
        bot.together.fire("a-2", "cluster-1", "gpu-2")
        await until(bot, lambda: fault.times == 0)
        await kill_the_watch(bot)
        bot.together.alerts.pop("a-2")
        async with bot.another():
            await pass_time(bot, 3600)
            assert "gpu-2" not in alert.text


async def test_end_is_told_to_other_tools_though_the_message_is_gone() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            bot.together.fire("a-1", "cluster-1", "gpu-1")
            alert = await message(bot)
            bot.slack.messages.remove(alert)
            bot.together.alerts.clear()
            await pass_time(bot, 300)
            assert [event["data"]["is_over"] for event in webhook.events] == [False, True]


async def test_counting_alert_is_no_storm_of_edits(bot: World) -> None:
    events: list[dict[str, Any]] = [{"xid_code": "79", "count": 1}]
    bot.together.fire("a-1", "cluster-1", "gpu-1", annotation={"title": "x", "xid": {"events": events}})
    alert = await message(bot)
    edits = alert.edits

    def more() -> None:
        events[0]["count"] += 1

    bot.together.on_call["alerts"] = more
    await pass_time(bot, 1100, longest=15)
    assert alert.edits - edits < 20, alert.edits - edits


@pytest.mark.parametrize("where", ["linked", "node"])
async def test_numbers_for_ids_are_the_same_ids(bot: World, where: str) -> None:
    if where == "linked":
        bot.together.fire("7", "cluster-1", **XID)
        bot.together.alerts["7"]["passive_health_check_alert_id"] = 7
        bot.together.add(linked_alerts=[bot.together.alerts["7"]])
    else:
        bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
        bot.together.alerts["a-1"]["passive_health_check_alert_id"] = None
        bot.together.alerts["a-1"]["instance_id"] = None
        bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await card(bot)
    await pass_time(bot, 1800)
    assert told(bot) == []


async def test_open_repair_that_the_list_lacks_is_open(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await card(bot)
    bot.together.lists_as[IDS] = "SUCCEEDED"  # lists lack it, though reading it says that it waits
    await pass_time(bot, 1800)
    assert told(bot) == []


async def test_edit_that_slack_executes_late_does_not_stay(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    fault = SlackFault("chat.update", "internal_error", late=True)
    bot.slack.faults.append(fault)
    bot.together.fire("a-2", "cluster-1", "gpu-2")
    await until(bot, lambda: fault.times == 0)
    bot.together.alerts.clear()
    await until(bot, lambda: OVER in alert.text)
    bot.slack.execute_late()
    await pass_time(bot, 3700)
    assert OVER in alert.text


async def test_post_is_not_looked_for_too_early_after_a_clock_went_back(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        await began(bot)
        fault = SlackFault("chat.postMessage", "hang", late=True)
        bot.slack.faults.append(fault)
        await until(bot, lambda: fault.times == 0, 1200)
        await kill_the_watch(bot)
        bot.time.set_back = 5
        async with bot.another():
            await pass_time(bot, 9)
            bot.slack.execute_late()
            await pass_time(bot, 600)
            assert len(told(bot)) == 1


async def test_edits_may_be_refused_for_good_without_a_storm_of_posts(bot: World) -> None:
    events: list[dict[str, Any]] = [{"xid_code": "79", "count": 1}]
    bot.together.fire("a-1", "cluster-1", "gpu-1", annotation={"title": "x", "xid": {"events": events}})
    await message(bot)

    def more() -> None:
        events[0]["count"] += 1

    bot.together.on_call["alerts"] = more
    bot.slack.faults.append(SlackFault("chat.update", "edit_window_closed", times=-1))
    await pass_time(bot, 600, longest=15)
    assert len(told(bot)) < 5, len(told(bot))


async def test_critical_one_beyond_the_kept_is_called_for(bot: World) -> None:
    bot.together.max_page = 200
    for number in range(200):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
    alert = await message(bot)
    bot.together.fire("b-1", "cluster-1", "other-1", **XID)
    await pass_time(bot, 1200)
    assert any("other-1" in line for line in thread(bot, alert)) or "201" in alert.text or "198 more" in alert.text, (
        alert.text
    )


async def test_clock_that_was_ahead_does_not_delay_it(bot: World) -> None:
    await began(bot)
    bot.time.set_back = -7200
    bot.together.fire("a-1", "cluster-1", "gpu-1", started_at=None)
    await pass_time(bot, 60)
    bot.time.set_back = 0
    await message(bot, seconds=1500)


async def test_nothing_old_is_told_by_a_new_process_before_it_has_read(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        await pass_time(bot, 60)
        await kill_the_watch(bot)
        await bot.time.advance(7200)
        bot.together.alerts.clear()
        bot.together.faults.append(Fault("slow", verb="list", seconds=0.0, times=0))
        with bot.together.paused("list"):
            async with bot.another():
                await pass_time(bot, 8)  # Together takes some seconds to answer
        assert told(bot) == []


@pytest.mark.bot(BOT_POLL_SECONDS="2")
async def test_older_reading_does_not_undo_a_newer_one(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await message(bot)
    await pass_time(bot, 30)
    before = calls_of(bot)
    with bot.together.paused("alerts answered"):
        await until(bot, lambda: bot.together.is_waiting("alerts answered"))
        bot.together.alerts.clear()
        with bot.together.open_for_others("alerts answered"):
            await pass_time(bot, 7)
    await pass_time(bot, 30)
    assert (calls_of(bot), len(told(bot))) == (before, 1)


async def test_over_while_fault_waits_for_its_minutes_after_a_repair(bot: World) -> None:
    """Slack is down while a repair is open; it was cancelled before the message could be edited."""
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    alert = await message(bot)
    fault = SlackFault("chat.update", "internal_error", times=-1)
    bot.slack.faults.append(fault)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await pass_time(bot, 60)
    bot.together.review(IDS, "cancel")
    await pass_time(bot, 60)
    bot.slack.faults.clear()
    await pass_time(bot, 120)
    assert OVER not in alert.text


async def test_blind_channel_has_it_twice_at_most(bot: World) -> None:
    bot.slack.may_read_history = False
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    unclear = [SlackFault("chat.postMessage", "internal_error", after=True) for _ in range(3)]
    bot.slack.faults += [unclear[0], SlackFault("chat.postMessage", "fatal_error_x"), *unclear[1:]]
    await pass_time(bot, 2400, longest=60)
    assert len(told(bot)) <= 2, len(told(bot))


@pytest.mark.parametrize("arrives", [True, False])
async def test_what_may_be_in_a_channel_that_could_not_be_read_is_looked_for_once_it_can(
    bot: World, *, arrives: bool
) -> None:
    bot.slack.may_read_history = False
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    unclear = [SlackFault("chat.postMessage", "internal_error", after=arrives) for _ in range(2)]
    bot.slack.faults += unclear
    await until(bot, lambda: not any(fault.times for fault in unclear), 2400)
    await pass_time(bot, 1200, longest=60)
    assert len(told(bot)) == (2 if arrives else 0)
    bot.slack.may_read_history = True
    await until(bot, lambda: [message for message in told(bot) if CALL in message.text])
    await pass_time(bot, 120)
    bot.together.alerts.clear()
    await until(
        bot, lambda: [message for message in bot.slack.visible() if "lists no critical fault" in message.text], 600
    )
    assert len(told(bot)) == (2 if arrives else 1)


async def test_what_may_be_in_a_channel_that_cannot_be_read_ends_with_its_fault() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            bot.slack.may_read_history = False
            bot.together.fire("a-1", "cluster-1", "gpu-1")
            unclear = [SlackFault("chat.postMessage", "internal_error") for _ in range(2)]
            bot.slack.faults += unclear
            await until(bot, lambda: not any(fault.times for fault in unclear), 2400)
            await pass_time(bot, 120)
            bot.together.alerts.clear()
            await pass_time(bot, 300)
            assert [event["data"]["is_over"] for event in webhook.events] == [False, True]


@pytest.mark.parametrize("is_same", [False, True], ids=["another", "the same again"])
async def test_later_call_in_a_channel_that_cannot_be_read_is_repeated_too(bot: World, *, is_same: bool) -> None:
    bot.slack.may_read_history = False
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.together.fire("a-2", "cluster-1", "gpu-2")
    unclear = [SlackFault("chat.postMessage", "internal_error") for _ in range(2)]
    bot.slack.faults += unclear
    await until(bot, lambda: not any(fault.times for fault in unclear), 3600)
    await pass_time(bot, 300, longest=60)
    if is_same:
        gone = bot.together.alerts.pop("a-2")
        await pass_time(bot, 4500, longest=60)
        bot.together.alerts["a-2"] = gone
    else:
        bot.together.fire("a-3", "cluster-1", "gpu-3")
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error"))
    await pass_time(bot, 2400, longest=60)
    assert [line for line in thread(bot, alert) if f"gpu-{2 if is_same else 3}: critical" in line]


async def test_call_is_repeated_though_another_one_was_to_be_that_is_not_needed_any_more(bot: World) -> None:
    bot.slack.may_read_history = False
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    for number in (2, 3):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
        unclear = SlackFault("chat.postMessage", "internal_error")
        bot.slack.faults.append(unclear)
        await until(bot, lambda: not unclear.times, 2400)  # noqa: B023 - it is awaited here
        bot.together.alerts.pop("a-2", None)
    await pass_time(bot, 900, longest=60)
    assert [line for line in thread(bot, alert) if "gpu-3: critical" in line]


async def test_unclear_post_while_the_alert_flaps(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    fault = SlackFault("chat.postMessage", "internal_error", after=True)
    bot.slack.faults.append(fault)
    await until(bot, lambda: fault.times == 0, 1200)
    gone = bot.together.alerts.pop("a-1")
    await pass_time(bot, 24)
    bot.together.alerts["a-1"] = gone
    await pass_time(bot, 600)
    assert calls_of(bot) == 1, calls_of(bot)


@pytest.mark.parametrize("counting", [False, True])
async def test_thread_reply_is_not_starved_by_messages_about_faults(bot: World, *, counting: bool) -> None:
    enforce_slacks_limits(bot)
    counts = []
    for number in range(12):
        events: list[dict[str, Any]] = [{"xid_code": "79", "count": 1}]
        counts.append(events)
        bot.together.fire(
            f"a-{number}", f"cluster-{number}", f"gpu-{number}", annotation={"title": "x", "xid": {"events": events}}
        )
    await pass_time(bot, 1500)
    assert len(told(bot)) == 12

    def more() -> None:
        for each in counts:
            each[0]["count"] += 1

    if counting:
        bot.together.on_call["alerts"] = more
        await pass_time(bot, 60)
    bot.together.add(linked_alerts=[{"alert_name": "DmesgXidError", **XID}])
    alert = await card(bot)
    start = bot.time.seconds
    bot.together.review(IDS, "cancel")  # in Together's console
    edited = replied = 0.0
    while not (edited and replied) and bot.time.seconds < start + 600:
        await pass_time(bot, 5)
        edited = edited or ("Cancelled" in alert.text and bot.time.seconds - start)
        replied = replied or (bool(thread(bot, alert)) and bot.time.seconds - start)
    bot.time.passing = ON_THE_WAY  # so that it can end
    bot.slack.limits = None
    edited, replied = edited or 9999.0, replied or 9999.0
    assert (edited < 40, replied < 60) == (True, True), (edited, replied)


async def test_process_ends_though_an_edit_about_faults_waits_for_its_turn(bot: World) -> None:
    enforce_slacks_limits(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await message(bot)
    fault = SlackFault("chat.update", "ratelimited", retry_after=600)
    bot.slack.faults.append(fault)
    bot.together.alerts["a-1"]["annotation"] = XID["annotation"]
    await until(bot, lambda: fault.times == 0, 120)
    await pass_time(bot, 60)  # the next attempt waits for its turn
    began_at, stopping = bot.time.seconds, asyncio.ensure_future(bot.settle())
    while not stopping.done() and bot.time.seconds - began_at < 700:
        await asyncio.sleep(0.01)
        await bot.time.advance(5)
    took = bot.time.seconds - began_at
    await stopping
    assert took < 60, took


@pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4")
async def test_post_about_the_brake_calls_for_no_alert_that_was_read_long_ago(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    await pass_time(bot, 60)
    unreadable = Fault("rpc", verb="alerts", code=14, times=-1)
    bot.together.faults.append(unreadable)
    await pass_time(bot, 900)
    storm(bot, 4)
    await until(bot, lambda: [message for message in bot.slack.visible() if "paused automatically" in message.text])
    bot.together.faults.remove(unreadable)
    await pass_time(bot, 900)
    calling = [
        body for method, body in bot.slack.calls if method == "chat.postMessage" and "S0ONCALL" in json.dumps(body)
    ]
    assert sum("gpu-1" in json.dumps(each) for each in calling) == 1, calling


@pytest.mark.parametrize("code", [7, 13])
async def test_repair_that_opens_while_alerts_can_not_be_read_ends_the_message(bot: World, code: int) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1")
    alert = await message(bot)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=code, times=-1))
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await until(bot, lambda: OVER in alert.text)
    await pass_time(bot, 1800)
    assert told(bot) == [alert]


async def test_message_says_when_alerts_were_last_read_and_names_no_node_whose_repair_is_open(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1")
    alert = await message(bot)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=13, times=-1))
    await until(bot, lambda: "Last confirmed" in alert.text, 600)
    assert TOLD in alert.text
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await until(bot, lambda: TOLD not in alert.text)
    assert OVER not in alert.text
    assert "Last confirmed" in alert.text
    bot.together.faults.clear()
    await until(bot, lambda: OVER in alert.text, 600)
    assert "Last confirmed" not in alert.text


async def test_message_still_says_after_a_restart_when_alerts_were_last_read(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        alert = await message(bot)
        bot.together.faults.append(Fault("rpc", verb="alerts", code=13, times=-1))
        await until(bot, lambda: "Last confirmed" in alert.text, 600)
        text, edits = alert.text, alert.edits
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another():
            await pass_time(bot, 1800)
            assert (alert.text, alert.edits) == (text, edits)


async def test_repair_that_opens_unread_is_no_reading_of_the_alerts_before(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "instance-1")
    alert = await message(bot)
    await bot.settle()
    last_read = bot.time.now()
    bot.together.faults.append(Fault("rpc", verb="alerts", code=13, times=-1))
    await bot.time.advance(7200)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    async with bot.another():
        await until(bot, lambda: "Last confirmed" in alert.text, 1800)
        (at,) = re.findall(r"Last confirmed <!date\^(\d+)", alert.text)
        assert float(at) <= last_read, alert.text


@pytest.mark.parametrize("code", [7, 13], ids=["a refused key", "an outage"])
async def test_fault_that_a_new_process_can_never_read_is_called_old(code: int) -> None:
    async with watching() as bot:
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        alert = await message(bot)
        await bot.settle()
        bot.together.faults.append(Fault("rpc", verb="alerts", code=code, times=-1))
        async with bot.another():
            await pass_time(bot, 60)
            assert "Last confirmed" not in alert.text, "it may be about to be read"
            await pass_time(bot, 1800)
            assert "Last confirmed" in alert.text
            await bot.slack.open_home()
            await quiet(bot)
            assert "Can't read Together's alerts now." in json.dumps(bot.slack.homes["U0ALICE"])


async def test_repair_that_opened_while_alerts_could_not_be_read_gives_its_minutes_once_it_ends(bot: World) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1")
    alert = await message(bot)
    unreadable = Fault("rpc", verb="alerts", code=13, times=-1)
    bot.together.faults.append(unreadable)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await until(bot, lambda: OVER in alert.text)
    await pass_time(bot, 7200)
    bot.together.review(IDS, "cancel")
    await pass_time(bot, 60)
    bot.together.faults.remove(unreadable)
    await pass_time(bot, 800)
    assert told(bot) == [alert], "somebody has just decided to leave the node as it is"
    await until(bot, lambda: len(told(bot)) == 2, 600)


class LockedThread(SlackFault):
    """Slack takes no reply."""

    def strikes(self, method: str, body: dict[str, Any]) -> bool:
        return method == "chat.postMessage" and "thread_ts" in body


@pytest.mark.parametrize("is_clear", [True, False])
async def test_further_fault_calls_in_the_channel_where_the_thread_is_locked(bot: World, *, is_clear: bool) -> None:
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    alert = await message(bot)
    bot.slack.faults.append(LockedThread("chat.postMessage", "cannot_reply_to_message", times=-1))
    if not is_clear:
        bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", after=True))
    bot.together.fire("a-2", "cluster-1", "gpu-2")

    def look() -> list[Any]:
        return [
            message for message in bot.slack.visible() if message.text.startswith("gpu-2: critical, firing for 15 min")
        ]

    (call,) = await until(bot, look, 1800)
    assert CALL in call.text
    await pass_time(bot, 3600)
    assert look() == [call]
    assert "gpu-2" in alert.text


async def test_message_that_has_moved_says_its_end_once(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    await message(bot)
    await bot.settle()
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", after=True))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        new = await until(
            bot,
            lambda: [
                message for message in bot.slack.visible() if message.channel == "C0OTHER" and CALL in message.text
            ],
            600,
        )
        await pass_time(bot, 120)
        edits = new[0].edits
        bot.together.alerts.clear()
        await until(bot, lambda: "lists no critical fault" in new[0].text, 600)
        await pass_time(bot, 600)
        assert new[0].edits == edits + 1


async def test_fault_that_has_just_turned_critical_is_not_said_to_have_been_so_for_long() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
        bot.together.fire("a-2", "cluster-1", "gpu-2", **XID, **WARNING)
        await pass_time(bot, 1800)
        (message,) = told(bot)
        assert "gpu-2" not in message.text
        bot.together.alerts["a-2"]["severity"] = "PHC_SEVERITY_CRITICAL"
        await pass_time(bot, 120)
        assert thread(bot, message)[0] == "gpu-2: critical, firing for 15 min or longer, and no repair is open for it."


async def restarted(bot: World) -> None:
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


@pytest.mark.parametrize("before", ["S0BEFORE", ""])
@pytest.mark.parametrize("brake", [True, False])
async def test_message_about_faults_names_nobody_as_called_who_was_not(before: str, *, brake: bool) -> None:
    async with watching(BOT_ONCALL=before, BOT_STORM_BRAKE="4") as bot:
        await began(bot)
        if brake:
            _, message = await broken(bot)
        else:
            bot.together.fire("a-1", "cluster-1", "gpu-1")
            (message,) = await until(
                bot, lambda: [one for one in bot.slack.visible() if "no repair is open" in one.text], 1800
            )
        await pass_time(bot, 60)
        await restarted(bot)
        calls = len(bot.slack.messages)
        async with bot.another(bot.settings.model_copy(update={"bot_oncall": "S0ONCALL"})):
            await pass_time(bot, 300)
            is_called = CALL in str([one.text for one in bot.slack.messages[calls:]])
            assert is_called or CALL not in message.text


@pytest.mark.parametrize("ends", ["unlisted", "resolved"])
async def test_fault_calls_again_after_a_repair_that_nobody_decided_on(bot: World, ends: str) -> None:
    """Together suggests one for ten minutes, and the alert fires all the time."""
    await began(bot)
    bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
    await message(bot)
    bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
    await card(bot)
    await pass_time(bot, 600)
    before = calls_of(bot)
    if ends == "unlisted":
        del bot.together.remediations[IDS]
    else:
        bot.together.resolve(IDS)
    await pass_time(bot, 3600, longest=240)
    assert calls_of(bot) == before + 1


async def test_webhook_learns_that_a_fault_fires_again(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:

        def events() -> list[bool]:
            return [event["data"]["is_over"] for event in webhook.events if event["type"].endswith("unrepaired")]

        await began(bot)
        bot.together.fire("a-1", "cluster-1", "gpu-1")
        await until(bot, lambda: events() == [False], 1200)
        kept = dict(bot.together.alerts)
        bot.together.alerts.clear()
        await until(bot, lambda: events() == [False, True], 1200)
        bot.together.alerts.update(kept)
        await until(bot, lambda: events() == [False, True, False], 1800)  # it calls nobody again within the hour
        bot.together.alerts.clear()
        await until(bot, lambda: events() == [False, True, False, True], 1200)
