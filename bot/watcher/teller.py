"""Posts what threads lack, each line once: one that may have arrived is looked for before it is posted again."""

import hashlib
import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from bot import alerts, cards, metrics
from bot.errors import PostFailed, PostUncertain
from bot.models import (
    ARRIVED_SECONDS,
    Alert,
    EventKind,
    RemediationRef,
    Snapshot,
    TrackedMessage,
)
from bot.store import approvals, messages, rows
from bot.tasks import finish
from bot.watcher import calls, schedule, threads
from bot.watcher.checks import Checks
from bot.watcher.schedule import Step
from bot.watcher.threads import Check, PendingReply
from bot.watcher.workqueue import LONGEST_WAIT, Backoff, Lane
from bot.watcher.writer import Writer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unclear:
    """What a thread may have been told. It is looked for before it is repeated.

    Attributes:
        until: when it has arrived or never will, on this process's monotonic clock.
        outside_since: when it was posted in the channel instead, as Unix time in seconds; 0 in the thread.
    """

    part: PendingReply
    until: float
    outside_since: float = 0.0


def _unchanged(current: Snapshot) -> TrackedMessage:
    return current.message


@dataclass(slots=True)
class ThreadTeller(Writer):
    """Writes into the threads of cards and digests.

    Attributes:
        unclear: by the IDs of messages, what their threads may have been told.
        backoff: keeps reminders, and the checks of a place, from asking Together again too soon; by messages' IDs.
        inherited: messages that the watch before this one may have been in the middle of.
    """

    checks: Checks
    unclear: dict[str, Unclear] = field(init=False)
    backoff: Backoff[tuple[Hashable, str]] = field(init=False)
    inherited: set[str] = field(init=False)
    _arrived: float = field(init=False)  # when all that the watch before this one has sent is there, or never will be
    _told_blindly: dict[str, str] = field(init=False)  # the mark of what was repeated, by the IDs of messages

    async def begin(self, due: Collection[str]) -> None:
        """Forget what an earlier watch had in hand; `due` are the messages that it left something to do on."""
        self.unclear = {}
        self.backoff = Backoff(self.clock.monotonic, LONGEST_WAIT[Lane.REPLY])
        self._told_blindly = {}
        self.checks.begin()
        self._arrived = self.clock.monotonic() + ARRIVED_SECONDS
        self.inherited = set(due)
        # What it may have told is what its threads lacked then: what is read from now on adds to that.
        for key in due:
            snapshot = await self.database.read(rows.load, key)
            if snapshot and snapshot.message.ts and (part := next(threads.thread_parts(snapshot, self.config), None)):
                self.unclear[key] = Unclear(part, self._arrived)

    def forget(self, key: str) -> None:
        """Forget what a thread may have been told."""
        self.unclear.pop(key, None)
        self._told_blindly.pop(key, None)

    async def settle(
        self,
        known: Snapshot | str,
        change: messages.Change = _unchanged,
        *,
        told: rows.Told = None,
    ) -> Snapshot | None:
        """Change a message, if need be, and set when to check it next. Returns None where it was left.

        Args:
            known: the message; or its ID, where what was loaded is too old to judge by.
            told: the events that other tools get with it.
        """
        key = known if isinstance(known, str) else known.message.id

        def settled(snapshot: Snapshot) -> TrackedMessage | None:
            if (changed := change(snapshot)) is None:
                return None
            after = schedule.settled(replace(snapshot, message=changed), self.config)
            return replace(after, next_at=0.0) if key in self.unclear and not after.done else after

        after = await messages.change(self.database, known, settled, told=told)
        if after and after.message.done:
            self.inherited.discard(key)
            self.forget(key)
        return after

    async def lose(self, snapshot: Snapshot, error: PostFailed) -> Snapshot | None:
        """Note that a message is deleted in Slack, another app's, or shows what can't be corrected."""
        logger.warning("%s: to be posted again where it's needed: %s", snapshot.subject, error)
        self.forget(snapshot.message.id)
        return await messages.change(self.database, snapshot, alerts.deleted)

    async def tell(self, snapshot: Snapshot, part: PendingReply | None = None) -> Snapshot | None:
        """Tell a thread this, or else the first thing that it lacks."""
        part, message = part or next(threads.thread_parts(snapshot, self.config)), snapshot.message
        # The watch before this one may have told it, and ended before it could write that down.
        if message.id in self.inherited:
            if self.clock.monotonic() < self._arrived:
                self.unclear[message.id] = Unclear(part, self._arrived)
                return await self.settle(message.id)
            if await self._find(message, part):
                return await self._count_as_told(message.id, part)
        self.database.ensure_held()
        return await finish(self._reply(snapshot, part))

    async def answer_alone(self, key: str) -> None:
        """Tell people what came of their selections, where the channel takes nothing."""
        snapshot = await self.database.read(rows.load, key)
        for part in threads.thread_parts(snapshot, self.config) if snapshot else ():
            if part.user_id:
                self.database.ensure_held()
                try:
                    await self.channels.post(part.message, channel_id=part.user_id)
                except (PostFailed, PostUncertain) as error:
                    logger.warning("%s: couldn't answer %s alone: %s", key, part.user_id, error)
                    return
                await self._count_as_told(key, part)

    def due(self, snapshot: Snapshot, step: Step = Step.CHECK) -> Sequence[threads.Due]:
        """Return the checks to make now that one answer of Together's settles; none where it's too soon to ask.

        Args:
            step: for an alarm, only those that other tools are told of before Slack takes it.
        """
        message, is_alarm = snapshot.message, step is Step.ALARM
        moment = snapshot.now - (calls.OVERDUE_SECONDS if is_alarm else 0.0)
        checks = [
            due
            for due in threads.outstanding_checks(snapshot, self.config)
            if due.at <= moment and not self.backoff.must_wait(((step, due.place), message.id))
        ]
        if is_alarm:
            checks = [due for due in checks if due.check is Check.STUCK and due.alarm not in message.announced]
        for check in Check:  # what can't be read keeps nothing waiting that can
            if places := [due.place for due in checks if due.check is check]:
                return [due for due in checks if due.place == places[0]]
        return []

    async def check(self, snapshot: Snapshot) -> Snapshot | None:
        """Ask Together about what time alone says, and post what it answers: never what has just changed."""
        made = self.due(snapshot)
        check, found = made[0].check, await self._look(made, snapshot, Step.CHECK)
        if found is None or (check is Check.LASTS and found):
            return None  # what is found is posted first
        part = threads.check_reply(made, found, snapshot, self.config)
        if part and snapshot.message.ts:
            return await self.tell(snapshot, part)
        # Bad news has what somebody has deleted posted again, and is looked for once more then.
        is_bad = part is not None and part.broadcast
        lacking = [due.alert for due in made if is_bad and due.alert.ref in found]
        keys = {check.found(alert) if alert in lacking else check.key(alert) for alert in (due.alert for due in made)}
        event, about = (part.event, part.about) if part and not is_bad else (None, ())
        return await self._note(snapshot, lambda current: _announcing(current, keys), event, about)

    async def _look(self, made: Sequence[threads.Due], snapshot: Snapshot, step: Step) -> set[RemediationRef] | None:
        """Return which checks found something; None where it's to be asked again later."""
        key, found = ((step, made[0].place), snapshot.message.id), await self.checks.found_by(made)
        if found is None or (made[0].check is Check.STUCK and not found):
            self.backoff.failed(key)
            return None
        self.backoff.succeeded(key)
        return found

    async def _find(self, message: TrackedMessage, part: PendingReply, outside_since: float = 0.0) -> str | None:
        """Look for a reply in its thread, as `AlertChannels.look_for` does; or in the channel, since a moment."""
        mark, thread_ts = _mark_of(message.id, part), "" if outside_since else message.ts or ""
        return await self.channels.look_for(mark, message.channel_id, since=outside_since, thread_ts=thread_ts)

    async def _reply(self, snapshot: Snapshot, part: PendingReply) -> Snapshot | None:
        """Tell the thread; where it takes no more replies, that counts as told."""
        message, mark, outside_since = snapshot.message, _mark_of(snapshot.message.id, part), 0.0
        post = partial(self.channels.post, channel_id=message.channel_id, mark=mark)
        try:
            try:
                await post(part.message, thread_ts=message.ts, broadcast=part.broadcast)
            except PostFailed as error:
                is_for_nobody = part.lines and not message.owed_lines
                if is_for_nobody or error.is_gone or error.is_closed or not error.is_lasting:
                    raise
                link = self.config.cards.permalink(message.channel_id, message.ts or "")
                if message.id in self.inherited and await self._find(message, part, message.edited_at):
                    return await self._count_as_told(message.id, part)
                outside_since = snapshot.now
                await post(cards.thread.outside(part.message, link))  # the thread is locked
        except PostUncertain:
            self.unclear[message.id] = Unclear(part, self.clock.monotonic() + ARRIVED_SECONDS, outside_since)
            raise
        except PostFailed as error:
            if error.is_gone:
                return await self.lose(snapshot, error)
            if not error.is_lasting:
                raise
            logger.warning("%s: can no longer post to thread: %s", snapshot.subject, error)
        return await self._count_as_told(message.id, part)

    async def _count_as_told(self, key: str, part: PendingReply) -> Snapshot | None:
        self.forget(key)
        return await self._note(
            key, lambda current: threads.replied(current.message, part, current.now), part.event, part.about
        )

    async def _note(
        self, known: Snapshot | str, change: messages.Change, event: EventKind | None, about: Collection[Alert]
    ) -> Snapshot | None:
        """Change a message once people are told something of repairs, which other tools get as an event."""
        after = await self.settle(known, change, told={alert.ref: event for alert in about} if event else {})
        closed = {alert.ref for alert in after.alerts if alert.is_closed} if after else set()
        for alert in about if after and event else ():
            if event is not EventKind.STUCK:
                metrics.VERIFIED.labels(alert.remediation.mode, event).inc()
            elif alert.ref not in closed:
                metrics.STUCK.inc()
        return after

    async def make_sure(self, snapshot: Snapshot) -> Snapshot | None:
        """Look in the thread for what it may have been told. Where the bot may not, a line twice rather than none."""
        message, unclear = snapshot.message, self.unclear[snapshot.message.id]
        ts = await self._find(message, unclear.part, unclear.outside_since)
        mark = _mark_of(message.id, unclear.part)
        if ts or (ts is None and self._told_blindly.get(message.id) == mark):
            return await self._count_as_told(message.id, unclear.part)
        del self.unclear[message.id]
        if ts is None:
            self._told_blindly[message.id] = mark  # but not forever
        return await self.settle(message.id)

    async def remind(self, snapshot: Snapshot) -> Snapshot | None:
        """Ask Together a last time, then remind: never of what was just decided, nor once too often."""
        if (still := await self._waits_still(snapshot, Step.REMIND)) is None:
            return None
        present, waiting = still
        if schedule.next_step(present, self.config) is not Step.REMIND:
            return None
        reminded = calls.reminded(present, waiting, self.config)
        # Other tools learn of it once, also where Slack doesn't take it, and never after a decision.
        if not await self._alarm(present, reminded, calls.untold(present.message, waiting)):
            return None
        return await self.tell(present, threads.reminder(present, reminded, waiting, self.config))

    def is_alarming(self, snapshot: Snapshot) -> bool:
        """Return whether something is so late that other tools are told now, without waiting for Slack to take it."""
        message, is_known = snapshot.message, not (snapshot.is_being_decided or snapshot.awaits_reading)
        is_overdue = calls.remind_at(snapshot, self.config) <= snapshot.now - calls.OVERDUE_SECONDS
        is_untold = is_overdue and bool(calls.untold(message, snapshot.unheld))
        if is_known and is_untold and not self.backoff.must_wait((Step.ALARM, message.id)):
            return True
        has_begun = len(snapshot.undecided) < len(snapshot.alerts)
        return bool(is_known and has_begun and self.due(snapshot, Step.ALARM))

    async def alarm(self, snapshot: Snapshot) -> Snapshot | None:
        """Tell other tools of what may be stuck, or that nobody has decided, after a last look at Together."""
        if made := self.due(snapshot, Step.ALARM):
            found = await self._look(made, snapshot, Step.ALARM) or set()
            stuck = {due.alarm: due.alert for due in made if due.alert.ref in found}
            return await self._note(
                snapshot, lambda current: _announcing(current, stuck), EventKind.STUCK, stuck.values()
            )
        still = await self._waits_still(snapshot, Step.ALARM)
        if still and self.is_alarming(still[0]):
            present, waiting = still
            if untold := calls.untold(present.message, waiting):
                await self._alarm(present, calls.reminded(present, waiting, self.config), untold)
            else:  # the others can't be read now
                self.backoff.pause((Step.ALARM, snapshot.message.id), calls.OVERDUE_SECONDS)
        return await self.settle(snapshot.message.id)  # and what Slack is to take

    async def _alarm(self, present: Snapshot, reminded: TrackedMessage, untold: Mapping[str, Sequence[Alert]]) -> bool:
        """Tell other tools of a reminder; `untold` is by its notes. Returns False where the message has changed."""
        after = _announcing(present, untold)
        return await self.database.run(messages.remind, present, after, reminded, [*chain(*untold.values())])

    async def _waits_still(self, snapshot: Snapshot, step: Step) -> tuple[Snapshot, list[Alert]] | None:
        """Return a message with the alerts on it that surely still wait; None where none does, or one was answered."""
        asking = [alert.ref for alert in snapshot.unheld]
        key = step, snapshot.message.id
        still = await self.checks.are_still(asking, waiting=True) or set()
        still -= await self.database.read(approvals.unsettled, {ref.cluster_id for ref in still})
        if not still:
            self.backoff.failed(key)  # the next list says what has become of it
            return None
        self.backoff.succeeded(key)
        present = await self.database.read(rows.load, snapshot.message.id)
        if present is None or schedule.answers_on(present) != schedule.answers_on(snapshot):
            return None
        waiting = [alert for alert in present.unheld if alert.ref in still]
        return (present, waiting) if waiting else None


def _announcing(snapshot: Snapshot, keys: Collection[str]) -> TrackedMessage:
    """Return the message with what was told, or looked for, remembered."""
    return replace(snapshot.message, announced=snapshot.message.announced.union(keys))


def _mark_of(message_id: str, part: PendingReply) -> str:
    """Return the mark by which a reply is found again, also by another process."""
    # What it is about counts, not its words: they say how long something took, and differ from one minute to the next.
    content = " ".join(sorted(part.announced)) or part.mark
    return hashlib.blake2b(f"{message_id} {content}".encode(), digest_size=16).hexdigest()
