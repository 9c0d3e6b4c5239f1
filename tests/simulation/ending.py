"""What must be true in the end, and what has happened until then."""

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.store import Database
from bot.store.audit import verify
from bot.store.connection import Record
from bot.store.tables import alerts, audit, decisions, leases, messages
from tests.manual_clock import START
from tests.simulation import calling, saying, tools, truth
from tests.simulation.checks import DONE, MAYBE, NODE, UNREPAIRED, forgets_cards, rows
from tests.simulator.together import TERMINAL, Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

ONE_MOMENT = 0.1  # within it, Together's times of a review and an end are taken for those of a rejection
ASKS_FIRST = {"never": ("reject",), "cancel": ("cancel", "reject"), "always": ("cancel", "reject", "approve")}


def _looks_rejected(world: "World", row: Record) -> bool:
    """Return whether a cancel came so soon after an approval in the console that both look like a rejection there."""
    found = world.together.remediations[row["cluster_id"], row["instance_id"], row["remediation_id"]]
    reviewed, ended = (
        datetime.fromisoformat(str(found.get(name) or truth.EPOCH)) for name in ("review_time", "end_time")
    )
    is_called_late = (row["verb"], row["outcome"]) == ("cancel", "too_late")
    return is_called_late and 0 <= (ended - reviewed).total_seconds() < ONE_MOMENT


async def in_the_end(world: "World", database: Database) -> None:
    """Judge the world after its faults are over and half an hour has passed."""
    history = world.history
    all_decisions = rows(world, select(decisions))
    for row in all_decisions:
        about, decision = row["remediation_id"], row["id"][:8]
        if row["status"] not in {"done", "void"}:
            history.wrong(f"decision {decision} is {row['status']} in the end", about)
        effects = [sent for sent in history.sent if sent.decision == decision and sent.took_effect]
        is_undecidable = effects and _looks_rejected(world, row)
        if effects and row["outcome"] not in {None, *MAYBE} and not is_undecidable:
            history.wrong(f"decision {decision} took effect, and its outcome is “{row['outcome']}”", about)
        if row["outcome"] in {"approved", "rejected"} and not effects:
            history.wrong(f"decision {decision} is called {row['outcome']}, and never took effect", about)
        told = world.slack.answers[decision]
        if not row["batch_id"] and row["status"] == "done" and not told:
            history.wrong(f"decision {decision} was never answered", about)
    by_decision = Counter(row["decision_id"] for row in rows(world, select(audit).where(audit.c.event == "outcome")))
    for decision, count in by_decision.items():
        if count > 1:
            history.wrong(f"decision {decision[:8]} has {count} outcomes in the audit trail")
    for each in rows(world, select(audit).where(audit.c.event == "send")):
        if not by_decision[each["decision_id"]]:
            decision = each["decision_id"][:8]
            history.wrong(f"decision {decision} leaves by the audit trail, and has no outcome", each["remediation_id"])
    requested = Counter((each.user, each.verb, each.ids[2]) for each in history.asked)
    taken = Counter(
        (row["user_id"], row["verb"], row["remediation_id"])
        for row in all_decisions
        if row["status"] != "void" and row["verb"] in DONE and not row["batch_id"]
    )
    for (user, verb, about), count in taken.items():
        if count > (wanted := requested[user, verb, about]):
            history.wrong(f"{user} asked {wanted} times to {verb} {about}, taken {count} times", about)
    recorded = {row["decision_id"] for row in rows(world, select(audit))}
    for row in all_decisions:
        if row["outcome"] is not None and row["status"] != "void" and row["id"] not in recorded:
            history.wrong(f"decision {row['id'][:8]} has no row in the audit trail", row["remediation_id"])
    verdict = await verify(database)
    for problem in verdict.problems:
        history.wrong(f"the audit trail: {problem}")
    _trail_has_what_left(world)
    asks_first = {verb for value in world.settings.values() for verb in ASKS_FIRST[value["BOT_REASON"]]}
    for asked in history.asked:
        # A dialog that doesn't open is seen by the person, who presses again.
        is_decision = asked.mode and asked.verb not in asks_first
        if asked.acked and is_decision and not _heard(world, asked.user, asked.ids, asked.at):
            history.wrong(
                f"{asked.user} asked to {asked.verb} {asked.ids[2]}, was acked, and heard nothing", asked.ids[2]
            )
    _cards_are_true(world)
    truth.in_the_end(world, rows)
    tools.in_the_end(world, rows)
    calling.in_the_end(world)
    saying.in_the_end(world, rows)
    _faults_are_shown(world)


def _trail_has_what_left(world: "World") -> None:
    """Judge that the trail says of each POST who sent what, from before it left."""
    leaves = rows(world, select(audit).where(audit.c.event.in_(("send", "repeat"))))
    people = {
        decision["id"][:8]: decision["user_id"] for decision in rows(world, select(decisions.c.id, decisions.c.user_id))
    }
    for it in world.history.sent:
        same = [
            each["at"] - START
            for each in leaves
            if (each["decision_id"][:8], each["verb"]) == (it.decision, it.verb)
            and (each["cluster_id"], each["instance_id"], each["remediation_id"]) == it.ids
            and each["user_id"] == people.get(it.decision, each["user_id"])
        ]
        arrived = sum(sent.decision == it.decision and sent.at <= it.at for sent in world.history.sent)
        if sum(at <= it.at + world.most_skew for at in same) < arrived:
            world.history.wrong(f"{arrived} POSTs of decision {it.decision} left, the trail has {same}", it.ids[2])


def _faults_are_shown(world: "World") -> None:
    """Judge that what fires in the end is told, and nothing else."""
    unrepaired = [message for message in world.slack.messages if UNREPAIRED in message.text]
    told = " ".join(message.text for message in unrepaired if not message.thread_ts)
    old = " ".join(message.text for message in world.slack.messages if message.ts in world.slack.too_old)
    # What came after its message took no more edits is in the thread, and in the channel too.
    later = " ".join(
        message.text for message in unrepaired if message.broadcast and message.thread_ts in world.slack.too_old
    )
    firing = {value["target_vm"] for value in world.together.alerts.values() if NODE.fullmatch(value["target_vm"])}
    if world.environ["BOT_UNREPAIRED_MINUTES"] == "0":
        firing.clear()
    for node in firing if not world.deleted else ():
        if node not in f"{told} {later}":
            world.history.wrong(f"{node} is broken, and nothing in the channel says so")
    # It may have posted one without ever learning that it did, or in the channel of a locked thread.
    is_blind = forgets_cards(world) or world.slack.locked
    for node in set(NODE.findall(told)).difference(firing, NODE.findall(old)) if not is_blind else ():
        world.history.wrong(f"{node} is not broken any more, and the channel says so")


def _heard(world: "World", user: str, ids: Ids, at: float) -> bool:
    """Return whether there is a decision of the person, or something was said to them or about it since."""
    of = select(decisions.c.id).where(
        decisions.c.user_id == user, decisions.c.remediation_id == ids[2],
        decisions.c.received_at >= START + at - 1 - world.most_skew,
    )  # fmt: skip
    if rows(world, of):
        return True
    return any(
        when >= at and user in text and ("chat." in text or "response_url" in text or "views." in text)
        for when, _, text in world.history.lines
    )


def _cards_are_true(world: "World") -> None:
    known = {message["ts"] for message in rows(world, select(messages.c.ts))}
    has_strangers = forgets_cards(world) or "messages move" in world.history.marks
    for ids, present in world.together.remediations.items():
        for card in world.slack.cards(ids[2]):
            if card.ts not in known and (has_strangers or card.ts in world.slack.too_old):
                continue  # it isn't one any more
            state, buttons = present["state"], set(card.controls)
            decides = {"remediation:approve", "remediation:cancel"} & buttons
            is_observed = any(world.settings[str(running.process)]["BOT_OBSERVE"] == ids[0] for running in world.bots)
            is_left = truth.left_alone(world, card, ids, rows)
            if state == "PENDING_APPROVAL" and "remediation:approve" not in buttons and not (is_observed or is_left):
                world.history.wrong(f"{ids[2]} waits, and its card can't be approved: {card.text}", ids[2])
            if state in TERMINAL and decides and card.ts not in world.slack.too_old:
                world.history.wrong(f"{ids[2]} is {state}, and its card has buttons: {card.text}", ids[2])
        if present["state"] == "PENDING_APPROVAL" and not _is_shown(world, ids):
            world.history.wrong(f"{ids[2]} waits, and nothing in the channel says so", ids[2])
    now = world.clock.now()
    owners = rows(world, select(leases).where(leases.c.name == "watch", leases.c.until > now))
    if not owners:
        world.history.wrong("nobody watches in the end")


def _is_shown(world: "World", ids: Ids) -> bool:
    """Return whether the message that is to show a remediation is in the channel."""
    of = select(messages.c.ts).join(alerts, alerts.c.message_id == messages.c.id).where(
        alerts.c.remediation_id == ids[2], alerts.c.cluster_id == ids[0]
    )  # fmt: skip
    shown = {row["ts"] for row in rows(world, of)}
    # What somebody has deleted is noticed within the hour.
    return any(message.ts in shown for message in world.slack.messages) or bool(shown & world.deleted)


# What happened.


def taken_over(world: "World") -> int:
    """Return how many decisions have changed hands."""
    return len(rows(world, select(decisions.c.id).where(decisions.c.fence > 1)))


def marks(world: "World") -> set[str]:
    """Return what the database and Together show to have happened."""
    found = {f"outcome {decision['outcome']}" for decision in rows(world, select(decisions.c.outcome).distinct())}
    found |= {f"audit {row['event']}" for row in rows(world, select(audit.c.event).distinct())}
    for row in rows(world, select(decisions)):
        if row["fence"] > 1:
            found.add("takeover with the POST in doubt" if row["sent_at"] else "takeover before the POST")
        if row["batch_id"]:
            found.add("a selection is carried out")
            if row["outcome"] == "paused":
                found.add("pause during a selection")
        if row["batch_id"] and row["outcome"] == "approved":
            found.add("a selection approves")
    if rows(world, select(audit.c.seq).where(audit.c.event == "stopped")):
        found.add("a selection is stopped")
    if any(world.episodes[sent.ids] and sent.took_effect for sent in world.history.sent):
        found.add("a decision on what came back")
    if any(world.slack.digests()):
        found.add("a digest")
    return found
