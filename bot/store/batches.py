"""Batches: many decisions that one person asked for at once, each a decision of its own in the other tables."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.models import Answer, Batch, BatchItem, BatchStatus, Outcome, RemediationRef, Request, Shown
from bot.store.alerts import wake_digest
from bot.store.engine import Database, now, read_clock, to_the_end
from bot.store.rows import dump
from bot.store.tables import about, batch_items, batches, decisions

LEASE_SECONDS = 60.0
_BATCHES = TypeAdapter(Batch)


class Batches:
    """The statements.

    Two processes that run the same batch do no harm: each of its decisions has a key that lets it happen once.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    @to_the_end
    async def ask(self, batch: Batch, items: Sequence[BatchItem]) -> None:
        """Keep what a person has selected until they confirm it.

        Raises:
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            present = await self._read_clock(connection)
            kept = replace(batch, asked_at=present)
            await connection.execute(insert(batches).values(id=batch.id, lease_until=0.0, **_columns(kept)))
            await connection.execute(insert(batch_items), [_item_columns(batch.id, item) for item in items])

    @to_the_end
    async def begin(self, batch_id: str, user_id: str) -> Batch | None:
        """Begin a batch that was confirmed. None where it has begun already, is not known or somebody else's.

        Raises:
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            present = await self._read_clock(connection)
            taken = await connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.status == BatchStatus.ASKED)
                .values(status=BatchStatus.RUNNING, lease_until=present + LEASE_SECONDS)
                .returning(batches.c.body)
            )
            body = taken.scalar()
            if body is None:
                return None
            asked = _BATCHES.validate_json(body)
            if asked.actor.user_id != user_id:
                await connection.rollback()
                return None
            batch = replace(asked, status=BatchStatus.RUNNING, asked_at=present)
            await self._write(connection, batch)
            return batch

    @to_the_end
    async def take_over(self, *, at_start: bool = False) -> list[tuple[Batch, float]]:
        """Take the running batches of processes that are gone, each with the seconds since a sign of life.

        Args:
            at_start: with SQLite, whatever is running then was left behind: the file belongs to one process.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        present, c = now(self.database, self._clock), batches.c
        left = select(c.id, c.lease_until, c.body).where(c.status == BatchStatus.RUNNING)
        if not (at_start and self.database.is_sqlite):
            left = left.where(c.lease_until < present)
        async with self.database.begin() as connection:
            taken = (await connection.execute(left.with_for_update(skip_locked=True))).all()
            ids = [row.id for row in taken]
            await connection.execute(update(batches).where(c.id.in_(ids)).values(lease_until=present + LEASE_SECONDS))
            moment = await read_clock(self.database, self._clock, connection)
            return [
                (_BATCHES.validate_json(row.body), max(0.0, moment - row.lease_until + LEASE_SECONDS)) for row in taken
            ]

    @to_the_end
    async def void(self, batch_id: str) -> None:
        """Make sure that a batch whose beginning is in doubt is not carried out.

        Raises:
            StoreUnavailable: not yet; try again.
        """
        begun = batches.c.status.in_((BatchStatus.ASKED, BatchStatus.RUNNING))
        async with self.database.begin() as connection:
            await connection.execute(
                update(batches).where(batches.c.id == batch_id, begun).values(status=BatchStatus.VOID)
            )

    @to_the_end
    async def keep(self, batch_id: str) -> bool:
        """Give a sign of life. Gives back whether the batch is to be carried out still.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        c, until = batches.c, now(self.database, self._clock) + LEASE_SECONDS
        async with self.database.begin() as connection:
            kept = await connection.execute(
                update(batches)
                .where(c.id == batch_id, c.status == BatchStatus.RUNNING)
                .values(lease_until=until)
                .returning(c.id)
            )
            return kept.first() is not None

    @to_the_end
    async def begun(self, batch_id: str, numbers: Sequence[int]) -> set[int]:
        """Which decisions of a batch are under way, or were.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        keys = {decision_key(batch_id, number): number for number in numbers}
        c = decisions.c
        async with self.database.begin() as connection:
            rows = await connection.execute(select(c.dedup_key).where(c.dedup_key.in_(keys)))
            return {keys[key] for key in rows.scalars()}

    @to_the_end
    async def hand_back(self, batch_id: str) -> None:
        """Let the next process go on at once.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        just_over = now(self.database, self._clock) - 0.001
        async with self.database.begin() as connection:
            await connection.execute(update(batches).where(batches.c.id == batch_id).values(lease_until=just_over))

    @to_the_end
    async def items(self, batch_id: str) -> list[BatchItem]:
        """What stands in a batch, in its order.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            rows = await connection.execute(
                select(batch_items).where(batch_items.c.batch_id == batch_id).order_by(batch_items.c.number)
            )
            return [_to_item(row) for row in rows.mappings()]

    @to_the_end
    async def outcome(self, batch_id: str, number: int) -> str | None:
        """What has come of one decision; None while it is not known.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = batch_items.c
        async with self.database.begin() as connection:
            found = await connection.execute(select(c.outcome).where(c.batch_id == batch_id, c.number == number))
            outcome: str | None = found.scalar()
            return outcome

    @to_the_end
    async def finish(self, batch: Batch) -> None:
        """Close a batch.

        Raises:
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            # What only the telling needed is forgotten.
            place = replace(batch.place, response_url=None)
            await self._write(connection, replace(batch, place=place, status=BatchStatus.DONE))

    @to_the_end
    async def of_digest(self, digest_id: str) -> list[tuple[Batch, list[BatchItem]]]:
        """The batches that were confirmed on a digest, the oldest first.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = batches.c
        async with self.database.begin() as connection:
            bodies = await connection.execute(
                select(c.body)
                .where(c.digest_id == digest_id, c.status.in_((BatchStatus.RUNNING, BatchStatus.DONE)))
                .order_by(c.asked_at)
            )
            found = [_BATCHES.validate_json(body) for body in bodies.scalars()]
        return [(batch, await self.items(batch.id)) for batch in found]

    async def _write(self, connection: AsyncConnection, batch: Batch) -> None:
        await connection.execute(update(batches).where(batches.c.id == batch.id).values(**_columns(batch)))
        await wake_digest(connection, batch.digest_id)

    async def _read_clock(self, connection: AsyncConnection) -> float:
        return float((await connection.execute(select(now(self.database, self._clock)))).scalar_one())


def decision_key(batch_id: str, number: int) -> str:
    """The key by which a decision of a batch happens once."""
    return f"batch {batch_id} {number}"


async def note_outcome(connection: AsyncConnection, request: Request, outcome: Outcome, answer: Answer) -> None:
    """Write down what has come of one decision of a batch, in the transaction of its outcome."""
    await connection.execute(
        update(batch_items)
        .where(batch_items.c.batch_id == request.batch_id, about(batch_items.c, request.ref))
        .values(outcome=outcome.name, summary=answer.summary)
    )


def _columns(batch: Batch) -> dict[str, Any]:
    return {
        "digest_id": batch.digest_id,
        "status": batch.status,
        "asked_at": batch.asked_at,
        "body": dump(_BATCHES, batch),
    }


def _item_columns(batch_id: str, item: BatchItem) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "number": item.number,
        "cluster_id": item.ref.cluster_id,
        "instance_id": item.ref.instance_id,
        "remediation_id": item.ref.remediation_id,
        "node": item.node,
        "shown_mode": item.shown.mode,
        "shown_state": item.shown.state,
    }


def _to_item(row: RowMapping) -> BatchItem:
    return BatchItem(
        number=row["number"],
        ref=RemediationRef(row["cluster_id"], row["instance_id"], row["remediation_id"]),
        node=row["node"],
        shown=Shown(row["shown_mode"], row["shown_state"]),
        outcome=row["outcome"],
        summary=row["summary"] or "",
    )
