"""What an attacker of the watch has found, and what must therefore never happen again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.store import Database, Lease
from bot.store.tables import leases
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.test_storm import began, choose, digest, storm
from tests.watch import HOLD, card, pass_time, poll, quiet, until, watching
from tests.world import APPROVE, IDS, World, world


@pytest.fixture
async def bot() -> AsyncIterator[World]:
    async with watching() as running:
        yield running


async def test_what_waits_for_its_card_when_a_storm_breaks_stands_in_the_digest_alone(bot: World) -> None:
    await began(bot)
    with bot.slack.paused("chat.postMessage"):
        first = storm(bot, 3)
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"))
        storm(bot, 4, start=3)
        await poll(bot)
    await pass_time(bot, 40)
    assert [len(bot.slack.cards(ids[2])) for ids in first] == [1, 0, 0]
    assert "6 remediations in cluster-1" in (await digest(bot)).text


async def test_what_was_about_to_be_told_when_the_watch_was_lost_is_told_when_it_is_back(bot: World) -> None:
    await began(bot)
    bot.together.faults.append(Fault("hang", verb="list", instance="instance-1"))
    bot.together.add()
    await until(bot, lambda: [call for call in bot.together.calls if call.instance == "instance-1"])
    database = Database(bot.settings.database_url)
    thief = Lease(database, "watch", 600, bot.time.clock)
    async with database.begin() as connection:
        await connection.execute(update(leases).values(until=0.0))
    assert await thief.take()
    await pass_time(bot, 100)
    await thief.give_back()
    await database.close()
    bot.together.faults.clear()
    await until(bot, lambda: bot.slack.cards(IDS[2]), 300)


@pytest.mark.parametrize("how", ["cancel", "approve"])
async def test_a_hold_that_read_before_a_decision_does_not_bring_its_buttons_back(bot: World, how: str) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("get answered"):
        await bot.slack.press(alert, HOLD)
        await bot.together.until(lambda: bot.together.is_waiting("get answered"))
        bot.together.review(IDS, how)
        with bot.together.open_for_others("get answered"):
            await card(bot, words="Cancelled: Reboot VM" if how == "cancel" else "Approved, queued")
            await pass_time(bot, 20)
    await until(bot, lambda: APPROVE not in alert.buttons)
    assert ("Cancelled" if how == "cancel" else "Approved") in alert.text


async def test_a_batch_whose_process_was_away_for_hours_is_not_gone_on_with() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message, "all")
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        await bot.time.advance(7200)
        async with bot.another():
            await digest(bot, "Stopped: the bot was away for 2 h")
            await pass_time(bot, 60)
        assert bot.together.posts == []


async def test_nothing_is_carried_out_after_it_was_said_that_nothing_was_decided(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    database = Database(bot.settings.database_url)
    async with database.begin() as connection:
        await connection.execute(update(leases).values(owner=leases.c.owner))
        ack = await bot.slack.submit(view)
        assert "cannot reach its own database" in ack.body
    await database.close()
    await pass_time(bot, 300)
    assert bot.together.posts == []


async def test_a_mode_that_cannot_be_named_is_read_again_after_the_guards() -> None:
    async with world(BOT_MAX_IN_REPAIR="5", BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()
        bot.together.on_call["list"] = lambda: bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "The mode was “Power-cycle host” and is now “Replace VM”." in alert.text
        assert bot.together.posts == []


@pytest.mark.parametrize("refusal", [8, 14])
async def test_a_mode_that_cannot_be_named_is_read_again_before_a_second_attempt(refusal: int) -> None:
    async with world(BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()

        def escalate() -> None:
            bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_VM_ONLY"

        bot.together.on_call["approve"] = escalate
        bot.together.faults.append(Fault("rpc", verb="approve", code=refusal, headers={"Retry-After": "10"}))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING_APPROVAL"
        assert len(bot.together.posts) == 1
        if refusal == 8:
            assert "Not approved. The mode was “Power-cycle host” and is now “Replace VM”." in alert.text


async def test_a_second_attempt_that_cannot_be_preceded_by_a_look_is_none() -> None:
    async with world() as bot:
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()
        bot.together.on_call["approve"] = lambda: bot.together.faults.append(
            Fault("rpc", verb="get", code=14, times=-1)
        )
        bot.together.faults.append(Fault("rpc", verb="approve", code=8))
        await bot.slack.press(alert, APPROVE)
        assert "so your approval was not sent" in (await bot.answer(2)).text
        assert len(bot.together.posts) == 1


@pytest.mark.parametrize("kind", ["list", "text", "bytes", "html"])
async def test_an_odd_answer_about_the_channel_ends_nothing(bot: World, kind: str) -> None:
    bot.slack.faults += [
        SlackFault("chat.postMessage", "drop", after=True),
        SlackFault("conversations.history", kind, times=3),
    ]
    bot.together.add()
    await card(bot)
    await pass_time(bot, 60)
    assert not bot.running.done()
    assert len(bot.slack.cards(IDS[2])) == 1
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")


async def test_overdue_reminders_come_as_one_and_ask_together_seldom(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="get", code=5, times=-1))
    await pass_time(bot, 16 * 60)
    before = len([call for call in bot.together.calls if call.verb == "get"])
    await pass_time(bot, 60)
    assert len([call for call in bot.together.calls if call.verb == "get"]) - before <= 4
    await pass_time(bot, 65 * 60)
    bot.together.faults.clear()
    await until(bot, lambda: bot.slack.replies(alert), 400)
    await pass_time(bot, 60)
    assert len(bot.slack.replies(alert)) == 1


async def test_no_reminder_of_a_digest_when_it_cannot_be_seen_whether_anything_waits(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 7)
    message = await digest(bot)
    await pass_time(bot, 14 * 60)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    for each in ids:
        bot.together.review(each, "cancel")
    await pass_time(bot, 200)
    assert bot.slack.replies(message) == []


async def test_a_batch_that_is_confirmed_when_nothing_waits_any_more_is_answered(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    for each in ids:
        bot.together.resolve(each)
    await digest(bot, "0 wait for approval")
    await pass_time(bot, 120)
    await bot.slack.submit(view)
    await digest(bot, "6 of 6: 0 approved, 6 not approved")
    await until(bot, lambda: bot.slack.replies(message))
    assert bot.together.posts == []


async def test_a_progress_whose_answer_was_lost_does_not_stay_on_the_card() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add(("cluster-1", "busy", "busy"), "RUNNING")
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("list"):
            await bot.slack.press(alert, APPROVE)
            bot.slack.faults.append(SlackFault("chat.update", "drop", after=True))
            await until(bot, lambda: "is approving this remediation" in alert.everything, 5)
        await bot.whisper()
        await until(bot, lambda: APPROVE in alert.buttons)


async def test_a_thread_that_takes_no_more_is_given_up(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "cannot_reply_to_message", times=-1))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")
    await pass_time(bot, 300)
    assert [method for method, _ in bot.slack.calls].count("chat.postMessage") == 2
    assert [call.verb for call in bot.together.calls].count("get") == 1


async def test_a_line_that_may_have_arrived_is_told_twice_at_most(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=-1, after=True))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")
    await pass_time(bot, 300)
    assert len(bot.slack.replies(alert)) == 2


async def test_an_outage_is_told_once_though_slack_does_not_say_so(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=-1, after=True))
    await pass_time(bot, 600)
    assert len([each for each in bot.slack.visible() if "cannot be read from Together" in each.text]) == 1


async def test_without_the_scope_a_digest_of_unclear_fate_is_not_posted_again_and_again(bot: World) -> None:
    await began(bot)
    bot.slack.may_read_history = False
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=3, after=True))
    storm(bot, 9)
    await pass_time(bot, 300)
    assert len(bot.slack.digests()) <= 4


async def test_a_card_that_cannot_be_posted_is_no_storm(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "not_in_channel", times=8))
    storm(bot, 1)
    await pass_time(bot, 120)
    assert bot.slack.digests() == []
    assert len(bot.slack.visible()) == 1


async def test_who_cannot_be_told_apart_in_the_middle_of_a_batch_is_told_what_was_done() -> None:
    async with watching(BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message, "all")
        approved = iter(range(100))

        def lose_the_directory() -> None:
            if next(approved) == 2:
                bot.slack.faults += [SlackFault("usergroups.users.list", "internal_error", times=-1)]
                bot.time.seconds += 3700

        bot.together.on_call["approve"] = lose_the_directory
        await bot.slack.submit(view)
        await until(bot, lambda: "Stopped: the person who asked may not decide." in message.everything, 5000)
        assert "3 approved, 1 not approved" in message.everything
        assert "Slack could not say whether you may decide." in (await bot.whisper()).text


async def test_a_digest_says_that_a_second_person_is_needed() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM,VM_ONLY") as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message, "all"))
        await digest(bot, "6 of 6: 0 approved, 6 not approved")
        assert "approved by the first of two people; another person must approve it too" in message.everything
        bot.slack.views.clear()
        message.selected["digest:select"] = ["all"]
        await bot.slack.press(message, "digest:approve", user="U0BOB")
        await until(bot, lambda: bot.slack.views)
        await bot.slack.submit(bot.slack.views[0], user="U0BOB")
        await digest(bot, "6 of 6: 6 approved")


async def test_a_failure_calls_both_who_approved() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 2)
        bot.together.remediations[IDS]["state"] = "RUNNING"
        await card(bot, words="Running: Reboot VM")
        bot.together.fail(IDS, "no host left")
        await until(bot, lambda: [each for each in bot.slack.replies(alert) if "has failed" in each.text])
        told = bot.slack.replies(alert)[-1].text
        assert "<@U0ALICE> and <@U0BOB>, the repair that you approved has failed" in told


async def test_an_approval_in_doubt_that_arrives_late_is_still_the_persons_own(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "your approval is not in effect" in alert.text
    bot.together.review(IDS, "approve", "Approved in Slack by alice (U0ALICE)", by="owner-of-the-key@example.com")
    await card(bot, words="Approved in Slack by <@U0ALICE>")
    lines = await until(bot, lambda: bot.slack.replies(alert))
    assert lines[0].text.startswith("Approved by <@U0ALICE>")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Running: Reboot VM")
    bot.together.fail(IDS, "no host left")
    await until(bot, lambda: [each for each in bot.slack.replies(alert) if "<@U0ALICE>, the repair that" in each.text])


async def test_alerts_of_a_former_channel_are_followed_there(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.settle()
    settings = bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})
    async with bot.another(settings):
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled: Reboot VM")
        await until(bot, lambda: bot.slack.replies(alert))
        assert {each.channel for each in bot.slack.messages} == {"C0OPS"}


async def test_a_state_that_is_no_text_blinds_the_bot_to_nothing_else(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), state={"odd": 1})  # type: ignore[arg-type] # that is the point
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")


async def test_ten_clusters_that_could_not_be_written_about_are_read_again_together(bot: World) -> None:
    for number in range(10):
        bot.together.clusters[f"c-{number}"] = "H100"
    ids = [bot.together.add((f"c-{number}", "instance", f"r-{number}")) for number in range(10)]
    await until(bot, bot.slack.digests)
    await quiet(bot)
    database = Database(bot.settings.database_url)
    thief = Lease(database, "watch", 600, bot.time.clock)
    async with database.begin() as connection:
        await connection.execute(update(leases).values(until=0.0))
    assert await thief.take()
    for each in ids:
        bot.together.review(each, "cancel")
    await poll(bot)
    await thief.give_back()
    await database.close()
    await until(bot, lambda: "0 wait" in bot.slack.digests()[0].text, 200)


async def test_a_selection_while_the_database_is_away_is_answered(tmp_path: Path) -> None:
    async with watching(database=f"sqlite:///{tmp_path}/bot.db") as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await quiet(bot)
        message.selected["digest:select"] = ["all"]
        async with locked(tmp_path / "bot.db"):
            await bot.slack.press(message, "digest:approve")
            assert "The bot cannot reach its own database" in (await bot.whisper()).text
        assert bot.slack.views == []


async def test_a_selection_that_cannot_be_taken_is_not_acked(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    bot.app.tasks.limit = 0
    assert (await bot.slack.press(message, "digest:approve")).status == 503
    ack = await bot.slack.submit(view)
    assert "did not take this" in ack.body
    assert bot.together.posts == []


async def test_choosing_is_acked_and_does_nothing(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    payload = bot.slack.click(message, "digest:approve")
    payload["actions"] = [{"type": "multi_external_select", "action_id": "digest:select", "selected_options": []}]
    assert (await bot.slack.deliver("interactive", payload)).status == 200
    await quiet(bot)
    assert bot.slack.views == []
    assert bot.slack.visible("U0ALICE") == []


async def test_items_that_are_none_hide_no_other(bot: World) -> None:
    bot.together.add()
    one = bot.together.remediations[IDS]
    bot.together.remediations["cluster-1", "odd", "1"] = {**one, "instance_id": "a b"}
    bot.together.remediations["cluster-1", "odd", "2"] = {**one, "id": "a/b"}
    bot.together.remediations["cluster-1", "odd", "3"] = {**one, "id": None}
    await card(bot)
    assert len(bot.slack.visible()) == 1


async def test_a_deleted_digest_is_given_up_and_its_batch_still_runs(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    bot.slack.messages.remove(message)
    await bot.slack.submit(view)
    await until(bot, lambda: all(bot.together.state(each) == "PENDING" for each in ids))
    await pass_time(bot, 120)
    edits = [method for method, _ in bot.slack.calls].count("chat.update")
    assert edits <= 3


async def test_when_the_list_of_clusters_cannot_be_read_it_is_told_and_what_is_known_is_read_on(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="clusters", code=14, times=-1))
    await pass_time(bot, 920)
    told = [each.text for each in bot.slack.visible() if "cannot be read" in each.text]
    assert len(told) == 1
    assert told[0].startswith("The list of clusters cannot be read from Together since")
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: Reboot VM")
    bot.together.faults.clear()
    await until(bot, lambda: [each for each in bot.slack.visible() if "The list of clusters can be read" in each.text])


async def test_a_chosen_cluster_that_does_not_exist_is_told() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,misspelt") as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 400)
        told = [each.text for each in bot.slack.visible() if "cannot be read" in each.text]
        assert len(told) == 1
        assert told[0].startswith("Cluster misspelt cannot be read from Together")


async def test_blocks_that_slack_refuses_are_told_as_text(bot: World) -> None:
    bot.slack.faults.append(SlackFault("chat.postMessage", "invalid_blocks"))
    bot.together.add()
    alert = await card(bot)
    assert alert.blocks == []
    assert "Waiting for approval: Reboot VM" in alert.text


async def test_a_watch_that_slack_does_not_let_read_at_the_start_watches_all_the_same() -> None:
    async with watching() as bot:
        bot.slack.faults.append(SlackFault("conversations.history", "internal_error", times=2))
        bot.together.add()
        await card(bot)


async def test_a_late_answer_to_a_hold_does_not_stay_over_what_is_newer(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.slack.paused("chat.update"):
        await bot.slack.press(alert, HOLD)
        await bot.slack.until(lambda: bot.slack.is_waiting("chat.update"))
        bot.together.review(IDS, "cancel")
        with bot.slack.open_for_others("chat.update"):
            await card(bot, words="Cancelled: Reboot VM")
            await pass_time(bot, 30)
    await until(bot, lambda: "Cancelled: Reboot VM" in alert.text and not alert.buttons)
    await pass_time(bot, 60)
    assert alert.buttons == {}


async def test_what_stood_there_before_is_not_put_back_over_what_has_ended(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    before = alert.buttons
    bot.together.faults.append(Fault("rpc", verb="get", code=13, times=-1))
    with bot.together.paused("get"):
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "is approving this remediation" in alert.everything, 5)
        bot.together.review(IDS, "cancel")
        await pass_time(bot, 30)
    await until(bot, lambda: list(alert.buttons) == list(before))
    bot.together.faults.clear()
    await card(bot, words="Cancelled: Reboot VM")
    assert alert.buttons == {}


async def test_what_is_under_way_when_a_batch_comes_too_late_is_not_told_as_not_tried() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        ids = storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message, "all")
        with bot.together.paused("approve answered"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("approve answered"))
            await bot.settle()
        await bot.time.advance(7200)
        async with bot.another():
            await digest(bot, "5 were not tried")
            told = await until(bot, lambda: [each for each in bot.slack.replies(message) if "what has" in each.text])
        assert "`gpu-node-0000`: approved" in told[0].everything
        assert "`gpu-node-0001`: not tried" in told[0].everything
        assert [call.ids for call in bot.together.posts] == ids[:1]


async def test_overdue_reminders_of_a_digest_come_as_one() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 7)
        message = await digest(bot)
        await bot.settle()
        await bot.time.advance(65 * 60)
        async with bot.another():
            await until(bot, lambda: bot.slack.replies(message))
            await pass_time(bot, 60)
        assert len(bot.slack.replies(message)) == 1


async def test_a_reminder_that_cannot_be_checked_keeps_no_card_from_being_drawn(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="get", code=5, times=-1))
    await pass_time(bot, 20 * 60)
    bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_VM_ONLY"
    began_at = bot.time.seconds
    await card(bot, words="Waiting for approval: Replace VM")
    assert bot.time.seconds - began_at < 20


async def test_a_cluster_that_was_deleted_is_no_outage(bot: World) -> None:
    bot.together.add()
    bot.together.clusters["cluster-2"] = "H100"
    await card(bot)
    del bot.together.clusters["cluster-2"]
    await pass_time(bot, 900)
    assert [each.text for each in bot.slack.visible() if "cannot be read" in each.text] == []


async def test_an_outage_of_a_cluster_that_is_listed_no_more_is_ended(bot: World) -> None:
    bot.together.add()
    bot.together.clusters["cluster-2"] = "H100"
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    await pass_time(bot, 400)
    del bot.together.clusters["cluster-2"]
    await pass_time(bot, 700)
    told = [each.text for each in bot.slack.visible() if "cluster-2" in each.text]
    assert len(told) == 2
    assert "is listed no more" in told[1]


async def test_the_parts_of_a_report_are_told_once(bot: World) -> None:
    await began(bot)
    storm(bot, 110)
    message = await digest(bot)
    view = await choose(bot, message, "all")
    await bot.slack.submit(view)
    await digest(bot, "110 of 110")
    await until(bot, lambda: bot.slack.replies(message))
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", times=2, retry_after=5))
    await until(bot, lambda: len(bot.slack.replies(message)) >= 2)
    await pass_time(bot, 60)
    assert [each.text.splitlines()[0][-9:] for each in bot.slack.replies(message)] == ["(1 of 2):", "(2 of 2):"]


async def test_a_hanging_list_of_clusters_delays_no_cluster() -> None:
    async with watching(BOT_CLUSTERS="cluster-1") as bot:
        bot.together.faults.append(Fault("hang", verb="clusters", times=-1))
        bot.together.add()
        await card(bot)
