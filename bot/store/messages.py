"""Messages that the bot keeps true, and the alerts that they show."""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from sys import intern
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from bot.alerts import Look, Tracked, came_back, fault_of, fires_again, returned
from bot.models import (
    FIRST_APPROVAL_SECONDS,
    IN_REPAIR,
    WHILE_OPEN,
    Alert,
    EventKind,
    FirstApproval,
    History,
    LinkedAlert,
    Remediation,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
)
from bot.store import audit, batches, outbox
from bot.store.connection import Connection, is_among, listed, now, read_clock
from bot.store.lease import Leased
from bot.store.pauses import active_pause
from bot.store.serialization import dump
from bot.store.tables import (
    ACTIVE,
    ANSWERED,
    alerts,
    decisions,
    first_approvals,
    ids_of,
    key_of,
    messages,
    one_remediation,
)

logger = logging.getLogger(__name__)

_ALERTS, _MESSAGES = TypeAdapter(Alert), TypeAdapter(TrackedMessage)
_DAY = 86_400.0
_LONGEST_REPAIR = 7 * _DAY  # from its alert to its end
_TRIES = 3  # to write a message as it was loaded
_KEPT = 2048  # alerts that were read last: most of a digest is what it was when it was last drawn
_AT_ONCE = 500  # messages that are due in one look
WITHDRAWN = "WITHDRAWN"  # in the column `state`, of what Together lists no longer
a, m, first = alerts.c, messages.c, first_approvals.c
FIRST_APPROVAL = first.user_id, first.mode, first.at, first.job_id, first.episode
FIRST_COUNTS = first.at > now() - FIRST_APPROVAL_SECONDS
_IDS = a.cluster_id, a.instance_id, a.remediation_id
_OF_ALERT = and_(
    first.cluster_id == a.cluster_id, first.instance_id == a.instance_id, first.remediation_id == a.remediation_id,
    FIRST_COUNTS,
)  # fmt: skip
_DECIDING = exists().where(
    decisions.c.cluster_id == a.cluster_id, decisions.c.instance_id == a.instance_id,
    decisions.c.remediation_id == a.remediation_id,
    # Until its first delivery: the edit that answers somebody must not be followed by one that was drawn before it.
    or_(
        decisions.c.status == ACTIVE,
        and_(decisions.c.status == ANSWERED, decisions.c.active_at.is_not(None), decisions.c.deliveries == 0),
    ),
)  # fmt: skip
_WITH_FIRST = select(a.body, a.message_id, *FIRST_APPROVAL, _DECIDING.label("deciding")).select_from(
    alerts.outerjoin(first_approvals, _OF_ALERT)
)
_MESSAGE_ID = m.id == bindparam("b_message")
_FIND = select(m.body, m.is_open, m.version).where(_MESSAGE_ID)
_TO_CHANGE = _FIND.with_for_update()
_SHOWN = (
    _WITH_FIRST.where(a.message_id == bindparam("b_message"))
    .order_by(a.seen_at, a.cluster_id, a.instance_id, a.remediation_id)
)  # fmt: skip
_ONE = _WITH_FIRST.where(one_remediation(a)).with_for_update(of=alerts)
_KNOWN = select(*_IDS, a.fingerprint).where(a.is_open)
_TRACKED = select(a.body, a.message_id).where(a.is_open, a.state != WITHDRAWN)
_WAITING_CARDS = (
    select(a.body, a.message_id)
    .join(messages, m.id == a.message_id)
    .where(a.is_open, a.cluster_id == bindparam("b_cluster"), a.state == State.PENDING_APPROVAL, m.is_digest.is_(False))
)  # fmt: skip
_ENDED = select(a.body, a.message_id).where(a.seen_at > bindparam("b_since"))
_FAILED, _SUCCEEDED = _ENDED.where(a.state == State.FAILED), _ENDED.where(a.state == State.SUCCEEDED)
_REPAIRED = (
    select(a.body, a.message_id)
    .join(messages, m.id == a.message_id)
    .where(m.is_open, a.cluster_id == bindparam("b_cluster"), a.state == State.SUCCEEDED)
)  # fmt: skip
_OPEN_ON = select(a.body, a.message_id).where(
    a.is_open, a.cluster_id == bindparam("b_cluster"), a.instance_id == bindparam("b_instance")
)
_AT = select(m.body).where(m.ts == bindparam("b_ts"))
_OF_MESSAGE = select(*_IDS).where(a.message_id == bindparam("b_message"))
_BODIES = select(a.body, a.message_id).where(is_among("b_ids", *_IDS))
_ANY = select(m.id).limit(1)
_EXISTING = select(*_IDS).where(is_among("b_ids", *_IDS))
_WITHDRAWN = _EXISTING.where(a.state == WITHDRAWN)
_GONE = select(a.body, a.message_id).where(a.state == WITHDRAWN, a.seen_at > now() - bindparam("b_seconds"))
_ARRIVALS = select(*_IDS).where(a.seen_at > now() - bindparam("b_seconds"))
_DUE = (
    select(m.id)
    .where(m.is_open, m.next_at <= now())
    .order_by(func.random())  # in no order, so that those that can't be written keep no others waiting
    .limit(bindparam("b_limit"))
)
_IN_CHANNELS = select(m.id, m.ts, m.opened_at, m.is_open, m.cluster_id, m.body).where(m.ts.is_not(None))
_OPEN = _IN_CHANNELS.where(m.is_open)
_LATELY = _IN_CHANNELS.where(m.opened_at > now() - bindparam("b_seconds"))
_PLACE = select(a.message_id).where(one_remediation(a))
_GROWING = (
    select(m.body)
    .where(m.is_open, m.is_digest, m.last_added_at > now() - bindparam("b_seconds"))
    .order_by(m.last_added_at.desc())
    .with_for_update()
)  # fmt: skip
_UNPOSTED = select(m.body).where(
    m.is_open, m.is_digest.is_(False), m.cluster_id == bindparam("b_cluster"), m.ts.is_(None), m.posted_at == 0
)
_ADD_ALERTS = insert(alerts).on_conflict_do_nothing()
_ADD_MESSAGE = insert(messages).values(version=0)
_WRITE_MESSAGE = update(messages).where(_MESSAGE_ID).values(version=m.version + 1)
_WRITE_SAME = _WRITE_MESSAGE.where(m.version == bindparam("b_version"))
_WRITE_ALERT = update(alerts).where(one_remediation(a))
_MOVE = update(alerts).where(is_among("b_ids", a.message_id)).values(message_id=bindparam("b_to"))
_DROP_MESSAGES = delete(messages).where(is_among("b_ids", m.id))
_DROP_ALERTS = delete(alerts).where(a.message_id == bindparam("b_message")).returning(*_IDS)
_FORGET_FIRST = delete(first_approvals).where(one_remediation(first))
_CLOSE = update(messages).where(_MESSAGE_ID).values(is_open=False)
Change = Callable[[Snapshot], TrackedMessage | None]


class InChannel(NamedTuple):
    """A message that is in a channel, as it was last written there."""

    id: str
    channel_id: str
    ts: str
    content_hash: str
    opened_at: float
    cluster_id: str | None
    is_open: bool
    is_read_only: bool


@dataclass(slots=True)
class Messages(Leased):
    """The transactions of the watch. Each may raise StorageUnavailable, and writes LeaseLost.

    Attributes:
        verified: how many seconds after its end a repair answers for its fault coming back; 0 for never.
    """

    verified: float = 0.0

    async def known(self) -> dict[RemediationRef, str]:
        """Return what is tracked, with the fingerprint of what was last seen of each."""
        return await self.database.read(_known)

    async def is_empty(self) -> bool:
        """Return whether the bot has never posted anything."""
        return await self.database.read(_is_empty)

    async def sequence(self) -> int:
        """Return the audit trail's last row: what is read from now on is newer than every answer up to it."""
        return await self.database.read(audit.last_seq)

    async def existing(self, refs: Sequence[RemediationRef]) -> set[RemediationRef]:
        """Return which of these the bot has told of before."""
        return await self.database.read(_among, _EXISTING, refs)

    async def withdrawn(self, refs: Sequence[RemediationRef]) -> set[RemediationRef]:
        """Return which of these were closed because Together listed them no longer."""
        return await self.database.read(_among, _WITHDRAWN, refs)

    async def lost(self) -> list[RemediationRef]:
        """Return what vanished in the middle of its work, of the last day: it may have ended badly."""
        return await self.database.read(_lost)

    async def arrivals(self, seconds: float) -> list[RemediationRef]:
        """Return what was first seen within the last `seconds`."""
        return await self.database.read(_arrivals, seconds)

    async def due(self, at_most: int = _AT_ONCE) -> list[str]:
        """Return which messages are to be looked at now, some of them where there are more."""
        return await self.database.read(_due, at_most)

    async def in_channels(self, seconds: float) -> list[InChannel]:
        """Return the messages that are kept true, and those that are done and were opened in the last `seconds`."""
        return await self.database.read(_in_channels, seconds)

    async def about(self, about: RemediationRef | str) -> Snapshot | None:
        """Return the message that shows a remediation, or the digest with an ID; None where there is none."""
        return await self.database.read(_about, about)

    async def tracked(self) -> list[Alert]:
        """Return what is open and listed."""
        return await self.database.read(_tracked)

    async def waiting_cards(self, cluster_id: str) -> list[Alert]:
        """Return what waits in a cluster and has a card of its own."""
        return await self.database.read(_waiting_cards, cluster_id)

    async def failed(self, seconds: float) -> list[Remediation]:
        """Return what failed within the last `seconds`, the latest first."""
        return await self.database.read(_failed, seconds)

    async def returned(self, seconds: float) -> list[Alert]:
        """Return the repairs whose fault came back, or didn't stop, within the last `seconds`, the latest first."""
        return await self.database.read(_returned, seconds)

    async def shown_in(self, channel_id: str, ts: str) -> list[RemediationRef]:
        """Return the remediations that a message of the bot shows."""
        return await self.database.read(_shown_in, channel_id, ts)

    async def nodes(self, refs: Collection[RemediationRef]) -> dict[RemediationRef, str]:
        """Return the names of nodes, of the remediations that the bot has told of."""
        return await self.database.read(_nodes, refs)

    async def add_cards(self, new: Sequence[Tracked]) -> None:
        """Write down that each of these is to get a card, unless the bot has told of it before."""
        await self._run(_add_cards, new, self.verified)

    async def gather(self, digest: TrackedMessage, new: Sequence[Alert], seconds: float) -> str:
        """Put these into the digest of their cluster that has grown within the last `seconds`, or into this new one.

        The cards of the cluster that are not posted yet go into it too.

        Returns:
            The ID of the digest.
        """
        return await self._run(_gather, digest, new, seconds, self.verified)

    async def load(self, message_id: str) -> Snapshot | None:
        """Return a message with everything that it is drawn from; None where there is none."""
        return await self.database.read(load, message_id)

    async def change(
        self,
        known: Snapshot | str,
        change: Change,
        *,
        history: History | None = None,
        told: Mapping[RemediationRef, EventKind] | None = None,
    ) -> Snapshot | None:
        """Change a message, unless something has changed since it was loaded: then it is loaded again.

        So nothing is drawn inside a transaction, which would keep every other one waiting.

        Args:
            known: the message, or its ID.
            change: from the message as it is to what it becomes; None leaves it as it is.
            told: the events that other tools get with it, of what is still open.

        Returns:
            What it has become; None where it was left, or is not there.
        """
        message_id = known if isinstance(known, str) else known.message.id
        before = await self.load(known) if isinstance(known, str) else known
        for _ in range(_TRIES):
            if before is None or (after := change(before)) is None:
                return None
            if changed := await self._run(_write, before, after, history, told):
                return changed
            before = await self.load(message_id)
        # So much changes in it that what was loaded is always out of date.
        return await self._run(_change, message_id, change, history, told)

    async def observe(
        self, ref: RemediationRef, seen: Remediation | None, change: Callable[[Look], Tracked | None]
    ) -> tuple[Alert, Alert | None] | None:
        """Change an alert after Together has said something about it, unless somebody decides on it right now.

        Returns:
            What it was and has become, None where it was left; None where somebody decides, or it isn't tracked.
        """
        return await self._run(_observe, ref, seen, change, self.verified)

    async def note_firing(self, cluster_id: str, firing: Sequence[LinkedAlert]) -> set[str]:
        """Let repairs in a cluster say that what they were to mend fires again, or still.

        Returns:
            The keys of the alerts that are told with a repair, or will be.
        """
        return await self._run(_note_firing, cluster_id, firing, self.verified) if self.verified else set()

    async def close(self, message_id: str) -> None:
        """Look at a message no more: no version that runs here can read it."""
        await self._run(_close, message_id)

    async def forget(self, message_id: str) -> list[RemediationRef]:
        """Drop a message that was never posted, unless something of it waits now. Returns what it was to show."""
        return await self._run(_forget, message_id)


def _known(connection: Connection) -> dict[RemediationRef, str]:
    return {RemediationRef(*row[:3]): row.fingerprint for row in connection.execute(_KNOWN)}


def _tracked(connection: Connection) -> list[Alert]:
    return [alert for row in connection.execute(_TRACKED) if (alert := readable_alert(row))]


def _waiting_cards(connection: Connection, cluster_id: str) -> list[Alert]:
    rows = connection.execute(_WAITING_CARDS, {"b_cluster": cluster_id})
    return [alert for row in rows if (alert := readable_alert(row))]


def _failed(connection: Connection, seconds: float) -> list[Remediation]:
    since = read_clock(connection) - seconds
    rows = connection.execute(_FAILED, {"b_since": since - _LONGEST_REPAIR})
    seen = [alert.remediation for row in rows if (alert := readable_alert(row))]
    ended = [(moment.timestamp(), each) for each in seen if (moment := each.end_time or each.update_time)]
    return [each for at, each in sorted(ended, key=lambda both: -both[0]) if at > since]


def _returned(connection: Connection, seconds: float) -> list[Alert]:
    since = read_clock(connection) - seconds
    rows = connection.execute(_SUCCEEDED, {"b_since": since - _LONGEST_REPAIR})
    back = [(alert.came_back.at, alert) for row in rows if (alert := readable_alert(row)) and alert.came_back]
    return [alert for at, alert in sorted(back, key=lambda both: -both[0]) if at > since]


def _shown_in(connection: Connection, channel_id: str, ts: str) -> list[RemediationRef]:
    rows = connection.execute(_AT, {"b_ts": ts})
    here = [each.id for row in rows if (each := readable_message(row.body)) and each.channel_id == channel_id]
    return [RemediationRef(*row) for some in here for row in connection.execute(_OF_MESSAGE, {"b_message": some})]


def _nodes(connection: Connection, refs: Collection[RemediationRef]) -> dict[RemediationRef, str]:
    rows = connection.execute(_BODIES, {"b_ids": listed(tuple(ids_of(ref).values()) for ref in refs)})
    return {alert.remediation.ref: alert.remediation.node for row in rows if (alert := readable_alert(row))}


def _is_empty(connection: Connection) -> bool:
    return connection.execute(_ANY).first() is None


def _among(connection: Connection, chosen: Any, refs: Sequence[RemediationRef]) -> set[RemediationRef]:  # noqa: ANN401 - a select of IDs
    rows = connection.execute(chosen, {"b_ids": listed(tuple(ids_of(ref).values()) for ref in refs)})
    return {RemediationRef(*row) for row in rows}


def _lost(connection: Connection) -> list[RemediationRef]:
    gone = [alert for row in connection.execute(_GONE, {"b_seconds": _DAY}) if (alert := readable_alert(row))]
    return [each.remediation.ref for each in gone if each.remediation.state in IN_REPAIR or each.decided]


def _arrivals(connection: Connection, seconds: float) -> list[RemediationRef]:
    return [RemediationRef(*row) for row in connection.execute(_ARRIVALS, {"b_seconds": seconds})]


def _due(connection: Connection, at_most: int) -> list[str]:
    return connection.execute(_DUE, {"b_limit": at_most}).scalars()


def _in_channels(connection: Connection, seconds: float) -> list[InChannel]:
    lately = connection.execute(_LATELY, {"b_seconds": seconds})
    found = [*connection.execute(_OPEN), *(row for row in lately if not row.is_open)]
    return [
        InChannel(
            row.id, intern(body.get("channel_id", "")), row.ts, body.get("content_hash", ""), row.opened_at,
            row.cluster_id, bool(row.is_open), body.get("is_read_only", False),
        )
        for row, body in ((row, json.loads(row.body)) for row in found)
    ]  # fmt: skip


def _about(connection: Connection, about: RemediationRef | str) -> Snapshot | None:
    if isinstance(about, str):
        return load(connection, about)
    message_id = connection.execute(_PLACE, key_of(about)).scalar()
    return load(connection, message_id) if message_id else None


def _note_returns(connection: Connection, new: Sequence[Alert], verified: float) -> None:
    """Let repairs say that what they were to mend is back."""
    nodes: dict[tuple[str, str], list[Remediation]] = {}
    for each in new:
        for name in {each.remediation.instance_id, each.remediation.node}:
            nodes.setdefault((each.remediation.cluster_id, name), []).append(each.remediation)
    for cluster_id in {each.remediation.cluster_id for each in new} if verified else ():
        for one in _repaired(connection, cluster_id):
            again = nodes.get((cluster_id, one.instance_id)) or nodes.get((cluster_id, one.node)) or ()
            if back := next((found for each in again if (found := came_back(one, each, verified))), None):
                change_alert(connection, one.ref, partial(returned, back=back))


def _note_firing(connection: Connection, cluster_id: str, firing: Sequence[LinkedAlert], verified: float) -> set[str]:
    present, found = read_clock(connection), set()
    by_node: dict[str, list[LinkedAlert]] = {}
    for each in firing:
        for name in each.names:
            by_node.setdefault(name, []).append(each)
    for one in _repaired(connection, cluster_id):
        for each in {id(each): each for name in (one.instance_id, one.node) for each in by_node.get(name, ())}.values():
            fault = fault_of(one, each)
            if fault and present <= one.succeeded_at + verified:
                found.add(each.key)
                if back := fires_again(one, fault, each, verified, present):
                    change_alert(connection, one.ref, partial(returned, back=back))
    return found


def _repaired(connection: Connection, cluster_id: str) -> list[Remediation]:
    """Return the repairs that may still answer for what they were to mend."""
    rows = connection.execute(_REPAIRED, {"b_cluster": cluster_id})
    return [alert.remediation for row in rows if (alert := readable_alert(row))]


def _add_cards(connection: Connection, new: Sequence[Tracked], verified: float) -> None:
    _note_returns(connection, [alert for alert, _ in new], verified)
    present = read_clock(connection)
    for alert, message in new:
        row = _alert_row(replace(alert, seen_at=present, message_id=message.id))
        if connection.execute(_ADD_ALERTS, row).rowcount:
            called_at = present if message.ts else 0.0  # one that was found in the channel has called long ago
            opened = replace(message, opened_at=present, remind_from=present, called_at=called_at)
            connection.execute(_ADD_MESSAGE, {"id": opened.id, **_message_columns(opened)})
            outbox.opened(connection, alert)


def _gather(
    connection: Connection, digest: TrackedMessage, new: Sequence[Alert], seconds: float, verified: float
) -> str:
    _note_returns(connection, new, verified)
    present = read_clock(connection)
    new = list({each.remediation.ref: each for each in new}.values())  # one may be on two pages of a list
    growing = map(readable_message, connection.execute(_GROWING, {"b_seconds": seconds}).scalars())
    known = next((each for each in growing if each and _place(each) == _place(digest)), None)
    into = known or replace(digest, opened_at=present, remind_from=present)
    rows = [_alert_row(replace(each, seen_at=present, message_id=into.id)) for each in new]
    if outbox.is_told(connection):
        known_before = _among(connection, _EXISTING, [each.remediation.ref for each in new])
        for each in new:
            if each.remediation.ref not in known_before:
                outbox.opened(connection, each)
    count = connection.execute(_ADD_ALERTS, rows).rowcount
    bodies = connection.execute(_UNPOSTED, {"b_cluster": digest.cluster_id}).scalars()
    read = [card for body in bodies if (card := readable_message(body))]
    # What somebody has deleted stays so, and so does what is told only if it fails.
    unposted = [
        card.id
        for card in read
        if card.is_started is digest.is_started
        and (not card.is_started or (not card.edited_at and card.opened_at > present - seconds))
    ]
    connection.execute(_MOVE, {"b_ids": listed(unposted), "b_to": into.id})
    connection.execute(_DROP_MESSAGES, {"b_ids": listed(unposted)})
    if not count and not unposted:
        return into.id
    grown = replace(into, last_added_at=present, next_at=0.0, done=False)
    if known:
        connection.execute(_WRITE_MESSAGE, {"b_message": grown.id, **_message_columns(grown)})
    else:
        connection.execute(_ADD_MESSAGE, {"id": grown.id, **_message_columns(grown)})
    return grown.id


def _place(digest: TrackedMessage) -> tuple[str | None, str, bool]:
    """Return what two digests have in common that are one."""
    return digest.cluster_id, digest.channel_id, digest.is_started


def load(connection: Connection, message_id: str, *, to_change: bool = False) -> Snapshot | None:
    """Return a message with everything that it is drawn from and that has not run out, inside a transaction."""
    found = connection.execute(_TO_CHANGE if to_change else _FIND, {"b_message": message_id}).first()
    message = _message_of(found)
    if found is None or message is None:
        return None
    present = read_clock(connection)
    shown: list[Alert] = []
    firsts: dict[RemediationRef, FirstApproval] = {}
    deciding = False
    for row in connection.execute(_SHOWN, {"b_message": message_id}):
        alert = readable_alert(row)
        if alert is None:
            continue
        shown.append(alert.at(present))
        deciding = deciding or bool(row.deciding)
        if approval := to_first_approval(row):
            firsts[alert.remediation.ref] = approval
    confirmed = batches.of_digest(connection, message_id) if message.is_digest else []
    is_being_decided = deciding and not message.is_digest
    clusters = {each.remediation.cluster_id for each in shown} | ({message.cluster_id} if message.cluster_id else set())
    pause = active_pause(connection, sorted(clusters))
    return Snapshot(message, shown, firsts, confirmed, is_being_decided, present, found.version, pause)


def _write(
    connection: Connection,
    before: Snapshot,
    after: TrackedMessage,
    history: History | None,
    told: Mapping[RemediationRef, EventKind] | None,
) -> Snapshot | None:
    """Write what a message has become, and the history of a card's alert; None where it isn't what it was."""
    same = {"b_message": after.id, "b_version": before.version}
    if not connection.execute(_WRITE_SAME, same | _message_columns(after)).rowcount:
        return None
    for each in before.alerts:
        if (kind := (told or {}).get(each.remediation.ref)) and not (each.is_closed and kind in WHILE_OPEN):
            outbox.told(connection, kind, each, after)
    if history:
        alert = replace(before.alerts[0], history=history)
        connection.execute(_WRITE_ALERT, key_of(alert.remediation.ref) | _alert_columns(alert))
        before = replace(before, alerts=[alert])
    return replace(before, message=after, version=before.version + 1)


def _change(
    connection: Connection,
    message_id: str,
    change: Change,
    history: History | None,
    told: Mapping[RemediationRef, EventKind] | None,
) -> Snapshot | None:
    before = load(connection, message_id, to_change=True)
    after = change(before) if before else None
    return _write(connection, before, after, history, told) if before and after else None


def _observe(
    connection: Connection,
    ref: RemediationRef,
    seen: Remediation | None,
    change: Callable[[Look], Tracked | None],
    verified: float,
) -> tuple[Alert, Alert | None] | None:
    before: Alert | None = None

    def changed(look: Look) -> Tracked | None:
        nonlocal before
        before = look.alert
        if seen and seen.state != before.remediation.state:
            look = replace(look, decided=audit.who_decided(connection, seen))
        return change(look)

    after = change_alert(connection, ref, changed, unless_being_decided=True)
    has_succeeded = before and after and after.remediation.succeeded_at and not before.remediation.succeeded_at
    if verified and has_succeeded:
        # What it was to mend may have come back, and been seen, before its end was.
        rows = connection.execute(_OPEN_ON, {"b_cluster": ref.cluster_id, "b_instance": ref.instance_id})
        _note_returns(connection, [alert for row in rows if (alert := readable_alert(row))], verified)
    return (before, after) if before else None


def change_alert(
    connection: Connection,
    ref: RemediationRef,
    change: Callable[[Look], Tracked | None],
    *,
    unless_being_decided: bool = False,
) -> Alert | None:
    """Change an alert and its message, inside a transaction. Returns what the alert has become."""
    row = connection.execute(_ONE, key_of(ref)).first()
    before = readable_alert(row) if row else None
    if row is None or before is None or (unless_being_decided and row.deciding):
        return None
    message = _message_of(connection.execute(_TO_CHANGE, {"b_message": before.message_id}).first())
    after = change(Look(before, message, to_first_approval(row), None, read_clock(connection))) if message else None
    if after is None:
        return None
    alert, message = after
    first_one = to_first_approval(row)
    is_news = alert.is_waiting and alert.remediation is not before.remediation
    if first_one and is_news and not (before.is_waiting and first_one.counts_for(alert.remediation)):
        forget_first_approval(connection, ref)
    connection.execute(_WRITE_ALERT, key_of(ref) | _alert_columns(alert))
    connection.execute(_WRITE_MESSAGE, {"b_message": message.id, **_message_columns(message)})
    outbox.changed(connection, before, alert)
    return alert


def _close(connection: Connection, message_id: str) -> None:
    connection.execute(_CLOSE, {"b_message": message_id})


def _forget(connection: Connection, message_id: str) -> list[RemediationRef]:
    snapshot = load(connection, message_id, to_change=True)
    if snapshot is None or snapshot.message.ts or any(each.is_waiting for each in snapshot.alerts):
        return []
    connection.execute(_DROP_MESSAGES, {"b_ids": listed([message_id])})
    return [RemediationRef(*row) for row in connection.execute(_DROP_ALERTS, {"b_message": message_id})]


def forget_first_approval(connection: Connection, ref: RemediationRef) -> None:
    """Let a first approval count no longer."""
    connection.execute(_FORGET_FIRST, key_of(ref))


def _message_of(row: Any) -> TrackedMessage | None:  # noqa: ANN401 - a row of a select with these columns
    message = readable_message(row.body) if row else None
    return replace(message, done=not row.is_open) if row and message else None


def readable_alert(row: Any) -> Alert | None:  # noqa: ANN401 - of any select with these columns
    """Read the alert of a row; None for one of another version: nothing else must fail for it."""
    alert = _alert_of(row.body)
    return replace(alert, message_id=row.message_id) if alert else None


@lru_cache(_KEPT)
def _alert_of(body: str) -> Alert | None:
    found: Alert | None = _read(_ALERTS, body)
    return found


def readable_message(body: str) -> TrackedMessage | None:
    """Read a message; None for one of another version."""
    found: TrackedMessage | None = _read(_MESSAGES, body)
    return found


def _read(adapter: TypeAdapter[Any], body: str) -> Any:  # noqa: ANN401 - of the adapter's type
    try:
        return adapter.validate_json(body)
    except ValueError as error:
        logger.error("An alert or message can't be read: %s", type(error).__name__)  # noqa: TRY400 - it may hold outside words
        return None


def to_first_approval(row: Any) -> FirstApproval | None:  # noqa: ANN401 - a row of any select with these columns
    """Read the first approval of a row that may have none."""
    if row is None or row.user_id is None:
        return None
    return FirstApproval(row.user_id, row.mode, row.at, row.job_id, row.episode)


def _alert_row(alert: Alert) -> dict[str, Any]:
    return ids_of(alert.remediation.ref) | _alert_columns(alert)


def _alert_columns(alert: Alert) -> dict[str, Any]:
    return {
        "message_id": alert.message_id,
        "state": WITHDRAWN if alert.is_unlisted else alert.remediation.state,
        "is_open": not alert.is_closed,
        "seen_at": alert.seen_at,
        "fingerprint": alert.fingerprint,
        "body": dump(_ALERTS, alert),
    }


def _message_columns(message: TrackedMessage) -> dict[str, Any]:
    return {
        "is_digest": message.is_digest,
        "cluster_id": message.cluster_id,
        "is_open": not message.done,
        "next_at": None if message.done else message.next_at,
        "ts": message.ts,
        "posted_at": message.posted_at,
        "last_added_at": message.last_added_at,
        "opened_at": message.opened_at,
        "body": dump(_MESSAGES, message),
    }
