"""The daily summary: once, about the right clusters, also over a death, and never long after its time."""

import asyncio
import json
import re
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from bot.cards import handover
from bot.daily import DailyTime
from bot.formats import daily_time
from bot.store.tables import leases
from tests.deaths import free_the_lease, kill_the_watch
from tests.manual_clock import START
from tests.rows import execute_beside
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import XID
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.world import APPROVE, CANCEL, World

IN_TEN_MINUTES = "03:10 UTC"
DAY = 86_400.0
IN_CALIFORNIA, SOON_AFTER = daily_time("19:20 America/Los_Angeles"), daily_time("03:20 UTC")  # the same moment


def summaries(bot: World, channel: str = "C0OPS") -> list[str]:
    return [
        message.text
        for message in bot.slack.messages
        if message.channel == channel and message.text.startswith("Since <!date^")
    ]


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_summary_is_sent_once_a_day_and_mentions_nobody(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    assert summaries(bot) == []
    (told,) = await until(bot, lambda: summaries(bot), 900)
    began = int(START) - 9 * 3600
    assert told.startswith(f"Since <!date^{began}^")
    assert "1 new remediation." in told
    assert "Waiting for approval: 1, oldest first" in told
    assert "gpu-node-7" in told
    assert "<@" not in told
    assert "<!subteam" not in told
    await pass_time(bot, DAY - 1800)
    assert len(summaries(bot)) == 1
    await until(bot, lambda: len(summaries(bot)) == 2, 3600)


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_summary_names_who_decided_and_wakes_nobody(bot: World) -> None:
    bot.together.add()
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved, queued")
    (told,) = await until(bot, lambda: summaries(bot), 900)
    (message,) = [message for message in bot.slack.messages if message.text == told]
    assert "Decided by: @alice 1." in told
    assert "<@" not in told
    assert '"user"' not in json.dumps(message.blocks)
    assert "@alice" in json.dumps(message.blocks)


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_tonight_is_since_the_evening_before(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await bot.slack.command("tonight")
    assert (await bot.reply_privately()).text.startswith(f"Since <!date^{int(START) - 9 * 3600}^")


@pytest.mark.bot(
    watching=True, BOT_SUMMARY=IN_TEN_MINUTES, BOT_ROUTES="cluster-2=C0OTHER", BOT_CHANNELS="C0OPS,C0OTHER"
)
async def test_each_channel_hears_of_its_own_clusters(bot: World) -> None:
    bot.together.add(("cluster-2", "instance-2", "remediation-2"), instance_name="gpu-node-2")
    await until(bot, lambda: summaries(bot) and summaries(bot, "C0OTHER"), 900)
    assert "gpu-node-2" not in summaries(bot)[0]
    assert "gpu-node-2" in summaries(bot, "C0OTHER")[0]


@pytest.mark.bot(watching=True, BOT_SUMMARY="01:30 UTC")
async def test_summary_that_was_missed_by_less_than_two_hours_is_sent_late(bot: World) -> None:
    await until(bot, lambda: summaries(bot), 300)


@pytest.mark.bot(watching=True, BOT_SUMMARY="00:55 UTC")
async def test_summary_that_was_missed_by_more_is_not_sent(bot: World) -> None:
    await pass_time(bot, 1800)
    assert summaries(bot) == []


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_summary_whose_answer_was_lost_is_found_and_not_repeated(bot: World) -> None:
    await pass_time(bot, 500)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
    await until(bot, lambda: summaries(bot), 900)
    await pass_time(bot, 1800)
    assert len(summaries(bot)) == 1


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_summary_that_slack_did_not_take_is_sent_again(bot: World) -> None:
    await pass_time(bot, 500)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=2))
    await until(bot, lambda: summaries(bot), 1800)
    await pass_time(bot, 1800)
    assert len(summaries(bot)) == 1


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_summary_of_the_next_day_is_sent_though_it_is_unclear_whether_slack_took_the_last_one(bot: World) -> None:
    await pass_time(bot, 500)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error"))
    await until(bot, lambda: not bot.slack.faults[-1].times, 900)
    bot.slack.faults.append(SlackFault("conversations.history", "internal_error", times=-1))
    await pass_time(bot, 3 * 3600)
    bot.slack.faults[-1].kind = "missing_scope"
    await pass_time(bot, DAY, longest=3600.0)
    assert len(summaries(bot)) == 1


async def test_next_process_does_not_repeat_it(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2, BOT_SUMMARY=IN_TEN_MINUTES) as bot:
        await until(bot, lambda: summaries(bot), 900)
        await kill_the_watch(bot)
        async with bot.another():
            await pass_time(bot, 1800)
            assert len(summaries(bot)) == 1


def at(value: str) -> DailyTime:
    read = daily_time(value)
    assert isinstance(read, DailyTime)
    return read


def test_hour_that_a_change_of_clocks_leaves_out_or_repeats_counts_once() -> None:
    spring, autumn = 1_774_746_000.0, 1_792_893_600.0  # 2026-03-29 01:00 UTC and 2026-10-25 02:00 UTC, in Berlin
    daily = at("02:30 Europe/Berlin")
    for change in (spring, autumn):
        moments = {daily.last(change + hours * 3600)[0] for hours in range(-30, 31)}
        days = {daily.last(change + hours * 3600)[1] for hours in range(-30, 31)}
        assert len(moments) == len(days)


def test_shift_begins_on_the_evening_before_in_the_zone_of_the_summary() -> None:
    assert at("08:00 UTC").shift_began(START) == START - 9 * 3600
    assert handover.shift_began(None, START) == START - 12 * 3600


@pytest.mark.bot(watching=True, BOT_SUMMARY="23:30 America/Nuuk")
async def test_time_in_a_gap_before_midnight_leaves_the_watch_alone(
    bot: World, caplog: pytest.LogCaptureFixture
) -> None:
    bot.time.set_back = START - datetime(2027, 3, 28, 1, 0, tzinfo=UTC).timestamp()
    await pass_time(bot, 120)
    assert "Watch failed" not in caplog.text


def test_time_in_a_gap_before_midnight_has_a_time_before_it_and_days_of_its_own() -> None:
    daily, change = at("23:30 America/Nuuk"), datetime(2027, 3, 28, 1, tzinfo=UTC).timestamp()
    moments = {daily.last(change + minutes * 60)[0] for minutes in range(-3000, 3000, 10)}
    assert len(moments) == len({daily.last(moment)[1] for moment in moments})


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_summary_that_slack_takes_late_is_not_sent_twice(bot: World) -> None:
    async def second() -> None:
        await bot.time.advance(1)
        for _ in range(300):
            await asyncio.sleep(0)

    await pass_time(bot, 500)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", late=True))
    with bot.slack.paused("chat.postMessage"):
        while not bot.slack.is_waiting("chat.postMessage"):
            await second()
        for _ in range(6):  # Slack is slow while the watch ticks
            await second()
    await quiet(bot)
    bot.slack.execute_late()  # 6 s after it was sent, of ARRIVED_SECONDS = 15
    await pass_time(bot, 1800)
    assert len(summaries(bot)) == 1


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_doubt_outlasts_a_loss_of_the_lease_where_the_channel_cannot_be_read(bot: World) -> None:
    bot.slack.faults.append(SlackFault("conversations.history", "missing_scope", times=-1))
    await pass_time(bot, 500)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", after=True))
    await until(bot, lambda: summaries(bot), 900)
    await execute_beside(bot, update(leases).values(owner="somebody", until=0.0))
    await pass_time(bot, 1800)
    assert len(summaries(bot)) == 1


async def test_summary_of_a_day_is_sent_once_though_its_time_changes(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2, BOT_SUMMARY=IN_TEN_MINUTES) as bot:
        await pass_time(bot, 500)
        bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
        await until(bot, lambda: summaries(bot), 900)
        await kill_the_watch(bot)
        later = bot.settings.model_copy(update={"bot_summary": daily_time("03:30 UTC")})
        async with bot.another(later):
            await pass_time(bot, 3600)
            assert len(summaries(bot)) == 1


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_clock_that_was_wrong_for_a_moment_ends_no_summaries(bot: World) -> None:
    bot.time.set_back = -30 * DAY
    await until(bot, lambda: summaries(bot), 900)
    bot.time.set_back = 0.0
    await pass_time(bot, 3 * DAY)
    assert len(summaries(bot)) > 1


@pytest.mark.bot(watching=True, BOT_SUMMARY="23:30 America/Sao_Paulo")  # half an hour ago: there it is midnight
async def test_summary_that_is_late_covers_the_same_shift(bot: World) -> None:
    (told,) = await until(bot, lambda: summaries(bot), 300)
    assert told.startswith(f"Since <!date^{int(START) - 30 * 3600}^")


@pytest.mark.bot(watching=True, BOT_SUMMARY=IN_TEN_MINUTES)
async def test_long_summary_names_who_decided(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    failing = []
    for n in range(12):
        bot.together.add(("cluster-1", f"i-{n}", f"r-{n}"), instance_name=f"{'n' * 57}{n}", linked_alerts=XID)
        name = f"{'m' * 57}{n}"
        failing.append(bot.together.add(("cluster-1", f"f-{n}", f"q-{n}"), instance_name=name, linked_alerts=XID))
    await poll(bot)
    for ids in failing:
        bot.together.review(ids, "approve")
        bot.together.advance(ids)
        bot.together.fail(ids, "e" * 150)
    (told,) = await until(bot, lambda: summaries(bot), 900)
    (message,) = [message for message in bot.slack.messages if message.text == told]
    shown = json.dumps(message.blocks, ensure_ascii=False)
    assert "Decided by" in shown
    assert "@U0ALICE" not in shown


async def test_summary_of_another_zone_is_not_left_out_for_a_day(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2, BOT_SUMMARY="03:10 UTC") as bot:
        await until(bot, lambda: summaries(bot), 900)
        await bot.settle()
        await free_the_lease(database_url)
        later = bot.settings.model_copy(update={"bot_summary": IN_CALIFORNIA})  # 03:20 UTC
        async with bot.another(later):
            await pass_time(bot, 86_400 + 3600)
            assert len(summaries(bot)) == 2


async def test_summary_of_another_zone_is_not_sent_twice_in_ten_minutes(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2, BOT_SUMMARY="19:10 America/Los_Angeles") as bot:
        await until(bot, lambda: summaries(bot), 900)
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_summary": SOON_AFTER})):
            await pass_time(bot, 3600)
            assert len(summaries(bot)) == 1


@pytest.mark.parametrize("is_away", [True, False])
async def test_summary_says_when_nobody_could_know_what_began_and_ended(*, is_away: bool) -> None:
    async with watching(BOT_SUMMARY="09:10 UTC") as bot:
        await pass_time(bot, 900)
        last = bot.time.now()
        bot.together.faults += [Fault("rpc", verb=verb, code=14, times=-1) for verb in ("list", "clusters")]
        if is_away:
            await bot.settle()
        ended = datetime.fromtimestamp(bot.time.now() + 3600, UTC).isoformat()
        bot.together.add(state="SUCCEEDED", start_time=ended, end_time=ended)
        await (bot.time.advance(5 * 3600) if is_away else pass_time(bot, 5 * 3600))
        bot.together.faults.clear()
        back = bot.time.now()
        async with bot.another() if is_away else nullcontext():
            (told,) = await until(bot, lambda: summaries(bot), 3 * 3600)
            assert "no new remediations. None ended." in told
            found = re.search(r"between <!date\^(\d+)\^.* and <!date\^(\d+)\^.* may be missing", told)
            assert found, told
            assert last - 900 <= int(found[1]) <= last
            assert back - 1800 <= int(found[2]) <= back
            await bot.slack.command("tonight")
            assert "may be missing" in (await bot.reply_privately()).text


@pytest.mark.parametrize("channel", ["C0OPS", "C0OTHER"])
async def test_summary_in_the_moment_after_a_restart_is_sure_of_nothing_that_is_yet_to_be_read(channel: str) -> None:
    channels = "C0OPS,C0OTHER"
    async with watching(BOT_SUMMARY=IN_TEN_MINUTES, BOT_ROUTES="cluster-2=C0OTHER", BOT_CHANNELS=channels) as bot:
        bot.together.clusters["cluster-2"] = "cluster-2"
        await pass_time(bot, 60)
        await bot.settle()
        await bot.time.advance(1800)
        bot.together.faults += [Fault("hang", verb=verb, times=-1) for verb in ("clusters", "list")]
        async with bot.another():
            (told,) = await until(bot, lambda: summaries(bot, channel))
        assert "Nothing is waiting for approval, as far as Together could be read." in told
