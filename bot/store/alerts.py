"""Alerts and digests: what the bot follows. Each write makes a new version: nobody draws over what is newer."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import JSON, ColumnElement, Text, and_, cast, delete, exists, func, select, tuple_, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.models import FIRST_APPROVAL_SECONDS, Alert, FirstApproval, RemediationRef
from bot.store.engine import Database, now, read_clock, to_the_end
from bot.store.lease import Leased
from bot.store.rows import dump
from bot.store.tables import ACTIVE, about, alerts, decisions, digests, first_approvals

_ALERTS = TypeAdapter(Alert)
_AT_ONCE = 500
Change = Callable[[Alert, float], Alert | None]


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


class Alerts(Leased):
    """The statements about single alerts."""

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
    async def vanished(self, refs: Collection[RemediationRef]) -> list[RemediationRef]:
        """Which of these have alerts that say that Together knows them no longer.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c, left = alerts.c, [(ref.cluster_id, ref.instance_id, ref.remediation_id) for ref in refs]
        ids = tuple_(c.cluster_id, c.instance_id, c.remediation_id)
        found: list[Alert] = []
        while left:
            some, left = left[:_AT_ONCE], left[_AT_ONCE:]
            async with self.database.begin() as connection:
                found += map(to_alert, await connection.scalars(select(c.body).where(ids.in_(some))))
        return [alert.remediation.ref for alert in found if alert.vanished]

    @to_the_end
    async def arrivals(self, seconds: float) -> list[RemediationRef]:
        """The alerts that were first seen within the last so many seconds.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = alerts.c
        async with self.database.begin() as connection:
            present = await read_clock(self.database, self._clock, connection)
            rows = await connection.execute(
                select(c.cluster_id, c.instance_id, c.remediation_id).where(c.seen_at > present - seconds)
            )
            return [RemediationRef(*row) for row in rows]

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
            present = await read_clock(self.database, self._clock, connection)
            for each in new:
                alert = replace(each, seen_at=present, remind_from=present)
                wanted = upsert(alerts).values(**alert_ids(alert.remediation.ref), **alert_columns(alert))
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
        """Which alerts are to be seen to now, some of them where there are very many.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = alerts.c
        async with self.database.begin() as connection:
            rows = await connection.execute(
                select(c.cluster_id, c.instance_id, c.remediation_id)
                .where(c.is_open, c.next_at <= now(self.database, self._clock), c.digest_id.is_(None))
                .order_by(func.random())  # in no order, so that those that cannot be seen to keep no others waiting
                .limit(_AT_ONCE)
            )
            return [RemediationRef(*row) for row in rows]

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
            .select_from(
                alerts.outerjoin(
                    first_approvals, and_(about(first_approvals.c, ref), first_counts(self.database, self._clock))
                )
            )
            .where(about(alerts.c, ref))
        )
        row = found.first()
        if row is None:
            return None
        first = FirstApproval(row.user_id, row.mode, row.at, row.job_id) if row.user_id is not None else None
        return Look(to_alert(row.body), first, bool(row.deciding), float(row.present))


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
    if _asks_anew(before, after):
        await forget_first_approval(connection, ref)
    await connection.execute(update(alerts).where(about(alerts.c, ref)).values(**alert_columns(after)))
    if after.digest_id:
        await wake_digest(connection, after.digest_id)
    return after


def _asks_anew(before: Alert, after: Alert) -> bool:
    """Whether it waits for something else than what somebody may have approved as the first of two."""
    return after.waits and not (before.waits and before.remediation.mode == after.remediation.mode)


def to_alert(body: str) -> Alert:
    """The alert that a row holds."""
    return _ALERTS.validate_json(body)


def first_counts(database: Database, clock: Clock) -> ColumnElement[bool]:
    """Whether a first approval is young enough to count, inside a statement."""
    return first_approvals.c.at > now(database, clock) - FIRST_APPROVAL_SECONDS


async def forget_first_approval(connection: AsyncConnection, ref: RemediationRef) -> None:
    """Let a first approval count no longer."""
    await connection.execute(delete(first_approvals).where(about(first_approvals.c, ref)))


def state_of_alert(database: Database) -> ColumnElement[str]:
    """The state of an alert's remediation, inside a statement."""
    body = type_coerce(alerts.c.body, JSON) if database.is_sqlite else cast(alerts.c.body, JSON)
    return type_coerce(body["remediation"]["state"].as_string(), Text)


async def wake_digest(connection: AsyncConnection, digest_id: str) -> None:
    """Let a digest be drawn anew, because of what it shows of others; one that was closed is opened again."""
    await connection.execute(
        update(digests)
        .where(digests.c.id == digest_id)
        .values(next_at=0.0, version=digests.c.version + 1, is_open=True)
    )


def alert_ids(ref: RemediationRef) -> dict[str, str]:
    """The key of a row."""
    return {"cluster_id": ref.cluster_id, "instance_id": ref.instance_id, "remediation_id": ref.remediation_id}


def alert_columns(alert: Alert) -> dict[str, Any]:
    """The other columns of a row."""
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
