"""When each channel had its last summary."""

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from bot.store.connection import Connection
from bot.store.tables import cursors

_PREFIX = "summary "
_MINUTE = 60.0
_TOLD = select(cursors.c.name, cursors.c.seq).where(cursors.c.name.startswith(_PREFIX))
_NOTE = (
    insert(cursors)
    .values(name=bindparam("b_name"), seq=bindparam("b_minute"))
    .on_conflict_do_update(index_elements=["name"], set_={"seq": bindparam("b_minute")})
)


def told(connection: Connection) -> dict[str, float]:
    """Return when each channel's last summary was due, to the minute, in Unix time."""
    return {row.name.removeprefix(_PREFIX): row.seq * _MINUTE for row in connection.execute(_TOLD)}


def note(connection: Connection, channel_id: str, due_at: float) -> None:
    """Write down that a channel has the summary of a moment."""
    connection.execute(_NOTE, {"b_name": f"{_PREFIX}{channel_id}", "b_minute": int(due_at // _MINUTE)})
