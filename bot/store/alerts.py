"""Alerts: what the bot tracks. Each write makes a new version: nobody draws over what is newer."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from bot.models import FIRST_APPROVAL_SECONDS, Alert, FirstApproval, RemediationRef
from bot.store.database import now, read_clock
from bot.store.lease import Leased
from bot.store.serialization import dump
from bot.store.tables import (
    ACTIVE,
    ANSWERED,
    alerts,
    decisions,
    digests,
    first_approvals,
    ids_of,
    key_of,
    one_remediation,
)

logger = logging.getLogger(__name__)

_ALERTS = TypeAdapter(Alert)
_AT_ONCE = 500
Change = Callable[[Alert, float], Alert | None]
a, first = alerts.c, first_approvals.c
FIRST_COUNTS = first.at > now() - FIRST_APPROVAL_SECONDS
_IDS = a.cluster_id, a.instance_id, a.remediation_id
FIRST_OF_ALERT = and_(
    first.cluster_id == a.cluster_id, first.instance_id == a.instance_id, first.remediation_id == a.remediation_id,
    FIRST_COUNTS,
)  # fmt: skip
_KNOWN = select(*_IDS, a.fingerprint).where(a.is_open)
_ANY = select(a.seen_at).limit(1)
_BODIES = select(a.body).where(tuple_(*_IDS).in_(bindparam("b_ids", expanding=True)))
_ARRIVALS = select(*_IDS).where(a.seen_at > now() - bindparam("b_seconds"))
_DUE = (
    select(*_IDS)
    .where(a.is_open, a.next_at <= now(), a.digest_id.is_(None))
    .order_by(func.random())  # in no order, so that those that cannot be seen to keep no others waiting
    .limit(_AT_ONCE)
)
_DECIDING = exists().where(
    decisions.c.cluster_id == a.cluster_id, decisions.c.instance_id == a.instance_id,
    decisions.c.remediation_id == a.remediation_id,
    # Until its first delivery: the edit that answers somebody must not be followed by one that was drawn before it.
    or_(
        decisions.c.status == ACTIVE,
        and_(decisions.c.status == ANSWERED, decisions.c.active_at.is_not(None), decisions.c.deliveries == 0),
    ),
)  # fmt: skip
_LOOK = (
    select(a.body, first.user_id, first.mode, first.at, first.job_id, _DECIDING.label("deciding"), now().label("now"))
    .select_from(alerts.outerjoin(first_approvals, FIRST_OF_ALERT))
    .where(one_remediation(a))
)
_TO_CHANGE = select(a.body, now().label("now")).where(one_remediation(a)).with_for_update()
ADD = insert(alerts).on_conflict_do_nothing()
_ADD_ONE = ADD.returning(a.version)
_UPDATE = update(alerts).where(one_remediation(a))
_FORGET = delete(alerts).where(one_remediation(a), a.ts.is_(None))
_FORGET_FIRST = delete(first_approvals).where(one_remediation(first))
_WAKE_DIGEST = (
    update(digests)
    .where(digests.c.id == bindparam("b_id"))
    .values(next_at=0.0, version=digests.c.version + 1, is_open=True)
)


@dataclass(frozen=True, slots=True)
class Look:
    """An alert as it is.

    Attributes:
        first: the first of two approvals, where there is one.
        is_being_decided: somebody's decision on it has not been answered yet.
        now: the present, as Unix time in seconds.
    """

    alert: Alert
    first: FirstApproval | None
    is_being_decided: bool
    now: float


class Alerts(Leased):
    """The transactions on single alerts. Each may raise StorageUnavailable, and writes LeaseLost."""

    async def known(self) -> dict[RemediationRef, str]:
        """Return the open alerts, with the fingerprint of what was last seen of each."""
        return await self.database.read(_known)

    async def is_empty(self) -> bool:
        """Return whether the bot has never posted an alert."""
        return await self.database.read(_is_empty)

    async def vanished(self, refs: Collection[RemediationRef]) -> list[RemediationRef]:
        """Return which of these have alerts that say that Together knows them no longer."""
        return await self.database.read(_vanished, list(refs))

    async def arrivals(self, seconds: float) -> list[RemediationRef]:
        """Return the alerts that were first seen within the last `seconds`."""
        return await self.database.read(_refs, _ARRIVALS, {"b_seconds": seconds})

    async def add(self, new: Sequence[Alert]) -> list[Alert]:
        """Write down that these are about to be posted. Returns those that nobody else has written down before."""
        return await self._run(_add, new)

    async def look(self, ref: RemediationRef) -> Look | None:
        """Return an alert as it is; None where the bot does not track it."""
        return await self.database.read(_look, ref)

    async def change(self, ref: RemediationRef, change: Change) -> Alert | None:
        """Change an alert.

        Args:
            ref: which.
            change: from the alert and the present moment to the alert that it becomes; None leaves it as it is.

        Returns:
            What it has become; None where it was left, or is not tracked.
        """
        return await self._run(change_alert, ref, change)

    async def forget(self, ref: RemediationRef) -> None:
        """Take back that something is about to be posted: Slack certainly did not take it."""
        await self._run(_forget, ref)

    async def due(self) -> list[RemediationRef]:
        """Return which alerts are due now, some of them where there are very many."""
        return await self.database.read(_refs, _DUE, {})


def _known(connection: Connection) -> dict[RemediationRef, str]:
    return {RemediationRef(*row[:3]): row.fingerprint for row in connection.execute(_KNOWN)}


def _is_empty(connection: Connection) -> bool:
    return connection.execute(_ANY).first() is None


def _vanished(connection: Connection, refs: list[RemediationRef]) -> list[RemediationRef]:
    found: list[Alert] = []
    for some in in_parts([tuple(ids_of(ref).values()) for ref in refs]):
        found += map(to_alert, connection.execute(_BODIES, {"b_ids": some}).scalars())
    return [alert.remediation.ref for alert in found if alert.vanished]


def _refs(connection: Connection, chosen: Any, values: dict[str, Any]) -> list[RemediationRef]:  # noqa: ANN401 - any select of IDs
    return [RemediationRef(*row) for row in connection.execute(chosen, values)]


def _add(connection: Connection, new: Sequence[Alert]) -> list[Alert]:
    present = read_clock(connection)
    added = [replace(each, seen_at=present, remind_from=present) for each in new]
    return [each for each in added if connection.execute(_ADD_ONE, alert_row(each)).first()]


def _look(connection: Connection, ref: RemediationRef) -> Look | None:
    row = connection.execute(_LOOK, key_of(ref)).first()
    if row is None:
        return None
    approval = to_first_approval(row)
    return Look(to_alert(row.body), approval, bool(row.deciding), float(row.now))


def _forget(connection: Connection, ref: RemediationRef) -> None:
    connection.execute(_FORGET, key_of(ref))


def change_alert(connection: Connection, ref: RemediationRef, change: Change) -> Alert | None:
    """Change an alert inside a transaction; like `Alerts.change`."""
    row = connection.execute(_TO_CHANGE, key_of(ref)).first()
    if row is None:
        return None
    before = readable_alert(row.body, ref)
    after = change(before, float(row.now)) if before else None
    if before is None or after is None:
        return None
    after = replace(after, version=before.version + 1)
    if _waits_again(before, after):
        forget_first_approval(connection, ref)
    connection.execute(_UPDATE, key_of(ref) | _columns(after))
    if after.digest_id:
        wake_digest(connection, after.digest_id)
    return after


def _waits_again(before: Alert, after: Alert) -> bool:
    """Whether it waits for something else than what somebody may have approved as the first of two."""
    return after.waits and not (before.waits and before.remediation.mode == after.remediation.mode)


def to_alert(body: str) -> Alert:
    """Read the alert of a row."""
    return _ALERTS.validate_json(body)


def readable_alert(body: str, ref: RemediationRef) -> Alert | None:
    """Read the alert of a row; None for one of another version: a decision must not fail for it."""
    try:
        return to_alert(body)
    except ValueError as error:
        logger.error("The alert of %s can't be read: %s", ref, type(error).__name__)  # noqa: TRY400 - it may hold outside words
        return None


def to_first_approval(row: Any) -> FirstApproval | None:  # noqa: ANN401 - a row of any select with these columns
    """Read the first approval of a row that may have none."""
    return None if row is None or row.user_id is None else FirstApproval(row.user_id, row.mode, row.at, row.job_id)


def forget_first_approval(connection: Connection, ref: RemediationRef) -> None:
    """Let a first approval count no longer."""
    connection.execute(_FORGET_FIRST, key_of(ref))


def state_of_alert(connection: Connection) -> ColumnElement[str]:
    """Build the state of an alert's remediation, inside a statement."""
    body = type_coerce(a.body, JSON) if connection.dialect.name == "sqlite" else cast(a.body, JSON)
    return type_coerce(body["remediation"]["state"].as_string(), Text)


def wake_digest(connection: Connection, digest_id: str) -> None:
    """Let a digest be drawn again, because of what it shows of others; one that was closed is opened again."""
    connection.execute(_WAKE_DIGEST, {"b_id": digest_id})


def in_parts(many: Sequence[Any]) -> list[Sequence[Any]]:
    """Cut what is too much for one statement."""
    return [many[start : start + _AT_ONCE] for start in range(0, len(many), _AT_ONCE)]


def alert_row(alert: Alert) -> dict[str, Any]:
    """Write an alert as a row."""
    return ids_of(alert.remediation.ref) | _columns(alert)


def _columns(alert: Alert) -> dict[str, Any]:
    return {
        "digest_id": alert.digest_id,
        "is_open": not alert.done,
        "next_at": None if alert.done else alert.next_at,
        "seen_at": alert.seen_at,
        "version": alert.version,
        "ts": alert.ts,
        "fingerprint": alert.fingerprint,
        "body": dump(_ALERTS, alert),
    }
