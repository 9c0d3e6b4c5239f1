"""Batches: one row for a selection, and once it is confirmed a decision for each of its remediations.

The decisions of a batch are queued. Each one's outcome gives the next one its turn, in the same transaction: there is
always one that a process works on, or that another one takes over, until all have ended or the rest is left alone.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from bot.errors import OutcomeKind
from bot.models import (
    LIFETIME,
    TROUBLES,
    Actor,
    AuditNote,
    Batch,
    BatchItem,
    Job,
    ReplyTarget,
    Request,
    StopReason,
    new_id,
    stop_reason,
)
from bot.store import audit
from bot.store.connection import Connection, Record, Values, dump, now, read_clock, read_json
from bot.store.jobs import read_job
from bot.store.lease import LEASE_UNTIL, OWNER
from bot.store.tables import (
    ACTIVE,
    QUEUED,
    RECEIVED,
    SET_ASIDE,
    VOID,
    WAKE,
    batches,
    decisions,
    ids_of,
    messages,
)

ASKED, _CONFIRMED = "asked", "confirmed"
_ID, _OF_BATCH = batches.c.id == bindparam("b_id"), decisions.c.batch_id == bindparam("b_id")
_INSERT = insert(batches).values(status=ASKED, asked_at=now()).on_conflict_do_nothing()
_HAS_DIGEST = exists().where(messages.c.id == batches.c.digest_id)  # else nobody would learn the results
_ASKED_FOR = select(batches.c.body).where(_ID, batches.c.status == ASKED, _HAS_DIGEST).with_for_update()
_CHANGE = update(batches).where(_ID)
_CONFIRM = _CHANGE.values(status=_CONFIRMED, asked_at=now())
_QUEUE = insert(decisions).values(status=QUEUED, received_at=now(), lease_until=0.0, repeats=0, deliveries=0, fence=1)
_LOCK = select(batches.c.id).where(_ID).with_for_update()
_UNDER_WAY = select(*decisions.c).where(_OF_BATCH, decisions.c.status.in_((RECEIVED, ACTIVE)))
_LATEST = (
    select(decisions.c.outcome)
    .where(_OF_BATCH, decisions.c.outcome.is_not(None))
    .order_by(decisions.c.batch_number.desc())
    .limit(TROUBLES)
)
_NEXT = (
    select(decisions.c.id)
    .where(_OF_BATCH, decisions.c.status == QUEUED)
    .order_by(decisions.c.batch_number)
    .limit(1)
    .scalar_subquery()
)
_GIVE_TURN = (
    update(decisions)
    .where(decisions.c.id == _NEXT)
    .values(status=RECEIVED, owner=OWNER, received_at=now(), lease_until=LEASE_UNTIL)
    .returning(*decisions.c)
)
_ASK_AGAIN = (
    update(decisions)
    .where(decisions.c.id == bindparam("b_job"), decisions.c.owner == OWNER, decisions.c.status == RECEIVED)
    .values(fence=decisions.c.fence + 1, lease_until=LEASE_UNTIL)
    .returning(*decisions.c)
)
_BEGUN = select(decisions.c.id).where(_OF_BATCH, decisions.c.status != VOID).limit(1)
_LEAVE = (
    update(decisions)
    .where(_OF_BATCH, decisions.c.status.in_((QUEUED, RECEIVED)))
    .values(status=VOID, request=None, done_at=now())
    .returning(decisions.c.id)
)
_WAKE = WAKE.where(messages.c.id == select(batches.c.digest_id).where(_ID).scalar_subquery()).values(is_open=True)
_STUCK = (
    select(decisions.c.batch_id)
    .where(decisions.c.batch_id.in_(select(decisions.c.batch_id).where(decisions.c.status == QUEUED)))
    .group_by(decisions.c.batch_id)
    .having(func.max(func.coalesce(decisions.c.answered_at, decisions.c.received_at)) < now() - LIFETIME)
)
_CLUSTERS = select(func.count(func.distinct(decisions.c.cluster_id))).where(_OF_BATCH)
_OF_A_CLUSTER = {StopReason.PAUSED, StopReason.REPAIR_LIMIT}
_OF_DIGEST = (
    select(batches.c.id, batches.c.body, batches.c.asked_at, batches.c.stopped)
    .where(batches.c.digest_id == bindparam("b_digest"), batches.c.status == _CONFIRMED)
    .order_by(batches.c.asked_at)
)
_RESULTS = select(
    decisions.c.batch_number,
    decisions.c.status,
    decisions.c.outcome,
    decisions.c.summary,
    decisions.c.answered_at,
    decisions.c.sent_at,
).where(_OF_BATCH)


def ask(connection: Connection, batch: Batch) -> None:
    """Keep what a person has selected until they confirm it; a redelivery of the same press changes nothing."""
    connection.execute(_INSERT, id=batch.id, digest_id=batch.digest_id, body=dump(batch))


def take_back(connection: Connection, batch_id: str) -> bool:
    """Make sure that nothing of a batch begins from now on. What another process has begun is still reported.

    Returns:
        Whether nothing has.
    """
    _leave(connection, batch_id, StopReason.IN_DOUBT)
    is_none = not connection.execute(_BEGUN, b_id=batch_id)
    if is_none:
        connection.execute(_CHANGE, b_id=batch_id, status=VOID)
    _wake(connection, batch_id)
    return is_none


def confirm(connection: Connection, batch_id: str, user_id: str, reason: str, holder: Values) -> Job | None:
    """Write the decisions of a batch that its person confirms, and give the first one its turn.

    Returns:
        The first one; None where the batch was confirmed before, isn't known or somebody else's, or its digest is gone.
    """
    body = connection.execute(_ASKED_FOR, b_id=batch_id).scalar()
    batch = None if body is None else _read(batch_id, body)
    if batch is None or batch.actor.user_id != user_id:
        return None
    batch = replace(batch, reason=reason)
    connection.execute(_CONFIRM, b_id=batch_id, body=dump(batch))
    connection.execute(_QUEUE, [_row(batch, item) | {"owner": holder["b_owner"]} for item in batch.items])
    note = AuditNote("confirmed", batch.actor, batch.place.channel_id, batch.verb, batch_id=batch_id, reason=reason)
    audit.note(connection, note)
    _wake(connection, batch_id)
    return advance(connection, batch_id, holder)


def _row(batch: Batch, item: BatchItem) -> Record:
    place = ReplyTarget(batch.place.channel_id, batch.place.user_id)
    request = Request(
        batch.verb, item.ref, batch.actor, place, shown=item.shown, reason=batch.reason, batch_id=batch.id
    )
    return {
        "id": new_id(),
        "dedup_key": f"batch {batch.id} {item.number}",
        "verb": batch.verb.value,
        "user_id": batch.actor.user_id,
        "request": dump(request),
        "batch_id": batch.id,
        "batch_number": item.number,
        **ids_of(item.ref),
    }


def advance(connection: Connection, batch_id: str | None, holder: Values, began_at: float | None = None) -> Job | None:
    """Give the next decision of a batch its turn, or leave the rest alone where something stops it.

    Args:
        holder: which process carries it out, and for how long without a sign of life, as values of the statements.
        began_at: when the decision that has just ended got its turn, as Unix time in seconds.

    Returns:
        The decision that this owner is to carry out next; None too where there is no batch.
    """
    if batch_id is None:
        return None
    lock(connection, batch_id)
    if under_way := connection.execute(_UNDER_WAY, b_id=batch_id).first():
        # The commit that gave it its turn was in doubt, so this is the second time that it is asked for. Another task
        # of this process may have it by now, by a takeover: with a new fence, that one has lost it.
        row = connection.execute(_ASK_AGAIN, b_job=under_way.id, **holder).first()
        return read_job(connection, row) if row else None
    is_late = began_at is not None and read_clock(connection) - began_at > LIFETIME
    latest = connection.execute(_LATEST, b_id=batch_id).scalars()
    reason = StopReason.TOO_OLD if is_late else stop_reason(latest)
    if reason in _OF_A_CLUSTER and connection.execute(_CLUSTERS, b_id=batch_id).scalar() > 1:
        reason = None  # the others of the batch may be decided
    if reason:
        _leave(connection, batch_id, reason)
    else:
        while row := connection.execute(_GIVE_TURN, b_id=batch_id, **holder).first():
            if job := read_job(connection, row):
                return job
    _wake(connection, batch_id)
    return None


def _leave(connection: Connection, batch_id: str, why: str) -> bool:
    """Leave alone what has not begun: a decision has begun once it has claimed its remediation."""
    lock(connection, batch_id)
    is_any = bool(connection.execute(_LEAVE, b_id=batch_id))
    if is_any:
        connection.execute(_CHANGE, b_id=batch_id, stopped=why)
    return is_any


def stop(connection: Connection, batch_id: str, actor: Actor, channel_id: str | None) -> bool:
    """Leave alone what of a batch has not begun, because a person says so. Returns whether there was anything."""
    if not _leave(connection, batch_id, f"{StopReason.PERSON}:{actor.user_id}"):
        return False
    audit.note(connection, AuditNote("stopped", actor, channel_id, batch_id=batch_id))
    _wake(connection, batch_id)
    return True


def stop_stuck(connection: Connection) -> int:
    """Leave alone the rest of what has made no progress for ten minutes. Returns how many batches that were."""
    stuck = connection.execute(_STUCK).scalars()
    for batch_id in stuck:
        _leave(connection, batch_id, StopReason.TOO_OLD)
        _wake(connection, batch_id)
    return len(stuck)


def lock(connection: Connection, batch_id: str) -> None:
    """Keep others from changing a batch until the transaction ends."""
    connection.execute(_LOCK, b_id=batch_id)


def _wake(connection: Connection, batch_id: str) -> None:
    """Have a batch's digest looked at now, even one that was closed."""
    connection.execute(_WAKE, b_id=batch_id)


def of_digest(connection: Connection, digest_id: str) -> list[Batch]:
    """Return the batches that were confirmed on a digest, inside a transaction."""
    rows = connection.execute(_OF_DIGEST, b_digest=digest_id)
    return [_with_results(connection, batch, row) for row in rows if (batch := _read(row.id, row.body))]


def _with_results(connection: Connection, batch: Batch, row: Any) -> Batch:  # noqa: ANN401 - a row of _OF_DIGEST
    stopped, _, stopped_by = (row.stopped or "").partition(":")
    reason = StopReason(stopped) if stopped in set(StopReason) else StopReason.OTHER  # of a newer version
    results = {row.batch_number: row for row in connection.execute(_RESULTS, b_id=batch.id)}
    return replace(
        batch,
        asked_at=row.asked_at,
        stopped=reason if stopped else None,
        stopped_by=stopped_by,
        is_running=any(row.status in {QUEUED, RECEIVED, ACTIVE} for row in results.values()),
        items=[_with_result(item, results.get(item.number)) for item in batch.items],
    )


def _with_result(item: BatchItem, row: Any) -> BatchItem:  # noqa: ANN401 - a row of _RESULTS
    if row is None or row.status == VOID:
        return replace(item, is_left=True)
    if row.status == SET_ASIDE:
        outcome = OutcomeKind.INTERNAL_ERROR if row.sent_at else OutcomeKind.NOT_SENT
        return replace(item, outcome=outcome.value, answered_at=row.sent_at or 0.0)
    return replace(item, outcome=row.outcome, summary=row.summary or "", answered_at=row.answered_at or 0.0)


def _read(batch_id: str, body: str) -> Batch | None:
    return read_json(Batch, body, f"Batch {batch_id} can't be read")
