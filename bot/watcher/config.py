"""The watch's settings."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.cards import CardConfig, labels
from bot.daily import QuietHours
from bot.models import Alert, Snapshot, State

Warn = Callable[[str, str], None]  # told what keeps alerts from being posted in a channel, or "" when nothing does


def stale_after(poll_seconds: float) -> float:
    """Return how old what was read may be before people are told: two polls and a minute, in seconds."""
    return 2 * poll_seconds + 60.0


def unknown_clusters(named: Mapping[str, Collection[str]], listed: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each setting, with a sentence on the clusters that it names and Together doesn't list; empty for none."""
    for name, clusters in named.items():
        unknown = ", ".join(sorted({*clusters}.difference(listed)))
        yield name, unknown and f"{name} names clusters that Together doesn't list: {unknown}."


@dataclass(frozen=True, slots=True)
class Route:
    """Where the alerts of a cluster go, and whom they call: a user or group ID, empty for nobody."""

    channel_id: str
    oncall: str


@dataclass(frozen=True, slots=True)
class StormBrake:
    """At how many broken nodes approvals pause.

    Attributes:
        count: of nodes, or percent of a cluster's.
    """

    count: int
    is_percent: bool

    def limit(self, nodes: int | None) -> int | None:
        """Return how many of `nodes` that is, two at least; None where that can't be known."""
        if not self.is_percent:
            return self.count
        return max(2, math.ceil(nodes * self.count / 100)) if nodes else None  # an answer may lack them


@dataclass(slots=True)
class Refused:
    """What Slack took none of a moment ago.

    Attributes:
        channels: those that took no message: what is in another one stays there for now.
        edits: the keys in the queue of messages that took no edit: their threads wait for none.
    """

    channels: set[str] = field(default_factory=set)
    edits: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class WatchConfig:
    """What the watch is set to; `refused` alone changes while it runs.

    Attributes:
        default: the route of all clusters that `routes` doesn't name.
        routes: by cluster ID.
        clusters: which to watch; empty for all that the key sees.
        poll_seconds: between two readings of a cluster.
        remind_seconds: until the first reminder; 0 for none.
        escalation: whom else a reminder calls, and after how many seconds without a decision; None for nobody.
        lease_seconds: how long a silent process keeps the watch.
        quiet: when warnings call nobody; None for never.
        cards: what cards are set to.
        automatic: which of the repairs are told that nobody was asked about: "all", "destructive", or "none".
        unrepaired_seconds: how long a critical alert fires without a repair before people are told; 0 for never.
        storm_brake: at how many broken nodes of a cluster its approvals pause automatically; None for never.
        named: the clusters that settings name, by the settings.
        refused: what Slack took none of a moment ago; the watch changes it.
    """

    default: Route
    routes: Mapping[str, Route]
    clusters: tuple[str, ...]
    poll_seconds: float
    remind_seconds: float
    escalation: tuple[str, float] | None
    lease_seconds: float
    quiet: QuietHours | None
    cards: CardConfig
    automatic: str
    unrepaired_seconds: float
    storm_brake: StormBrake | None
    named: Mapping[str, Collection[str]]
    refused: Refused = field(default_factory=Refused, init=False)

    def announces(self, alert: Alert) -> bool:
        """Return whether people are told of what has begun before the bot saw it: also of what failed.

        Who approved it through the bot was answered.
        """
        remediation = alert.remediation
        is_told = self.automatic == "all" or labels.deletes_data(remediation.mode) or not remediation.is_automatic
        return remediation.state == State.FAILED or (is_told and not remediation.is_approved_by_bot)

    def route(self, cluster_id: str | None) -> Route:
        """Return where the alerts of a cluster go."""
        return self.routes.get(cluster_id or "", self.default)

    def channel_of(self, snapshot: Snapshot) -> str:
        """Return where a message belongs: the routes may have changed since it was posted, or first about to be."""
        message = snapshot.message
        clusters = [message.cluster_id]
        if message.cluster_id is None:
            left = [alert for alert in snapshot.alerts if not alert.is_closed]
            clusters = [alert.cluster_id for alert in left or snapshot.alerts]
        channels = [self.route(cluster_id).channel_id for cluster_id in clusters]
        stays = not channels or message.channel_id in channels or (message.ts and channels[0] in self.refused.channels)
        return message.channel_id if stays else channels[0]

    def on_call_now(self, alerts: Sequence[Alert], of: Snapshot) -> str:
        """Return whom alerts of a message call now: the users and groups on call; empty for nobody."""
        if self.quiet is None or not self.quiet.cover(of.now):
            return self.on_call(alerts, of)
        return self.on_call([alert for alert in alerts if not alert.is_warning], of)

    def on_call(self, alerts: Sequence[Alert], of: Snapshot) -> str:
        """Return the users and groups on call for alerts of a message, space-separated, by its cluster or theirs."""
        clusters = [of.message.cluster_id or alert.cluster_id for alert in alerts]
        return " ".join(dict.fromkeys(oncall for cluster_id in clusters if (oncall := self.route(cluster_id).oncall)))

    @property
    def called(self) -> Collection[str]:
        """The users and groups that messages of the watch may call."""
        escalation = self.escalation[0] if self.escalation else ""
        return {escalation, *(route.oncall for route in (self.default, *self.routes.values()))} - {""}

    @property
    def stale_seconds(self) -> float:
        """How old what a message shows may be before it says so."""
        return stale_after(self.poll_seconds)

    @property
    def channels(self) -> frozenset[str]:
        """The channels that alerts go to."""
        return frozenset(route.channel_id for route in (self.default, *self.routes.values()))
