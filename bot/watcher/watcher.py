"""The watch: one process at a time reads Together's clusters and keeps the alert channel true."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from bot.clock import Clock, Pause
from bot.errors import LeaseLost, NotPosted, PostUnclear, StorageUnavailable, TogetherError
from bot.models import (
    HISTORY_DAYS,
    Alert,
    Board,
    RemediationRef,
)
from bot.store import Alerts, Batches, DecisionStore, Digests, Lease, Outages
from bot.together import TogetherClient
from bot.watcher import follow
from bot.watcher.book import Book
from bot.watcher.facts import Facts
from bot.watcher.outages import OutageTeller
from bot.watcher.poll import Poller, Reading
from bot.watcher.rules import WatchRules
from bot.watcher.storm import STORM, STORM_SECONDS, DigestWriter
from bot.watcher.writer import Writer

logger = logging.getLogger(__name__)

TICK = 3.0
BACKLOG_SECONDS = 10.0  # for the clusters that are read for the first time, so that what waits there comes as one
BACKLOG_LASTS = 600.0  # for those that cannot be read at once
_DAY = 86_400.0


class Watcher:
    """Finds what waits for a human, tells it once, and follows it to its end.

    Args:
        together: the API, over connections of its own, so that no decision waits for a list.
        store: tells who decided.
        board: the alert channel.
        rules: what the watch is set to.
        clock: time.
        report: told what keeps alerts from being posted, or "" when nothing does.
    """

    def __init__(  # noqa: PLR0913 - what watching needs
        self,
        *,
        together: TogetherClient,
        store: DecisionStore,
        board: Board,
        rules: WatchRules,
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._together = together
        self._store = store
        self._board = board
        self._rules = rules
        self._clock = clock
        self._lease = Lease(store.database, "watch", rules.lease_seconds, clock)
        self._alerts = Alerts(store.database, self._lease)
        self._book = Book()
        self._poller = Poller(together, rules.clusters, self, clock)
        self._facts = Facts(together, self._poller, clock)
        self._outages = OutageTeller(Outages(store.database, self._lease), board, clock)
        self._writer = Writer(
            alerts=self._alerts,
            board=board,
            together=together,
            book=self._book,
            lease=self._lease,
            rules=rules,
            clock=clock,
            history=self._facts.history,
            share=self._facts.share,
            report=report,
        )
        self._digests = DigestWriter(
            store=Digests(store.database, self._lease),
            batches=Batches(store.database),
            board=board,
            together=together,
            book=self._book,
            lease=self._lease,
            rules=rules,
            clock=clock,
            report=report,
        )
        self._arrivals: dict[str, dict[RemediationRef, float]] = {}
        self._backlog: list[Reading] = []
        self._first_read: set[str] | None = None
        self._backlog_told = 0
        self._backlog_until = 0.0
        self._reads: frozenset[str] | None = None

    async def run(self) -> None:
        """Watch for ever, whenever no other process does."""
        at_start = True
        while True:
            try:
                if await self._lease.acquire(at_start=at_start):
                    at_start = False
                    await self._watch()
            except StorageUnavailable as error:
                logger.warning("The watch cannot reach the database: %s", error)
            await self._clock.sleep(self._pause, Pause.LEASE)

    async def end(self) -> None:
        """Let the next process watch at once."""
        try:
            await self._lease.release()
        except StorageUnavailable as error:
            logger.warning("The watch could not be handed on: %s", error)

    @property
    def _pause(self) -> float:
        return self._rules.lease_seconds * 0.3

    async def _watch(self) -> None:
        """Watch until this process is not sure any more that it is the only one, or the database fails.

        No task group: of an error inside and a cancellation from outside at once, it loses the latter (Python 3.11).
        """
        work = (
            self._poll,
            self._tick,
            self._writer.post_cards,
            self._writer.draw_cards,
            self._writer.tell_threads,
            self._digests.work,
        )
        tasks = {asyncio.create_task(self._keep_lease(), name="watch keep_lease")}
        try:
            await self._load()
            tasks |= {asyncio.create_task(each(), name=f"watch {each.__name__}") for each in work}
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        except (LeaseLost, StorageUnavailable) as error:
            logger.warning("The watch is given up: %s", type(error).__name__)
        except Exception:  # whatever is wrong with the watch, clicks and commands must go on
            logger.exception("The watch failed; it begins anew")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._poller.stop()

    async def _load(self) -> None:
        """Begin with what the last process knew."""
        known = await self._alerts.known()
        self._book.load(known.items())
        self._writer.begin()
        self._digests.begin()
        await self._outages.load()
        self._first_read = set() if await self._alerts.is_empty() else None
        self._backlog.clear()
        self._backlog_told, self._reads = 0, None
        self._backlog_until = self._clock.monotonic() + BACKLOG_LASTS
        now = self._clock.monotonic()
        self._arrivals.clear()
        for ref in await self._alerts.arrivals(STORM_SECONDS):
            self._arrivals.setdefault(ref.cluster_id, {})[ref] = now
        try:
            readable = await self._board.find(self._clock.now())
        except NotPosted as error:
            logger.warning("The alert channel cannot be read now: %s", error)
        else:
            if readable is None:
                logger.warning(
                    "The bot may not read its alert channel %s: after a crash an alert may stand there twice. Give the "
                    "app the scopes channels:history and groups:history, and invite it to the channel.",
                    self._rules.channel_id,
                )
        logger.info("Watching, with %d open alerts", len(known))

    async def _keep_lease(self) -> None:
        while True:
            await self._clock.sleep(self._pause, Pause.LEASE)
            if not await self._lease.acquire():
                raise LeaseLost

    async def _poll(self) -> None:
        """Read every cluster, round after round."""
        waited: set[asyncio.Task[None]] = set()
        while True:
            under_way = set(await self._poller.round())
            if self._first_read is not None:
                if begun := under_way - waited:
                    with suppress(TimeoutError):
                        async with self._clock.timeout(min(BACKLOG_SECONDS, self._rules.poll_seconds)):
                            await asyncio.wait(begun)
                waited = under_way
                await self._see_to_backlog(self._first_read)
            await self._clock.sleep(self._rules.poll_seconds, Pause.POLL)

    async def _see_to_backlog(self, first_read: set[str]) -> None:
        """Tell of what was waiting already, until every cluster was read once or has had its time for it."""
        backlog, self._backlog = self._backlog, []
        await self._take_backlog(backlog)
        is_whole = self._reads is not None and self._reads <= first_read
        if not self._backlog and (is_whole or self._clock.monotonic() > self._backlog_until):
            self._first_read = None

    async def _tick(self) -> None:
        """See to what time brings about."""
        while True:
            await self._clock.sleep(TICK, Pause.TICK)
            for ref in await self._alerts.due():
                self._writer.attend(ref)
            for step in (self._writer.find_orphans, self._digests.tick, self._outages.tell):
                try:
                    await step()
                except (NotPosted, PostUnclear) as error:
                    logger.warning("Slack did not take it: %s", error)

    # What the poller says.

    def clusters(self) -> Collection[str]:
        """The clusters in which something is followed."""
        return self._book.clusters

    def is_followed(self, ref: RemediationRef) -> bool:
        """Whether there is an alert of it."""
        return ref in self._book

    def followed(self, cluster_id: str) -> Iterable[RemediationRef]:
        """The remediations of a cluster that there are alerts of."""
        return self._book.of_cluster(cluster_id)

    def has_seen(self, ref: RemediationRef, fingerprint: str) -> bool:
        """Whether Together's words are the same as last time."""
        return self._book.has_seen(ref, fingerprint)

    async def vanished(self, refs: Collection[RemediationRef]) -> Collection[RemediationRef]:
        """Which of these there are alerts of that were closed because Together knew them no longer."""
        found = await self._alerts.vanished(refs)
        for ref in found:
            self._book.note(ref, "")
        return found

    async def heard(
        self, cluster_id: str, new: list[Reading], changed: list[Reading], waiting: Collection[RemediationRef]
    ) -> None:
        """Take what is new and what has changed."""
        for ref in [ref for ref in self._writer.new if ref.cluster_id == cluster_id]:
            if ref not in waiting:
                del self._writer.new[ref]
        for reading in changed:
            await self._observe_safely(reading)
        fresh, backlog = [], {reading.ref for reading in self._backlog}
        for reading in new:
            if reading.ref in self._writer.new:
                self._writer.new[reading.ref] = reading
            elif reading.ref not in self._book and reading.ref not in backlog and not await self._is_back(reading):
                fresh.append(reading)
        if self._first_read is not None and cluster_id not in self._first_read:
            self._first_read.add(cluster_id)
            self._backlog += fresh
        elif fresh:
            await self._arrive(cluster_id, fresh)

    async def _is_back(self, reading: Reading) -> bool:
        """Whether it had an alert that was closed: then it goes on in that."""
        if await self._alerts.look(reading.ref) is None:
            return False
        self._book.note(reading.ref, "")
        await self._observe(reading)
        return True

    async def reads(self, clusters: Collection[str]) -> None:
        """These are read now, and no others."""
        self._reads = frozenset(clusters)
        await self._outages.keep(clusters)

    async def failed(self, cluster_id: str, error: TogetherError) -> None:
        """A cluster could not be read."""
        logger.warning("Cluster %s cannot be read: %s", cluster_id or "list", type(error).__name__)
        await self._outages.failed(cluster_id)

    async def succeeded(self, cluster_id: str) -> None:
        """A cluster was read."""
        await self._outages.succeeded(cluster_id)

    async def _observe_safely(self, reading: Reading) -> None:
        try:
            await self._observe(reading)
        except (LeaseLost, StorageUnavailable):
            raise
        except Exception:  # what is odd about one remediation must not blind the bot to all others
            logger.exception("%s could not be followed", reading.ref)

    async def _observe(self, reading: Reading) -> None:
        """Write down what has become of an alert's remediation, and let its card and thread follow."""
        ref, after = reading.ref, reading.remediation
        look = await self._alerts.look(ref)
        if look is None:
            self._book.drop(ref)
            return
        if look.is_being_decided:
            return  # whoever decides is answered first; the next reading sees it again
        read_at = look.now - (self._clock.monotonic() - reading.asked_at)
        decided = None
        if after and after.state != look.alert.remediation.state:
            decided = await self._store.who_decided(after)

        def change(alert: Alert, now: float) -> Alert | None:
            if after is None:
                return follow.gone(alert, read_at)
            return follow.seen(
                alert,
                after,
                reading.fingerprint,
                decided=decided,
                first=look.first,
                share=self._facts.share(ref.cluster_id),
                read_at=read_at,
                now=now,
            )

        if changed := await self._alerts.change(ref, change):
            self._book.note(ref, reading.fingerprint)
            await self._see_to(ref, look.alert, changed)

    async def _see_to(self, ref: RemediationRef, before: Alert, changed: Alert) -> None:
        """Let everything follow that hangs on an alert."""
        if changed.done:
            self._book.drop(ref)
        elif follow.is_closed(changed):
            self._book.close(ref)
        was_only_waiting = before.waits and not before.is_stale and not before.decided
        if changed.vanished and not was_only_waiting:
            self._poller.look_for(ref)
        if changed.digest_id is None:
            self._writer.attend(ref)
        elif changed.waits_since > before.waits_since:
            await self._digests.begin_anew(changed.digest_id)

    async def _arrive(self, cluster_id: str, fresh: list[Reading]) -> None:
        """Tell of what is new: each by a card of its own, unless there are too many at once."""
        now = self._clock.monotonic()
        recent = {ref: at for ref, at in self._arrivals.get(cluster_id, {}).items() if at >= now - STORM_SECONDS}
        arrived = {reading.ref: now for reading in fresh} | recent
        self._arrivals[cluster_id] = arrived
        if len(arrived) <= STORM:
            for reading in fresh:
                self._writer.announce(reading)
            return
        waiting = [ref for ref in self._writer.new if ref.cluster_id == cluster_id]
        fresh += [self._writer.new.pop(ref) for ref in waiting]
        await self._digests.gather(cluster_id, fresh)

    async def _take_backlog(self, backlog: list[Reading]) -> None:
        """Tell of what was waiting when the bot began to watch: one message rather than a flood.

        Where the database was lost, cards stand in the channel that this one does not know; they are followed again.
        """
        if not backlog:
            return
        try:
            found = await self._board.find(self._clock.now() - HISTORY_DAYS * _DAY)
        except NotPosted as error:
            logger.warning("The alert channel cannot be read now: %s", error)
            found = None
        if found:
            for reading in [each for each in backlog if each.ref in found.cards]:
                await self._writer.adopt(reading, found.cards[reading.ref])
                backlog.remove(reading)
        if not backlog:
            return
        self._backlog_told += len(backlog)
        if self._backlog_told > STORM:
            await self._digests.gather(None, backlog)
            return
        for reading in backlog:
            self._writer.announce(reading)
