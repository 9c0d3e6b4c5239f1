"""Reads the clusters, each at its own pace: one that fails or is slow keeps no other waiting."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bot import cards
from bot.clock import Clock
from bot.errors import InvalidId, NotFound, RateLimited, TogetherError, UnreadableAnswer
from bot.logs import lasting
from bot.models import IN_REPAIR, OPEN, Alert, Cluster, ClusterNames, RemediationRef, RepairLoad, State
from bot.tasks import cancel
from bot.together import TogetherClient
from bot.watcher.index import TrackedIndex
from bot.watcher.listings import CLUSTER_LIST, Listing, alert_of, fingerprint_of, reference_of
from bot.watcher.workqueue import FIRST_WAIT, Backoff

logger = logging.getLogger(__name__)

CLUSTERS_AT_ONCE = 8
READS_AT_ONCE = 4  # in one cluster
ITEMS_AT_ONCE = 100  # of a list
LISTINGS_AT_ONCE = 4  # that wait to be taken in: each may be large
KEPT_SECONDS = 30.0  # so long what was read waits for the database, until it is out of date
SLOW_SECONDS = 2.0
CLUSTERS_FRESH_SECONDS = 600.0
CLUSTERS_AGAIN_SECONDS = 30.0
MISSING_TIMES = 3  # a cluster that this many lists in a row don't have is gone
LONGEST_RETRY_AFTER = 300.0  # even if Together asks for more: people are told that the bot keeps retrying
LOST_SECONDS = 3600.0
LOST_WAIT = 300.0


@dataclass
class Poller:
    """Reads Together's lists. `next_listing` returns each until it's taken.

    Attributes:
        chosen: which to read; empty for all that the key sees.
        clusters: what is known of each cluster.
        cluster_names: what they are called, as cards have it.
        loads: how many nodes of a cluster are in repair, and how many wait for approval, as far as it was taken in.
        in_unknown_states: the repairs under way in a state that lists aren't asked for, and what each is about.
    """

    together: TogetherClient
    chosen: tuple[str, ...]
    index: TrackedIndex
    clock: Clock

    def __post_init__(self) -> None:
        # What couldn't be read the last time has a separate lane, where it keeps nothing else waiting.
        self._lane = asyncio.Semaphore(CLUSTERS_AT_ONCE)
        self._failing_lane = asyncio.Semaphore(CLUSTERS_AT_ONCE)
        self._failing: set[str] = set()
        self._missing: dict[str, int] = {}
        self._known_at: float | None = None
        self._not_before: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._reads: dict[str, asyncio.Task[None]] = {}
        self._vanished: dict[RemediationRef, float] = {}
        self._vanished_backoff: Backoff[RemediationRef] = Backoff(self.clock.monotonic, LOST_WAIT)
        self._maybe_deleted: set[str] = set()
        self.in_unknown_states: dict[RemediationRef, set[str]] = {}
        self._listings: asyncio.Queue[Listing] = asyncio.Queue(LISTINGS_AT_ONCE)
        self._first: Listing | None = None
        self._kept_from = 0.0
        self.clusters: dict[str, Cluster] = {}
        self.cluster_names = ClusterNames()
        self.loads: dict[str, tuple[int, int]] = {}

    def begin(self, sizes: Mapping[str, int | None], names: Mapping[str, str]) -> None:
        """Begin with the clusters that an earlier process has listed, where this one hasn't listed any."""
        self._know(
            self.clusters
            or {
                cluster_id: Cluster(
                    cluster_id=cluster_id,
                    cluster_name=names.get(cluster_id),
                    gpu_worker_nodes=None if nodes is None else [None] * nodes,
                )
                for cluster_id, nodes in sizes.items()
            }
        )

    def _know(self, clusters: Mapping[str, Cluster]) -> None:
        self.clusters = dict(clusters)
        named = {of: name for of, cluster in clusters.items() if (name := cluster.cluster_name)}
        self.cluster_names = cards.labels.clusters(named)

    async def start_round(self, sequence: int, *, only_failing: bool = False) -> Collection[str] | None:
        """Begin to read every cluster that is not being read still, or those alone that couldn't be.

        Returns:
            What is read now; None while it isn't known which clusters there are.
        """
        self._running = {cluster_id: task for cluster_id, task in self._running.items() if not task.done()}
        if CLUSTER_LIST not in self._running:
            self._start(CLUSTER_LIST, sequence)
        if self._known_at is None and not self.chosen:
            await asyncio.wait({self._running[CLUSTER_LIST]})  # until then it is not known what to read
        now = self.clock.monotonic()
        names = {**dict.fromkeys(self.chosen or self.clusters), **dict.fromkeys(self.index.clusters)}
        for cluster_id in names:
            is_wanted = cluster_id in self._failing or not only_failing
            if is_wanted and cluster_id not in self._running and now >= self._not_before.get(cluster_id, 0.0):
                self._start(cluster_id, sequence)
        return names if self.chosen or self._known_at is not None else None

    def _start(self, cluster_id: str, sequence: int) -> None:
        work = self._list_clusters(sequence) if cluster_id == CLUSTER_LIST else self._read(cluster_id, sequence)
        self._running[cluster_id] = asyncio.create_task(work, name=f"read {cluster_id or 'clusters'}")

    async def next_listing(self) -> Listing:
        """Return the first listing that wasn't taken yet: one whose taking failed with the database comes again."""
        while self._first is None or self._first.read_at < self._kept_from:
            self._first = await self._listings.get()
        return self._first

    def taken(self) -> None:
        """Go on to the listing after this one."""
        self._first = None

    def drop_old(self) -> None:
        """Return nothing that was read too long before now."""
        self._kept_from = self.clock.monotonic() - KEPT_SECONDS

    async def _put(self, listing: Listing) -> None:
        listing.read_at = self.clock.monotonic()
        await self._listings.put(listing)

    async def stop(self) -> None:
        """Stop reading, and forget what was read."""
        tasks = [*self._running.values(), *self._reads.values()]
        self._running.clear()
        self._reads.clear()
        await cancel(tasks)
        self._vanished.clear()
        self._listings, self._first = asyncio.Queue(LISTINGS_AT_ONCE), None

    def watch_for_return(self, ref: RemediationRef) -> None:
        """Keep reading what vanished midway, for an hour and less and less often: it may still fail."""
        self._vanished[ref] = self.clock.monotonic() + LOST_SECONDS
        self._vanished_backoff.pause(ref, FIRST_WAIT)

    async def _list_clusters(self, sequence: int) -> None:
        """List the clusters, at most once in ten minutes: which there are, and how many nodes each has.

        No single answer that lacks some is believed: it is asked again soon, and they are read until then.
        """
        now = self.clock.monotonic()
        is_fresh = self._known_at is not None and now - self._known_at < CLUSTERS_FRESH_SECONDS
        if is_fresh or now < self._not_before.get(CLUSTER_LIST, 0.0):
            return
        listing = Listing(CLUSTER_LIST, now, sequence)
        try:
            clusters, _ = await self.together.list_clusters()
        except TogetherError as error:
            self._not_before[CLUSTER_LIST] = now + CLUSTERS_AGAIN_SECONDS
            self._honor_retry_after(CLUSTER_LIST, error)
            if self.chosen:
                return
            listing.error = error
        else:
            listed = {cluster.cluster_id: cluster for cluster in clusters}
            self._missing = {of: self._missing.get(of, 0) + 1 for of in self.clusters if of not in listed}
            kept = {
                cluster_id: self.clusters[cluster_id]
                for cluster_id, times in self._missing.items()
                if times < MISSING_TIMES
            }
            self._know({**listed, **kept})
            if kept:
                logger.warning("Together's list of clusters lacks %d that it had; asking again", len(kept))
            if listed and not kept:
                self._known_at = now
            else:
                self._not_before[CLUSTER_LIST] = now + CLUSTERS_AGAIN_SECONDS
                self._known_at = now - CLUSTERS_FRESH_SECONDS if self.clusters or self._known_at is not None else None
        await self._put(listing)

    async def _read(self, cluster_id: str, sequence: int) -> None:
        """Read a cluster. A slow one leaves its place to the next, and continues beside it."""
        lane = self._failing_lane if cluster_id in self._failing else self._lane
        await lane.acquire()
        self._failing.add(cluster_id)  # until it has been read
        with ExitStack() as place:  # it is left when it is slow or at the end; the second close() does nothing
            place.callback(lane.release)
            place.callback(asyncio.get_running_loop().call_later(SLOW_SECONDS, place.close).cancel)
            listing = Listing(cluster_id, self.clock.monotonic(), sequence)
            try:
                await self._fill(listing)
            except TogetherError as error:
                self._honor_retry_after(cluster_id, error)
                listing.error = error
                if not isinstance(error, NotFound | RateLimited):  # of a cluster, its own not found says nothing
                    self._begin_reading(listing, self.index.answered(cluster_id))
            except InvalidId as error:
                logger.warning("Cluster %s can't be read: %s", cluster_id, error, extra=lasting())
                return
            except Exception:  # what is odd about one cluster must not blind the bot to all others
                logger.exception("Cluster %s: polling failed", cluster_id, extra=lasting())
                # Nobody can rely on what it has, and people are told of that as of one that can't be read.
                listing = Listing(cluster_id, listing.asked_at, sequence, error=UnreadableAnswer("polling failed"))
            else:
                self._failing.discard(cluster_id)
            await self._put(listing)

    def _honor_retry_after(self, cluster_id: str, error: TogetherError) -> None:
        if not isinstance(error, RateLimited) or not error.retry_after:
            return
        seconds = min(error.retry_after, LONGEST_RETRY_AFTER)
        if seconds < error.retry_after:
            logger.warning(
                "Cluster %s: Together asks to wait %.0f s; trying again in %.0f s",
                cluster_id or "list", error.retry_after, seconds, extra=lasting(cluster_id),
            )  # fmt: skip
        self._not_before[cluster_id] = self.clock.monotonic() + seconds

    async def _fill(self, listing: Listing) -> None:
        cluster_id = listing.cluster_id
        listing.is_watched = self.is_watched(cluster_id)
        try:
            items = await self.together.scan(cluster_id, states=OPEN)
        except NotFound as error:
            if cluster_id in self.clusters and cluster_id not in self._maybe_deleted:
                self._maybe_deleted.add(cluster_id)
                self._known_at = (self._known_at or 0.0) - CLUSTERS_FRESH_SECONDS  # is it listed still?
            if self._known_at is None or cluster_id in self.clusters:
                raise  # nothing says that it is gone: neither this nor what its remediations would answer now
            listing.is_gone, items = True, []  # a cluster that is gone has taken its remediations with it
            if cluster_id in self.chosen:
                listing.error = error
        else:
            self._maybe_deleted.discard(cluster_id)
        listed = await self._sort(listing, items)
        listing.unconfirmed = {ref for ref in self.index.of_cluster(cluster_id) if ref not in listed}
        listing.under_repair.names.update(ref.instance_id for ref in listing.unconfirmed)  # by what is known
        unknown = listing.unconfirmed & self.in_unknown_states.keys()
        listing.in_repair.update(ref.instance_id for ref in unknown)
        listing.under_repair.names.update(*(self.in_unknown_states[ref] for ref in unknown))
        if cluster_id in self._reads and not self._reads[cluster_id].done():
            return
        # A list that lags behind undoes nothing: what is listed as it had been before is held back until it is read.
        doubtful = self.index.take_doubts(cluster_id)
        held = [ref for ref in (*listing.new, *listing.changed, *listing.started_elsewhere) if ref in doubtful]
        listing.unconfirmed.update(doubtful & listing.changed.keys())
        for ref in held:
            listing.new.pop(ref, None)
            listing.changed.pop(ref, None)
            listing.started_elsewhere.pop(ref, None)
        self._begin_reading(listing, [*listing.unconfirmed.union(held), *self._vanished_of(cluster_id)])

    def _begin_reading(self, of: Listing, alone: Sequence[RemediationRef]) -> None:
        cluster_id = of.cluster_id
        if alone and (cluster_id not in self._reads or self._reads[cluster_id].done()):
            self._reads[cluster_id] = asyncio.create_task(self._read_alone(of, alone), name=f"read {cluster_id}")

    async def _read_alone(self, of: Listing, refs: Sequence[RemediationRef]) -> None:
        """Read what a list lacks or may have outdated, alongside the next lists: one that hangs delays nothing else."""
        places = asyncio.Semaphore(READS_AT_ONCE)

        async def read(ref: RemediationRef) -> None:
            async with places:
                asked_at, found = self.clock.monotonic(), await self._look(ref)
            one = found and found[ref]
            if ref in self._vanished:
                if one is None:
                    self._vanished_backoff.failed(ref)
                    return
                self._forget_vanished(ref)
            if found is None:
                self.index.doubt(ref)
                return
            self.in_unknown_states.pop(ref, None)
            if one and one.remediation.is_under_way and one.remediation.state not in IN_REPAIR:
                self.in_unknown_states[ref] = one.remediation.names
            if one and one.fingerprint == self.index.seen(ref):
                found = {}
            await self._put(Listing(of.cluster_id, asked_at, of.sequence, changed=found, alone=ref))

        await asyncio.gather(*map(read, refs))

    def share(self, cluster_id: str) -> RepairLoad | None:
        """Return how much of a cluster is in repair, as far as it was read."""
        if cluster_id not in self.loads:
            return None
        in_repair, waiting = self.loads[cluster_id]
        cluster = self.clusters.get(cluster_id)
        name = self.cluster_names.get(cluster_id, "")
        return RepairLoad(in_repair, cluster.nodes if cluster else None, self.clock.now(), name, waiting)

    def is_watched(self, cluster_id: str) -> bool:
        """Return whether what is new in a cluster gets announced, as far as it is known which clusters there are."""
        return cluster_id in (self.chosen or self.clusters) or (not self.chosen and self._known_at is None)

    async def _sort(self, listing: Listing, items: Sequence[Any]) -> set[RemediationRef]:
        """Sort what can be read of a list, and return what it has; no ack waits while thousands are looked at."""
        listed, now = set(), self.clock.now()
        for number, item in enumerate(items, start=1):
            # An item may be newer than the list, which was asked for what is open.
            if (ref := reference_of(item, listing.cluster_id)) and item["state"] in OPEN:
                listed.add(ref)
                listing.under_repair.add(item)
                (listing.in_repair if item["state"] in IN_REPAIR else listing.waiting).add(ref.instance_id)
                seen, fingerprint = self.index.seen(ref), fingerprint_of(item)
                if seen is None and item["state"] != State.PENDING_APPROVAL:
                    listing.started_elsewhere[ref] = item
                elif fingerprint != seen and (alert := alert_of(ref, {**item, "answered_at": now}, fingerprint)):
                    (listing.changed if seen is not None else listing.new)[ref] = alert
            if number % ITEMS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return listed

    async def _look(self, ref: RemediationRef) -> dict[RemediationRef, Alert | None] | None:
        """Read one remediation, as `Listing.changed` has it; None where it can't be read now."""
        try:
            remediation = await self.together.get(ref)
        except NotFound:
            return {ref: None}
        except TogetherError as error:
            self._honor_retry_after(ref.cluster_id, error)
            logger.warning("%s can't be read: %s", ref, type(error).__name__, extra=lasting())
            return None
        except Exception:  # what is odd about one must not blind the bot to all others
            logger.exception("%s: reading it failed", ref, extra=lasting())
            return None
        return {ref: Alert(remediation, fingerprint_of(remediation))}

    def _vanished_of(self, cluster_id: str) -> list[RemediationRef]:
        """Return what has vanished in the middle of its work and needs a look now."""
        now = self.clock.monotonic()
        for ref in [ref for ref, until in self._vanished.items() if until < now]:
            self._forget_vanished(ref)
        return [
            ref for ref in self._vanished if ref.cluster_id == cluster_id and not self._vanished_backoff.must_wait(ref)
        ]

    def _forget_vanished(self, ref: RemediationRef) -> None:
        del self._vanished[ref]
        self._vanished_backoff.succeeded(ref)
