"""Events for other tools: written with what they are about, told later, in order for each remediation."""

import uuid
from dataclasses import dataclass, replace

from sqlalchemy import Text, bindparam, cast, delete, exists, func, insert, literal, select, union_all, update

from bot.models import (
    ENDS,
    FINAL,
    RULES,
    Alert,
    DecidedBy,
    Event,
    EventKind,
    RemediationRef,
    State,
    Target,
    Verb,
    new_id,
)
from bot.readings import is_worse
from bot.store.audit import storable
from bot.store.connection import NOW_ONCE, Connection, dump, is_among, json_list, now, read_clock, read_json
from bot.store.tables import ids_of, outbox

LONGEST_PAUSE = 3600.0  # before what wasn't taken is tried again
_KEPT_SECONDS = 2 * 86_400.0
_LONGEST = 4000  # characters of a text: PagerDuty takes 512 KB in all (prometheus/alertmanager issue 2178)
_IDS = uuid.UUID("6f1c6f0e-6f5b-4f1e-9a43-0b6c2f6f7b51")  # any, of this bot's events
_earlier = outbox.alias("earlier")
# The database fills in when: to ask it first would be a round trip for each event of a storm.
_BODY = func.replace(bindparam("b_body"), '"at": 0.0', literal('"at": ') + cast(now(), Text()))
_ADD = insert(outbox).values(body=_BODY, created_at=now(), next_at=now(), attempts=0)
# The first of each remediation: what comes after it waits.
_FIRST = select(outbox).where(
    outbox.c.target == bindparam("b_target"),
    ~exists().where(
        _earlier.c.target == outbox.c.target, _earlier.c.subject == outbox.c.subject, _earlier.c.id < outbox.c.id
    ),
)
# What is due, and what is impossibly late since a clock was set back: each is read in the order of an index, no further
# than it takes.
_DUE = union_all(*(
    select(_FIRST.where(when).order_by(outbox.c.next_at, outbox.c.id).limit(bindparam("b_limit")).subquery())
    for when in (outbox.c.next_at <= bindparam("b_now"), outbox.c.next_at > bindparam("b_never"))
)).order_by("next_at", "id").limit(bindparam("b_limit"))  # fmt: skip
_ONE = outbox.c.id == bindparam("b_id")
_DROP = delete(outbox).where(_ONE)
_UNTOLD = delete(outbox).where(~is_among("b_targets", outbox.c.target))
_DROP_UNTOLD = _UNTOLD.where(outbox.c.subject == bindparam("b_subject"))
_BEHIND = select(outbox.c.body).where(
    outbox.c.target == bindparam("b_target"),
    outbox.c.subject == bindparam("b_subject"),
    outbox.c.id > bindparam("b_id"),
)
_DROP_OLD = _UNTOLD.where(outbox.c.created_at < NOW_ONCE - _KEPT_SECONDS)
_POSTPONE = update(outbox).where(_ONE).values(attempts=outbox.c.attempts + 1, next_at=now() + bindparam("b_seconds"))
_HURRY = update(outbox).where(outbox.c.next_at > NOW_ONCE).values(next_at=now())
_ANSWERS = {EventKind.DECIDED, EventKind.RUNNING, EventKind.FAILED}
_KINDS: dict[str, EventKind] = {
    **dict.fromkeys(FINAL, EventKind.RESOLVED),
    State.RUNNING: EventKind.RUNNING,
    State.SUCCEEDED: EventKind.SUCCEEDED,
    State.FAILED: EventKind.FAILED,
}


Value = str | int | float | bool | None
Data = dict[str, Value]


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An event for a target.

    Attributes:
        event: None where this version can't read it, such as one that a newer version wrote.
        age: seconds since it happened.
        attempts: how often it wasn't taken.
    """

    id: int
    target: Target
    subject: str
    event: Event | None
    age: float
    attempts: int


def due(connection: Connection, target: Target, limit: int) -> list[OutboxEntry]:
    """Return what a target must be told now, at most one event of each remediation."""
    present = read_clock(connection)
    never = present + 2 * LONGEST_PAUSE
    rows = connection.execute(_DUE, b_target=target, b_limit=limit, b_now=present, b_never=never)
    return [
        OutboxEntry(row.id, target, row.subject, read_json(Event, row.body), present - row.created_at, row.attempts)
        for row in rows
    ]


def behind(connection: Connection, entry: OutboxEntry) -> list[Event]:
    """Return what the same target is told of the same subject later."""
    rows = connection.execute(_BEHIND, b_target=entry.target, b_subject=entry.subject, b_id=entry.id)
    return [event for row in rows if (event := read_json(Event, row.body))]


def drop_old(connection: Connection) -> None:
    """Drop what is older than two days and for a tool that is no longer told."""
    connection.execute(_DROP_OLD, b_targets=json_list(connection.targets))


def drop(connection: Connection, entry: OutboxEntry) -> None:
    """Drop what was told, or can't be."""
    connection.execute(_DROP, b_id=entry.id)


def postpone(connection: Connection, entry: OutboxEntry, seconds: float) -> None:
    """Tell something later."""
    connection.execute(_POSTPONE, b_id=entry.id, b_seconds=seconds)


def hurry(connection: Connection) -> None:
    """Make all that waits due now: what kept it from being taken may have been fixed."""
    connection.execute(_HURRY)


def emit(connection: Connection, kind: EventKind, subject: str, data: Data, *, key: str = "") -> None:
    """Write down that something happened, inside the transaction in which it does; nothing where nobody is told.

    Events of one subject with the same `key` have the same ID.
    """
    if kind in ENDS or (kind in _ANSWERS and data.get("is_sure") is not False):
        # A tool that is told again one day wouldn't learn of it.
        connection.execute(_DROP_UNTOLD, b_subject=subject, b_targets=json_list(connection.targets))
    if not connection.targets:
        return
    event_id = uuid.uuid5(_IDS, f"{subject} {key}").hex if key else new_id()
    kept = {name: storable(value[:_LONGEST] if isinstance(value, str) else value) for name, value in data.items()}
    body = dump(Event(event_id, kind, subject, 0.0, kept))
    connection.execute(_ADD, [{"target": target, "subject": subject, "b_body": body} for target in connection.targets])


def happened(connection: Connection, kind: EventKind, alert: Alert, *, key: str = "", **more: Value) -> None:
    """Write down that something happened to an alert's remediation; `more` is told beside what is known of it."""
    one = alert.remediation
    data: Data = {
        "cluster_id": one.cluster_id,
        "cluster_name": alert.share.cluster if alert.share else None,
        "instance_id": one.instance_id,
        "remediation_id": one.id,
        "node": one.node,
        "mode": one.mode,
        "state": one.state,
        "xid": one.xid or None,
        "is_warning": one.is_warning,
        "has_worsened": True if alert.worsened_at else None,
        "error": one.error_message,
        "decided_by": alert.decided.user_id if alert.decided else None,
        "is_sure": None if alert.decided is None or alert.decided.is_sure else False,
        **more,
    }
    emit(connection, kind, str(alert.ref), data, key=key)


def opened(connection: Connection, alert: Alert) -> None:
    """Write down that a remediation waits for approval, or what is under way when it is first seen."""
    kind = EventKind.OPENED if alert.is_waiting else _KINDS.get(alert.remediation.state)
    if kind:
        happened(connection, kind, alert)


def told(connection: Connection, kind: EventKind, alert: Alert) -> None:
    """Write down what a thread is told of a repair; once, even if Slack is tried again."""
    if kind is EventKind.CAME_BACK:  # it may be told of an earlier repair under the same ID
        repair = next((alert for alert in (alert, *reversed(alert.earlier)) if alert.came_back), alert)
        alert = replace(repair, share=alert.share)
    happened(connection, kind, alert, key=f"{kind} {alert.remediation.under_way_since}")


def decided(connection: Connection, ref: RemediationRef, who: DecidedBy, state: str | None, *, key: str) -> None:
    """Write down that somebody has decided; `who` names nobody where that was in Together."""
    data: Data = {
        **ids_of(ref),
        "decision": RULES[who.verb].done,
        "by": who.user_id or None,
        "reason": who.reason or None,
        "mode": who.mode or None,
        "state": state,
        "is_sure": None if who.is_sure else False,
    }
    emit(connection, EventKind.DECIDED, str(ref), data, key=key)


def changed(connection: Connection, before: Alert, after: Alert) -> None:
    """Write down what has become of a remediation."""
    known = {(hold.user_id, hold.since) for hold in before.holds}
    for hold in after.holds:
        if (hold.user_id, hold.since) not in known:
            happened(connection, EventKind.HELD, after, by=hold.user_id, until=after.holds[0].until)
    is_next = after.waiting_since != before.waiting_since
    is_approved = before.decided is not None and before.decided.is_approval  # which may not have been read
    vanished_midway = before.is_unlisted and (is_approved or before.remediation.is_under_way)  # which ends no incident
    has_failed = before.remediation.state == State.FAILED  # which ends no incident either
    if is_next and (vanished_midway or has_failed or not before.is_closed):  # its end wasn't seen
        happened(connection, EventKind.RESOLVED, before, state="WITHDRAWN")
    present = after.remediation
    was_elsewhere = after.decided is None and before.is_waiting and present.is_under_way
    who = DecidedBy(Verb.APPROVE, "", present.changed_at, mode=present.mode) if was_elsewhere else after.decided
    is_known_now = who and who.was_in_doubt and (before.decided is None or before.decided.at != who.at)
    if who and (was_elsewhere or is_known_now):
        decided(connection, after.ref, who, present.state, key=f"in doubt {who.user_id} {who.at}")
    if is_next and after.is_waiting:
        happened(connection, EventKind.OPENED, after, is_held=True if after.hold else None)
    elif after.remediation is not before.remediation and after.is_waiting and is_worse(before, after.remediation):
        happened(connection, EventKind.WORSENED, after)
    was, is_now = (
        (alert.remediation.state, alert.waiting_since, alert.is_unlisted and alert.remediation.state not in FINAL)
        for alert in (before, after)
    )
    if after.is_unlisted and not before.is_unlisted:
        if before.remediation.state not in FINAL:
            is_midway = before.as_told.is_under_way or None
            happened(connection, EventKind.RESOLVED, after, state="WITHDRAWN", is_midway=is_midway)
    elif was != is_now and (kind := _KINDS.get(after.remediation.state)):
        is_again = before.is_unlisted and was[:2] == is_now[:2]  # what it did before it vanished
        happened(connection, kind, after, is_midway=is_again or None)
