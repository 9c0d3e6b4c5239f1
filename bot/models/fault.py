"""What is wrong in a cluster as a whole: alerts that fire without a repair, and so much at once that approvals stop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.models.remediation import LinkedAlert

QUIET_SECONDS = 1800.0  # after which approvals resume automatically
_BRAKE = "brake "  # begins a key of what people were called for


@dataclass(frozen=True, slots=True)
class Fault:
    """An alert that fires while no remediation of its node is open; `since` when, as Unix time in seconds."""

    alert: LinkedAlert
    since: float


@dataclass(frozen=True, slots=True)
class Brake:
    """Approvals of a cluster that paused automatically, as so many nodes were broken at once. Times are Unix times.

    Attributes:
        broken: how many are now.
        limit: at how many it latches; below half of it, it is quiet.
        nodes: how many there are; None where that isn't known.
        cause: the most common fault then, raw, on how many nodes.
        since: when it latched.
        quiet_since: 0 while it isn't quiet.
        resumed_by: who resumed approvals; it latches again at half as many broken nodes more than there were then.
    """

    broken: int
    limit: int
    nodes: int | None
    since: float
    cause: tuple[str, int] = ("", 0)
    quiet_since: float = 0.0
    resumed_by: str = ""
    resumed_because: str = ""
    resumed_at: int = 0

    @property
    def is_latched(self) -> bool:
        """Whether approvals are paused."""
        return not self.resumed_by

    def then(self, broken: int, nodes: int | None, limit: int, now: float) -> "Brake | None":
        """Return it when so many nodes are broken; None once it is over."""
        known = replace(self, broken=broken, nodes=nodes, limit=limit)
        is_quiet = 2 * broken < limit
        if self.is_latched:
            since = (self.quiet_since or now) if is_quiet else 0.0
            return None if since and now - since >= QUIET_SECONDS else replace(known, quiet_since=since)
        if is_quiet:
            return None
        is_worse = broken >= limit and 2 * broken >= 3 * self.resumed_at
        return replace(known, since=now, resumed_by="", resumed_because="") if is_worse else known


@dataclass(frozen=True, slots=True)
class FaultMessage:
    """The message about a cluster.

    Attributes:
        ts: Slack's name of it; empty until it is known to be in the channel.
        content_hash: the fingerprint of what it shows; empty where that isn't known.
        mark: by what the last post is found, or reply in the thread, whose result isn't known; empty for none.
        sent_at: when that left, by the database's clock, as Unix time in seconds.
        calls: the keys of the alerts that it calls people for.
        is_repeated: it was sent once more, though the bot may not read the channel to look for it.
        has_faults: it has told of alerts.
        has_brake: it has said that approvals are paused.
    """

    channel_id: str
    ts: str = ""
    content_hash: str = ""
    mark: str = ""
    sent_at: float = 0.0
    calls: frozenset[str] = frozenset()
    is_repeated: bool = False
    has_faults: bool = False
    has_brake: bool = False

    def arrived(self, ts: str, content_hash: str) -> "FaultMessage":
        """Return it once its post is in the channel, or a reply in its thread."""
        return FaultMessage(
            self.channel_id,
            self.ts or ts,
            self.content_hash if self.ts else content_hash,
            has_faults=self.has_faults or not all(each.startswith(_BRAKE) for each in self.calls),
            has_brake=self.has_brake or any(each.startswith(_BRAKE) for each in self.calls),
        )


@dataclass(frozen=True, slots=True)
class FaultReport:
    """What is wrong in a cluster.

    Attributes:
        cluster: its name, or its ID where that isn't known.
        faults: critical ones first, then the oldest first; not all where there are very many.
        count: how many there are in all.
        critical: how many of those are critical.
        told: the keys of the alerts that people were called for, and of the brake.
    """

    cluster: str = ""
    faults: tuple[Fault, ...] = ()
    count: int = 0
    critical: int = 0
    told: frozenset[str] = frozenset()
    message: FaultMessage | None = None
    brake: Brake | None = None

    def noting(self, cluster: str, faults: Sequence[Fault], most: int) -> "FaultReport":
        """Return it with what fires now, at most some of it kept, the worst and oldest first."""
        keys = {each.alert.key for each in faults}
        told = frozenset(each for each in self.told if each in keys or each.startswith(_BRAKE))
        ordered = sorted(faults, key=lambda each: (not each.alert.is_critical, each.since, each.alert.key))
        critical = sum(each.alert.is_critical for each in faults)
        kept = tuple(ordered[:most])
        return replace(self, cluster=cluster, faults=kept, count=len(faults), critical=critical, told=told)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is wrong, and no message says so."""
        return not self.faults and self.message is None and self.brake is None

    @property
    def is_over(self) -> bool:
        """Whether nothing is wrong, whatever a message says yet."""
        return not self.faults and self.brake is None

    @property
    def braked(self) -> str | None:
        """How much is broken at least, while approvals are paused for that: the same words however that moves."""
        brake = self.brake
        if brake is None or not brake.is_latched:
            return None
        return f"{brake.limit} or more of {brake.nodes} nodes" if brake.nodes else f"{brake.limit} or more nodes"

    @property
    def brake_key(self) -> frozenset[str]:
        """As what it is remembered that people were called for the brake; empty while it isn't latched."""
        return frozenset({f"{_BRAKE}{self.brake.since:.0f}"} if self.brake and self.brake.is_latched else ())

    def overdue(self, now: float, seconds: float) -> list[Fault]:
        """Return the critical ones that have fired for so long; none where `seconds` is 0."""
        return [each for each in self.faults if each.alert.is_critical and each.since + seconds <= now and seconds]
