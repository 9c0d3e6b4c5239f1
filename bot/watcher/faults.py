"""Alerts that fire while no repair is open: read after each list of a cluster, and told where they are critical."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial

from bot import cards, metrics
from bot.clock import Clock
from bot.errors import InvalidId, PostFailed, PostUncertain, RateLimited, TogetherError
from bot.models import ARRIVED_SECONDS, AlertChannels, Fault, FaultMessage, FaultReport, LinkedAlert, Message, new_id
from bot.store import Faults, Lease, Messages
from bot.tasks import finish
from bot.together import TogetherClient
from bot.watcher.comparison import HISTORY_BEFORE
from bot.watcher.config import WatchConfig
from bot.watcher.poller import LONGEST_RETRY_AFTER, SLOW_SECONDS, Listing, Poller
from bot.watcher.workqueue import Backoff, Lane, WorkQueue

logger = logging.getLogger(__name__)

KEY = "faults of "  # begins a key of the queue; a cluster's ID follows
READERS = 4
KEPT = 200  # faults of a cluster
UNAVAILABLE = {403, 404, 501}  # not every key may read the list
ASK_AGAIN_SECONDS = 3600.0
SLOW_POLL_SECONDS = 300.0  # between two readings of a cluster whose list of remediations takes long
LONGEST_WAIT = 300.0  # between two attempts to read what fails
LOOK_SECONDS = 600.0  # between two looks for repairs that didn't help, while the same alerts fire


class Step(Enum):
    """What the message about a cluster needs next."""

    POST = "post"
    EDIT = "edit"
    REPLY = "reply"
    FIND = "find"


def next_step(report: FaultReport, overdue: Sequence[Fault], fingerprint: str) -> Step | None:
    """Return what the message needs next; None for nothing.

    Args:
        overdue: what it should tell of.
        fingerprint: of what it should show.
    """
    message, is_news = report.message, any(each.alert.key not in report.told for each in overdue)
    if message is None:
        return Step.POST if overdue else None
    if message.mark:
        return Step.FIND
    if not message.ts:
        return Step.POST if is_news else Step.EDIT if not overdue else None
    if message.content_hash != fingerprint:
        return Step.EDIT
    return Step.REPLY if is_news else None


@dataclass(slots=True)
class FaultWatch:
    """Keeps what fires without a repair, and one message per cluster that is current.

    Attributes:
        lease: the watch; nothing is written without it.
        reports: by cluster.
    """

    together: TogetherClient
    store: Faults
    messages: Messages
    channels: AlertChannels
    poller: Poller
    queue: WorkQueue
    lease: Lease
    config: WatchConfig
    clock: Clock
    reports: dict[str, FaultReport] = field(default_factory=dict, init=False)
    _wanted: asyncio.Queue[str] = field(default_factory=asyncio.Queue, init=False)
    _under_repair: dict[str, Collection[str]] = field(default_factory=dict, init=False)
    _asked_at: dict[str, float] = field(default_factory=dict, init=False)
    _covered: dict[str, Collection[str]] = field(default_factory=dict, init=False)
    _looked: dict[str, tuple[float, Collection[str]]] = field(default_factory=dict, init=False)
    _arrives_by: dict[str, float] = field(default_factory=dict, init=False)
    _not_before: float = field(default=-math.inf, init=False)
    _is_unavailable: bool = field(default=False, init=False)
    _failing: Backoff[str] = field(init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._failing = Backoff(self.clock.monotonic, LONGEST_WAIT)

    async def begin(self) -> None:
        """Begin with what the last process knew."""
        self.reports = await self.store.known()
        self._wanted = asyncio.Queue()
        for each in (self._under_repair, self._asked_at, self._covered, self._looked):
            each.clear()

    async def keep(self, clusters: Collection[str]) -> None:
        """Let nothing fire in clusters that are no longer read."""
        for cluster_id in [each for each, report in self.reports.items() if each not in clusters and report.faults]:
            await self._change(cluster_id, partial(replace, faults=(), count=0, critical=0))

    def measure(self, *, is_watching: bool) -> None:
        """Bring the gauges up to date."""
        reports = self.reports.values() if is_watching else ()
        critical = sum(each.critical for each in reports)
        metrics.UNREPAIRED.labels("critical").set(critical)
        metrics.UNREPAIRED.labels("other").set(sum(each.count for each in reports) - critical)

    # Reading.

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
        known = {each.alert.key: each for each in self.reports.get(cluster_id, FaultReport()).faults}
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
        faults.sort(key=lambda each: (not each.alert.is_critical, each.since, each.alert.key))
        cluster = self.poller.clusters.get(cluster_id)
        await self._change(
            cluster_id,
            lambda each: replace(
                each,
                cluster=(cluster and cluster.cluster_name) or cluster_id,
                faults=tuple(faults[:KEPT]),
                count=len(faults),
                critical=sum(fault.alert.is_critical for fault in faults),
                told=each.told & {fault.alert.key for fault in faults},
            ),
        )
        await self._look_for_returns(cluster_id, present.values())

    async def _look_for_returns(self, cluster_id: str, alerts: Collection[LinkedAlert]) -> None:
        """Let repairs say that what they were to mend fires again, or still."""
        now, keys = self.clock.monotonic(), {each.key for each in alerts}
        at, looked = self._looked.get(cluster_id, (-math.inf, ()))
        if keys and (keys != looked or now - at > LOOK_SECONDS):
            self._looked[cluster_id] = now, keys
            await self.messages.note_firing(cluster_id, list(alerts))

    # Telling.

    def look(self) -> None:
        """Put on the queue the clusters whose message is to be written, for its channel's next turn to post."""
        for cluster_id in self.reports:
            if self._next(cluster_id) and self.clock.monotonic() >= self._arrives_by.get(cluster_id, 0.0):
                self.queue.put(f"{KEY}{cluster_id}", Lane.REPLY, self._channel_of(cluster_id), urgent=True)

    def _overdue(self, cluster_id: str) -> list[Fault]:
        return self.reports[cluster_id].overdue(self.clock.now(), self.config.unrepaired_seconds)

    def _drawn(self, cluster_id: str) -> Message:
        report, overdue = self.reports[cluster_id], self._overdue(cluster_id)
        if not overdue:
            return cards.repaired(report.cluster, self.clock.now())
        return cards.unrepaired(report.cluster, overdue, self.config.route(cluster_id).oncall)

    def _next(self, cluster_id: str) -> Step | None:
        return next_step(self.reports[cluster_id], self._overdue(cluster_id), self._drawn(cluster_id).fingerprint)

    def _channel_of(self, cluster_id: str) -> str:
        message = self.reports[cluster_id].message
        return message.channel_id if message else self.config.route(cluster_id).channel_id

    async def tell(self, cluster_id: str) -> None:
        """Do the next thing that the message of a cluster needs, at its channel's turn to post.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have: it is looked at the next time.
        """
        step = self._next(cluster_id) if cluster_id in self.reports else None
        self.lease.ensure_held()
        match step:
            case Step.POST | Step.REPLY:
                await finish(self._send(cluster_id, is_reply=step is Step.REPLY))
            case Step.EDIT:
                await finish(self._edit(cluster_id))
            case Step.FIND:
                await self._find(cluster_id)

    async def _send(self, cluster_id: str, *, is_reply: bool) -> None:
        """Post the message, or a reply that calls people for what has become overdue since."""
        overdue, told, oncall = (
            self._overdue(cluster_id),
            self.reports[cluster_id].told,
            self.config.route(cluster_id).oncall,
        )
        new = [each for each in overdue if each.alert.key not in told]
        if is_reply:
            said = cards.more_unrepaired(new, self.config.unrepaired_seconds, oncall)
        else:
            said = cards.unrepaired(self.reports[cluster_id].cluster, overdue, oncall if new else "")
        known = self.reports[cluster_id].message or FaultMessage(self._channel_of(cluster_id))
        sending = replace(
            known, mark=new_id(), sent_at=await self.store.now(), calls=frozenset(each.alert.key for each in new)
        )
        # Before it leaves, so that the next process with the watch looks for it.
        await self._change(cluster_id, partial(replace, message=sending))
        try:
            ts = await self.channels.post(
                said,
                channel_id=known.channel_id,
                mark=sending.mark,
                thread_ts=known.ts or None,
                broadcast=is_reply,
            )
        except PostUncertain:
            self._arrives_by[cluster_id] = self.clock.monotonic() + ARRIVED_SECONDS
            raise
        except PostFailed as error:
            left = known if known.ts and not error.is_gone else None
            await self._change(cluster_id, partial(replace, message=left))
            raise
        await self._arrived(cluster_id, ts, said.fingerprint)

    async def _arrived(self, cluster_id: str, ts: str, fingerprint: str = "") -> None:
        """Note that a post is in the channel, or a reply in the thread."""

        def arrived(report: FaultReport) -> FaultReport:
            message = report.message
            assert message is not None  # noqa: S101 - it was sent
            shown = message.content_hash if message.ts else fingerprint
            told = report.told | (message.calls & {each.alert.key for each in report.faults})
            there = FaultMessage(message.channel_id, message.ts or ts, shown)
            return replace(report, told=told, message=there)

        message, nodes = self.reports[cluster_id].message, {each.alert.node for each in self._overdue(cluster_id)}
        is_news = message is not None and message.calls
        await self._change(cluster_id, arrived, told={"is_over": False, "nodes": len(nodes)} if is_news else None)

    async def _edit(self, cluster_id: str) -> None:
        """Bring the message up to date; once nothing is overdue, it says so and is left."""
        message, overdue = self.reports[cluster_id].message, self._overdue(cluster_id)
        assert message is not None  # noqa: S101 - it is edited
        said = self._drawn(cluster_id)
        try:
            if message.ts:
                await self.channels.turn_to_update()
                await self.channels.update(message.ts, said, message.channel_id)
        except PostUncertain:
            self._arrives_by[cluster_id] = self.clock.monotonic() + ARRIVED_SECONDS
            raise
        except PostFailed as error:
            if not error.is_lasting:
                raise
            logger.warning("The message about faults can't be changed any more: %s", error)
            await self._change(cluster_id, partial(replace, message=None))
            return
        if overdue:
            await self._change(cluster_id, partial(replace, message=replace(message, content_hash=said.fingerprint)))
        else:
            await self._change(cluster_id, partial(replace, message=None, told=frozenset()), told={"is_over": True})

    async def _find(self, cluster_id: str) -> None:
        """Look for what may have arrived. Where the bot may not read it, it is repeated, but only once."""
        message = self.reports[cluster_id].message
        assert message is not None  # noqa: S101 - it is looked for
        if 0 <= await self.store.now() - message.sent_at < ARRIVED_SECONDS:  # clocks can go back
            return
        is_there: bool | None
        ts = message.ts
        try:
            if ts:
                is_there = await self.channels.has_reply(message.mark, thread_ts=ts, channel_id=message.channel_id)
            else:
                found = await self.channels.find(message.sent_at - HISTORY_BEFORE, message.channel_id)
                ts = found.marks.get(message.mark, "") if found else ""
                is_there = None if found is None else bool(ts)
        except PostFailed as error:
            if not error.is_lasting:
                raise
            is_there = None
        if is_there or (is_there is None and message.is_repeated):
            await self._arrived(cluster_id, ts)
        else:
            again = replace(message, mark="", is_repeated=message.is_repeated or is_there is None)
            await self._change(cluster_id, partial(replace, message=again if again.ts or again.is_repeated else None))

    async def _change(
        self,
        cluster_id: str,
        change: Callable[[FaultReport], FaultReport],
        *,
        told: dict[str, str | int | float | bool | None] | None = None,
    ) -> None:
        """Change a report, in the database first."""
        async with self._writing:
            before = self.reports.get(cluster_id, FaultReport())
            after = change(before)
            is_empty = not after.faults and after.message is None
            if (after == before and told is None) or (is_empty and cluster_id not in self.reports):
                return
            await self.store.write(cluster_id, None if is_empty else after, told=told)
            if is_empty:
                self.reports.pop(cluster_id, None)
            else:
                self.reports[cluster_id] = after
