"""Pauses: approvals that somebody has stopped for a time, in one cluster or in all."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from bot.models import Actor, AuditNote, Pause
from bot.store import audit
from bot.store.audit import storable
from bot.store.connection import Connection, is_among, listed, now, read_clock
from bot.store.database import Database
from bot.store.tables import faults, messages, pauses

p, m = pauses.c, messages.c
_ACTIVE = (
    select(p.user_id, p.until, p.cluster_id, p.reason)
    .where(is_among("b_clusters", p.cluster_id), p.until > now())
    .order_by(p.until.desc())
    .limit(1)
)  # fmt: skip
_BRAKED = (
    select(faults.c.cluster_id, faults.c.brake)
    .where(or_(bindparam("b_all"), is_among("b_clusters", faults.c.cluster_id)), faults.c.brake.is_not(None))
    .order_by(faults.c.cluster_id)
    .limit(1)
)
_SET = {
    "user_id": bindparam("b_user"), "until": now() + bindparam("b_seconds"), "reason": bindparam("b_reason"),
}  # fmt: skip
# A shorter pause ends nobody else's: theirs stays as it is.
_REPLACES = or_(p.user_id == bindparam("b_user"), p.until <= now() + bindparam("b_seconds"))
_PAUSE = (
    insert(pauses)
    .values(cluster_id=bindparam("b_cluster"), **_SET)
    .on_conflict_do_update(index_elements=["cluster_id"], set_=_SET, where=_REPLACES)
)
_THEIRS = or_(bindparam("b_user") == "", p.user_id == bindparam("b_user"))
_RESUME = delete(pauses).where(p.cluster_id == bindparam("b_cluster"), p.until > now(), _THEIRS)
_CONCERNS = or_(bindparam("b_cluster") == "", m.cluster_id == bindparam("b_cluster"), m.cluster_id.is_(None))
_WAKE = update(messages).where(m.is_open, _CONCERNS).values(next_at=0.0, version=m.version + 1)


@dataclass(slots=True)
class Pauses:
    """The transactions. Each may raise StorageUnavailable. An empty cluster ID means all clusters."""

    database: Database

    async def active(self, cluster_id: str) -> Pause | None:
        """Return the pause that holds for a cluster now."""
        return await self.database.read(active_pause, [cluster_id])


def active_pause(connection: Connection, clusters: Collection[str]) -> Pause | None:
    """Return what pauses approvals of any of these clusters now, inside a transaction: somebody, the brake, or both."""
    row = connection.execute(_ACTIVE, {"b_clusters": listed(["", *clusters])}).first()
    pause = Pause(row.user_id, row.until, row.cluster_id, reason=row.reason) if row else None
    braked = connection.execute(_BRAKED, {"b_all": "" in clusters, "b_clusters": listed(clusters)}).first()
    return replace(pause or Pause(), brake=braked.brake, braked=braked.cluster_id) if braked else pause


def begin_pause(  # noqa: PLR0913, PLR0917 - what is paused, for how long, by whom, and why
    connection: Connection, cluster_id: str, seconds: float, actor: Actor, channel_id: str | None, reason: str = ""
) -> float:
    """Pause approvals from now on, and let every message that is concerned show it.

    Returns:
        Until when; somebody else's pause that is longer stays instead.
    """
    values = {"b_cluster": cluster_id, "b_user": actor.user_id, "b_seconds": seconds, "b_reason": storable(reason)}
    connection.execute(_PAUSE, values)
    audit.note(connection, AuditNote("paused", actor, channel_id, cluster_id=cluster_id, reason=reason))
    wake(connection, cluster_id)
    return read_clock(connection) + seconds


def end_pause(  # noqa: PLR0913, PLR0917 - whose pause, who ends it, and why
    connection: Connection, cluster_id: str, actor: Actor, channel_id: str | None, user_id: str = "", reason: str = ""
) -> bool:
    """End a person's pause; that of `user_id` alone, where one is given. Returns False where there is none."""
    if not connection.execute(_RESUME, {"b_cluster": cluster_id, "b_user": user_id}).rowcount:
        return False
    audit.note(connection, AuditNote("resumed", actor, channel_id, cluster_id=cluster_id, reason=reason))
    wake(connection, cluster_id)
    return True


def wake(connection: Connection, cluster_id: str) -> None:
    """Let every message that a pause concerns be drawn again."""
    connection.execute(_WAKE, {"b_cluster": cluster_id})
