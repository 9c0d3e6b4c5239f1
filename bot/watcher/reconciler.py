"""Makes a message in Slack say what it should: load it, see what it lacks, do that one thing, write it down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from bot import cards
from bot.clock import Clock
from bot.errors import InvalidId, LeaseLost, NotPosted, PostUnclear, StorageUnavailable, TogetherError
from bot.models import AlertChannels, Found, History, Message, RemediationRef, Snapshot, State, TrackedMessage
from bot.store import Lease, Messages
from bot.tasks import finish
from bot.together import TogetherClient
from bot.watcher import calls, lifecycle, threads
from bot.watcher.config import WatchConfig
from bot.watcher.enrichment import Enricher
from bot.watcher.index import Index
from bot.watcher.lifecycle import ARRIVED_SECONDS, Step
from bot.watcher.poller import reference_of
from bot.watcher.threads import ThreadPart
from bot.watcher.workqueue import LONGEST_WAIT, Backoff, Lane, WorkQueue

logger = logging.getLogger(__name__)

SECONDS_PER_EDIT = 3.0  # of one message: a person is reading it
COMPARED_SECONDS = 7 * 86_400.0  # what was posted before that is drawn again without a look at the channel's history
HISTORY_BEFORE = 300.0  # the database's clock and Slack's may differ


class Reconciler:
    """Writes cards and digests, and their threads.

    Args:
        messages: the store.
        channels: the alert channels.
        together: asked a last time before a reminder.
        queue: what is to be looked at.
        index: what is tracked.
        enricher: knows what a node went through before.
        lease: the watch; nothing is written without it.
        config: what the watch is set to.
        clock: time.
        report: told what keeps alerts from being posted in a channel, or "" when nothing does.
    """

    def __init__(  # noqa: PLR0913 - what writing needs
        self,
        *,
        messages: Messages,
        channels: AlertChannels,
        together: TogetherClient,
        queue: WorkQueue,
        index: Index,
        enricher: Enricher,
        lease: Lease,
        config: WatchConfig,
        clock: Clock,
        report: Callable[[str, str], None],
    ) -> None:
        self._messages = messages
        self._channels = channels
        self._together = together
        self._queue = queue
        self._index = index
        self._enricher = enricher
        self._lease = lease
        self._config = config
        self._clock = clock
        self._report = report
        self._steps: dict[Step, Callable[[Snapshot], Awaitable[Snapshot | None]]] = {
            Step.POST: self._post,
            Step.EDIT: self._edit,
            Step.TELL: self._tell,
            Step.REMIND: self._remind,
            Step.FIND: self._find,
            Step.FORGET: self._forget,
            Step.WAIT: self._wait,
            Step.REST: self._rest,
        }
        self._edited_at: dict[str, float] = {}
        self._maybe_told: set[str] = set()
        self._reminding: Backoff[str] = Backoff(clock.monotonic, LONGEST_WAIT[Lane.TELL])
        self._found: dict[str, tuple[float, float, Found | None]] = {}

    def begin(self) -> None:
        """Forget what an earlier watch had in hand: the store knows better."""
        for each in (self._edited_at, self._maybe_told, self._found):
            each.clear()

    async def work(self, lane: Lane) -> None:
        """Do what a lane has to do, forever."""
        turns = {Lane.EDIT: self._channels.turn_to_update, Lane.TELL: self._channels.turn_to_post}
        while True:
            key = await self._queue.get(lane)
            next_lane = None
            try:
                if turn := turns.get(lane):
                    await turn()
                next_lane = await self._reconcile(key, lane)
            except NotPosted as error:
                logger.warning("%s: Slack didn't take it: %s", key, error)
                self._queue.failed(key, lane)
            except PostUnclear as error:
                logger.warning("%s: unclear whether Slack took it: %s", key, error)
                self._queue.failed(key, lane)
            except (LeaseLost, StorageUnavailable):
                raise
            except Exception:  # one message that can't be written must not blind the bot to all others
                logger.exception("%s: writing it failed", key)
                self._queue.failed(key, lane)
            else:
                self._queue.succeeded(key, lane)
            finally:
                self._queue.done(key, next_lane)

    async def _reconcile(self, key: str, lane: Lane) -> Lane | None:
        """Do the next thing that a message needs, if this lane does it. Returns the lane that continues at once."""
        if lane is Lane.LOOK and self._was_just_edited(key):
            return None  # a digest of 1,000 takes long to load, and each of them puts its key
        snapshot = await self._messages.load(key)
        if snapshot is None:
            await self._messages.close(key)
            return None
        for alert in snapshot.alerts:
            if alert.is_stale:
                self._index.mark_stale(alert.remediation.ref)
        step = lifecycle.next_step(snapshot, self._config)
        if step.lane is not lane:
            return None if self._is_too_early(key, step) else step.lane
        after = await self._steps[step](snapshot)
        if after is None:
            return None
        following = lifecycle.next_step(after, self._config)
        return None if following.lane is Lane.LOOK or self._is_too_early(key, following) else following.lane

    def _is_too_early(self, key: str, step: Step) -> bool:
        """Return whether a step is left to a later tick. Whoever has put the key has made the message due."""
        if step is Step.EDIT:
            return self._was_just_edited(key)
        return step is Step.REMIND and self._reminding.is_to_wait(key)

    def _was_just_edited(self, key: str) -> bool:
        """Return whether the last edit was less than three seconds ago: the next one must not take a turn yet."""
        return self._clock.monotonic() - self._edited_at.get(key, -SECONDS_PER_EDIT) < SECONDS_PER_EDIT

    async def _forget(self, snapshot: Snapshot) -> None:
        for ref in await self._messages.forget(snapshot.message.id):
            self._index.drop(ref)

    async def _wait(self, snapshot: Snapshot) -> Snapshot | None:
        """Come back to it with the next tick, or once Together has been read."""
        return await self._rest(snapshot) if lifecycle.awaits_reading(snapshot) else None

    async def _rest(self, snapshot: Snapshot) -> Snapshot | None:
        return await self._settle(snapshot.message.id, lambda each: each.message)

    async def _settle(
        self,
        key: str,
        change: Callable[[Snapshot], TrackedMessage | None],
        *,
        reminded: Collection[RemediationRef] = (),
    ) -> Snapshot | None:
        """Change a message, and write down when it is to be looked at again."""

        def settled(snapshot: Snapshot) -> TrackedMessage | None:
            changed = change(snapshot)
            return lifecycle.settled(replace(snapshot, message=changed), self._config) if changed else None

        after = await self._messages.change(key, settled, reminded=reminded)
        if after and after.message.done:
            self._edited_at.pop(key, None)
        return after

    # The message.

    async def _post(self, snapshot: Snapshot) -> Snapshot | None:
        is_card = not snapshot.message.is_digest
        history = await self._enricher.history(snapshot.alerts[0].remediation.ref) if is_card else None
        await self._channels.turn_to_post()
        self._lease.ensure_held()
        return await finish(self._say(snapshot.message.id, history))

    async def _say(self, key: str, history: History | None) -> Snapshot | None:
        """Write down that a message is about to be posted, then post it: after a crash it is looked for first."""

        def leaving(snapshot: Snapshot) -> TrackedMessage | None:
            if snapshot.message.ts or lifecycle.next_step(snapshot, self._config) is not Step.POST:
                return None
            # The settings may have changed since it was first about to be posted.
            channel_id = self._config.route(snapshot.message.cluster_id).channel_id
            if snapshot.message.is_digest and snapshot.message.cluster_id is None:
                channel_id = snapshot.message.channel_id
            return calls.leaving(replace(snapshot.message, channel_id=channel_id), snapshot, self._config)

        left = await self._messages.change(key, leaving, history=history)
        if left is None:
            return None
        message, shown = left.message, lifecycle.content(left, self._config)
        try:
            ts = await self._channels.post(shown, about=_about(left), channel_id=message.channel_id)
        except NotPosted as error:
            self._report(message.channel_id, f"Can't post alerts in {message.channel_id}: {error}.")
            await self._messages.change(key, lambda each: replace(each.message, posted_at=0.0))
            raise
        self._report(message.channel_id, "")
        logger.info("%s: posted in %s", _named(left), message.channel_id)
        self._edited_at[key] = self._clock.monotonic()
        at = left.now
        return await self._settle(key, lambda each: replace(each.message, ts=ts, drawn=shown.fingerprint, shown_at=at))

    async def _edit(self, snapshot: Snapshot) -> Snapshot | None:
        self._lease.ensure_held()
        return await finish(self._update(snapshot, lifecycle.content(snapshot, self._config)))

    async def _update(self, before: Snapshot, shown: Message) -> Snapshot | None:
        key, ts = before.message.id, before.message.ts
        assert ts is not None  # noqa: S101 - its next step is an edit
        try:
            await self._channels.update(ts, shown, before.message.channel_id)
        except PostUnclear:
            # It may arrive late, over whatever is drawn until then: what it shows is not known any more.
            await self._settle(key, lambda each: replace(each.message, drawn=""))
            raise
        except NotPosted as error:
            if error.is_gone:
                return await self._lose(before, error)
            if not error.is_lasting:
                raise
            logger.warning("%s: card can no longer be updated: %s", _named(before), error)
            return await self._settle(key, lambda each: replace(each.message, is_frozen=True, grown_at=0.0))
        self._edited_at[key] = self._clock.monotonic()

        def drawn(snapshot: Snapshot) -> TrackedMessage:
            # Where somebody was answered on the card meanwhile, it is not known which of the two it shows.
            is_known = _shown(snapshot) == _shown(before)
            return replace(snapshot.message, drawn=shown.fingerprint if is_known else "", shown_at=before.now)

        return await self._settle(key, drawn)

    async def _lose(self, snapshot: Snapshot, error: NotPosted) -> Snapshot | None:
        logger.warning("%s: deleted in Slack: %s", _named(snapshot), error)
        return await self._messages.change(snapshot.message.id, lifecycle.deleted)

    # Its thread.

    async def _tell(self, snapshot: Snapshot) -> Snapshot | None:
        part = next(threads.thread_parts(snapshot, self._config))
        self._lease.ensure_held()
        return await finish(self._reply(snapshot, part))

    async def _reply(self, snapshot: Snapshot, part: ThreadPart) -> Snapshot | None:
        """Tell the thread: what Slack may have taken twice, or takes no more, counts as told."""
        message = snapshot.message
        try:
            await self._channels.post(
                part.message, thread_ts=message.ts, channel_id=message.channel_id, broadcast=part.broadcast
            )
        except PostUnclear as error:
            if message.id not in self._maybe_told:
                self._maybe_told.add(message.id)  # a line twice rather than not at all, but not forever
                raise
            logger.warning("%s: its thread may be missing a line: %s", _named(snapshot), error)
        except NotPosted as error:
            if error.is_gone:
                return await self._lose(snapshot, error)
            if not error.is_lasting:
                raise
            logger.warning("%s: can no longer post to thread: %s", _named(snapshot), error)
        self._maybe_told.discard(message.id)
        return await self._settle(message.id, lambda each: threads.replied(each.message, part, snapshot.now))

    async def _remind(self, snapshot: Snapshot) -> Snapshot | None:
        """Ask Together a last time, count, then remind: never of what was just decided, nor once too often."""
        alerts = calls.unheld(snapshot)
        waiting = await self._still_wait([each.remediation.ref for each in alerts])
        if waiting is None or (not waiting and not snapshot.message.is_digest):
            self._reminding.failed(snapshot.message.id)  # the next list says what has become of it
            return None
        self._reminding.succeeded(snapshot.message.id)
        self._lease.ensure_held()
        return await finish(self._count_and_remind(snapshot, waiting))

    async def _count_and_remind(self, before: Snapshot, still: Collection[RemediationRef]) -> Snapshot | None:
        key, count = before.message.id, len(still)

        def counted(snapshot: Snapshot) -> TrackedMessage | None:
            if lifecycle.next_step(snapshot, self._config) is not Step.REMIND or _shown(snapshot) != _shown(before):
                return None
            return calls.reminded(snapshot, self._config)

        after = await self._settle(key, counted, reminded=still)
        if after is None or not count:
            return after
        message = after.message
        waiting = calls.unheld(after)
        called = self._config.called(waiting, message.cluster_id, after.now)
        if message.is_digest:
            waited = after.now - max((each.came_at for each in waiting), default=message.remind_from)
            reminder = cards.digest.reminder(message, after.alerts, count, called, waited)
        else:
            alert = after.alerts[0]
            created = alert.remediation.create_time
            since = alert.waits_since or (created.timestamp() if created else alert.seen_at)
            reminder = cards.reminder(alert.remediation, alert.share, called, after.now - since)
        try:
            await self._channels.post(reminder, thread_ts=message.ts, channel_id=message.channel_id)
        except NotPosted as error:
            if error.is_lasting:
                logger.warning("%s: can no longer post to thread: %s", _named(before), error)
                return after

            def taken_back(snapshot: Snapshot) -> TrackedMessage | None:
                is_ours = snapshot.message.reminded_at == message.reminded_at
                return calls.not_reminded(snapshot.message, before.message) if is_ours else None

            await self._messages.change(key, taken_back)
            raise
        except PostUnclear as error:
            logger.warning("%s: a reminder may not have arrived: %s", _named(before), error)
        return after

    async def _still_wait(self, refs: list[RemediationRef]) -> set[RemediationRef] | None:
        """Return which of these certainly wait still; None where none does, but not all can be read now."""
        if len(refs) == 1:
            try:
                present = await self._together.get(refs[0])
            except TogetherError:
                return None
            return set(refs) if present.state == State.PENDING_APPROVAL else set()
        lists = await asyncio.gather(*(self._waiting(cluster_id) for cluster_id in {ref.cluster_id for ref in refs}))
        found = {ref for listed in lists if listed is not None for ref in refs if ref in listed}
        return None if not found and None in lists else found

    async def _waiting(self, cluster_id: str) -> set[RemediationRef] | None:
        """Return what waits in a cluster; None where it can't be read now."""
        try:
            found = await self._together.scan(cluster_id, states=[State.PENDING_APPROVAL])
        except (InvalidId, TogetherError) as error:
            logger.warning("Cluster %s can't be read before a reminder: %s", cluster_id, type(error).__name__)
            return None
        return {ref for item in found if (ref := reference_of(item, cluster_id))}

    # What a dead process left, or Slack may have taken.

    async def _find(self, snapshot: Snapshot) -> Snapshot | None:
        """Look in the channel for a message that may be there though nobody noted it."""
        message, key = snapshot.message, snapshot.message.id
        try:
            found = await self._what_is_in(message.channel_id, message.opened_at - HISTORY_BEFORE, message.posted_at)
        except NotPosted as error:
            if not error.is_lasting:
                raise
            found = None  # the channel is gone, and with it the message
        ts = found.messages.get(_about(snapshot)) if found else None
        if ts is None:
            return await self._messages.change(key, lambda each: replace(each.message, posted_at=0.0, next_at=0.0))
        logger.info("%s: already in the channel", _named(snapshot))
        return await self._settle(key, lambda each: replace(each.message, ts=ts, drawn=""))

    async def verify(self) -> None:
        """Compare what the channels show with what was last written, and draw again what differs.

        The last edit of a process that watched before may arrive after ours, and somebody may have deleted a message.
        """
        tracked = await self._messages.open()
        latest = self._clock.now() - COMPARED_SECONDS
        for channel_id in sorted({each.channel_id for each in tracked}):
            here = [each for each in tracked if each.channel_id == channel_id]
            since = min(each.opened_at for each in here) - HISTORY_BEFORE
            try:
                found = await self._channels.find(max(since, latest), channel_id)
            except NotPosted as error:
                logger.warning("Can't read the alert channel %s right now: %s", channel_id, error)
                continue
            for message in here:
                if found is None or found.drawn.get(message.ts) != message.drawn:
                    await self._messages.change(message.id, lambda each: replace(each.message, drawn="", next_at=0.0))
                    self._queue.put(message.id)

    async def _what_is_in(self, channel_id: str, since: float, posted_at: float) -> Found | None:
        """Return what is in a channel, as it was looked at once everything posted until then had arrived."""
        at, reaches, found = self._found.get(channel_id, (0.0, 0.0, None))
        if at < posted_at + ARRIVED_SECONDS or reaches > since:
            now = self._clock.now()
            found = await self._channels.find(since, channel_id)
            self._found[channel_id] = now, since, found
        return found


def _shown(snapshot: Snapshot) -> object:
    """Return what changes when somebody is answered on the message itself."""
    answers = [] if snapshot.message.is_digest else [(each.remark, each.answered_seq) for each in snapshot.alerts]
    return snapshot.message.drawn, answers


def _about(snapshot: Snapshot) -> RemediationRef | str:
    """Return what a message in Slack is marked with."""
    return snapshot.message.id if snapshot.message.is_digest else snapshot.alerts[0].remediation.ref


def _named(snapshot: Snapshot) -> str:
    first = snapshot.alerts[0].remediation.ref if snapshot.alerts else ""
    return f"Digest {snapshot.message.id}" if snapshot.message.is_digest else str(first)
