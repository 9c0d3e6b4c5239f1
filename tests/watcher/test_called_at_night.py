"""Who is called in quiet hours and by day: for what turned critical, for which cluster, and once."""

import json
from typing import Any

import pytest

from tests.deaths import free_the_lease
from tests.simulator.together import Fault
from tests.storms import began, choose, digest
from tests.watch import HOLD, card, carried_out, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import WARNING, XID, told
from tests.watcher.test_verification import DAY, firing, repaired
from tests.world import APPROVE, CANCEL, IDS, World

NIGHT = "02:00-07:00 UTC"  # the tests begin at 3:00
ROUTES = "cluster-1=C0OPS/S0ONE,cluster-2=C0OPS/S0TWO"


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
        bot.together.advance(IDS, "SUCCEEDED")
        bot.together.alerts.clear()
        await until(bot, lambda: "Watched until" in alert.text)
        await pass_time(bot, 1200)
        assert calls(bot) == []
        bot.together.fire("a-2", "cluster-1", "instance-1", **XID)  # critical
        await pass_time(bot, 5 * 3600)  # it is 8:20 then
        said = [*thread(bot, alert), *[message.text for message in told(bot)]]
        assert calls(bot), f"a critical alert fires without a repair, and on-call was never called: {said}"


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


@pytest.mark.parametrize("waits", [True, False])
async def test_critical_alert_on_a_node_whose_repair_for_a_warning_waits_calls_at_night(*, waits: bool) -> None:
    """Together suggests a reboot for a warning. Then the node's GPU fails, and Together suggests nothing more."""
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **WARNING)
        bot.together.add(state="PENDING_APPROVAL" if waits else "RUNNING", linked_alerts=[bot.together.alerts["a-1"]])
        await card(bot)
        bot.together.fire("a-2", "cluster-1", "instance-1", **XID)
        await pass_time(bot, 1200)
        assert bool(calls(bot)) == waits, "what runs may mend it"
        if not waits:
            return
        (posted,) = told(bot)
        first = posted.text.partition("\n")[0]
        assert first == (
            "instance-1 (cluster-1 (H100)): Xid 79, GPU has fallen off the bus, and no repair is open for it ⚠️"
        )
        bot.together.review(IDS, "approve")
        await until(bot, lambda: "Together lists no critical fault" in posted.text)
        assert len(calls(bot)) == 1


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
        bot.together.advance(IDS, "SUCCEEDED")
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
        bot.together.advance(IDS, "SUCCEEDED")
        bot.together.alerts.clear()
        await until(bot, lambda: "Watched until" in alert.text)
        await pass_time(bot, 1200)
        assert calls(bot) == []
        bot.together.fire("a-2", "cluster-1", "instance-1", **XID, **WARNING)
        await pass_time(bot, 3600)
        assert calls(bot) == []


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


async def test_what_was_under_way_before_monitoring_started_calls_nobody() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        bot.together.add(
            state="RUNNING",
            mode="REMEDIATION_MODE_VM_ONLY",
            trigger="REMEDIATION_TRIGGER_AUTOMATED",
            reviewed_by="Auto-Approved",
            linked_alerts=[{"severity": "PHC_SEVERITY_CRITICAL", "alert_name": "x", **XID}],
        )
        await pass_time(bot, 600)
        said = [post.text for post in bot.slack.visible()]
        assert said
        assert calls(bot) == [], said


@pytest.mark.parametrize("order", ["WARNING first", "CRITICAL first", "critical alone"])
async def test_critical_fault_that_is_back_beside_a_warning_calls_at_night(order: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT) as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(state="PENDING", linked_alerts=[bot.together.alerts["a-1"]], reviewed_by="Auto-Approved")
        alert = await card(bot)
        bot.together.advance(IDS, "SUCCEEDED")
        bot.together.alerts.clear()
        await until(bot, lambda: "Watched until" in alert.text)
        await pass_time(bot, 1200)
        assert calls(bot) == []
        both: list[dict[str, Any]] = [{**XID, **WARNING}, XID]
        if order == "critical alone":
            both = [XID]
        elif order == "CRITICAL first":
            both.reverse()
        for number, fields in enumerate(both):
            bot.together.fire(f"b-{number}", "cluster-1", "instance-1", **fields)
        await pass_time(bot, 3 * 3600)  # still night
        said = [*thread(bot, alert), *[message.text for message in told(bot)]]
        assert calls(bot), said


@pytest.mark.parametrize("at", [400, 860])
async def test_node_of_a_digest_on_hold_that_turns_critical_is_told_beside_a_reminder(at: int) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="15") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        for number in range(6):
            bot.together.add(
                ("cluster-1", f"instance-{number}", f"r-{number}"),
                instance_name=f"gpu-node-{number:04d}",
                linked_alerts=[{"alert_name": "SlurmNodeUnavailable", **WARNING}],
            )
        message = await digest(bot)
        posted = bot.time.seconds
        await bot.slack.say("<@U0BOT> hold 4h gpu-node-0001", user="U0BOB")
        await quiet(bot)
        await digest(bot, "on hold")
        await pass_time(bot, posted + at - bot.time.seconds, longest=15)
        bot.together.remediations["cluster-1", "instance-1", "r-1"]["linked_alerts"] = [
            {"alert_name": "DmesgXidError", "severity": "PHC_SEVERITY_CRITICAL", **XID}
        ]
        await pass_time(bot, 3600, longest=15)
        said = thread(bot, message)
        assert [line for line in said if "gpu-node-0001" in line and "S0ONCALL" in line], said


async def test_on_call_is_called_once_for_what_did_not_stop_while_alerts_cannot_be_read() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(linked_alerts=[bot.together.alerts["a-1"]])
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "SUCCEEDED")
        await until(bot, lambda: "Watched until" in alert.text)
        before = len(calls(bot))
        await pass_time(bot, 840, longest=15)
        fault = Fault("rpc", verb="alerts", code=14, times=-1)
        bot.together.faults.append(fault)
        await pass_time(bot, 210, longest=15)
        bot.together.faults.clear()
        await pass_time(bot, 2400, longest=15)
        said = calls(bot)[before:]
        assert len(said) == 1, said


@pytest.mark.parametrize("is_held", [True, False])
async def test_new_node_calls_though_one_on_hold_turns_critical_with_it(*, is_held: bool) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="0") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        for number in range(6):
            bot.together.add(
                ("cluster-1", f"instance-{number}", f"r-{number}"),
                instance_name=f"gpu-node-{number:04d}",
                linked_alerts=[{"alert_name": "SlurmNodeUnavailable", **WARNING}],
            )
        message = await digest(bot)
        if is_held:
            await bot.slack.say("<@U0BOT> hold 4h gpu-node-0001", user="U0BOB")
            await quiet(bot)
            await digest(bot, "on hold")
        for number in [number for number in range(6) if number != 1 or not is_held]:
            bot.together.resolve(("cluster-1", f"instance-{number}", f"r-{number}"))
        await pass_time(bot, 30)
        critical = [{"alert_name": "DmesgXidError", "severity": "PHC_SEVERITY_CRITICAL", **XID}]
        bot.together.remediations["cluster-1", "instance-1", "r-1"]["linked_alerts"] = critical
        for number in range(10, 17):
            bot.together.add(
                ("cluster-1", f"instance-{number}", f"r-{number}"),
                instance_name=f"gpu-node-{number:04d}",
                linked_alerts=critical,
            )
        await pass_time(bot, 3600, longest=15)
        said = [post.text for post in bot.slack.visible()]
        called = [line for line in thread(bot, message) if "S0ONCALL" in line and "and 7 more" in line]
        assert called or not is_held, said


async def test_first_approval_at_night_of_nodes_of_two_clusters_owes_the_other_on_call_a_call() -> None:
    quiet_hours = "03:30-07:00 UTC"
    modes = "REBOOT_VM"
    async with watching(
        BOT_ROUTES=ROUTES, BOT_QUIET_HOURS=quiet_hours, BOT_REMIND_MINUTES="0", BOT_TWO_PEOPLE_MODES=modes
    ) as bot:
        bot.slack.groups |= {"S0ONE": ["U0ALICE"], "S0TWO": ["U0BOB"]}
        for cluster, severity in (("cluster-1", "CRITICAL"), ("cluster-2", "WARNING")):
            for number in range(4):
                bot.together.add(
                    (cluster, f"{cluster}-i{number}", f"{cluster}-r{number}"),
                    linked_alerts=[{"alert_name": "x", "severity": f"PHC_SEVERITY_{severity}"}],
                )
        message = await digest(bot)
        assert "S0TWO" in message.everything
        await pass_time(bot, 2400)
        view = await choose(bot, message)
        await bot.slack.submit(view)
        await pass_time(bot, 60)
        said = thread(bot, message)
        assert [line for line in said if "S0ONE" in line], said
        await pass_time(bot, 6 * 3600)
        said = thread(bot, message)
        assert [line for line in said if "S0TWO" in line], said


async def test_returns_at_night_in_a_message_of_two_clusters_are_told_to_both_on_call() -> None:
    async with watching(BOT_ROUTES=ROUTES, BOT_QUIET_HOURS=NIGHT, BOT_REMIND_MINUTES="0") as bot:
        bot.slack.groups |= {"S0ONE": ["U0ALICE"], "S0TWO": ["U0BOB"]}
        bot.together.clusters["cluster-2"] = "cluster-2 (H100)"
        all_ids = []
        for cluster in ("cluster-1", "cluster-2"):
            for number in range(4):
                ids = (cluster, f"{cluster}-i{number}", f"{cluster}-r{number}")
                all_ids.append(bot.together.add(ids, linked_alerts=firing("79")))
        message = await digest(bot)
        for ids in all_ids:
            bot.together.review(ids, "approve")
            bot.together.advance(ids, "SUCCEEDED")
        await pass_time(bot, 1200)
        before = len(thread(bot, message))
        bot.together.fire("b-1", "cluster-1", "cluster-1-i0", **XID)
        bot.together.fire("b-2", "cluster-2", "cluster-2-i0", **{**XID, **WARNING})
        await pass_time(bot, 8 * 3600)
        said = thread(bot, message)[before:]
        assert [line for line in said if "S0ONE" in line], said
        assert [line for line in said if "S0TWO" in line], said


@pytest.mark.parametrize("order", ["WARNING first", "CRITICAL first"])
async def test_critical_fault_that_the_last_look_finds_beside_a_warning_calls_at_night(order: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS=NIGHT, BOT_VERIFY_HOURS="1") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.fire("a-1", "cluster-1", "instance-1", **XID)
        bot.together.add(state="PENDING", linked_alerts=[bot.together.alerts["a-1"]], reviewed_by="Auto-Approved")
        alert = await card(bot)
        bot.together.advance(IDS, "SUCCEEDED")
        bot.together.alerts.clear()
        await until(bot, lambda: "Watched until" in alert.text)
        ended = bot.time.seconds
        await pass_time(bot, 2400)
        bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
        await pass_time(bot, 60)
        both: list[dict[str, Any]] = [{**XID, **WARNING}, XID]
        for number, fields in enumerate(both if order == "WARNING first" else reversed(both)):
            bot.together.fire(f"b-{number}", "cluster-1", "instance-1", **fields)
        await pass_time(bot, ended + 3600 + 30 - bot.time.seconds)
        bot.together.faults.clear()
        await pass_time(bot, 2 * 3600 - 600)
        said = [*thread(bot, alert), *[message.text for message in told(bot)]]
        assert calls(bot), said


async def test_next_incident_that_is_a_warning_is_not_called_critical() -> None:
    """The one before, under the same ID, was cancelled as it turned critical."""
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        warning = [{"alert_name": "SlurmNodeUnavailable", **WARNING}]
        bot.together.add(linked_alerts=warning)
        alert = await card(bot)
        await pass_time(bot, 850)
        bot.together.remediations[IDS]["linked_alerts"] = [{"alert_name": "DmesgXidError", **XID}]
        await card(bot, words="Xid 79")
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        await pass_time(bot, 3600)
        bot.together.add(linked_alerts=warning)
        await card(bot, words="Approve reboot?")
        await pass_time(bot, 600)
        assert "is critical now" not in " ".join(thread(bot, alert))
