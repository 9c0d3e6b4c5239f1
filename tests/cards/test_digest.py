"""The message about many, its dialog, its choices and its report."""

from dataclasses import replace

import pytest

from bot import cards
from bot.cards.config import TwoPeople
from bot.cards.review import Review
from bot.models import (
    BatchItem,
    CameBack,
    CardNote,
    DecidedBy,
    FirstApproval,
    History,
    Hold,
    Mode,
    RepairLoad,
    SeenState,
    State,
    Verb,
    waiting,
)  # fmt: skip
from bot.mrkdwn import when
from tests.card_text import compare, drawn
from tests.manual_clock import START
from tests.samples import DIGEST, TWO_CONFIG, alerts, automatic, batch, decidable, digest, remediation
from tests.simulator.render import render, render_view
from tests.simulator.slack.limits import check_message, check_options, check_view


def test_digest_before_during_and_after_a_batch() -> None:
    before = digest(DIGEST, alerts(12), [])
    running = digest(DIGEST, alerts(12), [batch(3, is_running=True)])
    done = digest(DIGEST, alerts(60), [batch(8)])
    compare("digest", "\n".join(drawn(message) for message in (before, running, done)))


def test_digest_of_repairs_that_did_not_help_does_not_call_the_nodes_repaired() -> None:
    succeeded = [replace(alert, remediation=remediation(state=State.SUCCEEDED)) for alert in alerts(1)]
    begun = replace(DIGEST, is_started=True)
    assert digest(begun, succeeded, []).text.startswith("Over: 1 node of c-7f2 repaired")
    returned = [replace(alert, came_back=CameBack("Xid 79", START)) for alert in succeeded]
    told = digest(begun, returned, []).text
    assert told.startswith("Over: 1 node of c-7f2 no longer in repair")
    assert "1 with the fault back" in told


def test_push_says_what_is_broken_before_who_is_called() -> None:
    text = digest(replace(DIGEST, mentioned="S0ONCALL"), alerts(12), []).text
    assert text.index("Xid 79") < text.index("On call: <!subteam^S0ONCALL>") < 400
    begun = digest(replace(DIGEST, mentioned="S0ONCALL", is_started=True), automatic(12), []).text
    assert begun.index("gpu-node-") < begun.index("On call: <!subteam^S0ONCALL>") < 400


def test_digest_of_what_started_automatically_says_what_deletes_data() -> None:
    lines = digest(replace(DIGEST, is_started=True), automatic(8), []).text.splitlines()
    reprovisions = [line for line in lines if "Quick reprovision" in line]
    assert reprovisions == [line for line in lines if line.endswith("Xid 79 · deletes local data")] != []


@pytest.mark.parametrize("few", [1, 6])
def test_push_puts_no_one_on_call_among_what_deletes_data(few: int) -> None:
    modes = [Mode.REBOOT_VM] * 6 + [Mode.VM_ONLY] * few
    shown = [
        replace(alert, hold=None, remediation=alert.remediation.model_copy(update={"mode": mode}))
        for alert, mode in zip(alerts(len(modes)), modes, strict=True)
    ]
    lines = digest(replace(DIGEST, mentioned="S0ONCALL"), shown, []).text.splitlines()
    assert "On call" not in lines[lines.index("⚠️ Deletes local data:") + 1]


def test_decided_items_do_not_wait_before_the_next_reading() -> None:
    shown = alerts(12)
    first = waiting(shown)[0]
    by = DecidedBy(Verb.APPROVE, "U0ALICE", START)
    told = CardNote(notice="", buttons=True, decided=by, state="PENDING", mode=first.remediation.mode, at=0.0)
    shown[shown.index(first)] = replace(first, is_stale=True, remark=told)
    message = digest(DIGEST, shown, [])
    assert "5 nodes in c-7f2 need a decision." in message.text
    assert "gpu-node-0000" not in str(message.blocks)  # what was just decided doesn't head the list
    assert "1 approved, queued" in message.text


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (["approved", "approved"], "2 of 2 approved · "),
        (["approved", "not_found"], "1 of 2 approved · "),
        (["not_found", None], "0 of 2 approved · "),
    ],
)
def test_only_approved_items_are_called_approved(outcomes: list[str | None], words: str) -> None:
    items = [
        BatchItem(number, remediation().ref, "n", SeenState(None, None), outcome)
        for number, outcome in enumerate(outcomes)
    ]
    assert words in str(digest(DIGEST, alerts(12), [replace(batch(0), items=items)]).blocks)


def test_dialog_and_report_of_a_batch() -> None:
    shown, open_ones = batch(6), waiting(alerts(20))
    view = cards.review.confirmation(
        shown, decidable(open_ones, {}, None), cards.listing.names(open_ones), cards.CardConfig()
    )
    (report,) = cards.review.report(shown)
    failed = [alert for alert in alerts(12) if alert.remediation.state == State.FAILED]
    failures = cards.digest.failures(failed, {})
    compare("digest-dialog", "\n\n".join([render_view(view), render(report.text, report.blocks), failures.text]) + "\n")


def test_dialog_and_choices_of_a_thousand_nodes_fit_into_slack() -> None:
    thousand = [alert for alert in alerts(2500) if alert.remediation.state == State.PENDING_APPROVAL]
    view = cards.review.confirmation(
        batch(0), decidable(thousand, {}, None), cards.listing.names(thousand), cards.CardConfig()
    )
    check_view(view)
    assert view["title"]["text"] == "Approve 1000 repairs"
    review = cards.review.dialog(Review(DIGEST.id, "C0OPS"), decidable(thousand, {}, None, 1300), cards.CardConfig())
    check_view(review)
    assert review["title"]["text"] == "Review 1000 of 1300"
    group = next(block["block_id"] for block in review["blocks"] if "review:some" in str(block))
    options = cards.review.options(thousand, group.removeprefix("review:some:"), "")
    assert len(options) == 100
    check_options(options)
    shown = batch(1000, 1000)
    report = cards.review.report(shown)
    assert len(report) == 1
    for message in [*report, digest(DIGEST, thousand, [shown])]:
        check_message({"text": message.text, "blocks": message.blocks}, is_update=True)


def test_no_two_nodes_have_the_same_name() -> None:
    here, there = alerts(2)
    same = {"instance_name": "gpu-node-1"}
    one = replace(here, remediation=remediation(instance_id="i-1", **same))
    two = replace(there, remediation=remediation(instance_id="i-2", **same))
    elsewhere = replace(there, remediation=remediation(cluster_id="c-9", **same))
    assert list(cards.listing.names([one, two]).values()) == ["gpu-node-1 (i-1)", "gpu-node-1 (i-2)"]
    assert list(cards.listing.names([one, elsewhere]).values()) == ["gpu-node-1 in c-7f2", "gpu-node-1 in c-9"]
    assert list(cards.listing.names([one]).values()) == ["gpu-node-1"]
    of_one_name = [replace(alert, share=RepairLoad(0, 4, 0.0, "train")) for alert in (one, elsewhere)]
    named = list(cards.listing.names(of_one_name).values())
    assert named == ["gpu-node-1 in train c-7f2", "gpu-node-1 in train c-9"], "as release 0.1.0 has kept them"


def test_nodes_that_are_counted_from_zero_are_one_range() -> None:
    assert cards.listing.ranges([f"gpu-{number}" for number in range(12)]) == ["gpu-0–11"]
    assert cards.listing.ranges(["gpu-0", "gpu-00", "gpu-01"]) == ["gpu-0, 00–01"]


def test_remediations_of_one_node_count_as_one_node_and_have_names_of_their_own() -> None:
    (one,) = alerts(1)
    share = RepairLoad(0, 4, 0.0, "c")
    many = [
        replace(one, share=share, remediation=remediation(id=f"r-{number}", instance_id=f"i-{number % 4}"))
        for number in range(7)
    ]
    message = digest(DIGEST, many, [])
    assert message.text.startswith("4 of 4 nodes of c need a decision (7 remediations).")
    assert len(set(cards.listing.names(many).values())) == 7
    view = cards.review.confirmation(batch(0), decidable(many, {}, None), cards.listing.names(many), cards.CardConfig())
    assert "on 4 of 4 nodes in c." in str(view)
    assert "(4 nodes)" in str(view)


def test_more_nodes_than_the_cluster_is_said_to_have_are_not_counted_against_it() -> None:
    share = RepairLoad(0, 1, 0.0, "c")
    many = [replace(alert, share=share) for alert in waiting(alerts(25))]
    assert digest(DIGEST, many, []).text.startswith("10 nodes in c need a decision.")
    assert "on 10 nodes in c." in str(
        cards.review.confirmation(batch(0), decidable(many, {}, None), cards.listing.names(many), cards.CardConfig())
    )


def test_a_single_remediation_is_not_called_remediations() -> None:
    (one,) = alerts(1)
    over = replace(one, remediation=remediation(state=State.CANCELLED))
    assert "Nothing left to decide: 1 remediation in c-7f2." in digest(DIGEST, [over], []).text


def test_digest_in_which_a_repair_failed_or_did_not_help_does_not_look_as_if_all_were_well() -> None:
    one, other = alerts(2)
    ended = [replace(alert, remediation=remediation(state=State.SUCCEEDED)) for alert in (one, other)]
    assert "✅" in str(digest(DIGEST, ended, []).blocks[0])
    failed = digest(DIGEST, [ended[0], replace(other, remediation=remediation(state=State.FAILED))], [])
    assert failed.text.startswith("Nothing left to decide, but 1 failed: 2 remediations in c-7f2.")
    back = digest(DIGEST, [ended[0], replace(ended[1], came_back=CameBack("Xid 79", START))], [])
    assert ["❕" in str(message.blocks[0]) for message in (failed, back)] == [True, True]


def test_hold_in_a_digest_says_on_which_day_it_ends() -> None:
    (one,) = alerts(1)
    held = replace(one, hold=Hold("U0BOB", START + 86_400))
    assert f"on hold by <@U0BOB> until {when(START + 86_400)}" in digest(DIGEST, [held], []).text


def test_digest_names_the_common_fault_where_its_groups_name_none() -> None:
    drained = {"title": "GPU has fallen off the bus", "xid": {"events": [{"xid_code": "79"}]}}
    some = [
        replace(alert, remediation=remediation(
            id=f"r-{number}",
            linked_alerts=[{"annotation": drained | {"slurm_node_unavailable": {"reason": f"job {number} died"}}}],
        ))
        for number, alert in enumerate(waiting(alerts(40)))
    ]  # fmt: skip
    assert len(some) > 12
    assert f"Most common fault: Xid 79, on {len(some)} of {len(some)}." in digest(DIGEST, some, []).text


def test_dialog_counts_who_needs_a_second_person_node_by_node() -> None:
    one, two = waiting(alerts(12))[:2]
    often = replace(two, remediation=one.remediation.model_copy(update={"id": "r-2"}), history=History(9, lately=9))
    ask, config = batch(0), cards.CardConfig(two_people=TwoPeople(repairs=3, seconds=86_400))
    first = FirstApproval("U0BOB", one.remediation.mode, START, episode=one.remediation.episode)
    called = cards.listing.names([one, often])
    view = cards.review.confirmation(ask, decidable([one, often], {one.remediation.ref: first}, None), called, config)
    assert "1 of 2 needs a second person's approval." in str(view)


def test_review_warns_in_red_before_what_deletes_data() -> None:
    view = cards.review.dialog(
        Review(DIGEST.id, "C0OPS"), decidable(waiting(alerts(16)), {}, None, 16), cards.CardConfig()
    )
    check_view(view)
    kinds = [block["type"] if block["type"] == "alert" else block["label"]["text"][:2] for block in view["blocks"][2:]]
    assert kinds == ["Re", "alert", "⚠️"]


def test_box_of_a_node_says_as_much_as_fits() -> None:
    (one,) = waiting(alerts(1))
    first = FirstApproval("U" * 30, one.remediation.mode, START, episode=one.remediation.episode)
    held = replace(one, hold=Hold("W" * 30, START + 60))
    view = cards.review.dialog(
        Review(DIGEST.id, "C0OPS"), decidable([held], {one.remediation.ref: first}, None, 1), TWO_CONFIG
    )
    check_view(view)
    assert f"1 of 2 approvals: <@{'U' * 30}>" in str(view)


def test_reminder_of_what_is_in_several_clusters_names_none_of_them() -> None:
    first, second = alerts(2)
    other = replace(second, remediation=second.remediation.model_copy(update={"cluster_id": "c-other"}))
    share = RepairLoad(1, 32, START, "llama-train", 2)
    shown = [replace(alert, share=share) for alert in (first, other)]
    told = "2 nodes have waited 15 min or more for a decision. Xid 79, on 2 of 2."
    assert cards.digest.reminder(shown, "", 900).text == told


def test_reminder_counts_nodes_and_says_of_one_only_what_is_broken() -> None:
    first, second = alerts(2)
    again = replace(first, remediation=first.remediation.model_copy(update={"id": "r-again"}))
    told = "2 nodes in c-7f2 have waited 15 min or more for a decision. Xid 79, on 2 of 2."
    assert cards.digest.reminder([first, again, second], "", 900).text == told
    told = "1 node in c-7f2 has waited 15 min or more for a decision. Xid 79."
    for some in ([first], [first, again]):
        assert cards.digest.reminder(some, "", 900).text == told


def test_selection_counts_nodes_that_wait_beside_its_own_and_not_repairs() -> None:
    (one,) = alerts(1)
    again = replace(one, remediation=one.remediation.model_copy(update={"id": "r-again"}))
    chosen = decidable([one, again], {}, RepairLoad(1, 64, START, waiting=2))
    view = cards.review.confirmation(batch(0), chosen, cards.listing.names([one, again]), cards.CardConfig())
    assert "Cluster: 1 of 64 nodes in repair, 1 more waiting." in str(view["blocks"])


@pytest.mark.parametrize(("count", "told"), [(1, "1 resolved on its own."), (2, "2 resolved on their own.")])
def test_digest_says_of_several_that_they_resolved_on_their_own(count: int, told: str) -> None:
    over = [
        replace(alert, remediation=alert.remediation.model_copy(update={"state": State.AUTO_RESOLVED}))
        for alert in alerts(count)
    ]
    assert f"In all: {told}" in digest(DIGEST, over, []).text
