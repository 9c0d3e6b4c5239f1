"""What the watch is set to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WatchRules:
    """What the watch is set to.

    Attributes:
        channel_id: where alerts are posted.
        clusters: which to watch; empty for all that the key sees.
        poll_seconds: between two readings of a cluster.
        remind_seconds: until the first reminder; 0 for none.
        oncall: the user or group that reminders mention; empty for nobody.
        lease_seconds: how long a silent process keeps the watch.
    """

    channel_id: str
    clusters: tuple[str, ...] = ()
    poll_seconds: float = 15
    remind_seconds: float = 15 * 60
    oncall: str = ""
    lease_seconds: float = 15
