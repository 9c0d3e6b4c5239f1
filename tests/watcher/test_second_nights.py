"""More nights: what is called for, and what is said, where several things happen at once."""

import json
from typing import Any

import pytest
from sqlalchemy import update

from bot.store.tables import alerts
from tests.decisions.test_brake import braked, clear, resume
from tests.rows import execute_beside
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import card, ends, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import WARNING, XID, told
from tests.watcher.test_nights import NIGHT, ROUTES, calls
from tests.watcher.test_verification import firing, moment, repaired
from tests.world import APPROVE, IDS


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


@pytest.mark.parametrize("order", ["WARNING first", "CRITICAL first", "critical alone"])
async def test_critical_fault_that_is_back_beside_a_warning_calls_at_night(order: str) -> None:
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


@pytest.mark.parametrize("refusal", ["fatal_error", "ratelimited", "internal_error"])
async def test_outage_that_goes_on_stays_told_where_its_message_is_shared(refusal: str) -> None:
    async with watching() as bot:
        await began(bot)
        bot.together.clusters["cluster-2"] = "cluster-2 (H100)"
        await pass_time(bot, 1300)
        bot.together.unreadable |= {"cluster-1": 14, "cluster-2": 14}
        (message,) = await until(
            bot, lambda: [post for post in bot.slack.visible() if "from Together since" in post.text], 900
        )
        assert "cluster-1" in message.text
        assert "cluster-2" in message.text
        del bot.together.unreadable["cluster-1"]
        refused = SlackFault("chat.postMessage", refusal, times=-1)
        bot.slack.faults.append(refused)
        await until(bot, lambda: refused.times < -1, 200)
        bot.together.unreadable["cluster-1"] = 14
        await pass_time(bot, 60)
        refused.times = 0
        await pass_time(bot, 120)
        del bot.together.unreadable["cluster-2"]
        await pass_time(bot, 3600)
        said = [post.text for post in bot.slack.visible()]
        still = [text for text in said if "cluster-1" in text and "since" in text]
        assert still, f"cluster-1 can't be read, and nothing says so: {said}"


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


async def test_on_call_is_called_once_for_what_did_not_stop_while_alerts_cannot_be_read() -> None:
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
        before = len(calls(bot))
        await pass_time(bot, 840, longest=15)
        fault = Fault("rpc", verb="alerts", code=14, times=-1)
        bot.together.faults.append(fault)
        await pass_time(bot, 210, longest=15)
        bot.together.faults.clear()
        await pass_time(bot, 2400, longest=15)
        said = calls(bot)[before:]
        assert len(said) == 1, said


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
            for _ in range(4):
                bot.together.advance(ids)
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
        for _ in range(4):
            bot.together.advance(IDS)
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


@pytest.mark.parametrize("is_readable", [True, False])
async def test_new_alert_is_posted_though_another_version_wrote_an_earlier_one_of_its_node(
    *, is_readable: bool
) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for _ in range(4):
            bot.together.advance(IDS)
        await until(bot, lambda: "Watched until" in alert.text)
        if not is_readable:
            await execute_beside(bot, update(alerts).values(body='{"of": "a newer release"}'))
        await pass_time(bot, 7200)
        again = ("cluster-1", "instance-1", "remediation-2")
        bot.together.add(again, linked_alerts=[{"alert_name": "GpuEccDoubleBitError", **XID}])
        await pass_time(bot, 3600)
        assert bot.slack.cards(again[2]), [post.text for post in bot.slack.visible()]


async def test_card_that_waits_again_is_drawn_though_another_version_wrote_an_alert_of_its_node() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        other = ("cluster-1", "instance-1", "remediation-2")
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(other, linked_alerts=firing("48"))
        alert = await card(bot)
        await card(bot, other)
        bot.together.review(IDS, "cancel")
        bot.together.review(other, "cancel")
        await card(bot, words="Cancelled")
        await card(bot, other, "Cancelled")
        await execute_beside(
            bot, update(alerts).where(alerts.c.remediation_id == other[2]).values(body='{"of": "a newer release"}')
        )
        await pass_time(bot, 3600)
        bot.together.add(linked_alerts=firing("79", moment(bot)), create_time=moment(bot))
        await pass_time(bot, 3600)
        assert "Approve reboot?" in alert.text, (alert.text, thread(bot, alert))
        assert alert.buttons


@pytest.mark.parametrize("ids", [IDS, ("cluster-1", "instance-1", "remediation-2")])
async def test_home_shows_what_came_back_whatever_id_the_next_incident_has(ids: tuple[str, str, str]) -> None:
    async with watching() as bot:
        alert = await repaired(bot)
        await pass_time(bot, 22 * 60)
        bot.together.add(ids, linked_alerts=firing("79", moment(bot)), create_time=moment(bot))
        await until(bot, lambda: "came back" in str(thread(bot, alert)))
        await bot.slack.open_home()
        await quiet(bot)
        shown = json.dumps(bot.slack.homes["U0ALICE"])
        assert "ame back" in shown, shown
