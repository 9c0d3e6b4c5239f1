"""How many repairs a node may have (BOT_MAX_REPAIRS_PER_NODE): those under its earlier IDs count too."""

from typing import Any

import pytest

from tests.simulator.together import Fault
from tests.storms import began
from tests.watch import card, pass_time, poll, until, watching
from tests.watcher.test_next_incident import AUTOMATIC
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, IDS, World

SECOND = (IDS[0], IDS[1], "remediation-2")


@pytest.mark.parametrize("polls", ["15", "3600"])
async def test_repair_whose_end_nobody_saw_counts_before_a_poll_has_seen_the_next_incident(polls: str) -> None:
    """Another tool posts the next incident's alert, and somebody approves there before the cluster is read again."""
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h", BOT_POLL_SECONDS=polls) as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot, seconds=4000)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
        await until(bot, lambda: "Rebooting" in alert.text, seconds=8000)
        outage = Fault("rpc", verb="list", code=14, times=-1, instance="-")
        if polls == "15":  # or the cluster as a whole can't be read for a while
            bot.together.faults.append(outage)
        await pass_time(bot, 60)
        bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
        await pass_time(bot, 1860)  # Together suggests nothing for half an hour
        bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
        before, other = len(bot.together.posts), bot.alert()
        await bot.slack.press(other, APPROVE)
        await bot.edited(other)
        await pass_time(bot, 5)
        assert len(bot.together.posts) == before, other.text


async def runs_once(bot: World, ids: Any) -> None:
    """Approve a repair, and let it succeed."""
    alert = await card(bot, ids, words="Approve reboot?")
    await poll(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, ids, words="Approved")
    bot.together.remediations[ids] |= {"state": "RUNNING", "start_time": moment(bot)}
    await pass_time(bot, 60)
    bot.together.remediations[ids] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await card(bot, ids, words="Watched until")
    await pass_time(bot, 2400)


@pytest.mark.parametrize("waits_again", [False, True])
async def test_earlier_repairs_under_another_id_of_the_node_count_too(*, waits_again: bool) -> None:
    other = (IDS[0], IDS[1], "remediation-2")
    rule = "1/24h" if waits_again else "2/24h"
    async with watching(BOT_MAX_REPAIRS_PER_NODE=rule) as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        await runs_once(bot, IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
        if not waits_again:
            await runs_once(bot, IDS)
        await pass_time(bot, 60)
        before = len(bot.together.posts)
        bot.together.add(other, create_time=moment(bot), linked_alerts=firing("94"))
        alert = await card(bot, other)
        await poll(bot)
        await bot.slack.press(alert, APPROVE)
        await pass_time(bot, 10)
        assert len(bot.together.posts) == before, alert.text


async def test_card_does_not_call_it_the_first_repair_of_a_node_that_another_id_repaired_before() -> None:
    other = (IDS[0], IDS[1], "remediation-2")
    async with watching() as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        await runs_once(bot, IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
        await pass_time(bot, 60)
        bot.together.add(other, create_time=moment(bot), linked_alerts=firing("94"))
        alert = await card(bot, other)
        assert "First repair here in 7 days" not in alert.text


async def test_repair_that_the_bot_shows_as_queued_counts_though_lists_lag_behind() -> None:
    other = (IDS[0], IDS[1], "remediation-2")
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(other, linked_alerts=firing("94"))
        alert, second = await card(bot), await card(bot, other)
        await poll(bot)
        bot.together.lists_as[IDS] = "PENDING_APPROVAL"
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        await pass_time(bot, 120)
        assert "Approved, queued" in alert.text
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 10)
        assert len(bot.together.posts) == 1, second.text


@pytest.mark.parametrize("automatic", ["all", "destructive"])
async def test_automatic_repair_counts_though_nobody_is_told_of_it(automatic: str) -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h", BOT_AUTOMATIC_REPAIRS=automatic) as bot:
        await began(bot)
        bot.together.add(**{**AUTOMATIC, "state": "PENDING"}, review_time=moment(bot), linked_alerts=firing("79"))
        await poll(bot)
        bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
        await pass_time(bot, 60)
        bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
        await pass_time(bot, 2400)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("79"))
        alert = await card(bot, words="Approve reboot?")
        await poll(bot)
        await bot.slack.press(alert, APPROVE)
        await pass_time(bot, 10)
        assert bot.together.posts == [], alert.text


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
async def test_repair_that_together_dropped_days_ago_does_not_count_forever(state: str) -> None:
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        bot.together.review(IDS, "approve", "by hand")
        bot.together.remediations[IDS] |= {"state": state}
        await until(bot, lambda: "Approve reboot?" not in alert.text)
        await poll(bot)
        del bot.together.remediations[IDS]
        await card(bot, words="No longer listed: reboot")
        await pass_time(bot, 5 * 86_400)
        bot.together.add(SECOND, create_time=moment(bot), linked_alerts=firing("94"))
        second = await card(bot, SECOND)
        await poll(bot)
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 10)
        assert len(bot.together.posts) == 1, second.text


async def test_queued_repair_that_was_called_off_in_the_console_is_no_repair() -> None:
    """The list that the limit itself has just read says so; the cluster as a whole can't be read for a while."""
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(SECOND, linked_alerts=firing("94"))
        _, second = await card(bot), await card(bot, SECOND)
        bot.together.review(IDS, "approve", "by hand")
        await card(bot, words="Approved")
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, instance="-"))
        await pass_time(bot, 1200)
        bot.together.review(IDS, "cancel")
        await pass_time(bot, 600)
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 10)
        assert len(bot.together.posts) == 1, second.text


async def test_queued_repair_that_was_called_off_within_one_poll_is_no_repair() -> None:
    """Nothing is broken: somebody cancels one in the console, and a colleague approves the other at once."""
    async with watching(BOT_MAX_REPAIRS_PER_NODE="1/24h", BOT_POLL_SECONDS="60") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(SECOND, linked_alerts=firing("94"))
        _, second = await card(bot), await card(bot, SECOND)
        bot.together.review(IDS, "approve", "by hand")
        await card(bot, words="Approved")
        await pass_time(bot, 300)
        bot.together.review(IDS, "cancel")
        await bot.slack.press(second, APPROVE)
        await pass_time(bot, 5)
        assert len(bot.together.posts) == 1, second.text
