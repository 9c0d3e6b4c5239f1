"""Digests: messages about many alerts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from bot.models import Alert, Digest, FirstApproval, RemediationRef
from bot.store.alerts import ADD, FIRST_OF_ALERT, alert_row, in_parts, to_alert, to_first_approval
from bot.store.database import now, read_clock
from bot.store.lease import Leased
from bot.store.serialization import dump
from bot.store.tables import alerts, digests, first_approvals

_DIGESTS = TypeAdapter(Digest)
Change = Callable[[Digest, float], Digest | None]
a, d, first = alerts.c, digests.c, first_approvals.c
_COLUMNS = select(d.body, d.version, d.next_at, d.is_open)
_FIND = _COLUMNS.where(d.id == bindparam("b_id"))
_TO_CHANGE = _FIND.with_for_update()
_OPEN = _COLUMNS.where(d.is_open).order_by(d.seen_at.desc())
_DUE = select(d.id).where(d.is_open, d.next_at <= now()).order_by(d.seen_at)
_INSERT, _UPDATE = insert(digests), update(digests).where(d.id == bindparam("b_id"))
_ALERTS_OF = (
    select(a.body, first.user_id, first.mode, first.at, first.job_id)
    .select_from(alerts.outerjoin(first_approvals, FIRST_OF_ALERT))
    .where(a.digest_id == bindparam("b_id"))
    .order_by(a.seen_at, a.cluster_id, a.instance_id, a.remediation_id)
)


@dataclass(frozen=True, slots=True)
class DigestLook:
    """A digest as it is.

    Attributes:
        alerts: what it lists, in the order in which it came in.
        firsts: the first of two approvals, where there is one.
        now: the present, as Unix time in seconds.
    """

    digest: Digest
    alerts: Sequence[Alert]
    firsts: Mapping[RemediationRef, FirstApproval]
    now: float


class Digests(Leased):
    """The transactions on digests. Each may raise StorageUnavailable, and writes LeaseLost."""

    async def add(self, digest: Digest, new: Sequence[Alert]) -> Digest | None:
        """Write down that a digest is about to be posted, or has grown, and what it lists.

        Returns:
            What it has become; None where all of this is listed somewhere else already.
        """
        return await self._run(_add, digest, new)

    async def look(self, digest_id: str) -> DigestLook | None:
        """Return a digest as it is; None where it is not known."""
        return await self.database.read(_look, digest_id)

    async def change(self, digest_id: str, change: Change) -> Digest | None:
        """Change a digest; like `Alerts.change`."""
        return await self._run(_change, digest_id, change)

    async def due(self) -> list[str]:
        """Return which digests are due now."""
        return await self.database.read(_due)

    async def growing(self, cluster_id: str | None, seconds: float) -> Digest | None:
        """Return the digest of a cluster that something was added to within the last `seconds`."""
        return await self.database.read(_growing, cluster_id, seconds)


def _add(connection: Connection, digest: Digest, new: Sequence[Alert]) -> Digest | None:
    present = read_clock(connection)
    rows = [alert_row(replace(each, seen_at=present, remind_from=present, digest_id=digest.id)) for each in new]
    if not sum(connection.execute(ADD.values(some)).rowcount for some in in_parts(rows)):
        return None
    known = _find(connection, digest.id, to_change=True)
    if known is None:
        grown = replace(digest, seen_at=present, grown_at=present, remind_from=present)
        connection.execute(_INSERT, {"id": grown.id, **_columns(grown)})
        return grown
    grown = replace(known, grown_at=present, next_at=0.0, version=known.version + 1, done=False)
    connection.execute(_UPDATE, {"b_id": grown.id, **_columns(grown)})
    return grown


def _look(connection: Connection, digest_id: str) -> DigestLook | None:
    found = _find(connection, digest_id)
    if found is None:
        return None
    listed: list[Alert] = []
    firsts: dict[RemediationRef, FirstApproval] = {}
    for row in connection.execute(_ALERTS_OF, {"b_id": digest_id}):
        listed.append(alert := to_alert(row.body))
        if approval := to_first_approval(row):
            firsts[alert.remediation.ref] = approval
    return DigestLook(found, listed, firsts, read_clock(connection))


def _change(connection: Connection, digest_id: str, change: Change) -> Digest | None:
    before = _find(connection, digest_id, to_change=True)
    after = change(before, read_clock(connection)) if before else None
    if before is None or after is None:
        return None
    after = replace(after, version=before.version + 1)
    connection.execute(_UPDATE, {"b_id": digest_id, **_columns(after)})
    return after


def _due(connection: Connection) -> list[str]:
    return list(connection.execute(_DUE).scalars())


def _growing(connection: Connection, cluster_id: str | None, seconds: float) -> Digest | None:
    since = read_clock(connection) - seconds
    recent = (each for each in map(_to_digest, connection.execute(_OPEN)) if each.grown_at > since)
    return next((each for each in recent if each.cluster_id == cluster_id), None)


def _find(connection: Connection, digest_id: str, *, to_change: bool = False) -> Digest | None:
    row = connection.execute(_TO_CHANGE if to_change else _FIND, {"b_id": digest_id}).first()
    return None if row is None else _to_digest(row)


def _to_digest(row: Row[str, int, float | None, bool]) -> Digest:
    """Read the digest of a row; what may have been written without the body counts."""
    digest = _DIGESTS.validate_json(row.body)
    return replace(digest, version=row.version, next_at=row.next_at, done=not row.is_open)


def _columns(digest: Digest) -> dict[str, Any]:
    return {
        "is_open": not digest.done,
        "next_at": None if digest.done else digest.next_at,
        "seen_at": digest.seen_at,
        "version": digest.version,
        "ts": digest.ts,
        "body": dump(_DIGESTS, digest),
    }
