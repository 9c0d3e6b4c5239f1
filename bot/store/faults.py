"""Which health check alerts fire without a repair, so that every process can show it, and a restart repeats nothing."""

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from bot.models import EventKind, FaultReport
from bot.store.connection import Connection, read_clock
from bot.store.lease import Leased
from bot.store.outbox import Data, emit
from bot.store.serialization import dump
from bot.store.tables import faults

_REPORTS = TypeAdapter(FaultReport)
_KNOWN = select(faults)
_WRITE = (
    insert(faults)
    .values(cluster_id=bindparam("b_cluster"), body=bindparam("b_body"))
    .on_conflict_do_update(index_elements=["cluster_id"], set_={"body": bindparam("b_body")})
)
_DROP = delete(faults).where(faults.c.cluster_id == bindparam("b_cluster"))


class Faults(Leased):
    """The transactions. Each may raise StorageUnavailable."""

    async def now(self) -> float:
        """Return the present by the database's clock, as Unix time in seconds."""
        return await self.database.read(read_clock)

    async def known(self) -> dict[str, FaultReport]:
        """Return the reports by cluster."""
        return await self.database.read(_known)

    async def write(self, cluster_id: str, report: FaultReport | None, *, told: Data | None = None) -> None:
        """Write down what fires in a cluster; None to forget it.

        Args:
            told: what other tools are told with it.

        Raises:
            LeaseLost: another process watches now.
        """
        await self._run(_write, cluster_id, report, told)


def _known(connection: Connection) -> dict[str, FaultReport]:
    return {row.cluster_id: report for row in connection.execute(_KNOWN) if (report := _read(row.body))}


def _read(body: str) -> FaultReport | None:
    try:
        return _REPORTS.validate_json(body)
    except ValidationError:
        return None  # of another version: it is read at Together again


def _write(connection: Connection, cluster_id: str, report: FaultReport | None, told: Data | None) -> None:
    if report is None:
        connection.execute(_DROP, {"b_cluster": cluster_id})
    else:
        connection.execute(_WRITE, {"b_cluster": cluster_id, "b_body": dump(_REPORTS, report)})
    if told is not None:
        emit(connection, EventKind.UNREPAIRED, cluster_id, {"cluster_id": cluster_id, **told})
