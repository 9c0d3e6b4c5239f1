"""Since when Together cannot be read, so that a restart neither forgets nor repeats it."""

from dataclasses import asdict, dataclass, replace

from sqlalchemy import bindparam, delete, select

from bot.models import EventKind
from bot.store.connection import Connection, read_clock
from bot.store.moments import ALL_READ, NOTE_SECONDS, noted
from bot.store.outbox import Data, emit
from bot.store.tables import outages, upsert

_KNOWN = select(outages)  # an `Outage` has the same columns, but for the cluster
_WRITE = upsert(outages)
_DELETE = delete(outages).where(outages.c.cluster_id == bindparam("b_cluster"))


@dataclass(frozen=True, slots=True)
class Outage:
    """Since when a cluster cannot be read, and whether the channel was told.

    Attributes:
        since: Unix time in seconds.
        told: the channel was told, and it isn't over.
        channel_id: where it was told, or may have been; empty where it wasn't.
        ts: Slack's name of that message, where it was; several clusters may share it.
        mark: identifies the message in the channel, once it was sent; several clusters may share it.
        sent_at: when the last of both left, by the database's clock, as Unix time in seconds.
        over_mark: identifies the message that says it's over, once it was sent; several clusters may share it.
    """

    since: float
    told: bool
    channel_id: str = ""
    ts: str = ""
    mark: str = ""
    sent_at: float = 0.0
    over_mark: str = ""

    @property
    def has_lasted(self) -> bool:
        """Whether it is told, or about to be: other tools don't wait until Slack takes it."""
        return self.told or bool(self.mark)

    @property
    def is_over(self) -> bool:
        """Whether its channel alone is yet to learn that it's over: nobody else waits until Slack takes that."""
        return bool(self.channel_id) and not self.has_lasted

    @property
    def was_told(self) -> bool:
        """Whether the channel was told that it began."""
        return self.told or self.is_over

    @property
    def over(self) -> "Outage":
        """The same once it's over."""
        return replace(self, told=False, mark="")

    def telling_the_end(self, mark: str, channel_id: str) -> "Outage":
        """Return the same as a channel is about to learn that it's over; its message elsewhere is left as it is."""
        return replace(self.over, ts=self.ts if channel_id == self.channel_id else "", over_mark=mark)

    @property
    def back(self) -> "Outage":
        """The same once it has begun again before its channel learned that it was over."""
        return replace(self, told=True, over_mark="")


def known(connection: Connection) -> dict[str, Outage]:
    """Return the clusters that can't be read, and those that can again but whose channel wasn't told yet."""
    rows = connection.execute(_KNOWN)
    return {cluster_id: Outage(since, bool(told), *more) for cluster_id, since, told, *more in rows}


def unreadable(connection: Connection, stale_seconds: float) -> list[str]:
    """Return the clusters that cannot be read now; "" where nobody has read all of them for so long."""
    noticed = sorted(cluster_id for cluster_id, outage in known(connection).items() if not outage.is_over)
    # No process may watch, or one that has begun is yet to read: nobody has noticed anything then.
    is_old = 0 < noted(connection, ALL_READ) < read_clock(connection) - stale_seconds - NOTE_SECONDS
    return noticed or ([""] if is_old else [])


def note(connection: Connection, cluster_id: str, outage: Outage | None, *, is_watched: bool = True) -> None:
    """Write down that a cluster cannot be read, or can be again, or isn't watched any more.

    Raises:
        LeaseLost: another process watches now.
    """
    before = known(connection).get(cluster_id)
    had_lasted, has_lasted = (bool(one and one.has_lasted) for one in (before, outage))
    if had_lasted != has_lasted:
        data: Data = {"cluster_id": cluster_id, "is_over": had_lasted, "is_watched": is_watched}
        emit(connection, EventKind.OUTAGE, cluster_id, data)
    if outage:
        connection.execute(_WRITE, cluster_id=cluster_id, **asdict(outage))
    else:
        connection.execute(_DELETE, b_cluster=cluster_id)
