"""Makes a message in Slack say what it should: load it, see what it lacks, do that one thing, write it down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from bot import alerts, cards
from bot.errors import LeaseLost, NotReadable, PostFailed, PostUncertain, StorageUnavailable, TogetherError
from bot.logs import lasting
from bot.models import (
    ARRIVED_SECONDS,
    FINAL,
    HISTORY_BEFORE,
    Alert,
    Found,
    Impacts,
    Learned,
    Snapshot,
    TrackedMessage,
)
from bot.store import approvals, messages, rows
from bot.tasks import cancel, finish
from bot.watcher import schedule
from bot.watcher.comparison import Comparer
from bot.watcher.config import Warn
from bot.watcher.index import TrackedIndex
from bot.watcher.schedule import Step
from bot.watcher.teller import ThreadTeller
from bot.watcher.workqueue import Lane, Line, Rank
from bot.watcher.writer import Writer

logger = logging.getLogger(__name__)

HISTORY_SECONDS = 3.0  # for a nicety of the card, on which other cards wait
FRESH_SECONDS = 1.0  # so old may be what says when a post left
SECONDS_PER_EDIT = 3.0  # of one message: a person is reading it
_NEVER = -SECONDS_PER_EDIT, ""
_NOT_WHILE_UNCLEAR = {Step.REPLY, Step.CHECK, Step.REMIND, Step.IDLE}


class _Search(NamedTuple):
    """What was in a channel since a moment, and when that was looked for: by the database's clock, and by our own.

    Everything posted until then has arrived, so one search is enough for many messages.
    """

    at: float
    monotonic: float
    since: float
    found: Found | None


@dataclass(slots=True)
class Reconciler(Writer):
    """Writes cards and digests, and their threads.

    Attributes:
        impacts: says who is affected by a broken node; None where nothing does.
        writers: what writes the messages that aren't cards or digests, by the beginning of their keys.
    """

    index: TrackedIndex
    impacts: Impacts | None
    writers: Mapping[str, Callable[[str, Lane], Awaitable[None]]]
    teller: ThreadTeller
    comparer: Comparer
    warn: Warn
    _edited: dict[str, tuple[float, str]] = field(init=False)
    # Posts whose result wasn't clear, on this process's monotonic clock.
    _arrives_by: dict[str, float] = field(default_factory=dict, init=False)
    _searches: dict[str, _Search] = field(init=False)

    async def begin(self, due: Collection[str]) -> None:
        """Forget what an earlier watch had in hand: the store knows better; and what it left something to do on."""
        self._edited, self._searches = {}, {}
        await self.teller.begin(due)

    async def work(self) -> None:
        """Work through the queue forever, with one worker for each lane of each channel."""
        workers: dict[Line, asyncio.Task[None]] = {}
        opened = asyncio.create_task(self.queue.opened.wait(), name="watch lines")
        try:
            while True:
                self.queue.opened.clear()
                for line in self.queue.lines - workers.keys():
                    workers[line] = asyncio.create_task(self._work(*line), name="watch work")
                ended, _ = await asyncio.wait({opened, *workers.values()}, return_when=asyncio.FIRST_COMPLETED)
                for task in ended - {opened}:
                    task.result()
                opened = asyncio.create_task(self.queue.opened.wait(), name="watch lines")
        finally:
            await cancel([opened, *workers.values()])

    async def _work(self, lane: Lane, channel_id: str) -> None:
        """Do what a lane has to do in a channel, forever."""
        while True:
            key = await self.queue.get(lane, channel_id)
            after = None
            try:
                after = await self._do(key, lane, channel_id)
            except PostFailed as error:
                logger.warning("%s: Slack didn't take it: %s", key, error, extra=lasting())
                if error.is_closed:
                    self.queue.closed(channel_id, lane)
                    await self.teller.answer_alone(key)
                else:
                    self._failed(key, lane)
            except PostUncertain as error:
                logger.warning("%s: unclear whether Slack took it: %s", key, error, extra=lasting())
                self.comparer.doubt(channel_id)
                self._failed(key, lane)
            except (LeaseLost, StorageUnavailable):
                raise
            except Exception:  # one message that can't be written must not blind the bot to all others
                logger.exception("%s: writing it failed", key, extra=lasting())
                self.queue.failed(key, lane)
            else:
                self.queue.succeeded(key, lane, channel_id)
            finally:
                if after:
                    self._pass_on(key, after)
                else:
                    self.queue.done(key)

    def _failed(self, key: str, lane: Lane) -> None:
        """Leave a message alone for a while. Its thread, which calls people, doesn't wait long for an edit."""
        self.queue.failed(key, lane)
        if lane is Lane.EDIT and self.queue.is_stuck(key, lane):
            self.config.refused.edits.add(key)

    async def _do(self, key: str, lane: Lane, channel_id: str) -> Snapshot | None:
        if lane is Lane.EDIT:
            await self.channels.turn_to_update()
        elif lane is Lane.REPLY:
            await self.channels.turn_to_post(channel_id)
        for prefix, tell in self.writers.items():
            if key.startswith(prefix):
                await tell(key.removeprefix(prefix), lane)
                return None
        return await self._reconcile(key, lane)

    async def _reconcile(self, key: str, lane: Lane) -> Snapshot | None:
        """Do the next thing that a message needs, if this lane does it. Returns it where it needs more at once."""
        if lane is Lane.LOOK and self._was_just_edited(key):
            return None  # a digest of 1,000 takes long to load, and each of them puts its key
        snapshot = await self.database.read(rows.load, key)
        if snapshot is None:
            await self.database.run(messages.close, key)
            return None
        for alert in snapshot.alerts:
            may_settle = (alert.remark or alert.doubts) and alerts.settles_at(alert) <= snapshot.now  # by a reading
            if alert.is_stale or may_settle:
                self.index.mark_answered(alert.ref)
            if may_settle:
                self.index.doubt(alert.ref)
        step = self._next_step(snapshot)
        if self._is_too_early(snapshot, step):
            return None
        if step.lane is not lane:
            return snapshot
        steps = {
            Step.POST: self._post,
            Step.EDIT: self._edit,
            Step.REPLY: self.teller.tell,
            Step.CHECK: self.teller.check,
            Step.REMIND: self.teller.remind,
            Step.ALARM: self.teller.alarm,
            Step.FIND: self._find,
            Step.MAKE_SURE: self.teller.make_sure,
            Step.MOVE: self._move,
            Step.DROP: self._drop,
            Step.WAIT: self._wait,
            Step.IDLE: self._idle,
        }
        after = await steps[step](snapshot)
        if after and after.message.done:
            self._edited.pop(key, None)
            self._arrives_by.pop(key, None)
        if after is None or after.message.next_at != 0.0:  # it says when there is something to do
            return None
        following = self._next_step(after)
        return None if following.lane is Lane.LOOK or self._is_too_early(after, following) else after

    def _pass_on(self, key: str, snapshot: Snapshot) -> None:
        """Hand a message to the lane that continues: its thread calls people once the message itself is right."""
        step, message = self._next_step(snapshot), snapshot.message
        channel_id = self.config.channel_of(snapshot) if step.lane is Lane.POST else message.channel_id
        rank = schedule.rank(snapshot, self.config) if step is Step.EDIT else Rank.OTHERS
        self.queue.done(key, step.lane, "" if step.lane is Lane.LOOK else channel_id, rank=rank)

    def _next_step(self, snapshot: Snapshot) -> Step:
        """Return what a message needs next; its thread isn't told more until it is known what it was told."""
        step = schedule.next_step(snapshot, self.config)
        if step.lane is not Lane.LOOK and self.teller.is_alarming(snapshot):
            return Step.ALARM  # it waits for nothing in Slack
        is_unclear = snapshot.message.id in self.teller.unclear and step in _NOT_WHILE_UNCLEAR
        return Step.MAKE_SURE if is_unclear else step

    def _is_too_early(self, snapshot: Snapshot, step: Step) -> bool:
        """Return whether a step is left to a later tick. A key in the queue means that the message is due."""
        key, now = snapshot.message.id, self.clock.monotonic()
        if step is Step.EDIT:
            shown = self._edited.get(key, _NEVER)[1]
            is_unsure = alerts.is_unsure(snapshot.message, snapshot.now)
            is_same = is_unsure and schedule.content(snapshot, self.config).fingerprint == shown
            return is_same or self._was_just_edited(key)
        if step is Step.MAKE_SURE:
            return now < self.teller.unclear[key].until
        if step is Step.FIND:
            return now < self._arrives_by.get(key, 0.0)  # the database's clock may have been set since
        if step is Step.CHECK:
            return not self.teller.due(snapshot)
        return step in {Step.POST, Step.REMIND} and self.teller.backoff.must_wait((step, key))

    def _was_just_edited(self, key: str) -> bool:
        """Return whether the last edit was less than three seconds ago: the next one must not take a turn yet."""
        return self.clock.monotonic() - self._edited.get(key, _NEVER)[0] < SECONDS_PER_EDIT

    async def _drop(self, snapshot: Snapshot) -> None:
        for ref in await self.database.run(messages.forget, snapshot.message.id):
            self.index.drop(ref)

    async def _wait(self, snapshot: Snapshot) -> Snapshot | None:
        """Come back to it with the next tick, or once Together has been read."""
        return await self._idle(snapshot) if snapshot.awaits_reading else None

    async def _idle(self, snapshot: Snapshot) -> Snapshot | None:
        self.teller.inherited.discard(snapshot.message.id)
        return await self.teller.settle(snapshot)

    # The message.

    async def _post(self, snapshot: Snapshot) -> Snapshot | None:
        began, is_card = self.clock.monotonic(), not snapshot.message.is_digest
        learned = await self._learn(snapshot.alerts[0]) if is_card else None
        if learned and learned.is_outdated and not self.teller.backoff.is_stuck((Step.POST, snapshot.message.id)):
            self.index.doubt(snapshot.alerts[0].ref)  # it is read alone with the next list
            self.teller.backoff.failed((Step.POST, snapshot.message.id))
            return None
        await self.channels.turn_to_post(self.config.channel_of(snapshot))
        self.database.ensure_held()
        is_fresh = self.clock.monotonic() - began < FRESH_SECONDS
        return await finish(self._say(snapshot if is_fresh else snapshot.message.id, learned))

    async def _learn(self, alert: Alert) -> Learned:
        """Return what is said about a node when its alert is first posted, or waits again after a repair."""
        ref = alert.ref

        async def of_node() -> Learned:
            try:
                async with self.clock.timeout(HISTORY_SECONDS):
                    listed = await self.teller.checks.together.list_remediations(ref.cluster_id, ref.instance_id)
                on_node = [one for one in self.index.of_cluster(ref.cluster_id) if one.instance_id == ref.instance_id]
                tracked = await self.database.read(approvals.of_node, ref) if len(on_node) > 1 else [alert]
            except (NotReadable, TogetherError, TimeoutError) as error:
                logger.warning("%s: can't read the node's history: %s", ref, type(error).__name__)
                return Learned()
            earlier = [incident.remediation for other in tracked for incident in other.earlier]
            history = alert.history_by(listed, earlier, self.clock.now(), self.config.cards.two_people.seconds)
            states = {one.state for one in listed if one.ref == ref} - {alert.remediation.state}
            return Learned(history, is_outdated=bool(states) and (alert.is_waiting or not states.isdisjoint(FINAL)))

        if self.impacts is None:
            return await of_node()
        learned, impact = await asyncio.gather(of_node(), self.impacts.of(alert.remediation))
        return replace(learned, impact=impact)

    async def _say(self, known: Snapshot | str, learned: Learned | None) -> Snapshot | None:
        """Write down that a message is about to be posted, then post it: after a crash it is looked for first."""
        about_to_post = partial(schedule.about_to_post, config=self.config)
        left = await messages.change(self.database, known, about_to_post, learned=learned)
        if left is None:
            return None
        message, key, shown = left.message, left.message.id, schedule.content(left, self.config)
        # Writing it down may have taken so long that another process posts it by now.
        self.database.ensure_held()
        try:
            ts = await self.channels.post(shown, about=left.subject, channel_id=message.channel_id)
        except PostUncertain:
            self._arrives_by[key] = self.clock.monotonic() + ARRIVED_SECONDS
            self.comparer.lost(message.channel_id, left.subject)
            raise
        except PostFailed as error:
            self.warn(message.channel_id, f"Can't post alerts in {message.channel_id}: {error}.")
            await messages.change(self.database, key, lambda current: replace(current.message, posted_at=0.0))
            raise
        self.warn(message.channel_id, "")
        logger.info("%s: posted in %s", left.subject, message.channel_id)
        self._edited[key] = self.clock.monotonic(), shown.fingerprint
        at = left.now
        return await self.teller.settle(
            left, lambda current: replace(current.message, ts=ts, content_hash=shown.fingerprint, edited_at=at)
        )

    async def _edit(self, snapshot: Snapshot) -> Snapshot | None:
        alert = snapshot.alerts[0]
        if alert.is_waiting and alert.waiting_since and alert.history is None and not snapshot.message.is_digest:
            learned = await self._learn(alert)
            known = await messages.change(self.database, snapshot, lambda current: current.message, learned=learned)
            if known is None or self._next_step(known) is not Step.EDIT:
                return known
            snapshot = known
        self.database.ensure_held()
        return await finish(self._update(snapshot))

    async def _update(self, before: Snapshot) -> Snapshot | None:
        message, shown = before.message, schedule.content(before, self.config)
        assert message.ts is not None  # noqa: S101 - its next step is an edit
        try:
            await self.channels.update(message.ts, shown, message.channel_id, about=before.subject)
        except PostUncertain:
            self._edited.pop(message.id, None)
            await self.teller.settle(message.id, alerts.maybe_overwritten)
            raise
        except PostFailed as error:
            if error.is_gone or (error.is_lasting and schedule.is_outdated(before, self.config)):
                self.comparer.doubt(message.channel_id)  # what Slack doesn't find may be there all the same
                return await self.teller.lose(before, error)
            if not error.is_lasting:
                raise
            logger.warning("%s: card can no longer be updated: %s", before.subject, error)
            return await self.teller.settle(
                before, lambda current: replace(current.message, is_read_only=True, last_added_at=0.0)
            )
        self._edited[message.id] = self.clock.monotonic(), shown.fingerprint

        def drawn(current: Snapshot) -> TrackedMessage:
            # If somebody was answered on the card since, it is not known which of the two it shows.
            is_same = schedule.answers_on(current) == schedule.answers_on(before)
            is_known = is_same and not alerts.is_unsure(message, before.now)
            return replace(current.message, content_hash=shown.fingerprint if is_known else "", edited_at=before.now)

        return await self.teller.settle(before, drawn)

    async def _move(self, snapshot: Snapshot) -> Snapshot | None:
        if not await self.comparer.may_post(self.config.channel_of(snapshot)):
            return snapshot  # it keeps its buttons, and what else it needs is done where it is
        await self.channels.turn_to_update()
        present = await self.database.read(rows.load, snapshot.message.id)  # somebody may have decided by now
        if present is None or self._next_step(present) is not Step.MOVE:
            return present
        self.database.ensure_held()
        return await finish(self._point_to_new(present))

    async def _point_to_new(self, before: Snapshot) -> Snapshot | None:
        """Make the message in a former channel name the present one, where it is posted next."""
        message = before.message
        assert message.ts is not None  # noqa: S101 - it is in a channel
        channel_id = self.config.channel_of(before)
        pointer = cards.moved(before.alerts, channel_id)
        is_stuck = self.queue.is_stuck(message.id, Lane.POST)
        try:
            await self.comparer.edit_last(message.ts, pointer, message.channel_id, may_wait=is_stuck)
        except PostUncertain:  # and the new channel may be closed by the next attempt
            await self.teller.settle(before, alerts.maybe_overwritten)
            raise
        logger.info("%s: moves from %s to %s", before.subject, message.channel_id, channel_id)
        self.teller.forget(message.id)
        return await self.teller.settle(before, schedule.moved)

    # What a dead process left, or Slack may have taken.

    async def _find(self, snapshot: Snapshot) -> Snapshot | None:
        """Look in the channel for a message that may be there though nobody noted it."""
        message = snapshot.message
        # Times in rows are the database's: this process's clock may differ from it.
        since, arrived = message.opened_at - HISTORY_BEFORE, message.posted_at + ARRIVED_SECONDS
        search = self._searches.get(message.channel_id)
        # The row says when it was begun to be written, which may be long before the post left.
        is_late = search and search.monotonic >= self._arrives_by.get(message.id, 0.0) and search.at >= arrived
        try:
            if search is None or not is_late or search.since > since:
                began = self.clock.monotonic()
                found = await self.channels.find(since, message.channel_id)
                search = self._searches[message.channel_id] = _Search(snapshot.now, began, since, found)
            all_ts = search.found.messages.get(snapshot.subject) if search.found else None
        except PostFailed as error:
            if not error.is_lasting:
                raise
            all_ts = None  # the channel is gone, and with it the message
        if not all_ts:
            return await messages.change(
                self.database, message.id, lambda current: replace(current.message, posted_at=0.0, next_at=0.0)
            )
        logger.info("%s: already in the channel", snapshot.subject)
        self.comparer.found(message.channel_id, snapshot.subject)
        return await self.teller.settle(
            message.id, lambda current: replace(current.message, ts=all_ts[0], content_hash="")
        )
