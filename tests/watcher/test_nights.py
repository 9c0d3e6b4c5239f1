"""Whole nights: who is told and called."""

import json
from typing import Any

import pytest

from tests.deaths import free_the_lease
from tests.decisions.test_brake import braked, resume
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import HOLD, card, carried_out, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import TOLD, WARNING, XID, told
from tests.watcher.test_verification import DAY, firing, moment, repaired
from tests.world import APPROVE, IDS, World

NIGHT = "02:00-07:00 UTC"  # the tests begin at 3:00


def calls(bot: World) -> list[str]:
    return [
        str(body.get("text"))
        for method, body in bot.slack.calls
        if method == "chat.postMessage" and "S0ONCALL" in json.dumps(body)
    ]


@pytest.mark.parametrize("how", ["approved", "automatic"])
async def test_critical_fault_after_the_repair_of_a_warning_calls_at_night(how: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID, **WARNING)
        evidence = [bot.together.alerts["a-1"]]
        if how == "approved":
            bot.together.add(linked_alerts=evidence)
            alert = await card(bot)
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved")
        else:
            bot.together.add(state="PENDING", linked_alerts=evidence, reviewed_by="Auto-Approved")
            alert = await card(bot)
        for _ in range(4):
            bot.together.advance(IDS)
        bot.together.alerts.clear()
        await until(bot, lambda: "Watched until" in alert.text)
        await pass_time(bot, 1200)
        assert calls(bot) == []
        bot.together.fire("a-2", "cluster-1", "instance-1", **XID)  # critical
        await pass_time(bot, 5 * 3600)  # it is 8:20 then
        said = [*thread(bot, alert), *[message.text for message in told(bot)]]
        assert calls(bot), f"a critical alert fires without a repair, and on-call was never called: {said}"


async def test_who_asked_to_wait_for_a_node_of_a_storm_learns_that_somebody_released_their_hold() -> None:
    async with watching() as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await bot.slack.say("<@U0BOT> hold 4h gpu-node-0001 because the job ends at 7", user="U0BOB")
        await quiet(bot)
        await digest(bot, "on hold")
        await bot.slack.open_home("U0ALICE")
        await quiet(bot)
        rows = bot.slack.homes["U0ALICE"]["blocks"]
        (row,) = [row for row in rows if "gpu-node-0001" in json.dumps(row)]
        await bot.slack.press_home("home:open", about=row["accessory"]["value"])
        await quiet(bot)
        await bot.slack.press_home(HOLD, choice="release")
        await pass_time(bot, 30)
        assert "on hold" not in message.text, "it was released"
        await pass_time(bot, 300)
        told_bob = [post.text for post in bot.slack.messages if "U0BOB" in post.text and "release" in post.text]
        assert told_bob, f"nobody told the holder: {thread(bot, message)} {[m.text for m in bot.slack.direct('U0BOB')]}"


@pytest.mark.parametrize("is_held", [False, True])
async def test_node_on_hold_that_turns_critical_calls(*, is_held: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT, BOT_REMIND_MINUTES="0") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.add(linked_alerts=[{"alert_name": "SlurmNodeUnavailable", **WARNING}])
        alert = await card(bot)
        if is_held:
            await bot.slack.press(alert, HOLD, user="U0BOB", choice="14400")
            await card(bot, words="On hold")
        await pass_time(bot, 600)
        assert calls(bot) == []
        bot.together.remediations[IDS]["linked_alerts"] = [
            {"alert_name": "DmesgXidError", "severity": "PHC_SEVERITY_CRITICAL", **XID}
        ]
        await card(bot, words="Xid 79")
        await pass_time(bot, 3600)
        assert calls(bot), f"it turned critical an hour ago: {alert.text} {thread(bot, alert)}"


@pytest.mark.parametrize("setting", ["all", "destructive"])
async def test_automatic_reboot_that_becomes_a_reprovision_calls(setting: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_AUTOMATIC_REPAIRS=setting) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.add(
            state="PENDING",
            reviewed_by="Auto-Approved",
            linked_alerts=[{"severity": "PHC_SEVERITY_CRITICAL", "alert_name": "x", **XID}],
        )
        await pass_time(bot, 60)
        assert calls(bot) == []
        bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_VM_ONLY"
        await pass_time(bot, 600)
        (alert,) = bot.slack.cards(IDS[2])
        assert "deleted" in alert.text or "reprovision" in alert.text.lower(), alert.text
        assert calls(bot), f"{alert.text} {thread(bot, alert)}"


async def test_fault_that_had_its_time_to_clear_calls_though_its_repairs_id_was_used_again() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for _ in range(4):
            bot.together.advance(IDS)
        await until(bot, lambda: "Watched until" in alert.text)
        await pass_time(bot, 180)
        bot.together.add(linked_alerts=[{"alert_name": "KubeNodePIDPressure", **WARNING}])  # the next incident
        await card(bot, words="Approve")
        await pass_time(bot, 300)
        bot.together.resolve(IDS)  # PIDs are back; the GPU isn't
        before = len(calls(bot))
        await pass_time(bot, 2 * 3600)
        said = [*thread(bot, alert), *[message.text for message in told(bot)]]
        assert calls(bot)[before:], f"{said}"


async def test_warning_after_the_repair_of_a_critical_fault_calls_nobody_at_night() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(state="PENDING", linked_alerts=[bot.together.alerts["a-1"]], reviewed_by="Auto-Approved")
        alert = await card(bot)
        for _ in range(4):
            bot.together.advance(IDS)
        bot.together.alerts.clear()
        await until(bot, lambda: "Watched until" in alert.text)
        await pass_time(bot, 1200)
        assert calls(bot) == []
        bot.together.fire("a-2", "cluster-1", "instance-1", **XID, **WARNING)
        await pass_time(bot, 3600)
        assert calls(bot) == []


ROUTES = "cluster-1=C0OPS/S0ONE,cluster-2=C0OPS/S0TWO"


def of_severity(bot: World, cluster: str, severity: str, count: int) -> None:
    for number in range(count):
        bot.together.add(
            (cluster, f"{cluster}-i{number}", f"{cluster}-r{number}"),
            linked_alerts=[{"alert_name": "x", "severity": f"PHC_SEVERITY_{severity}"}],
        )


@pytest.mark.parametrize("cluster", ["CRITICAL", "WARNING"])
async def test_message_of_two_clusters_calls_at_night_only_who_is_on_call_for_what_is_critical(cluster: str) -> None:
    async with watching(BOT_ROUTES=ROUTES, BOT_QUIET_HOURS=NIGHT) as bot:
        bot.slack.groups |= {"S0ONE": ["U0ALICE"], "S0TWO": ["U0BOB"]}
        of_severity(bot, "cluster-1", cluster, 4)
        of_severity(bot, "cluster-2", "WARNING", 4)
        message = await digest(bot)
        await pass_time(bot, 1200)
        said = json.dumps([post.blocks for post in bot.slack.messages])
        assert ("S0ONE" in said) is (cluster == "CRITICAL")
        assert "S0TWO" not in said, f"woken for warnings alone: {message.text} {thread(bot, message)}"


async def test_failures_of_two_clusters_call_nobody_for_what_somebody_approved() -> None:
    async with watching(BOT_ROUTES=ROUTES) as bot:
        bot.slack.groups |= {"S0ONE": ["U0ALICE"], "S0TWO": ["U0BOB"]}
        of_severity(bot, "cluster-1", "CRITICAL", 4)
        of_severity(bot, "cluster-2", "CRITICAL", 4)
        message = await digest(bot)
        mine, other = ("cluster-1", "cluster-1-i0", "cluster-1-r0"), ("cluster-2", "cluster-2-i0", "cluster-2-r0")
        view = await choose(bot, message, "cluster-1-i0 in cluster-1 (H100)")
        await bot.slack.submit(view)
        await pass_time(bot, 30)
        assert bot.together.state(mine) == "PENDING"
        bot.together.review(other, "approve")
        for ids in (mine, other):
            for _ in range(3 if bot.together.state(ids) == "PENDING" else 0):
                bot.together.advance(ids)
        await pass_time(bot, 30)
        for ids in (mine, other):
            bot.together.fail(ids, "boom")
        (line,) = await until(bot, lambda: [post for post in bot.slack.replies(message) if "failed" in post.text])
        assert "S0TWO" in line.text
        assert "U0ALICE" in line.text
        assert "S0ONE" not in line.text, line.text


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
        assert thread(bot, message)[0] == "gpu-2: critical, firing for 15 min or longer, and no repair is open."


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
        await pass_time(bot, 3 * 3600)
        assert own() == [], [(post.text, list(post.buttons)) for post in own()]


@pytest.mark.parametrize("code", [5, 7, 12, 14])
async def test_nothing_is_said_to_have_held_while_a_list_that_could_be_read_all_day_cannot(code: int) -> None:
    """A release at Together: its list of alerts answers 404, 403, or 501 for half an hour."""
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        alert = await repaired(bot)
        ended = bot.time.seconds
        await pass_time(bot, DAY - 1800)
        bot.together.faults.append(Fault("rpc", verb="alerts", code=code, times=-1))
        await pass_time(bot, 900)
        bot.together.fire("a-1", "cluster-1", "instance-1", **firing("79")[0])
        await pass_time(bot, ended + DAY + 600 - bot.time.seconds)
        bot.together.faults.clear()
        await pass_time(bot, 7200)
        assert "Held for" not in str(thread(bot, alert)), thread(bot, alert)


# (14 is the control: it passes)
@pytest.mark.parametrize("code", [5, 14])
async def test_critical_fault_is_called_for_soon_after_a_list_that_was_refused_for_minutes(code: int) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        await pass_time(bot, 3600)
        bot.together.faults.append(Fault("rpc", verb="alerts", code=code, times=-1))
        await pass_time(bot, 600)
        bot.together.faults.clear()
        bot.together.fire("a-1", "cluster-1", "gpu-1", **XID)
        await pass_time(bot, 1500)
        assert calls(bot), "a critical fault has fired for 25 min, and the list can be read"


async def test_fault_is_called_for_though_repaired_nodes_are_not_watched_any_more(database_url: str) -> None:
    async with watching(database=database_url, BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
        await carried_out(bot)
        await pass_time(bot, 120)
        before = len(calls(bot))
        await bot.settle()
        await free_the_lease(database_url)
        async with bot.another(bot.settings.model_copy(update={"bot_verify_hours": 0})):
            await pass_time(bot, 2 * 3600)
            assert told(bot), "it fires without a repair, and no message says so"
            assert len(calls(bot)) > before


@pytest.mark.parametrize("severity", ["PHC_SEVERITY_FATAL", "PHC_SEVERITY_UNSPECIFIED", None])
async def test_alert_of_a_severity_that_is_not_known_to_be_mild_is_called_for(severity: str | None) -> None:
    """A remediation with the same evidence counts as critical, and calls at night."""
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "gpu-1", **{**XID, "severity": severity})
        bot.together.add(linked_alerts=[{**XID, "alert_name": "DmesgXidError", "severity": severity}])
        await card(bot)
        assert len(calls(bot)) == 1
        await pass_time(bot, 3600)
        assert told(bot), "nobody learns that it fires without a repair"


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


@pytest.mark.parametrize("is_again", [False, True])
async def test_home_shows_what_failed_though_its_id_was_used_again(*, is_again: bool) -> None:
    async with watching() as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"), instance_name="gpu-7")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for _ in range(3):
            bot.together.advance(IDS)
        bot.together.fail(IDS, "no host left")
        await card(bot, words="Failed")
        await pass_time(bot, 2400, longest=60)
        if is_again:
            bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)), instance_name="gpu-7")
            await card(bot, words="Approve reboot?")
        await bot.slack.open_home()
        await quiet(bot)
        shown = json.dumps(bot.slack.homes["U0ALICE"])
        assert "Failed in the last 24 h: 1" in shown, shown


async def test_who_asked_to_wait_learns_that_somebody_released_their_hold_where_the_thread_is_locked() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="14400", user="U0BOB")
        await card(bot, words="On hold")
        await pass_time(bot, 30)
        bot.slack.locked.add(alert.ts)
        await bot.slack.press(alert, HOLD, choice="release")
        await until(bot, lambda: "On hold" not in alert.text)
        await pass_time(bot, 300)
        told_bob = [post.text for post in bot.slack.messages if "U0BOB" in post.text and "release" in post.text]
        assert told_bob, [post.text for post in bot.slack.messages if post is not alert]


async def test_on_call_is_called_once_for_a_fault_that_the_last_look_finds() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        alert = await repaired(bot)
        ended = bot.time.seconds
        await pass_time(bot, DAY - 1800)
        before = len(calls(bot))
        bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        await pass_time(bot, ended + DAY + 60 - bot.time.seconds)
        bot.together.faults.clear()
        await until(bot, lambda: "came back" in str(thread(bot, alert)), 1200)
        await pass_time(bot, 3600)
        said = calls(bot)[before:]
        assert len(said) == 1, said


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
