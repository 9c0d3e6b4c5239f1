"""What is wrong in a cluster as a whole: alerts that fire without a repair, and a storm in which approvals pause."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.models.remediation import LinkedAlert

QUIET_SECONDS = 1800.0  # after which approvals resume automatically
FORGOTTEN_SECONDS = 3600.0  # so long after it was last there, an alert that people were called for may call again
KEPT = 200  # faults of a cluster
_BRAKE = "brake "  # begins a key of what people were called for


@dataclass(frozen=True, slots=True)
class Fault:
    """An alert that fires while no remediation of its node is open.

    Attributes:
        since: when it began to do so, as Unix time in seconds.
        missed: how many lists in a row lacked it: one may be read while it changes.
    """

    alert: LinkedAlert
    since: float
    missed: int = 0

    @property
    def key(self) -> str:
        """The same for the same alert, whenever it is listed."""
        return self.alert.key


@dataclass(frozen=True, slots=True)
class Brake:
    """Approvals of a cluster that paused automatically, as too many nodes were broken at once. Times are Unix times.

    Attributes:
        broken: how many are now.
        peak: the most there were.
        limit: at how many it latches; below half of it, it is quiet.
        nodes: how many there are; None where that isn't known.
        cause: the most common fault then, raw, on how many nodes.
        since: when it latched.
        looked_at: when that was last counted: time in which nothing was read isn't quiet.
        alerts_at: when the alerts in it were last read, in Unix time, by this process or an earlier one.
        quiet_since: 0 while it isn't quiet.
        resumed_by: who resumed approvals; it latches again at half as many broken nodes more than there were then.
    """

    broken: int
    limit: int
    nodes: int | None
    since: float
    cause: tuple[str, int] = ("", 0)
    peak: int = 0
    looked_at: float = 0.0
    alerts_at: float = 0.0
    quiet_since: float = 0.0
    resumed_by: str = ""
    resumed_because: str = ""
    resumed_at: int = 0

    @property
    def key(self) -> str:
        """The same for this brake until it is released."""
        return f"{self.since:.0f}"

    @property
    def as_shown(self) -> str:
        """What a dialog keeps of it: which one it is, and how many were broken as somebody saw it."""
        return f"{self.key} {self.broken}"

    def is_as(self, shown: str) -> bool:
        """Return whether it is the one that a dialog showed, and not a storm half as large again by now."""
        key, _, broken = shown.partition(" ")
        before = int(broken) if broken else self.broken  # release 0.1 kept the key alone
        is_worse = self.broken >= self.limit and self.broken > before and 2 * self.broken >= 3 * before
        return key == self.key and not is_worse

    @property
    def total(self) -> int:
        """How many nodes there are; 0 where that isn't known, or can't be true: Together's list of them may lag."""
        return self.nodes if self.nodes and self.nodes >= self.peak else 0

    @property
    def shown(self) -> int:
        """At how many broken nodes its cause was counted; 0 while it isn't latched, as it is counted again then."""
        return self.peak if self.is_latched else 0

    @property
    def is_latched(self) -> bool:
        """Whether approvals are paused."""
        return not self.resumed_by

    def then(self, broken: int, nodes: int | None, limit: int, now: float, *, blind_seconds: float) -> "Brake | None":
        """Return it when `broken` nodes are broken; None once it is over.

        Args:
            blind_seconds: without a look at the cluster, after which quiet time begins once more.
        """
        known = replace(self, broken=broken, nodes=nodes, limit=limit, peak=max(self.peak, broken), looked_at=now)
        is_quiet, was_read = 2 * broken < limit, now - self.looked_at <= blind_seconds
        if self.is_latched:
            since = (was_read and min(self.quiet_since, now)) or now  # clocks can go back
            since = since if is_quiet else 0.0
            return None if since and now - since >= QUIET_SECONDS else replace(known, quiet_since=since)
        if is_quiet:
            return None
        is_worse = broken >= limit and 2 * broken >= 3 * self.resumed_at
        return replace(known, since=now, peak=broken, resumed_by="", resumed_because="") if is_worse else known


@dataclass(frozen=True, slots=True)
class FaultMessage:
    """The message about a cluster.

    Attributes:
        ts: Slack's name of it; empty until it is known to be in the channel.
        content_hash: the fingerprint of what it shows; empty where that isn't known.
        mark: identifies the last post, or reply in the thread, whose result isn't known; empty for none.
        sent_at: when that left, by the database's clock, as Unix time in seconds.
        calls: the keys of what it calls people for.
        is_repeated: it was sent once more, though the bot couldn't read the channel to look for it. After that, nobody
            is called again for the same until the channel can be read.
        is_read_only: Slack takes no edit of it any more.
        is_locked: Slack takes no reply in its thread, so what has come since is posted in the channel.
        has_brake: it has said that approvals are paused.
        has_faults: it has called people for alerts.
        called: who was called by its post or in its thread; None where release 0.1.0 has posted it.
        as_of: when the alerts were last read, where it says so because that is long ago; else 0.
    """

    channel_id: str
    ts: str = ""
    content_hash: str = ""
    mark: str = ""
    sent_at: float = 0.0
    calls: frozenset[str] = frozenset()
    is_repeated: bool = False
    is_read_only: bool = False
    is_locked: bool = False
    has_brake: bool = False
    has_faults: bool = False
    called: str | None = None
    as_of: float = 0.0

    @property
    def takes_edits(self) -> bool:
        """Whether it is in the channel, and Slack takes edits of it."""
        return bool(self.ts) and not self.is_read_only

    def forgetting(self, keys: Collection[str]) -> "FaultMessage":
        """Return it where people may be called for these again: a call for them is looked for no longer."""
        left = self.calls.difference(keys)
        if left == self.calls:
            return self
        return replace(self, calls=left, mark=self.mark if left else "", is_repeated=bool(left) and self.is_repeated)

    def arrived(self, ts: str, content_hash: str) -> "FaultMessage":
        """Return it once its post is in the channel, or a reply in its thread; or may be, where `ts` is empty."""
        return replace(
            self,
            ts=self.ts or ts,
            content_hash=self.content_hash if self.ts else content_hash,
            mark="" if ts else self.mark,
            calls=frozenset() if ts else self.calls,
            is_repeated=not ts,
            has_brake=self.has_brake or any(key.startswith(_BRAKE) for key in self.calls),
            has_faults=self.has_faults or not all(key.startswith(_BRAKE) for key in self.calls),
        )


@dataclass(frozen=True, slots=True)
class FaultReport:
    """What is wrong in a cluster.

    Attributes:
        cluster: its name, or its ID where that isn't known.
        faults: critical ones first; not all where there are very many.
        count: how many there are in all.
        critical: how many of those are critical.
        nodes: on how many nodes those are.
        told: of what people were called for, by its key: 0, or when it was gone, as Unix time in seconds.
        on_cards: the keys of those that a card shows, or will if they don't clear: they are of repaired nodes.
        announced: the keys of those that other tools know, which don't wait until Slack takes the message.
        is_announced: they know of some, and not yet that none is left.
        is_watched: the cluster is read.
        as_of: when its alerts were last read, where that is long ago, as Unix time; else 0, or where nobody knows.
    """

    cluster: str = ""
    faults: tuple[Fault, ...] = ()
    count: int = 0
    critical: int = 0
    nodes: int = 0
    told: Mapping[str, float] = field(default_factory=dict)
    on_cards: frozenset[str] = frozenset()
    message: FaultMessage | None = None
    brake: Brake | None = None
    announced: frozenset[str] = frozenset()
    is_announced: bool = False
    is_watched: bool = True
    as_of: float = 0.0

    def noting(self, cluster: str, faults: Sequence[Fault], now: float) -> "FaultReport":
        """Return it with what fires now; of very many, what was just seen and nobody was called for comes first."""
        keys = {fault.key for fault in faults} | self.brake_key
        remembered = {key: at for key, at in self.told.items() if not at or now - at < FORGOTTEN_SECONDS}
        told = {key: 0.0 if key in keys else at or now for key, at in remembered.items()}
        ordered = sorted(
            faults,
            key=lambda fault: (
                not fault.alert.is_critical,
                fault.missed > 0,
                fault.key in told,
                fault.since,
                fault.key,
            ),
        )
        return replace(
            self,
            cluster=cluster,
            faults=tuple(ordered[:KEPT]),
            count=len(faults),
            critical=sum(fault.alert.is_critical for fault in faults),
            nodes=len({fault.alert.node for fault in faults if fault.alert.is_critical}),
            message=self.message and self.message.forgetting(self.told.keys() - told.keys()),
            told=told,
            on_cards=self.on_cards.intersection(keys),
            announced=self.announced.intersection(keys),
            is_watched=True,
        )

    def unwatched(self, now: float) -> "FaultReport":
        """Return it where its cluster isn't watched any more: what people were called for is forgotten in an hour."""
        return replace(replace(self, brake=None).noting(self.cluster, (), now), is_watched=False)

    def without(self, keys: Collection[str]) -> "FaultReport":
        """Return it without these alerts: a repair is open for them now. What fires on after it calls again."""
        left = tuple(fault for fault in self.faults if fault.key not in keys)
        critical = [fault.alert.node for fault in self.faults if fault.key in keys and fault.alert.is_critical]
        nodes = {*critical}.difference(fault.alert.node for fault in left if fault.alert.is_critical)
        return replace(
            self,
            faults=left,
            count=self.count - len(self.faults) + len(left),
            critical=self.critical - len(critical),
            nodes=self.nodes - len(nodes),
            told={key: at for key, at in self.told.items() if key not in keys},
            on_cards=self.on_cards.difference(keys),
            announced=self.announced.difference(keys),
        )

    def having_told(self, keys: Collection[str]) -> "FaultReport":
        """Return it with these too as what people were called for."""
        return replace(self, told={**dict.fromkeys(keys, 0.0), **self.told})

    @property
    def worst(self) -> list[Fault]:
        """The critical ones, the oldest first: of what the last list lacked, those that people were called for."""
        there = [fault for fault in self.faults if not fault.missed or fault.key in self.told]
        return sorted((fault for fault in there if fault.alert.is_critical), key=lambda fault: fault.since)

    def overdue(self, now: float, seconds: float) -> list[Fault]:
        """Return the critical ones that people were called for, or that have fired for so long; 0 for never."""
        return [fault for fault in self.worst if fault.key in self.told or (seconds and fault.since + seconds <= now)]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.faults or self.message or self.brake or self.is_announced or self.told)

    @property
    def is_of_brake(self) -> bool:
        """Whether all that its message has told is that approvals are paused: no reading of alerts ends that."""
        message = self.message
        return message is not None and message.has_brake and not (message.has_faults or self.is_announced)

    @property
    def braked(self) -> str | None:
        """How much is broken at least, while approvals are paused for that: by the limit, so it doesn't change."""
        brake = self.brake
        if brake is None or not brake.is_latched:
            return None
        least = min(brake.limit, brake.peak)  # it may have been lower when this many were broken
        return f"{least} or more of {brake.total} nodes" if brake.total else f"{least} or more nodes"

    @property
    def brake_key(self) -> frozenset[str]:
        """The key in `told` of the call for the brake; empty while it isn't latched."""
        return frozenset({f"{_BRAKE}{self.brake.key}"} if self.brake and self.brake.is_latched else ())
