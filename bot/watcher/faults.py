"""Alerts that fire while no repair is open: read each minute, and whenever it matters at once."""

import asyncio
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bot import metrics
from bot.clock import Clock
from bot.errors import InvalidId, LeaseLost, RateLimited, StorageUnavailable, TogetherError
from bot.models import Fault, FaultReport, LinkedAlert
from bot.store import LeasedDatabase, ended
from bot.together import TogetherClient
from bot.watcher.poller import LONGEST_RETRY_AFTER, SLOW_SECONDS, Listing, Poller
from bot.watcher.reports import Reports
from bot.watcher.workqueue import Backoff

logger = logging.getLogger(__name__)

READERS = 4
KEPT = 200  # faults of a cluster
MISSED = 2  # lists in a row without an alert: it has cleared
UNSEEN_SECONDS = 600.0  # likewise, where there are more alerts than can be read; not one that people were called for
UNAVAILABLE = {403, 404, 501}  # not every key may read the list
ASK_AGAIN_SECONDS = 3600.0
READ_SECONDS = 60.0  # between two readings of a cluster where nothing is to be decided on it
SLOW_POLL_SECONDS = 300.0  # likewise, where the list of remediations takes long
LONGEST_WAIT = 300.0  # between two attempts to read what fails
LOOK_SECONDS = 600.0  # between two looks for repairs that didn't help, while the same alerts fire


@dataclass(slots=True)
class FaultWatch:
    """Reads what fires, and notes what of it no repair is open for.

    Attributes:
        unrepaired_seconds: after how long people are called for a critical one; 0 for never.
    """

    together: TogetherClient
    reports: Reports
    database: LeasedDatabase
    poller: Poller
    clock: Clock
    unrepaired_seconds: float
    verify_seconds: float
    _wanted: asyncio.Queue[Listing] = field(default_factory=asyncio.Queue, init=False)
    _reading: set[str] = field(default_factory=set, init=False)
    _taken: dict[str, tuple[float, Collection[str]]] = field(default_factory=dict, init=False)
    _covered: dict[str, Collection[str]] = field(default_factory=dict, init=False)
    _seen_at: dict[str, dict[str, float]] = field(default_factory=dict, init=False)
    _looked: dict[str, tuple[float, Collection[str]]] = field(default_factory=dict, init=False)
    _not_before: dict[str, float] = field(default_factory=dict, init=False)
    _is_unavailable: bool = field(default=False, init=False)
    _failing: Backoff[str] = field(init=False)

    def __post_init__(self) -> None:
        self._failing = Backoff(self.clock.monotonic, LONGEST_WAIT)

    def begin(self) -> None:
        """Forget what an earlier watch had in hand."""
        self._wanted = asyncio.Queue()
        self._reading.clear()
        for each in (self._taken, self._covered, self._seen_at, self._looked):
            each.clear()

    async def keep(self, clusters: Collection[str]) -> None:
        """Let nothing be wrong in clusters that are no longer watched."""
        for cluster_id in self.reports.clusters:
            is_watched = cluster_id in clusters and self.poller.is_watched(cluster_id)
            if self.reports[cluster_id].is_watched and not is_watched:
                gone = partial(replace, faults=(), count=0, critical=0, nodes=0, brake=None, is_watched=False)
                await self.reports.change(cluster_id, gone)

    def measure(self, *, is_watching: bool) -> None:
        """Bring the gauges up to date."""
        reports = [self.reports[each] for each in self.reports.clusters] if is_watching else []
        critical = sum(each.critical for each in reports)
        metrics.UNREPAIRED.labels("critical").set(critical)
        metrics.UNREPAIRED.labels("other").set(sum(each.count for each in reports) - critical)
        metrics.BRAKES.set(sum(bool(each.brake_key) for each in reports))

    async def take(self, listing: Listing) -> None:
        """Have the alerts of a cluster read whose remediations were listed, where it is time."""
        now, cluster_id = self.clock.monotonic(), listing.cluster_id
        if listing.error or listing.alone or not listing.is_watched:
            return
        await self._leave_out(cluster_id, listing.under_repair)
        if cluster_id in self._reading:
            return
        taken_at, under_repair = self._taken.get(cluster_id, (-math.inf, ()))
        is_slow = now - listing.asked_at > SLOW_SECONDS
        is_urgent = listing.under_repair != under_repair or self._is_undecided(cluster_id)
        pause = SLOW_POLL_SECONDS if is_slow else 0.0 if is_urgent else READ_SECONDS
        is_early = any(now < self._not_before.get(each, -math.inf) for each in (cluster_id, ""))
        if now >= taken_at + pause and not is_early and not self._failing.is_to_wait(cluster_id):
            self._reading.add(cluster_id)
            self._taken[cluster_id] = now, listing.under_repair
            self._wanted.put_nowait(listing)

    async def _leave_out(self, cluster_id: str, under_repair: Collection[str]) -> None:
        """Forget what a repair was opened for, also where the alerts can't be read."""
        known = self.reports[cluster_id].faults
        covered = {each.alert.key for each in known if not each.alert.names.isdisjoint(under_repair)}
        if covered:
            self._covered[cluster_id] = covered.union(self._covered.get(cluster_id, ()))
            await self.reports.change(cluster_id, lambda report: report.without(covered, self.clock.now()))

    def _is_undecided(self, cluster_id: str) -> bool:
        """Whether the next answer says that an alert has cleared, or that people are to be called for it."""
        report, soon = self.reports[cluster_id], self.clock.now() + READ_SECONDS
        due = {each.alert.key for each in report.overdue(soon, self.unrepaired_seconds)}
        return any(each.missed for each in report.faults) or not due <= report.told.keys()

    async def read(self) -> None:
        """Read one cluster after another, forever."""
        while True:
            listing = await self._wanted.get()
            cluster_id = listing.cluster_id
            try:
                alerts, is_whole = await self.together.firing(cluster_id)
                await self._note(cluster_id, alerts, listing.under_repair, is_whole=is_whole)
            except TogetherError as error:
                self._failed(cluster_id, error)
            except (LeaseLost, StorageUnavailable):
                raise
            except InvalidId:
                pass  # the list of its remediations says so
            except Exception:  # what is odd about one cluster must not blind the bot to all others
                logger.exception("Cluster %s: reading its alerts failed", cluster_id)
                self._failing.failed(cluster_id)
            else:
                self._failing.succeeded(cluster_id)
                self._is_unavailable = False
            finally:
                self._reading.discard(cluster_id)

    def _failed(self, cluster_id: str, error: TogetherError) -> None:
        now = self.clock.monotonic()
        if error.http_status in UNAVAILABLE:
            self._not_before[cluster_id] = now + ASK_AGAIN_SECONDS
            if not self._is_unavailable:
                logger.warning("Together doesn't list firing alerts for this API key: HTTP %s", error.http_status)
            self._is_unavailable = True
            return
        logger.warning("Can't read the alerts of cluster %s: %s", cluster_id, type(error).__name__)
        self._failing.failed(cluster_id)
        if isinstance(error, RateLimited) and error.retry_after:
            self._not_before[""] = now + min(error.retry_after, LONGEST_RETRY_AFTER)  # that is for all of them

    async def _note(
        self, cluster_id: str, alerts: Sequence[LinkedAlert], under_repair: Collection[str], *, is_whole: bool
    ) -> None:
        """Write down what has changed."""
        now, mono = self.clock.now(), self.clock.monotonic()
        firing = {each.key: each for each in alerts if each.resolved_at is None}
        known = {each.alert.key: each for each in self.reports[cluster_id].faults}
        before = self._seen_at.get(cluster_id, {})
        seen_at = {key: before.get(key, mono) for key in known} | dict.fromkeys(firing, mono)
        self._seen_at[cluster_id] = seen_at
        is_first, was_covered = cluster_id not in self._covered, self._covered.get(cluster_id, ())
        covered = {key for key, each in firing.items() if not each.names.isdisjoint(under_repair)}
        self._covered[cluster_id] = covered

        def since(alert: LinkedAlert) -> float:
            if alert.key in known:
                return min(now, known[alert.key].since)
            if is_first or alert.key in was_covered or alert.started_at is None:
                return now  # its repair may have just ended, or nobody knows
            return min(now, alert.started_at.timestamp())

        faults = [Fault(each.brief(), since(each)) for key, each in firing.items() if key not in covered]
        for key, each in known.items():
            is_called_for = each.alert.is_critical and key in self.reports[cluster_id].told
            is_unseen = mono - seen_at[key] > UNSEEN_SECONDS and not is_called_for
            is_gone = each.missed + 1 >= MISSED if is_whole else is_unseen
            if key not in firing and not is_gone and each.alert.names.isdisjoint(under_repair):
                faults.append(replace(each, missed=each.missed + 1 if is_whole else 0))
        name = self.poller.name_of(cluster_id)
        self.reports.read_at[cluster_id], self.reports.confirmed_at[cluster_id] = mono, now
        # A fault of a repaired node is told in its thread: it calls nobody again.
        came_back = await self._look_for_returns(cluster_id, firing)

        def noted(report: FaultReport) -> FaultReport:
            return report.having_told(came_back).noting(name, faults, KEPT, now)

        await self.reports.change(cluster_id, noted)

    async def _look_for_returns(self, cluster_id: str, firing: Mapping[str, LinkedAlert]) -> Collection[str]:
        """Let repairs say that what they were to mend fires again, or still. Returns the keys of those alerts."""
        now, keys = self.clock.monotonic(), set(firing)
        at, looked = self._looked.get(cluster_id, (-math.inf, ()))
        if not keys or (keys == looked and now - at <= LOOK_SECONDS):
            return ()
        self._looked[cluster_id] = now, keys
        return await self.database.run(ended.note_firing, cluster_id, list(firing.values()), self.verify_seconds)
