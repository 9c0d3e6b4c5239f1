"""Whether everybody who asks is answered, and what they are told who ask in the end: lists, the shift, and a node."""

import asyncio
import json
import re
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sqlalchemy import select

from bot.store.tables import alerts, audit, decisions
from tests.manual_clock import START
from tests.simulation import truth
from tests.simulation.checks import rows
from tests.simulation.history import Taken
from tests.simulation.names import CHANNEL
from tests.simulation.rarities import TOLD_ALONE
from tests.simulator.slack import Ack
from tests.simulator.together import TERMINAL, Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

NODES = 3  # whose history is asked for
SECONDS = 10.0  # in which an answer comes
PAGE_SECONDS = 0.5  # for each page of Together's that it needs: some worlds have pages of two
LEFT_BEHIND = 60.0  # a process that dies so soon may not have answered
UNTAKEN = 300.0  # the same, where Slack took nothing: tries to say what no row keeps come further and further apart
ASKS = {"list", "tonight", "history", "status", ""}  # of the command: only who typed it is told
HOME_TRIES = 3  # of a home that was already being drawn
SILENT = {"block_suggestion", "view_closed"}
RESULTS = {
    "SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELLED": "cancelled", "AUTO_RESOLVED": "resolved on its own",
    "PENDING_APPROVAL": "waiting for approval", "PENDING": "queued", "QUARANTINING": "cordoning the host",
    "QUARANTINED": "host cordoned", "RUNNING": "running",
}  # fmt: skip
DID_NOT_HELP = re.compile(r"didn't help|came back after [^·\n]+")
WAITS = re.compile(r"^(\d+) remediations? (?:is|are) waiting for approval or start")
RUNS, ASKED_FOR = (
    re.compile(r"^In repair now: (\d+)\.", re.MULTILINE),
    re.compile(r"^Waiting for approval: (\d+)", re.MULTILINE),
)
ENDED, DECIDED = re.compile(r" Ended: (.+)\.$", re.MULTILINE), re.compile(r"^Decided by: (.+)\.$", re.MULTILINE)
COUNTED = re.compile(r"(\d+) ([^,]+)")


def note(world: "World", body: bytes, at: float, ack: Ack) -> None:
    """Note what Slack has sent to a bot, and whether its person waits for an answer now."""
    text = body.decode()
    form = {} if text.startswith("{") else dict(parse_qsl(text))
    payload = json.loads(text if text.startswith("{") else form.get("payload", "{}"))
    event, user, view = payload.get("event", {}), payload.get("user", {}), payload.get("view", {})
    kind, words = str(event.get("type") or payload.get("type") or "command"), form.get("text", event.get("text", ""))
    if kind in SILENT:
        return
    place = payload.get("container", {}) | event
    done = [(each["action_id"], each.get("selected_option", {}).get("value")) for each in payload.get("actions", ())]
    alone = (kind == "command" and words.partition(" ")[0] in ASKS) or any(choice in TOLD_ALONE for _, choice in done)
    where = set() if alone else {str(place[each]) for each in ("ts", "thread_ts", "message_ts") if each in place}
    who = form.get("user_id") or event.get("user") or user["id"]
    what = f"{kind} {words}{view.get('callback_id', '')} {done or ''}"
    taken = world.history.taken.setdefault(body, Taken(at, who, what, where, alone=alone))
    taken.acked |= ack.status == HTTPStatus.OK and not ack.body
    taken.is_told |= ack.status == HTTPStatus.OK and bool(ack.body)


def everybody_has_one(world: "World") -> None:
    """Judge that everybody who was told "received" was told more since, or sees it where they asked."""
    found = [*rows(world, select(decisions.c.user_id, decisions.c.received_at))]
    found += rows(world, select(audit.c.user_id, audit.c.at.label("received_at")))  # also of what was deleted since
    skew = world.most_skew
    for taken in [value for value in world.history.taken.values() if value.acked and not value.is_told]:
        if any(
            each["user_id"] == taken.user and -skew <= each["received_at"] - START - taken.at < SECONDS + skew
            for each in found
        ):
            continue  # whether a decision is answered is judged beside it
        left_behind = UNTAKEN if world.faults.struck["slack away"] else LEFT_BEHIND
        if any(0 < at - taken.at < left_behind for at in world.killed_at):
            continue  # another process picks up decisions, holds, pauses, and stops alone
        tries = sum(user == taken.user and at >= taken.at for at, user in world.history.drawn)
        is_home = "home:" in taken.what or taken.what.startswith("app_home_opened")
        if is_home and (tries >= HOME_TRIES or world.faults.struck["slack away"]):
            continue  # Slack didn't take it for most of a minute
        later = [each for each in world.history.told if each.at >= taken.at and "The result follows" not in each.text]
        if not any(each.to == taken.user or each.names(taken) or {each.ts, each.root} & taken.where for each in later):
            world.history.wrong(f"{taken.user} was told nothing after {taken.at:.0f} s: {taken.what}")


async def ask(world: "World") -> None:
    """Ask for the list, the shift, and the history of some nodes, and judge the answers."""
    calls = dict.fromkeys(value.get("instance_name", "") for value in world.together.remediations.values())
    nodes = world.streams["whose history"].sample(sorted(filter(None, calls)), min(NODES, len(calls)))
    for words in ("list", "tonight", *(f"history {node}" for node in nodes)):
        before = len(world.slack.messages)
        await world.slack.command(words, user=truth.AT_HOME, channel=CHANNEL)
        await asyncio.sleep(SECONDS + len(world.together.remediations) / world.together.max_page * PAGE_SECONDS)
        told = [message.text for message in world.slack.messages[before:] if message.only_for == truth.AT_HOME]
        if len(told) != 1:
            world.history.wrong(f"“{words}” is answered {len(told)} times: {told}")
        else:
            judge(world, words, told[0])


def judge(world: "World", words: str, told: str) -> None:
    """Judge an answer by what there is now."""
    if any(value["BOT_AUTOMATIC_REPAIRS"] != "all" for value in world.settings.values()):
        return  # some are told nowhere
    states = Counter(value["state"] for value in world.together.remediations.values())
    if words == "list":
        found = WAITS.search(told)
        _same(world, words, int(found[1]) if found else 0, states["PENDING_APPROVAL"] + states["PENDING"], told)
    elif words == "tonight":
        found = RUNS.search(told)
        _same(world, words, int(found[1]) if found else 0, sum(states[each] for each in truth.IN_REPAIR), told)
        found = ASKED_FOR.search(told)
        _same(world, words, int(found[1]) if found else 0, states["PENDING_APPROVAL"], told)
        _ended(world, told)
        _decided(world, told)
    else:
        _node(world, words, told)


def _same(world: "World", words: str, said: object, so: object, told: str) -> None:
    if said != so:
        world.history.wrong(f"“{words}” says {said}, it is {so}: {told}")


def _known(world: "World") -> dict[Ids, dict[str, Any]]:
    """Return what the bot knows of, as it is at Together; nothing where that is long ago, or one had two incidents."""
    if +world.episodes or +world.losses or "process away for days" in world.history.marks:
        return {}
    known = {alert["remediation_id"] for alert in rows(world, select(alerts.c.remediation_id))}
    return {ids: item for ids, item in world.together.remediations.items() if ids[2] in known}


def _result(told: str) -> str:
    """Return what somebody is told of a repair, without what is told of its fault or its review."""
    result = told.removeprefix("approved, ").replace("their own", "its own")
    return "succeeded" if DID_NOT_HELP.fullmatch(told) else result


def _ended(world: "World", told: str) -> None:
    """Judge what is said to have come of repairs."""
    if not (known := _known(world)):
        return
    said = Counter[str]()
    for count, result in COUNTED.findall(found[1] if (found := ENDED.search(told)) else ""):
        said[_result(result)] += int(count)
    so = Counter(RESULTS[value["state"]] for value in known.values() if value["state"] in TERMINAL)
    _same(world, "tonight", dict(sorted(said.items())), dict(sorted(so.items())), told)


def _decided(world: "World", told: str) -> None:
    """Judge who is said to have decided how often: at least what nobody else has decided, at most what they did."""
    found = DECIDED.search(told)
    said, maybe = Counter[str](), Counter[str]()
    halves = rows(world, select(audit).where(audit.c.outcome == "first_of_two"))
    for part in found[1].split(", ") if found else ():
        people, _, count = part.rpartition(" ")
        for user in re.findall(r"<@(\w+)>", people):
            (maybe if people.startswith("apparently") else said)[user] += int(count)
    known = {ids[2] for ids in _known(world)}
    deciders: dict[str, set[str]] = {about: set() for about in known}
    for _, user, about in world.effects:
        deciders.setdefault(about, set()).add(user)
    for user in {*said, *maybe, *(each for some in deciders.values() for each in some)}:
        alone = sum(deciders[about] == {user} for about in known)
        most = sum(user in some for some in deciders.values()) + sum(each["user_id"] == user for each in halves)
        if not (alone <= said[user] + maybe[user] and said[user] <= most + sum(world.episodes.values())):
            so = f"between {alone} and {most}"
            world.history.wrong(f"“tonight” says that {user} decided on {said[user]}, it is {so}: {told}")


def _node(world: "World", words: str, told: str) -> None:
    """Judge what is said of each repair of a node."""
    name = words.partition(" ")[2]
    if not (known := _known(world)):
        return
    so = Counter(RESULTS[value["state"]] for value in known.values() if value.get("instance_name") == name)
    said = Counter[str]()
    for line in told.splitlines()[1:]:
        parts = line.split(" · ")
        said.update(_result(part) for part in parts if _result(part) in RESULTS.values())
    _same(world, words, dict(sorted(said.items())), dict(sorted(so.items())), told)
