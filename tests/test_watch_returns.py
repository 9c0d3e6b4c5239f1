"""The watch: what begins to wait anew, what ends out of sight, and what must not be told twice."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from bot.store import Database
from bot.store.tables import alerts
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.test_storm import began, digest, storm
from tests.test_watch_together import free_the_lease, kill_the_watch
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.world import APPROVE, IDS, World


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with watching() as running:
        yield running


async def test_what_comes_back_waits_anew(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    await pass_time(bot, 3 * 3600)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Waiting for approval")
    await pass_time(bot, 60)
    assert [each.text for each in bot.slack.replies(alert) if "has waited" in each.text] == []
    await pass_time(bot, 15 * 60)
    (reminder,) = [each.text for each in bot.slack.replies(alert) if "has waited" in each.text]
    assert "has waited for 15 min" in reminder


async def test_what_was_reminded_of_before_it_resolved_is_reminded_of_when_it_is_back(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 65 * 60)
    bot.together.resolve(IDS)
    await card(bot, words="Resolved")
    before = len(bot.slack.replies(alert))
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await until(bot, lambda: APPROVE in alert.buttons)
    await pass_time(bot, 65 * 60)
    assert len([each for each in bot.slack.replies(alert)[before:] if "has waited" in each.text]) == 3


async def test_a_digest_reminds_anew_of_what_is_back_and_says_since_when(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for each in ids:
        bot.together.resolve(each)
    await digest(bot, "0 wait for approval")
    await pass_time(bot, 4 * 3600)
    bot.together.remediations[ids[0]]["state"] = "PENDING_APPROVAL"
    await digest(bot, "1 waits for approval")
    assert bot.slack.replies(message) == []
    await pass_time(bot, 16 * 60)
    (reminder,) = bot.slack.replies(message)
    assert "1 remediation of the list above has waited for 15 min or more" in reminder.text


async def test_a_repair_that_failed_out_of_sight_is_told(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Running")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    gets = [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 1800)
    assert [call.verb for call in bot.together.calls].count("get") - gets <= 12
    bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: "Failed" in alert.text, 400)
    await until(bot, lambda: [each for each in bot.slack.replies(alert) if "<@U0ALICE>, the repair" in each.text])


async def test_what_was_being_decided_when_it_vanished_is_looked_for_too(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Running")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: "Failed" in alert.text, 60)


async def test_after_an_hour_what_has_vanished_is_looked_for_no_more(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Running")
    bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    await pass_time(bot, 3700)
    gets = [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 1800)
    assert [call.verb for call in bot.together.calls].count("get") == gets


async def test_a_line_does_not_wait_for_a_reminder_that_could_not_be_checked(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 14 * 60)
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    await pass_time(bot, 12 * 60)
    bot.together.faults.clear()
    bot.together.review(IDS, "approve")
    await until(bot, lambda: [each for each in bot.slack.replies(alert) if "pproved" in each.text], 30)


async def test_a_reminder_that_could_not_be_checked_is_not_counted() -> None:
    async with watching() as bot:
        storm(bot, 1)
        storm(bot, 6, start=4, cluster="cluster-2")
        message = await digest(bot)
        await pass_time(bot, 14 * 60)
        bot.together.faults += [
            Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"),
            Fault("rpc", verb="get", code=14, times=-1),
        ]
        bot.together.review(("cluster-1", "instance-0", "cluster-1-r0000-"), "cancel")
        await pass_time(bot, 3 * 60)
        bot.together.faults.clear()
        await until(bot, lambda: [each for each in bot.slack.replies(message) if "waited" in each.text], 600)


# Once, and what is so.


async def test_a_slow_first_reading_is_told_once() -> None:
    async with watching(BOT_POLL_SECONDS="1") as bot:
        with bot.together.paused("list"):
            storm(bot, 8)
            await until(bot, lambda: bot.together.is_waiting("list"))
            await pass_time(bot, 1.3)
        await digest(bot, "8 remediations from before the bot began to watch")
        await pass_time(bot, 30)
        assert len(bot.slack.visible()) == 1


async def test_what_was_adopted_late_makes_no_empty_digest(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    storm(bot, 3, cluster="cluster-2")
    await until(bot, lambda: len(bot.slack.visible()) == 3)
    await bot.settle()
    storm(bot, 6)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, cluster="cluster-2", times=18))
    lost = bot.settings.model_copy(update={"database_url": f"{bot.settings.database_url}.new"})
    async with bot.another(lost):
        await digest(bot)
        await pass_time(bot, 200)
        assert len(bot.slack.digests()) == 1


async def test_a_digest_whose_second_post_was_under_way_at_a_death_is_not_posted_a_third_time(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop"))
    storm(bot, 6)
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    with bot.slack.paused("chat.postMessage"):
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        kill_the_watch()
        await bot.settle()
        await free_the_lease(bot.settings.database_url)
        async with bot.another():
            await pass_time(bot, 6)
    await quiet(bot)
    assert len(bot.slack.digests()) == 1


@pytest.mark.parametrize("count", [1, 6])
async def test_what_was_posted_in_a_new_channel_without_a_clear_answer_is_looked_for_there(
    bot: World, count: int
) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop"))
    storm(bot, count)
    await until(bot, lambda: bot.slack.faults[0].times == 0)
    kill_the_watch()
    await bot.settle()
    await free_the_lease(bot.settings.database_url)
    bot.slack.faults.append(SlackFault("chat.postMessage", "drop", after=True))
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 200)
        assert [each.channel for each in bot.slack.visible()] == ["C0OTHER"]


@pytest.mark.parametrize("code", ["channel_not_found", "not_in_channel", "is_archived"])
async def test_a_card_in_a_former_channel_that_is_closed_is_given_up(bot: World, code: str) -> None:
    bot.together.add()
    await card(bot)
    await bot.settle()
    bot.slack.faults += [SlackFault(f"chat.{method}", code, times=-1) for method in ("update", "postMessage")]
    bot.together.review(IDS, "cancel")
    async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
        await pass_time(bot, 600)
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        assert list(await connection.scalars(select(alerts.c.is_open))) == [False]
    await database.close()


@pytest.mark.parametrize("other", ["other", "same"])
async def test_what_was_started_meanwhile_gets_no_card_whatever_its_id(bot: World, other: str) -> None:
    await began(bot)
    with bot.slack.paused("chat.postMessage"):
        bot.together.add(("cluster-1", "i-0", "r-0"))
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        started = bot.together.add(("cluster-1", "i-1", "same"))
        bot.together.add(("cluster-1", "i-2", other))
        await poll(bot)
        bot.together.review(started, "approve")
        await poll(bot)
    await pass_time(bot, 60)
    assert [each for each in bot.slack.visible() if "node i-1" in each.text] == []


async def test_a_cluster_that_is_no_longer_chosen_is_only_followed_to_its_end() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,cluster-2") as bot:
        bot.together.clusters["cluster-1"] = "cluster-1 (H100)"
        known = bot.together.add(("cluster-2", "i-2", "r-2"))
        await card(bot, known)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_clusters": ("cluster-1",)})):
            bot.together.add(("cluster-2", "i-3", "r-3"))
            bot.together.review(known, "cancel")
            await card(bot, known, "Cancelled")
            assert bot.slack.cards("r-3") == []
