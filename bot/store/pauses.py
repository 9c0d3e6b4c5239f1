"""Pauses: approvals that somebody has stopped for a time, in one cluster or in all."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from bot.models import Actor, AuditNote, Braked, Pause, Pauser
from bot.store import audit
from bot.store.audit import storable
from bot.store.connection import Connection, Rows, dump, is_among, json_list, read_clock, read_json
from bot.store.tables import WAKE, clusters, faults, inbox, messages, pauses, upsert
from bot.store.tables import audit as trail

_MOST = 20  # people with a pause of the same clusters; those that would end first are left out
# The key of the row with the shorter pauses of a cluster: release 0.1 deletes the other one when the longest ends.
_AND_OTHERS = " others"
_NAMES = select(func.coalesce(func.max(clusters.c.name), ""))
_NAME = _NAMES.where(
    pauses.c.cluster_id.in_([clusters.c.cluster_id, clusters.c.cluster_id + _AND_OTHERS])
).scalar_subquery()
_HELD = select(pauses, _NAME.label("cluster")).where(
    or_(bindparam("b_all"), is_among("b_clusters", pauses.c.cluster_id))
)
_TO_CHANGE = _HELD.with_for_update()
_BRAKED = (
    select(
        faults.c.cluster_id,
        faults.c.brake,
        _NAMES.where(clusters.c.cluster_id == faults.c.cluster_id).scalar_subquery(),
    )
    .where(or_(bindparam("b_all"), is_among("b_clusters", faults.c.cluster_id)), faults.c.brake.is_not(None))
    .order_by(faults.c.cluster_id)
)
# Both rows are there from the beginning, so that of two who pause or resume at once neither forgets the other: who
# waits for a row doesn't see one that comes since.
_MAKE = insert(pauses).values(user_id="", until=0.0).on_conflict_do_nothing()
_WRITE = upsert(pauses)
_CONCERNS = or_(
    bindparam("b_cluster") == "", messages.c.cluster_id == bindparam("b_cluster"), messages.c.cluster_id.is_(None)
)
_ASKED_AT = select(inbox.c.received_at).where(inbox.c.key == bindparam("b_key")).scalar_subquery()
_PAUSED_SINCE = (
    select(trail.c.seq)
    .where(
        trail.c.user_id == bindparam("b_user"), trail.c.event == "paused",
        trail.c.cluster_id == bindparam("b_cluster"), trail.c.at > _ASKED_AT,
    )
    .limit(1)
)  # fmt: skip
_WAKE = WAKE.where(messages.c.is_open, _CONCERNS)


def active(connection: Connection, clusters: Collection[str]) -> Pause | None:
    """Return what pauses approvals of any of these clusters now, inside a transaction: people, the brake, or both.

    Args:
        clusters: with an empty ID among them, all that are paused.
    """
    keys = ["", *clusters]
    chosen = {"b_all": "" in clusters, "b_clusters": json_list([*keys, *(f"{key}{_AND_OTHERS}" for key in keys)])}
    rows, brakes = connection.execute(_HELD, chosen), connection.execute(_BRAKED, chosen)
    people = _held(connection, rows) if rows else []
    return Pause(tuple(people), tuple(Braked(*row) for row in brakes)) if people or brakes else None


def _held(connection: Connection, rows: Rows) -> list[Pauser]:
    """Return the pauses of some rows that hold, the longest first."""
    present, people = read_clock(connection), list[Pauser]()
    for row in rows:
        if not row.cluster_id.endswith(_AND_OTHERS):
            people.append(Pauser(row.user_id, row.until, row.cluster_id, row.reason, row.cluster))
        if others := read_json(list[Pauser], row.others, "A pause can't be read"):
            people += [replace(pauser, cluster=row.cluster) for pauser in others]
    return sorted((pauser for pauser in people if pauser.until > present), key=lambda pauser: -pauser.until)


def _to_change(connection: Connection, cluster_id: str) -> list[Pauser]:
    keys = cluster_id, f"{cluster_id}{_AND_OTHERS}"
    connection.execute(_MAKE, [{"cluster_id": key} for key in keys])
    return _held(connection, connection.execute(_TO_CHANGE, b_all=False, b_clusters=json_list(keys)))


def begin(  # noqa: PLR0913, PLR0917 - what is paused, for how long, by whom, and why
    connection: Connection,
    cluster_id: str,
    seconds: float,
    actor: Actor,
    channel_id: str | None,
    reason: str = "",
    key: str = "",
) -> float:
    """Pause approvals from now on, in place of the same person's pause, and let every message concerned show it.

    Args:
        key: of the request in the inbox: a pause that the person asked for after it stays as it is.

    Returns:
        Until when.
    """
    present = _to_change(connection, cluster_id)
    others = [pauser for pauser in present if pauser.user_id != actor.user_id]
    newer = connection.execute(_PAUSED_SINCE, b_key=key, b_user=actor.user_id, b_cluster=cluster_id)
    if newer and len(others) < len(present):
        return next(pauser.until for pauser in present if pauser not in others)
    own = Pauser(actor.user_id, read_clock(connection) + seconds, cluster_id, storable(reason))
    _write(connection, cluster_id, [*others, own])
    audit.note(connection, AuditNote("paused", actor, channel_id, cluster_id=cluster_id, reason=reason))
    wake(connection, cluster_id)
    return own.until


def end(  # noqa: PLR0913, PLR0917 - whose pauses, who ends them, and why
    connection: Connection,
    cluster_id: str,
    actor: Actor,
    channel_id: str | None,
    chosen: Collection[str] | None,
    reason: str,
) -> list[Pauser]:
    """End people's pauses of a cluster, and return them.

    Args:
        chosen: their keys, also of pauses of all clusters, or user IDs; None for all pauses of the cluster. With an
            empty cluster ID, the keys may be of any cluster's.
    """
    ended: list[Pauser] = []
    clusters = {cluster_id: None} if chosen is None else dict.fromkeys((cluster_id, ""))
    if chosen is not None and not cluster_id and (pause := active(connection, [""])):
        clusters |= dict.fromkeys(pauser.cluster_id for pauser in pause.people)
    for paused_id in clusters:
        held = _to_change(connection, paused_id)
        meant = {one.key for one in held} if chosen is None else {*chosen}
        mine = [one for one in held if one.key in meant or (paused_id == cluster_id and one.user_id in meant)]
        if mine:
            _write(connection, paused_id, [one for one in held if one not in mine])
            audit.note(connection, AuditNote("resumed", actor, channel_id, cluster_id=paused_id, reason=reason))
            wake(connection, paused_id)
        ended += mine
    return ended


def _write(connection: Connection, cluster_id: str, people: Sequence[Pauser]) -> None:
    longest, *others = sorted(people, key=lambda pauser: -pauser.until) or [Pauser("", 0.0)]
    next_one = Pauser("", others[0].until if others else 0.0)
    beside = cluster_id + _AND_OTHERS
    for key, one, rest in (cluster_id, longest, list[Pauser]()), (beside, next_one, others[: _MOST - 1]):
        written = {"user_id": one.user_id, "until": one.until, "reason": one.reason}
        connection.execute(_WRITE, written, cluster_id=key, others=dump(rest))


def wake(connection: Connection, cluster_id: str) -> None:
    """Have every message that a pause concerns drawn again."""
    connection.execute(_WAKE, b_cluster=cluster_id)
