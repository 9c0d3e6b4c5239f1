"""Pairs of features: what is sent to Together, and who had agreed to it."""

import asyncio
from typing import Any

import pytest

from tests.deaths import free_the_lease
from tests.decisions.test_brake import ASK, broken
from tests.proxy import line_to
from tests.simulator.together import Fault
from tests.storms import began, storm
from tests.watch import HOLD, LOOKING, card, ends, pass_time, poll, thread, until, watching
from tests.watcher.test_next_incident import AUTOMATIC
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, CANCEL, IDS, REF, World, world


def starts_automatically(bot: World, **fields: Any) -> None:
    """Let it end, and the next incident open under the same ID, for which Together asks nobody."""
    bot.together.resolve(IDS)
    bot.together.remediations[IDS] |= {
        "state": "PENDING",
        "create_time": moment(bot),
        "end_time": None,
        "linked_alerts": firing("94"),
        **fields,
    }


# BOT_MAX_REPAIRS_PER_NODE


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


# Typed commands


@pytest.mark.parametrize("is_reviewed", [False, True])
async def test_typed_cancel_that_lay_for_minutes_cancels_no_repair_that_started_since(
    postgresql: str, *, is_reviewed: bool
) -> None:
    """Its process died once it was acknowledged. With a time of its review, nothing is sent."""
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        with bot.slack.paused("users.info"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        assert bot.together.posts == []
        await bot.time.advance(300)
        starts_automatically(bot, **({**AUTOMATIC, "review_time": moment(bot)} if is_reviewed else {}))
        async with bot.another():
            await bot.time.advance(30)
            told = await bot.answer()
            assert bot.together.posts == [], told.text


async def test_typed_cancel_is_not_repeated_for_a_repair_that_started_since(postgresql: str) -> None:
    """Together renews no time but that of the last incident's end."""
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        opened_at = bot.together.remediations[IDS]["create_time"]
        bot.together.faults.append(Fault("hang", verb="cancel"))  # it never arrives
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        await bot.settle()
        await bot.time.advance(60)
        starts_automatically(bot, create_time=opened_at, end_time=moment(bot))
        async with bot.another():
            await bot.time.advance(30)
            told = await bot.answer()
            assert len(bot.together.posts) == 1, told.text


async def test_typed_cancel_that_was_rate_limited_cancels_no_repair_that_started_since() -> None:
    async with world() as bot:
        bot.together.add()
        bot.together.faults.append(Fault("rpc", verb="cancel", code=8, headers={"Retry-After": "9"}))

        def ends_and_starts() -> None:
            bot.together.on_call.clear()
            bot.time.seconds += 5
            starts_automatically(bot)

        bot.together.on_call["cancel"] = ends_and_starts
        await bot.slack.command(REF)
        told = await bot.answer()
        assert len(bot.together.posts) == 1, told.text


# What a process that died had acknowledged


@pytest.mark.parametrize("how", ["menu", "mention"])
async def test_hold_that_a_dead_process_left_holds_no_later_incident(database_url: str, how: str) -> None:
    """On-call isn't called for the next incident, for as long as the hold lasts."""
    async with watching(database=database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            if how == "menu":
                await bot.slack.press(alert, HOLD, user="U0BOB", choice="86400")
            else:
                await bot.slack.say("<@U0BOT> hold 24h", user="U0BOB", thread=alert)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(300)
        bot.together.resolve(IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("94"))
        async with bot.another():
            await pass_time(bot, 7200)
            assert [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line], thread(bot, alert)
            assert "On hold until" not in alert.text


async def test_call_for_the_next_incident_without_that_hold(database_url: str) -> None:
    """The same without a hold: on-call is called."""
    async with watching(database=database_url, drain_seconds=0.05, BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(300)
        bot.together.resolve(IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("94"))
        async with bot.another():
            await pass_time(bot, 7200)
            assert [line for line in thread(bot, alert) if "<!subteam^S0ONCALL>" in line]


async def test_looking_that_a_dead_process_left_is_not_about_a_later_incident(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.05) as bot:
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        with bot.slack.paused("users.info"):
            await bot.slack.press(alert, LOOKING, user="U0BOB")
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        await bot.time.advance(300)
        bot.together.resolve(IDS)
        bot.together.add(create_time=moment(bot), linked_alerts=firing("94"))
        async with bot.another():
            await pass_time(bot, 60)
            assert "Xid 94" in alert.text
            assert "Looking into it: <@U0BOB>" not in alert.text


# The storm brake


async def test_dialog_that_showed_a_smaller_storm_resumes_nothing() -> None:
    """It latches again at half as many more than somebody resumed with: at 6, not at 30."""
    async with watching(BOT_STORM_BRAKE="4", BOT_ONCALL="S0ONCALL") as bot:
        ids, message = await broken(bot)
        assert "4 of 4 nodes broken at once" in message.text
        await bot.slack.press(message, ASK, user="U0BOB")
        view = (await bot.slack.until(lambda: list(bot.slack.views)))[-1]
        storm(bot, 16, start=4)
        await until(bot, lambda: "20 nodes broken at once" in message.text)
        await bot.slack.submit(view, user="U0BOB", **{ASK: "it's only four"}, **ends(view))
        await bot.reply_privately("U0BOB")
        await poll(bot)
        await bot.slack.press(bot.alert(ids[0]), APPROVE)
        await pass_time(bot, 10)
        assert bot.together.posts == [], message.text


# Two people


async def test_both_who_approved_are_named_where_the_second_answer_was_lost() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE, user="U0BOB")
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            bot.together.faults += [Fault("rpc", verb=verb, times=-1, code=13) for verb in ("get", "list")]
        await card(bot, words="may have gone through")
        bot.together.faults.clear()
        await card(bot, words="Approved by", seconds=300)
        await pass_time(bot, 120)
        assert "Approved by <@U0ALICE> and <@U0BOB>" in alert.text


async def test_power_cycle_does_not_leave_once_the_first_of_its_approvers_wants_to_cancel() -> None:
    """Together takes a second for the last look before the POST, which isn't sent yet when Alice presses Cancel."""
    async with watching(BOT_TWO_PEOPLE_MODES="HOST_POWER_CYCLE") as bot:
        await began(bot)
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        await poll(bot)
        cancel = dict(alert.controls[CANCEL])
        looks: list[int] = []

        def slow_at_the_second() -> None:
            looks.append(1)
            if len(looks) == 2:
                bot.together.faults.append(Fault("slow", verb="get", seconds=1.0))

        bot.together.on_call["get"] = slow_at_the_second
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.together.until(lambda: len(looks) == 2)
        await bot.slack.press(alert, CANCEL, user="U0ALICE", button=cancel)
        assert "Nothing more was sent" in (await bot.reply_privately("U0ALICE")).text
        assert bot.together.posts == []
        assert "the first of its two approvals no longer counts" in (await bot.reply_privately("U0BOB")).text
        await until(bot, lambda: "1 of 2 approvals" not in alert.text)
        assert bot.together.posts == [], alert.text


async def test_power_cycle_that_became_a_removal_while_the_first_approval_was_read_is_not_sent(postgresql: str) -> None:
    """Approve can't name a power cycle, so what is there when the POST arrives runs."""
    async with line_to(postgresql) as line, watching(database=line.url, BOT_TWO_PEOPLE_MODES="HOST_POWER_CYCLE") as bot:
        await began(bot)
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        await poll(bot)
        looks: list[int] = []

        def freeze_at_the_second() -> None:
            looks.append(1)
            if len(looks) == 2:
                line.freeze()

        bot.together.on_call["get"] = freeze_at_the_second
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.together.until(lambda: len(looks) == 2)
        while not bot.transactions():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT"
        bot.time.seconds += 1  # the database's own clock is behind the line
        line.thaw()
        await bot.together.until(lambda: len(looks) > 2 or bot.together.posts)
        await pass_time(bot, 30)
        assert bot.together.posts == [], alert.text
