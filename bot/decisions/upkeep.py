"""What a card offers that decides nothing: check again, hold, and release."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TypeVar

from bot import cards
from bot.clock import Clock
from bot.decisions.preconditions import OPENED_AGAIN, is_of_another_episode
from bot.decisions.storing import or_none, who_decided
from bot.decisions.verdict import Verdict
from bot.errors import (
    CheckFailed,
    MayBeDone,
    NotTracked,
    OutcomeKind,
    ReadFailed,
    RefusedWithoutDatabase,
    StorageUnavailable,
    TogetherError,
)
from bot.models import HOLD_SECONDS, MAX_HOLD_SECONDS, RULES, Job, Verb
from bot.mrkdwn import clock_time, when
from bot.store import DecisionStore, approvals, rows
from bot.together import TogetherClient

T = TypeVar("T")


@dataclass(slots=True)
class Upkeep:
    """Reads a remediation, and keeps what people agree on before a decision."""

    together: TogetherClient
    store: DecisionStore
    clock: Clock

    async def carry_out(self, job: Job) -> Verdict:
        """Do what was asked for; without buttons where a decision that somebody has begun may still take effect.

        May raise a BotError.
        """
        began = self.clock.monotonic()
        verdict = await self._look(job)
        if job.request.verb is not Verb.REFRESH:
            change = {Verb.HOLD: self._hold, Verb.RELEASE: self._release}[job.request.verb]
            verdict = await change(job, verdict)
        known = await or_none(self.store.database.read(approvals.claim_and_context, job.request.ref))
        if known is None:
            return replace(verdict, buttons=False)  # nobody can say, and what is done must be answered
        claim, about = known
        doubt = about.doubt
        asked_at = about.now - (self.clock.monotonic() - began)  # by the clock that says when the doubt began
        if claim:
            # A decision has begun since the click: buttons drawn now could outlive its answer.
            said = f"<@{claim.user_id}> has been {RULES[claim.verb].doing} this since {clock_time(claim.since)}."
        elif doubt and doubt.applies_to(verdict.present) and doubt.settles_at > asked_at:
            # It was said of a decision that may have arrived after this look: that nothing has changed ends no doubt.
            said = cards.labels.still_unconfirmed(doubt.notice, self.clock.now())
        else:
            return replace(verdict, about=about)
        return replace(verdict, notice=f"{verdict.notice} {said}".lstrip(), buttons=False, about=about)

    async def _look(self, job: Job) -> Verdict:
        """Read the remediation, again where a decision on it was answered since: this may be from before it.

        Raises:
            CheckFailed: it can't be read, which was all that was asked for.
            ReadFailed: it can't be read.
        """
        try:
            present = await self.together.get(job.request.ref)
            if await or_none(self.store.is_answered_since(job, job.received_at)) is not False:
                present = await self.together.get(job.request.ref)
        except TogetherError as cause:
            is_look, noun = job.request.verb is Verb.REFRESH, job.request.rule.noun
            raise (CheckFailed(cause) if is_look else ReadFailed(noun, cause)) from cause
        return Verdict(OutcomeKind.READ, present, await who_decided(self.store.database, present))

    async def _hold(self, job: Job, read: Verdict) -> Verdict:
        """Keep the bot from reminding, and show everybody who asked for it and until when.

        Raises:
            NotTracked: the bot did not post this remediation's alert.
            RefusedWithoutDatabase: it was not written.
            MayBeDone: it may have been.
        """
        request = job.request
        seconds = min(request.seconds or HOLD_SECONDS, MAX_HOLD_SECONDS)
        if await or_none(self.store.is_released_since(job)):
            return replace(read, kind=OutcomeKind.CHANGED, notice="Not held: the hold was released since you asked.")
        for is_certain in (False, True):
            if not read.present.is_waiting:
                return replace(read, kind=OutcomeKind.CHANGED, notice=cards.too_late(Verb.HOLD, read.present.state))
            if await self._may_be_old(job) and is_of_another_episode(request, request.saw, read.present):
                return replace(read, kind=OutcomeKind.CHANGED, notice=f"Not held: {OPENED_AGAIN}.")
            asked = request.ref, request.actor, seconds, request.reason
            is_at_least = request.seconds is None  # no time was asked for
            change = self.store.database.run(
                approvals.hold, *asked, even_if_over=is_certain, is_at_least=is_at_least, asked_at=job.received_at
            )
            if hold := await _kept(change, "put this on hold"):
                said = f"put on hold until {when(hold.until)} by {cards.asked_to_wait(hold)}"
                return replace(read, kind=OutcomeKind.HELD, summary=said)
            read = await self._look(job)  # it may have ended since it was read
        raise NotTracked

    async def _may_be_old(self, job: Job) -> bool:
        """Return whether somebody may have seen an earlier incident: who presses the menu of the card sees it as it is.

        A dialog may have been open for long, or a process have died; Home, or a card that takes no edits, may be old.
        """
        place = job.request.place
        if place.is_dialog or job.taken_over or not place.is_button:
            return True
        about = await or_none(self.store.database.read(rows.card_context, job.request.ref))
        return about is None or (about.channel_id, about.ts) != (place.channel_id, place.message_ts)

    async def _release(self, job: Job, read: Verdict) -> Verdict:
        """End a hold, for anyone who may decide.

        Raises:
            RefusedWithoutDatabase: it was not written.
            MayBeDone: it may have been.
        """
        ref, user_id, holds = job.request.ref, job.request.actor.user_id, frozenset(job.request.saw.holds or ())
        change = self.store.database.run(approvals.release, ref, user_id, holds)
        if await _kept(change, "release this hold"):
            return replace(read, kind=OutcomeKind.RELEASED)
        notice = "It isn't on hold." if job.taken_over else "There was no hold to release."  # another process may have
        about = await or_none(self.store.database.read(rows.card_context, ref))
        if about and about.hold:
            notice = f"<@{user_id}>, nothing was released: the hold has changed since you saw it."
        return replace(read, kind=OutcomeKind.CHANGED, notice=notice)


async def _kept(change: Awaitable[T], request: str) -> T:
    """Return what the bot's own database says of a change.

    Raises:
        RefusedWithoutDatabase: it was not written.
        MayBeDone: it may have been.
    """
    try:
        return await change
    except StorageUnavailable as error:
        raise (MayBeDone(request) if error.in_doubt else RefusedWithoutDatabase()) from error
