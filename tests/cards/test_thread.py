"""Lines in threads: transitions, reminders, outages, durations."""

from dataclasses import replace
from typing import Any

import pytest

from bot import cards
from bot.cards import thread
from bot.models import (
    CameBack,
    DecidedBy,
    FirstApproval,
    Mode,
    Remediation,
    State,
    Verb,
)
from bot.mrkdwn import lasted
from tests.card_text import compare
from tests.manual_clock import START
from tests.samples import ABOUT, APPROVED, alerts, begun, remediation, reviewed

ELSEWHERE = {"review_comment": "as agreed"}


def moved(after: Remediation, decided: DecidedBy | None = None, before: Remediation | None = None) -> str:
    return "\n  ".join(thread.transition(before or remediation(), after, decided, START + 1200))


def failed(decided: DecidedBy | None = None, first: str = "", called: str = "S0ONCALL", **more: Any) -> str:
    """What is told of a failure; where nobody is on call, nobody has approved it either."""
    repair = remediation(state=State.FAILED, **more) if not called else reviewed(State.FAILED, **more)
    decided = decided and replace(decided, first_user=first)
    return thread.failure(repair, None, decided, called, START + 1200).text


def test_every_line_of_a_thread() -> None:
    at = {"start_time": "2026-11-24T03:08:00Z", "end_time": "2026-11-24T03:19:00Z"}
    error = "host <!here> did not come back"
    pending = reviewed(State.PENDING)
    lines = {
        "approved in Slack": moved(pending, APPROVED),
        "approved elsewhere": moved(reviewed(State.PENDING, **ELSEWHERE)),
        "approved, by nobody knows whom": moved(remediation(state=State.PENDING)),
        "cordoning": moved(reviewed(State.QUARANTINING), APPROVED, pending),
        "running": moved(reviewed(State.RUNNING, **at), APPROVED, pending),
        "succeeded": moved(reviewed(State.SUCCEEDED, **at), APPROVED),
        "failed, approved in Slack": failed(APPROVED, error_message=error, **at),
        "failed, approved elsewhere": failed(None, error_message=error, **at, **ELSEWHERE),
        "failed, approved by two": failed(APPROVED, "U0BOB", **at),
        "failed, made by hand": failed(None, "", "", trigger="REMEDIATION_TRIGGER_MANUAL", **at),
        "cancelled in Slack": moved(remediation(state=State.CANCELLED, **at), DecidedBy(Verb.CANCEL, "U0BOB", START)),
        "rejected in Slack": moved(remediation(state=State.CANCELLED, **at), DecidedBy(Verb.REJECT, "U0BOB", START)),
        "cancelled elsewhere": moved(remediation(state=State.CANCELLED, **at)),
        "resolved": moved(remediation(state=State.AUTO_RESOLVED, **at)),
        "escalated": moved(remediation(mode=Mode.VM_ONLY)),
        "escalated and running": moved(reviewed(State.RUNNING, mode=Mode.VM_ONLY, **at), APPROVED),
        "approved in Slack, as only Together knows": moved(pending),
        "failed, approved in Slack, as only Together knows": failed(None, **at),
        "rejected in Slack, as only Together knows": moved(
            reviewed(State.CANCELLED, review_comment="[1a2b3c4d] Rejected in Slack by bob (U0BOB)", **at)
        ),
        "approved in Slack, then cancelled elsewhere": moved(reviewed(State.CANCELLED, **at), None, pending),
        "unknown state": moved(remediation(state="FROZEN"), None, pending),
    }
    compare("thread", "".join(f"{name}\n  {line}\n" for name, line in lines.items()))


def test_reminders_and_outages() -> None:
    many = [f"c-{number}" for number in range(12)]
    told = {
        "reminder": thread.reminder(remediation(), ABOUT.share, "S0ONCALL", 900),
        "reminder of nobody": thread.reminder(remediation(), None, "", 3700),
        "unreadable": thread.unreadable(["llama-train"], START, ["c-7f2"]),
        "unreadable, many": thread.unreadable(many, START, many),
        "unreadable list": thread.unreadable([], START, [""]),
        "unreadable, over": thread.was_unreadable(["c-7f2"], START, START + 301, at_most=False),
        "unreadable list, over": thread.was_unreadable([], START, START + 301, at_most=False),
        "unwatched": thread.unwatched(["c-7f2"]),
        "readable": thread.readable(["c-7f2", "c-7f3"], START, START + 5000, at_most=True),
        "readable list": thread.readable([], START, START + 400, at_most=False),
        "moved": cards.moved(alerts(1), "C0OTHER"),
        "moved, many": cards.moved(alerts(12), "C0OTHER"),
        "posted twice": cards.posted_twice(alerts(1), "https://home.slack.com/archives/C0OPS/p1"),
        "posted twice, no link": cards.posted_twice(alerts(12), ""),
        "reminder of a digest": cards.digest.reminder(alerts(12), "U0BOB", 1800),
    }
    compare("reminders", "".join(f"{name}\n  {message.text}\n" for name, message in told.items()))


def test_failure_mentions_both_approvers_and_names_one_outside_slack() -> None:
    failed = [alert for alert in alerts(12) if alert.remediation.state == State.FAILED]
    assert len(failed) == 2
    here = replace(failed[0], decided=DecidedBy(Verb.APPROVE, "U0BOB", START))
    there = replace(
        failed[1], decided=None, remediation=failed[1].remediation.model_copy(update={"reviewed_by": "eve"})
    )
    first = FirstApproval("U0ALICE", here.remediation.mode, START)
    text = cards.digest.failures([here, there], {here.remediation.ref: first}).text
    assert text.startswith("<@U0ALICE> <@U0BOB>, these repairs failed:")
    assert text.count("(approved by eve in Together)") == 1
    assert "U0ALICE" not in cards.digest.failures([here], {here.remediation.ref: replace(first, mode="other")}).text


def test_sentence_about_several_nodes_says_only_what_is_true_of_each() -> None:
    one, two = [replace(alert, came_back=CameBack("Xid 79", START)) for alert in alerts(2)]
    two = replace(two, remediation=two.remediation.model_copy(update={"linked_alerts": []}))
    both = [one, two]
    told = thread.late_call(both, "", again=False).text
    assert told == "gpu-node-0000 (c-7f2) and 1 more are waiting for a decision."
    old = [one, replace(two, as_of=START)]
    told = thread.late_call(old, "", again=False).text
    assert told.startswith("gpu-node-0000 (c-7f2) and 1 more were waiting for a decision. Last confirmed <!date^")
    told = thread.late_call(old, "", again=False, is_worse=True).text
    assert told.startswith(
        "gpu-node-0000 (c-7f2) and 1 more were critical and waiting for a decision. Last confirmed <!date^"
    )
    assert "their faults came back, such as" in thread.came_back(both, "").text
    still = replace(two, came_back=CameBack("Xid 79", START, was_firing=True))
    assert "their faults didn't stop or came back, such as" in thread.came_back([one, still], "").text
    assert thread.stuck(both, "", START, has_card=False).text.endswith("Check them in Together.")
    assert thread.stuck(both[:1], "", START, has_card=False).text.endswith("Check it in Together.")
    opened = (f"2026-11-24T0{hour}:00:00Z" for hour in (0, 1))
    since = [replace(one, remediation=remediation(create_time=each, review_time=None)) for each in opened]
    assert "Not finished after 2 h." in thread.stuck(since, "", START, has_card=False).text


def test_node_with_several_repairs_is_named_once() -> None:
    one = replace(alerts(1)[0], came_back=CameBack("Xid 79", START))
    again = replace(one, remediation=one.remediation.model_copy(update={"id": "r-again"}))
    both = [one, again]
    assert thread.stuck(both, "", START, has_card=False).text.startswith("gpu-node-0000: 2 repairs may be stuck.")
    assert "came back on gpu-node-0000," in thread.came_back(both, "").text
    assert thread.not_back(both, "", START).text.startswith("gpu-node-0000 isn't running in the cluster")


def test_approval_in_together_is_not_said_to_be_of_who_reviewed_the_incident_before() -> None:
    review = {"reviewed_by": "eve", "review_time": "2026-11-20T03:00:00Z", "create_time": "2026-11-24T03:00:00Z"}
    for trigger in ("REMEDIATION_TRIGGER_MANUAL", "REMEDIATION_TRIGGER_AUTOMATED"):
        waiting = remediation(**review, trigger=trigger)
        running = waiting.model_copy(update={"state": "RUNNING"})
        told = thread.transition(waiting, running, None, START)[0]
        assert told.startswith("gpu-node-07: Reboot approved in Together, ")


def test_repair_that_somebody_approved_says_how_long_ago_that_was_though_together_notes_no_review() -> None:
    runs, queued = remediation(state=State.RUNNING), remediation(state=State.PENDING)
    assert "started 17 min after approval." in moved(runs, APPROVED, queued)


def test_failure_of_an_automatic_repair_is_approved_by_nobody() -> None:
    one = begun(State.FAILED)
    assert ", started automatically" in thread.failure(one, None, None, "S0ONCALL", START + 1200).text
    told = cards.digest.failures([replace(alerts(1)[0], remediation=one, decided=None)], {}).text
    assert "(started automatically)" in told
    assert "approved" not in told.lower()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3540, "59 min"),
        (7500, "2 h 5 min"),
        (93_600, "26 h"),
        (400_000, "4 days"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert lasted(seconds) == words


@pytest.mark.parametrize(("mode", "what"), [(Mode.REBOOT_VM, ""), ("", "a repair "), (Mode.VM_ONLY, "a repair ")])
def test_what_has_ended_unseen_is_called_what_it_was(mode: str, what: str) -> None:
    lines = thread.transition(remediation(), remediation(mode=mode), None, START, is_next=True)
    assert lines[-1].endswith(f": Reboot ended, and {what}is waiting for approval again. ⏳")
