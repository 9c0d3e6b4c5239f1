"""Whether what is said of pauses, holds, first approvals, and homes is so at that moment, by what is on record."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from bot.cards.home import OPEN
from bot.models import LOOKING_SECONDS, RemediationRef
from bot.store.tables import alerts, audit, batches, decisions, faults, first_approvals, inbox, messages, pauses
from tests.manual_clock import START
from tests.simulation import truth
from tests.simulator.together import Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

GRACE = 240.0  # seconds for which a sentence may be on its way: it is tried again for so long
SUSPENDED = 480.0  # the same, where a process may have stood still before it was sent
LENGTHS = (1800.0, 3600.0, 14400.0, 43200.0)
DATE = re.compile(r"<!date\^(\d+)[^>]*>")
PAUSED = re.compile(r"(?:in ([^<,]+?)|by|,) until <(\d+)> by <@(\w+)>")
RESUMED = re.compile(r"^Approvals resumed in (all clusters|(c-\w))")
ENDED = re.compile(r"^<@(\w+)>, <@(\w+)> ended your pause of approvals in ")
HALF = re.compile(r"1 of 2 approvals(?:: | \(| for [^,]+, by )<@(\w+)>")
RESULTS = re.compile(r"^<@(\w+)>, results(?: \(\d+ of \d+\))?: (\d+) of (\d+) (\w+)")
WAITS = re.compile(r"^\d+ remediations? (?:is|are) waiting for approval or start")
LISTS = re.compile(r"^\*?Waiting for approval: \d+")
ROW = re.compile(r"^`?([\w-]+)`?  .* · (?:waiting for approval|since <)")
SELECTED = re.compile(r"^(\d+) of (\d+) (approved|cancelled)\b.*? · <@(\w+)>, <")
ON_HOLD = re.compile(r"[Oo]n hold (?:until <\d+> )?by (<@\w+>)")
LOOKS, LATE = re.compile(r"^Looking into it: (.*)"), 150.0  # seconds that a message may be late by
MINE = re.compile(r"^<\d+> · (\S+) · <@(\w+)> · (approved|cancelled|rejected)\b")
COUNTS = re.compile(r"^(\d+) waiting · (\d+) in repair")
PRIVATE = {"chat.postEphemeral", "views.open", "views.push", "views.publish"}
READ_ONLY = {"home:cluster", "home:update", "home:previous", "home:next", OPEN, "shift:tonight"}
LEFT = re.compile(r" (U0\w+) (c-\w)?$")  # at the end of a request's key: who is yet to be told that a pause ended


def lines(body: dict[str, Any]) -> list[str]:
    """Return what a message or view says, line by line."""
    drawn = body.get("view", body)
    parts = [str(body.get("text") or ""), *_parts(drawn.get("blocks") or [])]
    return [line for part in parts for line in DATE.sub(r"<\1>", part).splitlines()]


def _parts(part: Any) -> Iterator[str]:
    """Yield what is read of a block; a rich text's elements are one line."""
    if isinstance(part, list):
        for each in part:
            yield from _parts(each)
    elif isinstance(part, dict) and part.get("type") == "rich_text_section":
        yield "".join(_element(each) for each in part["elements"])
    elif isinstance(part, dict) and isinstance(part.get("text"), str):
        yield part["text"]
    elif isinstance(part, dict):
        for each in part.values():
            yield from _parts(each)


def _element(element: dict[str, Any]) -> str:
    match element["type"]:
        case "user":
            return f"<@{element['user_id']}>"
        case "date":
            return f"<{element['timestamp']}>"
    return str(element.get("text", ""))


# As it is said.


def judge(world: "World", method: str, body: dict[str, Any], about: str, rows: Any) -> None:
    """Judge what a bot has just said in Slack."""
    is_direct = method == "chat.postMessage" and not str(body.get("channel", "")).startswith("C")
    is_private = method in PRIVATE or is_direct or (method == "response_url" and not body.get("replace_original"))
    said = lines(body)
    for line in said:
        if "Approvals are paused" in line:
            _paused(world, line, about, rows, is_now=is_private)
        for user in HALF.findall(line):
            _half_approved(world, user, about, line, rows)
    text = str(body.get("text") or "")
    if is_private and (found := RESUMED.search(text)):
        _resumed(world, found[2] or "", text, rows)
    if is_private and (WAITS.search(text) or any(LISTS.search(line) for line in said)):
        _listed(world, said)
    if method == "views.publish":
        home(world, str(body["user_id"]), body["view"], said, rows)


def _listed(world: "World", said: list[str]) -> None:
    """Judge that nothing is listed as waiting that is known not to wait for long."""
    world.history.marks.add("a list is judged")
    open_ones = {"PENDING_APPROVAL", "PENDING"}
    for line in said:
        found = ROW.search(line)
        if found is None or re.search(r"last confirmed|isn't confirmed|Critical:|Warning:", line):
            continue
        of = [ids for ids, value in world.together.remediations.items() if value.get("instance_name") == found[1]]
        is_over = of and all(
            world.together.state(ids) not in open_ones and _is_known(world, ids) and ids not in world.together.lost
            for ids in of
        )
        if is_over:
            world.history.wrong(f"{of} don't wait for long, and are listed: {line}", of[0][2])


def _grace(world: "World") -> float:
    stood = world.faults.struck["process suspended"] + world.faults.struck["process suspended before a POST"]
    return world.most_skew + (SUSPENDED if stood else GRACE)


def _changed(world: "World", rows: Any, cluster: str, *events: str) -> bool:
    """Return whether pauses of a cluster, or of all, have changed so lately that a sentence may not know."""
    since = world.clock.now() - _grace(world)
    of = select(audit.c.seq).where(audit.c.event.in_(events), audit.c.at > since)
    return bool(rows(world, of.where(audit.c.cluster_id.in_({cluster, ""})) if cluster else of))


def held(world: "World", rows: Any, grace: float = 0.0) -> list[dict[str, Any]]:
    """Return the pauses of people that are on record and were not over that many seconds ago."""
    kept = [each for one in rows(world, select(pauses)) for each in (one, *json.loads(one["others"]))]
    return [
        {**each, "cluster_id": each["cluster_id"].removesuffix(" others")}
        for each in kept
        if each["user_id"] and each["until"] > world.clock.now() - grace
    ]


def _paused(world: "World", line: str, about: str, rows: Any, *, is_now: bool) -> None:
    """Judge that each pause that is told was made, and, where that is told as of now, is on record."""
    world.history.marks.add("a pause is told")
    slack = 2 + world.most_skew
    for _, until, user in PAUSED.findall(line):
        made = rows(world, select(audit.c.at).where(audit.c.event == "paused", audit.c.user_id == user))
        ends = float(until)
        if not any(abs(each["at"] + seconds - ends) <= slack for each in made for seconds in LENGTHS):
            world.history.wrong(f"{user} made no such pause: {line}", about)
        is_over = not any(
            each["user_id"] == user and abs(each["until"] - ends) <= slack for each in held(world, rows, _grace(world))
        )
        if is_now and is_over and not _changed(world, rows, "", "resumed", "paused"):
            world.history.wrong(f"the pause of {user} is over, and is told as if it weren't: {line}", about)


def _resumed(world: "World", cluster: str, text: str, rows: Any) -> None:
    """Judge that nothing pauses what is said to have resumed."""
    world.history.marks.add("a pause is over")
    left = [each for each in held(world, rows) if each["cluster_id"] in {cluster, ""} or not cluster]
    braked = rows(world, select(faults.c.cluster_id).where(faults.c.brake.is_not(None)))
    left += [each for each in braked if each["cluster_id"] == cluster or not cluster]
    if left and not _changed(world, rows, cluster, "paused", "braked", "resumed"):
        world.history.wrong(f"{left} pause approvals, and this is told: {text}")


def _half_approved(world: "World", user: str, about: str, line: str, rows: Any) -> None:
    """Judge that who is said to have given the first of two approvals did so."""
    of = select(audit.c.remediation_id).where(audit.c.outcome == "first_of_two", audit.c.user_id == user)
    halves = {each["remediation_id"] for each in rows(world, of)}
    if not halves or (about and about not in halves):
        world.history.wrong(f"{user} gave no first approval of {about or 'anything'}: {line}", about)


# A home.


def home(world: "World", user: str, view: dict[str, Any], said: list[str], rows: Any) -> None:
    """Judge a home as it is drawn: who may decide, what waits, on whose hold, and what the person has decided."""
    if len(view["blocks"]) == 1:
        return  # it is being read
    controls = {each["action_id"] for each in _controls(view["blocks"])}
    if user == "U0DAVE" and controls - READ_ONLY:
        world.history.wrong(f"Dave may decide nothing, and his home has {sorted(controls - READ_ONLY)}")
    _decided(world, user, said)
    counted = next((found for line in said if (found := COUNTS.search(line))), None)
    if counted is None:
        return  # it says why nothing can be shown
    world.history.marks.add("a home is judged")
    is_sure = not any(line.startswith(("Couldn't read", "⚠️ Couldn't read")) for line in said)
    cluster = json.loads(view["private_metadata"])["cluster_id"]
    pausers = [each for each in held(world, rows) if each["cluster_id"] in {cluster, ""} or not cluster]
    is_paused = any("Approvals are paused" in line for line in said)
    if pausers and not is_paused and not _changed(world, rows, "", "paused", "resumed"):
        world.history.wrong(f"{pausers} pause approvals, and {user}'s home doesn't say so")
    if is_sure:
        _waiting(world, user, cluster, int(counted[1]))
    by_key = {RemediationRef(*ids).key: ids for ids in world.together.remediations}
    for block in view["blocks"]:
        accessory = block.get("accessory", {})
        if accessory.get("action_id") == OPEN and (ids := by_key.get(accessory["value"])):
            _row(world, user, ids, block["text"]["text"], rows)


def _controls(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for block in blocks:
        yield from (
            each for each in (block.get("accessory"), *block.get("elements", ())) if each and "action_id" in each
        )


def _settled_since(world: "World", ids: Ids) -> float:
    """Return since when a remediation is as it is, in the world's time, as far as Together's times say so."""
    known = world.found_at[ids], world.watched_by.get(ids[0], 0.0), world.escalated_at.get(ids, 0.0)
    return max(truth.changed_at(world, ids), *known)


def _is_known(world: "World", ids: Ids) -> bool:
    """Return whether some bot had read twice, and long before, that a remediation is as it is now."""
    if world.faults.struck["lists lag"]:
        return False  # it read what was
    now, since = world.loop.time(), _settled_since(world, ids)
    living = {str(running.process) for running in world.bots}  # others may not have written down what they read
    read = [times for (process, cluster), times in world.lists_read.items() if process in living and cluster == ids[0]]
    return any(now - at > _grace(world) for times in read for at in [at for at in times if at > since][1:2])


def _waiting(world: "World", user: str, cluster: str, said: int) -> None:
    """Judge how much is said to wait."""
    here = [ids for ids in world.together.remediations if cluster in {"", ids[0]}]
    sure = {ids for ids in here if _is_known(world, ids) and ids not in world.together.lost | world.told_oddly}
    waits = {ids for ids in here if world.together.state(ids) == "PENDING_APPROVAL"}
    least, most = len(waits & sure), len(here) - len(sure - waits)
    if not least <= said <= most and not world.faults.struck["together unreadable cluster"]:
        world.history.wrong(f"between {least} and {most} wait, and {user}'s home says {said}")


def _row(world: "World", user: str, ids: Ids, said: str, rows: Any) -> None:
    """Judge what a home says of something that waits."""
    state = world.together.state(ids)
    is_doubted = "not confirmed" in said or "last confirmed" in said
    if state != "PENDING_APPROVAL" and _is_known(world, ids) and ids not in world.together.lost and not is_doubted:
        world.history.wrong(f"{ids[2]} is {state} for long, and {user}'s home says: {said}", ids[2])
    halves = select(audit.c.seq).where(audit.c.outcome == "first_of_two", audit.c.remediation_id == ids[2])
    if "1 of 2 approvals" in said and not rows(world, halves):
        world.history.wrong(f"nobody has approved {ids[2]}, and {user}'s home says: {said}", ids[2])
    of = select(alerts.c.body).where(alerts.c.remediation_id == ids[2], alerts.c.cluster_id == ids[0])
    until = max([(json.loads(row["body"])["hold"] or {"until": 0.0})["until"] for row in rows(world, of)], default=0.0)
    verbs = decisions.c.verb.in_(("hold", "release"))
    lately = decisions.c.received_at > world.clock.now() - _grace(world)
    of = select(decisions.c.id).where(
        decisions.c.remediation_id == ids[2], verbs, or_(lately, decisions.c.outcome.is_(None))
    )
    is_sure = abs(until - world.clock.now()) > _grace(world) and not rows(world, of)
    if is_sure and ("on hold" in said) != (until > world.clock.now()) and state == "PENDING_APPROVAL":
        world.history.wrong(f"{ids[2]} is held until {until}, and {user}'s home says: {said}", ids[2])


def _decided(world: "World", user: str, said: list[str]) -> None:
    """Judge that what a home lists as the person's decisions are theirs."""
    nodes: dict[str, set[str]] = {}
    for ids, value in world.together.remediations.items():
        nodes.setdefault(str(value.get("instance_name")), set()).add(ids[2])
        nodes.setdefault(ids[1], set()).add(ids[2])
    for line in said:
        for name, by, done in MINE.findall(line):
            did = {(truth.DONE[done], by, about) for about in nodes.get(name, ())}
            if by != user or not did & world.effects:
                world.history.wrong(f"{user}'s home says what isn't so: {line}")


# In the end.


def in_the_end(world: "World", rows: Any) -> None:
    """Judge that what was asked for has ended, and that whom it concerns was told what came of it."""
    for row in rows(world, select(inbox).where(inbox.c.done_at.is_(None))):
        world.history.wrong(f"a request is open in the end: {row['key']} ({row['body']})")
    told = [(each.to, each.at, DATE.sub(r"<\1>", each.text)) for each in world.history.told]
    _pauses_are_told(world, told, rows)
    _selections_are_told(world, told, rows)
    if not any(fault.startswith("slack") for fault in +world.faults.struck):  # it may not know what it has posted
        _messages_are_true(world, rows)


def _messages_are_true(world: "World", rows: Any) -> None:
    """Judge whose holds, first approvals, and looks cards and digests show, and what they say of selections."""
    of = select(
        alerts.c.remediation_id, alerts.c.cluster_id, alerts.c.body, messages.c.ts, messages.c.body.label("own")
    )
    shown: dict[str, list[Any]] = {}
    for row in rows(world, of.join(messages, alerts.c.message_id == messages.c.id)):
        ids = next(ids for ids in world.together.remediations if ids[2] == row["remediation_id"])
        if world.together.state(ids) == "PENDING_APPROVAL":
            shown.setdefault(row["ts"], []).append((ids, json.loads(row["body"]), json.loads(row["own"])))
    results = {so for _, so in _selections(world, rows)}
    for card in [each for each in world.slack.messages if each.only_for is None and each.ts not in world.slack.too_old]:
        said = lines({"text": card.text, "blocks": card.blocks})
        for user, well, many, done in [
            (e[3], int(e[0]), int(e[1]), e[2]) for each in said for e in SELECTED.findall(each)
        ]:
            if (user, well, many, done) not in results:
                world.history.wrong(f"no selection of {user} came to {well} of {many} {done}: {card.text}")
        if (
            card.ts in shown
            and "Observing" not in card.title
            and not truth.left_alone(world, card, shown[card.ts][0][0], rows)
        ):
            _marks(world, card.text, said, shown[card.ts], rows)


def _marks(world: "World", text: str, said: list[str], of: list[Any], rows: Any) -> None:
    now, about = world.clock.now(), of[0][0][2]
    all_holds = [
        hold for _, body, _ in of for one in [body["hold"]] if one for hold in (one, *(one.get("others") or ()))
    ]
    looking = [each for _, _, own in of for each in own.get("looking") or ()]
    for words, so in (
        (ON_HOLD, [(hold["user_id"], hold["until"]) for hold in all_holds]),
        (LOOKS, [(each["user_id"], each["since"] + LOOKING_SECONDS) for each in looking]),
    ):
        users = {user for line in said for part in words.findall(line) for user in re.findall(r"<@(\w+)>", part)}
        least, most = ({user for user, until in so if until > now + by} for by in (LATE, -LATE))
        world.history.marks |= {"a hold is shown in the end"} if users and words is ON_HOLD else set()
        if not least <= users <= most:
            world.history.wrong(f"between {least} and {most}, and the message of {about} says {users}: {text}", about)
    halves = rows(world, select(first_approvals))
    known = {each["user_id"] for each in halves if each["remediation_id"] in {ids[2] for ids, _, _ in of}}
    for user in {user for line in said for user in HALF.findall(line)} - known:
        world.history.wrong(f"no first approval of {user} counts, and the message of {about} says: {text}", about)


def _pauses_are_told(world: "World", told: list[tuple[str, float, str]], rows: Any) -> None:
    """Judge that who pauses, resumes, or loses a pause is told so."""
    if "process away for days" in world.history.marks:
        return  # what nobody could be told for a day is told no more
    is_told = r"Approvals are|^Your pause of approvals .* is over\.$"  # it may be over before Slack takes the answer
    for event, words in ("paused", is_told), ("resumed", r"Approvals (resumed|are paused)|Not all of it"):
        for row in rows(world, select(audit).where(audit.c.event == event)):
            since = row["at"] - START - world.most_skew - 1
            if row["user_id"] and not any(
                to == row["user_id"] and at >= since and re.search(words, text) for to, at, text in told
            ):
                world.history.wrong(f"{row['user_id']} {event} approvals, and wasn't told that they are")
    for row in rows(world, select(inbox.c.key, inbox.c.received_at).where(inbox.c.result == "true")):
        if found := LEFT.search(row["key"]):
            world.history.marks.add("somebody else's pause is ended")
            if not any(to == found[1] and ENDED.search(text) for to, _, text in told):
                world.history.wrong(f"{found[1]} wasn't told that their pause was ended")


def _selections(world: "World", rows: Any) -> Iterator[tuple[str, tuple[str, int, int, str]]]:
    """Yield the selections that were carried out: their digest, and whose came to how many of how many."""
    for batch in rows(world, select(batches).where(batches.c.status == "confirmed")):
        items = rows(world, select(decisions).where(decisions.c.batch_id == batch["id"]))
        if items:
            done = {"approve": "approved", "cancel": "cancelled"}[items[0]["verb"]]
            well = sum(row["outcome"] == done for row in items)
            yield batch["digest_id"], (items[0]["user_id"], well, len(items), done)


def _selections_are_told(world: "World", told: list[tuple[str, float, str]], rows: Any) -> None:
    """Judge that each selection that was carried out is reported, and with how many came out well."""
    said = [
        (found[1], int(found[2]), int(found[3]), found[4]) for _, _, text in told if (found := RESULTS.search(text))
    ]
    for _, so in _selections(world, rows):
        if so not in said and not world.deleted:
            world.history.wrong(f"a selection came to {so}, and the reports say {said}")
