"""Moments that one watch notes for the next one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import bindparam, select

from bot.models import Alert
from bot.store.connection import Connection, read_clock
from bot.store.tables import cursors, upsert

READ = "read"  # since when Together has confirmed all that no message calls out of date
ALL_READ = "all read"  # since when every cluster was read
ALIVE = "alive"  # when there was a watch
GAP = "gap"  # when one began after a time without any
WATCHED = "watch"  # when one had lasted for long
LISTED = "listed"  # when the clusters were listed
UNREAD_SINCE, UNREAD_UNTIL = "unread since", "unread until"  # when nobody could know last what began and ended
NOTE_SECONDS = 60.0  # between two notes of when there was a watch, and everything was read
_SUMMARY = "summary "  # begins the name of when a channel's last one was due
_TEN_SECONDS = 10.0  # the unit of a moment in `seq`, whose 32 bits would hold seconds only until 2038
_MINUTE = 60.0  # the unit of a summary's moment
_SHIFT = 86_400.0  # within which several times without a reading are told as one
_NOTED = select(cursors.c.seq).where(cursors.c.name == bindparam("b_name"))
_SUMMARIES = select(cursors.c.name, cursors.c.seq).where(cursors.c.name.startswith(_SUMMARY))
_NOTE = upsert(cursors)


def noted(connection: Connection, name: str) -> float:
    """Return a moment that was noted, as Unix time in seconds; 0 where none was."""
    return (connection.execute(_NOTED, b_name=name).scalar() or 0) * _TEN_SECONDS


def aged(connection: Connection, alerts: Sequence[Alert], stale_seconds: float) -> list[Alert]:
    """Return open alerts with when Together last confirmed each, where no watch has noted that for so long."""
    read_at = noted(connection, READ)
    is_old = 0 < read_at < read_clock(connection) - stale_seconds - NOTE_SECONDS
    return [
        replace(alert, as_of=read_at) if is_old and not (alert.as_of or alert.is_closed) else alert for alert in alerts
    ]


def note(connection: Connection, moments: Mapping[str, float]) -> None:
    """Write down moments by their names, rounded down."""
    connection.execute(_NOTE, [{"name": name, "seq": int(at // _TEN_SECONDS)} for name, at in moments.items()])


def note_listed(connection: Connection, at: float, seconds: float) -> None:
    """Write down that the clusters were listed, which says what ended within the `seconds` before."""
    before = noted(connection, LISTED)
    unread = {}
    if 0 < before < at - seconds:
        is_another = at - noted(connection, UNREAD_UNTIL) > _SHIFT
        unread = {UNREAD_SINCE: before if is_another else noted(connection, UNREAD_SINCE), UNREAD_UNTIL: at - seconds}
    note(connection, {**unread, LISTED: at})


def summaries(connection: Connection) -> dict[str, float]:
    """Return when each channel's last summary was due, to the minute, in Unix time."""
    return {row.name.removeprefix(_SUMMARY): row.seq * _MINUTE for row in connection.execute(_SUMMARIES)}


def note_summary(connection: Connection, channel_id: str, due_at: float) -> None:
    """Write down that a channel has the summary of a moment."""
    connection.execute(_NOTE, name=f"{_SUMMARY}{channel_id}", seq=int(due_at // _MINUTE))
