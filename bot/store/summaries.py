"""When each channel had its last summary."""

from sqlalchemy import select

from bot.store.connection import Connection
from bot.store.tables import cursors, upsert

_PREFIX = "summary "
_MINUTE = 60.0
_TOLD = select(cursors.c.name, cursors.c.seq).where(cursors.c.name.startswith(_PREFIX))
_NOTE = upsert(cursors)


def told(connection: Connection) -> dict[str, float]:
    """Return when each channel's last summary was due, to the minute, in Unix time."""
    return {row.name.removeprefix(_PREFIX): row.seq * _MINUTE for row in connection.execute(_TOLD)}


def note(connection: Connection, channel_id: str, due_at: float) -> None:
    """Write down that a channel has the summary of a moment."""
    connection.execute(_NOTE, name=f"{_PREFIX}{channel_id}", seq=int(due_at // _MINUTE))
