"""What Slack executes late, twice, or without saying so: nothing stays untrue, and nobody is told twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bot.store.tables import leases
from tests.manual_clock import HANGS_AFTER, POLL
from tests.rows import execute_beside
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import began, digest, storm
from tests.watch import HOLD, card, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import TOLD, XID
from tests.world import APPROVE, CANCEL, IDS, World

pytestmark = pytest.mark.bot(watching=True)
FAILED = {"state": "FAILED", "error_message": "no host left"}


def unclear(method: str = "chat.postMessage", *, arrives: bool = False, times: int = 1) -> SlackFault:
    return SlackFault(method, "internal_error", after=arrives, times=times)


async def test_edit_that_slack_executes_seconds_late_does_not_stay_over_the_end(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", late=True))
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    bot.together.review(IDS, "cancel")
    await until(bot, lambda: "Cancelled" in alert.text)
    bot.slack.execute_late()
    assert APPROVE in alert.buttons
    await until(bot, lambda: "Cancelled" in alert.text, 30)
    assert APPROVE not in alert.buttons


async def test_card_that_slack_executes_late_is_not_posted_again_though_the_clock_is_set(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", late=True))
    bot.together.add()
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    bot.time.set_back = -60
    await pass_time(bot, 8)
    bot.slack.execute_late()
    await pass_time(bot, 60)
    assert len([message for message in bot.slack.visible() if message.thread_ts is None]) == 1


async def test_card_is_not_looked_for_in_what_was_read_before_it_can_have_arrived(bot: World) -> None:
    await began(bot)
    late = SlackFault("chat.postMessage", "internal_error", late=True)
    bot.slack.faults += [SlackFault("chat.postMessage", "internal_error", times=4), late]
    bot.time.set_back = 4  # so long it takes to write each row, which says when that began
    storm(bot, 5)
    await until(bot, lambda: late.times == 0)
    bot.time.set_back = 0
    looks = looked(bot)
    await until(bot, lambda: looked(bot) > looks)  # for the first one
    bot.slack.execute_late()
    await pass_time(bot, 60)
    assert len([message for message in bot.slack.visible() if message.thread_ts is None]) == 5


async def test_edit_that_slack_executes_much_later_does_not_stay_over_the_end(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", late=True))
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    bot.together.review(IDS, "cancel")
    await pass_time(bot, 45)
    bot.slack.execute_late()
    assert APPROVE in alert.buttons
    await until(bot, lambda: "Cancelled" in alert.text, 120)


async def test_answer_that_slack_executes_late_does_not_stay_over_a_newer_one() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("chat.update", "internal_error", late=True))
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "1 of 2 approvals" in alert.text)
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await until(bot, lambda: "Cancelled" in alert.text)
        bot.slack.execute_late()
        assert CANCEL in alert.buttons
        await until(bot, lambda: "Cancelled" in alert.text, 30)
        assert CANCEL not in alert.buttons


async def test_progress_that_slack_executes_late_does_not_stay_over_the_answer() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("chat.update", "internal_error", late=True))
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: [call for call in bot.together.calls if call.verb == "get"])
            await bot.time.advance(1)
            await bot.slack.until(lambda: bot.slack.faults[0].times == 0)
        await until(bot, lambda: "1 of 2 approvals" in alert.text)
        bot.slack.execute_late()
        assert "is approving this" in alert.text
        await until(bot, lambda: "1 of 2 approvals" in alert.text, 30)
        assert CANCEL in alert.buttons


async def test_hold_that_read_what_was_before_the_end_leaves_the_card_ended(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, POLL - 4.0)
    with bot.together.paused("get answered"):
        await bot.slack.press(alert, HOLD, choice="1800")
        await bot.together.until(lambda: bot.together.is_waiting("get answered"))
        with bot.together.open_for_others("get answered"):
            bot.together.resolve(IDS)
            await card(bot, words="recovered on its own")
    await until(bot, lambda: "Too late to hold: it's already" in alert.text)
    assert APPROVE not in alert.buttons
    await pass_time(bot, 180)
    assert "recovered on its own" in alert.text
    assert "put this on hold" not in "\n".join(thread(bot, alert))


@pytest.mark.parametrize("count", [1, 6])
async def test_post_that_slack_executes_late_leaves_one_message_to_decide_on(bot: World, count: int) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", late=True))
    ids = storm(bot, count)
    await until(bot, bot.slack.visible)
    bot.slack.execute_late()
    kept, copy = bot.slack.visible()
    await until(bot, lambda: copy.edits, 150)
    assert bot.slack.cards(ids[0][2]) + bot.slack.digests() == [kept]
    assert copy.buttons == {}
    assert "posted twice by mistake" in copy.text
    assert f"/C0OPS/p{kept.ts.replace('.', '')}" in copy.text
    await pass_time(bot, 7300)
    assert (copy.edits, len([message for message in bot.slack.visible() if message.buttons])) == (1, 1)


@pytest.mark.parametrize("count", [1, 6])
async def test_post_that_slack_executes_once_its_repairs_are_over_offers_no_decision(bot: World, count: int) -> None:
    await began(bot)
    late = SlackFault("chat.postMessage", "internal_error", late=True)
    bot.slack.faults += [late, unclear(times=2)]  # so that the repairs are over before it is posted again
    ids = storm(bot, count)
    await until(bot, lambda: late.times == 0)
    for one in ids:
        bot.together.resolve(one)
    await pass_time(bot, 75)
    assert bot.slack.visible() == []
    bot.slack.execute_late()
    (arrived,) = bot.slack.visible()
    await pass_time(bot, 3700)
    assert arrived.buttons == {}
    assert "it's over" in arrived.text


async def write_waits(bot: World) -> None:
    """Wait until a transaction doesn't end."""
    waiting: set[asyncio.Future[Any]] = set()
    while not waiting:
        await asyncio.sleep(0)
        if under_way := bot.transactions():
            _, waiting = await asyncio.wait(under_way, timeout=0.3)


async def test_watcher_that_froze_while_it_noted_a_post_does_not_post(bot: World) -> None:
    await began(bot)
    bot.together.faults.append(Fault("hang", verb="list", instance=IDS[1]))
    bot.together.add()
    await until(bot, lambda: [call for call in bot.together.calls if call.instance == IDS[1]])
    async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
        await bot.time.advance(3.1)  # the node's history is left out, and the post is noted
        await asyncio.wait_for(write_waits(bot), HANGS_AFTER)
        bot.time.seconds += 400.0  # the process is frozen for longer than the lease
    await quiet(bot)
    assert "chat.postMessage" not in [method for method, _ in bot.slack.calls]
    await card(bot)
    await pass_time(bot, 60)
    assert len(bot.slack.cards(IDS[2])) == 1


async def failed_repair(bot: World, *faults: SlackFault) -> Posted:
    """A repair that fails, and what Slack makes of the lines about it."""
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: bot.slack.replies(alert))
    bot.slack.faults += faults
    bot.together.remediations[IDS] |= FAILED
    return alert


async def test_failure_is_told_although_slack_did_not_take_it_twice(bot: World) -> None:
    alert = await failed_repair(bot, unclear(times=2))
    await pass_time(bot, 300)
    assert len([line for line in thread(bot, alert) if "no host left" in line]) == 1


async def test_failure_whose_answer_was_lost_is_told_once(bot: World) -> None:
    alert = await failed_repair(bot, unclear(arrives=True))
    await pass_time(bot, 300)
    assert len([line for line in thread(bot, alert) if "no host left" in line]) == 1


async def test_failure_is_told_once_although_the_thread_could_not_be_read_at_first(bot: World) -> None:
    reading = SlackFault("conversations.replies", "internal_error", times=3)
    alert = await failed_repair(bot, unclear(arrives=True), reading)
    await pass_time(bot, 300)
    assert len([line for line in thread(bot, alert) if "no host left" in line]) == 1


async def test_failure_is_told_in_a_thread_that_cannot_be_read_though_slack_was_unclear_before(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    alert = await digest(bot)
    bot.slack.faults.append(SlackFault("conversations.replies", "missing_scope", times=-1))
    reminder = unclear()
    bot.slack.faults.append(reminder)
    await until(bot, lambda: not reminder.times, 2400)
    for each in ids:
        bot.together.review(each, "approve")
        bot.together.advance(each)
    await pass_time(bot, 300)
    lost = unclear()
    bot.slack.faults.append(lost)
    bot.together.fail(ids[0], "no host left")
    await until(bot, lambda: not lost.times, 300)
    await until(bot, lambda: [line for line in thread(bot, alert) if "no host left" in line], 300)


@pytest.mark.parametrize("arrives", [True, False])
async def test_reminder_is_sent_once_although_slack_was_unclear(bot: World, *, arrives: bool) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.slack.faults.append(unclear(arrives=arrives))
    await pass_time(bot, 5 * 60)
    assert len([line for line in thread(bot, alert) if "has been waiting" in line]) == 1


async def test_reminder_that_did_not_arrive_is_not_repeated_after_a_decision(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.slack.faults.append(unclear())
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    await bot.slack.press(alert, CANCEL)
    await pass_time(bot, 300)
    assert [line for line in thread(bot, alert) if "has been waiting" in line] == []


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("may_read", [True, False])
async def test_outage_is_told_although_slack_was_unclear(bot: World, *, arrives: bool, may_read: bool) -> None:
    bot.slack.may_read_history = may_read
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    bot.slack.faults.append(unclear(arrives=arrives))
    await pass_time(bot, 600)
    told = [message for message in bot.slack.visible() if "from Together since" in message.text]
    assert len(told) == (1 if may_read or not arrives else 2)
    bot.together.faults.clear()
    bot.slack.faults.append(unclear(arrives=True))
    await pass_time(bot, 600)
    over = [message for message in bot.slack.visible() if "can be read from Together again" in message.text]
    assert len(over) == (1 if may_read else 2)


async def test_failures_of_a_digest_are_told_once_although_slack_was_unclear(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    bot.slack.faults.append(unclear(arrives=True))
    bot.together.remediations[ids[0]] |= FAILED
    await until(bot, lambda: bot.slack.replies(message))
    bot.together.remediations[ids[1]] |= FAILED | {"error_message": "no power"}
    await pass_time(bot, 120)
    lines = "\n".join(thread(bot, message))
    assert (lines.count("no host left"), lines.count("no power")) == (1, 1)


async def test_second_lost_post_is_looked_for_although_the_databases_clock_is_behind(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        follow = bot.time.follower
        assert follow
        bot.time.follower = lambda now: follow(now - 40.0)
        await began(bot)
        for number in (1, 2):
            looks = looked(bot)
            bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
            storm(bot, 1, start=number)
            await until(bot, lambda before=looks: looked(bot) > before or len(bot.slack.visible()) == 2)  # type: ignore[misc] # mypy cannot see the default
        await pass_time(bot, 120)
        assert len(bot.slack.visible()) == 2


def looked(bot: World) -> int:
    return [method for method, _ in bot.slack.calls].count("conversations.history")


async def test_channel_that_is_gone_is_not_asked_for_each_minute_because_of_a_doubt(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    bot.slack.faults.append(unclear("chat.update"))
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    del bot.slack.channels["C0OPS"]
    before = looked(bot)
    await pass_time(bot, 1800, longest=15)
    assert looked(bot) - before <= 2


@pytest.mark.parametrize("kind", ["brake", "fault", "outage"])
async def test_message_that_slack_posts_late_does_not_say_for_ever_what_is_over(kind: str) -> None:
    words = {"brake": "Approvals are paused automatically", "fault": TOLD, "outage": "Still retrying"}[kind]
    async with watching(BOT_STORM_BRAKE="4") as bot:

        def own() -> list[Any]:
            return [post for post in bot.slack.visible() if words in post.text and not post.thread_ts]

        await began(bot)
        if kind == "brake":
            ids = storm(bot, 4)
            await until(bot, lambda: bot.slack.cards(ids[-1][2]))
        elif kind == "fault":
            bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
            await pass_time(bot, 840)
        else:
            bot.together.unreadable["cluster-1"] = 14
            await pass_time(bot, 240)
        assert not own()
        late = SlackFault("chat.postMessage", "internal_error", late=True)
        bot.slack.faults.append(late)
        await until(bot, own, 900)
        bot.slack.execute_late()  # half a minute after it was sent
        assert len(own()) == 2
        for one in ids if kind == "brake" else []:
            bot.together.resolve(one)
        bot.together.alerts.clear()
        bot.together.unreadable.clear()
        await pass_time(bot, 7200)
        assert own() == [], [(post.text, list(post.buttons)) for post in own()]


async def test_message_that_slack_posts_late_is_found_though_the_watch_began_again(bot: World) -> None:
    def told() -> list[Posted]:
        return [post for post in bot.slack.visible() if TOLD in post.text]

    await began(bot)
    bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
    await pass_time(bot, 840)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", late=True))
    await until(bot, told, 900)
    await execute_beside(bot, update(leases).values(owner="somebody", until=0.0))
    bot.slack.execute_late()
    assert len(told()) == 2
    bot.together.alerts.clear()
    await pass_time(bot, 7200)
    assert told() == []


@pytest.mark.parametrize("kind", ["fault", "outage"])
async def test_message_that_slack_posts_late_is_not_said_to_be_posted_twice_where_it_was_not(kind: str) -> None:
    async with watching() as bot:
        await began(bot)
        if kind == "fault":
            bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
            await pass_time(bot, 840)
        else:
            bot.together.unreadable["cluster-1"] = 14
            await pass_time(bot, 240)
        late = SlackFault("chat.postMessage", "internal_error", late=True)
        bot.slack.faults.append(late)
        await until(bot, lambda: late.times == 0, 300)
        bot.together.alerts.clear()  # it is over before it is looked for, so it isn't posted again
        bot.together.unreadable.clear()
        if kind == "outage":  # the list that can be read again comes as late as the second post
            bot.slack.faults.append(SlackFault("chat.postMessage", "fatal_error", times=-1))
        await pass_time(bot, 60, longest=15)
        assert bot.slack.visible() == []
        bot.slack.faults.clear()
        bot.slack.execute_late()
        await pass_time(bot, 3 * 3600)
        (only,) = bot.slack.visible()
        assert "the other message" not in only.text, only.text


async def test_fault_that_slack_posts_late_is_not_said_to_be_over_where_it_is_the_only_message() -> None:
    async with watching() as bot:

        def said(what: str) -> list[Posted]:
            return [post for post in bot.slack.visible() if what in post.text]

        await began(bot)
        bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
        await pass_time(bot, 840)
        late = SlackFault("chat.postMessage", "internal_error", late=True)
        bot.slack.faults.append(late)
        await until(bot, lambda: late.times == 0, 900)
        with bot.slack.paused("conversations.history"):
            await until(bot, lambda: bot.slack.is_waiting("conversations.history"), 300)
            await execute_beside(bot, update(leases).values(owner="somebody", until=0.0))
        await pass_time(bot, 1)
        bot.slack.execute_late()
        await pass_time(bot, 5400)
        assert said(TOLD), [post.text for post in bot.slack.visible()]


async def test_outage_that_slack_posts_late_is_not_said_to_be_over_or_elsewhere_where_it_is_the_only_message() -> None:
    async with watching() as bot:

        def said(what: str) -> list[Posted]:
            return [post for post in bot.slack.visible() if what in post.text]

        await began(bot)
        late = SlackFault("chat.postMessage", "internal_error", late=True)
        bot.slack.faults.append(late)
        bot.together.unreadable["cluster-1"] = 14
        await until(bot, lambda: late.times == 0, 900)
        with bot.slack.paused("conversations.history"):
            await until(bot, lambda: bot.slack.is_waiting("conversations.history"), 300)
            await execute_beside(bot, update(leases).values(owner="somebody", until=0.0))
        await pass_time(bot, 1)
        bot.slack.execute_late()
        for _ in range(90):
            await pass_time(bot, 60)
        assert said("from Together since"), [post.text for post in bot.slack.visible()]
