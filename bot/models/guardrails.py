"""What holds approvals back: pauses, and how many nodes may be in repair at once. Also who approved all the same."""

from dataclasses import dataclass, replace

from bot.models.ids import short_hash


@dataclass(frozen=True, slots=True)
class Pauser:
    """A person's pause of approvals.

    Attributes:
        until: Unix time in seconds.
        cluster_id: empty for all clusters.
        reason: as it was typed; may be empty.
        cluster: its name; may be empty.
    """

    user_id: str
    until: float
    cluster_id: str = ""
    reason: str = ""
    cluster: str = ""

    @property
    def where(self) -> str:
        """What the cluster is called, raw; empty for all clusters."""
        return self.cluster or self.cluster_id

    @property
    def key(self) -> str:
        """A short name of this very pause, which a later one of the same person doesn't have."""
        return short_hash([self.user_id, self.until, self.cluster_id])


@dataclass(frozen=True, slots=True)
class Braked:
    """The storm brake paused a cluster.

    Attributes:
        broken: how many nodes are, such as "14 or more of 64 nodes".
        cluster: its name; may be empty.
    """

    cluster_id: str
    broken: str
    cluster: str = ""

    @property
    def where(self) -> str:
        """What the cluster is called, raw."""
        return self.cluster or self.cluster_id


@dataclass(frozen=True, slots=True)
class Pause:
    """Approvals are paused, of one cluster or of several.

    Attributes:
        people: who paused them, the longest pause first; empty where only the storm brake did.
        brakes: where the storm brake did, by the cluster's ID.
    """

    people: tuple[Pauser, ...] = ()
    brakes: tuple[Braked, ...] = ()


@dataclass(frozen=True, slots=True)
class RepairLimit:
    """How many nodes of a cluster may be in repair at once.

    Attributes:
        nodes: None for no limit.
        percent: the same in percent of a cluster's nodes, 1 to 100; None for no limit.
    """

    nodes: int | None = None
    percent: int | None = None

    def allowed(self, total: int | None) -> tuple[int, str] | None:
        """Return how many of a cluster's nodes may be in repair, and the rule in words; None where that isn't known."""
        rules = [(self.nodes, str(self.nodes))] if self.nodes is not None else []
        if self.percent is not None:
            if total is None:
                return None
            part = total * self.percent // 100
            nodes = "node" if total == 1 else "nodes"
            rules.append((part, f"{f'{part}, ' if part else ''}{self.percent}% of {total} {nodes}"))
        return min(rules, default=None)

    def room(self, load: "RepairLoad") -> int | None:
        """Return how many more may start, by what a card knows; None for no limit, or where that isn't known."""
        allowed = self.allowed(load.nodes)
        return max(0, allowed[0] - load.in_repair) if allowed else None


@dataclass(frozen=True, slots=True)
class RepairLoad:
    """How much of a cluster was in repair at a moment.

    Attributes:
        nodes: how many it has; None where that isn't known.
        at: Unix time in seconds.
        cluster: its name; may be empty.
        waiting: how many nodes wait for approval.
    """

    in_repair: int
    nodes: int | None
    at: float
    cluster: str = ""
    waiting: int = 0

    def is_like(self, other: "RepairLoad | None") -> bool:
        """Return whether another load has the same numbers and name."""
        return other is not None and replace(other, at=self.at) == self


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody approved alone, without asking the two-person rule or the repair limit.

    Attributes:
        reason: as it was typed.
        decision_id: so that the thread learns it once.
        is_over: what was approved did not run, and waits again.
        earlier: those that it replaced, and that the thread didn't have by then.
    """

    user_id: str
    reason: str
    decision_id: str
    is_over: bool = False
    earlier: "tuple[Override, ...]" = ()

    @property
    def each(self) -> "tuple[Override, ...]":
        """It, after those that it replaced."""
        return *self.earlier, replace(self, earlier=())

    @property
    def key(self) -> str:
        """What is noted once the thread has it."""
        return f"override {self.decision_id}"
