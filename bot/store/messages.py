"""Messages that the bot keeps current, and the alerts that they show."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from bot.alerts import AlertView, Tracked, returned
from bot.models import (
    FINAL,
    IN_REPAIR,
    RAN,
    Alert,
    CameBack,
    EventKind,
    Learned,
    LinkedAlert,
    Remediation,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
    parts_of,
)
from bot.readings import came_back, fault_of, fires_again, may_still_clear, worst
from bot.store import audit, outbox
from bot.store.connection import NOW_ONCE, Connection, is_among, json_list, now, read_clock
from bot.store.lease import LeasedDatabase
from bot.store.moments import WATCHED, noted
from bot.store.rows import (
    ALERTS,
    WITHDRAWN,
    WRITE_MESSAGE,
    Told,
    alert_columns,
    change_alert,
    doubt_of,
    load,
    message_columns,
    message_of,
    read_alerts,
    with_first,
    write,
)
from bot.store.tables import alerts, ids_in, ids_of, messages, refs_in

_TRIES = 3  # to write a message as it was loaded
_AT_ONCE = 500  # messages that are due in one look
_LAST_LOOK_SECONDS = 3600.0  # so much later than a repair was watched its fault may be seen that came back before
_IDS = ids_in(alerts.c)
_REFS = select(*_IDS)
_MESSAGES = select(messages.c.body, messages.c.is_open)
_IN_CLUSTER = alerts.c.cluster_id == bindparam("b_cluster")
_BY_MESSAGE = messages.c.id == alerts.c.message_id
_IS_CARD = messages.c.is_digest.is_(False)
_WITH_MESSAGE = ALERTS.join(messages, _BY_MESSAGE).where(_IN_CLUSTER)
_KNOWN = select(*_IDS, alerts.c.fingerprint).where(alerts.c.is_open)
_IN_UNKNOWN_STATES = ALERTS.where(alerts.c.is_open, alerts.c.state.not_in([*State, WITHDRAWN]))
_TRACKED = ALERTS.where(alerts.c.is_open, alerts.c.state != WITHDRAWN)
_WAITING_ON_CARDS = _WITH_MESSAGE.where(alerts.c.is_open, alerts.c.state == State.PENDING_APPROVAL, _IS_CARD)
_OPEN_IN_DIGESTS = _WITH_MESSAGE.where(alerts.c.is_open, messages.c.is_digest)
_REPAIRED = _WITH_MESSAGE.where(messages.c.is_open, alerts.c.state == State.SUCCEEDED)
_OPEN_ON = ALERTS.where(alerts.c.is_open, _IN_CLUSTER, alerts.c.instance_id == bindparam("b_instance"))
_AT = _MESSAGES.where(messages.c.ts == bindparam("b_ts"))
_IN_MESSAGE = alerts.c.message_id == bindparam("b_message")
_OF_MESSAGE = _REFS.where(_IN_MESSAGE)
_AMONG = is_among("b_ids", *_IDS)
_BODIES = ALERTS.where(_AMONG)
_ANY = select(messages.c.id).limit(1)
_EXISTING = _REFS.where(_AMONG)
_SINCE = NOW_ONCE - bindparam("b_seconds")
_GONE = ALERTS.where(alerts.c.state == WITHDRAWN, alerts.c.changed_at > NOW_ONCE - 86_400.0)
_NEW = alerts.c.seen_at > _SINCE
_ARRIVALS = select(*_IDS, messages.c.body, messages.c.is_open).join(messages, _BY_MESSAGE).where(_NEW)
_DUE = (
    select(messages.c.id)
    .where(messages.c.is_open, messages.c.next_at <= NOW_ONCE)
    .order_by(func.random())  # in no order, so that those that can't be written keep no others waiting
    .limit(bindparam("b_limit"))
)
_CHANGED = select(alerts.c.message_id).where(alerts.c.changed_at > bindparam("b_since"))
_IN_CHANNELS = tuple(  # each by its index
    _MESSAGES.where(messages.c.ts.is_not(None), which)
    for which in (or_(messages.c.is_open, messages.c.opened_at > bindparam("b_since")), messages.c.id.in_(_CHANGED))
)
_GROWING = (
    _MESSAGES.where(messages.c.is_open, messages.c.is_digest, messages.c.last_added_at > _SINCE)
    .order_by(messages.c.last_added_at.desc())
    .with_for_update()
)
_UNPOSTED = _MESSAGES.join(alerts, _BY_MESSAGE).where(
    messages.c.is_open, _IS_CARD, messages.c.cluster_id == bindparam("b_cluster"), messages.c.ts.is_(None),
    messages.c.posted_at == 0,
).with_for_update(of=[alerts, messages])  # fmt: skip # in this order, as others do
_ADD_ALERTS = insert(alerts).values(changed_at=now()).on_conflict_do_nothing().returning(*_IDS)
_ADD_MESSAGE = insert(messages).values(version=0)
_MOVE = update(alerts).where(is_among("b_ids", alerts.c.message_id))
_DROP_MESSAGES = delete(messages).where(is_among("b_ids", messages.c.id))
_DROP_ALERTS = delete(alerts).where(_IN_MESSAGE).returning(*_IDS)
_CLOSE = update(messages).where(messages.c.id == bindparam("b_message")).values(is_open=False)
_PLACE_OF = attrgetter("cluster_id", "channel_id", "is_started")  # what two digests have in common that are one
Change = Callable[[Snapshot], TrackedMessage | None]


def known(connection: Connection) -> dict[RemediationRef, str]:
    """Return what is tracked, with the fingerprint of what was last seen of each."""
    return {RemediationRef(*row[:3]): row.fingerprint for row in connection.execute(_KNOWN)}


def tracked(connection: Connection) -> list[Alert]:
    """Return what is open and listed."""
    return read_alerts(connection, _TRACKED)


def in_unknown_states(connection: Connection) -> dict[RemediationRef, set[str]]:
    """Return what is under way in a state that this version doesn't know, so that no list has it, and its names."""
    found = read_alerts(connection, _IN_UNKNOWN_STATES)
    return {alert.ref: alert.remediation.names for alert in found if alert.remediation.is_under_way}


def waiting_on_cards(connection: Connection, cluster_id: str) -> list[Alert]:
    """Return what waits in a cluster and has a card, those with the oldest load first."""
    return sorted(read_alerts(connection, _WAITING_ON_CARDS, b_cluster=cluster_id), key=lambda alert: alert.share_at)


def open_in_digests(connection: Connection, cluster_id: str) -> list[Alert]:
    """Return what is open in a cluster and shown in digests."""
    return read_alerts(connection, _OPEN_IN_DIGESTS, b_cluster=cluster_id)


def shown_in(connection: Connection, channel_id: str, ts: str) -> list[RemediationRef]:
    """Return the remediations that a message of the bot shows."""
    rows = connection.execute(_AT, b_ts=ts)
    here = [each.id for row in rows if (each := message_of(row)) and each.channel_id == channel_id]
    return [ref for some in here for ref in refs_in(connection.execute(_OF_MESSAGE, b_message=some))]


def nodes(connection: Connection, refs: Collection[RemediationRef]) -> dict[RemediationRef, str]:
    """Return the names of nodes, of the remediations that the bot has told of."""
    read = read_alerts(connection, _BODIES, b_ids=json_list(map(parts_of, refs)))
    return {alert.ref: alert.remediation.node for alert in read}


def is_first(connection: Connection) -> bool:
    """Return whether the bot has never watched for long, nor posted anything, which is deleted in time."""
    return not (connection.execute(_ANY) or noted(connection, WATCHED))


def existing(connection: Connection, refs: Sequence[RemediationRef]) -> set[RemediationRef]:
    """Return which of these the bot has told of before."""
    return set(refs_in(connection.execute(_EXISTING, b_ids=json_list(map(parts_of, refs)))))


def closed(connection: Connection, refs: Sequence[RemediationRef]) -> list[Alert]:
    """Return those of these that are over, or that Together listed no longer."""
    read = read_alerts(connection, _BODIES, b_ids=json_list(map(parts_of, refs)))
    return [alert for alert in read if alert.is_closed]


def lost(connection: Connection) -> list[RemediationRef]:
    """Return what vanished in the middle of its work, of the last day: it may have ended badly."""
    gone = read_alerts(connection, _GONE)
    return [alert.ref for alert in gone if alert.remediation.state in IN_REPAIR or alert.decided]


def arrivals(connection: Connection, seconds: float, *, is_started: bool) -> list[RemediationRef]:
    """Return what was first seen within the last `seconds`, past its approval or not."""
    rows = [*connection.execute(_ARRIVALS, b_seconds=seconds)]
    return refs_in(row for row in rows if (of := message_of(row)) and of.is_started is is_started)


def due(connection: Connection, at_most: int = _AT_ONCE) -> list[str]:
    """Return which messages need a look now, some of them where there are more."""
    return connection.execute(_DUE, b_limit=at_most).scalars()


def in_channels(connection: Connection, seconds: float) -> list[TrackedMessage]:
    """Return the messages that are kept current, and those that are done and changed in the last `seconds`."""
    since = read_clock(connection) - seconds
    rows = [row for statement in _IN_CHANNELS for row in connection.execute(statement, b_since=since)]
    return list({message.id: message for row in rows if (message := message_of(row))}.values())


def add_cards(connection: Connection, new: Sequence[Tracked], verify_seconds: float) -> None:
    """Write down that each of these is to get a card, unless the bot has told of it before."""
    note_returns(connection, [alert for alert, _ in new], verify_seconds)
    present = read_clock(connection)
    for alert, message in new:
        doubt = doubt_of(connection, alert.ref, alert.remediation.mode) if alert.is_waiting else None
        noted = replace(alert, remark=doubt, seen_at=present, was_over=alert.is_closed, message_id=message.id)
        if connection.execute(_ADD_ALERTS, alert_columns(noted), **ids_of(alert.ref)):
            called_at = present if message.ts else 0.0  # one that was found in the channel has called long ago
            opened = replace(message, opened_at=present, remind_from=present, called_at=called_at)
            connection.execute(_ADD_MESSAGE, id=opened.id, **message_columns(opened))
            outbox.opened(connection, alert)


def gather(
    connection: Connection, digest: TrackedMessage, new: Sequence[Alert], seconds: float, verify_seconds: float
) -> str:
    """Put these into the digest of their cluster that grew in the last `seconds`, or this new one. Returns its ID.

    The cards of the cluster that are not posted yet go into it too.
    """
    note_returns(connection, new, verify_seconds)
    present = read_clock(connection)
    growing = map(message_of, connection.execute(_GROWING, b_seconds=seconds))
    known = next((message for message in growing if message and _PLACE_OF(message) == _PLACE_OF(digest)), None)
    into = known or replace(digest, opened_at=present, remind_from=present)
    first = [
        replace(alert, seen_at=present, was_over=alert.remediation.state in FINAL, message_id=into.id) for alert in new
    ]
    rows = [ids_of(alert.ref) | alert_columns(alert) for alert in first]
    added = set(refs_in(connection.execute(_ADD_ALERTS, rows)))
    for alert in new:
        if alert.ref in added:
            outbox.opened(connection, alert)
    cards = connection.execute(_UNPOSTED, b_cluster=digest.cluster_id)
    # What somebody has deleted keeps what was told of it, what is owed to people is told in its own thread, and what is
    # told only if it fails stays so.
    unposted = [
        card.id
        for card in map(message_of, cards)
        if card
        and card.is_started is digest.is_started
        and not (card.edited_at or card.owed_lines or card.looking)
        and (not card.is_started or card.opened_at > present - seconds)
    ]
    connection.execute(_MOVE, b_ids=json_list(unposted), message_id=into.id)
    connection.execute(_DROP_MESSAGES, b_ids=json_list(unposted))
    if not added and not unposted:
        return into.id
    grown = replace(into.due, last_added_at=present)
    if known:
        connection.execute(WRITE_MESSAGE, b_message=grown.id, **message_columns(grown))
    else:
        connection.execute(_ADD_MESSAGE, id=grown.id, **message_columns(grown))
    return grown.id


async def change(
    store: LeasedDatabase, known: Snapshot | str, change: Change, *, learned: Learned | None = None, told: Told = None
) -> Snapshot | None:
    """Change a message, unless something has changed since it was loaded: then it is loaded again.

    So nothing is drawn inside a transaction, which would keep every other one waiting.

    Args:
        known: the message, or its ID.
        change: from the message as it is to what it becomes; None leaves it as it is.
        learned: what was read for its card.
        told: the events that other tools get with it, of what is still open.

    Returns:
        What it has become; None where it was left, or is not there.
    """
    message_id, before = (known, None) if isinstance(known, str) else (known.message.id, known)
    for _ in range(_TRIES):
        before = before or await store.read(load, message_id)
        if before is None or (after := change(before)) is None:
            return None
        if changed := await store.run(write, before, after, learned, told):
            return changed
        before = None

    def as_it_is(connection: Connection) -> Snapshot | None:
        present = load(connection, message_id, to_change=True)
        after = change(present) if present else None
        return write(connection, present, after, learned, told) if present and after else None

    # So much changes in it that what was loaded is always out of date.
    return await store.run(as_it_is)


def remind(
    connection: Connection, before: Snapshot, after: TrackedMessage, reminded: TrackedMessage, waiting: Sequence[Alert]
) -> bool:
    """Tell other tools of what people are about to be reminded. Returns False where the message has changed since.

    Args:
        after: what the message becomes.
        reminded: the message with the reminder counted.
    """
    if write(connection, before, after) is None:
        return False
    key = f"reminder {reminded.remind_from} {reminded.reminders}"  # the same, even if Slack is tried again
    for alert in waiting:
        outbox.happened(connection, EventKind.REMINDED, alert, key=key, reminder=reminded.reminders)
    return True


def observe(
    connection: Connection,
    ref: RemediationRef,
    change: Callable[[AlertView], Tracked | None],
    seen: Remediation | None = None,
    verify_seconds: float = 0.0,
) -> tuple[Alert | None, Alert | None]:
    """Change an alert after Together has said something about it, unless somebody decides on it right now.

    Args:
        seen: what Together said.
        verify_seconds: how long after its end a repair answers for what it was to mend.

    Returns:
        What it was, None where somebody decides, or it isn't tracked; what it has become, None where it was left.
    """
    before: Alert | None = None

    def changed(view: AlertView) -> Tracked | None:
        nonlocal before
        before = view.alert
        if seen and seen.state != before.remediation.state:
            view = replace(view, decided=with_first(connection, audit.who_decided(connection, seen), before, seen))
        return change(view)

    after = change_alert(connection, ref, changed, unless_being_decided=True)
    has_succeeded = before and after and after.remediation.succeeded_at and not before.remediation.succeeded_at
    if verify_seconds and has_succeeded:  # what it was to mend may have been seen to come back before its end was
        same_node = read_alerts(connection, _OPEN_ON, b_cluster=ref.cluster_id, b_instance=ref.instance_id)
        note_returns(connection, same_node, verify_seconds)
    return before, after


def note_returns(connection: Connection, new: Sequence[Alert], verify_seconds: float) -> None:
    """Mark repairs whose fault is back."""
    nodes: dict[tuple[str, str], list[Remediation]] = {}
    for alert in new:
        for name in {alert.remediation.instance_id, alert.remediation.node}:
            nodes.setdefault((alert.cluster_id, name), []).append(alert.remediation)
    for cluster_id in {alert.cluster_id for alert in new} if verify_seconds else ():
        for one in _repaired(connection, cluster_id):
            again = nodes.get((cluster_id, one.instance_id)) or nodes.get((cluster_id, one.node)) or ()
            if back := next(filter(None, (came_back(one, other, verify_seconds) for other in again)), None):
                change_alert(connection, one.ref, partial(returned, back=back))


class Returns(NamedTuple):
    """Alerts that a repair was to end, by their keys.

    Attributes:
        back: the repair's thread calls people for them.
        clearing: it's too early to say that they didn't stop with it.
    """

    back: set[str]
    clearing: set[str]


def note_firing(
    connection: Connection, cluster_id: str, firing: Sequence[LinkedAlert], verify_seconds: float
) -> Returns:
    """Mark repairs whose fault fires again, or still."""
    found, present = Returns(set(), set()), read_clock(connection)
    if not verify_seconds:
        return found
    by_node: dict[str, list[LinkedAlert]] = {}
    for alert in firing:
        for name in alert.names:
            by_node.setdefault(name, []).append(alert)
    for one in _repaired(connection, cluster_id):
        watched_until, backs = one.succeeded_at + verify_seconds, dict[str, CameBack]()
        about = {id(alert): alert for name in (one.instance_id, one.node) for alert in by_node.get(name, ())}
        for alert in about.values():
            if not fault_of(one, alert) or present > watched_until + _LAST_LOOK_SECONDS:
                continue
            if back := fires_again(one, alert, verify_seconds, min(present, watched_until)):
                backs[alert.key] = back
            elif may_still_clear(one, alert, present):
                found.clearing.add(alert.key)
        if backs:
            change_alert(connection, one.ref, partial(returned, back=worst(backs.values())))
            found.back.update(backs)
    return found


def _repaired(connection: Connection, cluster_id: str) -> list[Remediation]:
    """Return the repairs that may still answer for what they were to mend."""
    repaired = read_alerts(connection, _REPAIRED, b_cluster=cluster_id)
    return [alert.remediation for alert in repaired if not alert.came_back]


def close(connection: Connection, message_id: str) -> None:
    """Stop looking at a message that no version that runs here can read."""
    connection.execute(_CLOSE, b_message=message_id)


def forget(connection: Connection, message_id: str) -> list[RemediationRef]:
    """Drop a message that was never posted, unless somebody needs it still. Returns what it was to show."""
    snapshot = load(connection, message_id, to_change=True)
    if snapshot is None or snapshot.message.ts or snapshot.batches:
        return []
    if any(not alert.is_closed or alert.remediation.state in RAN or alert.decided for alert in snapshot.alerts):
        return []  # it would be told as new
    connection.execute(_DROP_MESSAGES, b_ids=json_list([message_id]))
    return refs_in(connection.execute(_DROP_ALERTS, b_message=message_id))
