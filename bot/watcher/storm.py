"""Many at once: one message with a list instead of a flood of cards."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace

from bot import cards
from bot.clock import Clock
from bot.errors import LeaseLost, NotPosted, PostUnclear, StoreUnavailable, TogetherError
from bot.models import Alert, BatchStatus, Board, Digest, Message, State
from bot.store import Batches, Digests, Lease
from bot.tasks import finish
from bot.together import TogetherClient
from bot.watcher import follow
from bot.watcher.book import Backoff, Book, Queue
from bot.watcher.poll import Reading
from bot.watcher.rules import WatchRules
from bot.watcher.writer import ARRIVED_SECONDS, HISTORY_BEFORE, SECONDS_PER_EDIT

logger = logging.getLogger(__name__)

STORM = 5  # so many new ones of a cluster within a minute have cards of their own
STORM_SECONDS = 60.0


class DigestWriter:
    """Writes about many alerts at once.

    Args:
        store: where they stand.
        batches: what people asked for on them.
        board: the alert channel.
        together: asked a last time before a reminder.
        book: what is followed.
        lease: the watch; nothing is written without it.
        rules: what the watch is set to.
        clock: time.
    """

    def __init__(  # noqa: PLR0913 - what writing needs
        self,
        *,
        store: Digests,
        batches: Batches,
        board: Board,
        together: TogetherClient,
        book: Book,
        lease: Lease,
        rules: WatchRules,
        clock: Clock,
    ) -> None:
        self._store = store
        self._batches = batches
        self._board = board
        self._together = together
        self._book = book
        self._lease = lease
        self._rules = rules
        self._clock = clock
        self._queue: Queue[str] = Queue()
        self._drawn_at: dict[str, float] = {}
        self._just_begun: set[str] = set()
        self._backoff: Backoff[str] = Backoff(clock.monotonic)

    def begin(self) -> None:
        """Forget what an earlier watch had in hand: the store knows better."""
        self._queue.clear()
        self._just_begun.clear()

    async def gather(self, cluster_id: str | None, readings: Sequence[Reading]) -> None:
        """Put new ones into the digest that the cluster has had within the last minute, or into a new one."""
        now = self._clock.monotonic()
        known = [each for each in await self._store.open_ones() if each.cluster_id == cluster_id]
        growing = next((each for each in reversed(known) if self._clock.now() - each.grown_at < STORM_SECONDS), None)
        fresh = Digest(uuid.uuid4().hex, cluster_id, self._rules.channel_id, seen_at=0.0, grown_at=0.0)
        digest = growing or fresh
        new = [
            Alert(each.remediation, each.fingerprint, self._rules.channel_id, seen_at=0.0, next_at=None)
            for each in readings
            if each.remediation
        ]
        await self._store.add(digest, new)
        for reading in readings:
            self._book.note(reading.ref, reading.fingerprint)
        if digest is fresh:
            self._just_begun.add(digest.id)
        logger.info("%d new alerts at once go into one message (%.1f s)", len(new), self._clock.monotonic() - now)
        self._queue.put(digest.id)

    async def tick(self) -> None:
        """See to the digests that are due."""
        for digest_id in await self._store.due():
            self._queue.put(digest_id)

    async def work(self) -> None:
        """See to one digest after the other, for ever."""
        while True:
            digest_id = await self._queue.get()
            if self._backoff.is_to_wait(digest_id):
                continue  # it is due still, so a later tick comes back to it
            try:
                await self._see_to(digest_id)
            except (NotPosted, PostUnclear) as error:
                logger.warning("Digest %s: Slack did not take it: %s", digest_id, error)
                self._backoff.failed(digest_id)
            except (LeaseLost, StoreUnavailable):
                raise
            except Exception:  # one digest that cannot be drawn must not blind the bot to all others
                logger.exception("Digest %s could not be seen to", digest_id)
                self._backoff.failed(digest_id)
            else:
                self._backoff.succeeded(digest_id)

    async def _see_to(self, digest_id: str) -> None:
        look = await self._store.look(digest_id)
        if look is None or look[0].done:
            return
        digest, _ = look
        if digest.ts is None:
            await self._post(digest)
            return
        if not await self._draw(digest, digest.ts):
            return
        await self._tell(digest_id, digest.ts)

    async def _look(self, digest_id: str) -> tuple[Digest, list[Alert]] | None:
        """A digest and what stands in it, without holds that have run out."""
        look = await self._store.look(digest_id)
        if look is None:
            return None
        now = self._clock.now()
        return look[0], [follow.timely(each, now) for each in look[1]]

    async def _message(self, digest_id: str) -> tuple[Digest, list[Alert], Message] | None:
        look = await self._look(digest_id)
        if look is None:
            return None
        digest, alerts = look
        return digest, alerts, cards.many.digest(digest, alerts, await self._batches.of_digest(digest_id))

    async def _post(self, digest: Digest) -> None:
        """Post a digest, unless a process that died, or an unclear answer, has left it in the channel already."""
        if digest.id not in self._just_begun:
            if self._clock.now() - digest.seen_at < ARRIVED_SECONDS:
                return
            found = await self._board.find(digest.seen_at - HISTORY_BEFORE)
            if found and (ts := found.digests.get(digest.id)):
                await self._store.change(digest.id, lambda each, _now: replace(each, ts=ts, next_at=0.0))
                return
        await self._board.turn_to_post()
        self._must_watch()
        self._just_begun.discard(digest.id)
        if drawn := await self._message(digest.id):
            await finish(self._say(digest.id, drawn[2]))

    async def _say(self, digest_id: str, message: Message) -> None:
        try:
            ts = await self._board.post(message, digest_id=digest_id)
        except NotPosted:
            self._just_begun.add(digest_id)  # it certainly does not stand there: the next tick tries again
            raise
        self._drawn_at[digest_id] = self._clock.monotonic()
        await self._store.change(
            digest_id, lambda each, _now: replace(each, ts=ts, drawn=message.fingerprint, next_at=0.0)
        )

    async def _draw(self, digest: Digest, ts: str) -> bool:
        """Draw it anew when it has changed. False where it is too early for that."""
        drawn = await self._message(digest.id)
        if drawn is None or drawn[2].fingerprint == drawn[0].drawn:
            return True
        if self._clock.monotonic() - self._drawn_at.get(digest.id, -SECONDS_PER_EDIT) < SECONDS_PER_EDIT:
            return False
        await self._board.turn_to_update()
        self._must_watch()
        if not (drawn := await self._message(digest.id)):
            return True
        await finish(self._update(drawn[0], ts, drawn[2]))
        return True

    async def _update(self, digest: Digest, ts: str, message: Message) -> None:
        digest_id = digest.id
        try:
            await self._board.update(ts, message, digest.channel_id)
        except NotPosted as error:
            if not error.is_lasting:
                raise
            logger.warning("Digest %s cannot be changed any more: %s", digest_id, error)
            await self._store.change(digest_id, lambda each, _now: replace(each, grown_at=0.0))  # nothing joins it
        self._drawn_at[digest_id] = self._clock.monotonic()
        await self._store.change(digest_id, lambda each, _now: replace(each, drawn=message.fingerprint))

    async def _tell(self, digest_id: str, ts: str) -> None:
        """Tell the thread what has failed and what has come of a batch, remind, and close what has ended."""
        look = await self._look(digest_id)
        if look is None:
            return
        digest, alerts = look
        failed = [each for each in alerts if each.remediation.state == State.FAILED]
        if new := [each for each in failed if each.remediation.id not in digest.failures]:
            await self._reply(digest, ts, cards.many.failures(new))
            told = digest.failures | {each.remediation.id for each in new}
            await self._store.change(digest_id, lambda each, _now: replace(each, failures=told))
        batches = await self._batches.of_digest(digest_id)
        for batch, items in batches:
            if batch.status is BatchStatus.DONE and batch.id not in digest.reported:
                for number, message in enumerate(cards.many.report(batch, items)):
                    if (part := f"{batch.id} {number}") not in digest.reported:
                        await self._reply(digest, ts, message)
                        await self._reported(digest_id, part)
                await self._reported(digest_id, batch.id)
        open_ones = cards.many.waiting(alerts)
        is_running = any(batch.status is BatchStatus.RUNNING for batch, _ in batches)
        if open_ones and not is_running:
            await self._remind(digest, ts, open_ones)
        await self._settle(digest_id)

    async def _settle(self, digest_id: str) -> None:
        """Say when a digest is to be seen to again, or close it, unless something has changed meanwhile."""
        look = await self._look(digest_id)
        if look is None:
            return
        digest, alerts = look
        batches = await self._batches.of_digest(digest_id)
        is_busy = any(batch.status is BatchStatus.RUNNING or batch.id not in digest.reported for batch, _ in batches)
        is_over = not is_busy and all(follow.is_closed(each) for each in alerts)
        is_drawn = digest.drawn == cards.many.digest(digest, alerts, batches).fingerprint

        def settle(each: Digest, now: float) -> Digest | None:
            if each.version != digest.version or is_busy or not is_drawn:
                return None  # it is due still
            if not is_over:
                return replace(each, next_at=self._next_at(each, cards.many.waiting(alerts)))
            if each.grown_at < now - STORM_SECONDS:
                return replace(each, next_at=None, done=True)
            return replace(each, next_at=each.grown_at + STORM_SECONDS)

        await self._store.change(digest_id, settle)

    async def _reported(self, digest_id: str, batch_id: str) -> None:
        await self._store.change(digest_id, lambda each, _now: replace(each, reported=each.reported | {batch_id}))

    def _next_at(self, digest: Digest, waiting: Sequence[Alert]) -> float | None:
        moments = [each.hold.until for each in waiting if each.hold]
        reminder = self._remind_at(digest) if waiting else None
        return min([*moments, reminder] if reminder is not None else moments, default=None)

    def _remind_at(self, digest: Digest) -> float | None:
        seconds = self._rules.remind_seconds
        if not seconds or digest.reminders >= follow.MAX_REMINDERS:
            return None
        return digest.remind_from + seconds * 2.0**digest.reminders

    async def _remind(self, digest: Digest, ts: str, waiting: Sequence[Alert]) -> None:
        now, moment = self._clock.now(), self._remind_at(digest)
        if moment is None or moment > now:
            return
        count = await self._still_wait([each for each in waiting if each.hold is None])
        if count is None:
            raise NotPosted("Together cannot be read before a reminder")
        later = replace(digest, reminders=digest.reminders + 1)
        while (overdue := self._remind_at(later)) is not None and overdue <= now:
            later = replace(later, reminders=later.reminders + 1)  # those that are overdue come to one
        await self._store.change(digest.id, lambda each, _now: replace(each, reminders=later.reminders))
        if count:
            oncall = cards.mention(self._rules.oncall)
            await self._reply(digest, ts, cards.many.digest_reminder(count, oncall, now - digest.seen_at))

    async def _still_wait(self, waiting: Sequence[Alert]) -> int | None:
        """Ask Together a last time: nobody is to be reminded of what was just decided. None where it cannot say."""
        present: set[tuple[str, str, str]] = set()
        for cluster_id in {each.remediation.cluster_id for each in waiting}:
            try:
                found = await self._together.list_remediations(cluster_id, states=[State.PENDING_APPROVAL])
            except TogetherError:
                return None
            present |= {(each.cluster_id, each.instance_id, each.id) for each in found}
        refs = (each.remediation.ref for each in waiting)
        return len([ref for ref in refs if (ref.cluster_id, ref.instance_id, ref.remediation_id) in present])

    async def _reply(self, digest: Digest, ts: str, message: Message) -> None:
        """Tell the thread, once: what Slack may have taken, or takes no more, counts as told."""
        await self._board.turn_to_post()
        self._must_watch()
        try:
            await finish(self._board.post(message, thread_ts=ts, channel_id=digest.channel_id))
        except PostUnclear as error:
            logger.warning("Digest %s: its thread may not have been told: %s", digest.id, error)
        except NotPosted as error:
            if not error.is_lasting:
                raise
            logger.warning("Digest %s: its thread takes no more: %s", digest.id, error)

    def _must_watch(self) -> None:
        if not self._lease.is_sure:
            raise LeaseLost
