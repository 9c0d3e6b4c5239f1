"""The watch: what comes back, gets lost or fails half-way."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from bot.models import Alert, Remediation
from bot.store import Alerts, Database, Digests
from bot.store.tables import batches
from tests.manual_clock import START, ManualClock
from tests.samples import DIGEST, remediation
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.test_storm import APPROVE_SELECTED, SELECT, began, choose, digest, storm
from tests.test_watch_together import free_the_lease, kill_the_watch
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.world import APPROVE, IDS, REFRESH, World


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with watching() as running:
        yield running


async def test_a_proxys_404_is_not_the_end_of_a_remediation(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued to start")
    bot.together.faults += [
        Fault("html", verb="list", status=404, times=3),
        Fault("html", verb="get", status=404, times=3),
    ]
    await pass_time(bot, 60)
    assert "Withdrawn" not in alert.text + "".join(each.text for each in bot.slack.replies(alert))


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "QUARANTINED"])
async def test_what_had_vanished_and_is_back_in_the_middle_of_its_work_is_followed_again(
    bot: World, state: str
) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn: Reboot VM")
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept | {"state": state}
    await until(bot, lambda: "Withdrawn" not in alert.text)
    bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host left"}
    await card(bot, words="Failed: Reboot VM")
    assert "Together lists it again." in bot.slack.replies(alert)[1].text


async def test_what_was_just_read_is_not_called_withdrawn(bot: World) -> None:
    bot.together.add()
    other = bot.alert()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn: Reboot VM")
    await pass_time(bot, 30)
    bot.together.remediations[IDS] = kept | {"state": "PENDING"}
    await bot.slack.press(other, REFRESH)
    await bot.edited(other)
    assert "Withdrawn" not in other.text
    await card(bot, words="Queued to start")
    assert APPROVE not in alert.buttons
    await poll(bot)
    assert "Queued to start" in alert.text


# Channels.


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_alert_of_unclear_fate_is_looked_for_where_it_was_posted_and_followed_where_it_stands(
    bot: World,
    arrives: bool,  # noqa: FBT001 - pytest passes by position
) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
    bot.together.add()
    await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.postMessage"])
    kill_the_watch()
    await bot.settle()
    await free_the_lease(bot.settings.database_url)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        alert = await card(bot)
        await pass_time(bot, 60)
        assert bot.slack.cards(IDS[2]) == [alert]
        assert alert.channel == ("C0OPS" if arrives else "C0OTHER")
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled: Reboot VM")


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_digest_of_unclear_fate_is_looked_for_where_it_was_posted_and_followed_where_it_stands(
    bot: World,
    arrives: bool,  # noqa: FBT001 - pytest passes by position
) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=arrives))
    ids = storm(bot, 6)
    await until(bot, lambda: [1 for method, _ in bot.slack.calls if method == "chat.postMessage"])
    kill_the_watch()
    await bot.settle()
    await free_the_lease(bot.settings.database_url)
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        message = await digest(bot)
        await pass_time(bot, 60)
        assert bot.slack.digests() == [message]
        assert message.channel == ("C0OPS" if arrives else "C0OTHER")
        bot.together.review(ids[0], "cancel")
        await digest(bot, "5 wait for approval")


async def test_a_digest_that_cannot_be_posted_is_reported(bot: World, caplog: pytest.LogCaptureFixture) -> None:
    await began(bot)
    bot.slack.channels["C0OPS"].bot_may_post = False
    storm(bot, 6)
    await until(bot, lambda: "Alerts cannot be posted in C0OPS: not_in_channel." in caplog.text)
    bot.slack.channels["C0OPS"].bot_may_post = True
    await digest(bot)


# What Slack did not take.


async def test_a_line_is_told_though_slack_was_busy_and_then_unclear(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults += [
        SlackFault("chat.postMessage", "ratelimited", retry_after=5),
        SlackFault("chat.postMessage", "drop"),
    ]
    bot.together.review(IDS, "approve")
    await until(bot, lambda: bot.slack.replies(alert))


async def test_a_failure_in_a_digest_is_told_though_slack_was_unclear(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop"))
    bot.together.remediations[ids[0]] |= {"state": "FAILED", "error_message": "no host left"}
    await until(bot, lambda: [each for each in bot.slack.replies(message) if "no host left" in each.text])


async def test_failures_are_told_apart_by_all_three_ids(bot: World) -> None:
    await began(bot)
    ids = [bot.together.add(("cluster-1", f"instance-{number}", "same")) for number in range(6)]
    message = await digest(bot)
    for number, words in ((0, "no host left"), (1, "no power")):
        bot.together.remediations[ids[number]] |= {"state": "FAILED", "error_message": words}
        await until(bot, lambda words=words: [1 for each in bot.slack.replies(message) if words in each.text])  # type: ignore[misc] # mypy cannot see the default


async def test_a_reminder_that_slack_refused_comes_later(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=30))
    await pass_time(bot, 3 * 60)
    assert len(bot.slack.replies(alert)) == 1
    await pass_time(bot, 12 * 60)
    assert len(bot.slack.replies(alert)) == 1


async def test_a_reminder_of_a_digest_that_slack_refused_comes_later(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await pass_time(bot, 14 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", retry_after=30))
    await pass_time(bot, 3 * 60)
    assert len(bot.slack.replies(message)) == 1
    await pass_time(bot, 12 * 60)
    assert len(bot.slack.replies(message)) == 1


async def test_no_reminder_of_a_digest_that_somebody_decides_on_at_that_moment(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await pass_time(bot, 14 * 60 + 30)
    message.selected[SELECT] = ["all"]
    with bot.together.paused("list answered"):
        lists = [each for each in bot.together.calls if each.verb == "list"]
        await until(bot, lambda: len([each for each in bot.together.calls if each.verb == "list"]) > len(lists) + 1)
        await bot.slack.press(message, APPROVE_SELECTED)
        await until(bot, lambda: bot.slack.views)
        await bot.slack.submit(dict(bot.slack.views[0]))
        await quiet(bot)
    await digest(bot, "6 of 6: 6 approved")
    await pass_time(bot, 60)
    assert [each.text for each in bot.slack.replies(message) if "have waited" in each.text] == []


async def test_a_cluster_that_cannot_be_read_keeps_a_digest_from_nothing() -> None:
    async with watching() as bot:
        storm(bot, 4)
        others = storm(bot, 4, start=4, cluster="cluster-2")
        message = await digest(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
        bot.together.remediations["cluster-1", "odd", "odd"] = {
            "state": "PENDING_APPROVAL",
            "cluster_id": "cluster-1",
            "instance_id": "odd",
            "id": "odd",
        }
        await pass_time(bot, 16 * 60)
        (reminder,) = bot.slack.replies(message)
        assert "4 remediations of the list above have waited" in reminder.text
        bot.together.faults[:] = [Fault("rpc", verb="list", code=14, times=-1)]
        await pass_time(bot, 16 * 60)
        bot.together.faults.clear()
        bot.together.review(others[0], "cancel")
        began_at = bot.time.seconds
        await digest(bot, "7 wait for approval")
        assert bot.time.seconds - began_at < 30


async def test_an_edit_of_unclear_fate_is_drawn_over_though_all_is_as_it_was(bot: World) -> None:
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


# The first start.


async def test_a_backlog_is_one_message_though_the_clusters_could_not_be_listed_at_first() -> None:
    async with watching() as bot:
        bot.together.faults.append(Fault("rpc", verb="clusters", code=14, times=6))
        for number in range(8):
            storm(bot, 1, start=number, cluster=f"cluster-{number}")
        message = await digest(bot)
        assert "8 remediations from before the bot began to watch" in message.text
        assert bot.slack.visible() == [message]


async def test_a_backlog_is_one_message_though_the_clusters_could_not_be_read_at_first() -> None:
    async with watching() as bot:
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=24))
        for number in range(8):
            storm(bot, 1, start=number, cluster=f"cluster-{number}")
        message = await digest(bot)
        await pass_time(bot, 60)
        assert "8 remediations from before the bot began to watch" in message.text
        assert bot.slack.visible() == [message]
        storm(bot, 2, start=20)
        await until(bot, lambda: len(bot.slack.visible()) == 3)


async def test_a_misspelt_cluster_has_the_clusters_listed_no_oftener() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,misspelt") as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 500)
        assert [call.verb for call in bot.together.calls].count("clusters") == 1


# Clocks, and very many.


async def test_a_digest_goes_by_the_databases_clock(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        follower = bot.time.follower
        assert follower is not None

        async def lag_behind(now: float) -> None:
            await follower(now - 7200)

        bot.time.follower = lag_behind
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await pass_time(bot, 14 * 60)
        assert bot.slack.replies(message) == []
        await pass_time(bot, 2 * 60)
        assert len(bot.slack.replies(message)) == 1


async def test_more_than_fit_into_one_statement_are_written_down_once(database_url: str) -> None:
    time = ManualClock()
    database = Database(database_url)
    await database.open()
    store = Digests(database, time.clock)
    many = [Alert(each, "", "C0OPS", seen_at=0.0, next_at=None) for each in remediations(1001)]
    await store.add(DIGEST, many)
    await store.add(DIGEST, many[400:])
    look = await store.look(DIGEST.id)
    await database.close()
    assert look is not None
    assert [each.remediation.id for each in look.alerts] == [each.remediation.id for each in many]


async def test_those_that_cannot_be_seen_to_keep_no_others_waiting(database_url: str) -> None:
    time = ManualClock()
    database = Database(database_url)
    await database.open()
    store = Alerts(database, time.clock)
    stuck = [Alert(each, "", "C0OPS", seen_at=0.0, next_at=0.0) for each in remediations(501)]
    last = replace(stuck.pop(), next_at=START - 1)
    await store.add([*stuck, last])
    due = [await store.due() for _ in range(100)]  # it is not among 500 of 501 once in 501 times
    await database.close()
    assert any(last.remediation.ref in each for each in due)


def remediations(count: int) -> list[Remediation]:
    return [remediation(id=f"r-{number:04}") for number in range(count)]


# Dialogs and batches.


@pytest.mark.parametrize("kind", ["list", "text", "bytes", "html", "drop"])
async def test_an_odd_answer_to_a_dialog_leaves_nobody_unanswered(bot: World, kind: str) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    message.selected[SELECT] = ["all"]
    bot.slack.faults.append(SlackFault("views.open", kind))
    await bot.slack.press(message, APPROVE_SELECTED)
    assert "did not take this" in (await bot.whisper()).text


@pytest.mark.parametrize("kind", ["list", "text", "bytes"])
async def test_an_odd_answer_about_a_group_leaves_nobody_unanswered(kind: str) -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        message.selected[SELECT] = ["all"]
        bot.slack.faults.append(SlackFault("usergroups.users.list", kind, times=-1))
        await bot.slack.press(message, APPROVE_SELECTED)
        assert "Slack could not say whether you may decide" in (await bot.whisper()).text


async def test_a_batch_keeps_no_address_of_slacks_when_it_has_ended(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message, "all"))
    await digest(bot, "6 of 6: 6 approved")
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        (body,) = await connection.scalars(select(batches.c.body))
    await database.close()
    place = json.loads(body)["place"]
    assert place["user_id"] == "U0ALICE"
    assert (place["response_url"], place["original"]) == (None, None)


async def test_a_stop_waits_for_the_watch_and_for_decisions_at_once() -> None:
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
                await asyncio.wait([each for each in asyncio.all_tasks() if each.get_name().startswith("click ")])
            assert bot.slack.is_waiting("chat.postMessage")
