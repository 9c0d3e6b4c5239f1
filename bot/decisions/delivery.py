"""How a recorded answer reaches its reader, and the alert's card."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from bot import cards
from bot.decisions.storing import Storing
from bot.errors import StorageUnavailable
from bot.models import RULES, Answer, Delivery, Job, Message, Messenger, ReplyKind
from bot.store import DecisionStore, approvals

logger = logging.getLogger(__name__)

DELIVER_SECONDS = 86_400.0  # so long an answer that Slack didn't take is tried again
DELIVER_AFTER = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(slots=True)
class AnswerDelivery:
    """Tells people the answers to their requests."""

    messenger: Messenger
    store: DecisionStore
    storing: Storing

    async def deliver(self, job: Job, answer: Answer) -> None:
        """Deliver a recorded answer. What Slack doesn't take is tried again, by this process or another.

        Raises:
            LeaseLost: another process has taken it over.
            StorageUnavailable: whether that is so can't be asked.
        """
        await self.store.ensure_held(job)  # else another process has told it, or will
        if await self.tell(job, answer):
            logger.info("Answered")
            await self.storing.forever(partial(self.store.finish, job))
            return
        age = 0.0 if job.answered_at is None else await self.store.seconds_since(job.answered_at)
        if age > DELIVER_SECONDS:
            logger.error("Slack didn't take the answer for 24 h; giving up")
            await self.storing.forever(partial(self.store.finish, job, delivered=False))
            return
        seconds = DELIVER_AFTER[min(job.deliveries, len(DELIVER_AFTER) - 1)]
        logger.warning("Slack didn't take the answer; retrying in %d s", seconds)
        await self.storing.forever(partial(self.store.postpone, job, seconds))

    async def tell(self, job: Job, answer: Answer) -> bool:
        """Say it in Slack. Returns whether Slack took it."""
        place, verb = job.request.place, job.request.verb
        if job.request.batch_id is not None and answer.manner is not ReplyKind.WHISPER:
            return True  # the digest tells it
        match answer.manner:
            case ReplyKind.CARD:
                shown_at = replace(place, message_ts=answer.card_ts, in_progress=False) if answer.card_ts else place
                delivery = await self.messenger.answer(shown_at, answer.message)
                # What takes no claim, or wasn't taken by Slack at first, may be answered late, over something newer.
                is_late = job.deliveries > 0 or job.taken_over or not RULES[verb].decides
                may_overwrite = place.may_overwrite or delivery.may_overwrite or job.taken_over
                if may_overwrite or is_late or not (delivery.is_told and delivery.is_in_place):
                    await self._mark_stale(job, may_overwrite=may_overwrite)
                if answer.line and delivery.is_told and delivery.is_in_place:  # else the whole card was told
                    delivery = await self.messenger.answer(place, answer.line)
                return delivery.is_told
            case ReplyKind.ERROR:
                delivery = await self.messenger.reply(place, answer.message, self._after_failure(job, answer))
            case ReplyKind.WHISPER:
                delivery = Delivery(await self.messenger.reply_privately(place, answer.message, once=True))
            case _:
                assert_never(answer.manner)
        if place.in_progress or job.taken_over or delivery.may_overwrite:
            # What stood there before was put back, perhaps over something newer, and perhaps not at once.
            await self._mark_stale(job, may_overwrite=True)
        return delivery.is_told

    def _after_failure(self, job: Job, answer: Answer) -> Message | None:
        """Return what the clicked message shows after an error; None where something newer may be there.

        What isn't recorded yet is only told in the thread: it may turn out otherwise.
        """
        place, is_late = job.request.place, job.deliveries > 0 or job.taken_over
        if job.answer is None or is_late or place.original is None or answer.remark is None:
            return None
        return cards.after_failure(place, job.request.ref, answer.remark)

    async def _mark_stale(self, job: Job, *, may_overwrite: bool) -> None:
        """The alert's card may be out of date now: let it be drawn again."""
        try:
            await self.store.database.run(approvals.mark_stale, job.request.ref, may_overwrite=may_overwrite)
        except StorageUnavailable as error:
            logger.warning("Couldn't mark a card as out of date: %s", error)
