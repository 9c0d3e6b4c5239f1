"""Batches: many decisions that one person asked for at once, each a decision of its own in the other tables."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from bot.models import Answer, Batch, BatchItem, BatchStatus, Outcome, OutcomeKind, RemediationRef, Request, Shown
from bot.store.alerts import wake_digest
from bot.store.database import Database, now, read_clock
from bot.store.serialization import dump
from bot.store.tables import batch_items, batches, decisions, ids_of, key_of, one_remediation

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
_BATCHES = TypeAdapter(Batch)
b, i = batches.c, batch_items.c
_ID = b.id == bindparam("b_id")
_UNTIL = now() + LEASE_SECONDS
_INSERT = insert(batches).on_conflict_do_nothing().returning(b.id)
_INSERT_ITEMS, _UPDATE = insert(batch_items), update(batches).where(_ID)
_BEGIN = (
    update(batches)
    .where(_ID, b.status == BatchStatus.ASKED)
    .values(status=BatchStatus.RUNNING, lease_until=_UNTIL)
    .returning(b.body)
)
_LEFT = (
    select(b.id, b.lease_until, b.body)
    .where(b.status == BatchStatus.RUNNING, or_(b.lease_until < now(), bindparam("b_all")))
    .with_for_update(skip_locked=True)
)
_TAKE = update(batches).where(b.id.in_(bindparam("b_ids", expanding=True))).values(lease_until=_UNTIL)
_VOID = (
    update(batches).where(_ID, b.status.in_((BatchStatus.ASKED, BatchStatus.RUNNING))).values(status=BatchStatus.VOID)
)
_KEEP = update(batches).where(_ID, b.status == BatchStatus.RUNNING).values(lease_until=_UNTIL).returning(b.id)
_RELEASE = update(batches).where(_ID).values(lease_until=now() - 0.001)
_KEYS = select(decisions.c.dedup_key).where(decisions.c.dedup_key.in_(bindparam("b_keys", expanding=True)))
_ITEMS = select(batch_items).where(i.batch_id == bindparam("b_id")).order_by(i.number)
_OUTCOME = select(i.outcome).where(i.batch_id == bindparam("b_id"), i.number == bindparam("b_number"))
_OF_DIGEST = (
    select(b.body)
    .where(b.digest_id == bindparam("b_id"), b.status.in_((BatchStatus.RUNNING, BatchStatus.DONE)))
    .order_by(b.asked_at)
)
_RECORD_ITEM = (
    update(batch_items)
    .where(i.batch_id == bindparam("b_id"), one_remediation(i))
    .values(outcome=bindparam("b_outcome"), summary=bindparam("b_summary"))
)
_RECORD_ODD_ITEM = (
    update(batch_items)
    .where(i.batch_id == bindparam("b_id"), i.number == bindparam("b_number"))
    .values(outcome=bindparam("b_outcome"), summary="")
)


class Batches:
    """The transactions. Each may raise StorageUnavailable.

    Two processes that run the same batch do no harm: each of its decisions has a key that lets it happen once.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def ask(self, batch: Batch, items: Sequence[BatchItem]) -> bool:
        """Keep what a person has selected until they confirm it. Returns False for a redelivery of the same press."""
        return await self.database.run(_ask, batch, items)

    async def begin(self, batch_id: str, user_id: str) -> Batch | None:
        """Begin a batch that was confirmed. None where it has begun already, is not known or somebody else's."""
        return await self.database.run(_begin, batch_id, user_id)

    async def take_over(self, *, at_start: bool = False) -> list[tuple[Batch, float]]:
        """Take the running batches of processes that are gone, each with the seconds since a sign of life.

        Args:
            at_start: with SQLite, whatever is running then was left behind: the file belongs to one process.
        """
        return await self.database.run(_take_over, take_all=at_start and self.database.is_sqlite)

    async def void(self, batch_id: str) -> None:
        """Make sure that a batch whose beginning is in doubt is not carried out."""
        await self.database.run(_execute, _VOID, {"b_id": batch_id})

    async def keep(self, batch_id: str) -> bool:
        """Give a sign of life. Returns whether the batch is to be carried out still."""
        return await self.database.run(_execute, _KEEP, {"b_id": batch_id}) is not None

    async def begun(self, batch_id: str, numbers: Sequence[int]) -> set[int]:
        """Return which decisions of a batch are under way, or were."""
        return await self.database.read(_begun, batch_id, numbers)

    async def release(self, batch_id: str) -> None:
        """Let the next process continue at once."""
        await self.database.run(_execute, _RELEASE, {"b_id": batch_id})

    async def items(self, batch_id: str) -> list[BatchItem]:
        """Return what a batch consists of, in its order."""
        return await self.database.read(_items, batch_id)

    async def outcome(self, batch_id: str, number: int) -> str | None:
        """Return the outcome of one decision; None while it is not known."""
        found: str | None = await self.database.read(_scalar, _OUTCOME, {"b_id": batch_id, "b_number": number})
        return found

    async def finish(self, batch: Batch) -> None:
        """Close a batch, and drop what only its answers needed."""
        closed = replace(batch, place=replace(batch.place, response_url=None), status=BatchStatus.DONE)
        await self.database.run(_write, closed)

    async def of_digest(self, digest_id: str) -> list[tuple[Batch, list[BatchItem]]]:
        """Return the batches that were confirmed on a digest, the oldest first."""
        return await self.database.read(_of_digest, digest_id)


def _ask(connection: Connection, batch: Batch, items: Sequence[BatchItem]) -> bool:
    kept = replace(batch, asked_at=read_clock(connection))
    if connection.execute(_INSERT, {"id": batch.id, "lease_until": 0.0, **_columns(kept)}).first() is None:
        return False
    connection.execute(_INSERT_ITEMS, [_item_row(batch.id, item) for item in items])
    return True


def _begin(connection: Connection, batch_id: str, user_id: str) -> Batch | None:
    present = read_clock(connection)
    body = connection.execute(_BEGIN, {"b_id": batch_id}).scalar()
    if body is None:
        return None
    asked = _BATCHES.validate_json(body)
    if asked.actor.user_id != user_id:
        connection.rollback()
        return None
    batch = replace(asked, status=BatchStatus.RUNNING, asked_at=present)
    _write(connection, batch)
    return batch


def _take_over(connection: Connection, *, take_all: bool) -> list[tuple[Batch, float]]:
    taken = connection.execute(_LEFT, {"b_all": take_all}).all()
    if taken:
        connection.execute(_TAKE, {"b_ids": [row.id for row in taken]})
    moment, found = read_clock(connection), []
    for row in taken:
        try:
            batch = _BATCHES.validate_json(row.body)
        except ValueError as error:
            logger.error("Batch %s can't be read and is set aside: %s", row.id, type(error).__name__)  # noqa: TRY400 - it may hold a response_url
            connection.execute(_VOID, {"b_id": row.id})
        else:
            found.append((batch, max(0.0, moment - row.lease_until + LEASE_SECONDS)))
    return found


def _begun(connection: Connection, batch_id: str, numbers: Sequence[int]) -> set[int]:
    keys = {decision_key(batch_id, number): number for number in numbers}
    return {keys[key] for key in connection.execute(_KEYS, {"b_keys": list(keys)}).scalars()}


def _items(connection: Connection, batch_id: str) -> list[BatchItem]:
    return [_to_item(row) for row in connection.execute(_ITEMS, {"b_id": batch_id}).mappings()]


def _of_digest(connection: Connection, digest_id: str) -> list[tuple[Batch, list[BatchItem]]]:
    bodies = connection.execute(_OF_DIGEST, {"b_id": digest_id}).scalars().all()
    found = [_BATCHES.validate_json(body) for body in bodies]
    return [(batch, _items(connection, batch.id)) for batch in found]


def _write(connection: Connection, batch: Batch) -> None:
    connection.execute(_UPDATE, {"b_id": batch.id, **_columns(batch)})
    wake_digest(connection, batch.digest_id)


def _execute(connection: Connection, statement: Any, values: dict[str, Any]) -> Any:  # noqa: ANN401 - any statement
    result = connection.execute(statement, values)
    return result.scalar() if result.returns_rows else None


def _scalar(connection: Connection, statement: Any, values: dict[str, Any]) -> Any:  # noqa: ANN401 - any statement
    return connection.execute(statement, values).scalar()


def decision_key(batch_id: str, number: int) -> str:
    """Return the key by which a decision of a batch happens once."""
    return f"batch {batch_id} {number}"


def record_item(connection: Connection, request: Request, outcome: Outcome, answer: Answer) -> None:
    """Record the outcome of one decision of a batch, in the transaction of its outcome."""
    values = {
        "b_id": request.batch_id,
        "b_outcome": outcome.kind.value,
        "b_summary": answer.summary,
        **key_of(request.ref),
    }
    connection.execute(_RECORD_ITEM, values)


def record_odd_item(connection: Connection, key: str) -> None:
    """Record that a decision can't be read, where its key says that it is one of a batch that waits for it."""
    kind, _, rest = key.partition(" ")
    batch_id, _, number = rest.partition(" ")
    if kind == "batch" and number.isdecimal():
        odd = {"b_id": batch_id, "b_number": int(number), "b_outcome": OutcomeKind.INTERNAL_ERROR.value}
        connection.execute(_RECORD_ODD_ITEM, odd)


def _columns(batch: Batch) -> dict[str, Any]:
    return {
        "digest_id": batch.digest_id,
        "status": batch.status,
        "asked_at": batch.asked_at,
        "body": dump(_BATCHES, batch),
    }


def _item_row(batch_id: str, item: BatchItem) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "number": item.number,
        **ids_of(item.ref),
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
