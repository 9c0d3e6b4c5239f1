"""Whether a repair has helped: its node is looked for, and its fault, for as long as the setting says."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.deaths import kill_the_watch
from tests.simulator.receivers import WebhookReceiver
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.test_metrics import Counted, metrics
from tests.watch import card, carried_out, enforce_slacks_limits, pass_time, thread, until, watching
from tests.world import APPROVE, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")
CALL = "<!subteam^S0ONCALL>"
DAY = 24 * 3600.0
REMOVAL = "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT"
AGAIN = ("cluster-1", "instance-1", "remediation-2")


def firing(code: str, started: str = "") -> list[dict[str, Any]]:
    events = [{"xid_code": code}]
    times = {"started_at": started} if started else {}
    return [{"alert_name": "DmesgXidError", "annotation": {"title": "Xid", "xid": {"events": events}}, **times}]


def moment(bot: World, seconds: float = 0.0) -> str:
    return datetime.fromtimestamp(bot.time.now() + seconds, UTC).isoformat()


async def running(bot: World, mode: str = "REMEDIATION_MODE_REBOOT_VM", alerts: Any = None) -> Posted:
    """Approve a repair, and let it run for a minute."""
    await began(bot)
    bot.together.add(linked_alerts=alerts or firing("79"), mode=mode)
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "RUNNING")
    await pass_time(bot, 60)
    return alert


async def repaired(bot: World, mode: str = "REMEDIATION_MODE_REBOOT_VM", alerts: Any = None) -> Posted:
    """Approve a repair, and let it succeed."""
    alert = await running(bot, mode, alerts)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await until(bot, lambda: ("was removed" if mode == REMOVAL else "Watched until") in alert.text)
    return alert


def counted(mode: str, result: str) -> float:
    labels = {"mode": f"REMEDIATION_MODE_{mode}", "result": result}
    return REGISTRY.get_sample_value("remediation_bot_repairs_verified_total", labels) or 0.0


async def test_repair_that_helped_is_told_quietly_once(bot: World) -> None:
    enforce_slacks_limits(bot)
    before = counted("REBOOT_VM", "lasted")
    alert = await repaired(bot)
    said = len(thread(bot, alert))
    await pass_time(bot, DAY - 900)
    assert len(thread(bot, alert)) == said
    await until(bot, lambda: len(thread(bot, alert)) > said, seconds=1800)
    await pass_time(bot, 2 * 3600)
    assert thread(bot, alert)[said:] == [
        "instance-1: Lasted 24 h: Together suggested no other repair for this fault. ✅"
    ]
    assert "Lasted 24 h" in alert.text
    assert "Watched until" not in alert.text
    assert counted("REBOOT_VM", "lasted") - before == 1


async def test_fault_that_comes_back_is_told_to_who_approved_and_who_is_on_call(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 22 * 60)
    bot.together.add(AGAIN, linked_alerts=firing("79", moment(bot)))
    await until(bot, lambda: "Fault came back after 22 min 🔁" in alert.text)
    assert "Xid 79 is back: see the node's next remediation." in alert.text
    told = await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line])
    assert told == [
        f"<@U0ALICE> {CALL}, Xid 79 came back on instance-1 (cluster-1 (H100)), 22 min after its reboot. 🔁"
    ]
    assert [reply.broadcast for reply in bot.slack.replies(alert) if "came back" in reply.text] == [True]
    await card(bot, AGAIN)
    await pass_time(bot, 2 * DAY)
    assert len([line for line in thread(bot, alert) if "came back" in line]) == 1
    assert not [line for line in thread(bot, alert) if "Lasted" in line]


async def test_warning_that_comes_back_in_quiet_hours_mentions_who_approved_and_wakes_nobody_else() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_QUIET_HOURS="02:00-07:00 UTC") as bot:  # it is three o'clock
        warning = [{**firing("79")[0], "severity": "PHC_SEVERITY_WARNING"}]
        alert = await repaired(bot, alerts=warning)
        bot.together.add(AGAIN, linked_alerts=[{**warning[0], "started_at": moment(bot)}])
        told = await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line])
        assert told[0].startswith("<@U0ALICE>, Xid 79 came back")


async def test_alert_that_has_fired_all_along_did_not_come_back(bot: World) -> None:
    alert = await repaired(bot)
    bot.together.add(AGAIN, linked_alerts=firing("79", moment(bot, -3600)))
    await until(bot, lambda: "Reboot didn't help 🔁" in alert.text)
    told = "Xid 79 didn't stop with the reboot of instance-1 (cluster-1 (H100)): it didn't help."
    await until(bot, lambda: any(told in line for line in thread(bot, alert)))


async def test_fault_that_came_back_before_its_repair_was_seen_to_end_is_told(bot: World) -> None:
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot)
    bot.together.remediations[IDS] |= {"state": "RUNNING", "start_time": moment(bot)}
    await card(bot, words="Rebooting")
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    bot.together.add(AGAIN, linked_alerts=firing("79"), create_time=moment(bot, 1))
    await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line], seconds=120)


@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "SUCCEEDED"])
async def test_nothing_held_where_another_repair_ran_that_nobody_was_told_of(state: str) -> None:
    async with watching(BOT_AUTOMATIC_REPAIRS="none") as bot:
        alert = await repaired(bot)
        await pass_time(bot, 7200)
        fields = {"create_time": moment(bot), "reviewed_by": "Auto-Approved", "linked_alerts": firing("79")}
        bot.together.add(AGAIN, "SUCCEEDED", end_time=moment(bot), **fields)
        if state == "PENDING_APPROVAL":  # it was suggested while the repair ran
            began_at = bot.together.remediations[IDS]["start_time"]
            bot.together.remediations[AGAIN] |= {"state": "RUNNING", "create_time": began_at}
        await pass_time(bot, DAY)
        assert not [line for line in thread(bot, alert) if "Lasted" in line]
        words = "came back" if state == "SUCCEEDED" else "didn't help"
        assert [line for line in thread(bot, alert) if words in line]


async def test_nothing_is_said_to_have_held_while_its_alert_fires_unseen(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=14, times=-1))
    bot.together.fire("a-1", "cluster-1", "instance-1", annotation=firing("79")[0]["annotation"])
    await pass_time(bot, DAY)
    assert not [line for line in thread(bot, alert) if "Lasted" in line]
    bot.together.faults.clear()
    await pass_time(bot, 1200)
    (told,) = [line for line in thread(bot, alert) if "Xid 79" in line and "U0ALICE" in line]
    assert "came back on instance-1" in told
    assert not [line for line in thread(bot, alert) if "Lasted" in line]


async def test_nothing_is_said_to_have_held_by_one_refusal_of_the_alerts(bot: World) -> None:
    alert = await repaired(bot)
    await pass_time(bot, DAY - 200)
    bot.together.faults.append(Fault("rpc", verb="alerts", code=5, times=-1))
    bot.together.fire("a-1", "cluster-1", "instance-1", annotation=firing("79")[0]["annotation"])
    await pass_time(bot, 360)
    bot.together.faults.clear()
    await pass_time(bot, 1200)
    assert not [line for line in thread(bot, alert) if "Lasted" in line]
    assert [line for line in thread(bot, alert) if "came back on instance-1" in line]


async def test_repair_has_held_where_the_key_may_not_list_what_fires(bot: World) -> None:
    bot.together.faults.append(Fault("rpc", verb="alerts", code=7, times=-1))
    alert = await repaired(bot)
    await pass_time(bot, DAY + 1800)
    assert [line for line in thread(bot, alert) if "Lasted" in line]


async def test_nothing_held_where_the_fault_is_not_known(bot: World) -> None:
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    await card(bot, words="Rebooted")
    await pass_time(bot, 2 * DAY)
    assert not [line for line in thread(bot, alert) if "Lasted" in line]
    assert "in case the fault comes back" not in alert.text


async def test_cluster_that_can_not_be_read_keeps_no_reminder_and_no_result_waiting() -> None:
    async with watching(BOT_REMIND_MINUTES="15", BOT_ONCALL="S0ONCALL") as bot:
        bot.together.faults.append(Fault("rpc", "cluster", code=7, times=100_000))
        alert = await repaired(bot)
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot, "8 nodes")
        bot.together.remediations[ids[0]] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
        await pass_time(bot, 3 * 3600)
        assert any("wait" in line for line in thread(bot, message))
        await pass_time(bot, DAY)
        assert any("Lasted" in line for line in thread(bot, alert))


async def test_node_in_its_next_repair_is_not_missed(bot: World) -> None:
    alert = await repaired(bot)
    bot.together.node_status["instance-1"] = "NODE_PHASE_BOOTING"
    bot.together.add(AGAIN, "RUNNING", linked_alerts=firing("31"))
    await pass_time(bot, 3600)
    assert not [line for line in thread(bot, alert) if "isn't running" in line]


@pytest.mark.parametrize(("ids", "code"), [(AGAIN, "31"), (("cluster-1", "instance-2", "remediation-2"), "79")])
async def test_other_fault_or_node_says_nothing_of_the_repair(bot: World, ids: Any, code: str) -> None:
    alert = await repaired(bot)
    bot.together.add(ids, linked_alerts=firing(code))
    await card(bot, ids)
    await pass_time(bot, 600)
    assert "came back" not in alert.text


@pytest.mark.parametrize("status", ["", "NODE_PHASE_BOOTING"])
async def test_node_that_is_not_back_is_told_once(bot: World, status: str) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), "RUNNING")
    bot.together.node_status["instance-1"] = status
    alert = await repaired(bot)
    await pass_time(bot, 840)
    assert not [line for line in thread(bot, alert) if "isn't running" in line]
    await until(bot, lambda: "wasn't running in the cluster" in alert.text, seconds=300)
    assert alert.title.startswith("Not running after reboot: instance-1 ⚠️")
    await pass_time(bot, DAY + 3600)
    assert not [line for line in thread(bot, alert) if "Lasted" in line]
    (told,) = [line for line in thread(bot, alert) if "isn't running" in line]
    assert told == (
        f"<@U0ALICE> {CALL}, instance-1 (cluster-1 (H100)) isn't running in the cluster 15 min after its repair, "
        "as Together lists it. Check the node."
    )


@pytest.mark.parametrize("status", ["NODE_PHASE_BOOTING", None])
async def test_deleted_card_is_posted_again_where_its_node_is_not_back(bot: World, status: str | None) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), "RUNNING")
    await began(bot)
    bot.together.add(linked_alerts=firing("79"))
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.slack.messages.remove(alert)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
    if status:
        bot.together.node_status["instance-1"] = status
    await pass_time(bot, 840)
    assert bot.slack.cards(IDS[2]) == []
    if status:
        again = await card(bot, words="wasn't running in the cluster", seconds=600)
        (told,) = await until(bot, lambda: [line for line in thread(bot, again) if "isn't running" in line])
        assert told.startswith(f"<@U0ALICE> {CALL}, ")
        bot.slack.messages.remove(again)
    await pass_time(bot, DAY + 3600)
    assert bot.slack.cards(IDS[2]) == []


async def test_node_is_not_missed_where_together_does_not_say_which_nodes_there_are(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 8
    bot.together.node_status["instance-1"] = ""  # the others have no instance ID
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    assert not [line for line in thread(bot, alert) if "isn't running" in line]


async def test_fault_of_another_cluster_says_nothing_of_a_node_of_the_same_name(bot: World) -> None:
    alert = await repaired(bot)
    other = bot.together.add(("cluster-2", "instance-1", "remediation-2"), linked_alerts=firing("79", moment(bot)))
    bot.together.add(("cluster-1", "instance-9", "remediation-9"), linked_alerts=firing("31"))
    await pass_time(bot, 700)
    await card(bot, other)
    assert "came back" not in alert.text


async def test_nothing_is_said_to_have_held_on_a_node_that_is_gone(bot: World) -> None:
    alert = await repaired(bot, REMOVAL)
    await pass_time(bot, 25 * 3600)
    assert "Watched until" not in alert.text
    assert not [line for line in (alert.text, *thread(bot, alert)) if "Lasted" in line]


@pytest.mark.parametrize("mode", [REMOVAL, "REMEDIATION_MODE_VM_ONLY"])
async def test_node_that_was_removed_or_replaced_is_not_missed(bot: World, mode: str) -> None:
    bot.together.nodes["cluster-1"] = 1
    alert = await repaired(bot, mode)
    bot.together.node_status["instance-1"] = ""
    await pass_time(bot, 3600)
    assert not [line for line in thread(bot, alert) if "isn't running" in line]


@pytest.mark.parametrize(
    ("mode", "state", "is_missed"),
    [
        ("HOST_AWARE", "SUCCEEDED", False),
        ("EVICT_WITHOUT_REPLACEMENT", "SUCCEEDED", False),
        ("EVICT_WITHOUT_REPLACEMENT", "RUNNING", False),
        ("EVICT_WITHOUT_REPLACEMENT", "CANCELLED", True),
        ("REBOOT_VM", "SUCCEEDED", True),
    ],
)
async def test_node_that_a_later_repair_replaced_or_removed_is_not_missed(
    bot: World, mode: str, state: str, *, is_missed: bool
) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-9"), "RUNNING")
    alert = await repaired(bot)
    await pass_time(bot, 60)
    bot.together.add(AGAIN, linked_alerts=firing("31"), mode=f"REMEDIATION_MODE_{mode}")
    await card(bot, AGAIN)
    ended = {"end_time": moment(bot), "update_time": moment(bot)} if state != "RUNNING" else {}
    bot.together.remediations[AGAIN] |= {"state": state, "start_time": moment(bot), **ended}
    bot.together.node_status["instance-1"] = ""
    await pass_time(bot, 1200)
    told = [line for line in thread(bot, alert) if "isn't running" in line]
    assert bool(told) is is_missed, told


async def test_nothing_is_said_of_a_node_while_together_can_not_be_read(bot: World) -> None:
    alert = await repaired(bot)
    said = len(thread(bot, alert))
    bot.together.faults.append(Fault("rpc", "cluster", code=14, times=100_000))
    await pass_time(bot, 3600)
    assert len(thread(bot, alert)) == said
    bot.together.faults.clear()
    bot.together.node_status["instance-1"] = "FAILED"
    await until(bot, lambda: "wasn't running in the cluster" in alert.text, seconds=600)
    assert any("isn't running in the cluster 1 h " in line for line in thread(bot, alert))


async def test_node_that_is_not_back_is_told_however_long_nobody_could_be_asked_or_told(bot: World) -> None:
    alert = await repaired(bot)
    bot.together.node_status["instance-1"] = "FAILED"
    bot.together.faults.append(Fault("rpc", "cluster", code=14, times=100_000))
    await pass_time(bot, 3 * 3600)
    bot.together.faults.clear()
    await until(bot, lambda: "wasn't running in the cluster" in alert.text, seconds=600)
    assert any("isn't running in the cluster 3 h " in line for line in thread(bot, alert))
    await pass_time(bot, DAY)
    assert not [line for line in thread(bot, alert) if "Lasted" in line]


async def test_repairs_of_a_digest_are_one_line(bot: World) -> None:
    enforce_slacks_limits(bot)
    await began(bot)
    ids = storm(bot, 8)
    message = await digest(bot, "8 nodes")
    for number, each in enumerate(ids):
        ended = {"state": "SUCCEEDED", "end_time": moment(bot, number), "linked_alerts": firing("79")}
        bot.together.remediations[each] |= ended
        bot.together.node_status[each[1]] = "" if number < 2 else "Running"
    bot.together.nodes["cluster-1"] = 8
    await pass_time(bot, 1800)
    await pass_time(bot, DAY)
    lines = thread(bot, message)
    (missing,) = [line for line in lines if "aren't running" in line or "isn't running" in line]
    assert "gpu-node-0000, gpu-node-0001 aren't running" in missing
    (held,) = [line for line in lines if "Lasted 24 h" in line]
    assert "gpu-node-0007" in held


async def test_faults_that_come_back_in_a_digest_mention_people_once(bot: World) -> None:
    enforce_slacks_limits(bot)
    await began(bot)
    ids = storm(bot, 8)
    message = await digest(bot, "8 nodes")
    for each in ids:
        again = {"linked_alerts": firing("79"), "instance_name": each[1]}
        bot.together.remediations[each] |= {"state": "SUCCEEDED", "end_time": moment(bot), **again}
    await pass_time(bot, 120)
    for each in ids:
        bot.together.add((*each[:2], f"{each[2]}again"), linked_alerts=firing("79"), instance_name=each[1])
    await pass_time(bot, 300)
    (told,) = [line for line in thread(bot, message) if "came back" in line]
    assert told.startswith(f"{CALL}, instance-0, instance-1, ")
    assert "8 with the fault back" in message.everything


async def test_it_is_told_once_over_a_change_of_the_watch(bot: World) -> None:
    alert = await repaired(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
    bot.together.add(AGAIN, linked_alerts=firing("79"))
    await until(bot, lambda: [line for line in thread(bot, alert) if "came back" in line])
    await kill_the_watch(bot)
    async with bot.another():
        await pass_time(bot, 1200)
        assert len([line for line in thread(bot, alert) if "came back" in line]) == 1
        assert "came back after" in alert.text


async def test_other_tools_are_told() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            bot.together.node_status["instance-1"] = "PENDING"
            await repaired(bot)
            await pass_time(bot, 1000)
            bot.together.add(AGAIN, linked_alerts=firing("79"))
            await pass_time(bot, 300)
            kinds = [event["type"].rpartition(".")[2] for event in webhook.events if event["subject"].endswith("-1")]
            assert kinds[-2:] == ["not_back", "came_back"]


async def test_setting_switches_it_off() -> None:
    async with watching(BOT_VERIFY_HOURS="0") as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": moment(bot)}
        bot.together.node_status["instance-1"] = ""
        await card(bot, words="Rebooted")
        bot.together.add(AGAIN, linked_alerts=firing("79"))
        await card(bot, AGAIN)
        await pass_time(bot, 2 * DAY)
        assert "Rebooted" in alert.text
        assert not [line for line in thread(bot, alert) if "running" in line or "Lasted" in line]


def calls(bot: World) -> list[str]:
    """What was posted with a mention of who is on call: an edit notifies nobody."""
    posted = [body for method, body in bot.slack.calls if method == "chat.postMessage"]
    return [str(message["text"]) for message in posted if CALL in str(message)]


async def test_fault_that_comes_back_twice_to_a_node_of_an_open_digest_calls_twice(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    for each in ids:
        bot.together.remediations[each]["linked_alerts"] = firing("79")
    message = await digest(bot)
    for each in ids:
        ended = {"state": "SUCCEEDED", "start_time": moment(bot, -60), "end_time": moment(bot)}
        bot.together.remediations[each] |= ended
    await pass_time(bot, 3600)
    xid = firing("79")[0]["annotation"]
    bot.together.fire("a-1", "cluster-1", "instance-0", annotation=xid)
    await until(bot, lambda: [line for line in thread(bot, message) if "came back" in line], 1800)
    await pass_time(bot, 600)
    bot.together.alerts.clear()
    await pass_time(bot, 6 * 3600)
    before = len(calls(bot))
    bot.together.fire("a-2", "cluster-1", "instance-0", annotation=xid)
    await pass_time(bot, 3600)
    (call,) = calls(bot)[before:]
    assert "no repair is open" in call


@pytest.mark.parametrize("seconds", [60, 2 * 3600])  # before and after the bot has noticed it
async def test_fault_that_comes_back_calls_although_its_card_was_deleted(bot: World, seconds: int) -> None:
    alert = await repaired(bot)
    bot.slack.messages.remove(alert)
    await pass_time(bot, seconds)
    before = len(calls(bot))
    bot.together.fire("a-1", "cluster-1", "instance-1", annotation=firing("79")[0]["annotation"])
    await pass_time(bot, 3600)
    (call,) = calls(bot)[before:]
    assert "Xid 79 came back on instance-1" in call
    (again,) = bot.slack.cards(IDS[2])
    assert "Fault came back" in again.text


async def test_fault_of_a_repaired_node_that_names_no_beginning_calls(bot: World) -> None:
    await repaired(bot)
    await pass_time(bot, 2 * 3600)
    before = len(calls(bot))
    bot.together.fire("a-1", "cluster-1", "instance-1", annotation=firing("79")[0]["annotation"])
    del bot.together.alerts["a-1"]["started_at"]
    await pass_time(bot, 3600)
    assert len(calls(bot)) == before + 1


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
        assert "Lasted" not in str(thread(bot, alert)), thread(bot, alert)


@pytest.mark.parametrize("name", ["gpu-7", "gpu-8"])
async def test_vm_that_was_replaced_has_held_only_where_the_cluster_has_its_name(name: str) -> None:
    async with watching() as bot:
        await began(bot)
        linked = [alert | {"instance_id": IDS[1], "target_vm": "gpu-7"} for alert in firing("79")]
        bot.together.add(mode="REMEDIATION_MODE_VM_ONLY", instance_name="gpu-7", linked_alerts=linked)
        alert = await carried_out(bot)
        bot.together.node_status[IDS[1]] = ""  # the old VM is in its cluster no longer
        bot.together.add(("cluster-1", "instance-new", "remediation-new"), "CANCELLED", instance_name=name)
        await pass_time(bot, 88_000)
        said = "\n".join([alert.text, *thread(bot, alert)])
        assert ("Lasted" in said) == (name == "gpu-7"), said
        assert "Watched until" not in alert.text


async def test_repair_that_lasted_is_told_and_counted_though_its_card_was_deleted() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            alert = await repaired(bot)
            before = await metrics(bot)
            bot.slack.messages.remove(alert)
            await pass_time(bot, DAY + 2 * 3600)
            kinds = [event["type"].rpartition(".")[2] for event in webhook.events]
            labels = {"mode": "REMEDIATION_MODE_REBOOT_VM", "result": "lasted"}
            assert "lasted" in kinds
            assert Counted(before, await metrics(bot)).of("repairs_verified_total", **labels) == 1


@pytest.mark.parametrize("mode", ["EVICT_WITHOUT_REPLACEMENT", "HOST_AWARE", ""])
async def test_nothing_held_on_a_node_that_a_later_repair_has_taken_out_of_its_cluster(bot: World, mode: str) -> None:
    bot.together.add(("cluster-1", "instance-2", "remediation-9"), "RUNNING")  # so the cluster lists a node
    alert = await repaired(bot)
    await pass_time(bot, 3600)
    if mode:
        bot.together.add(AGAIN, linked_alerts=firing("31"), mode=f"REMEDIATION_MODE_{mode}")
        await card(bot, AGAIN)
        times = {"start_time": moment(bot), "end_time": moment(bot), "update_time": moment(bot)}
        bot.together.remediations[AGAIN] |= {"state": "SUCCEEDED", **times}
    bot.together.node_status["instance-1"] = ""  # it isn't in the cluster any more
    await pass_time(bot, DAY + 1800)
    assert not [line for line in thread(bot, alert) if "Lasted 24 h" in line]
