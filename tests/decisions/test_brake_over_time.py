"""The storm brake over time: holders that come and go, clocks, outages, and what can't be read."""

import asyncio
from dataclasses import replace as changed
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.models import Actor, Brake
from bot.store import Database, faults, pauses
from bot.store.tables import faults as table
from tests.deaths import free_the_lease
from tests.decisions.test_brake import ASK, RESUME, braked, broken, clear, pause, resume
from tests.rows import execute_beside, pause_beside
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import began, storm
from tests.watch import card, ends, pass_time, poll, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4")
ALICE = Actor("U0ALICE", "alice", "T1")


def brakes(bot: World) -> list[str]:
    return [message.text for message in bot.slack.visible() if "paused automatically" in message.text]


async def press_resume_of_pause(bot: World, message: Posted, user: str = "U0BOB", value: str = "cluster-1") -> None:
    payload = bot.slack.click(message, ASK, user=user)
    payload["actions"][0] |= {"action_id": RESUME, "value": value}
    await bot.slack.deliver("interactive", payload)


async def test_node_with_alert_whose_remediation_opens_counts_once(bot: World) -> None:
    await began(bot)
    for n in range(2):
        bot.together.fire(f"a-{n}", "cluster-1", f"instance-{n}")
    await pass_time(bot, 60)
    assert not brakes(bot)
    storm(bot, 2)  # the remediations of those very nodes
    await pass_time(bot, 60)
    assert not brakes(bot), brakes(bot)


async def test_setting_taken_away_ends_the_brake(database_url: str) -> None:
    async with watching(database=database_url, BOT_STORM_BRAKE="4", BOT_ONCALL="S0ONCALL") as bot:
        ids, message = await broken(bot)
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_storm_brake": None})):
            clear(bot, ids[1:])
            await pass_time(bot, 7200)
            assert "paused automatically" not in message.text


async def test_alerts_that_cant_be_read_any_more_dont_hold_the_brake(bot: World) -> None:
    await began(bot)
    for n in range(4):
        bot.together.fire(f"a-{n}", "cluster-1", f"gpu-{n}")
    message = await braked(bot)
    bot.together.alerts.clear()
    bot.together.faults.append(Fault("rpc", verb="alerts", code=7, times=-1))
    await pass_time(bot, 4 * 3600)
    assert "paused automatically" not in message.text


async def test_clock_set_back_does_not_hold_it_for_a_day(bot: World) -> None:
    ids, message = await broken(bot)
    clear(bot, ids)
    await pass_time(bot, 60)
    bot.time.set_back = 86400
    await pass_time(bot, 2 * 3600)
    assert "paused automatically" not in message.text


async def test_time_in_which_nothing_was_read_is_not_quiet(bot: World) -> None:
    ids, message = await broken(bot)
    clear(bot, ids)
    await pass_time(bot, 60)
    outage = Fault("rpc", times=-1)
    bot.together.faults.append(outage)
    await pass_time(bot, 1800)
    bot.together.faults.clear()
    await until(bot, lambda: any(call.verb == "list" for call in bot.together.calls))
    await pass_time(bot, 320)
    assert "paused automatically" in message.text, message.text


@pytest.mark.bot(BOT_POLL_SECONDS="600")
async def test_quiet_time_counts_though_clusters_are_read_seldom(bot: World) -> None:
    storm(bot, 4)
    await until(bot, lambda: brakes(bot), 1800)
    message = await braked(bot)
    bot.together.remediations.clear()
    await pass_time(bot, 2 * 3600)
    assert "the storm brake is released" in message.text


async def test_old_resume_button_does_not_say_on_again_while_the_brake_holds(bot: World) -> None:
    _ids, message = await broken(bot)
    await pause(bot, message)
    await bot.reply_privately()
    await press_resume_of_pause(bot, message)
    told = (await bot.reply_privately("U0BOB")).text
    assert "Approvals resumed" not in told, told


async def test_old_resume_button_does_not_say_unpaused_while_the_brake_holds(bot: World) -> None:
    _ids, message = await broken(bot)
    await press_resume_of_pause(bot, message)
    told = (await bot.reply_privately("U0BOB")).text
    assert "Approvals aren't paused" not in told, told


async def test_pause_of_all_clusters_stays_where_it_is_not_ticked(bot: World) -> None:
    ids, message = await broken(bot)
    await pause_beside(bot, ALICE)
    view = await resume(bot, message, whose=["storm brake"])
    await bot.reply_privately("U0BOB")
    await poll(bot)
    alert = await card(bot, ids[0])
    assert "paused in all clusters" in alert.text, alert.text  # it holds still
    assert "all clusters" in str(view["blocks"])


async def test_on_again_is_not_said_while_all_clusters_are_paused(bot: World) -> None:
    _ids, message = await broken(bot)
    await pause_beside(bot, ALICE)
    await resume(bot, message, whose=["storm brake"])
    told = (await bot.reply_privately("U0BOB")).text
    assert "Approvals resumed" not in told, told


async def test_dialog_ends_only_what_it_named(bot: World) -> None:
    await began(bot)
    ids, message = await broken(bot)
    await bot.slack.press(message, ASK, user="U0BOB")
    await bot.slack.until(lambda: bot.slack.views)
    view = bot.slack.views[-1]
    assert "U0ALICE" not in str(view)
    await pause(bot, message)
    alert = await card(bot, ids[0], "by <@U0ALICE>")
    await bot.slack.submit(view, user="U0BOB", **{ASK: "false alarm"})
    await bot.reply_privately("U0BOB")
    await poll(bot)
    assert "by <@U0ALICE>" in alert.text, "Alice's pause ended, of which the dialog said nothing"


async def test_end_is_not_told_while_a_persons_pause_holds(bot: World) -> None:
    ids, message = await broken(bot)
    clear(bot, ids[1:])
    await pass_time(bot, 1500)
    await pause(bot, message)
    await pass_time(bot, 700)
    alert = await card(bot, ids[0])
    assert "Approvals are paused in cluster-1 (H100) until" in alert.text, alert.text
    assert "aren't paused any more" not in message.text, message.text


async def test_message_says_resumed_though_together_is_down(bot: World) -> None:
    _ids, message = await broken(bot)
    bot.together.faults.append(Fault("rpc", times=-1))
    await resume(bot, message)
    assert "Approvals resumed" in (await bot.reply_privately("U0BOB")).text
    await pass_time(bot, 1200)
    assert "paused automatically" not in message.text, message.text


async def test_digest_of_two_clusters_does_not_mix_up_holders(bot: World) -> None:
    database = Database(bot.settings.database_url, bot.time.clock)
    try:
        await database.run(pauses.begin, "cluster-2", 3600, ALICE, "C0OPS")
        await database.run(
            faults.change, "cluster-1", lambda report: changed(report, brake=Brake(4, 4, None, bot.time.now(), peak=4))
        )
        found = await database.read(pauses.active, ["cluster-1", "cluster-2"])
        assert found is not None
        people = [(pauser.cluster_id, pauser.user_id) for pauser in found.people]
        braked = [brake.cluster_id for brake in found.brakes]
        assert (people, braked) == ([("cluster-2", "U0ALICE")], ["cluster-1"])
    finally:
        await database.close()


async def test_report_of_another_version_does_not_block_for_good(database_url: str) -> None:
    async with watching(database=database_url, BOT_STORM_BRAKE="4", BOT_ONCALL="S0ONCALL") as bot:
        ids, _message = await broken(bot)
        clear(bot, ids[1:])
        await pass_time(bot, 60)
        await bot.settle()
        await free_the_lease(database_url)
        await execute_beside(bot, update(table).values(body='{"brake": {"other": 1}}'))
        async with bot.another():
            await pass_time(bot, 7200)
            alert = await card(bot, ids[0])
            assert "paused" not in alert.text, alert.text


@pytest.mark.bot(BOT_STORM_BRAKE="210")
async def test_more_alerts_than_are_kept_latch_it(bot: World) -> None:
    await began(bot)
    for n in range(220):
        bot.together.fire(f"a-{n}", "cluster-1", f"gpu-{n}")
    await braked(bot)


async def test_message_that_was_deleted_comes_back_with_its_button(bot: World) -> None:
    _ids, message = await broken(bot)
    bot.slack.messages.remove(message)
    storm(bot, 2, start=10)
    await pass_time(bot, 600)
    assert [each for each in bot.slack.visible() if "paused automatically" in each.text and each is not message]


async def test_brake_of_a_cluster_that_returns_is_told_though_alerts_cant_be_read(bot: World) -> None:
    bot.together.faults.append(Fault("rpc", verb="alerts", code=7, times=-1))
    ids, message = await broken(bot)
    del bot.together.clusters["cluster-1"]
    clear(bot, ids)
    await until(bot, lambda: "isn't monitored any more" in message.text, 3000)
    bot.together.clusters["cluster-1"] = "cluster-1 (H100)"
    await pass_time(bot, 1300)
    ids = storm(bot, 4, start=20)
    await pass_time(bot, 300)
    alert = await card(bot, ids[0])
    assert "paused" in alert.text
    assert brakes(bot), "approvals are paused, and no message says so"


async def test_home_of_all_clusters_names_the_brake(bot: World) -> None:
    _ids, _message = await broken(bot)
    database = Database(bot.settings.database_url, bot.time.clock)
    try:
        assert await database.read(pauses.active, [""]) is not None
    finally:
        await database.close()


async def test_home_is_drawn_again_once_approvals_resume_there(bot: World) -> None:
    _ids, _message = await broken(bot)
    await bot.slack.open_home("U0BOB")
    await bot.slack.until(lambda: "Resume" in str(bot.slack.homes.get("U0BOB")))
    before = len(bot.slack.views)
    await bot.slack.press_home(ASK, user="U0BOB")
    await bot.slack.until(lambda: len(bot.slack.views) > before)
    view = bot.slack.views[-1]
    await bot.slack.submit(view, user="U0BOB", **{ASK: "it was a false alarm"}, **ends(view))
    await bot.slack.until(lambda: "Resume approvals" not in str(bot.slack.homes["U0BOB"]))


async def test_odd_last_remediation_of_a_node_does_not_end_the_watch(
    bot: World, caplog: pytest.LogCaptureFixture
) -> None:
    await began(bot)
    bot.together.add(("cluster-1", "instance-9", "not an/ID"), state="SUCCEEDED", end_time=bot.together._time())
    await pass_time(bot, 900)
    assert "Watch failed" not in caplog.text


def switch(bot: World, count: int, start: int) -> None:
    """Let a switch fail: nodes lose their links."""
    for number in range(start, start + count):
        bot.together.add(
            ("cluster-1", f"instance-{number}", f"r-{number}"),
            instance_name=f"gpu-node-{number:04d}",
            linked_alerts=[{"alert_name": "IBLinkFlapping", "severity": "PHC_SEVERITY_CRITICAL"}],
        )


async def test_brake_that_latches_again_names_the_fault_that_is_most_common_now() -> None:
    async with watching(BOT_STORM_BRAKE="4") as bot:
        await began(bot)
        ids = storm(bot, 4)
        message = await braked(bot)
        assert "Most common: Xid 79, on 4." in message.text
        await resume(bot, message)
        await until(bot, lambda: "released by" in message.text)
        await pass_time(bot, 600)
        for one in ids[:2]:
            bot.together.resolve(one)
        switch(bot, 10, 20)
        (again,) = await until(bot, lambda: [post for post in bot.slack.replies(message) if "paused" in post.text], 300)
        assert "Xid 79, on 4" not in again.text, again.text


async def test_brake_says_how_common_a_fault_is_as_the_storm_grows() -> None:
    async with watching(BOT_STORM_BRAKE="4") as bot:
        await began(bot)
        storm(bot, 4)
        message = await braked(bot)
        storm(bot, 10, start=4)
        await until(bot, lambda: "14 nodes broken at once" in message.text, 300)
        assert "Xid 79, on 4" not in message.text, message.text  # a reader takes it that ten have something else


async def test_brake_names_the_most_common_fault_also_where_no_repair_is_open_for_it() -> None:
    async with watching(BOT_STORM_BRAKE="8") as bot:
        await began(bot)
        for number in range(10):
            bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}", alert_name="IBLinkFlapping")
        storm(bot, 2, start=30)
        message = await braked(bot)
        assert "12 nodes broken at once" in message.text or "10 nodes broken at once" in message.text
        await pass_time(bot, 60)
        assert "Xid 79, on 2" not in message.text, message.text


async def test_brake_that_latches_again_says_how_many_are_broken_now() -> None:
    async with watching(BOT_STORM_BRAKE="4") as bot:
        await began(bot)
        ids = storm(bot, 20)
        message = await braked(bot)
        await until(bot, lambda: "20 nodes broken at once" in message.text)
        for one in ids[:16]:
            bot.together.resolve(one)
        await pass_time(bot, 120)
        await resume(bot, message)
        await until(bot, lambda: "released by" in message.text)
        storm(bot, 2, start=30)
        (again,) = await until(bot, lambda: [post for post in bot.slack.replies(message) if "paused" in post.text], 300)
        assert "20 nodes broken at once" not in again.text, f"six are: {again.text}"


@pytest.mark.parametrize("is_listed", [True, False])
async def test_brake_latches_after_a_restart_though_the_list_of_clusters_cannot_be_read(*, is_listed: bool) -> None:
    async with watching(BOT_STORM_BRAKE="20%") as bot:
        await began(bot)
        bot.together.nodes["cluster-1"] = 64
        await pass_time(bot, 1300)  # the bot knows how many nodes there are
        storm(bot, 1)
        await pass_time(bot, 60)
        await bot.settle()
        if not is_listed:
            bot.together.faults.append(Fault("rpc", verb="clusters", code=14, times=-1))
        async with bot.another():
            storm(bot, 20, start=1)
            await pass_time(bot, 900)
            said = [post.text for post in bot.slack.visible() if "paused automatically" in post.text]
            assert said, "21 of 64 nodes are broken, and anybody may approve"


async def test_brake_can_be_released_once_nothing_is_broken_any_more() -> None:
    async with watching(BOT_STORM_BRAKE="4") as bot:
        await began(bot)
        ids = storm(bot, 4)
        message = await braked(bot)
        clear(bot, ids)
        await pass_time(bot, 120)
        await resume(bot, message)
        await pass_time(bot, 30)
        said = [post.text for post in bot.slack.visible("U0BOB")]
        assert any("Approvals resumed in cluster-1" in text for text in said), (said, message.text)


@pytest.mark.parametrize("name", ["", "cluster-1 (H100)"])
async def test_brake_latches_after_a_restart_though_the_cluster_has_no_name(name: str) -> None:
    async with watching(BOT_STORM_BRAKE="20%") as bot:
        await began(bot)
        bot.together.clusters["cluster-1"] = name
        bot.together.nodes["cluster-1"] = 64
        await pass_time(bot, 1300)
        storm(bot, 1, start=50)
        await pass_time(bot, 60)
        await bot.settle()
        bot.together.faults.append(Fault("rpc", verb="clusters", code=14, times=-1))
        async with bot.another():
            storm(bot, 20, start=1)
            await pass_time(bot, 900)
            said = [post.text for post in bot.slack.visible() if "paused automatically" in post.text]
            assert said, [post.text for post in bot.slack.visible()]


async def test_brake_can_be_released_though_one_more_node_broke_while_the_dialog_was_open() -> None:
    async with watching(BOT_STORM_BRAKE="8") as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await braked(bot)
        clear(bot, ids[1:])
        await pass_time(bot, 120)
        before = len(bot.slack.views)
        await bot.slack.press(message, "approvals:resume-reason", user="U0BOB")
        await bot.slack.until(lambda: len(bot.slack.views) > before)
        view = bot.slack.views[-1]
        storm(bot, 1, start=40)  # two of eight: still quiet
        await pass_time(bot, 60)
        await bot.slack.submit(view, user="U0BOB", **{"approvals:resume-reason": "over"}, **ends(view))
        await pass_time(bot, 30)
        said = [post.text for post in bot.slack.visible("U0BOB")]
        assert any("Approvals resumed in cluster-1" in text for text in said), said


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


def said(bot: World) -> str:
    return "\n".join(message.text for message in bot.slack.messages)


async def test_brake_does_not_count_what_a_list_itself_says_is_over() -> None:
    async with watching(BOT_STORM_BRAKE="3") as bot:
        await began(bot)
        for node in range(3):
            ids = bot.together.add(("cluster-1", f"i-{node}", f"r-{node}"), state="CANCELLED", end_time=moment(bot))
            bot.together.lists_extra.append(bot.together.remediations[ids])  # the list's index lags behind its items
        await poll(bot)
        await poll(bot)
        assert "paused automatically" not in said(bot), said(bot)


async def restarted(bot: World) -> None:
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


async def test_brake_whose_limit_is_raised_at_a_restart_says_how_many_were_broken() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4") as bot:
        bot.together.nodes["cluster-1"] = 64
        await began(bot)
        ids, _ = await broken(bot)  # four of them
        alert = await card(bot, ids[0], "4 or more of 64 nodes were broken")
        await restarted(bot)
        async with bot.another(bot.settings.model_copy(update={"bot_storm_brake": (8, False)})):
            await pass_time(bot, 120)
            await bot.slack.press(alert, APPROVE)
            await pass_time(bot, 5)
            said = [message.text for message in bot.slack.visible("U0ALICE")]
            assert "8 or more" not in alert.text
            assert "8 or more" not in said[-1]


async def test_brake_of_a_cluster_that_grows_says_how_many_were_broken() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="10%") as bot:
        bot.together.nodes["cluster-1"] = 40
        await began(bot)
        ids, _ = await broken(bot)
        alert = await card(bot, ids[0], "4 or more of 40 nodes were broken")
        bot.together.nodes["cluster-1"] = 60
        await pass_time(bot, 1300)
        assert "6 or more of 60" not in alert.text


@pytest.mark.parametrize("restarts", [True, False])
async def test_storm_brake_holds_though_one_list_of_clusters_lacks_the_cluster(*, restarts: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4", drain_seconds=0.05) as bot:
        bot.together.clusters["cluster-2"] = "two"
        await began(bot)
        await pass_time(bot, 700)
        ids, message = await broken(bot)
        alert = await card(bot, ids[0], "4 or more nodes were broken")

        async def decide() -> None:
            await pass_time(bot, 120)
            await bot.slack.press(alert, APPROVE)
            await pass_time(bot, 10)
            assert "isn't monitored any more" not in message.text
            assert bot.together.posts == []

        if not restarts:
            bot.together.lists_lack.append("cluster-1")
            await pass_time(bot, 700)
            await decide()
            return
        await restarted(bot)
        bot.together.lists_lack.append("cluster-1")
        async with bot.another():
            await decide()


@pytest.mark.parametrize("restarts", [True, False])
async def test_storm_brake_holds_over_a_restart_though_alerts_cannot_be_read(*, restarts: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        for number in range(5):
            bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
        await card(bot, words="Approvals are paused", seconds=600)
        bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))

        async def decide() -> None:
            await pass_time(bot, 2700, longest=60)
            await bot.slack.press(alert, APPROVE)
            await pass_time(bot, 10)
            assert bot.together.posts == []

        if not restarts:
            await decide()
            return
        await restarted(bot)
        async with bot.another():
            await decide()


async def test_storm_brake_holds_over_a_failure_of_the_database_though_alerts_cannot_be_read() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4", busy_seconds=0.05) as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        for number in range(5):
            bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
        await card(bot, words="Approvals are paused", seconds=600)
        bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
        await pass_time(bot, 60)
        async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
            await bot.time.advance(11)
            await asyncio.sleep(1)
            await bot.time.advance(11)
            await asyncio.sleep(1)
        await pass_time(bot, 2700, longest=60)
        await bot.slack.press(alert, APPROVE)
        await pass_time(bot, 10)
        assert bot.together.posts == []


async def read_once_more(bot: World) -> None:
    """Let one more list of alerts be read, and for 45 minutes no other."""
    calls = len(bot.together.calls)
    await until(bot, lambda: "alerts" in [call.verb for call in bot.together.calls[calls:]])
    bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
    await pass_time(bot, 2700, longest=60)


async def test_brake_holds_though_another_alert_of_the_same_nodes_was_missing_when_alerts_could_last_be_read(
    bot: World,
) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    for number in range(5):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
        bot.together.fire(f"b-{number}", "cluster-1", f"gpu-{number}")
    await card(bot, words="Approvals are paused", seconds=600)
    for number in range(5):
        del bot.together.alerts[f"b-{number}"]  # a second fault of each node clears; the first one still fires
    await read_once_more(bot)
    await bot.slack.press(alert, APPROVE)
    await pass_time(bot, 10)
    assert bot.together.posts == [], alert.everything


@pytest.mark.parametrize("gets", ["fail", "404"])
async def test_brake_holds_though_a_list_lacks_the_repairs_of_nodes_whose_alerts_fire(bot: World, gets: str) -> None:
    await began(bot)
    other = bot.together.add()
    alert = await card(bot)
    for number in range(10, 15):
        bot.together.fire(f"a-{number}", "cluster-1", f"instance-{number}")
    await card(bot, words="Approvals are paused", seconds=600)
    ids = storm(bot, 5, start=10)  # of the same nodes
    await pass_time(bot, 120)
    bot.together.lost.update(ids)
    if gets == "fail":
        for each in ids:
            bot.together.faults.append(Fault("rpc", verb="get", code=14, instance=each[1], times=-1))
    await pass_time(bot, 3600, longest=30)
    await bot.slack.press(alert, APPROVE)
    await pass_time(bot, 10)
    assert bot.together.state(other) == "PENDING_APPROVAL"
    assert bot.together.posts == [], len(alert.everything)


@pytest.mark.parametrize("each", [1, 42])
async def test_brake_holds_though_more_alerts_cleared_than_are_kept(bot: World, each: int) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    for number in range(5):
        bot.together.fire(f"z-{number}", "cluster-1", f"gpu-{number}")
        for one in range(each):
            bot.together.fire(f"b-{number}-{one}", "cluster-1", f"gpu-{number}")
    await card(bot, words="Approvals are paused", seconds=600)
    await pass_time(bot, 60)
    for key in [key for key in bot.together.alerts if key.startswith("b-")]:
        del bot.together.alerts[key]
    await read_once_more(bot)
    await bot.slack.press(alert, APPROVE)
    await pass_time(bot, 10)
    assert bot.together.posts == [], alert.everything
