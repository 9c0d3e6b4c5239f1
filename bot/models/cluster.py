"""Clusters as Together answers them."""

from bot.models.ids import ClusterId
from bot.models.remediation import ApiModel, Lenient, Name, Remediation

_NOT_RUNNING = {"PENDING", "SCHEDULING", "BOOTING", "BOOTSTRAPPING", "FAILED", "PAUSED"}  # phases of a node


class ClusterNames(dict[str, str]):
    """What clusters are called, raw, by their IDs; one whose name isn't known by its ID."""

    def __missing__(self, cluster_id: str) -> str:
        """Return the ID."""
        return cluster_id


class ClusterNode(ApiModel):
    """A GPU node of a cluster. `node_id` is its name within it (api reference of clusters, `node_lifecycle_events`)."""

    node_id: Name = None
    host_name: Name = None
    instance_id: Lenient[str] = None
    status: Lenient[str] = None
    latest_remediation: Lenient[Remediation] = None

    @property
    def is_running(self) -> bool:
        """Whether it runs: a status that this version doesn't know counts as that."""
        return (self.status or "").upper().removeprefix("NODE_PHASE_") not in _NOT_RUNNING

    def is_of(self, remediation: Remediation) -> bool:
        """Return whether it is the node that a remediation is about."""
        names = {self.node_id, self.host_name}
        return self.instance_id == remediation.instance_id or remediation.instance_name in names - {None}


class Cluster(ApiModel):
    """A cluster that the API key sees. Its other fields, a credential among them, are dropped as it is read."""

    cluster_id: ClusterId
    cluster_name: Name = None
    gpu_worker_nodes: Lenient[list[Lenient[ClusterNode]]] = None

    @property
    def nodes(self) -> int | None:
        """How many GPU nodes it has; None where Together does not say."""
        return None if self.gpu_worker_nodes is None else len(self.gpu_worker_nodes)
