"""Alerts and digests: what the bot follows. Each write makes a new version: nobody draws over what is newer."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.models import Alert, Digest, FirstApproval, RemediationRef
from bot.store.engine import Database, now, to_the_end
from bot.store.lease import Lease
from bot.store.rows import dump
from bot.store.tables import ACTIVE, about, alerts, decisions, digests, first_approvals, outages

_ALERTS, _DIGESTS = TypeAdapter(Alert), TypeAdapter(Digest)
_AT_ONCE = 500
_DIGEST = select(digests.c.body, digests.c.version, digests.c.next_at)
Change = Callable[[Alert, float], Alert | None]
DigestChange = Callable[[Digest, float], Digest | None]


@dataclass(frozen=True, slots=True)
class Look:
    """An alert as it stands.

    Attributes:
        first: the first of two approvals, where there is one.
        is_being_decided: somebody's decision on it has not been answered yet.
        now: the present, in seconds since 1970.
    """

    alert: Alert
    first: FirstApproval | None
    is_being_decided: bool
    now: float


@dataclass(frozen=True, slots=True)
class Outage:
    """Since when a cluster cannot be read, in seconds since 1970, and whether the channel was told."""

    since: float
    told: bool


class Alerts:
    """The statements.

    Args:
        database: where.
        clock: the clock of SQLite's one process. PostgreSQL's own clock is asked instead.
        lease: the watch; writes of a process that has lost it raise `LeaseLost`. None for what anybody may write.
    """

    def __init__(self, database: Database, clock: Clock, lease: Lease | None = None) -> None:
        self.database = database
        self._clock = clock
        self._lease = lease

    @to_the_end
    async def known(self) -> dict[RemediationRef, str]:
        """The open alerts, with the fingerprint of what was last seen of each.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = alerts.c
        async with self.database.begin() as connection:
            rows = await connection.execute(
                select(c.cluster_id, c.instance_id, c.remediation_id, c.fingerprint).where(c.is_open)
            )
            return {RemediationRef(*row[:3]): row.fingerprint for row in rows}

    @to_the_end
    async def is_empty(self) -> bool:
        """Whether the bot has never posted an alert.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            return (await connection.execute(select(alerts.c.seen_at).limit(1))).first() is None

    @to_the_end
    async def arrivals(self, seconds: float) -> dict[str, list[float]]:
        """When alerts of the last so many seconds were first seen, by cluster.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        found: dict[str, list[float]] = {}
        async with self.database.begin() as connection:
            present = await self._read_clock(connection)
            recent = select(alerts.c.cluster_id, alerts.c.seen_at).where(alerts.c.seen_at > present - seconds)
            for cluster_id, seen_at in (await connection.execute(recent)).all():
                found.setdefault(cluster_id, []).append(seen_at)
        return found

    @to_the_end
    async def add(self, new: Sequence[Alert]) -> list[Alert]:
        """Write down that these are about to be told. Gives back those that nobody else has written down before.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        added = []
        upsert = sqlite.insert if self.database.is_sqlite else postgresql.insert
        async with self._begin() as connection:
            present = await self._read_clock(connection)
            for each in new:
                alert = replace(each, seen_at=present, remind_from=present)
                wanted = upsert(alerts).values(**_ids(alert.remediation.ref), **_columns(alert))
                is_new = wanted.on_conflict_do_nothing().returning(alerts.c.version)
                if (await connection.execute(is_new)).first():
                    added.append(alert)
        return added

    @to_the_end
    async def look(self, ref: RemediationRef) -> Look | None:
        """An alert as it stands; None where the bot does not follow it.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            return await self._look(connection, ref)

    @to_the_end
    async def change(self, ref: RemediationRef, change: Change) -> Alert | None:
        """Change an alert.

        Args:
            ref: which.
            change: from the alert and the present moment to the alert that it becomes; None leaves it as it is.

        Returns:
            What it has become; None where it was left, or is not followed.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        async with self._begin() as connection:
            return await change_alert(self.database, self._clock, connection, ref, change)

    @to_the_end
    async def forget(self, ref: RemediationRef) -> None:
        """Take back that something is about to be told: Slack certainly did not take it.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        async with self._begin() as connection:
            await connection.execute(delete(alerts).where(about(alerts.c, ref), alerts.c.ts.is_(None)))

    @to_the_end
    async def due(self) -> list[RemediationRef]:
        """Which alerts are to be seen to now, the longest due first.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = alerts.c
        async with self.database.begin() as connection:
            rows = await connection.execute(
                select(c.cluster_id, c.instance_id, c.remediation_id)
                .where(c.is_open, c.next_at <= now(self.database, self._clock), c.digest_id.is_(None))
                .order_by(c.next_at)
                .limit(_AT_ONCE)
            )
            return [RemediationRef(*row) for row in rows]

    # Digests.

    @to_the_end
    async def add_digest(self, digest: Digest, new: Sequence[Alert]) -> Digest:
        """Write down that a digest is about to be told, or has grown, and what stands in it.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        upsert = sqlite.insert if self.database.is_sqlite else postgresql.insert
        async with self._begin() as connection:
            present = await self._read_clock(connection)
            known = await _find_digest(connection, digest.id, to_change=True)
            if known is None:
                grown = replace(digest, seen_at=present, grown_at=present, remind_from=present)
                await connection.execute(insert(digests).values(id=grown.id, **_digest_columns(grown)))
            else:
                grown = replace(known, grown_at=present, next_at=0.0, version=known.version + 1)
                await connection.execute(
                    update(digests).where(digests.c.id == grown.id).values(**_digest_columns(grown))
                )
            for each in new:
                alert = replace(each, seen_at=present, remind_from=present, digest_id=digest.id)
                wanted = upsert(alerts).values(**_ids(alert.remediation.ref), **_columns(alert))
                await connection.execute(wanted.on_conflict_do_nothing())
        return grown

    @to_the_end
    async def look_digest(self, digest_id: str) -> tuple[Digest, list[Alert]] | None:
        """A digest and what stands in it, in the order in which it came in.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            found = await _find_digest(connection, digest_id)
            if found is None:
                return None
            rows = await connection.execute(
                select(alerts.c.body)
                .where(alerts.c.digest_id == digest_id)
                .order_by(alerts.c.seen_at, alerts.c.cluster_id, alerts.c.instance_id, alerts.c.remediation_id)
            )
            return found, [to_alert(body) for body in rows.scalars()]

    @to_the_end
    async def change_digest(self, digest_id: str, change: DigestChange) -> Digest | None:
        """Change a digest; like `change`.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        async with self._begin() as connection:
            before = await _find_digest(connection, digest_id, to_change=True)
            if before is None:
                return None
            after = change(before, await self._read_clock(connection))
            if after is None:
                return None
            after = replace(after, version=before.version + 1)
            await connection.execute(update(digests).where(digests.c.id == digest_id).values(**_digest_columns(after)))
            return after

    @to_the_end
    async def due_digests(self) -> list[str]:
        """Which digests are to be seen to now.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = digests.c
        async with self.database.begin() as connection:
            due = select(c.id).where(c.is_open, c.next_at <= now(self.database, self._clock)).order_by(c.seen_at)
            return list((await connection.execute(due)).scalars())

    @to_the_end
    async def open_digests(self) -> list[Digest]:
        """The digests that are followed still, the newest last.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            rows = await connection.execute(_DIGEST.where(digests.c.is_open).order_by(digests.c.seen_at))
            return [_to_digest(row) for row in rows]

    # What keeps Together from being read.

    @to_the_end
    async def outages(self) -> dict[str, Outage]:
        """The clusters that cannot be read.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            rows = await connection.execute(select(outages.c.cluster_id, outages.c.since, outages.c.told))
            return {row.cluster_id: Outage(row.since, row.told) for row in rows}

    @to_the_end
    async def note_outage(self, cluster_id: str, outage: Outage | None) -> None:
        """Write down that a cluster cannot be read, or can be again.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        async with self._begin() as connection:
            await connection.execute(delete(outages).where(outages.c.cluster_id == cluster_id))
            if outage:
                await connection.execute(
                    insert(outages).values(cluster_id=cluster_id, since=outage.since, told=outage.told)
                )

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        async with self.database.begin() as connection:
            if self._lease:
                await self._lease.check(connection)
            yield connection

    async def _look(self, connection: AsyncConnection, ref: RemediationRef) -> Look | None:
        found = await connection.execute(
            select(
                alerts.c.body,
                first_approvals.c.mode,
                first_approvals.c.user_id,
                first_approvals.c.at,
                first_approvals.c.job_id,
                exists().where(about(decisions.c, ref), decisions.c.status == ACTIVE).label("deciding"),
                now(self.database, self._clock).label("present"),
            )
            .select_from(alerts.outerjoin(first_approvals, about(first_approvals.c, ref)))
            .where(about(alerts.c, ref))
        )
        row = found.first()
        if row is None:
            return None
        first = FirstApproval(row.user_id, row.mode, row.at, row.job_id) if row.user_id is not None else None
        return Look(to_alert(row.body), first, bool(row.deciding), float(row.present))

    async def _read_clock(self, connection: AsyncConnection) -> float:
        return float((await connection.execute(select(now(self.database, self._clock)))).scalar_one())


async def change_alert(
    database: Database, clock: Clock, connection: AsyncConnection, ref: RemediationRef, change: Change
) -> Alert | None:
    """Change an alert inside a transaction; like `Alerts.change`."""
    found = await connection.execute(
        select(alerts.c.body, now(database, clock).label("present")).where(about(alerts.c, ref)).with_for_update()
    )
    row = found.first()
    if row is None:
        return None
    before = to_alert(row.body)
    after = change(before, float(row.present))
    if after is None:
        return None
    after = replace(after, version=before.version + 1)
    await connection.execute(update(alerts).where(about(alerts.c, ref)).values(**_columns(after)))
    if after.digest_id:
        await wake_digest(connection, after.digest_id)
    return after


def to_alert(body: str) -> Alert:
    """The alert that a row holds."""
    return _ALERTS.validate_json(body)


async def wake_digest(connection: AsyncConnection, digest_id: str) -> None:
    """Let a digest be drawn anew, because of what it shows of others."""
    await connection.execute(
        update(digests)
        .where(digests.c.id == digest_id, digests.c.is_open)
        .values(next_at=0.0, version=digests.c.version + 1)
    )


async def _find_digest(connection: AsyncConnection, digest_id: str, *, to_change: bool = False) -> Digest | None:
    wanted = _DIGEST.where(digests.c.id == digest_id)
    row = (await connection.execute(wanted.with_for_update() if to_change else wanted)).first()
    return None if row is None else _to_digest(row)


def _to_digest(row: Row[str, int, float | None]) -> Digest:
    """The digest that a row holds; what may have been written without the body counts."""
    return replace(_DIGESTS.validate_json(row.body), version=row.version, next_at=row.next_at)


def _ids(ref: RemediationRef) -> dict[str, str]:
    return {"cluster_id": ref.cluster_id, "instance_id": ref.instance_id, "remediation_id": ref.remediation_id}


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


def _digest_columns(digest: Digest) -> dict[str, Any]:
    return {
        "is_open": not digest.done,
        "next_at": None if digest.done else digest.next_at,
        "seen_at": digest.seen_at,
        "version": digest.version,
        "ts": digest.ts,
        "body": dump(_DIGESTS, digest),
    }
