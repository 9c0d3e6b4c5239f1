"""What is wrong in clusters as a whole: alerts that fire while no repair is open for them, and the storm brake."""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bot import cards, metrics
from bot.clock import Clock
from bot.errors import InvalidId, LeaseLost, RateLimited, StorageUnavailable, TogetherError
from bot.logs import lasting
from bot.models import Brake, Fault, FaultReport, LinkedAlert, unix
from bot.store import LeasedDatabase, faults, messages
from bot.store.outbox import Data
from bot.together import TogetherClient
from bot.watcher.config import WatchConfig
from bot.watcher.listings import Listing, UnderRepair
from bot.watcher.poller import LONGEST_RETRY_AFTER, SLOW_SECONDS, Poller
from bot.watcher.workqueue import Backoff

logger = logging.getLogger(__name__)

READERS = 4
MISSED = 2  # lists in a row without an alert: it has cleared
UNSEEN_SECONDS = 600.0  # the same, where there are more alerts than can be read; not one that people were called for
HOLDS_SECONDS = 7200.0  # so long alerts that can't be read any more hold the storm brake
UNAVAILABLE = {403, 404, 501}  # not every key may read the list
ASK_AGAIN_SECONDS = 3600.0
READ_SECONDS = 60.0  # between two readings of a cluster whose alerts change nothing soon
SLOW_POLL_SECONDS = 300.0  # the same, where the list of remediations takes long
FRESH_SECONDS = 420.0  # since the alerts of a cluster were read: while Together is slow, that is every five minutes
LONGEST_WAIT = 300.0  # between two attempts to read what fails
LOOK_SECONDS = 600.0  # between two looks for repairs that didn't help, while the same alerts fire
Change = Callable[[FaultReport], FaultReport]


@dataclass(slots=True)
class FaultReports:
    """Keeps a report for each cluster in which something is wrong: it is written down before it counts.

    Attributes:
        database: others resume approvals there, so a report with a brake is always changed as it is in the database.
        fresh_seconds: how old what was read may be, by how often clusters are read.
        read_at: when this process read the alerts of a cluster, on its monotonic clock, and in Unix time.
    """

    database: LeasedDatabase
    clock: Clock
    fresh_seconds: float
    read_at: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)
    _began_at: float = field(default=-math.inf, init=False)
    _known: dict[str, FaultReport] = field(default_factory=dict, init=False)
    _seen_before: dict[str, float] = field(default_factory=dict, init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def load(self) -> None:
        """Begin with what the last process knew."""
        await self.database.run(faults.drop_unreadable)
        self._known = await self.database.read(faults.known)
        # When an earlier process read alerts isn't known, but what it has seen come and go then.
        self._seen_before = {
            cluster_id: max((*(fault.since for fault in known.faults), *known.told.values()), default=0.0)
            for cluster_id, known in self._known.items()
        }
        self.read_at.clear()
        self._began_at = self.clock.monotonic()

    async def refresh(self) -> None:
        """Learn who has resumed approvals, though Together can't be read."""
        if any(report.brake for report in self._known.values()):
            async with self._writing:
                self._known = await self.database.read(faults.known)

    def __getitem__(self, cluster_id: str) -> FaultReport:
        return self._known.get(cluster_id, FaultReport())

    @property
    def clusters(self) -> Collection[str]:
        """Those in which something is wrong, or a message says so."""
        return list(self._known)

    def is_fresh(self, cluster_id: str, seconds: float | None = None) -> bool:
        """Return whether the alerts of a cluster were read lately, or in the last `seconds`."""
        return self._is_recent(self.read_at.get(cluster_id, (-math.inf, 0.0))[0], seconds)

    def _is_recent(self, moment: float, seconds: float | None = None) -> bool:
        return self.clock.monotonic() - moment <= (seconds or self.fresh_seconds)

    def is_unavailable(self, cluster_id: str, error: TogetherError) -> bool:
        """Return whether the API key seems not to allow it: the error says so, and this process has never read them."""
        return error.http_status in UNAVAILABLE and cluster_id not in self.read_at

    def as_of(self, cluster_id: str) -> float:
        """Return when alerts were read that weren't lately, as Unix time; 0 for the others, or where nobody knows."""
        if self.is_fresh(cluster_id):
            return 0.0
        return self.read_at.get(cluster_id, (0.0, self[cluster_id].as_of))[1]

    async def note_age(self) -> None:
        """Write down as of when alerts are known that couldn't be read for long: others show them too."""
        for cluster_id in self.clusters:
            known, as_of = self[cluster_id], self.as_of(cluster_id)
            if not (as_of or self.is_fresh(cluster_id) or self._is_recent(self._began_at)):
                as_of = self._seen_before.get(cluster_id, 0.0)
            if as_of != known.as_of:
                await self.change(cluster_id, partial(replace, as_of=as_of))

    async def change(self, cluster_id: str, change: Change, *, told: Data | None = None) -> None:
        """Change a report. `told` is what other tools are told with it.

        Raises:
            LeaseLost, StorageUnavailable: it may have been changed, or not.
        """
        async with self._writing:
            known = self[cluster_id]
            after = change(known)
            is_same = after == known or (after.is_empty and known.is_empty)
            if is_same and told is None and known.brake is None:
                return
            self._keep(cluster_id, await self.database.run(faults.change, cluster_id, change, told))

    async def note_firing(
        self,
        cluster_id: str,
        firing: Sequence[LinkedAlert],
        verify_seconds: float,
        noted: Callable[[FaultReport, messages.Returns], FaultReport],
    ) -> None:
        """Mark repairs whose fault fires again, and change a report with that.

        Raises:
            LeaseLost, StorageUnavailable: it may have been changed, or not.
        """
        async with self._writing:
            self._keep(
                cluster_id, await self.database.run(faults.note_firing, cluster_id, firing, verify_seconds, noted)
            )

    def _keep(self, cluster_id: str, after: FaultReport) -> None:
        self._known.pop(cluster_id, None)
        if not after.is_empty:
            self._known[cluster_id] = after


@dataclass(slots=True)
class _Seen:
    """What was seen of a cluster since the watch began. Times are on this process's monotonic clock.

    Attributes:
        is_reading: its alerts are being read, or are next.
        taken_at: when that was last wanted.
        under_repair: what was under repair then.
        covered: the keys of the alerts that a repair was open for; None before the first answer.
        alerts: when each alert was last there, by its key.
        looked_at: when repairs that didn't help were last looked for.
        looked_for: the keys of the alerts that fired then.
    """

    is_reading: bool = False
    taken_at: float = -math.inf
    under_repair: UnderRepair = field(default_factory=UnderRepair)
    covered: set[str] | None = None
    alerts: Mapping[str, float] = field(default_factory=dict)
    looked_at: float = -math.inf
    looked_for: Collection[str] = ()


@dataclass(slots=True)
class FaultWatch:
    """Reads firing alerts, notes those without an open repair, and pauses approvals while too much is broken."""

    together: TogetherClient
    reports: FaultReports
    database: LeasedDatabase
    poller: Poller
    config: WatchConfig
    clock: Clock
    _wanted: asyncio.Queue[str] = field(init=False)
    _seen: defaultdict[str, _Seen] = field(init=False)
    _is_unavailable: bool = field(default=False, init=False)
    _failing: Backoff[str] = field(init=False)

    def __post_init__(self) -> None:
        self._failing = Backoff(self.clock.monotonic, LONGEST_WAIT)

    def begin(self) -> None:
        """Forget what an earlier watch had in hand."""
        self._wanted, self._seen = asyncio.Queue(), defaultdict(_Seen)

    async def keep(self, clusters: Collection[str]) -> None:
        """Clear the reports of clusters that are no longer watched."""
        for cluster_id in self.reports.clusters:
            if not (cluster_id in clusters and self.poller.is_watched(cluster_id)):
                await self.reports.change(cluster_id, lambda report: report.unwatched(self.clock.now()))

    def measure(self, *, is_watching: bool) -> None:
        """Bring the gauges up to date."""
        reports = [self.reports[cluster_id] for cluster_id in self.reports.clusters] if is_watching else []
        critical = sum(report.critical for report in reports)
        metrics.UNREPAIRED.labels("critical").set(critical)
        metrics.UNREPAIRED.labels("other").set(sum(report.count for report in reports) - critical)
        metrics.BRAKES.set(sum(bool(report.brake_key) for report in reports))

    async def take(self, listing: Listing) -> None:
        """Take what a list says of its cluster, and have the alerts read too where it is time."""
        if listing.error or listing.alone or not listing.is_watched:
            return
        now, cluster_id = self.clock.monotonic(), listing.cluster_id
        seen = self._seen[cluster_id]
        known = self.reports[cluster_id].faults
        covered = {fault.key for fault in known if listing.under_repair.has(fault.alert)}
        if covered:  # forget what a repair was opened for, also where the alerts can't be read
            seen.covered = covered | (seen.covered or set())
            await self.reports.change(cluster_id, lambda report: report.without(covered))
        await self._brake(listing)
        is_slow = now - listing.asked_at > SLOW_SECONDS
        is_urgent = listing.under_repair != seen.under_repair or self._is_undecided(cluster_id)
        pause = SLOW_POLL_SECONDS if is_slow else 0.0 if is_urgent else READ_SECONDS
        must_wait = self._failing.must_wait(cluster_id) or self._failing.must_wait("")
        if now >= seen.taken_at + pause and not must_wait and not seen.is_reading:
            seen.is_reading = True
            seen.taken_at = now
            seen.under_repair = listing.under_repair
            self._wanted.put_nowait(cluster_id)

    async def _brake(self, listing: Listing) -> None:
        """Count the nodes that a list has, and those of the critical alerts that fire beside it: pause, or resume."""
        cluster_id, now = listing.cluster_id, self.clock.now()
        cluster, report = self.poller.clusters.get(cluster_id), self.reports[cluster_id]
        if self.config.storm_brake is None or self.config.cards.observes(cluster_id):
            if report.brake:  # the settings were others before a restart
                await self.reports.change(cluster_id, partial(replace, brake=None))
            return
        nodes = cluster.nodes if cluster else None
        limit = self.config.storm_brake.limit(nodes) or (report.brake.limit if report.brake else None)
        unread = {ref.instance_id for ref in listing.unconfirmed} if report.brake else set()
        broken = len(listing.in_repair | listing.waiting | unread)
        # Alerts that couldn't be read lately pause nothing, but for some time hold what is paused.
        alerts_at = self.reports.read_at.get(cluster_id, (0.0, report.brake.alerts_at if report.brake else 0.0))[1]
        if now - alerts_at <= HOLDS_SECONDS if report.brake else self.reports.is_fresh(cluster_id):
            # The list may have a node already, and an alert that the last answer lacked may have cleared.
            critical = [fault for fault in report.faults if fault.alert.is_critical]
            listed = {fault.alert.node for fault in critical if listing.under_repair.has_node(fault.alert)}
            cleared = {fault.alert.node for fault in critical} - {
                fault.alert.node for fault in critical if not fault.missed
            }
            broken += report.nodes - len(listed | cleared)
        if limit is None or (report.brake is None and broken < limit):
            return
        cause = await self._most_common(cluster_id) if broken > (report.brake.shown if report.brake else 0) else None
        name = self.poller.cluster_names[cluster_id]

        def braked(known: FaultReport) -> FaultReport:
            brake = Brake(broken, limit, nodes, now, peak=broken, looked_at=now) if broken >= limit else None
            if known.brake:
                brake = known.brake.then(broken, nodes, limit, now, blind_seconds=self.reports.fresh_seconds)
            brake = replace(brake, alerts_at=alerts_at, cause=cause or brake.cause) if brake else None
            return replace(known, cluster=known.cluster or name, brake=brake, is_watched=True)

        await self.reports.change(cluster_id, braked)

    async def _most_common(self, cluster_id: str) -> tuple[str, int]:
        """Return what most of the nodes that the brake counts have, raw, and how many; empty and 0 for nothing."""
        tracked = [alert.remediation for alert in await self.database.read(messages.tracked)]
        critical = [fault.alert for fault in self.reports[cluster_id].faults if fault.alert.is_critical]
        return cards.most_common_fault([one for one in tracked if one.cluster_id == cluster_id], critical)

    def _is_undecided(self, cluster_id: str) -> bool:
        """Return whether the next answer may say that an alert has cleared, or must call people."""
        report, soon = self.reports[cluster_id], self.clock.now() + READ_SECONDS
        due = {fault.key for fault in report.overdue(soon, self.config.unrepaired_seconds)}
        return any(fault.missed for fault in report.faults) or not due <= report.told.keys()

    async def read(self) -> None:
        """Read one cluster after another, forever."""
        while True:
            cluster_id = await self._wanted.get()
            try:
                alerts, is_whole = await self.together.firing(cluster_id)
                await self._note(cluster_id, alerts, is_whole=is_whole)
            except TogetherError as error:
                self._failed(cluster_id, error)
            except (LeaseLost, StorageUnavailable):
                raise
            except InvalidId:
                pass  # the list of its remediations says so
            except Exception:  # what is odd about one cluster must not blind the bot to all others
                logger.exception("Cluster %s: reading its alerts failed", cluster_id, extra=lasting())
                self._failing.failed(cluster_id)
            else:
                self._failing.succeeded(cluster_id)
                self._is_unavailable = False
            finally:
                self._seen[cluster_id].is_reading = False

    def _failed(self, cluster_id: str, error: TogetherError) -> None:
        if self.reports.is_unavailable(cluster_id, error):
            self._failing.pause(cluster_id, ASK_AGAIN_SECONDS)
            if not self._is_unavailable:
                logger.warning("Together doesn't list firing alerts for this API key: HTTP %s", error.http_status)
            self._is_unavailable = True
            return
        logger.warning("Can't read the alerts of cluster %s: %s", cluster_id, type(error).__name__, extra=lasting())
        self._failing.failed(cluster_id)
        if isinstance(error, RateLimited) and error.retry_after:
            self._failing.pause("", min(error.retry_after, LONGEST_RETRY_AFTER))  # that is for all of them

    async def _note(self, cluster_id: str, alerts: Sequence[LinkedAlert], *, is_whole: bool) -> None:
        """Write down what has changed since the list that had the alerts read."""
        now = self.clock.now()
        mono = self.clock.monotonic()
        seen = self._seen[cluster_id]
        firing = {alert.key: alert for alert in alerts}
        known = {fault.key: fault for fault in self.reports[cluster_id].faults}
        seen.alerts = {key: seen.alerts.get(key, mono) for key in known} | dict.fromkeys(firing, mono)
        was_covered = seen.covered
        seen.covered = covered = {key for key, alert in firing.items() if seen.under_repair.has(alert)}
        if covered != was_covered:
            seen.looked_for = ()  # a repair may have just ended, and its alert has its time to clear

        def since(alert: LinkedAlert) -> float:
            if alert.key in known:
                return min(now, known[alert.key].since)
            if was_covered is None or alert.key in was_covered:
                return now  # its repair may have just ended, or nobody knows
            return min(now, unix(alert.started_at) or now)

        faults = [Fault(alert.brief(), since(alert)) for key, alert in firing.items() if key not in covered]
        for key, fault in known.items():
            is_called_for = fault.alert.is_critical and key in self.reports[cluster_id].told
            is_unseen = mono - seen.alerts[key] > UNSEEN_SECONDS and not is_called_for
            is_gone = fault.missed + 1 >= MISSED if is_whole else is_unseen
            if key not in firing and not is_gone and not seen.under_repair.has(fault.alert):
                faults.append(replace(fault, missed=fault.missed + 1 if is_whole else 0))
        name = self.poller.cluster_names[cluster_id]

        def noted(report: FaultReport, returns: messages.Returns | None = None) -> FaultReport:
            if returns:
                # The thread of a repair calls for its fault, but for a warning that turns critical later.
                called = {key for key in returns.back if firing[key].is_critical}
                on_cards = report.on_cards.union(returns.back, returns.clearing)
                report = replace(report.having_told(called), on_cards=on_cards)
            return report.noting(name, faults, now)

        if self._looks_for_returns(cluster_id, firing.keys()):
            watched = self.config.cards.verify_seconds
            await self.reports.note_firing(cluster_id, list(firing.values()), watched, noted)
        else:
            await self.reports.change(cluster_id, noted)
        self.reports.read_at[cluster_id] = mono, now  # once it is written down what the threads of repairs call for

    def _looks_for_returns(self, cluster_id: str, firing: Collection[str]) -> bool:
        """Return whether to look now for repairs whose fault fires again, or still."""
        now, seen, report = self.clock.monotonic(), self._seen[cluster_id], self.reports[cluster_id]
        if not firing:
            return False
        is_same = firing == seen.looked_for and now - seen.looked_at <= LOOK_SECONDS
        if is_same and not any(fault.key in report.on_cards - report.told.keys() for fault in report.worst):
            return False
        seen.looked_at, seen.looked_for = now, set(firing)
        return True
