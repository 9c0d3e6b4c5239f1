"""What clusters are called, so that every process can say it, and a restart forgets none."""

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select

from bot.models import ClusterNames
from bot.store import pauses
from bot.store.connection import Connection
from bot.store.tables import clusters, outages, upsert

_ONE = clusters.c.cluster_id == bindparam("b_cluster")
_KNOWN = select(clusters)
_WRITE = upsert(clusters)
_DROP = delete(clusters).where(_ONE, clusters.c.cluster_id.not_in(select(outages.c.cluster_id)))


def names(connection: Connection) -> ClusterNames:
    """Return what clusters are called."""
    return ClusterNames(connection.execute(_KNOWN))


def keep(connection: Connection, named: Mapping[str, str]) -> None:
    """Write down what clusters are called now, and forget the others, but for those whose outage isn't over.

    Raises:
        LeaseLost: another process watches now.
    """
    before = names(connection)
    for cluster_id in before.keys() - named.keys():
        connection.execute(_DROP, b_cluster=cluster_id)
    for cluster_id, name in named.items():
        if before.get(cluster_id) != name:
            connection.execute(_WRITE, cluster_id=cluster_id, name=name)
            pauses.wake(connection, cluster_id)
