"""The storm brake: approvals of a cluster pause automatically while so much of it is broken at once."""

from dataclasses import dataclass, replace
from functools import partial

from bot import cards
from bot.clock import Clock
from bot.models import Brake, FaultReport
from bot.store import LeasedDatabase, messages
from bot.watcher.config import StormBrake
from bot.watcher.poller import Listing, Poller
from bot.watcher.reports import Reports


@dataclass(slots=True)
class BrakeWatch:
    """Latches and releases it."""

    reports: Reports
    database: LeasedDatabase
    poller: Poller
    setting: StormBrake | None
    clock: Clock

    async def look(self, listing: Listing) -> None:
        """Count the nodes that a list of remediations has, and those of the critical alerts that fire beside it."""
        if listing.error or listing.alone or not listing.is_watched:
            return
        cluster_id, now = listing.cluster_id, self.clock.now()
        cluster, report = self.poller.clusters.get(cluster_id), self.reports[cluster_id]
        if self.setting is None:
            if report.brake:  # it was set before a restart
                await self.reports.change(cluster_id, partial(replace, brake=None))
            return
        nodes = cluster.nodes if cluster else None
        limit = self.setting.limit(nodes) or (report.brake.limit if report.brake else None)
        broken = len(listing.in_repair | listing.waiting) + self._firing(report, listing)
        if limit is None or (report.brake is None and broken < limit):
            return
        cause = ("", 0) if report.brake else await self._cause(cluster_id)
        name = self.poller.name_of(cluster_id)

        def braked(known: FaultReport) -> FaultReport:
            first = Brake(broken, limit, nodes, now, cause, peak=broken, looked_at=now) if broken >= limit else None
            brake = known.brake.then(broken, nodes, limit, now) if known.brake else first
            return replace(known, cluster=known.cluster or name, brake=brake, is_watched=True)

        await self.reports.change(cluster_id, braked)

    def _firing(self, report: FaultReport, listing: Listing) -> int:
        """Return on how many nodes critical alerts fire that the list doesn't have, where they were read lately."""
        if not self.reports.is_fresh(listing.cluster_id, self.clock.monotonic()):
            return 0
        known = [each for each in report.faults if each.alert.is_critical]
        counted = {
            each.alert.node for each in known if each.missed or not each.alert.names.isdisjoint(listing.under_repair)
        }
        return report.nodes - len(counted)

    async def _cause(self, cluster_id: str) -> tuple[str, int]:
        """Return the most common fault of what is open in a cluster, raw, and how often it is there."""
        tracked = [each.remediation for each in await self.database.read(messages.tracked)]
        return cards.most_common_fault(each for each in tracked if each.cluster_id == cluster_id)
