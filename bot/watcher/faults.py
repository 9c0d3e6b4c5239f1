"""Alerts that fire while no repair is open: read after each list of a cluster."""

import asyncio
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bot import metrics
from bot.clock import Clock
from bot.errors import InvalidId, RateLimited, TogetherError
from bot.models import Fault, LinkedAlert
from bot.store import Messages
from bot.together import TogetherClient
from bot.watcher.poller import LONGEST_RETRY_AFTER, SLOW_SECONDS, Listing, Poller
from bot.watcher.reports import Reports
from bot.watcher.workqueue import Backoff

logger = logging.getLogger(__name__)

READERS = 4
KEPT = 200  # faults of a cluster
UNAVAILABLE = {403, 404, 501}  # not every key may read the list
ASK_AGAIN_SECONDS = 3600.0
SLOW_POLL_SECONDS = 300.0  # between two readings of a cluster whose list of remediations takes long
LONGEST_WAIT = 300.0  # between two attempts to read what fails
LOOK_SECONDS = 600.0  # between two looks for repairs that didn't help, while the same alerts fire


@dataclass(slots=True)
class FaultWatch:
    """Reads what fires, and notes what of it no repair is open for."""

    together: TogetherClient
    reports: Reports
    messages: Messages
    poller: Poller
    clock: Clock
    _wanted: asyncio.Queue[str] = field(default_factory=asyncio.Queue, init=False)
    _under_repair: dict[str, Collection[str]] = field(default_factory=dict, init=False)
    _asked_at: dict[str, float] = field(default_factory=dict, init=False)
    _covered: dict[str, Collection[str]] = field(default_factory=dict, init=False)
    _looked: dict[str, tuple[float, Collection[str]]] = field(default_factory=dict, init=False)
    _not_before: float = field(default=-math.inf, init=False)
    _is_unavailable: bool = field(default=False, init=False)
    _failing: Backoff[str] = field(init=False)

    def __post_init__(self) -> None:
        self._failing = Backoff(self.clock.monotonic, LONGEST_WAIT)

    def begin(self) -> None:
        """Forget what an earlier watch had in hand."""
        self._wanted = asyncio.Queue()
        for each in (self._under_repair, self._asked_at, self._covered, self._looked):
            each.clear()

    async def keep(self, clusters: Collection[str]) -> None:
        """Let nothing be wrong in clusters that are no longer read."""
        for cluster_id in self.reports.clusters:
            if cluster_id not in clusters and not self.reports[cluster_id].is_over:
                await self.reports.change(cluster_id, partial(replace, faults=(), count=0, critical=0, brake=None))

    def measure(self, *, is_watching: bool) -> None:
        """Bring the gauges up to date."""
        reports = [self.reports[each] for each in self.reports.clusters] if is_watching else []
        critical = sum(each.critical for each in reports)
        metrics.UNREPAIRED.labels("critical").set(critical)
        metrics.UNREPAIRED.labels("other").set(sum(each.count for each in reports) - critical)
        metrics.BRAKES.set(sum(bool(each.brake_key) for each in reports))

    def take(self, listing: Listing) -> None:
        """Have the alerts of a cluster read whose remediations were listed; seldom where that took long."""
        now, cluster_id = self.clock.monotonic(), listing.cluster_id
        if listing.error or listing.alone or not listing.is_watched:
            return
        again_at = self._asked_at.get(cluster_id, -math.inf) + SLOW_POLL_SECONDS
        is_slow = now - listing.asked_at > SLOW_SECONDS and now < again_at
        if is_slow or now < self._not_before or self._failing.is_to_wait(cluster_id):
            return
        if cluster_id not in self._under_repair:
            self._wanted.put_nowait(cluster_id)
        self._under_repair[cluster_id], self._asked_at[cluster_id] = listing.under_repair, now

    async def read(self) -> None:
        """Read one cluster after another, forever."""
        while True:
            cluster_id = await self._wanted.get()
            under_repair = self._under_repair.pop(cluster_id)
            if (found := await self._firing(cluster_id)) is not None:
                alerts, is_whole = found
                await self._note(cluster_id, alerts, under_repair, is_whole=is_whole)

    async def _firing(self, cluster_id: str) -> tuple[Sequence[LinkedAlert], bool] | None:
        """Return what fires in a cluster, and whether that is all; None where it can't be read now."""
        try:
            found = await self.together.firing(cluster_id)
        except TogetherError as error:
            self._failed(cluster_id, error)
            return None
        except InvalidId:
            return None  # the list of its remediations says so
        except Exception:  # what is odd about one cluster must not blind the bot to all others
            logger.exception("Cluster %s: reading its alerts failed", cluster_id)
            self._failing.failed(cluster_id)
            return None
        self._failing.succeeded(cluster_id)
        self._is_unavailable = False
        return found

    def _failed(self, cluster_id: str, error: TogetherError) -> None:
        now, seconds = self.clock.monotonic(), 0.0
        if error.http_status in UNAVAILABLE:
            seconds = ASK_AGAIN_SECONDS
            if not self._is_unavailable:
                logger.warning("Together doesn't list firing alerts for this API key: HTTP %s", error.http_status)
            self._is_unavailable = True
        else:
            logger.warning("Can't read the alerts of cluster %s: %s", cluster_id, type(error).__name__)
            self._failing.failed(cluster_id)
            if isinstance(error, RateLimited) and error.retry_after:
                seconds = min(error.retry_after, LONGEST_RETRY_AFTER)
        self._not_before = max(self._not_before, now + seconds)

    async def _note(
        self, cluster_id: str, alerts: Sequence[LinkedAlert], under_repair: Collection[str], *, is_whole: bool
    ) -> None:
        """Write down what has changed."""
        now = self.clock.now()
        known = {each.alert.key: each for each in self.reports[cluster_id].faults}
        present = {} if is_whole else {key: each.alert for key, each in known.items()}
        present |= {each.key: each for each in alerts if each.resolved_at is None}
        covered = {key for key, each in present.items() if not each.names.isdisjoint(under_repair)}
        was_covered, self._covered[cluster_id] = self._covered.get(cluster_id, ()), covered

        def since(alert: LinkedAlert) -> float:
            if alert.key in known:
                return known[alert.key].since
            if alert.key in was_covered or alert.started_at is None:
                return now  # its repair has just ended, or nobody knows
            return min(now, alert.started_at.timestamp())

        faults = [Fault(each, since(each)) for key, each in present.items() if key not in covered]
        cluster = self.poller.clusters.get(cluster_id)
        name = (cluster and cluster.cluster_name) or cluster_id
        await self.reports.change(cluster_id, lambda each: each.noting(name, faults, KEPT))
        await self._look_for_returns(cluster_id, present.values())

    async def _look_for_returns(self, cluster_id: str, alerts: Collection[LinkedAlert]) -> None:
        """Let repairs say that what they were to mend fires again, or still."""
        now, keys = self.clock.monotonic(), {each.key for each in alerts}
        at, looked = self._looked.get(cluster_id, (-math.inf, ()))
        if keys and (keys != looked or now - at > LOOK_SECONDS):
            self._looked[cluster_id] = now, keys
            await self.messages.note_firing(cluster_id, list(alerts))
