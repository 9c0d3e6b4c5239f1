"""Makes a message in Slack say what it should: load it, see what it lacks, do that one thing, write it down."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bot import alerts, cards, metrics
from bot.alerts import outdated
from bot.clock import Clock
from bot.errors import InvalidId, LeaseLost, PostFailed, PostUncertain, StorageUnavailable, TogetherError
from bot.models import (
    ARRIVED_SECONDS,
    IN_REPAIR,
    OPEN,
    AlertChannels,
    Cluster,
    EventKind,
    Found,
    History,
    Message,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
    decision_of,
)
from bot.store import Lease, Messages
from bot.tasks import finish
from bot.together import TogetherClient
from bot.watcher import calls, checks, schedule, threads
from bot.watcher.comparison import HISTORY_BEFORE, Comparer
from bot.watcher.config import WatchConfig
from bot.watcher.enrichment import Enricher
from bot.watcher.index import TrackedIndex
from bot.watcher.outages import KEY as OUTAGES
from bot.watcher.outages import OutageNotifier
from bot.watcher.poller import reference_of
from bot.watcher.schedule import Step
from bot.watcher.threads import PendingReply
from bot.watcher.workqueue import LONGEST_WAIT, Backoff, Lane, Line, WorkQueue

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0  # so old may be what says when a post left
SECONDS_PER_EDIT = 3.0  # of one message: a person is reading it
_ASKING = {Step.CHECK, Step.REMIND}  # steps that ask Together first
_NOT_WHILE_UNCLEAR = {Step.REPLY, Step.IDLE} | _ASKING


@dataclass(frozen=True, slots=True)
class _Unclear:
    """What a thread may have been told. It is looked for before it is repeated.

    Attributes:
        mark: by what it is found.
        until: when it has arrived or never will, on this process's monotonic clock.
        undo: what becomes of the message where it did not arrive.
    """

    part: PendingReply
    mark: str
    until: float
    undo: Callable[[Snapshot], TrackedMessage | None] = lambda each: each.message


class Reconciler:
    """Writes cards and digests, and their threads.

    Args:
        lease: the watch; nothing is written without it.
        report: told what keeps alerts from being posted in a channel, or "" when nothing does.
    """

    def __init__(  # noqa: PLR0913 - what writing needs
        self,
        *,
        messages: Messages,
        channels: AlertChannels,
        together: TogetherClient,
        queue: WorkQueue,
        index: TrackedIndex,
        enricher: Enricher,
        outages: OutageNotifier,
        comparer: Comparer,
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
        self._outages = outages
        self._comparer = comparer
        self._lease = lease
        self._config = config
        self._clock = clock
        self._report = report
        self._steps: dict[Step, Callable[[Snapshot], Awaitable[Snapshot | None]]] = {
            Step.POST: self._post,
            Step.EDIT: self._edit,
            Step.REPLY: self._tell_thread,
            Step.CHECK: self._check,
            Step.REMIND: self._remind,
            Step.FIND: self._find,
            Step.MAKE_SURE: self._make_sure,
            Step.MOVE: self._move,
            Step.DROP: self._drop,
            Step.WAIT: self._wait,
            Step.IDLE: self._idle,
        }
        self._edited: dict[str, tuple[float, str]] = {}
        self._arrives_by: dict[str, float] = {}  # posts whose result wasn't clear, on this process's monotonic clock
        self._unclear: dict[str, _Unclear] = {}
        self._told_blindly: set[str] = set()
        self._left: set[str] = set()  # messages that the watch before this one may have been in the middle of
        self._asking: Backoff[str] = Backoff(clock.monotonic, LONGEST_WAIT[Lane.REPLY])
        self._found: dict[str, tuple[float, float, Found | None]] = {}

    def begin(self, due: Collection[str]) -> None:
        """Forget what an earlier watch had in hand: the store knows better.

        Args:
            due: the messages that it left something to do on.
        """
        for each in (self._edited, self._unclear, self._told_blindly, self._found):
            each.clear()
        self._left = set(due)

    async def work(self) -> None:
        """Do what there is to do, each lane of each channel with a worker of its own, forever."""
        workers: dict[Line, asyncio.Task[None]] = {}
        opened = asyncio.create_task(self._queue.opened.wait(), name="watch lines")
        try:
            while True:
                self._queue.opened.clear()
                for line in self._queue.lines - workers.keys():
                    workers[line] = asyncio.create_task(self._work(*line), name="watch work")
                ended, _ = await asyncio.wait({opened, *workers.values()}, return_when=asyncio.FIRST_COMPLETED)
                for task in ended - {opened}:
                    task.result()
                opened = asyncio.create_task(self._queue.opened.wait(), name="watch lines")
        finally:
            tasks = [opened, *workers.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, lane: Lane, channel_id: str) -> None:
        """Do what a lane has to do in a channel, forever."""
        while True:
            key = await self._queue.get(lane, channel_id)
            after = None
            try:
                after = await self._do(key, lane, channel_id)
            except (PostFailed, PostUncertain) as error:
                self._postpone(key, lane, channel_id, error)
            except (LeaseLost, StorageUnavailable):
                raise
            except Exception:  # one message that can't be written must not blind the bot to all others
                logger.exception("%s: writing it failed", key)
                self._queue.failed(key, lane)
            else:
                self._queue.succeeded(key, lane, channel_id)
            finally:
                if after:
                    self._give_on(key, after)
                else:
                    self._queue.done(key)

    async def _do(self, key: str, lane: Lane, channel_id: str) -> Snapshot | None:
        if lane is Lane.EDIT:
            await self._channels.turn_to_update()
        elif lane is Lane.REPLY:
            await self._channels.turn_to_post(channel_id)
        if not key.startswith(OUTAGES):
            return await self._reconcile(key, lane)
        await self._outages.tell(channel_id)
        return None

    def _postpone(self, key: str, lane: Lane, channel_id: str, error: PostFailed | PostUncertain) -> None:
        if isinstance(error, PostFailed):
            logger.warning("%s: Slack didn't take it: %s", key, error)
        else:
            logger.warning("%s: unclear whether Slack took it: %s", key, error)
            self._comparer.doubt(channel_id)
        if isinstance(error, PostFailed) and error.is_closed:
            self._queue.closed(channel_id, lane)
        else:
            self._queue.failed(key, lane)

    async def _reconcile(self, key: str, lane: Lane) -> Snapshot | None:
        """Do the next thing that a message needs, if this lane does it. Returns it where more is to be done at once."""
        if lane is Lane.LOOK and self._was_just_edited(key):
            return None  # a digest of 1,000 takes long to load, and each of them puts its key
        snapshot = await self._messages.load(key)
        if snapshot is None:
            await self._messages.close(key)
            return None
        for alert in snapshot.alerts:
            if alert.is_stale:
                self._index.mark_stale(alert.remediation.ref)
            if alert.can_settle(snapshot.now):
                self._index.mark_stale(alert.remediation.ref)
                self._index.doubt(alert.remediation.ref)
        step = self._next_step(snapshot)
        if step.lane is not lane:
            return None if self._is_too_early(snapshot, step) else snapshot
        if lane is not Lane.LOOK and self._is_too_early(snapshot, step):
            return None
        after = await self._steps[step](snapshot)
        if after is None or after.message.next_at != 0.0:  # it says when there is something to do
            return None
        following = self._next_step(after)
        return None if following.lane is Lane.LOOK or self._is_too_early(after, following) else after

    def _give_on(self, key: str, snapshot: Snapshot) -> None:
        """Hand a message to the lane that continues: what changes the decision before what merely looks different."""
        step, message = self._next_step(snapshot), snapshot.message
        channel_id = self._config.channel_of(snapshot) if step.lane is Lane.POST else message.channel_id
        is_urgent = step is Step.EDIT and (
            decision_of(message.content_hash) != decision_of(schedule.content(snapshot, self._config).fingerprint)
        )
        self._queue.done(key, step.lane, "" if step.lane is Lane.LOOK else channel_id, urgent=is_urgent)

    def _next_step(self, snapshot: Snapshot) -> Step:
        """Return what a message needs next; its thread isn't told more until it is known what it was told."""
        step = schedule.next_step(snapshot, self._config)
        is_unclear = snapshot.message.id in self._unclear and step in _NOT_WHILE_UNCLEAR
        return Step.MAKE_SURE if is_unclear else step

    def _is_too_early(self, snapshot: Snapshot, step: Step) -> bool:
        """Return whether a step is left to a later tick. A key in the queue means that the message is due."""
        key, now = snapshot.message.id, self._clock.monotonic()
        if step is Step.EDIT:
            shown = self._edited.get(key, (0.0, ""))[1]
            is_same = (
                snapshot.message.is_unsure(snapshot.now)
                and schedule.content(snapshot, self._config).fingerprint == shown
            )
            return is_same or self._was_just_edited(key)
        if step is Step.MAKE_SURE:
            return now < self._unclear[key].until
        if step is Step.FIND:
            return now < self._arrives_by.get(key, 0.0)  # the database's clock may have been set since
        return step in _ASKING and self._asking.is_to_wait(key)

    def _was_just_edited(self, key: str) -> bool:
        """Return whether the last edit was less than three seconds ago: the next one must not take a turn yet."""
        return self._clock.monotonic() - self._edited.get(key, (-SECONDS_PER_EDIT, ""))[0] < SECONDS_PER_EDIT

    async def _drop(self, snapshot: Snapshot) -> None:
        for ref in await self._messages.forget(snapshot.message.id):
            self._index.drop(ref)

    async def _wait(self, snapshot: Snapshot) -> Snapshot | None:
        """Come back to it with the next tick, or once Together has been read."""
        return await self._idle(snapshot) if schedule.awaits_reading(snapshot) else None

    async def _idle(self, snapshot: Snapshot) -> Snapshot | None:
        self._left.discard(snapshot.message.id)
        return await self._settle(snapshot, lambda each: each.message)

    async def _settle(
        self,
        known: Snapshot | str,
        change: Callable[[Snapshot], TrackedMessage | None],
        *,
        told: Mapping[RemediationRef, EventKind] | None = None,
    ) -> Snapshot | None:
        """Change a message, and set when to check it next.

        Args:
            known: the message; or its ID, where what was loaded is too old to judge by.
            told: the events that other tools get with it.
        """
        key = known if isinstance(known, str) else known.message.id

        def settled(snapshot: Snapshot) -> TrackedMessage | None:
            if (changed := change(snapshot)) is None:
                return None
            after = schedule.settled(replace(snapshot, message=changed), self._config)
            return replace(after, next_at=0.0) if key in self._unclear and not after.done else after

        after = await self._messages.change(known, settled, told=told)
        if after and after.message.done:
            self._edited.pop(key, None)
            self._arrives_by.pop(key, None)
            self._left.discard(key)
            self._forget_unclear(key)
        return after

    # The message.

    async def _post(self, snapshot: Snapshot) -> Snapshot | None:
        began, is_card = self._clock.monotonic(), not snapshot.message.is_digest
        history = await self._enricher.history(snapshot.alerts[0].remediation) if is_card else None
        await self._channels.turn_to_post(self._config.channel_of(snapshot))
        self._lease.ensure_held()
        is_fresh = self._clock.monotonic() - began < FRESH_SECONDS
        return await finish(self._say(snapshot if is_fresh else snapshot.message.id, history))

    async def _say(self, known: Snapshot | str, history: History | None) -> Snapshot | None:
        """Write down that a message is about to be posted, then post it: after a crash it is looked for first."""

        def leaving(snapshot: Snapshot) -> TrackedMessage | None:
            if snapshot.message.ts or schedule.next_step(snapshot, self._config) is not Step.POST:
                return None
            # The settings may have changed since it was first about to be posted.
            channel_id = self._config.channel_of(snapshot)
            return calls.leaving(replace(snapshot.message, channel_id=channel_id), snapshot, self._config)

        left = await self._messages.change(known, leaving, history=history)
        if left is None:
            return None
        key = left.message.id
        message, shown = left.message, schedule.content(left, self._config)
        self._lease.ensure_held()  # writing it down may have taken so long that another process posts it by now
        try:
            ts = await self._channels.post(shown, about=_about(left), channel_id=message.channel_id)
        except PostUncertain:
            self._arrives_by[key] = self._clock.monotonic() + ARRIVED_SECONDS
            raise
        except PostFailed as error:
            self._report(message.channel_id, f"Can't post alerts in {message.channel_id}: {error}.")
            await self._messages.change(key, lambda each: replace(each.message, posted_at=0.0))
            raise
        self._report(message.channel_id, "")
        logger.info("%s: posted in %s", _named(left), message.channel_id)
        self._edited[key] = self._clock.monotonic(), shown.fingerprint
        at = left.now
        return await self._settle(
            left, lambda each: replace(each.message, ts=ts, content_hash=shown.fingerprint, edited_at=at)
        )

    async def _edit(self, snapshot: Snapshot) -> Snapshot | None:
        self._lease.ensure_held()
        return await finish(self._update(snapshot, schedule.content(snapshot, self._config)))

    async def _update(self, before: Snapshot, shown: Message) -> Snapshot | None:
        key, ts = before.message.id, before.message.ts
        assert ts is not None  # noqa: S101 - its next step is an edit
        try:
            await self._channels.update(ts, shown, before.message.channel_id)
        except PostUncertain:
            self._edited.pop(key, None)
            await self._settle(key, lambda each: outdated(each.message, each.now, may_overwrite=True))
            raise
        except PostFailed as error:
            if error.is_gone:
                return await self._lose(before, error)
            if not error.is_lasting:
                raise
            logger.warning("%s: card can no longer be updated: %s", _named(before), error)
            return await self._settle(before, lambda each: replace(each.message, is_read_only=True, last_added_at=0.0))
        self._edited[key] = self._clock.monotonic(), shown.fingerprint

        def drawn(snapshot: Snapshot) -> TrackedMessage:
            # If somebody was answered on the card since, it is not known which of the two it shows.
            is_known = not before.message.is_unsure(before.now) and _shown(snapshot) == _shown(before)
            return replace(snapshot.message, content_hash=shown.fingerprint if is_known else "", edited_at=before.now)

        return await self._settle(before, drawn)

    async def _lose(self, snapshot: Snapshot, error: PostFailed) -> Snapshot | None:
        logger.warning("%s: deleted in Slack: %s", _named(snapshot), error)
        self._forget_unclear(snapshot.message.id)
        return await self._messages.change(snapshot, alerts.deleted)

    async def _move(self, snapshot: Snapshot) -> Snapshot | None:
        await self._channels.turn_to_update()
        self._lease.ensure_held()
        return await finish(self._leave(snapshot))

    async def _leave(self, before: Snapshot) -> Snapshot | None:
        """Let the message in a former channel name the present one, where it is posted then."""
        message = before.message
        assert message.ts is not None  # noqa: S101 - it is in a channel
        channel_id = self._config.channel_of(before)
        pointer = cards.moved(before.alerts, channel_id)
        try:
            await self._channels.update(message.ts, pointer, message.channel_id, is_card=False)
        except PostFailed as error:
            if not (error.is_lasting or error.is_closed):
                raise
            logger.warning("%s: can't be changed in its former channel: %s", _named(before), error)
        logger.info("%s: moves from %s to %s", _named(before), message.channel_id, channel_id)
        self._forget_unclear(message.id)
        return await self._settle(before, alerts.moved)

    # Its thread.

    async def _tell_thread(self, snapshot: Snapshot) -> Snapshot | None:
        return await self._tell(snapshot, next(threads.thread_parts(snapshot, self._config)))

    async def _check(self, snapshot: Snapshot) -> Snapshot | None:
        """Ask Together about what time alone says, and tell what it answers: never what has just changed."""
        made = checks.due(snapshot, self._config)
        found = await self._found_by(made)
        if found is None or (made[0].check is checks.Check.STUCK and not found):
            self._asking.failed(snapshot.message.id)
            return None
        self._asking.succeeded(snapshot.message.id)
        if part := checks.reply(made, found, snapshot, self._config):
            return await self._tell(snapshot, part)
        keys = {each.check.key(each.alert) for each in made}
        return await self._settle(snapshot, lambda each: replace(each.message, announced=each.message.announced | keys))

    async def _found_by(self, made: Sequence[checks.Due]) -> Cluster | set[RemediationRef] | None:
        """Return what checks are judged by; None where it can't be read now."""
        check, cluster_id = made[0].place
        if check is checks.Check.LASTS:
            return await self._listed(cluster_id, OPEN)  # what came back would be in it
        if check is checks.Check.STUCK:
            return await self._are_still(IN_REPAIR, [each.alert.remediation.ref for each in made])
        try:
            return await self._together.get_cluster(cluster_id)
        except TogetherError as error:
            logger.warning("Cluster %s can't be read after a repair: %s", cluster_id, type(error).__name__)
            return None

    async def _tell(self, snapshot: Snapshot, part: PendingReply) -> Snapshot | None:
        if await self._was_told_before(snapshot.message, part):
            return await self._count_as_told(snapshot.message.id, part)
        self._lease.ensure_held()
        return await finish(self._reply(snapshot, part))

    async def _was_told_before(self, message: TrackedMessage, part: PendingReply) -> bool:
        """Return whether the watch before this one told it, and ended before it could write that down."""
        if message.id not in self._left:
            return False
        return bool(await self._has_reply(message, _mark_of(message.id, part)))

    async def _has_reply(self, message: TrackedMessage, mark: str) -> bool | None:
        """Return whether a thread has a reply; None where that can't be read, now or later."""
        assert message.ts is not None  # noqa: S101 - it has a thread
        try:
            return await self._channels.has_reply(mark, thread_ts=message.ts, channel_id=message.channel_id)
        except PostFailed as error:
            if not error.is_lasting:
                raise
            return None

    async def _reply(self, snapshot: Snapshot, part: PendingReply) -> Snapshot | None:
        """Tell the thread; what it takes no more counts as told."""
        message = snapshot.message
        try:
            await self._post_in_thread(message, part)
        except PostFailed as error:
            if error.is_gone:
                return await self._lose(snapshot, error)
            if not error.is_lasting:
                raise
            logger.warning("%s: can no longer post to thread: %s", _named(snapshot), error)
        return await self._count_as_told(message.id, part)

    async def _post_in_thread(
        self,
        message: TrackedMessage,
        part: PendingReply,
        undo: Callable[[Snapshot], TrackedMessage | None] | None = None,
    ) -> None:
        mark = _mark_of(message.id, part)
        try:
            await self._channels.post(
                part.message, thread_ts=message.ts, channel_id=message.channel_id, broadcast=part.broadcast, mark=mark
            )
        except PostUncertain:
            until = self._clock.monotonic() + ARRIVED_SECONDS
            self._unclear[message.id] = _Unclear(part, mark, until, undo or (lambda each: each.message))
            raise

    async def _count_as_told(self, key: str, part: PendingReply) -> Snapshot | None:
        self._forget_unclear(key)
        told = dict.fromkeys(part.about, part.event) if part.event else {}
        after = await self._settle(key, lambda each: threads.replied(each.message, part, each.now), told=told)
        for each in [each for each in (after.alerts if after else ()) if each.remediation.ref in told]:
            if part.event is not EventKind.STUCK:
                metrics.VERIFIED.labels(each.remediation.mode, part.event).inc()
            elif not each.is_closed:
                metrics.STUCK.inc()
        return after

    async def _make_sure(self, snapshot: Snapshot) -> Snapshot | None:
        """Look in the thread for what it may have been told. Where the bot may not, a line twice rather than none."""
        message, unclear = snapshot.message, self._unclear[snapshot.message.id]
        has_it = await self._has_reply(message, unclear.mark)
        if has_it or (has_it is None and message.id in self._told_blindly):
            return await self._count_as_told(message.id, unclear.part)
        del self._unclear[message.id]
        if has_it is None:
            self._told_blindly.add(message.id)  # but not forever
        return await self._settle(message.id, unclear.undo)

    def _forget_unclear(self, key: str) -> None:
        self._unclear.pop(key, None)
        self._told_blindly.discard(key)

    async def _remind(self, snapshot: Snapshot) -> Snapshot | None:
        """Ask Together a last time, count, then remind: never of what was just decided, nor once too often."""
        alerts = calls.unheld(snapshot)
        waiting = await self._are_still({State.PENDING_APPROVAL}, [each.remediation.ref for each in alerts])
        if waiting is None or (not waiting and not snapshot.message.is_digest):
            self._asking.failed(snapshot.message.id)  # the next list says what has become of it
            return None
        self._asking.succeeded(snapshot.message.id)
        self._lease.ensure_held()
        return await finish(self._count_and_remind(snapshot, waiting))

    async def _count_and_remind(self, before: Snapshot, still: Collection[RemediationRef]) -> Snapshot | None:
        key, count = before.message.id, len(still)

        def counted(snapshot: Snapshot) -> TrackedMessage | None:
            if schedule.next_step(snapshot, self._config) is not Step.REMIND or _shown(snapshot) != _shown(before):
                return None
            return calls.reminded(snapshot, self._config)

        after = await self._settle(key, counted, told=dict.fromkeys(still, EventKind.REMINDED))
        if after is None or not count:
            return after
        message = after.message
        waiting = calls.unheld(after)
        called = self._config.on_call_now(waiting, message.cluster_id, after.now)
        if message.is_digest:
            waited = after.now - max((each.came_at for each in waiting), default=message.remind_from)
            reminder = cards.digest.reminder(message, after.alerts, count, called, waited)
        else:
            alert = after.alerts[0]
            created = alert.remediation.create_time
            since = alert.waiting_since or (created.timestamp() if created else alert.seen_at)
            reminder = cards.reminder(alert.remediation, alert.share, called, after.now - since)

        def taken_back(snapshot: Snapshot) -> TrackedMessage:
            is_ours = snapshot.message.reminded_at == message.reminded_at
            return calls.not_reminded(snapshot.message, before.message) if is_ours else snapshot.message

        self._lease.ensure_held()
        try:
            mark = f"reminder {message.reminded_at}"
            await self._post_in_thread(message, PendingReply(reminder, mark=mark), undo=taken_back)
        except PostFailed as error:
            if error.is_lasting:
                logger.warning("%s: can no longer post to thread: %s", _named(before), error)
                return after
            await self._settle(key, taken_back)
            raise
        except PostUncertain:
            await self._messages.change(key, lambda each: replace(each.message, next_at=0.0))  # to make sure of it
            raise
        return after

    async def _are_still(self, states: Collection[State], refs: list[RemediationRef]) -> set[RemediationRef] | None:
        """Return which of these are certainly in such a state; None where none is, but not all can be read now."""
        if len(refs) == 1:
            try:
                present = await self._together.get(refs[0])
            except TogetherError:
                return None
            return set(refs) if present.state in states else set()
        clusters = {ref.cluster_id for ref in refs}
        lists = await asyncio.gather(*(self._listed(cluster_id, states) for cluster_id in clusters))
        found = {ref for listed in lists if listed is not None for ref in refs if ref in listed}
        return None if not found and None in lists else found

    async def _listed(self, cluster_id: str, states: Collection[State]) -> set[RemediationRef] | None:
        """Return what is in such a state in a cluster; None where it can't be read now."""
        try:
            found = await self._together.scan(cluster_id, states=sorted(states))
        except (InvalidId, TogetherError) as error:
            logger.warning("Cluster %s can't be read before its thread is told: %s", cluster_id, type(error).__name__)
            return None
        return {ref for item in found if (ref := reference_of(item, cluster_id))}

    # What a dead process left, or Slack may have taken.

    async def _find(self, snapshot: Snapshot) -> Snapshot | None:
        """Look in the channel for a message that may be there though nobody noted it."""
        key = snapshot.message.id
        try:
            found = await self._what_is_in(snapshot)
        except PostFailed as error:
            if not error.is_lasting:
                raise
            found = None  # the channel is gone, and with it the message
        if found is None or (about := _about(snapshot)) not in found.messages:
            return await self._messages.change(key, lambda each: replace(each.message, posted_at=0.0, next_at=0.0))
        logger.info("%s: already in the channel", _named(snapshot))
        ts = found.messages[about][0]
        return await self._settle(key, lambda each: replace(each.message, ts=ts, content_hash=""))

    async def _what_is_in(self, snapshot: Snapshot) -> Found | None:
        """Return what is in a message's channel, as it was looked at once everything posted until then had arrived.

        All times are the database's: this process's clock may differ from it.
        """
        message = snapshot.message
        since = message.opened_at - HISTORY_BEFORE
        at, reaches, found = self._found.get(message.channel_id, (0.0, 0.0, None))
        if at < message.posted_at + ARRIVED_SECONDS or reaches > since:
            found = await self._channels.find(since, message.channel_id)
            self._found[message.channel_id] = snapshot.now, since, found
        return found


def _shown(snapshot: Snapshot) -> object:
    """Return what changes when somebody is answered on the message itself."""
    answers = [] if snapshot.message.is_digest else [(each.remark, each.decided_seq) for each in snapshot.alerts]
    return snapshot.message.content_hash, answers


def _mark_of(message_id: str, part: PendingReply) -> str:
    """Return by what a reply is found again, also by another process."""
    # What is told is what counts: its words say how long something took, and differ from one minute to the next.
    what = " ".join(sorted(part.announced)) or part.mark
    return hashlib.blake2b(f"{message_id} {what}".encode(), digest_size=16).hexdigest()


def _about(snapshot: Snapshot) -> RemediationRef | str:
    """Return what a message in Slack is marked with."""
    return snapshot.message.id if snapshot.message.is_digest else snapshot.alerts[0].remediation.ref


def _named(snapshot: Snapshot) -> str:
    first = snapshot.alerts[0].remediation.ref if snapshot.alerts else ""
    return f"Digest {snapshot.message.id}" if snapshot.message.is_digest else str(first)
