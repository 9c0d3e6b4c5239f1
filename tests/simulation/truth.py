"""Whether what is said is so: by Together's states, and by what has left the bots."""

import json
import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bot.store.tables import alerts, faults, first_approvals, messages, pauses
from tests.manual_clock import START
from tests.simulation.history import Sent
from tests.simulator.render import block_text
from tests.simulator.slack import Posted
from tests.simulator.together import TERMINAL, Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

SYMBOLS = {
    "PENDING_APPROVAL": "⏳", "PENDING": "🕓", "QUARANTINING": "🚧", "QUARANTINED": "🚧", "RUNNING": "🔧",
    "SUCCEEDED": "✅🔁⚠", "FAILED": "❌", "CANCELLED": "🚫", "AUTO_RESOLVED": "💤",
}  # fmt: skip
REPAIRS = {
    "REMEDIATION_MODE_REBOOT_VM": "eboot", "REMEDIATION_MODE_VM_ONLY": "eprovision",
    "REMEDIATION_MODE_HOST_AWARE": "igrate", "REMEDIATION_MODE_HOST_POWER_CYCLE": "ower",
    "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT": "emove",
}  # fmt: skip
CREDIT = re.compile(r"\b([Aa]pprov|[Cc]ancell|[Rr]eject)ed by ((?:<@\w+>(?:,? and )?)+)")
VERBS = {"approv": "approve", "cancell": "cancel", "reject": "reject"}
DONE = {"approved": "approve", "cancelled": "cancel", "rejected": "reject"}
FINAL_NO = re.compile(r"^Not (approved|cancelled|rejected)|\bwasn't sent[:.]|[Nn]othing was (sent|decided)")
# What a card says of a decision on top, with when, and whose.
REMARK = re.compile(r"^⚠️ <!date\^(\d+)[^>]*>[,:] <@(\w+)>'s ")
UNDER_WAY = re.compile(r"is (approving|cancelling|rejecting) this…|Still retrying")  # by an answer, by an outage
CONFIRMED, LAGS = re.compile(r"Last confirmed <!date\^(\d+)"), 60.0  # seconds
LOAD = re.compile(r"(\d+)(?: of \d+)? nodes? in repair")
ASKS_ABOUT = re.compile(r"^█ (\d+)\b.* needs? a decision")
LASTED = "Lasted "
AFTERMATH = re.compile(r"came back on|isn't running in the cluster")
EPOCH = "1970-01-01T00:00:00+00:00"
IN_REPAIR = {"PENDING", "QUARANTINING", "QUARANTINED", "RUNNING"}
AT_HOME = "U0ERIN"  # opens her home at last
KNOWN_AFTER = 120.0  # seconds after which a bot that has read twice that something is over calls nobody for it


# As it is said.


def names_deciders(world: "World", about: str, text: str) -> None:
    """Judge that who is said to have decided did so."""
    for verb, people in CREDIT.findall(text) if about else ():
        of = VERBS[verb.lower()]
        if not any((of, user, about) in world.effects for user in re.findall(r"\w{3,}", people)):
            world.history.wrong(f"{of} of {about} is said to be {people}'s, and isn't: {text}", about)


def denies(world: "World", decision: str, row: Any, text: str, about: str) -> None:
    """Note that somebody was told that nothing was sent, and judge that nothing was.

    Args:
        row: the decision's own; None where none is known.
    """
    first = text.partition("\n")[0]
    remark = REMARK.match(first)  # a card that is put back has those of other decisions
    if remark and row and (remark[2] != row["user_id"] or float(remark[1]) < row["received_at"] - world.most_skew - 1):
        return
    if decision and FINAL_NO.search(first):
        world.denied[decision] = text
        if any(sent.decision == decision and sent.took_effect for sent in world.history.sent):
            world.history.wrong(f"decision {decision} took effect, and then this was told: {text}", about)


def after_a_no(world: "World", it: Sent) -> None:
    """Judge that nothing is sent of which its person was told that it wasn't."""
    if told := world.denied.get(it.decision):
        world.history.wrong(f"decision {it.decision} takes effect after this was told: {told}", it.ids[2])


def confirmed(world: "World", about: str, text: str) -> None:
    """Judge that what is said to be confirmed at a moment was so then, at least in a list that lags."""
    if not (about and (found := CONFIRMED.search(text))):
        return
    ids = next(ids for ids in world.together.remediations if ids[2] == about)
    if world.together.state(ids) in TERMINAL and int(found[1]) - START > over_since(world, ids) + LAGS:
        world.history.wrong(f"{about} was over since {over_since(world, ids):.0f}, and this is told: {text}", about)


def has_lasted(world: "World", about: str, text: str) -> None:
    """Judge that a repair is said to last only where Together shows no other one for its fault, nor its alert."""
    world.history.marks.add("a repair has lasted")
    fires = [alert for alert in world.together.alerts if alert == f"again-{about}"]
    again = [ids[2] for ids in world.together.remediations if ids[2].rpartition("-")[0] == about]
    known = [each for each in [*fires, *again] if world.loop.time() - world.back_at[each] > LAGS]
    if known:
        world.history.wrong(f"{known} are there since {world.back_at[known[0]]:.0f}, and this is told: {text}", about)


def over_since(world: "World", ids: Ids) -> float:
    """Return when something last changed in a remediation that is over."""
    present = world.together.remediations[ids]
    return (
        max(datetime.fromisoformat(present.get(name, EPOCH)).timestamp() for name in ("end_time", "update_time"))
        - START
    )


def changed_at(world: "World", ids: Ids) -> float:
    """Return when something last changed in a remediation, as far as Together's times say so."""
    present = world.together.remediations[ids]
    names = ("create_time", "review_time", "start_time", "update_time", "end_time")
    return max(datetime.fromisoformat(present.get(name) or EPOCH).timestamp() for name in names) - START


def calls(world: "World", process: str, about: str, text: str) -> None:
    """Judge that nobody is called for what is over, where the bot has read that twice."""
    for ids in world.together.remediations:
        is_over = ids[2] == about and is_known_to_be_over(world, process, ids, world.loop.time())
        if is_over and not AFTERMATH.search(text):
            world.history.wrong(f"{about} is {world.together.state(ids)}, and people are called: {text}", about)


def is_known_to_be_over(world: "World", process: str, ids: Ids, now: float) -> bool:
    """Return whether a bot had read twice, and a while before, that a remediation is over and hasn't failed."""
    present = world.together.remediations[ids]
    over_at = max(over_since(world, ids), world.found_at[ids])
    known_at = [at for at in world.lists_read[process, ids[0]] if at > over_at][1:2]
    return present["state"] in TERMINAL - {"FAILED"} and any(now - at > KNOWN_AFTER for at in known_at)


# In the end.


def in_the_end(world: "World", rows: Any) -> None:
    """Judge what cards, digests, and homes say."""
    is_blind = any(fault.startswith("slack") for fault in +world.faults.struck)  # it may not know what it has posted
    for message in world.slack.messages:
        if message.only_for is None and not is_blind and UNDER_WAY.search(message.text):
            world.history.wrong(f"it still says: {message.text}")
    of = select(alerts.c.remediation_id, alerts.c.cluster_id, alerts.c.body, messages.c.ts).join(
        messages, alerts.c.message_id == messages.c.id
    )
    fresh = select(first_approvals.c.remediation_id).where(first_approvals.c.at > world.clock.now() - 86_400.0)
    half = {row["remediation_id"] for row in rows(world, fresh)}
    now = select(pauses.c.cluster_id).where(pauses.c.until > world.clock.now())
    paused = {row["cluster_id"] for row in rows(world, now)}
    by_ts = {message.ts: message for message in world.slack.messages if message.only_for is None}
    waiting: dict[str, set[str]] = {}
    for row in rows(world, of):
        ids = next(ids for ids in world.together.remediations if ids[2] == row["remediation_id"])
        card = by_ts.get(row["ts"])
        if card is None:
            continue
        if card in world.slack.digests():
            nodes = waiting.setdefault(card.ts, set())
            nodes |= {ids[1]} if world.together.state(ids) == "PENDING_APPROVAL" else set()
        else:
            is_left = left_alone(world, card, ids, rows)
            _card(world, card, ids, is_left=is_left)
            if world.together.state(ids) == "PENDING_APPROVAL" and "Observing" not in card.title:
                _what_bears_on_it(world, card, ids, {"", ids[0]} & paused)
                hold = json.loads(row["body"])["hold"] or {"until": 0.0}
                is_sure = abs(hold["until"] - world.clock.now()) > 120.0 and not is_left
                if is_sure and (hold["until"] > world.clock.now()) != ("On hold" in card.title):
                    world.history.wrong(f"{ids[2]} is held until {hold['until']}, and its card says: {card.title}")
            is_old = card.ts in world.slack.too_old
            if "1 more approval" in card.title and ids[2] not in half and not is_old:
                world.history.wrong(f"nobody has approved {ids[2]} today, and its card says: {card.title}", ids[2])
    for ts, nodes in waiting.items():
        _digest(world, by_ts[ts], nodes)
    _home(world, rows)


def left_alone(world: "World", card: Posted, ids: Ids, rows: Any) -> bool:
    """Return whether a card is too old to be edited, and isn't posted again, as approvals are paused."""
    if card.ts not in world.slack.too_old:
        return False
    held = select(pauses.c.cluster_id).where(pauses.c.until > world.clock.now())
    braked = select(faults.c.cluster_id).where(faults.c.brake.is_not(None))
    paused = {row["cluster_id"] for of in (held, braked) for row in rows(world, of)}
    return bool({"", ids[0]} & paused)


def _card(world: "World", card: Posted, ids: Ids, *, is_left: bool) -> None:
    state, mode, title = world.together.state(ids), world.together.remediations[ids]["mode"], card.title
    if is_left or (card.ts in world.slack.too_old and state != "PENDING_APPROVAL"):
        return
    right = SYMBOLS[state]
    if state in TERMINAL:  # what ends unseen is asked for no more: as withdrawn, or as an incident between two lists
        right += "💨" * world.losses[ids] + "✅🔁❌🚫💤" * world.episodes[ids]
    if not any(symbol in title for symbol in right):
        world.history.wrong(f"{ids[2]} is {state}, and its card says: {title}", ids[2])
    if state == "PENDING_APPROVAL" and REPAIRS[mode] not in title:
        world.history.wrong(f"{ids[2]} would be {mode}, and its card says: {title}", ids[2])


def _what_bears_on_it(world: "World", card: Posted, ids: Ids, paused: set[str]) -> None:
    """Judge what a card that waits says of its cluster."""
    if card.ts in world.slack.too_old:
        return
    is_said = "Approvals are paused" in card.text
    if is_said != bool(paused) and not (is_said and "automatically" in card.text):
        world.history.wrong(f"approvals are paused in {paused}, and the card of {ids[2]} says: {card.text}", ids[2])
    together = world.together.remediations
    busy = {each[1] for each in together if each[0] == ids[0] and together[each]["state"] in IN_REPAIR}
    if (load := LOAD.search(card.text)) and int(load[1]) != len(busy):
        world.history.wrong(f"{len(busy)} nodes of {ids[0]} are in repair, and {ids[2]} says: {load[0]}", ids[2])


def _digest(world: "World", digest: Posted, waiting: set[str]) -> None:
    title = block_text(digest.blocks[0])
    if digest.ts in world.slack.too_old:
        return
    found = ASKS_ABOUT.search(title)
    if (int(found[1]) if found else 0) != len(waiting):
        world.history.wrong(f"{len(waiting)} nodes of a digest wait ({sorted(waiting)}), and it says: {title}")


def _home(world: "World", rows: Any) -> None:
    """Judge that a home that was opened at last counts what waits, is in repair, has failed, and fires without one."""
    states = [value["state"] for value in world.together.remediations.values()]
    if any(value["BOT_AUTOMATIC_REPAIRS"] != "all" for value in world.settings.values()):
        return  # some are told nowhere
    so = f"{states.count('PENDING_APPROVAL')} waiting · {sum(state in IN_REPAIR for state in states)} in repair"
    drawn = json.dumps(world.slack.homes[AT_HOME]["blocks"], ensure_ascii=False)
    if f'"{so}' not in drawn:
        world.history.wrong(f"{so}, and Home says otherwise: {drawn}")
    is_sure = not (+world.losses or +world.episodes or "process away for days" in world.history.marks)
    firing = [value["target_vm"] for value in world.together.alerts.values()]
    # Those of nodes that were never repaired are listed there also where nobody is told of them.
    unrepaired = sum(each.startswith("bad-") for each in firing)
    first = min((alert["seen_at"] for alert in rows(world, select(alerts.c.seen_at))), default=math.inf)
    # What had failed when the bot first read a list is no news to it.
    failed = [value for value in world.together.remediations.values() if value["state"] == "FAILED"]
    since = sum(datetime.fromisoformat(each["end_time"]).timestamp() > first for each in failed)
    for words, least, most in (
        (r" · (\d+) failed", since, len(failed)),
        (r" · (\d+) alerts? without a repair", unrepaired, len(firing)),
    ):
        found = re.search(words, drawn)
        if is_sure and not least <= (int(found[1]) if found else 0) <= most:
            said = found[0] if found else "nothing"
            world.history.wrong(f"{words} counts {least} to {most}, and Home says {said}: {drawn}")
