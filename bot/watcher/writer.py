"""Keeps each alert's card and thread true: posts it once, draws it anew when it has changed, tells and reminds."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bot import cards
from bot.clock import Clock
from bot.errors import NotPosted, PostUnclear, TogetherError
from bot.models import Alert, Board, FirstApproval, History, Remediation, RemediationRef, Share, State
from bot.store import Alerts, Lease, Look
from bot.tasks import finish
from bot.together import TogetherClient
from bot.watcher import follow
from bot.watcher.book import Backoff, Book, Queue
from bot.watcher.poll import Reading
from bot.watcher.rules import WatchRules

logger = logging.getLogger(__name__)

SECONDS_PER_EDIT = 3.0  # of one card: a person reads it meanwhile
FIRST_WORD_SECONDS = 2.0  # between writing down that a card is about to be posted, and posting it
ARRIVED_SECONDS = 15.0  # a post has arrived by then or never will: the client gives up after 10
DRAWN_AGAIN = 60.0  # seconds at most until a card that Slack did not take is tried again: until then it is not true
HISTORY_BEFORE = 300.0  # the database's clock and Slack's may differ


class Writer:
    """Writes about single alerts. Three workers go round: for new cards, for changed ones, and for threads.

    Args:
        alerts: where they stand.
        board: the alert channel.
        together: asked a last time before a reminder.
        book: what is followed.
        lease: the watch; nothing is written without it.
        rules: what the watch is set to.
        clock: time.
        history: what a node went through before.
        share: how much of a cluster is in repair.
        report: told what keeps alerts from being posted, or "" when nothing does.
    """

    def __init__(  # noqa: PLR0913 - what writing needs
        self,
        *,
        alerts: Alerts,
        board: Board,
        together: TogetherClient,
        book: Book,
        lease: Lease,
        rules: WatchRules,
        clock: Clock,
        history: Callable[[RemediationRef], Awaitable[History | None]],
        share: Callable[[str], Share | None],
        report: Callable[[str], None],
    ) -> None:
        self._alerts = alerts
        self._board = board
        self._together = together
        self._book = book
        self._lease = lease
        self._rules = rules
        self._clock = clock
        self._history = history
        self._share = share
        self._report = report
        self.new: dict[RemediationRef, Reading] = {}
        self._to_post: Queue[RemediationRef] = Queue()
        self._to_draw: Queue[RemediationRef] = Queue()
        self._to_tell: Queue[RemediationRef] = Queue()
        self._orphans: set[RemediationRef] = set()
        self._to_repeat: set[RemediationRef] = set()
        self._maybe_told: set[RemediationRef] = set()
        self._drawing: Backoff[RemediationRef] = Backoff(clock.monotonic, DRAWN_AGAIN)
        self._telling: Backoff[RemediationRef] = Backoff(clock.monotonic)
        self._reminding: Backoff[RemediationRef] = Backoff(clock.monotonic)
        self._drawn_at: dict[RemediationRef, float] = {}

    def begin(self) -> None:
        """Forget what an earlier watch had in hand: the store and the next reading know better."""
        for queue in (self._to_post, self._to_draw, self._to_tell):
            queue.clear()
        self.new.clear()
        self._orphans.clear()
        self._to_repeat.clear()
        self._maybe_told.clear()

    def announce(self, reading: Reading) -> None:
        """Post a card of something new, when its turn comes."""
        self.new[reading.ref] = reading
        self._to_post.put(reading.ref)

    def attend(self, ref: RemediationRef) -> None:
        """See to an alert, when its turn comes."""
        self._to_draw.put(ref)

    async def adopt(self, reading: Reading, ts: str) -> None:
        """Follow something on a card that stands in the channel already."""
        if reading.remediation is None:
            return
        await self._alerts.add([self._alert(reading, reading.remediation, None)])
        self._book.note(reading.ref, reading.fingerprint)
        await self._note(reading.ref, None, lambda alert: replace(alert, ts=ts))

    def _alert(self, reading: Reading, remediation: Remediation, history: History | None) -> Alert:
        return Alert(
            remediation,
            reading.fingerprint,
            self._rules.channel_id,
            seen_at=0.0,
            history=history,
            share=self._share(reading.ref.cluster_id),
        )

    async def post_cards(self) -> None:
        """Post for ever."""
        while True:
            ref = await self._to_post.get()
            await self._drawing.attempt(ref, self._post(ref))

    async def draw_cards(self) -> None:
        """Draw for ever."""
        while True:
            ref = await self._to_draw.get()
            if self._drawing.is_to_wait(ref):
                continue  # it is due still, so a later tick comes back to it
            await self._drawing.attempt(ref, self._draw(ref))

    async def tell_threads(self) -> None:
        """Tell for ever."""
        while True:
            ref = await self._to_tell.get()
            if self._telling.is_to_wait(ref):
                continue
            await self._telling.attempt(ref, self._tell(ref))

    # New cards.

    async def _post(self, ref: RemediationRef) -> None:
        reading = self.new.get(ref)
        if reading is None:
            if ref in self._to_repeat:
                self._to_repeat.discard(ref)
                await self._board.turn_to_post()
                await self._post_again(ref)
            return  # it waits no longer, or has gone into a digest
        history = await self._history(ref)
        await self._board.turn_to_post()
        if self.new.pop(ref, None) is None or reading.remediation is None:
            return  # it waits no longer, or has gone into a digest
        self._lease.ensure_held()
        await finish(self._post_first(ref, self._alert(reading, reading.remediation, history)))

    async def _post_first(self, ref: RemediationRef, alert: Alert) -> None:
        since = self._clock.monotonic()
        added = await self._alerts.add([alert])
        self._book.note(ref, alert.fingerprint)
        if added and self._clock.monotonic() - since < FIRST_WORD_SECONDS:
            await self._say(ref, added[0], None)

    async def _post_again(self, ref: RemediationRef) -> None:
        """Post what a process left unposted that died, or what Slack may not have taken."""
        look = await self._alerts.look(ref)
        if look is None or look.alert.ts or look.alert.digest_id or not look.alert.waits:
            return
        self._lease.ensure_held()
        channel_id = self._rules.channel_id  # the setting may have changed since it was first about to be told
        alert = await self._alerts.change(ref, lambda alert, now: replace(alert, seen_at=now, channel_id=channel_id))
        if alert:
            await finish(self._say(ref, alert, look.first))

    async def _say(self, ref: RemediationRef, alert: Alert, first: FirstApproval | None) -> None:
        message = follow.draw(alert, first)
        try:
            ts = await self._board.post(message, ref=ref)
        except NotPosted as error:
            self._report(f"Alerts cannot be posted in {self._rules.channel_id}: {error}.")
            await self._alerts.forget(ref)
            self._book.drop(ref)  # so the next poll finds it anew
            raise
        self._report("")
        await self._note(ref, first, lambda alert: replace(alert, ts=ts, drawn=message.fingerprint))

    async def _note(
        self, ref: RemediationRef, first: FirstApproval | None, change: Callable[[Alert], Alert]
    ) -> Alert | None:
        """Change an alert, and say when it is to be seen to again."""
        noted = await self._alerts.change(
            ref, lambda alert, _now: follow.settled(change(alert), first, self._rules.remind_seconds)
        )
        if noted is None or noted.done:
            self._book.drop(ref)
            self._drawn_at.pop(ref, None)
        elif noted.next_at == 0:
            self._to_draw.put(ref)
        return noted

    # Changed cards.

    async def _draw(self, ref: RemediationRef) -> None:
        if not (look := await self._fresh(ref)):
            return
        alert, message = look.alert, follow.draw(look.alert, look.first)
        if message.fingerprint != alert.drawn and not alert.is_lost:
            if self._clock.monotonic() - self._drawn_at.get(ref, -SECONDS_PER_EDIT) < SECONDS_PER_EDIT:
                return  # it is due still, so the next tick comes back to it
            await self._board.turn_to_update()
            if not (look := await self._fresh(ref)):
                return
            alert, message = look.alert, follow.draw(look.alert, look.first)
            if message.fingerprint != alert.drawn:
                alert = await self._update(ref, look, message.fingerprint)
        if alert.lines or self._is_to_remind(alert, look.now):
            self._to_tell.put(ref)
        elif alert.next_at == 0:
            await self._note(ref, look.first, lambda alert: alert)

    async def _fresh(self, ref: RemediationRef) -> Look | None:
        """An alert as it stands, without what has run out; None where it is not to be drawn now."""
        look = await self._alerts.look(ref)
        if look is None:
            self._book.drop(ref)
            return None
        if look.is_being_decided:
            return None  # its answer comes first
        if look.alert.is_stale:
            self._book.note(ref, "")  # so that the next reading counts as news, whatever it says
            return None
        if look.alert.ts is None:
            self._orphans.add(ref)
            return None
        timely = follow.timely(look.alert, look.now)
        if timely is not look.alert:
            changed = await self._alerts.change(ref, lambda alert, now: replace(follow.timely(alert, now), next_at=0.0))
            return None if changed is None else replace(look, alert=changed)
        return look

    async def _update(self, ref: RemediationRef, look: Look, fingerprint: str) -> Alert:
        self._lease.ensure_held()
        before, is_lost = look.alert, False
        assert before.ts is not None  # noqa: S101 - looked before
        try:
            await finish(self._board.update(before.ts, follow.draw(before, look.first), before.channel_id))
        except PostUnclear:
            # It may arrive late, over whatever is drawn until then: what stands there is not known any more.
            await self._note(ref, look.first, lambda alert: replace(alert, drawn=""))
            raise
        except NotPosted as error:
            if not error.is_lasting:
                raise
            logger.warning("%s: its card cannot be changed any more: %s", ref, error)
            is_lost = True
        self._drawn_at[ref] = self._clock.monotonic()
        self._drawing.succeeded(ref)

        def drawn(alert: Alert) -> Alert:
            # Where somebody was answered on the card meanwhile, it is not known which of the two stands there.
            is_known = (alert.drawn, alert.remark, alert.answered_at) == (
                before.drawn,
                before.remark,
                before.answered_at,
            )
            return replace(alert, drawn=fingerprint if is_known else "", is_lost=alert.is_lost or is_lost)

        return await self._note(ref, look.first, drawn) or before

    # Threads.

    def _is_to_remind(self, alert: Alert, now: float) -> bool:
        moment = follow.remind_at(alert, self._rules.remind_seconds)
        return moment is not None and moment <= now

    async def _tell(self, ref: RemediationRef) -> None:
        look = await self._alerts.look(ref)
        if look is None or look.alert.ts is None:
            return
        if not look.alert.lines and not (self._is_to_remind(look.alert, look.now) and await self._still_waits(ref)):
            return
        await self._board.turn_to_post()
        self._lease.ensure_held()
        look = await self._alerts.look(ref)
        if look is None or look.alert.ts is None:
            return
        if look.alert.lines:
            await finish(self._tell_lines(ref, look, look.alert.ts))
        elif self._is_to_remind(look.alert, look.now) and not look.is_being_decided and await self._still_waits(ref):
            await finish(self._remind(ref, look, look.alert.ts))

    async def _tell_lines(self, ref: RemediationRef, look: Look, ts: str) -> None:
        told = look.alert.lines
        try:
            await self._board.post(cards.lines(told), thread_ts=ts, channel_id=look.alert.channel_id)
        except NotPosted as error:
            if not error.is_lasting:
                raise
            logger.warning("%s: its thread takes no more: %s", ref, error)
        except PostUnclear:
            if ref not in self._maybe_told:
                self._maybe_told.add(ref)  # a line twice rather than not at all, but not for ever
                raise
            logger.warning("%s: its thread may not have been told: %s", ref, " ".join(told))
        self._maybe_told.discard(ref)
        self._telling.succeeded(ref)
        await self._note(ref, look.first, lambda alert: replace(alert, lines=alert.lines[len(told) :]))

    async def _still_waits(self, ref: RemediationRef) -> bool:
        """Ask Together a last time: nobody is to be reminded of what was just decided."""
        if self._reminding.is_to_wait(ref):
            return False
        try:
            waits = (await self._together.get(ref)).state == State.PENDING_APPROVAL
        except TogetherError:
            waits = False
        if waits:
            self._reminding.succeeded(ref)
        else:
            self._reminding.failed(ref)  # the next reading says what has become of it
        return waits

    async def _remind(self, ref: RemediationRef, look: Look, ts: str) -> None:
        """Count first, then remind: a reminder may be lost, but is never one too many."""
        counted = look.alert.reminders + 1

        def count(alert: Alert, now: float) -> Alert | None:
            is_due = self._is_to_remind(alert, now) and alert.reminders < counted
            is_same = alert.answered_at == look.alert.answered_at
            later = replace(alert, reminders=counted)
            while self._is_to_remind(later, now):
                later = replace(later, reminders=later.reminders + 1)  # those that are overdue come to one
            return follow.settled(later, look.first, self._rules.remind_seconds) if is_due and is_same else None

        alert = await self._alerts.change(ref, count)
        if alert is None:
            return
        message = cards.reminder(alert.remediation, self._rules.oncall, look.now - _since(alert))
        try:
            await self._board.post(message, thread_ts=ts, channel_id=alert.channel_id)
        except NotPosted as error:
            if not error.is_lasting:
                before, after = look.alert.reminders, alert.reminders

                def take_back(alert: Alert, _now: float) -> Alert | None:
                    return replace(alert, reminders=before, next_at=0.0) if alert.reminders == after else None

                await self._alerts.change(ref, take_back)
            raise
        self._telling.succeeded(ref)

    # What a dead process left, or Slack may have taken.

    async def find_orphans(self) -> None:
        """Look in the channel for cards that may stand there though nobody noted it, and post those that do not."""
        orphans, self._orphans = self._orphans, set()
        looks = [look for ref in orphans - self._to_repeat if (look := await self._alerts.look(ref))]
        ripe = [each for each in looks if each.alert.ts is None and each.alert.seen_at < each.now - ARRIVED_SECONDS]
        if not ripe:
            return
        for channel_id in sorted({each.alert.channel_id for each in ripe}):
            await self._find(channel_id, [each for each in ripe if each.alert.channel_id == channel_id])

    async def _find(self, channel_id: str, looks: Sequence[Look]) -> None:
        found = await self._board.find(min(each.alert.seen_at for each in looks) - HISTORY_BEFORE, channel_id)
        for look in looks:
            ref = look.alert.remediation.ref
            if found and (ts := found.cards.get(ref)):
                logger.info("%s: its card stands in the channel already", ref)
                await self._note(ref, look.first, lambda alert, ts=ts: replace(alert, ts=ts, drawn=""))  # type: ignore[misc] # mypy cannot see the default
            elif look.alert.waits:
                self._to_repeat.add(ref)
                self._to_post.put(ref)
            else:
                await self._alerts.forget(ref)
                self._book.drop(ref)


def _since(alert: Alert) -> float:
    created = alert.remediation.create_time
    return alert.waits_since or (created.timestamp() if created else alert.seen_at)
