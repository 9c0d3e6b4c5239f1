"""Takes what was listed: writes down what has changed, and decides whether what is new gets cards or a digest."""

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bot import alerts, readings
from bot.alerts import AlertView, Tracked
from bot.clock import Clock
from bot.errors import LeaseLost, StorageUnavailable
from bot.logs import lasting
from bot.models import FINAL, OPEN, RAN, Alert, Cluster, RemediationRef, RepairLoad, TrackedMessage, new_id
from bot.store import LeasedDatabase, messages, moments
from bot.watcher import calls
from bot.watcher.ages import Ages
from bot.watcher.config import WatchConfig
from bot.watcher.index import TrackedIndex
from bot.watcher.listings import Listing, Raw, alert_of, reference_of
from bot.watcher.poller import Poller
from bot.watcher.schedule import GROWS_SECONDS
from bot.watcher.workqueue import Lane, WorkQueue

logger = logging.getLogger(__name__)

BURST = 5  # up to this many new ones of a cluster within a minute get a card each
BURST_SECONDS = 60.0
BACKLOG_SECONDS = 10.0  # for the clusters that are read for the first time, so that what waits there comes as one
BACKLOG_LASTS = 600.0  # for those that can't be read at once
LOAD_SECONDS = 120.0  # between two updates of what the waiting cards of a cluster say of its load
ENDED_SECONDS = 1800.0  # what ended longer ago is no news: clusters are listed each ten minutes, or more seldom
LOADS_AT_ONCE = 10  # of 40 edits a minute that there are for all


class Bursts:
    """Counts what is new in each cluster, to tell a few from many at once.

    Args:
        lately: what has come within the minute before `now`.
    """

    def __init__(self, lately: Collection[RemediationRef] = (), now: float = 0.0) -> None:
        self._arrived = dict.fromkeys(lately, now)

    def count(self, cluster_id: str, fresh: Collection[RemediationRef], now: float) -> bool:
        """Count these. Returns whether, with what came in the last minute, they are too many for a card each."""
        recent = {ref: at for ref, at in self._arrived.items() if at >= now - BURST_SECONDS}
        self._arrived = dict.fromkeys(fresh, now) | recent
        return sum(ref.cluster_id == cluster_id for ref in self._arrived) > BURST


class Backlog:
    """What was waiting already when the bot first began to watch: told at once rather than as a flood.

    It is over when every cluster was read once, or has had its time for it.

    Attributes:
        held: what must still be announced.
        names: the clusters that are read; None while that isn't known.
    """

    def __init__(self, now: float, *, is_over: bool) -> None:
        self.is_over = is_over
        self._until = now + BACKLOG_LASTS
        self.held: dict[RemediationRef, Alert] = {}
        self._held_since = math.inf
        self._read: set[str] = set()
        self.names: Collection[str] | None = None
        self._told = 0

    def take(self, cluster_id: str, fresh: Sequence[Alert], now: float) -> bool:
        """Keep what a cluster's first list has in it. Returns False where it is not part of the backlog."""
        if not self.awaits(cluster_id):
            return False
        self._read.add(cluster_id)
        self.held |= {alert.ref: alert for alert in fresh}
        if self.held:
            self._held_since = min(self._held_since, now)
        return True

    def awaits(self, cluster_id: str) -> bool:
        """Return whether a cluster's first list is yet to come."""
        return not self.is_over and cluster_id not in self._read

    def release(self, now: float, patience: float) -> Sequence[Alert]:
        """Return what to tell now."""
        is_whole = self.names is not None and self._read.issuperset(self.names)
        self.is_over = self.is_over or is_whole or now > self._until
        if not self.is_over and now - self._held_since < patience:
            return []
        held, self.held, self._held_since = list(self.held.values()), {}, math.inf
        self._told += len(held)
        return held

    @property
    def is_many(self) -> bool:
        """Whether all that was told so far is too much for cards."""
        return self._told > BURST


@dataclass
class Intake:
    """Takes listings, one after the other."""

    database: LeasedDatabase
    index: TrackedIndex
    ages: Ages
    queue: WorkQueue
    poller: Poller
    config: WatchConfig
    clock: Clock

    async def begin(self, adopted: Mapping[RemediationRef, tuple[str, str]] | None) -> None:
        """Begin with what the last process knew.

        Args:
            adopted: channel and `ts` of the cards that were found in the channels though the store is empty; None
                where the store is not.
        """
        now = self.clock.monotonic()
        self.poller.in_unknown_states = await self.database.read(messages.in_unknown_states)
        self._started, self._bursts = [  # what is under way buries no decision
            Bursts(await self.database.read(messages.arrivals, BURST_SECONDS, is_started=is_started), now)
            for is_started in (True, False)
        ]
        for ref in await self.database.read(messages.lost):
            self.poller.watch_for_return(ref)
        self._started_elsewhere: dict[str, set[RemediationRef]] = {}
        self._loads: dict[str, RepairLoad] = {}
        self._load_due: dict[str, float] = {}
        self._adopted = adopted or {}
        self._began_at = 0.0 if adopted is None else self.clock.now()
        self.backlog = Backlog(now, is_over=adopted is None)

    async def take(self, listing: Listing) -> None:
        """Write down what a list says, and let the messages follow."""
        cluster_id = listing.cluster_id
        if listing.alone:
            self.index.confirm_one(listing.alone)
            await self._observe(listing.changed, listing)
            return
        if listing.error is None:
            self.poller.loads[cluster_id] = len(listing.in_repair), len(listing.waiting - listing.in_repair)
            self.index.confirm(cluster_id, listing.unconfirmed, listing.asked_at)
        await self._observe(await self._take_started(listing) | listing.changed, listing)
        if listing.error is None:
            await self._follow_load(listing)
            if listing.is_watched:
                await self._take_new(listing)
        await self.release_backlog()

    async def take_ended(self, listing: Listing, clusters: Iterable[Cluster]) -> None:
        """Announce what began and ended between two lists, or ended after all: a cluster says what its nodes had last.

        What had ended and is in a state that no list is asked for is read alone from now on.

        Args:
            listing: the one of the clusters.
        """
        seconds = max(ENDED_SECONDS, 2 * self.config.poll_seconds)
        await self.database.run(moments.note_listed, self.clock.now(), seconds)
        lately = max(self.clock.now() - seconds, self._began_at)
        for cluster in clusters:
            latest = [node.latest_remediation for node in cluster.gpu_worker_nodes or () if node]
            over = [remediation for remediation in latest if remediation and remediation.state not in OPEN]
            over = [
                remediation for remediation in over if remediation.ended_at > lately or remediation.state not in FINAL
            ]
            ended = {
                ref: remediation
                for remediation in over
                if (ref := reference_of(remediation.model_dump(), cluster.cluster_id))
            }
            if ended and self.poller.is_watched(cluster.cluster_id):
                await self._take_begun(cluster.cluster_id, {ref: one for ref, one in ended.items() if one.state in RAN})
                closed = await self.database.read(messages.closed, list(ended))
                again = {
                    alert.ref: Alert(read, "")
                    for alert in closed
                    if (read := ended[alert.ref]).state != alert.remediation.state
                    or alert.is_unlisted
                    or readings.opened_later(alert.remediation, read)
                    or readings.ran_again(alert.remediation, read)
                }
                for ref in [ref for ref, alert in again.items() if alert.remediation.state not in FINAL]:
                    del again[ref]
                    self.index.mark_stale(ref)
                await self._observe(again, listing)

    async def _take_started(self, listing: Listing) -> dict[RemediationRef, Alert | None]:
        """Announce what is under way and was never seen before.

        Returns:
            What the bot knows as withdrawn or over, and is under way again. Where the list may lag, that is read alone.
        """
        known = self._started_elsewhere.get(listing.cluster_id, set())
        started = listing.started_elsewhere
        unknown = started.keys() - known
        closed = await self.database.read(messages.closed, list(unknown)) if unknown else []
        reopened: dict[RemediationRef, Alert | None] = {}
        for alert in closed:
            read = alert_of(alert.ref, started[alert.ref])
            if read and (alert.is_unlisted or not readings.may_be_older(alert, read.remediation)):
                reopened[alert.ref] = read
            else:
                self.index.doubt(alert.ref)
        if unknown and listing.is_watched:
            await self._take_begun(listing.cluster_id, {ref: raw for ref, raw in started.items() if ref in unknown})
            known |= unknown
        self._started_elsewhere[listing.cluster_id] = (known & started.keys()) - {alert.ref for alert in closed}
        return reopened

    async def _take_begun(self, cluster_id: str, found: Mapping[RemediationRef, Raw]) -> None:
        """Announce what has begun, once: in a digest where there are many, or where monitoring starts."""
        known = await self.database.read(messages.existing, list(found))
        read = [alert_of(ref, raw) for ref, raw in found.items() if ref not in known]
        is_silent = self.config.automatic == "none"
        fresh = [alert for alert in read if alert and not (alert.remediation.is_automatic and is_silent)]
        if self.backlog.awaits(cluster_id):
            await self._announce_backlog(fresh, is_many=True)
        else:
            await self._announce(cluster_id, fresh)

    async def _take_new(self, listing: Listing) -> None:
        """Announce what waits, once; what has come back continues in its message."""
        unknown = [ref for ref in listing.new if self.index.seen(ref) is None and ref not in self.backlog.held]
        existing = await self.database.read(messages.existing, unknown) if unknown else set()
        await self._observe({ref: listing.new[ref] for ref in unknown if ref in existing}, listing)
        fresh = [listing.new[ref] for ref in unknown if ref not in existing]
        if not self.backlog.take(listing.cluster_id, fresh, self.clock.monotonic()):
            await self._announce(listing.cluster_id, fresh)

    async def release_backlog(self) -> None:
        """Announce what was waiting when the bot began to watch."""
        held = self.backlog.release(self.clock.monotonic(), min(BACKLOG_SECONDS, self.config.poll_seconds))
        await self._announce_backlog(held, is_many=self.backlog.is_many)

    async def _observe(self, found: Mapping[RemediationRef, Alert | None], listing: Listing) -> None:
        """Write down what Together says of what is tracked; None for what it knows no longer."""
        for ref, seen in found.items():
            try:
                await self._observe_one(ref, seen, listing)
            except (LeaseLost, StorageUnavailable):
                raise
            except Exception:  # what is odd about one remediation must not blind the bot to all others
                logger.exception("%s: tracking failed", ref, extra=lasting())

    async def _observe_one(self, ref: RemediationRef, seen: Alert | None, listing: Listing) -> None:
        remediation, fingerprint = (seen.remediation, seen.fingerprint) if seen else (None, "")
        share, verify_seconds = self.poller.share(ref.cluster_id), self.config.cards.verify_seconds

        def change(view: AlertView) -> Tracked | None:
            view = replace(view, asked_at=view.now - (self.clock.monotonic() - listing.asked_at))
            if remediation is None:
                return alerts.gone(view, listing.sequence)
            return alerts.seen(
                view,
                remediation,
                fingerprint,
                share,
                listing.sequence,
                read_alone=listing.alone is not None,
                verify_seconds=verify_seconds,
            )

        before, after = await self.database.run(messages.observe, ref, change, remediation, verify_seconds)
        self.ages.confirmed(ref)
        if before is None or after is None:
            # It has ended, nobody was answered otherwise since, and Together doesn't know it.
            is_over = remediation is None and before and before.is_closed and not before.is_stale
            # Its message was dropped since, so what waits is new.
            is_new = before is None and not await self.database.read(messages.existing, [ref])
            if is_over or is_new:
                self.index.drop(ref)
            else:  # somebody decides on it, was answered since, or it is listed as it was before: it is read again
                self.index.doubt(ref)
            return
        if after.is_closed:
            self.index.drop(ref)
        else:
            self.index.note(ref, fingerprint)
        if after.is_unlisted and not alerts.was_only_waiting(before):
            self.poller.watch_for_return(ref)
        self.queue.put(after.message_id)

    async def _follow_load(self, listing: Listing) -> None:
        """Update what the cards that wait say of their cluster's load: some at a time, as edits are few."""
        cluster_id, now = listing.cluster_id, self.clock.monotonic()
        share = self.poller.share(cluster_id)
        if share is None:
            return
        known = self._loads.get(cluster_id)
        if not share.is_like(known):
            self._loads[cluster_id] = share
            said = share.cluster, share.nodes
            if share.cluster and (known is None or (known.cluster, known.nodes) != said):
                # One node of a digest is enough: the latest says what their cluster is called, and how large it is.
                shown = await self.database.read(messages.open_in_digests, cluster_id)
                old = [each for each in shown if not each.share or (each.share.cluster, each.share.nodes) != said]
                await self._update_load({alert.message_id: alert for alert in old}.values(), share)
            # A new card says it already, unless an earlier list had it, and this one was read before that was taken.
            new = {ref.instance_id for ref in listing.new if self.index.seen(ref) is None}
            if listing.waiting - new:
                self._load_due.setdefault(cluster_id, 0.0)
        if now < self._load_due.get(cluster_id, math.inf):
            return
        waiting = await self.database.read(messages.waiting_on_cards, cluster_id)
        behind = [alert for alert in waiting if not share.is_like(alert.share)]
        await self._update_load([alert for alert in behind if not alert.is_stale][:LOADS_AT_ONCE], share)
        if behind:
            self._load_due[cluster_id] = now + LOAD_SECONDS
        else:
            del self._load_due[cluster_id]

    async def _update_load(self, behind: Iterable[Alert], share: RepairLoad) -> None:
        for alert in behind:
            _, after = await self.database.run(messages.observe, alert.ref, partial(alerts.loaded, share=share))
            if after:
                self.queue.put(after.message_id)

    # What is new.

    async def _announce(self, cluster_id: str, fresh: Sequence[Alert]) -> None:
        """Announce what is new: one card each, unless there are too many at once."""
        if not fresh:
            return
        new = self._with_shares(fresh)
        bursts = self._bursts if new[0].is_waiting else self._started
        if bursts.count(cluster_id, [alert.ref for alert in new], self.clock.monotonic()):
            await self._add_to_digest(cluster_id, self.config.route(cluster_id).channel_id, new)
        else:
            await self._add_cards(new)

    async def _announce_backlog(self, backlog: Sequence[Alert], *, is_many: bool) -> None:
        """Announce what there was when the bot began to watch; what has a card in a channel keeps that."""
        cards: list[Alert] = []
        digests: dict[str, list[Alert]] = {}
        for alert in self._with_shares(backlog):
            if is_many and alert.ref not in self._adopted:
                digests.setdefault(self.config.route(alert.cluster_id).channel_id, []).append(alert)
            else:
                cards.append(alert)
        await self._add_cards(cards)
        for channel_id, new in digests.items():
            await self._add_to_digest(None, channel_id, new)

    async def _add_cards(self, new: Sequence[Alert]) -> None:
        cards = []
        for alert in new:
            remediation = alert.remediation
            # Then that card is of an earlier incident; what has ended since was open.
            has_opened_since = remediation.state not in FINAL and remediation.began_at > self._began_at
            known = None if has_opened_since else self._adopted.get(alert.ref)
            channel_id, ts = known or (self.config.route(alert.cluster_id).channel_id, None)
            card = TrackedMessage(
                new_id(), is_digest=False, cluster_id=alert.cluster_id, channel_id=channel_id, ts=ts,
                is_started=not alert.is_waiting,
            )  # fmt: skip
            cards.append((alert, card))
        if cards:
            await self.database.run(messages.add_cards, cards, self.config.cards.verify_seconds)
        for alert, card in cards:
            if not alert.is_closed:  # else it would be read each time, and its node be taken for one in repair
                self.index.note(alert.ref, alert.fingerprint)
            if card.ts:
                self.queue.put(card.id)
            else:
                self.queue.put(card.id, Lane.POST, card.channel_id)

    async def _add_to_digest(self, cluster_id: str | None, channel_id: str, new: Sequence[Alert]) -> None:
        """Put what is new into the digest that the cluster has had within the last minute, or into a new one."""
        digest = TrackedMessage(
            new_id(), is_digest=True, cluster_id=cluster_id, channel_id=channel_id, is_started=not new[0].is_waiting
        )
        # What calls people is posted, and is no edit of what was posted before.
        is_posted = calls.started_that_call(new, cluster_id)
        digest_id = await self.database.run(
            messages.gather, digest, new, 0.0 if is_posted else GROWS_SECONDS, self.config.cards.verify_seconds
        )
        for alert in new:
            if not alert.is_closed:
                self.index.note(alert.ref, alert.fingerprint)
        logger.info("%d new alerts at once: posting one digest", len(new))
        self.queue.put(digest_id)

    def _with_shares(self, new: Sequence[Alert]) -> list[Alert]:
        return [replace(alert, share=self.poller.share(alert.cluster_id)) for alert in new]
