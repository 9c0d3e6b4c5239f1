"""What must always be true: judged by what leaves the bots and by what is stored."""

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from bot.errors import DOUBTFUL
from bot.store.connection import Record
from bot.store.sqlite import DIALECT
from bot.store.tables import audit, decisions, pauses
from tests.manual_clock import START
from tests.simulation import saying, truth
from tests.simulation.history import Sent, Told
from tests.simulation.loop import Process
from tests.simulation.names import CHANNELS, MOVED
from tests.simulator.slack.workspace import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from tests.simulator.together import API_KEY, Ids

if TYPE_CHECKING:
    from tests.simulation.world import World

LAST_MOMENT, DAY = 6.0, 86_400.0
RIGHTS_KEPT = 400.0  # the directory keeps an answer for five minutes, and a decision takes a while
RIGHTS_KEPT_BLINDLY = 3700.0  # and for an hour where Slack doesn't answer (docs/security.md)
SECRETS = (API_KEY, BOT_TOKEN, APP_TOKEN, SIGNING_SECRET)
DID = {"approved", "rejected", "cancelled"}
MAYBE = {*DID, *DOUBTFUL, "not_recorded", "may_be_done"}
REFUSED_BY_SLACK = {
    "invalid_blocks", "invalid_blocks_format", "invalid_arguments", "msg_too_long", "no_text", "invalid_attachments",
    "view_too_large", "unknown_method", "metadata_must_be_sent_from_app", "invalid_limit",
}  # fmt: skip
NO = re.compile(r"Not (approved|cancelled|rejected)|wasn't sent|[Nn]othing was sent|Too late")
DONE = {"approve": "Approved", "cancel": "Cancelled", "reject": "Rejected"}
OPENS = {"views.open", "views.update", "views.push"}
SAYS = {"chat.postMessage", "chat.update", "chat.postEphemeral", "response_url"}
MENTION, STUCK = "<!subteam^S0ONCALL>", " may be stuck. "
UNREPAIRED, NODE = "no repair is open", re.compile(r"bad-\d+-")
LATE_TRUTH = 300.0  # seconds that what a message said may take to reach the channel
POWER_CYCLE = "REMEDIATION_MODE_HOST_POWER_CYCLE"
BRAKE = ("braked", "released", "resumed")


def rows(world: "World", statement: Any) -> Sequence[Record]:
    """Read the database from outside of all bots."""
    compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    cursor = world.raw.execute(str(compiled), compiled.params)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _row(world: "World", decision: str) -> Record | None:
    found = rows(world, select(decisions).where(decisions.c.id.like(f"{decision}%"))) if decision else []
    return found[0] if found else None


# As it leaves.


def leaves(world: "World", process: Process, decision: str, about: str) -> None:
    """Judge a decision that is about to leave for Together."""
    row = _row(world, decision)
    if row is not None and row["outcome"] is not None and row["outcome"] not in MAYBE:
        world.history.wrong(f"decision {decision} leaves after its outcome “{row['outcome']}”", about)
    if row is None:
        return
    running = world.bot_of(process)
    if running and row["owner"] != running.owner:
        world.history.wrong(f"decision {decision} leaves {process}, which has lost it", about)
    if row["cluster_id"] == world.settings[str(process)]["BOT_OBSERVE"]:
        world.history.wrong(f"decision {decision} leaves {process}, which only observes", about)
    same = [decisions.c[name] == row[name] for name in ("cluster_id", "instance_id", "remediation_id")]
    others = rows(
        world, select(decisions.c.id).where(*same, decisions.c.status == "active", decisions.c.id != row["id"])
    )
    if others:
        world.history.wrong(f"decision {decision} leaves while {others[0]['id'][:8]} has the remediation", about)


def sent(world: "World", it: Sent) -> None:
    """Judge a decision that reached Together."""
    history, row, about = world.history, _row(world, it.decision), it.ids[2]
    asked = [each for each in history.asked if (each.verb, each.ids) == (it.verb, it.ids)]
    if not asked:
        history.wrong(f"nobody asked to {it.verb} {about}", about)
    if row is None:
        history.wrong(f"a POST without a decision on record: {it.decision}", about)
        return
    if not it.took_effect:
        return
    if row["outcome"] is not None and row["outcome"] not in MAYBE:
        history.wrong(f"decision {it.decision} takes effect after its outcome “{row['outcome']}”", about)
    mine = [sent for sent in history.sent if sent.took_effect and sent.decision == it.decision]
    if len(mine) > 1:
        history.wrong(f"decision {it.decision} took effect twice", about)
    world.effects.add((it.verb, row["user_id"], about))
    truth.after_a_no(world, it)
    by = [each for each in asked if each.user == row["user_id"]]
    if not by:
        history.wrong(f"{row['user_id']} didn't ask to {it.verb} {about}", about)
    lost = world.lost_right_at.get(row["user_id"])
    is_asked_anew = lost is not None and world.started_at[it.bot] > lost  # such a bot has no answer from before
    is_new = lost is not None and row["sent_at"] is not None and row["sent_at"] > START + lost + world.most_skew
    is_blind = any(count for name, count in world.faults.struck.items() if name.startswith("slack"))
    kept = (RIGHTS_KEPT_BLINDLY if is_blind else RIGHTS_KEPT) + world.most_skew
    if lost is not None and (START + lost + kept < row["received_at"] or (is_asked_anew and is_new)):
        history.wrong(f"{row['user_id']} had lost the right to decide", about)
    if row["user_id"] == "U0DAVE":
        history.wrong("Dave may decide nothing", about)
    was_waiting = by and all(each.state == "PENDING_APPROVAL" for each in by)
    # A change in the last moment is one that no look can show.
    is_known = it.left - world.reviewed_at.get(it.ids, it.left) > LAST_MOMENT
    if was_waiting and it.before != "PENDING_APPROVAL" and is_known:
        history.wrong(f"{it.verb} undid what was decided since {row['user_id']} looked", about)
    shown = {each.mode for each in by}
    is_known = it.left - world.escalated_at.get(it.ids, it.left) > LAST_MOMENT
    # What Together leaves out hasn't changed; no approval leaves without it.
    if it.verb != "approve" and by and it.mode and "" not in shown and it.mode not in shown and is_known:
        history.wrong(f"{it.verb} ended {it.mode}, {row['user_id']} was shown {sorted(shown)}", about)
    if it.verb == "approve":
        _approval(world, it, row, shown)
    began = began_at(world, it.ids)
    is_known = it.left - (began - START) > LAST_MOMENT
    if by and is_known and all(each.episode and abs(float(each.episode) - began) > 2 for each in by):
        history.wrong(f"{it.verb} took effect on another incident than {row['user_id']} was shown", about)


def began_at(world: "World", ids: Ids) -> float:
    """Return when the present incident of a remediation began, as the API says it."""
    return datetime.fromisoformat(world.together.remediations[ids]["create_time"]).timestamp()


def _approval(world: "World", it: Sent, row: Record, shown: set[str]) -> None:
    history, about, cluster = world.history, it.ids[2], it.ids[0]
    # An approval can't name a power cycle, so it takes what is suggested when it arrives.
    is_late = POWER_CYCLE in shown and it.left - world.escalated_at.get(it.ids, 0.0) <= LAST_MOMENT
    if "" not in shown and it.mode not in shown and not is_late:
        history.wrong(f"{it.mode} was approved by somebody who was shown {sorted(shown)}", about)
    held = [each for one in rows(world, select(pauses)) for each in (one, *json.loads(one["others"]))]
    skew, left_at = world.most_skew, row["sent_at"] or 0.0
    present = world.clock.now() + skew
    for pause in [each for each in held if each["cluster_id"] in {cluster, ""} and each["until"] > present]:
        begun = select(audit.c.at).where(audit.c.event == "paused", audit.c.user_id == pause["user_id"])
        began = [row["at"] for row in rows(world, begun.where(audit.c.cluster_id == pause["cluster_id"]))]
        if max(began) < left_at - skew:
            history.wrong(f"approved while approvals were paused by {pause['user_id']}", about)
    brakes = select(audit.c.event, audit.c.at).where(audit.c.event.in_(BRAKE), audit.c.cluster_id == cluster)
    before = [each for each in rows(world, brakes.order_by(audit.c.seq)) if each["at"] < left_at + skew]
    if before and before[-1]["event"] == "braked" and before[-1]["at"] < left_at - skew:
        history.wrong("approved while the storm brake had paused approvals", about)
    settings = world.settings[it.bot]
    two = [f"REMEDIATION_MODE_{setting}" for setting in settings["BOT_TWO_PEOPLE_MODES"].split(",") if setting]
    if json.loads(row["request"] or "{}").get("overrides"):
        if row["user_id"] not in settings["BOT_BREAK_GLASS"]:
            history.wrong(f"{row['user_id']} approved alone, and may not", about)
        history.marks.add("approved alone")
        return
    if it.mode in two:
        of = select(audit).where(audit.c.outcome == "first_of_two", audit.c.remediation_id == about)
        firsts = rows(world, of.where(audit.c.at > left_at - DAY - skew))
        if not any(each["user_id"] != row["user_id"] and each["shown_mode"] == it.mode for each in firsts):
            history.wrong("one person alone approved what takes two", about)
    ours = {sent.ids for sent in history.sent if sent.took_effect and sent.verb == "approve" and sent.ids[0] == cluster}
    together = world.together
    in_repair = [ids for ids in ours - together.lost if together.state(ids) in truth.IN_REPAIR]
    senders = {
        sent.bot for sent in history.sent if sent.took_effect and sent.verb == "approve" and sent.ids in in_repair
    }
    limit = max((float(world.settings[bot]["BOT_MAX_IN_REPAIR"] or "inf") for bot in senders), default=0.0)
    if len(in_repair) > limit:
        history.wrong(f"{len(in_repair)} in repair, {limit:.0f} allowed", about)


def before_saying(world: "World", decision: str, method: str) -> Record | None:
    """Return what is on record of a decision before something is said about it."""
    return _row(world, decision) if method in SAYS else None


def said(  # noqa: PLR0917 - what a call is
    world: "World",
    process: Process,
    decision: str,
    method: str,
    body: dict[str, Any],
    answer: tuple[int, dict[str, Any], dict[str, str]],
    row: Record | None,
) -> None:
    """Judge what a bot said in Slack."""
    history, now = world.history, world.loop.time()
    status, result, _ = answer
    text = str(body.get("text") or "")
    everything = json.dumps(body)
    about = _about(world, method, body, row)
    if error := result.get("error"):
        if error == "message_not_found":
            history.marks.add("card deleted during its edit")
        if error in REFUSED_BY_SLACK:
            history.wrong(f"Slack refuses {method}: {error} {result.get('detail', '')}", about)
        history.note(now, f"{process} {method}: Slack says {error} (HTTP {status})", about)
        return
    viewer = world.slack.viewers[result["view"]["id"]][0] if method in OPENS else ""
    ts = str(body.get("ts") or result.get("ts") or "")
    channel = str(body.get("channel", ""))
    to = viewer or body.get("user_id") or body.get("user") or result.get("user") or channel * (channel not in CHANNELS)
    history.told.append(Told(now, method, ts, str(body.get("thread_ts") or ts), to, about, text, everything))
    saying.judge(world, method, body, about, rows)
    if method == "views.publish":
        return
    if method not in SAYS:
        history.note(now, f"{process} {method} {viewer}".strip(), about)
        return
    where = body.get("ts") or result.get("ts") or body.get("user") or result.get("user") or ""
    thread = f" in thread {body['thread_ts']}" if body.get("thread_ts") else ""
    history.note(now, f"{process} {method} {body.get('channel', '')} {where}{thread} [{decision}]: {text}", about)
    truth.confirmed(world, about, text)
    for secret in SECRETS:
        if secret in everything:
            history.wrong(f"a secret is told: {text}", about)
    if decision and row is not None:
        if row["outcome"] is None and _is_final(world, row, method, body):
            history.wrong(f"told before it was recorded: {text}", about)
        if row["outcome"] is not None:
            world.slack.answers[decision] += 1
            if method in {"chat.postMessage", "chat.postEphemeral"}:
                _answered(world, decision, text, about)
    elif decision:
        world.slack.answers[decision] += 1
    truth.names_deciders(world, about, text)
    truth.denies(world, decision, row, text, about)
    if method == "chat.postMessage" and MENTION in everything:
        truth.calls(world, str(process), about, text)
    world.shown |= {(body.get("ts"), line) for line in text.splitlines() if " by <@" in line}
    if method == "chat.postMessage" and not body.get("thread_ts"):
        _announced(world, about, body, str(result.get("ts")))
    if method == "chat.postMessage":
        _of_repairs(world, about, text)
    if method in {"chat.postMessage", "chat.update"} and UNREPAIRED in text:
        _unrepaired(world, process, text, calls=method == "chat.postMessage" and MENTION in everything)
    if method == "chat.postMessage" and MENTION in everything and world.environ["BOT_REMIND_MINUTES"] == "0":
        _called(world, about)


def _is_final(world: "World", row: Record, method: str, body: dict[str, Any]) -> bool:
    """Return whether a text says how a decision ended; a card that is put back says how those before it did."""
    text, is_edit = str(body.get("text") or ""), method == "chat.update" or bool(body.get("replace_original"))
    done = f"{DONE.get(row['verb'], 'Nothing')} by <@{row['user_id']}>"
    first_line = text.partition("\n")[0]  # a card that is put back quotes below what was said to others
    ts = body.get("ts")  # a `response_url` doesn't say which message it draws again
    shown = {line for at, line in world.shown if ts is None or at == ts}
    says_it = any(done in line and line not in shown for line in text.splitlines())
    return "⏳" not in text and (says_it or (not is_edit and bool(NO.search(first_line))))


def _answered(world: "World", decision: str, text: str, about: str) -> None:
    """Judge that an answer is told once, where nothing excuses telling it again."""
    world.slack.told[decision, text] += 1
    excuses = ("slack", "process", "transaction", "database", "line", "clock")
    is_excused = any(count for name, count in world.faults.struck.items() if name.startswith(excuses))
    if world.slack.told[decision, text] > 1 and not is_excused:
        world.history.wrong(f"decision {decision} is answered twice: {text}", about)


def _about(world: "World", method: str, body: dict[str, Any], row: Record | None) -> str:
    payload = (body.get("metadata") or {}).get("event_payload") or {}
    if found := payload.get("remediation_id"):
        return str(found)
    ts = body.get("thread_ts") or (body.get("ts") if method == "chat.update" else None)
    for message in world.slack.messages if ts else []:
        if message.ts == ts and (found := ((message.metadata or {}).get("event_payload") or {}).get("remediation_id")):
            return str(found)
    return str(row["remediation_id"]) if row is not None else ""


def _announced(world: "World", about: str, body: dict[str, Any], ts: str) -> None:
    payload = (body.get("metadata") or {}).get("event_payload") or {}
    if "remediation_id" not in payload or forgets_cards(world):
        return
    old = {ts, *world.slack.too_old}
    if [message for message in world.slack.cards(about) if message.ts not in old and MOVED not in message.text]:
        world.history.wrong(f"{about} is announced twice", about)


def forgets_cards(world: "World") -> bool:
    """Return whether a bot may not find what it has posted, or has deleted what it knew of a card that is over."""
    return bool(world.faults.struck.keys() & {"history unreadable", "slack channel closed", "process away for days"})


def _stuck(world: "World", about: str) -> None:
    """Judge that a repair is said to be stuck once each time that it is approved, and once more when it runs."""
    world.history.marks.add("repair said to be stuck")
    if not about:
        return
    world.stuck[about] += 1
    ids = next(ids for ids in world.together.remediations if ids[2] == about)
    allowed = 1 + world.episodes[ids] + world.starts[ids]
    if world.stuck[about] > allowed and not forgets_cards(world):
        world.history.wrong(f"{about} is said to be stuck {world.stuck[about]} times", about)


def _of_repairs(world: "World", about: str, text: str) -> None:
    """Judge what is told of a repair that has begun, or is over."""
    if STUCK in text:
        _stuck(world, about)
    if found := truth.AFTERMATH.search(text):
        _aftermath(world, about, found[0])
    if truth.LASTED in text:
        truth.has_lasted(world, about, text)


def _aftermath(world: "World", about: str, words: str) -> None:
    """Judge that what a repair has led to is so, and told once each time that it succeeds."""
    world.history.marks.add("fault came back" if words == "came back on" else "node not back")
    if not about:
        return
    world.aftermaths[f"{about} {words}"] += 1
    ids = next(ids for ids in world.together.remediations if ids[2] == about)
    is_so = about in world.returned if words == "came back on" else ids[1] in world.together.node_status
    if not is_so:
        world.history.wrong(f"{about}: “{words}” is told, which isn't so", about)
    if world.aftermaths[f"{about} {words}"] > world.successes[ids] and not forgets_cards(world):
        world.history.wrong(f"{about}: “{words}” is told {world.aftermaths[f'{about} {words}']} times", about)


def _unrepaired(world: "World", process: object, text: str, *, calls: bool) -> None:
    """Judge that faults without a repair are those that fire, and that each calls people once."""
    world.history.marks.add("fault without a repair")
    left = sum("isn't monitored any more" in each.text for each in world.history.told)  # what calls when it is back
    is_sure = not (forgets_cards(world) or "messages move" in world.history.marks)  # which call where they go
    for node in set(NODE.findall(text)):
        cluster, cleared_at = world.cleared_at.get(node, ("", math.inf))
        # One answer that lacks it is not enough, and while Together can't be read, nobody knows.
        known_at = [at for at in world.alerts_read[str(process), cluster] if at > cleared_at][1:2]
        if any(world.loop.time() - at > LATE_TRUTH for at in known_at):
            world.history.wrong(f"{node} is said to be broken long after its alert cleared")
        world.called_for[node] += calls
        if is_sure and world.called_for[node] > 1 + len(world.deleted) + left:
            world.history.wrong(f"on-call is mentioned {world.called_for[node]} times for {node}")


def _called(world: "World", about: str) -> None:
    if not about or "messages move" in world.history.marks:
        return
    world.mentions[about] += 1
    ids = next(ids for ids in world.together.remediations if ids[2] == about)
    calls = or_(audit.c.outcome == "first_of_two", audit.c.event == "override")  # who approves alone is told of too
    approvals = rows(world, select(audit).where(calls, audit.c.remediation_id == about))
    more = (
        world.escalations[ids] + world.episodes[ids] + world.failures[ids] + world.deletions[about] + world.losses[ids]
    )
    aftermaths = sum(count for key, count in world.aftermaths.items() if key.startswith(f"{about} "))
    allowed = 1 + more + world.stuck[about] + aftermaths + len(approvals)
    allowed += world.most_skew > 0  # what came before a call may seem to have come after it
    if world.mentions[about] > allowed and not forgets_cards(world):
        world.history.wrong(f"on-call is mentioned {world.mentions[about]} times for {about}", about)
