"""What people are told: a verdict or an error, drawn as a card, a line, or both, and how it reaches them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import assert_never
from weakref import WeakValueDictionary

from bot import cards
from bot.clock import Clock, WaitReason
from bot.decisions.storing import forever, or_none
from bot.decisions.verdict import Verdict
from bot.errors import BotError, NotAttempted, OutcomeKind, StorageUnavailable
from bot.models import (
    NOTHING_KNOWN,
    Answer,
    CardContext,
    CardNote,
    Delivery,
    Job,
    Message,
    Messenger,
    Outcome,
    Remediation,
    ReplyKind,
    ReplyTarget,
)
from bot.mrkdwn import escape
from bot.store import DecisionStore, rows

logger = logging.getLogger(__name__)

DELIVER_SECONDS = 86_400.0  # so long an answer that Slack didn't take is tried again
DELIVER_AFTER = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


async def until_taken(clock: Clock, tell: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Say what no row says, as long as Slack doesn't take it: no other process would; again after `seconds`."""
    give_up_at = clock.monotonic() + DELIVER_SECONDS
    while not await tell() and clock.monotonic() < give_up_at:
        await clock.sleep(seconds, WaitReason.TELL_AGAIN)


@dataclass(slots=True)
class Answers:
    """Draws the answer to a request, and delivers it where it was asked for."""

    messenger: Messenger
    store: DecisionStore
    clock: Clock
    config: cards.CardConfig
    _drawing: WeakValueDictionary[object, asyncio.Lock] = field(default_factory=WeakValueDictionary, init=False)

    async def of(self, job: Job, verdict: Verdict) -> Answer:
        """Draw a verdict with all that the bot knows about the remediation, as of the claim where nothing is newer."""
        request = job.request
        place = request.place
        present = verdict.present
        about = verdict.about or job.about
        if about is NOTHING_KNOWN:
            about = await or_none(self.store.database.read(rows.card_context, present.ref)) or about
        if not (present.mode or present.is_waiting):  # what an answer leaves out didn't change
            present = present.model_copy(update={"mode": job.seen.mode or request.saw.mode or about.mode})
        # Where the remediation's own card is in this channel, it is drawn again, and a line points at it.
        card_ts = "" if place.is_button or about.channel_id != place.channel_id else about.ts
        if verdict.was_so_before:
            said = f"{verdict.notice[0].lower()}{verdict.notice[1:]}"
            return Answer(ReplyKind.CARD, self._line(present, said, about, card_ts), summary=verdict.notice)
        hold = None if verdict.decided else about.hold
        about = replace(about, is_unlisted=False, is_just_read=True, hold=hold)
        note = CardNote(
            notice=verdict.notice, buttons=verdict.buttons, decided=verdict.decided,
            state=present.state, mode=present.mode, at=self.clock.now(), updated=present.update_time,
        )  # fmt: skip
        summary = verdict.summary or verdict.notice
        apparently = "" if verdict.decided and verdict.decided.is_sure else ", apparently"
        done = f"{request.rule.done}{apparently} by {verdict.decided.people}." if verdict.decided else ""
        said = summary or done or f"{cards.labels.state(present.state)[0]}."
        if is_elsewhere(about, place) and verdict.kind is not OutcomeKind.READ:
            pointer = cards.pointer(present, said, about, self.config)  # it was the card before, and says so
            return Answer(ReplyKind.CARD, pointer, note, summary=summary)
        is_kept = bool(card_ts) or (about.channel_id, about.ts) == (place.channel_id, place.message_ts)
        if not is_kept:
            about = replace(about, mentioned="")  # another message than the one that called calls nobody
        card = cards.card(
            present, decided=verdict.decided, notice=verdict.notice, buttons=verdict.buttons, about=about,
            config=self.config, is_beneath=place.is_foreign,
        )  # fmt: skip
        if not place.is_foreign and not is_kept and (about.ts or place.is_home):
            card = cards.without_decisions(card)  # only the card itself is kept current
        answer = Answer(ReplyKind.CARD, card, note, summary=summary, card_ts=card_ts)
        is_in_thread = place.thread_ts == card_ts and verdict.kind is OutcomeKind.HELD
        if not card_ts or (not request.rule.decides and (place.is_home or is_in_thread)):
            return answer  # the card says it, and its thread
        return replace(answer, line=self._line(present, said, about, card_ts))

    def of_failure(self, job: Job, error: BotError) -> tuple[Answer, Outcome]:
        """Draw an error, and a line for the card: it must not look untouched, also where something else was clicked."""
        request = job.request
        rule = request.rule
        about = job.about
        summary = error.said_to_all(rule.noun, f"The {rule.noun}")
        outcome = Outcome(error.code, settled_by=error)
        if isinstance(error, NotAttempted):
            return Answer(ReplyKind.WHISPER, cards.private(error), summary=summary), outcome
        logger.warning("%s", error)
        console = cards.link(self.config.console_url, request.ref)
        message = cards.failure(error, request, about.node, console)
        answer = Answer(ReplyKind.ERROR, message, summary=summary)
        if not rule.decides or not job.is_active or request.batch_id:
            return answer, outcome
        now, shown = self.clock.now(), request.saw
        card_ts = about.ts if about.channel_id == request.place.channel_id and not request.place.is_button else ""
        mode = request.instead_of or shown.mode or ""  # the remediation's, rather than one that was chosen for it
        said, is_sure = cards.failed(request, error, now), not error.code.is_doubtful
        note = CardNote(
            notice=said, buttons=is_sure, decided=None, state=shown.state or "", mode=mode, at=now, is_error=True
        )
        return replace(answer, remark=note, card_ts=card_ts), outcome

    def _line(self, present: Remediation, said: str, about: CardContext, card_ts: str) -> Message:
        """Return a result in a line, with a link to the card where that is in the same channel."""
        link = self.config.permalink(about.channel_id, card_ts) if card_ts else ""
        return cards.line(f"{escape(present.node, 100)}: {said}{f' <{link}|See the card>' if link else ''}")

    async def deliver(self, job: Job, answer: Answer) -> None:
        """Deliver a recorded answer. What Slack doesn't take is tried again, by this process or another.

        Raises:
            LeaseLost: another process has taken it over.
            StorageUnavailable: whether that is so can't be asked.
        """
        await self.store.ensure_held(job)  # else another process has told it, or will
        end = partial(self.store.finish, job)
        if await self.tell(job, answer):
            logger.info("Answered")
        elif (
            job.failed_deliveries >= len(DELIVER_AFTER)  # after days without a bot, one failure doesn't say much
            and await self.store.seconds_since(job.answered_at) > DELIVER_SECONDS
        ):
            logger.error("Slack didn't take the answer for 24 h; giving up")
            end = partial(self.store.finish, job, delivered=False)
        else:
            seconds = DELIVER_AFTER[min(job.failed_deliveries, len(DELIVER_AFTER) - 1)]
            logger.warning("Slack didn't take the answer; retrying in %d s", seconds)
            end = partial(self.store.postpone, job, seconds)
        await forever(self.clock, end)

    async def tell(self, job: Job, answer: Answer) -> bool:
        """Say it in Slack. Returns whether Slack took it."""
        place = job.request.place
        is_of_batch = job.request.batch_id is not None
        if is_of_batch and self.store.has_digests and answer.manner is not ReplyKind.WHISPER:
            return True  # the digest shows it
        is_late = job.failed_deliveries > 0 or job.taken_over  # something newer may be where the answer goes
        match answer.manner:
            case ReplyKind.CARD:
                if place.is_foreign:
                    delivery = await self._beneath(job, answer, is_late=is_late)
                else:
                    shown_at = replace(place, message_ts=answer.card_ts) if answer.card_ts else place
                    delivery = await self.messenger.answer(shown_at, answer.message)
                is_late = is_late or not job.request.rule.decides  # what takes no claim may be too
                may_overwrite = place.may_overwrite or delivery.may_overwrite or job.taken_over
                if may_overwrite or is_late or not (delivery.is_told and delivery.is_in_place):
                    await self._mark_stale(job, may_overwrite=may_overwrite)
                if answer.line and delivery.is_told and delivery.is_in_place:
                    delivery = await self.messenger.answer(place, answer.line)
                return delivery.is_told
            case ReplyKind.ERROR:
                async with self.drawing(place):
                    place = await self.as_it_is(job)
                    on_card = None if is_late else self._after_failure(job, answer, place)
                    delivery = await self.messenger.reply(place, answer.message, on_card)
            case ReplyKind.WHISPER:
                async with self.drawing(place):
                    place = await self.as_it_is(job) if place.in_progress else place
                    delivery = Delivery(await self.messenger.reply_privately(place, answer.message, once=True))
            case _:
                assert_never(answer.manner)
        if place.in_progress or job.taken_over or delivery.may_overwrite:
            # What stood there before was put back, perhaps over something newer, and perhaps not at once.
            await self._mark_stale(job, may_overwrite=True)
        return delivery.is_told

    def drawing(self, place: ReplyTarget) -> AbstractAsyncContextManager[object]:
        """Let one at a time draw another tool's alert, which nothing else does: no edit must undo another one."""
        if not place.is_foreign:
            return nullcontext()
        return self._drawing.setdefault((place.channel_id, place.message_ts), asyncio.Lock())

    async def as_it_is(self, job: Job) -> ReplyTarget:
        """Return where it was asked; another tool's alert as it is by now, without this job's "in progress"."""
        before = job.request.place
        if not before.is_foreign:
            return before
        now = await self.messenger.reread(before)
        if not before.in_progress or before.original is None or now.original is None:
            return now
        return replace(now, original=cards.put_back(now.original, before.original, job.request.ref))

    async def _beneath(self, job: Job, answer: Answer, *, is_late: bool) -> Delivery:
        """Show a card beneath another tool's alert, as that is by now; in its thread where it has something newer."""
        ref, place = job.request.ref, job.request.place
        async with self.drawing(place):
            now = await self.as_it_is(job)
            if now.original is None or (is_late and await self.store.is_answered_since(job, job.answered_at)):
                in_thread = replace(place, is_button=False, message_ts=None)
                return await self.messenger.answer(in_thread, cards.as_copy(answer.message))
            beneath = cards.decision_beneath(now.original, answer.message, ref)
            return await self.messenger.answer(now, beneath, answer.message)

    async def tell_failure(self, job: Job, error: BotError) -> bool:
        """Say what isn't recorded: that nothing is certain, or that it can't be recorded at all."""
        answer, _ = self.of_failure(job, error)
        return await self.tell(job, answer)

    async def tell_until_taken(self, job: Job, error: BotError) -> None:
        """Say what no row says, as `until_taken` does."""
        await until_taken(self.clock, partial(self.tell_failure, job, error), DELIVER_AFTER[-1])

    def _after_failure(self, job: Job, answer: Answer, place: ReplyTarget) -> Message | None:
        """Return what the clicked message shows after an error; None where it stays as it is.

        What isn't recorded yet is only told in the thread: it may turn out otherwise.
        """
        if job.answer is None or place.original is None or answer.remark is None or is_elsewhere(job.about, place):
            return None
        return cards.after_failure(place, job.request.ref, answer.remark)

    async def _mark_stale(self, job: Job, *, may_overwrite: bool) -> None:
        """Have the alert's card drawn again: it may be out of date now."""
        try:
            await self.store.database.run(rows.mark_stale, job.request.ref, may_overwrite=may_overwrite)
        except StorageUnavailable as error:
            logger.warning("Couldn't mark a card as out of date: %s", error)


def is_elsewhere(about: CardContext, place: ReplyTarget) -> bool:
    """Return whether a message of the bot was pressed that isn't the remediation's card any more, but points to it."""
    is_own = place.is_button and not place.is_foreign
    return is_own and bool(about.ts) and (about.channel_id, about.ts) != (place.channel_id, place.message_ts)
