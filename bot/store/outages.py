"""Since when Together cannot be read, so that a restart neither forgets nor repeats it."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from bot.store.engine import to_the_end
from bot.store.lease import Leased
from bot.store.tables import outages


@dataclass(frozen=True, slots=True)
class Outage:
    """Since when a cluster cannot be read, in seconds since 1970, and whether the channel was told."""

    since: float
    told: bool


class Outages(Leased):
    """The statements."""

    @to_the_end
    async def known(self) -> dict[str, Outage]:
        """The clusters that cannot be read.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            rows = await connection.execute(select(outages.c.cluster_id, outages.c.since, outages.c.told))
            return {row.cluster_id: Outage(row.since, row.told) for row in rows}

    @to_the_end
    async def note(self, cluster_id: str, outage: Outage | None) -> None:
        """Write down that a cluster cannot be read, or can be again.

        Raises:
            LeaseLost: another process watches now.
            StoreUnavailable: it could not be written.
        """
        async with self._begin() as connection:
            await connection.execute(delete(outages).where(outages.c.cluster_id == cluster_id))
            if outage:
                await connection.execute(
                    insert(outages).values(cluster_id=cluster_id, since=outage.since, told=outage.told)
                )
