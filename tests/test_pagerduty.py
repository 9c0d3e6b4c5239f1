"""PagerDuty: what opens an incident there, and what ends it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from bot.clock import WaitReason
from bot.models import Event, EventKind, Target
from bot.outward import Destinations, Sender
from bot.outward.formats import cloud_event, incidents
from bot.outward.sender import TICK
from bot.store import Database, outbox
from bot.store.tables import leases
from bot.tasks import cancel
from bot.wiring import plain_client
from tests.deaths import free_the_lease
from tests.fetch import get
from tests.manual_clock import START, ManualClock
from tests.rows import execute
from tests.simulator.receivers import ROUTING_KEY, PagerDuty
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.simulator.together import Fault
from tests.storms import XID, began, digest, storm
from tests.test_metrics import Counted, metrics
from tests.watch import HOLD, LOOKING, card, pass_time, poll, quiet, thread, until, watching
from tests.watcher.test_faults import WARNING
from tests.watcher.test_verification import running
from tests.world import APPROVE, CANCEL, IDS, REF, World

REPAIR, STUCK, CRITICAL = (f"{REF} {of}" for of in ("repair", "stuck", "critical"))  # keys of its other incidents
WARNINGS = [{"alert_name": "IBLinkFlapping", **WARNING}]


async def test_incident_is_triggered_by_the_first_reminder_acknowledged_by_a_hold_and_resolved(
    pagerduty: PagerDuty,
) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await pass_time(bot, 60)
        assert pagerduty.incidents == {}
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}
        assert pagerduty.pages == ["gpu-node-7 (cluster-1 (H100)). Reboot is waiting for approval."]
        await pass_time(bot, 1801)
        assert pagerduty.actions == ["trigger"]
        await bot.slack.press(alert, HOLD)
        await until(bot, lambda: pagerduty.incidents == {REF: "acknowledged"})
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved"})
        assert pagerduty.refused == []


@pytest.mark.parametrize("path", ["/v2/enqueue", "/v2/enqueue/", "/v2"])
async def test_address_of_pagerdutys_own_docs_reaches_it(pagerduty: PagerDuty, path: str) -> None:
    settings = {**pagerduty.settings, "BOT_PAGERDUTY_URL": f"{pagerduty.url}{path}"}
    async with watching(**settings) as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}


async def test_incident_that_ends_while_its_trigger_is_on_its_way_is_resolved(pagerduty: PagerDuty) -> None:
    """SQLite gives the number of a deleted last row to the next one."""
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_POLL_SECONDS="5") as bot:
        with pagerduty.paused("receive"):
            bot.together.add()
            await until(bot, lambda: pagerduty.is_waiting("receive"))
            bot.together.resolve(IDS)
            await pass_time(bot, 6)  # it is listed no longer, and PagerDuty hasn't answered yet
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved"})


async def test_incident_is_triggered_while_slack_takes_no_reminder(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        await card(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}


async def test_incident_is_triggered_while_slack_takes_no_card(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        refused = SlackFault("chat.postMessage", "html", times=-1)
        bot.slack.faults.append(refused)
        bot.together.add()
        await pass_time(bot, 800)
        assert pagerduty.incidents == {}
        await pass_time(bot, 300)
        assert pagerduty.incidents == {REF: "triggered"}
        await pass_time(bot, 3600)
        assert [call["event_action"] for call in pagerduty.calls].count("trigger") == 1
        bot.slack.faults.remove(refused)
        await bot.slack.press(await card(bot, seconds=700), CANCEL)
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved"})


async def test_incident_is_triggered_while_slack_takes_no_line_of_the_thread(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
        await bot.slack.press(alert, HOLD)
        await until(bot, lambda: "On hold" in alert.text)
        await bot.slack.press(alert, HOLD, choice="release")
        await pass_time(bot, 1200)
        assert pagerduty.incidents == {REF: "triggered"}


async def test_incident_is_not_triggered_for_what_together_no_longer_lists_as_waiting(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
        bot.together.add()
        await pass_time(bot, 800)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        bot.together.review(IDS, "approve")
        await pass_time(bot, 900)
        assert pagerduty.incidents == {}


@pytest.mark.parametrize(("severity", "count"), [("CRITICAL", 1), ("WARNING", 0)])
async def test_incident_of_what_is_critical_is_triggered_at_once_where_that_is_set(
    pagerduty: PagerDuty, severity: str, count: int
) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=[{"alert_name": "X", "severity": f"PHC_SEVERITY_{severity}"}])
        await card(bot)
        await pass_time(bot, 60)
        assert pagerduty.incidents == dict.fromkeys([REF][:count], "triggered")
        assert [call["payload"]["severity"] for call in pagerduty.calls] == ["critical"] * count
        bot.together.review(IDS, "cancel")
        await until(bot, lambda: pagerduty.incidents == dict.fromkeys([REF][:count], "resolved") or not count)


@pytest.mark.parametrize("is_left_out", [False, True])
async def test_what_becomes_critical_triggers_an_incident_at_once_where_that_is_set(
    pagerduty: PagerDuty, *, is_left_out: bool
) -> None:
    warning = [{"severity": "PHC_SEVERITY_WARNING", "alert_name": "IBLinkFlapping"}]
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=warning)
        await card(bot)
        await pass_time(bot, 1000)
        assert pagerduty.calls == []
        if is_left_out:
            bot.together.remediations[IDS]["linked_alerts"] = []
            await poll(bot)
        bot.together.remediations[IDS]["linked_alerts"] = XID
        await until(bot, lambda: pagerduty.actions == ["trigger critical"])


async def test_next_incident_that_becomes_critical_soon_after_the_one_before_triggers_too(pagerduty: PagerDuty) -> None:
    warning = [{"severity": "PHC_SEVERITY_WARNING", "alert_name": "IBLinkFlapping"}]
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        actions: list[str] = []
        for _ in range(2):
            bot.together.add(linked_alerts=warning)
            await until(bot, lambda: bot.slack.cards(IDS[2]) and APPROVE in bot.slack.cards(IDS[2])[0].controls)
            await poll(bot)
            assert pagerduty.actions == actions
            bot.together.remediations[IDS]["linked_alerts"] = XID
            actions.append("trigger critical")
            await until(bot, lambda: pagerduty.actions == actions)
            bot.together.resolve(IDS)
            actions.append("resolve critical")
            await until(bot, lambda: pagerduty.actions == actions)


async def test_next_incident_under_the_same_id_ends_one_at_pagerduty_and_triggers_another(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=XID)
        alert = await card(bot)
        await bot.slack.press(alert, LOOKING)
        await until(bot, lambda: pagerduty.actions == ["trigger", "acknowledge"])
        await bot.time.advance(3)
        bot.together.add(linked_alerts=XID)
        await until(bot, lambda: pagerduty.actions == ["trigger", "acknowledge", "resolve", "trigger"])


async def test_next_incident_triggers_though_the_repair_before_it_was_not_seen_to_end(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=XID)
        await card(bot)
        bot.together.review(IDS, "approve")
        await card(bot, words="Approved")
        await pass_time(bot, 3600)
        bot.together.add(linked_alerts=XID)
        actions = ["trigger", "resolve", "trigger"]
        await until(bot, lambda: pagerduty.actions == actions)


async def test_incident_of_a_stuck_repair_that_is_not_listed_for_a_while_stays_open(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10") as bot:
        bot.together.add()
        await bot.slack.press(await card(bot), APPROVE)
        await card(bot, words="Approved")
        await until(bot, lambda: pagerduty.incidents == {STUCK: "triggered"}, seconds=4 * 3600)
        calls = len(pagerduty.calls)
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="No longer listed")
        bot.together.remediations[IDS] = kept
        await card(bot, words="May be stuck")
        await pass_time(bot, 3600)
        assert len(pagerduty.calls) == calls
        assert pagerduty.incidents == {STUCK: "triggered"}
        bot.together.remediations[IDS]["state"] = "SUCCEEDED"
        await until(bot, lambda: pagerduty.incidents == {STUCK: "resolved"})


@pytest.mark.parametrize("is_refused", ["chat.update", "chat.postMessage"])
async def test_incident_of_a_stuck_repair_is_triggered_while_slack_takes_nothing(
    pagerduty: PagerDuty, is_refused: str
) -> None:
    async with watching(**pagerduty.settings, BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
        await bot.slack.press(alert, HOLD)  # its thread is told
        await until(bot, lambda: "On hold" in alert.text)
        await bot.slack.press(alert, HOLD, choice="release")
        await until(bot, lambda: "On hold" not in alert.text)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.slack.faults.append(SlackFault(is_refused, "html", times=-1))
        bot.together.remediations[IDS]["state"] = "RUNNING"
        before = await metrics(bot)
        await pass_time(bot, 3600)
        assert pagerduty.incidents == {STUCK: "triggered"}
        assert Counted(before, await metrics(bot)).of("stuck_repairs_total") == 1
        assert pagerduty.actions == ["trigger stuck"]
        bot.slack.faults.clear()
        await until(bot, lambda: "may be stuck" in " ".join(thread(bot, alert)), 1200)
        assert Counted(before, await metrics(bot)).of("stuck_repairs_total") == 1
        bot.together.remediations[IDS]["state"] = "SUCCEEDED"
        await until(bot, lambda: pagerduty.incidents == {STUCK: "resolved"})
        assert pagerduty.actions == ["trigger stuck", "resolve stuck"]


async def test_incident_of_a_stuck_repair_waits_for_no_other_cluster_of_its_digest(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_STUCK_MINUTES="60", BOT_WAIT_MINUTES="*=10") as bot:
        stuck = [*storm(bot, 4), *storm(bot, 4, cluster="cluster-2")][4:]
        await digest(bot)
        for ids in stuck:
            bot.together.review(ids, "approve")
            start = datetime.fromtimestamp(bot.time.now(), UTC).isoformat()
            bot.together.remediations[ids] |= {"state": "RUNNING", "start_time": start}
        await pass_time(bot, 60)
        bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
        bot.together.faults.append(Fault("rpc", times=-1, cluster="cluster-1"))
        await pass_time(bot, 4220)
        assert pagerduty.incidents == {f"{'/'.join(ids)} stuck": "triggered" for ids in stuck}


async def vanish_midway(bot: World) -> None:
    """Let what was approved in Together's console be listed no more, and its node break once more under the same ID."""
    bot.together.add(linked_alerts=XID)
    await card(bot)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved")
    del bot.together.remediations[IDS]
    await card(bot, words="No longer listed")
    await bot.time.advance(3)
    bot.together.add(linked_alerts=XID)


async def test_next_incident_triggers_though_the_repair_before_it_vanished_midway(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        await vanish_midway(bot)
        actions = ["trigger", "resolve", "trigger"]
        await until(bot, lambda: pagerduty.actions == actions)


async def test_next_incident_triggers_though_what_was_approved_vanished_before_it_was_read(
    pagerduty: PagerDuty,
) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        bot.together.add(linked_alerts=XID)
        alert = await card(bot)
        await until(bot, lambda: pagerduty.incidents == {REF: "triggered"})
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.remediations[IDS]["state"] == "PENDING")
        await quiet(bot)
        del bot.together.remediations[IDS]
        await card(bot, words="No longer listed")
        await bot.time.advance(3)
        bot.together.add(linked_alerts=XID)
        actions = ["trigger", "resolve", "trigger"]
        await until(bot, lambda: pagerduty.actions == actions)


async def test_next_repair_triggers_as_it_fails_though_the_one_before_it_vanished_midway(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        await vanish_midway(bot)
        bot.together.review(IDS, "approve")
        bot.together.advance(IDS, "RUNNING")
        await card(bot, words="Rebooting")
        bot.together.fail(IDS, "x")
        actions = ["trigger", "resolve", "trigger repair"]
        await until(bot, lambda: pagerduty.actions == actions)


async def test_failed_repair_pages_though_its_wait_was_acknowledged(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 960)
        await bot.slack.press(alert, LOOKING)
        await until(bot, lambda: pagerduty.incidents == {REF: "acknowledged"})
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await poll(bot)
        bot.together.fail(IDS, "x")
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved", REPAIR: "triggered"})
        assert pagerduty.pages[1:] == ["instance-1 (cluster-1 (H100)). Repair failed (Reboot)."]


@pytest.mark.parametrize("when", ["opened", "reminder"])
async def test_what_turns_critical_pages_though_its_warning_was_acknowledged(pagerduty: PagerDuty, when: str) -> None:
    warning = [{"severity": "PHC_SEVERITY_WARNING", "alert_name": "IBLinkFlapping"}]
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN=when) as bot:
        bot.together.add(linked_alerts=warning)
        alert = await card(bot)
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}
        await bot.slack.press(alert, LOOKING)
        await until(bot, lambda: pagerduty.incidents == {REF: "acknowledged"})
        bot.together.remediations[IDS]["linked_alerts"] = XID
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved", CRITICAL: "triggered"}, seconds=3600)
        assert len(pagerduty.pages) == 2
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: set(pagerduty.incidents.values()) == {"resolved"})


async def test_incident_is_resolved_when_together_approves_automatically(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add(trigger="REMEDIATION_TRIGGER_AUTOMATED")
        await card(bot)
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}
        bot.together.review(IDS, "approve", "auto-approved: approved", by="Auto-Approved")
        await pass_time(bot, 1200)
        assert pagerduty.incidents == {REF: "resolved"}


@pytest.mark.parametrize("when", ["opened", "reminder"])
async def test_what_turns_out_to_be_only_a_warning_pages_nobody_again(pagerduty: PagerDuty, when: str) -> None:
    warning = [{"severity": "PHC_SEVERITY_WARNING", "alert_name": "IBLinkFlapping"}]
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN=when) as bot:
        bot.together.add()  # without evidence, which counts as critical
        await card(bot)
        await until(bot, lambda: pagerduty.incidents == {REF: "triggered"}, seconds=1200)
        pagerduty.incidents[REF] = "acknowledged"
        bot.together.remediations[IDS]["linked_alerts"] = warning
        await pass_time(bot, 3600)
        assert pagerduty.incidents == {REF: "acknowledged"}


async def test_failure_pages_though_that_it_may_be_stuck_was_acknowledged(pagerduty: PagerDuty) -> None:
    stuck: Any = {"BOT_STUCK_MINUTES": "30", "BOT_WAIT_MINUTES": "*=0"}
    async with watching(**pagerduty.settings, **stuck) as bot:
        await running(bot)
        await until(bot, lambda: pagerduty.incidents == {STUCK: "triggered"}, seconds=3 * 3600)
        pagerduty.incidents[STUCK] = "acknowledged"
        bot.together.fail(IDS, "host did not come back")
        await until(bot, lambda: pagerduty.incidents == {STUCK: "resolved", REPAIR: "triggered"})
        assert len(pagerduty.pages) == 2


async def test_incident_of_a_stuck_repair_is_resolved_as_it_moves_on(pagerduty: PagerDuty) -> None:
    stuck: Any = {"BOT_STUCK_MINUTES": "30", "BOT_WAIT_MINUTES": "*=10"}
    async with watching(**pagerduty.settings, **stuck) as bot:
        bot.together.add()
        await bot.slack.press(await card(bot), APPROVE)
        await card(bot, words="Approved")
        await until(bot, lambda: pagerduty.incidents == {STUCK: "triggered"}, seconds=4 * 3600)
        bot.together.advance(IDS, "RUNNING")
        await until(bot, lambda: pagerduty.incidents == {STUCK: "resolved"})
        await until(bot, lambda: pagerduty.incidents == {STUCK: "triggered"}, seconds=3 * 3600)  # as it runs, too


@pytest.mark.parametrize("how", ["a click", "Together's console"])
async def test_approval_resolves_the_incident_of_its_wait(pagerduty: PagerDuty, how: str) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}
        if how == "a click":
            await bot.slack.press(alert, APPROVE)
        else:
            bot.together.review(IDS, "approve")
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved"})


async def test_failure_is_told_although_pagerduty_takes_its_second_request_later(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        await running(bot)
        await pass_time(bot, 60)
        pagerduty.statuses = [202, 500]  # the end of the wait is taken, and the incident of the repair isn't
        bot.together.fail(IDS, "x")
        await until(bot, lambda: pagerduty.incidents == {REPAIR: "triggered"})
        assert len(pagerduty.pages) == 1


@pytest.mark.parametrize("status", [400, 403])
async def test_incident_that_pagerduty_refuses_is_triggered_once_its_key_is_right_again(
    pagerduty: PagerDuty, status: int
) -> None:
    async with watching(**pagerduty.settings) as bot:
        pagerduty.statuses = [status] * 3
        bot.together.add()
        await card(bot)
        await pass_time(bot, 910)
        await card(bot, bot.together.add(("cluster-1", "i-2", "r-2")))  # PagerDuty isn't told that it was opened
        await pass_time(bot, 2 * TICK)
        status_said, said = await get(bot.app, "/readyz")
        assert status_said == 200
        assert f"PagerDuty isn't taking events ({status})." in said
        assert "BOT_PAGERDUTY_KEY" in said
        await until(bot, lambda: pagerduty.incidents == {REF: "triggered"}, seconds=400)
        assert await get(bot.app, "/readyz") == (200, "ready\n")


async def test_incident_that_pagerduty_refused_for_hours_is_triggered_at_once_after_a_restart(
    pagerduty: PagerDuty,
) -> None:
    async with watching(**pagerduty.settings) as bot:
        pagerduty.statuses = [400] * 1000
        bot.together.add()
        await card(bot)
        await pass_time(bot, 4500)
        await bot.settle()
        pagerduty.statuses.clear()
        async with bot.another():
            await until(bot, lambda: pagerduty.incidents == {REF: "triggered"}, seconds=2 * TICK)


def test_longest_texts_fit_into_pagerdutys_limits() -> None:
    data: dict[str, Any] = {"node": "n" * 3000, "cluster_id": "c" * 200, "mode": "M" * 3000, "reminder": 1}
    *_, made = incidents(Event("e", EventKind.REMINDED, "s" * 700, START, data), ROUTING_KEY, at_once=False)
    assert len(made["payload"]["summary"]) <= 1024
    assert len(made["dedup_key"]) <= 255
    assert incidents(Event("e", EventKind.OPENED, "s", START), ROUTING_KEY, at_once=False) == []
    assert json.loads(cloud_event(Event("e", EventKind.OPENED, "s", START, {"none": None})))["data"] == {}


def test_two_remediations_are_two_incidents_however_long_their_ids_are() -> None:
    def key(subject: str) -> Any:
        *_, made = incidents(Event("e", EventKind.REMINDED, subject, START, {}), ROUTING_KEY, at_once=False)
        return made["dedup_key"]

    node = "c" * 130 + "/" + "i" * 130
    one, two = key(f"{node}/r-1"), key(f"{node}/r-2")
    assert one != two
    assert len(one) == len(two) == 255
    assert key("s" * 255) == "s" * 255  # as an older version has opened it


async def test_node_that_was_on_hold_at_the_first_reminder_is_told_at_the_next(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        for number in range(12):
            bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
        await until(bot, bot.slack.digests)
        await bot.slack.say(f"<@{BOT_USER}> hold 20m i-3", user="U0ALICE")
        await pass_time(bot, 17 * 60)
        assert len(pagerduty.incidents) == 11
        await pass_time(bot, 40 * 60)
        assert len(pagerduty.incidents) == 12


async def test_nobody_is_paged_for_what_was_decided_elsewhere_before_the_reminder(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        made = [bot.together.add(("cluster-1", f"i-{number}", f"r-{number}")) for number in range(12)]
        await until(bot, bot.slack.digests)
        bot.together.faults.append(Fault("html", verb="list", status=500, times=-1))
        await pass_time(bot, 14 * 60)
        for ids in made[:11]:
            bot.together.review(ids, "approve")
        bot.together.faults.clear()
        with bot.together.paused("clusters"):
            await pass_time(bot, 5 * 60)
        assert set(pagerduty.incidents) <= {"/".join(made[11])}


async def test_cluster_that_one_read_does_not_find_resolves_no_incident(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 960)
        assert pagerduty.incidents == {REF: "triggered"}
        bot.together.faults += [Fault("rpc", verb="list", code=5, times=1), Fault("rpc", verb="get", code=5, times=1)]
        await pass_time(bot, 60)
        assert pagerduty.incidents == {REF: "triggered"}


async def failed(bot: World) -> None:
    """Let a repair of something critical that somebody approved fail."""
    bot.together.add(linked_alerts=XID)
    alert = await card(bot)
    await pass_time(bot, 2 * TICK)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "RUNNING")
    await poll(bot)
    bot.together.fail(IDS, "host did not come back")
    await card(bot, words="Failed")


async def test_incident_of_a_repair_that_failed_stays_open_though_together_drops_the_record() -> None:
    stuck: Any = {"BOT_STUCK_MINUTES": "30", "BOT_WAIT_MINUTES": "*=0"}
    async with PagerDuty() as pagerduty, watching(**pagerduty.settings, **stuck) as bot:
        await running(bot)
        await until(bot, lambda: pagerduty.incidents == {STUCK: "triggered"}, seconds=3 * 3600)
        bot.together.fail(IDS, "host did not come back")
        await bot.slack.command(REF, user="U0BOB")
        await card(bot, words="Failed")
        del bot.together.remediations[IDS]
        await pass_time(bot, 600)
        assert pagerduty.incidents == {STUCK: "resolved", REPAIR: "triggered"}


async def test_incident_of_what_was_cancelled_is_resolved_while_only_the_list_cannot_be_read() -> None:
    async with PagerDuty() as pagerduty, watching(**pagerduty.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await until(bot, lambda: pagerduty.incidents == {REF: "triggered"}, seconds=1200)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled by <@U0ALICE>")
        await pass_time(bot, 6 * 3600)
        assert "Cancelled by <@U0ALICE>" in alert.text
        assert pagerduty.incidents == {REF: "resolved"}


async def test_next_incident_after_a_failed_repair_under_the_same_id_pages(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened", BOT_REMIND_MINUTES="0") as bot:
        await failed(bot)
        await pass_time(bot, 3 * 86_400)
        bot.together.add(linked_alerts=XID)
        await card(bot, words="Approve reboot?")
        await pass_time(bot, 60)
        assert pagerduty.actions == ["trigger", "resolve", "trigger repair", "resolve repair", "trigger"]


async def test_next_incident_after_a_failed_repair_is_not_resolved_without_a_page(pagerduty: PagerDuty) -> None:
    """The same where the first one failed without a reminder, and the next one waits for its own."""
    async with watching(**pagerduty.settings) as bot:
        await failed(bot)
        await pass_time(bot, 3 * 86_400)
        pages = len(pagerduty.pages)
        bot.together.add(linked_alerts=XID)
        await card(bot, words="Approve reboot?")
        await pass_time(bot, 1200)
        assert pagerduty.actions[-1] == "trigger"
        assert len(pagerduty.pages) == pages + 1


async def restarted(bot: World) -> None:
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


@pytest.mark.parametrize(("state", "words"), [("RUNNING", "Rebooting"), ("SUCCEEDED", "Rebooted")])
async def test_incident_of_what_was_approved_since_is_not_triggered_by_a_key_that_comes_back(
    state: str, words: str
) -> None:
    async with PagerDuty() as pagerduty:
        paging: Any = {"BOT_PAGERDUTY_KEY": "f" * 32, "BOT_PAGERDUTY_URL": pagerduty.url}
        async with watching(BOT_PAGERDUTY_WHEN="opened", **paging) as bot:
            await began(bot)
            bot.together.add()
            alert = await card(bot)
            await pass_time(bot, 60)
            assert pagerduty.incidents == {}, "its key is wrong"
            await restarted(bot)
            async with bot.another(bot.settings.model_copy(update={"bot_pagerduty_key": None})):
                await bot.slack.press(alert, APPROVE)
                await card(bot, words="Approved")
                bot.together.advance(IDS, state)
                await until(bot, lambda: words in alert.text)
            await free_the_lease(bot.settings.database_url)
            async with bot.another(bot.settings.model_copy(update={"bot_pagerduty_key": SecretStr(ROUTING_KEY)})):
                await pass_time(bot, 900)
                assert pagerduty.incidents.get(REF) != "triggered"
                assert pagerduty.pages == []


@pytest.mark.parametrize("what", ["a wait", "a repair"])
async def test_nobody_is_paged_for_what_is_over_once_pagerduty_can_be_reached(
    pagerduty: PagerDuty,
    what: str,
) -> None:
    async with watching(**pagerduty.settings, BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10") as bot:
        pagerduty.statuses = [500] * 10_000
        bot.together.add()
        alert = await card(bot)
        if what == "a wait":
            await pass_time(bot, 960)
            await bot.slack.press(alert, CANCEL)
            await card(bot, words="Cancelled")
        else:
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved")
            bot.together.advance(IDS, "RUNNING")
            await card(bot, words="ay be stuck", seconds=4 * 3600)
            await pass_time(bot, 60)
            bot.together.remediations[IDS]["state"] = "SUCCEEDED"
            await until(bot, lambda: "ay be stuck" not in alert.text)
        await pass_time(bot, 60)
        assert len(pagerduty.statuses) < 10_000
        pagerduty.statuses.clear()
        await pass_time(bot, 3700)
        assert pagerduty.calls
        assert pagerduty.pages == []


async def test_incident_that_somebody_closed_pages_no_second_time(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        await bot.slack.press(await card(bot), APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await poll(bot)
        await pass_time(bot, 5)
        pagerduty.statuses = [202, 429, 202, 429, 202, 429, 202, 429]  # each second request is too many
        bot.together.fail(IDS, "x")
        await until(bot, lambda: pagerduty.incidents == {REPAIR: "triggered"}, seconds=900)
        await pass_time(bot, 90)
        pagerduty.incidents[REPAIR] = "resolved"  # by whom it called, in PagerDuty
        await pass_time(bot, 900)
        assert len(pagerduty.pages) == 1


async def test_approval_that_together_takes_back_is_paged_again(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 960)
        with bot.together.paused("list"):
            await bot.slack.press(alert, APPROVE)
            await until(bot, lambda: pagerduty.incidents[REF] != "triggered")
            bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL"}
            for name in ("reviewed_by", "review_time", "review_comment"):
                bot.together.remediations[IDS].pop(name, None)
        await until(bot, lambda: APPROVE in bot.slack.cards(IDS[2])[0].controls, seconds=1200)
        calls = len(pagerduty.calls)
        await pass_time(bot, 4 * 3600)
        assert "trigger" in [call["event_action"] for call in pagerduty.calls[calls:]]  # of a reminder
        assert len(pagerduty.pages) >= 2


async def test_second_failure_under_the_same_id_pages_though_pagerduty_was_out_in_between(
    pagerduty: PagerDuty,
) -> None:
    async with watching(**pagerduty.settings) as bot:
        await failed(bot)
        await until(bot, lambda: pagerduty.incidents == {REPAIR: "triggered"})
        pagerduty.incidents[REPAIR] = "acknowledged"
        pagerduty.statuses = [500] * 10_000
        await bot.time.advance(3)
        bot.together.add(linked_alerts=XID)
        again = await card(bot, words="Approve reboot?")
        await bot.slack.press(again, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await card(bot, words="Rebooting")
        bot.together.fail(IDS, "y")
        await card(bot, words="Failed")
        await pass_time(bot, 60)
        pagerduty.statuses.clear()
        await pass_time(bot, 3700)
        assert len(pagerduty.pages) == 2, (pagerduty.calls, pagerduty.incidents)


async def test_incident_of_a_stuck_repair_that_runs_and_is_not_listed_for_a_while_stays_open(
    pagerduty: PagerDuty,
) -> None:
    async with watching(**pagerduty.settings, BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10") as bot:
        bot.together.add()
        await bot.slack.press(await card(bot), APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await card(bot, words="Rebooting")
        await until(bot, lambda: pagerduty.incidents == {STUCK: "triggered"}, seconds=4 * 3600)
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="No longer listed")
        bot.together.remediations[IDS] = kept
        await card(bot, words="ay be stuck")
        await pass_time(bot, 4 * 3600)
        assert "ay be stuck" in (await card(bot)).text
        assert pagerduty.incidents == {STUCK: "triggered"}


@pytest.mark.parametrize("is_held", [False, True])
async def test_warning_that_turns_critical_pages_although_no_reminder_is_due(
    pagerduty: PagerDuty, *, is_held: bool
) -> None:
    """After the third one, acknowledged in PagerDuty; or on hold."""
    async with watching(**pagerduty.settings, BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        bot.together.add(linked_alerts=WARNINGS)
        alert = await card(bot)
        await pass_time(bot, 960 if is_held else 7200)
        assert pagerduty.incidents == {REF: "triggered"}
        if is_held:
            await bot.slack.press(alert, HOLD, choice="14400")
            await until(bot, lambda: pagerduty.incidents == {REF: "acknowledged"})
        pagerduty.incidents[REF] = "acknowledged"
        bot.together.remediations[IDS]["linked_alerts"] = XID
        await until(bot, lambda: "is critical now" in " ".join(thread(bot, alert)))
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved", CRITICAL: "triggered"})


async def test_nobody_is_paged_for_what_was_approved_while_pagerduty_took_nothing(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        pagerduty.statuses = [500] * 10_000
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 960)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await pass_time(bot, 1200)
        pagerduty.statuses.clear()
        await pass_time(bot, 3700)
        assert pagerduty.calls
        assert pagerduty.pages == []


async def test_next_incident_that_turns_critical_pages_though_its_warning_was_acknowledged(
    pagerduty: PagerDuty,
) -> None:
    """The one before, under the same ID, had turned critical too."""
    async with watching(**pagerduty.settings) as bot:
        bot.together.add(linked_alerts=WARNINGS)
        alert = await card(bot)
        bot.together.remediations[IDS]["linked_alerts"] = XID
        await poll(bot)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        await pass_time(bot, 7200)
        pages = len(pagerduty.pages)
        bot.together.add(linked_alerts=WARNINGS)
        again = await card(bot, words="Approve reboot?")
        await pass_time(bot, 1000)
        assert len(pagerduty.pages) == pages + 1
        await bot.slack.press(again, LOOKING)
        await until(bot, lambda: pagerduty.incidents[REF] == "acknowledged")
        bot.together.remediations[IDS]["linked_alerts"] = XID
        await until(bot, lambda: len(pagerduty.pages) == pages + 2)


async def test_what_is_on_hold_pages_nobody_again_as_it_is_listed_again(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN="opened") as bot:
        bot.together.add(linked_alerts=XID)
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="14400")
        await until(bot, lambda: pagerduty.incidents == {REF: "acknowledged"})
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="No longer listed")
        bot.together.remediations[IDS] = kept
        await card(bot, words="On hold")
        await pass_time(bot, 1800)
        assert len(pagerduty.pages) == 1, pagerduty.incidents


@pytest.mark.parametrize("when", ["opened", "reminder"])
async def test_approval_into_a_state_of_tomorrow_resolves(pagerduty: PagerDuty, when: str) -> None:
    async with watching(**pagerduty.settings, BOT_PAGERDUTY_WHEN=when) as bot:
        bot.together.add(linked_alerts=XID)
        await card(bot)
        await pass_time(bot, 960)
        bot.together.review(IDS, "approve")
        bot.together.remediations[IDS]["state"] = "DRAINING"
        await until(bot, lambda: pagerduty.incidents == {REF: "resolved"})


async def test_incident_of_a_failure_with_a_whole_log_is_taken(pagerduty: PagerDuty) -> None:
    async with watching(**pagerduty.settings) as bot:
        await running(bot)
        bot.together.fail(IDS, "kernel: page fault\n" * 40_000)
        await until(bot, lambda: pagerduty.pages)


async def test_process_that_lost_its_turn_sends_no_more_of_an_event(
    pagerduty: PagerDuty, database_url: str, time: ManualClock
) -> None:
    """Another one may have told PagerDuty by now that this is over, too."""
    database = Database(database_url, time.clock)
    database.set_targets([Target.PAGERDUTY])
    await database.open()
    async with plain_client(pagerduty.url) as http:
        to = Destinations({Target.PAGERDUTY: pagerduty.url}, "", ROUTING_KEY, pages_at_once=False)
        sender = Sender(database, to, {Target.PAGERDUTY: http}, time.clock, lease_seconds=15, warn=lambda *_: None)
        await database.run(outbox.emit, EventKind.FAILED, REF, {"node": "gpu-node-7"})
        running = asyncio.create_task(sender.run())
        with pagerduty.paused("receive"):
            await time.until_sleeping(WaitReason.LEASE)
            await time.end_pauses(WaitReason.OUTBOX, 2)
            await pagerduty.until(lambda: pagerduty.is_waiting("receive"))
            await execute(database, update(leases).values(owner="another", until=leases.c.until + 60.0))
            await time.end_pause(WaitReason.LEASE)
            await time.until_sleeping(WaitReason.LEASE)
        await time.until_sleeping(WaitReason.OUTBOX, 2)
        await cancel([running])
    await database.close()
    assert [(call["event_action"], call["dedup_key"]) for call in pagerduty.calls] == [("resolve", REF)]
