"""One process watches: handovers, lost leases, and deaths between any two steps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select, update

from bot.models import Alert, Remediation, TrackedMessage, new_id
from bot.store import Database, Lease, LeasedDatabase, messages
from bot.store.tables import alerts, leases
from tests.deaths import die_sending, kill_the_watch
from tests.fetch import get
from tests.manual_clock import POLL
from tests.rows import execute, execute_beside
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.watch import CHANNEL, card, enforce_slacks_limits, pass_time, poll, quiet, thread, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, CANCEL, IDS, World, both_databases

pytestmark = pytest.mark.bot(watching=True)

OTHER_NODE = ("cluster-1", "instance-2", "remediation-2")


@pytest.fixture
async def two(postgresql: str) -> AsyncIterator[World]:
    async with watching(database=postgresql) as bot, bot.another():
        yield bot


async def test_two_processes_post_one_card_and_keep_it_true(two: World) -> None:
    for number in range(4):
        two.together.add(("cluster-1", f"instance-{number}", f"remediation-{number}"))
    alerts = [await card(two, ("cluster-1", f"instance-{number}", f"remediation-{number}")) for number in range(4)]
    await pass_time(two, 60)
    assert two.slack.visible() == alerts
    await two.slack.press(alerts[0], APPROVE)
    two.together.review(("cluster-1", "instance-1", "remediation-1"), "cancel")
    await until(two, lambda: "Cancelled: reboot" in alerts[1].text)
    await until(two, lambda: "Approved by <@U0ALICE>" in alerts[0].text)
    await until(two, lambda: all(len(two.slack.replies(alert)) == 1 for alert in alerts[:2]))
    rounds = (two.time.seconds + POLL) / POLL
    lists = [call for call in two.together.calls if call.verb == "list" and call.instance == "-"]
    assert len(lists) <= rounds + 1, "both processes read"
    assert [len(two.slack.replies(alert)) for alert in alerts] == [1, 1, 0, 0]


async def test_other_process_watches_at_once_when_the_first_stops(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        bot.together.add()
        alert = await card(bot)
        async with bot.another():
            await bot.settle()
            bot.together.review(IDS, "approve")
            bot.together.add(OTHER_NODE)
            await until(bot, lambda: "Approved, queued" in alert.text)
            await card(bot, OTHER_NODE)
            assert len(bot.slack.cards(IDS[2])) == len(bot.slack.cards(OTHER_NODE[2])) == 1


async def test_other_process_takes_over_when_the_first_falls_silent(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        bot.together.add()
        alert = await card(bot)
        async with bot.another():
            _, watch = bot.app._parts["watcher"]
            watch.cancel()
            await quiet(bot)
            await execute_beside(bot, update(leases).values(until=0.0))
            bot.together.resolve(IDS)
            await until(bot, lambda: "recovered on its own" in alert.text)


@both_databases
async def test_process_that_lost_the_watch_writes_nothing(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    database = Database(bot.settings.database_url, bot.time.clock)
    thief = Lease(database, "watch", 600, bot.time.clock)
    await execute(database, update(leases).values(until=0.0))
    assert await thief.acquire()
    bot.together.review(IDS, "approve")
    await poll(bot)
    await poll(bot)
    assert alert.edits == 0
    assert await execute(database, select(alerts.c.state)) == [{"state": "PENDING_APPROVAL"}]
    await thief.release()
    await database.close()
    await until(bot, lambda: "Approved, queued" in alert.text, 300)


@both_databases
async def test_process_that_another_one_watched_for_begins_anew(bot: World) -> None:
    await began(bot)
    database = Database(bot.settings.database_url, bot.time.clock)
    other = LeasedDatabase(database, "watch", 600, bot.time.clock)
    await execute(database, update(leases).values(until=0.0))
    assert await other.acquire()
    bot.together.add()
    waits = Alert(Remediation.model_validate(bot.together.remediations[IDS]), "as it was")
    # It isn't due before the first one has renewed its lease, so nothing else shows that somebody had it.
    message = TrackedMessage(new_id(), False, "cluster-1", "C0OPS", next_at=bot.time.now() + 200)
    await other.run(messages.add_cards, [(waits, message)], 0)
    bot.together.resolve(IDS)
    await other.release()
    await database.close()
    await pass_time(bot, 900)
    assert [message.text for message in bot.slack.cards(IDS[2]) if APPROVE in message.buttons] == []


@both_databases
async def test_card_due_when_the_watch_was_lost_is_posted_when_it_is_back(bot: World) -> None:
    await began(bot)
    bot.together.faults.append(Fault("hang", verb="list", instance="instance-1"))
    bot.together.add()
    await until(bot, lambda: [call for call in bot.together.calls if call.instance == "instance-1"])
    database = Database(bot.settings.database_url, bot.time.clock)
    thief = Lease(database, "watch", 600, bot.time.clock)
    await execute(database, update(leases).values(until=0.0))
    assert await thief.acquire()
    await pass_time(bot, 100)
    await thief.release()
    await database.close()
    bot.together.faults.clear()
    await until(bot, lambda: bot.slack.cards(IDS[2]), 300)


@pytest.mark.parametrize("arrives", [True, False])
async def test_death_between_a_row_and_its_post_leaves_one_card(database_url: str, *, arrives: bool) -> None:
    async with watching(database=database_url) as bot:
        bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
        bot.together.add()
        await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.postMessage"])
        await kill_the_watch(bot)
        async with bot.another():
            alert = await card(bot)
            await pass_time(bot, 60)
            assert bot.slack.cards(IDS[2]) == [alert]
            bot.together.review(IDS, "cancel")
            await card(bot, words="Cancelled: reboot")


@pytest.mark.parametrize("arrives", [True, False])
async def test_death_between_a_reply_and_its_row_tells_the_thread_once(database_url: str, *, arrives: bool) -> None:
    async with watching(database=database_url) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.review(IDS, "approve")
        await until(bot, lambda: bot.slack.replies(alert))
        posts = len([1 for method, _ in bot.slack.calls if method == "chat.postMessage"])
        bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
        bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host left"}
        await until(bot, lambda: len([1 for method, _ in bot.slack.calls if method == "chat.postMessage"]) > posts)
        await kill_the_watch(bot)
        async with bot.another():
            await pass_time(bot, 120)
            assert len([reply for reply in bot.slack.replies(alert) if "no host left" in reply.text]) == 1


@pytest.mark.parametrize("arrives", [True, False])
async def test_death_in_the_middle_of_an_escalation_loses_and_repeats_nothing(
    database_url: str, *, arrives: bool
) -> None:
    async with watching(database=database_url, BOT_ESCALATE="S0LEADS/40", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 39 * 60)
        await die_sending(bot, SlackFault("chat.postMessage", "hang", after=arrives))
        async with bot.another():
            await pass_time(bot, 120)
            assert len([reply for reply in bot.slack.replies(alert) if "<!subteam^S0LEADS>" in reply.text]) == 1


async def test_reminder_that_a_dead_process_sent_in_quiet_hours_calls_nobody_after_them(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="02:00-03:16 UTC") as bot:
        bot.together.add(linked_alerts=[{"severity": "PHC_SEVERITY_WARNING", "alert_name": "IBLinkFlapping"}])
        alert = await card(bot)
        await pass_time(bot, 14 * 60)
        await die_sending(bot, SlackFault("chat.postMessage", "drop", after=True))
        await bot.time.advance(60)
        async with bot.another():
            await pass_time(bot, 120, longest=0.0)
            assert [reply.text.endswith("<!subteam^S0ONCALL>") for reply in bot.slack.replies(alert)] == [False, True]


async def test_death_before_an_edit_leaves_no_stale_card(database_url: str) -> None:
    async with watching(database=database_url) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("chat.update", "hang"))
        bot.together.review(IDS, "approve")
        await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.update"])
        await kill_the_watch(bot)
        async with bot.another():
            await until(bot, lambda: "Approved, queued" in alert.text)
            lines = await until(bot, lambda: bot.slack.replies(alert))
            await pass_time(bot, 30)
            assert len(lines) == len(bot.slack.replies(alert)) == 1


async def test_edit_of_a_dead_process_that_slack_executes_late_does_not_stay(database_url: str) -> None:
    async with watching(database=database_url) as bot, AsyncExitStack() as stack:
        bot.together.add()
        alert = await card(bot)
        with bot.slack.paused("chat.update"):
            bot.together.review(IDS, "approve")
            await until(bot, lambda: bot.slack.is_waiting("chat.update"))
            await kill_the_watch(bot)
            bot.together.advance(IDS)
            with bot.slack.open_for_others("chat.update"):
                await stack.enter_async_context(bot.another())
                await until(bot, lambda: "Cordoning" in alert.text)
        await bot.slack.until(lambda: "Approved, queued" in alert.text)
        await until(bot, lambda: "Cordoning" in alert.text)
        await pass_time(bot, 60)
        assert "Cordoning" in alert.text


async def test_death_between_reminders_repeats_none(database_url: str) -> None:
    async with watching(database=database_url) as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 16 * 60)
        await bot.settle()
        async with bot.another():
            await pass_time(bot, 10 * 60)
            assert len(bot.slack.replies(alert)) == 1
            await bot.slack.press(alert, CANCEL)
            await pass_time(bot, 3600)
            assert [reply.text for reply in bot.slack.replies(alert) if "has been waiting" in reply.text][1:] == []


async def test_nothing_is_posted_again_after_a_restart(database_url: str) -> None:
    async with watching(database=database_url) as bot:
        bot.together.add()
        bot.together.add(OTHER_NODE)
        alerts = [await card(bot), await card(bot, OTHER_NODE)]
        bot.together.review(OTHER_NODE, "approve")
        await card(bot, OTHER_NODE, "Approved, queued")
        await until(bot, lambda: bot.slack.replies(alerts[1]))
        await bot.settle()
        calls = len(bot.slack.calls)
        async with bot.another():
            await pass_time(bot, 90)
        assert [method for method, _ in bot.slack.calls[calls:] if method.startswith("chat.")] == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"bot_observe": ("*",)}, "only observes"), ({"bot_wait_minutes": {"*": 0}}, "is drained at once")],
)
async def test_card_says_what_holds_by_the_settings_of_a_restart(
    bot: World, setting: dict[str, object], words: str
) -> None:
    bot.together.add()
    await card(bot)
    await pass_time(bot, 3 * 3600)  # no reminder is left that would have it looked at
    await bot.settle()
    async with bot.another(bot.settings.model_copy(update=setting)):
        await card(bot, words=words)


async def test_escalation_that_is_set_at_a_restart_is_for_what_waits_already(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 3 * 3600)
    await bot.settle()
    async with bot.another(bot.settings.model_copy(update={"bot_escalate": ("S0LEADS", 1800.0)})):
        await until(bot, lambda: "S0LEADS" in str(thread(bot, alert)))


async def test_failure_is_told_before_other_cards_follow_the_settings_of_a_restart() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="0") as bot:
        bot.together.clusters |= {f"c-{number}": f"c-{number}" for number in range(25)}
        await began(bot)
        bot.together.add(state="RUNNING")
        alert = await card(bot)
        await pass_time(bot, 700)
        for number in range(125):
            bot.together.add((f"c-{number % 25}", f"instance-{number}", f"r-{number:03d}"))
        await until(bot, lambda: len(bot.slack.visible()) == 126, 600)
        enforce_slacks_limits(bot)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_observe": ("*",)})):
            await pass_time(bot, 30)
            bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": moment(bot)}
            await until(bot, lambda: [line for line in thread(bot, alert) if "failed" in line], 75)


@both_databases
async def test_stop_ends_the_watch_although_slack_refuses_the_last_edit(bot: World) -> None:
    bot.together.add()
    await card(bot)
    with bot.slack.paused("chat.update"):
        bot.slack.faults.append(SlackFault("chat.update", "internal_error"))
        bot.together.review(IDS, "approve")
        await until(bot, lambda: bot.slack.is_waiting("chat.update"))
        bot.stop.set()
        await quiet(bot)
    async with asyncio.timeout(10):
        await bot.running


async def test_stop_waits_for_the_watch_and_for_decisions_at_once() -> None:
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        await card(bot)
        with bot.slack.paused("chat.postMessage"), bot.together.paused("get"):
            bot.together.add(("cluster-1", "instance-2", "remediation-2"))
            await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            bot.stop.set()
            async with asyncio.timeout(5):
                await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name().startswith("click ")])
            assert bot.slack.is_waiting("chat.postMessage")


async def test_process_that_lost_the_watch_does_not_say_that_alerts_cannot_be_posted(bot: World) -> None:
    bot.slack.channels[CHANNEL].bot_may_post, bot.slack.channels[CHANNEL].is_private = False, True
    bot.together.add()
    await pass_time(bot, 60)
    assert await get(bot.app, "/readyz") == (200, "ready\nCan't post alerts in C0OPS: not_in_channel.\n")
    another = update(leases).where(leases.c.name == "watch").values(owner="another", until=bot.time.now() + 800)
    await execute_beside(bot, another)
    await pass_time(bot, 120)
    assert await get(bot.app, "/readyz") == (200, "ready\n")


@pytest.mark.bot(watching=True)
async def test_failure_told_before_a_death_is_told_once_though_another_follows(bot: World) -> None:
    await began(bot)
    first, second, *_ = ids = storm(bot, 6)
    message = await digest(bot)
    for one in ids:
        bot.together.review(one, "approve")
        bot.together.advance(one, "RUNNING")
    await poll(bot)
    bot.together.fail(first, "no host left")
    with bot.slack.paused("chat.postMessage"):
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        await kill_the_watch(bot)
    await quiet(bot)
    bot.together.fail(second, "no host left")
    await bot.time.advance(20)
    async with bot.another():
        await pass_time(bot, 120)
    lines = thread(bot, message)
    assert [sum(f"gpu-node-000{number}" in line for line in lines) for number in range(3)] == [1, 1, 0]


@pytest.mark.bot(watching=True)
async def test_failure_told_outside_a_locked_thread_before_a_death_is_told_once(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    bot.together.advance(IDS, "RUNNING")
    await card(bot, words="Rebooting")
    bot.slack.locked.add(alert.ts)
    bot.together.fail(IDS, "no host left")
    with bot.slack.paused("chat.postMessage"):
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
    with bot.slack.paused("chat.postMessage"):
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        await kill_the_watch(bot)
    await quiet(bot)
    await bot.time.advance(20)
    async with bot.another():
        await pass_time(bot, 120)
    assert len([message for message in bot.slack.visible() if "failed on" in message.text]) == 1
