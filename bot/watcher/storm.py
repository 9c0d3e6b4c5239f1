"""Many at once: one message with a list instead of a flood of cards."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from bot import cards
from bot.clock import Clock
from bot.errors import InvalidId, NotPosted, PostUnclear, TogetherError
from bot.models import Alert, Batch, Board, Digest, Message, RemediationRef, State, waiting
from bot.store import Batches, DigestLook, Digests, Lease
from bot.tasks import finish
from bot.together import TogetherClient
from bot.watcher import follow
from bot.watcher.book import Backoff, Book, Queue
from bot.watcher.poll import Reading, reference_of
from bot.watcher.rules import WatchRules
from bot.watcher.writer import ARRIVED_SECONDS, DRAWN_AGAIN, HISTORY_BEFORE, SECONDS_PER_EDIT

logger = logging.getLogger(__name__)

STORM = 5  # so many new ones of a cluster within a minute have cards of their own
STORM_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A digest as it stands, and how it is drawn from that."""

    look: DigestLook
    batches: Sequence[Batch]
    message: Message

    @property
    def digest(self) -> Digest:
        return self.look.digest

    @property
    def waiting(self) -> list[Alert]:
        """What waits for a human."""
        return waiting(self.look.alerts)

    @property
    def is_running(self) -> bool:
        """Whether a batch is being carried out."""
        return any(each.is_running for each in self.batches)


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
        report: told what keeps alerts from being posted, or "" when nothing does.
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
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._batches = batches
        self._board = board
        self._together = together
        self._book = book
        self._lease = lease
        self._rules = rules
        self._clock = clock
        self._report = report
        self._queue: Queue[str] = Queue()
        self._drawn_at: dict[str, float] = {}
        self._just_begun: set[str] = set()
        self._maybe_told: set[str] = set()
        self._drawing: Backoff[str] = Backoff(clock.monotonic, DRAWN_AGAIN)
        self._telling: Backoff[str] = Backoff(clock.monotonic)
        self._reminding: Backoff[str] = Backoff(clock.monotonic)

    def begin(self) -> None:
        """Forget what an earlier watch had in hand: the store knows better."""
        self._queue.clear()
        self._just_begun.clear()
        self._maybe_told.clear()

    async def gather(self, cluster_id: str | None, readings: Sequence[Reading]) -> None:
        """Put new ones into the digest that the cluster has had within the last minute, or into a new one."""
        since = self._clock.monotonic()
        growing = await self._store.growing(cluster_id, STORM_SECONDS)
        fresh = Digest(uuid.uuid4().hex, cluster_id, self._rules.channel_id, seen_at=0.0, grown_at=0.0)
        digest = growing or fresh
        new = [
            Alert(each.remediation, each.fingerprint, self._rules.channel_id, seen_at=0.0, next_at=None)
            for each in readings
            if each.remediation
        ]
        is_told = await self._store.add(digest, new) is not None
        for reading in readings:
            self._book.note(reading.ref, reading.fingerprint)
        if not is_told:
            return
        if digest is fresh:
            self._just_begun.add(digest.id)
        logger.info("%d new alerts at once go into one message (%.1f s)", len(new), self._clock.monotonic() - since)
        self._queue.put(digest.id)

    async def begin_anew(self, digest_id: str) -> None:
        """Remind from now on: something of a digest has begun to wait once more."""
        await self._store.change(digest_id, lambda each, now: replace(each, remind_from=now, reminders=0, next_at=0.0))

    async def tick(self) -> None:
        """See to the digests that are due."""
        for digest_id in await self._store.due():
            self._queue.put(digest_id)

    async def work(self) -> None:
        """See to one digest after the other, for ever."""
        while True:
            digest_id = await self._queue.get()
            await self._step(digest_id, self._show, self._drawing)
            await self._step(digest_id, self._tell, self._telling)

    async def _step(self, digest_id: str, step: Callable[[str], Awaitable[None]], backoff: Backoff[str]) -> None:
        """Take a step, unless it has just failed: it is due still, so a later tick comes back to it."""
        if not backoff.is_to_wait(digest_id) and await backoff.attempt(digest_id, step(digest_id)):
            backoff.succeeded(digest_id)

    async def _draw(self, digest_id: str) -> _Drawn | None:
        """A digest as it is to stand in Slack now, without holds that have run out; None where it has ended."""
        look = await self._store.look(digest_id)
        if look is None or look.digest.done:
            return None
        look = replace(look, alerts=[follow.timely(each, look.now) for each in look.alerts])
        batches = await self._batches.of_digest(digest_id)
        return _Drawn(look, batches, cards.many.digest(look.digest, look.alerts, batches))

    # The message.

    async def _show(self, digest_id: str) -> None:
        """Post it, or draw it anew when it has changed."""
        drawn = await self._draw(digest_id)
        if drawn is None:
            return
        if drawn.digest.ts is None:
            await self._post(drawn.look)
        elif drawn.message.fingerprint != drawn.digest.drawn and not self._was_just_drawn(digest_id):
            await self._board.turn_to_update()
            self._lease.ensure_held()
            if drawn := await self._draw(digest_id):
                await finish(self._update(drawn))

    def _was_just_drawn(self, digest_id: str) -> bool:
        return self._clock.monotonic() - self._drawn_at.get(digest_id, -SECONDS_PER_EDIT) < SECONDS_PER_EDIT

    async def _post(self, look: DigestLook) -> None:
        """Post a digest, unless a process that died, or an unclear answer, has left it in the channel already."""
        digest = look.digest
        if digest.id not in self._just_begun:
            if look.now - max(digest.seen_at, digest.posted_at) < ARRIVED_SECONDS:
                return
            found = await self._board.find(digest.seen_at - HISTORY_BEFORE, digest.channel_id)
            if found and (ts := found.digests.get(digest.id)):
                await self._store.change(digest.id, lambda each, _now: replace(each, ts=ts, next_at=0.0))
                return
        await self._board.turn_to_post()
        self._lease.ensure_held()
        self._just_begun.discard(digest.id)
        if drawn := await self._draw(digest.id):
            await finish(self._say(digest.id, drawn.message))

    async def _say(self, digest_id: str, message: Message) -> None:
        channel_id = self._rules.channel_id  # the setting may have changed since it was first about to be told

        def leaving(digest: Digest, now: float) -> Digest:
            return replace(digest, posted_at=now, channel_id=channel_id)

        await self._store.change(digest_id, leaving)
        try:
            ts = await self._board.post(message, digest_id=digest_id)
        except NotPosted as error:
            self._report(f"Alerts cannot be posted in {channel_id}: {error}.")
            self._just_begun.add(digest_id)  # it certainly does not stand there: the next tick tries again
            raise
        self._report("")
        self._drawn_at[digest_id] = self._clock.monotonic()

        def said(digest: Digest, _now: float) -> Digest:
            return replace(digest, ts=ts, drawn=message.fingerprint, next_at=0.0)

        await self._store.change(digest_id, said)

    async def _update(self, drawn: _Drawn) -> None:
        digest, fingerprint = drawn.digest, drawn.message.fingerprint
        assert digest.ts is not None  # noqa: S101 - looked before
        try:
            await self._board.update(digest.ts, drawn.message, digest.channel_id)
        except PostUnclear:
            # It may arrive late, over whatever is drawn until then: what stands there is not known any more.
            await self._store.change(digest.id, lambda each, _now: replace(each, drawn=""))
            raise
        except NotPosted as error:
            if not error.is_lasting:
                raise
            logger.warning("Digest %s cannot be changed any more: %s", digest.id, error)
            await self._store.change(digest.id, lambda each, _now: replace(each, grown_at=0.0))  # nothing joins it
        self._drawn_at[digest.id] = self._clock.monotonic()
        await self._store.change(digest.id, lambda each, _now: replace(each, drawn=fingerprint))

    # Its thread.

    async def _tell(self, digest_id: str) -> None:
        """Tell the thread what has failed and what has come of a batch, remind, and close what has ended."""
        drawn = await self._draw(digest_id)
        if drawn is None or drawn.digest.ts is None:
            return
        digest, ts = drawn.digest, drawn.digest.ts
        failed = [each for each in drawn.look.alerts if each.remediation.state == State.FAILED]
        if new := [each for each in failed if str(each.remediation.ref) not in digest.failures]:
            await self._reply(digest, ts, cards.many.failures(new, drawn.look.firsts))
            told = digest.failures | {str(each.remediation.ref) for each in new}
            await self._store.change(digest_id, lambda each, _now: replace(each, failures=told))
        for batch in drawn.batches:
            if not batch.is_running and batch.id not in digest.reported:
                for number, message in enumerate(cards.many.report(batch)):
                    if (part := f"{batch.id} {number}") not in digest.reported:
                        await self._reply(digest, ts, message)
                        await self._reported(digest_id, part)
                await self._reported(digest_id, batch.id)
        if self._is_to_remind(drawn) and not self._reminding.is_to_wait(digest_id):
            await self._remind(digest_id)
        await self._settle(digest_id)

    async def _reported(self, digest_id: str, batch_id: str) -> None:
        await self._store.change(digest_id, lambda each, _now: replace(each, reported=each.reported | {batch_id}))

    async def _reply(self, digest: Digest, ts: str, message: Message) -> None:
        """Tell the thread: what Slack may have taken twice, or takes no more, counts as told."""
        await self._board.turn_to_post()
        self._lease.ensure_held()
        try:
            await finish(self._board.post(message, thread_ts=ts, channel_id=digest.channel_id))
        except PostUnclear as error:
            if digest.id not in self._maybe_told:
                self._maybe_told.add(digest.id)
                raise
            logger.warning("Digest %s: its thread may not have been told: %s", digest.id, error)
        except NotPosted as error:
            if not error.is_lasting:
                raise
            logger.warning("Digest %s: its thread takes no more: %s", digest.id, error)
        self._maybe_told.discard(digest.id)

    async def _settle(self, digest_id: str) -> None:
        """Say when a digest is to be seen to again, or close it, unless something has changed meanwhile."""
        drawn = await self._draw(digest_id)
        if drawn is None:
            return
        digest = drawn.digest
        is_busy = drawn.is_running or any(each.id not in digest.reported for each in drawn.batches)
        is_over = not is_busy and all(follow.is_closed(each) for each in drawn.look.alerts)
        is_drawn = digest.drawn == drawn.message.fingerprint

        def settle(each: Digest, now: float) -> Digest | None:
            if each.version != digest.version or is_busy or not is_drawn:
                return None  # it is due still
            if not is_over:
                return replace(each, next_at=self._next_at(each, drawn.waiting))
            if each.grown_at < now - STORM_SECONDS:
                return replace(each, next_at=None, done=True)
            return replace(each, next_at=each.grown_at + STORM_SECONDS)

        await self._store.change(digest_id, settle)

    def _next_at(self, digest: Digest, waiting: Sequence[Alert]) -> float | None:
        moments = [each.hold.until for each in waiting if each.hold]
        reminder = self._remind_at(digest) if waiting else None
        return min([*moments, reminder] if reminder is not None else moments, default=None)

    # Reminders.

    def _remind_at(self, digest: Digest) -> float | None:
        seconds = self._rules.remind_seconds
        if not seconds or digest.reminders >= follow.MAX_REMINDERS:
            return None
        return digest.remind_from + seconds * 2.0**digest.reminders

    def _is_to_remind(self, drawn: _Drawn) -> bool:
        moment = self._remind_at(drawn.digest)
        return moment is not None and moment <= drawn.look.now and bool(drawn.waiting) and not drawn.is_running

    async def _remind(self, digest_id: str) -> None:
        """Ask Together a last time, count, then remind: never of what was just decided, nor once too often."""
        await self._board.turn_to_post()
        drawn = await self._draw(digest_id)
        if drawn is None or not self._is_to_remind(drawn):
            return
        count = await self._still_wait([each.remediation.ref for each in drawn.waiting if each.hold is None])
        if count is None:
            self._reminding.failed(digest_id)
            return
        self._reminding.succeeded(digest_id)
        self._lease.ensure_held()
        await finish(self._count_and_remind(drawn, count))

    async def _count_and_remind(self, drawn: _Drawn, count: int) -> None:
        digest, now = drawn.digest, drawn.look.now
        assert digest.ts is not None  # noqa: S101 - looked before
        later = replace(digest, reminders=digest.reminders + 1)
        while (overdue := self._remind_at(later)) is not None and overdue <= now:
            later = replace(later, reminders=later.reminders + 1)  # those that are overdue come to one

        def counted(each: Digest, _now: float) -> Digest | None:
            # Whatever was decided meanwhile has made a new version.
            return replace(each, reminders=later.reminders) if each.version == digest.version else None

        def taken_back(each: Digest, _now: float) -> Digest | None:
            return replace(each, reminders=digest.reminders) if each.reminders == later.reminders else None

        if await self._store.change(digest.id, counted) is None or not count:
            return
        message = cards.many.digest_reminder(count, cards.mention(self._rules.oncall), now - digest.remind_from)
        try:
            await self._board.post(message, thread_ts=digest.ts, channel_id=digest.channel_id)
        except NotPosted as error:
            if not error.is_lasting:
                await self._store.change(digest.id, taken_back)
                raise
            logger.warning("Digest %s: its thread takes no more: %s", digest.id, error)
        except PostUnclear as error:
            logger.warning("Digest %s: a reminder may not have arrived: %s", digest.id, error)

    async def _still_wait(self, refs: Sequence[RemediationRef]) -> int | None:
        """How many of these certainly wait still; None where none does, but not all clusters can be read now."""
        readings = await asyncio.gather(*(self._waiting(cluster_id) for cluster_id in {ref.cluster_id for ref in refs}))
        count = sum(ref in reading for reading in readings if reading is not None for ref in refs)
        return None if not count and None in readings else count

    async def _waiting(self, cluster_id: str) -> set[RemediationRef] | None:
        """What waits in a cluster; None where it cannot be read now."""
        try:
            found = await self._together.scan(cluster_id, states=[State.PENDING_APPROVAL])
        except (InvalidId, TogetherError) as error:
            logger.warning("Cluster %s cannot be read before a reminder: %s", cluster_id, type(error).__name__)
            return None
        return {ref for item in found if (ref := reference_of(item, cluster_id))}
