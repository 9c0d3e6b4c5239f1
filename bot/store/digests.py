"""Digests: messages about many alerts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, and_, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.models import Alert, Digest, FirstApproval, RemediationRef
from bot.store.alerts import alert_columns, alert_ids, first_counts, to_alert
from bot.store.engine import now, read_clock, to_the_end
from bot.store.lease import Leased
from bot.store.rows import dump
from bot.store.tables import alerts, digests, first_approvals

_DIGESTS = TypeAdapter(Digest)
_DIGEST = select(digests.c.body, digests.c.version, digests.c.next_at, digests.c.is_open)
_AT_ONCE = 500
Change = Callable[[Digest, float], Digest | None]


@dataclass(frozen=True, slots=True)
class DigestLook:
    """A digest as it stands.

    Attributes:
        alerts: what stands in it, in the order in which it came in.
        firsts: the first of two approvals, where there is one.
        now: the present, in seconds since 1970.
    """

    digest: Digest
    alerts: Sequence[Alert]
    firsts: Mapping[RemediationRef, FirstApproval]
    now: float


class Digests(Leased):
    """The statements about digests."""

    @to_the_end
    async def add(self, digest: Digest, new: Sequence[Alert]) -> Digest | None:
        """Write down that a digest is about to be told, or has grown, and what stands in it.

        Returns:
            What it has become; None where all of this stands somewhere else already.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        upsert = sqlite.insert if self.database.is_sqlite else postgresql.insert
        async with self._begin() as connection:
            present = await read_clock(self.database, self._clock, connection)
            rows = [_row(replace(each, seen_at=present, remind_from=present, digest_id=digest.id)) for each in new]
            added = 0
            while rows:
                some, rows = rows[:_AT_ONCE], rows[_AT_ONCE:]
                added += (await connection.execute(upsert(alerts).values(some).on_conflict_do_nothing())).rowcount
            if not added:
                return None
            known = await _find_digest(connection, digest.id, to_change=True)
            if known is None:
                grown = replace(digest, seen_at=present, grown_at=present, remind_from=present)
                await connection.execute(insert(digests).values(id=grown.id, **_columns(grown)))
            else:
                grown = replace(known, grown_at=present, next_at=0.0, version=known.version + 1, done=False)
                await connection.execute(update(digests).where(digests.c.id == grown.id).values(**_columns(grown)))
        return grown

    @to_the_end
    async def look(self, digest_id: str) -> DigestLook | None:
        """A digest as it stands; None where it is not known.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        a, first = alerts.c, first_approvals.c
        same = [first[part] == a[part] for part in ("cluster_id", "instance_id", "remediation_id")]
        async with self.database.begin() as connection:
            found = await _find_digest(connection, digest_id)
            if found is None:
                return None
            rows = await connection.execute(
                select(a.body, first.user_id, first.mode, first.at, first.job_id)
                .select_from(alerts.outerjoin(first_approvals, and_(*same, first_counts(self.database, self._clock))))
                .where(a.digest_id == digest_id)
                .order_by(a.seen_at, a.cluster_id, a.instance_id, a.remediation_id)
            )
            listed: list[Alert] = []
            firsts: dict[RemediationRef, FirstApproval] = {}
            for body, *approval in rows:
                listed.append(alert := to_alert(body))
                if approval[0] is not None:
                    firsts[alert.remediation.ref] = FirstApproval(*approval)
            return DigestLook(found, listed, firsts, await read_clock(self.database, self._clock, connection))

    @to_the_end
    async def change(self, digest_id: str, change: Change) -> Digest | None:
        """Change a digest; like `Alerts.change`.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        async with self._begin() as connection:
            before = await _find_digest(connection, digest_id, to_change=True)
            if before is None:
                return None
            after = change(before, await read_clock(self.database, self._clock, connection))
            if after is None:
                return None
            after = replace(after, version=before.version + 1)
            await connection.execute(update(digests).where(digests.c.id == digest_id).values(**_columns(after)))
            return after

    @to_the_end
    async def due(self) -> list[str]:
        """Which digests are to be seen to now.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = digests.c
        async with self.database.begin() as connection:
            due = select(c.id).where(c.is_open, c.next_at <= now(self.database, self._clock)).order_by(c.seen_at)
            return list((await connection.execute(due)).scalars())

    @to_the_end
    async def growing(self, cluster_id: str | None, seconds: float) -> Digest | None:
        """The digest of a cluster into which something came within the last so many seconds.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            rows = await connection.execute(_DIGEST.where(digests.c.is_open).order_by(digests.c.seen_at.desc()))
            present = await read_clock(self.database, self._clock, connection)
            recent = (each for each in map(_to_digest, rows) if each.grown_at > present - seconds)
            return next((each for each in recent if each.cluster_id == cluster_id), None)


async def _find_digest(connection: AsyncConnection, digest_id: str, *, to_change: bool = False) -> Digest | None:
    wanted = _DIGEST.where(digests.c.id == digest_id)
    row = (await connection.execute(wanted.with_for_update() if to_change else wanted)).first()
    return None if row is None else _to_digest(row)


def _to_digest(row: Row[str, int, float | None, bool]) -> Digest:
    """The digest that a row holds; what may have been written without the body counts."""
    digest = _DIGESTS.validate_json(row.body)
    return replace(digest, version=row.version, next_at=row.next_at, done=not row.is_open)


def _row(alert: Alert) -> dict[str, Any]:
    return alert_ids(alert.remediation.ref) | alert_columns(alert)


def _columns(digest: Digest) -> dict[str, Any]:
    return {
        "is_open": not digest.done,
        "next_at": None if digest.done else digest.next_at,
        "seen_at": digest.seen_at,
        "version": digest.version,
        "ts": digest.ts,
        "body": dump(_DIGESTS, digest),
    }
