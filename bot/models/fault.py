"""Health check alerts that fire without a repair, and the message that tells of them."""

from dataclasses import dataclass

from bot.models.remediation import LinkedAlert


@dataclass(frozen=True, slots=True)
class Fault:
    """An alert that fires while no remediation of its node is open; `since` when, as Unix time in seconds."""

    alert: LinkedAlert
    since: float


@dataclass(frozen=True, slots=True)
class FaultMessage:
    """The message about the critical ones of a cluster.

    Attributes:
        ts: Slack's name of it; empty until it is known to be in the channel.
        content_hash: the fingerprint of what it shows; empty where that isn't known.
        mark: by what the last post is found, or reply in the thread, whose result isn't known; empty for none.
        sent_at: when that left, by the database's clock, as Unix time in seconds.
        calls: the keys of the alerts that it calls people for.
        is_repeated: it was sent once more, though the bot may not read the channel to look for it.
    """

    channel_id: str
    ts: str = ""
    content_hash: str = ""
    mark: str = ""
    sent_at: float = 0.0
    calls: frozenset[str] = frozenset()
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class FaultReport:
    """The faults of a cluster.

    Attributes:
        cluster: its name, or its ID where that isn't known.
        faults: critical ones first, then the oldest first; not all where there are very many.
        count: how many there are in all.
        critical: how many of those are critical.
        told: the keys of the alerts that people were called for.
    """

    cluster: str = ""
    faults: tuple[Fault, ...] = ()
    count: int = 0
    critical: int = 0
    told: frozenset[str] = frozenset()
    message: FaultMessage | None = None

    def overdue(self, now: float, seconds: float) -> list[Fault]:
        """Return the critical ones that have fired for so long; none where `seconds` is 0."""
        return [each for each in self.faults if each.alert.is_critical and each.since + seconds <= now and seconds]
