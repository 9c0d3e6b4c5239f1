"""What somebody sees in the app's home."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.errors import NotAllowed
from bot.models.alert import Alert, CardContext
from bot.models.cluster import ClusterNames
from bot.models.fault import FaultReport
from bot.models.guardrails import Pause
from bot.models.ids import RemediationRef
from bot.models.outcome import PastDecision
from bot.models.remediation import Remediation

PER_PAGE = 15  # of what waits


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown, of one cluster or of all.

    Attributes:
        waiting: what waits for approval on this page, oldest first.
        count: how many wait in all.
        page: which page this is, from 0.
        running: what is being repaired.
        faults: what fires without a repair, by cluster.
        failed: what failed within the last day; None where the bot doesn't watch, and so doesn't know.
        returned: repairs whose fault came back, or didn't stop, within the last day.
        mine: the person's last decisions, the latest first.
        names: the nodes of those, as far as they are known.
        about: what the bot knows of what waits on this page.
        unconfirmed: what of that couldn't be read, though it isn't what it was.
        pause: approvals are paused.
        digests: the messages with more than one that waits: their IDs, how many, and their cluster; empty for several.
        called: the names of clusters.
        unreadable: the names of the clusters that couldn't be read; "" for the list of clusters.
        refused: why the person can't decide; None if they can.
    """

    waiting: Sequence[Remediation]
    count: int
    page: int
    running: Sequence[Remediation]
    failed: Sequence[Remediation] | None
    mine: Sequence[PastDecision]
    names: Mapping[RemediationRef, str]
    faults: Sequence[FaultReport]
    returned: Sequence[Alert]
    about: Mapping[RemediationRef, CardContext]
    unconfirmed: Collection[RemediationRef]
    pause: Pause | None
    digests: Sequence[tuple[str, int, str]]
    called: ClusterNames
    unreadable: Collection[str]
    refused: NotAllowed | None

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.count // PER_PAGE))
