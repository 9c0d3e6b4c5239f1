"""Reads the clusters, each at its own pace: one that fails or is slow keeps no other waiting."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from bot.clock import Clock
from bot.errors import InvalidId, LeaseLost, NotFound, RateLimited, StorageUnavailable, TogetherError
from bot.models import IN_REPAIR, OPEN, Cluster, Remediation, RemediationRef, State
from bot.together import TogetherClient
from bot.watcher.book import Backoff

logger = logging.getLogger(__name__)

CLUSTERS_AT_ONCE = 8
READS_AT_ONCE = 8
SLOW_SECONDS = 2.0
CLUSTERS_FRESH_SECONDS = 600.0
LISTING_AGAIN_SECONDS = 30.0
LOST_SECONDS = 3600.0
LISTING = ""  # stands for the list of clusters where a cluster's ID would stand


@dataclass(frozen=True, slots=True)
class Reading:
    """One remediation, as it was read.

    Attributes:
        remediation: None where Together knows it no longer.
        fingerprint: of Together's words.
        asked_at: when Together was asked, on this process's monotonic clock.
    """

    ref: RemediationRef
    remediation: Remediation | None
    fingerprint: str
    asked_at: float


class Listener(Protocol):
    """Who hears what was read."""

    def clusters(self) -> Collection[str]:
        """The clusters in which something is followed."""

    def is_followed(self, ref: RemediationRef) -> bool:
        """Whether there is an alert of it."""

    def followed(self, cluster_id: str) -> Iterable[RemediationRef]:
        """The remediations of a cluster that there are alerts of."""

    def has_seen(self, ref: RemediationRef, fingerprint: str) -> bool:
        """Whether Together's words are the same as last time."""

    async def vanished(self, refs: Collection[RemediationRef]) -> Collection[RemediationRef]:
        """Which of these there are alerts of that were closed because Together knew them no longer."""

    async def heard(
        self, cluster_id: str, new: list[Reading], changed: list[Reading], waiting: Collection[RemediationRef]
    ) -> None:
        """Take what is new and what has changed; `waiting` is all that waits for approval."""

    async def reads(self, clusters: Collection[str]) -> None:
        """These are read now, and no others."""

    async def failed(self, cluster_id: str, error: TogetherError) -> None:
        """A cluster could not be read."""

    async def succeeded(self, cluster_id: str) -> None:
        """A cluster was read."""


class Poller:
    """Reads Together's lists.

    Args:
        together: the API.
        clusters: which to read; empty for all that the key sees.
        listener: hears of it.
        clock: for ages and waits.

    Attributes:
        in_repair: how many nodes of a cluster are in repair.
        nodes: how many nodes a cluster has.
    """

    def __init__(self, together: TogetherClient, clusters: tuple[str, ...], listener: Listener, clock: Clock) -> None:
        self._together = together
        self._chosen = clusters
        self._listener = listener
        self._clock = clock
        self._lane = asyncio.Semaphore(CLUSTERS_AT_ONCE)
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._known: dict[str, Cluster] = {}
        self._known_at: float | None = None
        self._not_before: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._strangers: dict[str, set[RemediationRef]] = {}
        self._lost: dict[RemediationRef, float] = {}
        self._looking: Backoff[RemediationRef] = Backoff(clock.monotonic)
        self._doubted: set[str] = set()
        self.in_repair: dict[str, int] = {}
        self.nodes: dict[str, int | None] = {}

    async def round(self) -> list["asyncio.Task[None]"]:
        """Begin to read every cluster that is not being read still. Gives back those under way.

        Raises:
            LeaseLost: another process watches now.
            StorageUnavailable: what was read could not be written.
        """
        self._gather()
        if LISTING not in self._running:
            self._running[LISTING] = asyncio.create_task(self._look_for_clusters(), name="list clusters")
        if self._known_at is None and not self._chosen:
            await asyncio.wait({self._running[LISTING]})  # until then it is not known what to read
        now = self._clock.monotonic()
        names = {**dict.fromkeys(self._chosen or self._known), **dict.fromkeys(self._listener.clusters())}
        if self._chosen or self._known_at is not None:
            await self._listener.reads(names)
        for cluster_id in names:
            if cluster_id not in self._running and now >= self._not_before.get(cluster_id, 0.0):
                task = asyncio.create_task(self._read(cluster_id), name=f"read {cluster_id}")
                self._running[cluster_id] = task
        return [task for name, task in self._running.items() if name != LISTING]

    def _gather(self) -> None:
        """Put away the readings that have ended.

        Raises:
            LeaseLost: one of them could not write what it had read, since another process watches now.
            StorageUnavailable: likewise, since the database is away.
        """
        ended = {cluster_id: task for cluster_id, task in self._running.items() if task.done()}
        for cluster_id, task in ended.items():
            del self._running[cluster_id]
            if not task.cancelled():
                task.result()

    async def stop(self) -> None:
        """Read no more."""
        tasks = list(self._running.values())
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._strangers.clear()
        self._lost.clear()

    def look_for(self, ref: RemediationRef) -> None:
        """Ask for an hour, ever more seldom, for what has vanished in the middle of its work: it may end badly yet."""
        self._lost[ref] = self._clock.monotonic() + LOST_SECONDS
        self._looking.failed(ref)

    async def _look_for_lost(self, cluster_id: str) -> list[Reading]:
        """What had vanished and can be read again."""
        now = self._clock.monotonic()
        for ref in [ref for ref, until in self._lost.items() if until < now]:
            self._forget_lost(ref)
        refs = [ref for ref in self._lost if ref.cluster_id == cluster_id and not self._looking.is_to_wait(ref)]
        found = []
        for ref, reading in zip(refs, await asyncio.gather(*map(self._look, refs)), strict=True):
            if reading and reading.remediation:
                self._forget_lost(ref)
                found.append(reading)
            else:
                self._looking.failed(ref)
        return found

    def _forget_lost(self, ref: RemediationRef) -> None:
        del self._lost[ref]
        self._looking.succeeded(ref)

    async def _look_for_clusters(self) -> None:
        """List the clusters, at most once in ten minutes: which there are, and how many nodes each has."""
        now = self._clock.monotonic()
        if self._known_at is not None and now - self._known_at < CLUSTERS_FRESH_SECONDS:
            return
        if now < self._not_before.get(LISTING, 0.0):
            return
        try:
            found = await self._together.list_clusters()
        except TogetherError as error:
            self._not_before[LISTING] = now + LISTING_AGAIN_SECONDS
            self._obey(LISTING, error)
            if not self._chosen:
                await self._listener.failed(LISTING, error)
            return
        self._known_at = now
        self._known = {each.cluster_id: each for each in found}
        self.nodes = {each.cluster_id: each.nodes for each in found}
        await self._listener.succeeded(LISTING)

    async def _read(self, cluster_id: str) -> None:
        """Read a cluster. A slow one leaves its place to the next, and goes on beside it."""
        await self._lane.acquire()
        place = _Place(self._lane)
        leaving = asyncio.get_running_loop().call_later(SLOW_SECONDS, place.leave)
        try:
            await self._list(cluster_id)
        except TogetherError as error:
            self._obey(cluster_id, error)
            await self._listener.failed(cluster_id, error)
        except (InvalidId, LeaseLost, StorageUnavailable) as error:
            if not isinstance(error, InvalidId):
                raise
            logger.warning("Cluster %s cannot be read: %s", cluster_id, error)
        except Exception:  # what is odd about one cluster must not blind the bot to all others
            logger.exception("Cluster %s could not be seen to", cluster_id)
        finally:
            leaving.cancel()
            place.leave()

    def _obey(self, cluster_id: str, error: TogetherError) -> None:
        if isinstance(error, RateLimited) and error.retry_after:
            self._not_before[cluster_id] = self._clock.monotonic() + error.retry_after

    async def _list(self, cluster_id: str) -> None:
        asked_at = self._clock.monotonic()
        listener, missing = self._listener, None
        try:
            items = await self._together.scan(cluster_id, states=OPEN)
        except NotFound as error:
            items, missing = [], error  # a cluster that is gone has taken its remediations with it
            if cluster_id in self._known and cluster_id not in self._doubted:
                self._doubted.add(cluster_id)
                self._known_at = (self._known_at or 0.0) - CLUSTERS_FRESH_SECONDS  # is it listed still?
        else:
            self._doubted.discard(cluster_id)
        found = self._sort(cluster_id, items, asked_at)
        for ref in await listener.vanished(found.strangers.keys() - self._strangers.get(cluster_id, set())):
            item = found.strangers.pop(ref)
            if remediation := _read(item, ref):  # it is back, in the middle of its work
                found.changed.append(Reading(ref, remediation, fingerprint_of(item), asked_at))
        self._strangers[cluster_id] = set(found.strangers)
        self.in_repair[cluster_id] = len(found.in_repair)
        absent = [ref for ref in listener.followed(cluster_id) if ref not in found.listed]
        found.changed.extend(each for each in await asyncio.gather(*(self._look(ref) for ref in absent)) if each)
        found.changed.extend(await self._look_for_lost(cluster_id))
        if self._is_only_followed(cluster_id):
            found.new.clear()
        await listener.heard(cluster_id, found.new, found.changed, found.waiting)
        if missing and cluster_id in (self._chosen or self._known):
            raise missing
        await listener.succeeded(cluster_id)

    def _is_only_followed(self, cluster_id: str) -> bool:
        """Whether a cluster is read only for what was told of it before."""
        if self._chosen:
            return cluster_id not in self._chosen
        return self._known_at is not None and cluster_id not in self._known

    def _sort(self, cluster_id: str, items: list[Any], asked_at: float) -> "_Listing":
        listener, found = self._listener, _Listing()
        for item in items:
            if (ref := reference_of(item, cluster_id)) is None:
                continue
            found.listed.add(ref)
            state, is_followed = item.get("state"), listener.is_followed(ref)
            if state in IN_REPAIR:
                found.in_repair.add(ref.instance_id)
            if state == State.PENDING_APPROVAL:
                found.waiting.add(ref)
            elif not is_followed:
                found.strangers[ref] = item
                continue
            fingerprint = fingerprint_of(item)
            if not listener.has_seen(ref, fingerprint) and (remediation := _read(item, ref)):
                readings = found.changed if is_followed else found.new
                readings.append(Reading(ref, remediation, fingerprint, asked_at))
        return found

    async def _look(self, ref: RemediationRef) -> Reading | None:
        """Read what the list has no longer; None where it cannot be read now, or has not changed."""
        async with self._reads:
            asked_at = self._clock.monotonic()
            try:
                found = await self._together.get(ref)
            except NotFound:
                return Reading(ref, None, "", asked_at)
            except TogetherError as error:
                self._obey(ref.cluster_id, error)
                logger.warning("%s is in no list and cannot be read: %s", ref, type(error).__name__)
                return None
        words = found.model_dump_json(exclude={"http_status", "request_id"})
        fingerprint = _hash(words)
        return None if self._listener.has_seen(ref, fingerprint) else Reading(ref, found, fingerprint, asked_at)


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a list has in it.

    Attributes:
        in_repair: the instances.
        waiting: what waits for approval.
        new: what waits and is not followed yet.
        changed: what is followed.
        strangers: what somebody else has begun, as Together words it.
    """

    listed: set[RemediationRef] = field(default_factory=set)
    in_repair: set[str] = field(default_factory=set)
    waiting: set[RemediationRef] = field(default_factory=set)
    new: list[Reading] = field(default_factory=list)
    changed: list[Reading] = field(default_factory=list)
    strangers: dict[RemediationRef, Any] = field(default_factory=dict)


class _Place:
    """A place in a lane, left once."""

    def __init__(self, lane: asyncio.Semaphore) -> None:
        self._lane: asyncio.Semaphore | None = lane

    def leave(self) -> None:
        if self._lane:
            self._lane.release()
            self._lane = None


def reference_of(item: object, cluster_id: str) -> RemediationRef | None:
    """Which remediation of the cluster an item of its list is; None where it is none."""
    if not isinstance(item, Mapping) or not isinstance(item.get("state"), str):
        return None
    try:
        ref = RemediationRef(str(item.get("cluster_id")), str(item.get("instance_id")), str(item.get("id")))
    except InvalidId as error:
        logger.warning("An item in the list of %s is not readable: %s", cluster_id, error)
        return None
    return ref if ref.cluster_id == cluster_id else None


def _read(item: Any, ref: RemediationRef) -> Remediation | None:  # noqa: ANN401 - JSON
    try:
        return Remediation.model_validate(item)
    except ValidationError:
        logger.warning("%s in the list of its cluster is not readable", ref)
        return None


def fingerprint_of(item: object) -> str:
    """The same for the same words of Together's."""
    return _hash(json.dumps(item))


def _hash(words: str) -> str:
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
