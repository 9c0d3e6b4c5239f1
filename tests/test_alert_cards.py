"""What people see of alerts: the context on a card, threads, digests, dialogs; and that the worst input fits."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import cards
from bot.models import (
    About,
    Alert,
    BatchItem,
    BatchStatus,
    Decided,
    FirstApproval,
    History,
    Hold,
    Mode,
    Remediation,
    Share,
    Shown,
    State,
    Verb,
)
from bot.mrkdwn import lasted
from tests.manual_clock import START
from tests.samples import ABOUT, APPROVED, DIGEST, alerts, batch, remediation, reviewed
from tests.simulator.render import render, render_view
from tests.simulator.slack.limits import check_message, check_options, check_view
from tests.test_cards import MARKUP, WORST, compare, drawn, texts


def test_the_card_of_an_alert_with_all_that_the_bot_knows() -> None:
    compare("alert", drawn(cards.card(remediation(), about=ABOUT)))


def test_the_card_of_what_has_vanished() -> None:
    compare("alert-vanished", drawn(cards.card(remediation(), about=About(followed=True, vanished=True))))


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (History(0), "First repair in 7 days."),
        (
            History(1, Mode.VM_ONLY, State.FAILED, START),
            "Second repair in 7 days. The last: Replace VM, failed <!date^",
        ),
        (History(11), "12th repair in 7 days."),
        (History(20), "21st repair in 7 days."),
    ],
)
def test_a_nodes_history_in_a_sentence(history: History, words: str) -> None:
    assert words in cards.card(remediation(), about=About(history=history)).text


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (Share(0, 32, START), "0 of 32 nodes were in repair"),
        (Share(1, 1, START), "1 of 1 node was in repair"),
        (Share(1, None, START), "1 node was in repair"),
    ],
)
def test_a_clusters_share_in_a_sentence(share: Share, words: str) -> None:
    assert words in cards.card(remediation(), about=About(share=share)).text
    assert words not in cards.card(reviewed(State.RUNNING), about=About(share=share)).text


def moved(
    after: Remediation, decided: Decided | None = None, before: Remediation | None = None, first: str = ""
) -> str:
    return "\n  ".join(cards.transition(before or remediation(), after, decided, START + 1200, first))


def test_every_line_of_a_thread() -> None:
    at = {"start_time": "2026-11-24T03:08:00Z", "end_time": "2026-11-24T03:19:00Z"}
    error = "host <!here> did not come back"
    pending = reviewed(State.PENDING)
    lines = {
        "approved in Slack": moved(pending, APPROVED),
        "approved elsewhere": moved(pending),
        "approved, by nobody knows whom": moved(remediation(state=State.PENDING)),
        "cordoning": moved(reviewed(State.QUARANTINING), APPROVED, pending),
        "running": moved(reviewed(State.RUNNING, **at), APPROVED, pending),
        "succeeded": moved(reviewed(State.SUCCEEDED, **at), APPROVED),
        "failed, approved in Slack": moved(reviewed(State.FAILED, error_message=error, **at), APPROVED),
        "failed, approved elsewhere": moved(reviewed(State.FAILED, error_message=error, **at)),
        "failed, approved by two": moved(reviewed(State.FAILED, **at), APPROVED, pending, "U0BOB"),
        "failed, made by hand": moved(remediation(state=State.FAILED, **at)),
        "cancelled in Slack": moved(remediation(state=State.CANCELLED, **at), Decided(Verb.CANCEL, "U0BOB", START)),
        "rejected in Slack": moved(remediation(state=State.CANCELLED, **at), Decided(Verb.REJECT, "U0BOB", START)),
        "cancelled elsewhere": moved(remediation(state=State.CANCELLED, **at)),
        "resolved": moved(remediation(state=State.AUTO_RESOLVED, **at)),
        "escalated": moved(remediation(mode=Mode.VM_ONLY)),
        "escalated and running": moved(reviewed(State.RUNNING, mode=Mode.VM_ONLY, **at), APPROVED),
        "unknown state": moved(remediation(state="FROZEN"), None, pending),
    }
    compare("thread", "".join(f"{name}\n  {line}\n" for name, line in lines.items()))


def test_reminders_and_outages() -> None:
    told = {
        "reminder": cards.reminder(remediation(), "S0ONCALL", 900),
        "reminder of nobody": cards.reminder(remediation(), "", 3700),
        "unreadable": cards.unreadable(["c-7f2"], START, START + 301),
        "unreadable, many": cards.unreadable([f"c-{number}" for number in range(12)], START, START + 301),
        "unreadable list": cards.unreadable([], START, START + 301),
        "unwatched": cards.unwatched(["c-7f2"]),
        "readable": cards.readable(["c-7f2", "c-7f3"], START, START + 5000),
        "readable list": cards.readable([], START, START + 400),
        "reminder of a digest": cards.many.digest_reminder(12, "<@U0BOB> ", 1800),
    }
    compare("reminders", "".join(f"{name}\n  {message.text}\n" for name, message in told.items()))


def test_a_digest_before_while_and_after_a_batch() -> None:
    before = cards.many.digest(DIGEST, alerts(12), [])
    running = cards.many.digest(DIGEST, alerts(12), [batch(BatchStatus.RUNNING, 3)])
    done = cards.many.digest(DIGEST, alerts(60), [batch(BatchStatus.DONE, 8)])
    compare("digest", "\n".join(drawn(each) for each in (before, running, done)))


def test_what_a_batch_has_decided_waits_no_longer_even_before_it_is_read_again() -> None:
    waiting = cards.many.waiting(alerts(12))
    shown, _ = batch(BatchStatus.RUNNING, 0)
    items = [
        BatchItem(number, each.remediation.ref, "", Shown(None, None), "approved" if number == 0 else "NotFound")
        for number, each in enumerate(waiting)
    ]
    message = cards.many.digest(DIGEST, alerts(12), [(shown, items)])
    assert "12 remediations in c-7f2: 5 wait for approval." in message.text
    assert "`gpu-node-0000`: Reboot VM (Xid 79 GPU_FALLEN_OFF_BUS × 3): Approved, queued to start" in str(
        message.blocks
    )


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (["approved", "approved"], "*Approved, as <@"),
        (["approved", "NotFound"], "*Not all approved, as <@"),
        (["NotFound", None], "*None approved, as <@"),
    ],
)
def test_only_what_was_approved_is_called_so(outcomes: list[str | None], words: str) -> None:
    shown, _ = batch(BatchStatus.DONE, 0)
    items = [
        BatchItem(number, remediation().ref, "n", Shown(None, None), outcome) for number, outcome in enumerate(outcomes)
    ]
    assert words in str(cards.many.digest(DIGEST, alerts(12), [(shown, items)]).blocks)


def test_the_dialog_and_the_report_of_a_batch() -> None:
    shown, items = batch(BatchStatus.DONE, 6)
    waiting = cards.many.waiting(alerts(20))
    view = cards.many.dialog(shown, waiting, cards.many.names(waiting))
    (report,) = cards.many.report(shown, items)
    failed = [each for each in alerts(12) if each.remediation.state == State.FAILED]
    failures = cards.many.failures(failed, {})
    compare("digest-dialog", "\n\n".join([render_view(view), render(report.text, report.blocks), failures.text]) + "\n")


def test_a_failure_calls_both_who_approved_and_names_who_did_outside_slack() -> None:
    failed = [each for each in alerts(12) if each.remediation.state == State.FAILED]
    assert len(failed) == 2
    here = replace(failed[0], decided=Decided(Verb.APPROVE, "U0BOB", START))
    there = replace(
        failed[1], decided=None, remediation=failed[1].remediation.model_copy(update={"reviewed_by": "eve"})
    )
    first = FirstApproval("U0ALICE", here.remediation.mode, START)
    text = cards.many.failures([here, there], {here.remediation.ref: first}).text
    assert text.startswith("<@U0ALICE> <@U0BOB>, repairs that you approved have failed:")
    assert text.count("(approved by eve)") == 1
    assert "U0ALICE" not in cards.many.failures([here], {here.remediation.ref: replace(first, mode="other")}).text


def test_a_dialog_for_a_thousand_nodes_and_their_choices_fit_into_slack() -> None:
    thousand = [each for each in alerts(2500) if each.remediation.state == State.PENDING_APPROVAL]
    shown, _ = batch(BatchStatus.ASKED, 0)
    view = cards.many.dialog(shown, thousand, cards.many.names(thousand))
    check_view(view)
    assert view["title"]["text"] == "Approve 1000"
    assert str(view).count("`gpu-node-") == 1000
    check_options(cards.many.options(thousand, ""))
    assert len(cards.many.chosen(thousand, ["all"])) == 1000
    _, items = batch(BatchStatus.DONE, 1000, 1000)
    report = cards.many.report(shown, items)
    assert len(report) == 10
    for message in [*report, cards.many.digest(DIGEST, thousand, [(shown, items)])]:
        check_message({"text": message.text, "blocks": message.blocks}, is_update=True)


def test_no_two_nodes_are_called_the_same() -> None:
    here, there = alerts(2)
    same = {"instance_name": "gpu-node-1"}
    one = replace(here, remediation=remediation(instance_id="i-1", **same))
    two = replace(there, remediation=remediation(instance_id="i-2", **same))
    elsewhere = replace(there, remediation=remediation(cluster_id="c-9", **same))
    assert list(cards.many.names([one, two]).values()) == ["gpu-node-1 (i-1)", "gpu-node-1 (i-2)"]
    assert list(cards.many.names([one, elsewhere]).values()) == ["gpu-node-1 in c-7f2", "gpu-node-1 in c-9"]
    assert list(cards.many.names([one]).values()) == ["gpu-node-1"]


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


NAMES = st.sampled_from(["U0ALICE"])
ABOUTS = st.builds(
    About,
    history=st.none()
    | st.builds(History, st.integers(0, 10**6), st.text(max_size=300), st.text(max_size=300), st.just(START)),
    share=st.none() | st.builds(Share, st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.just(START)),
    hold=st.none() | st.builds(Hold, NAMES, st.just(START)),
    first=st.none() | st.builds(FirstApproval, NAMES, st.sampled_from([*Mode]), st.just(START)),
    followed=st.booleans(),
    vanished=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(WORST, ABOUTS)
def test_the_worst_input_fits_into_slack_and_mentions_nobody(fields: dict[str, Any], about: About) -> None:
    worst = Remediation.model_validate(fields)
    decided = Decided(Verb.APPROVE, "U0ALICE", START, "&" * 5000)
    one = Alert(worst, "", "C0OPS", START, digest_id="d", decided=decided)
    shown, items = batch(BatchStatus.DONE, 8)
    many = [one] * 60
    messages = [
        cards.card(worst, decided=decided, notice="*Notice*" * 20, about=about),
        cards.lines(["A line.", *cards.transition(remediation(), worst, decided, START) * 20]),
        cards.lines(["A line.", *cards.transition(worst, remediation(state="OTHER"), None, START)]),
        cards.reminder(worst, "U0ALICE", 900),
        cards.many.digest(DIGEST, many, [(shown, items)] * 4),
        cards.many.failures(many, {}),
    ]
    for message in messages:
        check_message({"text": message.text, "blocks": message.blocks}, is_update=True)
        assert not MARKUP.search(message.text)
        for text in texts(message.blocks):
            if text["type"] == "mrkdwn":
                assert text["verbatim"] is True
                assert not MARKUP.search(text["text"])
    check_view(cards.many.dialog(shown, many, cards.many.names(many)))
    check_options(cards.many.options(many, ""))
