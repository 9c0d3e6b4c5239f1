"""Asks Together before a thread is told what time alone says: that it waits, may be stuck, isn't back, has lasted."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from bot import alerts, readings
from bot.alerts import AlertView, Tracked
from bot.clock import Clock
from bot.errors import InvalidId, TogetherError
from bot.models import BEGUN, IN_REPAIR, Cluster, LinkedAlert, Remediation, RemediationRef, State
from bot.store import LeasedDatabase, messages
from bot.together import ALL_INSTANCES, TogetherClient
from bot.watcher import threads
from bot.watcher.faults import FaultReports
from bot.watcher.listings import reference_of
from bot.watcher.threads import Check

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Checks:
    """Asks Together."""

    database: LeasedDatabase
    together: TogetherClient
    reports: FaultReports
    verify_seconds: float
    clock: Clock
    _missed: dict[RemediationRef, float] = field(default_factory=dict, init=False)  # when a node was first missing

    def begin(self) -> None:
        """Forget what an earlier watch has seen."""
        self._missed.clear()

    async def found_by(self, made: Sequence[threads.Due]) -> set[RemediationRef] | None:
        """Return which checks found something: a repair under way, a node that isn't back, or a fault that is.

        None where that can't be read now.
        """
        check, cluster_id = made[0].place
        repairs = [due.alert.remediation for due in made]
        try:
            match check:
                case Check.STUCK:
                    return await self._under_way(repairs)
                case Check.BACK:
                    return await self._missing(cluster_id, repairs)
                case Check.LASTS:
                    return await self._note_returns(cluster_id, repairs)
        except TogetherError as error:
            logger.warning("Cluster %s can't be read after a repair: %s", cluster_id, type(error).__name__)
            return None

    async def _firing(self, cluster_id: str) -> list[LinkedAlert] | None:
        """Return which alerts fire; none where this key may never list them, None where not all can be read now."""
        try:
            firing, is_whole = await self.together.firing(cluster_id)
        except TogetherError as error:
            if self.reports.is_unavailable(cluster_id, error):
                return []
            raise
        return firing if is_whole else None

    async def _under_way(self, repairs: Sequence[Remediation]) -> set[RemediationRef] | None:
        """Return what `are_still` does; no list has what is in a state that this version doesn't know."""
        listed = [repair.ref for repair in repairs if repair.state in IN_REPAIR]
        alone = [[repair.ref] for repair in repairs if repair.state not in IN_REPAIR]
        found = [await self.are_still(refs, waiting=False) for refs in [listed, *alone] if refs]
        still = {ref for each in found if each for ref in each}
        return None if not still and None in found else still

    async def _missing(self, cluster_id: str, repairs: Sequence[Remediation]) -> set[RemediationRef] | None:
        """Return whose nodes don't run in their cluster, but for those that a later repair has replaced or removed.

        None where one answer lacks a node: only the second one says that it's missing.
        """
        cluster = await self.together.get_cluster(cluster_id)
        missing, listed = [repair for repair in repairs if not _is_back(repair, cluster)], []
        now = self.clock.monotonic()
        before = {repair.ref: self._missed.pop(repair.ref, now) for repair in repairs}  # its next incident is another
        if any(now - before[repair.ref] < alerts.VANISHED_SECONDS for repair in missing):
            self._missed |= {repair.ref: before[repair.ref] for repair in missing}
            return None
        if missing:
            with suppress(TogetherError):  # the thread learns what the cluster's own answer says all the same
                listed = await self.together.list_remediations(cluster_id)
        return {repair.ref for repair in missing if not _is_gone(repair, listed)}

    async def _note_returns(self, cluster_id: str, repairs: Sequence[Remediation]) -> set[RemediationRef] | None:
        """Note which faults are back, or still there, where the bot hasn't seen that yet: this is the last look.

        And which VM has left its cluster: replaced by another, or taken out by a later repair.
        """
        seconds, returned = self.verify_seconds, set()
        instance_id = repairs[0].instance_id if len(repairs) == 1 else ALL_INSTANCES
        listed = await self.together.list_remediations(cluster_id, instance_id)
        if (firing := await self._firing(cluster_id)) is None:
            return None
        cluster = None
        try:
            cluster = await self.together.get_cluster(cluster_id)
        except TogetherError:
            if any(repair.mode not in threads.KEEP_THE_NODE for repair in repairs):
                raise  # they may have replaced their VMs themselves
        called = set[str]()
        for repair in repairs:
            backs = [readings.came_back(repair, remediation, seconds, is_last_look=True) for remediation in listed]
            watched_until = repair.succeeded_at + seconds
            fires = {alert.key: readings.fires_again(repair, alert, seconds, watched_until) for alert in firing}
            if found := [back for back in (*backs, *fires.values()) if back]:
                back = readings.worst(found)
                called |= {key for key, fault in fires.items() if fault and not fault.is_warning}
                await self.database.run(messages.observe, repair.ref, partial(alerts.returned, back=back))
                returned.add(repair.ref)
            elif cluster and _has_left(repair, cluster):
                await self.database.run(messages.observe, repair.ref, _replaced)
                returned.add(repair.ref)
        if called:  # in the threads of the repairs
            await self.reports.change(cluster_id, lambda report: report.having_told(called))
        return returned

    async def are_still(self, refs: list[RemediationRef], *, waiting: bool) -> set[RemediationRef] | None:
        """Return which of these certainly wait, or are under way; None where none is, but not all can be read now."""
        if len(refs) == 1:
            try:
                present = await self.together.get(refs[0])
            except TogetherError:
                return None
            is_still = present.is_waiting if waiting else present.is_under_way
            return set(refs) if is_still else set()
        states = {State.PENDING_APPROVAL} if waiting else IN_REPAIR
        clusters = {ref.cluster_id for ref in refs}
        lists = await asyncio.gather(*(self._listed(cluster_id, states) for cluster_id in clusters))
        still = {ref for ref in refs if any(listed and ref in listed for listed in lists)}
        return None if not still and None in lists else still

    async def _listed(self, cluster_id: str, states: Collection[State]) -> set[RemediationRef] | None:
        """Return what is in such a state in a cluster; None where it can't be read now."""
        try:
            items = await self.together.scan(cluster_id, states=sorted(states))
        except (InvalidId, TogetherError) as error:
            logger.warning("Cluster %s can't be read before its thread is told: %s", cluster_id, type(error).__name__)
            return None
        return {ref for item in items if (ref := reference_of(item, cluster_id))}


def _is_back(repair: Remediation, cluster: Cluster) -> bool:
    """Return whether a node runs again, or Together's answer doesn't say that it doesn't."""
    nodes = [node for node in cluster.gpu_worker_nodes or () if node]
    own = [node for node in nodes if node.is_of(repair)]
    if not own:
        return not any(node.instance_id for node in nodes)  # which is optional in that answer
    latest = [node.latest_remediation for node in own if node.latest_remediation]
    is_in_repair_again = any(remediation.id != repair.id and remediation.state in IN_REPAIR for remediation in latest)
    return is_in_repair_again or any(node.is_running for node in own)


def _replaced(view: AlertView) -> Tracked:
    """Note that nothing can be seen of a repaired node's fault any more."""
    key = Check.LASTS.found(view.alert)
    return view.alert, replace(view.message, announced=view.message.announced | {key}).due


def _has_left(repair: Remediation, cluster: Cluster) -> bool:
    """Return whether Together's answer doesn't have a repaired VM any more."""
    nodes = [node for node in cluster.gpu_worker_nodes or () if node]
    is_known = any(node.instance_id for node in nodes)  # which is optional in that answer
    return is_known and not any(node.is_of(repair) for node in nodes)


def _is_gone(repair: Remediation, others: Collection[Remediation]) -> bool:
    """Return whether a later repair was to replace or remove the node of one."""
    return any(
        remediation.instance_id == repair.instance_id
        and remediation.id != repair.id
        and remediation.mode not in threads.KEEP_THE_NODE
        and (
            remediation.state in IN_REPAIR
            or (remediation.state in BEGUN and remediation.ended_at > repair.succeeded_at)
        )
        for remediation in others
    )
