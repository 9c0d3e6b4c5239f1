"""What a decision does at Together: read, send, read back. It tells nothing and records nothing but "a POST leaves"."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from bot import cards, metrics
from bot.clock import Clock, Pause
from bot.decisions.guardrails import Guardrails
from bot.decisions.preconditions import (
    comment,
    decided_by_other,
    mode_to_send,
    precondition_failure,
    success_notice,
    too_late_notice,
    was_approved_since,
)
from bot.errors import (
    CheckFailed,
    NoAnswer,
    NotFollowed,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    ReadFailed,
    StorageUnavailable,
    StoreDown,
    TogetherError,
    Unclear,
    WrongState,
)
from bot.models import (
    HOLD_SECONDS,
    LIFETIME,
    MAX_HOLD_SECONDS,
    RULES,
    About,
    Answer,
    Decided,
    Job,
    Manner,
    Message,
    Outcome,
    OutcomeKind,
    Place,
    Remark,
    Remediation,
    Shown,
    State,
    Verb,
)
from bot.mrkdwn import clock_time, escape, when
from bot.store import Approvals, DecisionStore
from bot.together import TogetherClient

logger = logging.getLogger(__name__)

READ_BACK_AFTER: Sequence[float] = (0, 2, 5)
REPEAT_AFTER = 15.0  # seconds after which a POST that was sent has either arrived or never will: the client's own limit
Result = tuple[Answer, Outcome]


class _Changed(Exception):
    """Not an error: it ends the attempts of a POST, since the remediation is no longer what was decided on."""

    def __init__(self, present: Remediation) -> None:
        super().__init__()
        self.present = present


class Executor:
    """Carries out one job at Together.

    Args:
        together: the API.
        guardrails: asked before an approval.
        store: where "a POST leaves now" is recorded before it leaves.
        approvals: what people agreed on before.
        clock: for waits and for what people read.
        config: of cards.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a decision touches
        self,
        together: TogetherClient,
        guardrails: Guardrails,
        store: DecisionStore,
        approvals: Approvals,
        clock: Clock,
        config: cards.CardConfig,
    ) -> None:
        self._together = together
        self._guardrails = guardrails
        self._store = store
        self._approvals = approvals
        self._clock = clock
        self._config = config

    async def look(self, job: Job) -> Result:
        """Read the remediation and draw it.

        Raises:
            CheckFailed: it can't be read.
        """
        try:
            present = await self._together.get(job.request.ref)
        except TogetherError as cause:
            raise CheckFailed(cause) from cause
        outcome = Outcome(OutcomeKind.READ, present.state)
        if claim := await self._store.claimed_by(job.request):
            # A decision has begun since the click: buttons drawn now could outlive its answer.
            notice = f"<@{claim.user_id}> has been {RULES[claim.verb].doing} this since {clock_time(claim.since)}."
            return await self._card(job, present, notice=notice, buttons=False), outcome
        return await self._card(job, present, decided=await self._decided(present)), outcome

    async def hold(self, job: Job) -> Result:
        """Keep the bot from reminding, and show everybody who asked for it and until when.

        Raises:
            NotFollowed: the bot did not post this remediation's alert.
            TogetherError: it cannot be read.
            StoreDown: it could not be written.
        """
        present = await self._together.get(job.request.ref)
        decided = await self._decided(present)
        if present.state not in RULES[Verb.HOLD].allowed:
            notice = f"Can't hold: it's already “{escape(cards.labels.state(present.state)[0], 90)}”."
            changed = Outcome(OutcomeKind.CHANGED, present.state)
            return await self._card(job, present, decided=decided, notice=notice), changed
        try:
            seconds = min(job.request.seconds or HOLD_SECONDS, MAX_HOLD_SECONDS)
            hold = await self._approvals.hold(present.ref, job.request.actor.user_id, seconds)
        except StorageUnavailable as error:
            raise StoreDown from error
        if hold is None:
            raise NotFollowed
        summary = f"on hold until {when(hold.until)} by <@{hold.user_id}>."
        answer = await self._card(job, present, decided=decided, summary=summary)
        return answer, Outcome(OutcomeKind.HELD, present.state)

    async def release(self, job: Job) -> Result:
        """End a hold, for anyone who may decide.

        Raises:
            TogetherError: the remediation can't be read.
            StoreDown: it could not be written.
        """
        present = await self._together.get(job.request.ref)
        try:
            is_released = await self._approvals.release(present.ref, job.request.actor.user_id)
        except StorageUnavailable as error:
            raise StoreDown from error
        notice = "" if is_released else "There was no hold to release."
        outcome = Outcome(OutcomeKind.RELEASED if is_released else OutcomeKind.CHANGED, present.state)
        return await self._card(job, present, decided=await self._decided(present), notice=notice), outcome

    async def _card(  # noqa: PLR0913 - what an answer says
        self,
        job: Job,
        present: Remediation,
        *,
        decided: Decided | None = None,
        notice: str = "",
        buttons: bool = True,
        summary: str = "",
    ) -> Answer:
        """Draw a remediation with all that the bot knows about it; `summary` says what the card shows anyway."""
        about, job.context = job.context, None
        if about is None:
            try:
                about = await self._approvals.about(present.ref)
            except StorageUnavailable:
                about = None
        if about:
            about = replace(about, vanished=False, hold=None if decided else about.hold)
        place = job.request.place
        if (
            about
            and (about.channel_id, about.ts) != (place.channel_id, place.message_ts)
            and not self._points(about, place)
        ):
            about = replace(about, called="")  # another message than the one that called calls nobody
        alert = place.original if place.is_foreign else None
        message = cards.card(
            present,
            decided=decided,
            notice=notice,
            buttons=buttons,
            about=about,
            config=self._config,
            is_beneath=alert is not None,
        )
        if alert:
            message = cards.decision_beneath(alert, message)
        remark = Remark(notice, buttons, decided, present.state, present.mode, self._clock.now())
        answer = Answer(Manner.CARD, message, remark, summary=notice or summary)
        if about is None or not self._points(about, place):
            return answer
        if not RULES[job.request.verb].decides and (place.is_home or place.thread_ts == about.ts):
            return replace(answer, card_ts=about.ts)  # the card says it, and its thread
        done = f"{RULES[job.request.verb].done} by <@{job.request.actor.user_id}>." if decided else ""
        said = notice or summary or done or f"{cards.labels.state(present.state)[0]}."
        return replace(answer, card_ts=about.ts, line=self._line(present, said, about, place))

    @classmethod
    def _points(cls, about: About, place: Place) -> bool:
        """Return whether the answer is a line that points at the remediation's own card, which is drawn again."""
        return not place.is_button and cls._has_card(about, place)

    @staticmethod
    def _has_card(about: About, place: Place) -> bool:
        """Return whether a remediation's own card is in the channel of a place."""
        return bool(about.ts) and about.channel_id == place.channel_id

    def _line(self, present: Remediation, said: str, about: About | None, place: Place) -> Message:
        """Return a result in a line, with a link to the card where that is in the same channel."""
        link = self._config.permalink(about.channel_id, about.ts) if about and self._has_card(about, place) else ""
        return cards.line(f"{escape(present.node, 100)}: {said}{f' <{link}|See the card>' if link else ''}")

    async def _decided(self, present: Remediation) -> Decided | None:
        """Who brought the remediation into its state through this bot, where that is known."""
        try:
            return await self._store.who_decided(present)
        except StorageUnavailable:
            return None

    async def decide(self, job: Job) -> Result:
        """Decide, and draw what has come of it. A job that another process began is gone on with.

        Raises:
            BotError: there is no remediation to show.
            LeaseLost: another process has taken the job over.
            StorageUnavailable: a POST may have left, and its repeat could not be written: leave the job for later.
        """
        if job.sent and not job.sent_now:
            return await self._resume(job)
        request = job.request
        seen: Shown | None = None
        if request.shown is not None:
            present = await self._read_before(job)
            if changed := await self._changed(job, request.shown, present):
                return changed
            if request.verb is Verb.APPROVE and (waiting := await self._guarded(job, present)):
                return waiting
            is_chosen = request.verb is Verb.APPROVE and request.instead_of is not None
            seen = Shown(request.shown.mode if is_chosen else present.mode, present.state)
        return await self._send(job, seen)

    async def _guarded(self, job: Job, present: Remediation) -> Result | None:
        """The card that waits for a second person, when this approval is the first of two."""
        try:
            first = await self._guardrails.check(job, present)
        except StorageUnavailable as error:
            raise StoreDown from error
        if first is None:
            return None
        job.context = None  # it doesn't have this approval yet
        summary = "1 of 2 approvals. One more operator must approve."
        return await self._card(job, present, summary=summary), Outcome(OutcomeKind.FIRST_OF_TWO, present.state)

    async def _changed(self, job: Job, shown: Shown, present: Remediation) -> Result | None:
        """The card to decide on anew, when it is no longer what was shown."""
        return (
            await self._decide_again(job, shown, present) if precondition_failure(job.request, shown, present) else None
        )

    async def _decide_again(self, job: Job, shown: Shown, present: Remediation) -> Result:
        decided = await self._decided(present)
        notice = precondition_failure(job.request, shown, present, decided)
        changed = Outcome(OutcomeKind.CHANGED, present.state)
        return await self._card(job, present, decided=decided, notice=notice), changed

    async def _resume(self, job: Job) -> Result:
        """Go on after a POST that may have been sent by a process that died.

        It is repeated only when it has had its time to arrive, and nothing has changed since it was sent.
        """
        assert job.sent is not None  # noqa: S101 - the caller asked
        request, rule, seen = job.request, RULES[job.request.verb], job.sent.seen
        since = await self._store.seconds_since(job.sent.at)
        sent_at = self._clock.now() - since
        present: Remediation | None = None
        for wait in (0.0, REPEAT_AFTER - since) if since < REPEAT_AFTER else (0.0,):
            if wait:
                await self._clock.sleep(wait, Pause.READ_BACK)
            try:
                present = await self._together.get(request.ref)
            except TogetherError:
                present = None
            if present and (settled := await self._settled(job, seen, present, sent_at)):
                return settled
        if present is None:
            raise OutcomeUnknown(rule.noun, NoAnswer())
        if seen and (changed := await self._changed(job, seen, present)):
            return changed
        if await self._store.seconds_since(job.received_at) > LIFETIME:
            return await self._not_in_effect(job, present, NoAnswer())
        return await self._send(job, seen)

    async def _read_before(self, job: Job) -> Remediation:
        try:
            return await self._together.get(job.request.ref)
        except NotReached:
            raise
        except TogetherError as cause:
            raise ReadFailed(RULES[job.request.verb].noun, cause) from cause

    async def _send(self, job: Job, seen: Shown | None) -> Result:
        may_have_left, sent_at = job.sent is not None, self._clock.now()
        left_before = may_have_left and not job.sent_now
        try:
            result = await self._call(job, seen)
        except (ReadFailed, NotReached, RateLimited) as cause:
            if left_before:
                # A process that died may have sent it, so "not sent" would say too much.
                raise OutcomeUnknown(RULES[job.request.verb].noun, NoAnswer()) from cause
            raise
        except StorageUnavailable as error:
            if may_have_left:
                raise
            raise StoreDown from error
        except _Changed as change:
            return await self._decide_again(job, seen or Shown(None, State.PENDING_APPROVAL), change.present)
        except WrongState as refusal:
            return await self._show_present(job, seen, refusal)
        except Unclear as cause:
            return await self._read_back(job, seen, cause, sent_at)
        return await self._success(job, seen, result)

    async def _call(self, job: Job, seen: Shown | None) -> Remediation:
        request, before_send = job.request, partial(self._before_send, job, seen)
        match request.verb:
            case Verb.APPROVE:
                mode, words = mode_to_send(seen), comment(request)
                return await self._together.approve(request.ref, comment=words, mode=mode, before_send=before_send)
            case Verb.REJECT:
                return await self._together.reject(request.ref, comment=comment(request), before_send=before_send)
            case Verb.CANCEL:
                return await self._together.cancel(request.ref, before_send=before_send)
            case Verb.REFRESH | Verb.HOLD | Verb.RELEASE:
                raise AssertionError("none of these is a decision")
            case _:
                assert_never(request.verb)

    async def _before_send(self, job: Job, seen: Shown | None, attempt: int) -> None:
        """Record that a POST leaves now, and look once more before one that repeats or can't name its mode.

        What is there when the POST arrives would run, whatever it has become, so nothing comes between look and POST.

        Raises:
            TogetherError: what must be seen first cannot be read.
            LimitReached: a repeated POST, here or after a takeover, must pass the guard rail again.
        """
        is_recorded, job.sent_now = job.sent_now, False
        is_repeat = attempt > 1 or (job.sent is not None and not is_recorded)
        is_approval = job.request.verb is Verb.APPROVE
        if is_repeat and is_approval:
            await self._guardrails.check_limit(job)
        if attempt > 1:
            await self._store.send_again(job)
        elif not is_recorded:
            await self._store.record_send(job, seen)
        if is_repeat or (is_approval and mode_to_send(seen) is None):
            present = await self._read_before(job)
            if seen is None:
                is_changed = was_approved_since(present, job.received_at)
            else:
                is_changed = bool(precondition_failure(job.request, seen, present))
            if is_changed:
                raise _Changed(present)
        logger.info("Sending", extra={"attempt": attempt})

    async def _success(self, job: Job, seen: Shown | None, result: Remediation) -> Result:
        request = job.request
        rule, notice = RULES[request.verb], success_notice(request, seen, result)
        came_in = result.http_status, result.request_id
        if result.state not in rule.effect:
            # An answer of 200 that does not show the effect is no success, whatever its status says.
            return await self._card(job, result, notice=notice, buttons=False), Outcome(
                OutcomeKind.NO_EFFECT_SHOWN, result.state, *came_in
            )
        if result.create_time:
            waited = max(0.0, self._clock.now() - result.create_time.timestamp())
            metrics.TIME_TO_DECISION.labels(request.verb.value).observe(waited)
        first = job.context.first if job.context and request.verb is Verb.APPROVE else None
        is_second = first is not None and seen is not None and first.mode == seen.mode
        first_user = first.user_id if first and is_second and first.user_id != request.actor.user_id else ""
        decided = Decided(request.verb, request.actor.user_id, self._clock.now(), request.reason, first_user=first_user)
        return await self._card(job, result, decided=decided, notice=notice), Outcome(
            OutcomeKind(rule.done), result.state, *came_in
        )

    async def _show_present(self, job: Job, seen: Shown | None, refusal: WrongState) -> Result:
        """Show a refused decision as what it usually is: somebody else was faster."""
        try:
            present = await self._together.get(job.request.ref)
        except TogetherError as cause:
            raise refusal from cause
        outcome = Outcome(OutcomeKind.REFUSED_FOR_STATE, present.state, refusal.http_status, refusal.request_id)
        decided, about = await self._decided(present), job.context
        notice = too_late_notice(job.request, seen, present, decided, refusal)
        answer = await self._card(job, present, decided=decided, notice=notice)
        if not job.request.place.is_button and present.state in RULES[job.request.verb].effect:
            # A command that was given before leaves the card as it is, and adds no second one.
            said = f"{notice[0].lower()}{notice[1:]}"
            answer = Answer(Manner.CARD, self._line(present, said, about, job.request.place), summary=notice)
        return answer, outcome

    async def _read_back(self, job: Job, seen: Shown | None, cause: Unclear, sent_at: float) -> Result:
        """Find out whether a decision without a clear answer took effect.

        Raises:
            OutcomeUnknown: it could not be read.
        """
        last: Result | None = None
        for seconds in READ_BACK_AFTER:
            if seconds:
                await self._clock.sleep(seconds, Pause.READ_BACK)
            try:
                present = await self._together.get(job.request.ref)
            except TogetherError:
                continue
            if settled := await self._settled(job, seen, present, sent_at):
                return settled
            last = await self._not_in_effect(job, present, cause)
        if last is None:
            raise OutcomeUnknown(RULES[job.request.verb].noun, cause)
        return last

    async def _settled(self, job: Job, seen: Shown | None, present: Remediation, sent_at: float) -> Result | None:
        """What a read-back shows for certain; None while the decision may still arrive."""
        request, rule = job.request, RULES[job.request.verb]
        if present.state in rule.effect and not decided_by_other(request, seen, present, sent_at):
            return await self._success(job, seen, present)
        if present.state in rule.allowed:
            return None
        decided = await self._decided(present)
        notice = too_late_notice(request, seen, present, decided)
        return await self._card(job, present, decided=decided, notice=notice), Outcome(
            OutcomeKind.TOO_LATE, present.state
        )

    async def _not_in_effect(self, job: Job, present: Remediation, cause: Unclear) -> Result:
        request = job.request
        notice = (
            f"<@{request.actor.user_id}>, your {RULES[request.verb].noun} hadn't taken effect as of "
            f"{clock_time(self._clock.now())}, but it still might. {cause.sentence} "
            'Press "Check again" before you decide anything else.'
        )
        outcome = Outcome(OutcomeKind.NOT_IN_EFFECT, present.state, cause.http_status, cause.request_id)
        return await self._card(job, present, notice=notice, buttons=False), outcome
