"""What clusters are called, and how many nodes they have: every process can say it, and a restart forgets none."""

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select

from bot.models import ClusterNames
from bot.store import pauses
from bot.store.connection import Connection
from bot.store.tables import clusters, outages, upsert

_ONE = clusters.c.cluster_id == bindparam("b_cluster")
_KNOWN = select(clusters.c.cluster_id, clusters.c.name, clusters.c.nodes)
_WRITE = upsert(clusters)
_DROP = delete(clusters).where(_ONE, clusters.c.cluster_id.not_in(select(outages.c.cluster_id)))


def names(connection: Connection) -> ClusterNames:
    """Return what clusters are called."""
    return ClusterNames((cluster_id, name) for cluster_id, name, _ in connection.execute(_KNOWN) if name)


def sizes(connection: Connection) -> dict[str, int | None]:
    """Return how many nodes clusters have; None where Together doesn't say."""
    return {cluster_id: nodes for cluster_id, _, nodes in connection.execute(_KNOWN)}


def keep(connection: Connection, named: Mapping[str, str], sized: Mapping[str, int | None]) -> None:
    """Write down what clusters are now, and forget the others, but for those whose outage isn't over.

    Raises:
        LeaseLost: another process watches now.
    """
    before, sized_before = names(connection), sizes(connection)
    for cluster_id in sized_before.keys() - sized.keys():
        connection.execute(_DROP, b_cluster=cluster_id)
    for cluster_id, nodes in sized.items():
        name = named.get(cluster_id, "")
        is_called_so = before.get(cluster_id, "") == name
        if not is_called_so or cluster_id not in sized_before or sized_before[cluster_id] != nodes:
            connection.execute(_WRITE, cluster_id=cluster_id, name=name, nodes=nodes)
        if not is_called_so:
            pauses.wake(connection, cluster_id)
