"""What each event makes of an alert, where nothing but one condition says so."""

from dataclasses import replace
from time import process_time
from typing import Any

import pytest

from bot import alerts, cards, readings
from bot.alerts import VANISHED_SECONDS, AlertView
from bot.decisions.preconditions import has_opened_again, took_effect
from bot.models import (
    Alert,
    CameBack,
    CardNote,
    Hold,
    Job,
    Remediation,
    SeenState,
    Snapshot,
    State,
    TrackedMessage,
    Verb,
)
from bot.watcher import schedule
from bot.watcher.schedule import Step
from tests.manual_clock import START
from tests.samples import WATCH, remediation, request, reviewed
from tests.simulator.receivers import WebhookReceiver
from tests.watch import card, pass_time, watching
from tests.world import IDS

MESSAGE = TrackedMessage("m", is_digest=False, cluster_id="c-7f2", channel_id="C0OPS", opened_at=START, ts="1.0")


def look(alert: Alert, now: float = START) -> AlertView:
    return AlertView(alert, MESSAGE, None, now, asked_at=now)


def snapshot(alert: Alert, message: TrackedMessage) -> Snapshot:
    return Snapshot(message, [alert], {}, [], is_being_decided=False, now=START)


def alert_of(state: str = State.PENDING_APPROVAL, hold: Hold | None = None) -> Alert:
    return Alert(remediation(state=state), "", "m", START, hold=hold)


def test_what_two_looks_in_quick_succession_do_not_find_is_not_withdrawn_yet() -> None:
    first = alerts.gone(look(alert_of()), 0)
    assert first is not None
    assert alerts.gone(look(first[0], START + VANISHED_SECONDS - 1), 0) is None
    second = alerts.gone(look(first[0], START + VANISHED_SECONDS), 0)
    assert second is not None
    assert second[0].is_unlisted


@pytest.mark.parametrize("state", [State.PENDING_APPROVAL, State.RUNNING, State.FAILED])
def test_fault_is_not_called_back_on_what_is_no_repaired_node_any_more(state: str) -> None:
    assert alerts.returned(look(alert_of(state)), CameBack("Xid 79", START)) is None


def test_hold_that_is_over_cannot_be_released() -> None:
    alert = alert_of(hold=Hold("U0ALICE", START))
    assert alerts.released(look(alert.at(START)), "U0BOB", frozenset()) is None


def test_hold_that_the_same_person_makes_longer_is_told() -> None:
    alert = alert_of(hold=Hold("U0ALICE", START + 1800))
    _, message = alerts.held(look(alert), Hold("U0ALICE", START + 7200))
    assert len(message.pending_lines) == 1
    _, message = alerts.held(look(alert), Hold("U0ALICE", START + 1830))
    assert message.pending_lines == ()


def test_remediation_without_a_time_when_it_was_seen_has_not_opened_again() -> None:
    seen = SeenState("REMEDIATION_MODE_REBOOT_VM", State.PENDING_APPROVAL, "0")
    assert not has_opened_again(seen, remediation(), START)
    assert has_opened_again(replace(seen, episode="1"), remediation(), START)


def test_rejection_without_a_time_of_its_end_is_no_cancellation() -> None:
    seen = SeenState("REMEDIATION_MODE_REBOOT_VM", State.PENDING_APPROVAL, "0")
    job = Job("job-1", request(Verb.CANCEL), fence=1, received_at=START, seen=seen)
    assert not took_effect(job, reviewed(State.CANCELLED), START)
    assert took_effect(job, remediation(state=State.CANCELLED), START)


def test_alert_without_a_time_says_nothing_of_a_repair() -> None:
    one = remediation(state=State.SUCCEEDED, end_time="2026-11-24T03:00:00Z")
    untimed = one.linked_alerts[0].model_copy(update={"target_vm": one.node, "started_at": None})
    assert readings.fault_of(one, untimed)
    assert readings.fires_again(one, untimed, 3600, START) is None


@pytest.mark.parametrize("name", ["DmesgXidError", "DmesgXidError{}"])
def test_thousands_of_alerts_are_compared_in_no_time(name: str) -> None:
    """Nothing else is acknowledged while an answer of some MiB is compared with an earlier one."""

    def many(first: int) -> Remediation:
        codes = range(first, first + 2000)
        found = [
            {"alert_name": name.format(each), "annotation": {"xid": {"events": [{"xid_code": each}]}}} for each in codes
        ]
        return remediation(linked_alerts=found)

    one, another, overlapping = many(0), many(2000), many(1999)
    began = process_time()
    assert one.same_fault(another) is None
    assert process_time() - began < 0.2
    found = one.same_fault(overlapping)
    assert found is not None
    assert (found[0], found[1].xids) == ("Xid 1999", ["1999"])


def test_clock_that_was_set_back_withdraws_nothing_at_once_and_nothing_for_too_long() -> None:
    first = alerts.gone(look(alert_of(), START + 3600), 0)
    assert first is not None
    again = alerts.gone(look(first[0], START), 0)
    assert again is not None
    assert (again[0].missing_since, again[0].is_unlisted) == (START, False)


def test_clock_that_was_set_back_after_somebody_was_answered_keeps_no_reading_out() -> None:
    remark = CardNote("", True, None, State.CANCELLED, remediation().mode, START + 3600)
    answered = replace(alert_of(), is_stale=True, remark=remark)
    running = remediation(state=State.RUNNING)
    assert alerts.seen(look(answered), running, "", None, 0, read_alone=True)
    late = replace(look(answered, START + 3610), asked_at=START + 3590)
    assert alerts.seen(late, running, "", None, 0, read_alone=True) is None


def test_fault_comes_back_on_the_same_node_under_any_of_its_names_and_on_no_other() -> None:
    one = remediation(state=State.SUCCEEDED, end_time="2026-11-24T03:00:00Z")
    later: dict[str, Any] = {"id": "r-next", "create_time": "2026-11-24T03:10:00Z"}
    assert readings.came_back(one, remediation(**later), 3600)
    assert readings.came_back(one, remediation(**later, instance_id="i-renamed"), 3600)
    assert not readings.came_back(one, remediation(**later, instance_id="i-other", instance_name="gpu-node-08"), 3600)
    assert not readings.came_back(one, remediation(**later, cluster_id="c-other"), 3600)
    assert readings.came_back(one, remediation(create_time=later["create_time"]), 3600), "Together reuses the ID"
    assert not readings.came_back(one, one, 3600)


def test_what_is_withdrawn_already_is_no_news_unless_somebody_was_answered_since() -> None:
    withdrawn = replace(alert_of(), is_unlisted=True, missing_since=START - 60)
    assert alerts.gone(look(withdrawn), 0) is None
    assert alerts.gone(look(replace(withdrawn, is_stale=True)), 0) is not None


def test_card_of_what_was_over_before_it_was_posted_is_dropped() -> None:
    message = replace(MESSAGE, ts=None)
    assert schedule.next_step(snapshot(alert_of(State.AUTO_RESOLVED), message), WATCH) is Step.DROP


@pytest.mark.parametrize("state", [State.PENDING, State.CANCELLED])
def test_answer_that_no_list_confirms_is_as_of_the_answer_until_it_is_over(state: str) -> None:
    remark = CardNote("", True, None, state, remediation().mode, START - 300)
    stale = replace(alert_of(), is_stale=True, as_of=START - 600, remark=remark)
    text = str(schedule.content(snapshot(stale, MESSAGE), WATCH))
    assert cards.labels.as_of(START - 600) not in text
    assert (cards.labels.as_of(START - 300) in text) == (state == State.PENDING)


async def test_other_tools_do_not_learn_of_an_end_that_was_none() -> None:
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(**environ) as bot:
            bot.together.add()
            await card(bot)
            await pass_time(bot, 100)
            bot.together.review(IDS, "approve")  # in Together's console
            bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
            await pass_time(bot, 120)
            kinds = [event["type"].rpartition(".")[2] for event in webhook.events]
            assert kinds == ["opened"], kinds
