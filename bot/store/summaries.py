"""Which day's summary each channel has had."""

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from bot.store.connection import Connection
from bot.store.lease import Leased
from bot.store.tables import cursors

_PREFIX = "summary "
_TOLD = select(cursors.c.name, cursors.c.seq).where(cursors.c.name.startswith(_PREFIX))
_NOTE = (
    insert(cursors)
    .values(name=bindparam("b_name"), seq=bindparam("b_day"))
    .on_conflict_do_update(index_elements=["name"], set_={"seq": bindparam("b_day")})
)


class Summaries(Leased):
    """The transactions. Each may raise StorageUnavailable, and a write LeaseLost."""

    async def told(self) -> dict[str, int]:
        """Return the day, as a number, of each channel's last summary."""
        return await self.database.read(_told)

    async def note(self, channel_id: str, day: int) -> None:
        """Write down that a channel has a day's summary."""
        await self._run(_note, channel_id, day)


def _told(connection: Connection) -> dict[str, int]:
    return {row.name.removeprefix(_PREFIX): row.seq for row in connection.execute(_TOLD)}


def _note(connection: Connection, channel_id: str, day: int) -> None:
    connection.execute(_NOTE, {"b_name": f"{_PREFIX}{channel_id}", "b_day": day})
