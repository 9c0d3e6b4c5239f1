"""What is wrong in clusters as a whole, so that every process can show it, and a restart repeats nothing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import bindparam, delete, select

from bot.models import Actor, AuditNote, EventKind, FaultReport, LinkedAlert
from bot.store import audit, messages, pauses
from bot.store.connection import Connection, dump, read_json
from bot.store.outbox import Data, emit
from bot.store.tables import faults, upsert

_KNOWN = select(faults)
_IN_CLUSTER = faults.c.cluster_id == bindparam("b_cluster")
_ONE = _KNOWN.where(_IN_CLUSTER).with_for_update()
_WRITE = upsert(faults)
_DROP = delete(faults).where(_IN_CLUSTER)
_BRAKE = Actor("", "storm brake", None)


def known(connection: Connection) -> dict[str, FaultReport]:
    """Return the reports by cluster."""
    return {
        row.cluster_id: report for row in connection.execute(_KNOWN) if (report := read_json(FaultReport, row.body))
    }


def drop_unreadable(connection: Connection) -> None:
    """Forget the reports of another version: they are read at Together again, and pause nothing.

    Raises:
        LeaseLost: another process watches now.
    """
    for row in connection.execute(_KNOWN):
        if read_json(FaultReport, row.body) is None:
            _drop(connection, row.cluster_id)


def _drop(connection: Connection, cluster_id: str) -> None:
    """Drop the report of another version: it must pause nothing that nobody can resume."""
    connection.execute(_DROP, b_cluster=cluster_id)
    pauses.wake(connection, cluster_id)


def _one(connection: Connection, cluster_id: str) -> FaultReport | None:
    """Return the report of a cluster; None for one of another version."""
    row = connection.execute(_ONE, b_cluster=cluster_id).first()
    return read_json(FaultReport, row.body) if row else FaultReport()


def change(
    connection: Connection,
    cluster_id: str,
    change: Callable[[FaultReport], FaultReport],
    told: Data | None = None,
    resumed: AuditNote | None = None,
) -> FaultReport:
    """Change the report of a cluster. Returns what it has become.

    Args:
        told: what other tools are told with it.
        resumed: the audit trail's row where a person ends the storm brake.

    Raises:
        LeaseLost: another process watches now.
    """
    report = _one(connection, cluster_id)
    if report is None:
        _drop(connection, cluster_id)
    before = report or FaultReport()
    after = change(before)
    if after != before and after.is_empty:
        connection.execute(_DROP, b_cluster=cluster_id)
    elif after != before:
        connection.execute(_WRITE, cluster_id=cluster_id, brake=after.braked, body=dump(after))
    if told is not None:
        emit(connection, EventKind.UNREPAIRED, cluster_id, {"cluster_id": cluster_id, **told})
    was_latched, is_latched = before.braked is not None, after.braked is not None
    if was_latched is not is_latched and (brake := after.brake or before.brake):
        # The audit trail's lock comes with it: no approval leaves between its look at the pauses and this.
        note = resumed or AuditNote("braked" if is_latched else "released", _BRAKE, None, cluster_id=cluster_id)
        audit.note(connection, note)
        pauses.wake(connection, cluster_id)
        about: Data = {"cluster_id": cluster_id, "is_over": not is_latched, "by": note.actor.user_id or None}
        emit(connection, EventKind.BRAKE, cluster_id, about | {"broken": brake.broken, "nodes": brake.nodes})
    return after


def note_firing(
    connection: Connection,
    cluster_id: str,
    firing: Sequence[LinkedAlert],
    verify_seconds: float,
    noted: Callable[[FaultReport, messages.Returns], FaultReport],
) -> FaultReport:
    """Mark repairs whose fault fires again, and change the report with that: nobody is called twice for one fault.

    Raises:
        LeaseLost: another process watches now.
    """
    found = messages.note_firing(connection, cluster_id, firing, verify_seconds)
    return change(connection, cluster_id, lambda report: noted(report, found))


def resume(  # noqa: PLR0913, PLR0917 - what ends, who ends it, and why
    connection: Connection,
    cluster_id: str,
    actor: Actor,
    channel_id: str | None,
    reason: str,
    chosen: Collection[str] | None,
    since: str,
) -> str:
    """End what somebody was shown to pause approvals of a cluster: people's pauses, the storm brake, or both.

    Args:
        chosen: as `pauses.end` takes it.
        since: of the brake, as `Brake.as_shown`; empty for none.

    Returns:
        What of it held still, as words: USER/CLUSTER for each person's pause, and "brake".
    """
    report = _one(connection, cluster_id)
    people = pauses.end(connection, cluster_id, actor, channel_id, chosen, reason)
    ended = [f"{pauser.user_id}/{pauser.cluster_id}" for pauser in people]
    brake = report and report.brake
    if not brake or not brake.is_latched or not brake.is_as(since):
        return " ".join(ended)
    over = replace(brake, resumed_by=actor.user_id, resumed_because=reason, resumed_at=brake.broken, quiet_since=0.0)
    note = AuditNote("resumed", actor, channel_id, cluster_id=cluster_id, reason=reason)
    change(connection, cluster_id, partial(replace, brake=over), resumed=note)
    return " ".join([*ended, "brake"])
