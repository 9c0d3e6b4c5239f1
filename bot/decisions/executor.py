"""What a decision does at Together: read, send, read back. It tells nothing and records nothing but "a POST leaves"."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple, assert_never

from bot import cards, metrics
from bot.clock import Clock, WaitReason
from bot.decisions.guardrails import Guardrails, paused
from bot.decisions.preconditions import (
    changes,
    changes_since,
    comment,
    mode_to_send,
    precondition_failure,
    success_notice,
    too_late_notice,
    took_effect,
)
from bot.errors import (
    AmbiguousResponse,
    CheckFailed,
    GuardrailRefusal,
    LeaseLost,
    MayBeDone,
    NoAnswer,
    NotAllowed,
    NotReached,
    NotTracked,
    OutcomeKind,
    OutcomeUnknown,
    RateLimited,
    ReadFailed,
    RefusedWithoutDatabase,
    StorageUnavailable,
    TogetherError,
    WrongState,
)
from bot.models import (
    HOLD_SECONDS,
    LIFETIME,
    MAX_HOLD_SECONDS,
    RULES,
    Answer,
    CardContext,
    CardNote,
    DecidedBy,
    Job,
    Message,
    Outcome,
    Remediation,
    ReplyKind,
    ReplyTarget,
    SeenState,
    Sent,
    State,
    Verb,
)
from bot.mrkdwn import clock_time, escape, when
from bot.store import Approvals, DecisionStore
from bot.store.decisions import SEND_WITHIN
from bot.together import TogetherClient

logger = logging.getLogger(__name__)

READ_BACK_AFTER: Sequence[float] = (0, 2, 5)
# Seconds after which a POST has either arrived or never will: the client gives up 15 s after it left, and "a POST
# leaves" was recorded a little earlier. Counted from the takeover, because the database's clock may have been set.
REPEAT_AFTER = 15.0 + SEND_WITHIN
LOOK_SECONDS = SEND_WITHIN - 1.0  # for the look between "a POST leaves" and the POST
Result = tuple[Answer, Outcome]


class _Changed(NamedTuple):
    """The remediation is no longer what was decided on, so no POST leaves; `what` as the end of a sentence."""

    present: Remediation
    what: str


@dataclass(slots=True)
class Executor:
    """Carries out one job at Together."""

    together: TogetherClient
    guardrails: Guardrails
    store: DecisionStore
    approvals: Approvals
    clock: Clock
    config: cards.CardConfig

    async def look(self, job: Job) -> Result:
        """Read the remediation and draw it.

        Raises:
            CheckFailed: it can't be read.
        """
        try:
            present = await self.together.get(job.request.ref)
        except TogetherError as cause:
            raise CheckFailed(cause) from cause
        outcome = Outcome(OutcomeKind.READ, present.state)
        if claim := await self.store.claimed_by(job.request):
            # A decision has begun since the click: buttons drawn now could outlive its answer.
            notice = f"<@{claim.user_id}> has been {RULES[claim.verb].doing} this since {clock_time(claim.since)}."
            return await self._card(job, present, notice=notice, buttons=False), outcome
        if doubt := await self._doubt(job, present):
            return await self._card(job, present, notice=doubt.notice, buttons=False), outcome
        return await self._card(job, present, decided=await self._decided(present)), outcome

    async def _doubt(self, job: Job, present: Remediation) -> CardNote | None:
        """What was said of a decision that may be on its way yet: that nothing has changed ends no such doubt."""
        job.card_context = await self._about(present)
        doubt = job.card_context.doubt if job.card_context else None
        if doubt is None or doubt.settles_at is None or doubt.settles_at <= self.clock.now():
            return None
        return doubt if (doubt.state, doubt.mode) == (present.state, present.mode) else None

    async def _about(self, present: Remediation) -> CardContext | None:
        try:
            return await self.approvals.about(present.ref)
        except StorageUnavailable:
            return None

    async def hold(self, job: Job) -> Result:
        """Keep the bot from reminding, and show everybody who asked for it and until when.

        Raises:
            NotTracked: the bot did not post this remediation's alert.
            TogetherError: it cannot be read.
            RefusedWithoutDatabase: it was not written.
            MayBeDone: it may have been.
        """
        present = await self.together.get(job.request.ref)
        decided = await self._decided(present)
        if present.state not in RULES[Verb.HOLD].allowed:
            notice = f"Can't hold: it's already “{escape(cards.labels.state(present.state)[0], 90)}”."
            changed = Outcome(OutcomeKind.CHANGED, present.state)
            return await self._card(job, present, decided=decided, notice=notice), changed
        try:
            seconds = min(job.request.seconds or HOLD_SECONDS, MAX_HOLD_SECONDS)
            hold = await self.approvals.hold(present.ref, job.request.actor.user_id, seconds)
        except StorageUnavailable as error:
            raise _not_kept(error, "put this on hold") from error
        if hold is None:
            raise NotTracked
        summary = f"on hold until {when(hold.until)} by <@{hold.user_id}>."
        answer = await self._card(job, present, decided=decided, summary=summary)
        return answer, Outcome(OutcomeKind.HELD, present.state)

    async def release(self, job: Job) -> Result:
        """End a hold, for anyone who may decide.

        Raises:
            TogetherError: the remediation can't be read.
            RefusedWithoutDatabase: it was not written.
            MayBeDone: it may have been.
        """
        present = await self.together.get(job.request.ref)
        try:
            is_released = await self.approvals.release(present.ref, job.request.actor.user_id)
        except StorageUnavailable as error:
            raise _not_kept(error, "release this hold") from error
        none = "It isn't on hold." if job.taken_over else "There was no hold to release."  # another process may have
        notice = "" if is_released else none
        outcome = Outcome(OutcomeKind.RELEASED if is_released else OutcomeKind.CHANGED, present.state)
        return await self._card(job, present, decided=await self._decided(present), notice=notice), outcome

    async def _card(  # noqa: PLR0913 - what an answer says
        self,
        job: Job,
        present: Remediation,
        *,
        decided: DecidedBy | None = None,
        notice: str = "",
        buttons: bool = True,
        summary: str = "",
    ) -> Answer:
        """Draw a remediation with all that the bot knows about it; `summary` says what the card shows anyway."""
        about, job.card_context = job.card_context, None
        if about is None:
            about = await self._about(present)
        if about:
            about = replace(about, is_unlisted=False, hold=None if decided else about.hold)
        place = job.request.place
        points = about is not None and self._links_to_card(about, place)
        is_copy = place.is_home and not points
        if about and not points and (about.channel_id, about.ts) != (place.channel_id, place.message_ts):
            is_copy = is_copy or bool(about.ts)
            about = replace(about, mentioned="")  # another message than the one that called calls nobody
        alert = place.original if place.is_foreign else None
        message = cards.card(
            present,
            decided=decided,
            notice=notice,
            buttons=buttons,
            about=about,
            config=self.config,
            is_beneath=alert is not None,
        )
        if alert:
            message = cards.decision_beneath(alert, message)
        elif is_copy:
            message = cards.without_decisions(message)  # only the card itself is kept current
        remark = CardNote(notice, buttons, decided, present.state, present.mode, self.clock.now())
        answer = Answer(ReplyKind.CARD, message, remark, summary=notice or summary)
        if about is None or not points:
            return answer
        if not RULES[job.request.verb].decides and (place.is_home or place.thread_ts == about.ts):
            return replace(answer, card_ts=about.ts)  # the card says it, and its thread
        done = f"{RULES[job.request.verb].done} by <@{job.request.actor.user_id}>." if decided else ""
        said = notice or summary or done or f"{cards.labels.state(present.state)[0]}."
        return replace(answer, card_ts=about.ts, line=self._line(present, said, about, place))

    @classmethod
    def _links_to_card(cls, about: CardContext, place: ReplyTarget) -> bool:
        """Return whether the answer is a line that points at the remediation's own card, which is drawn again."""
        return not place.is_button and cls._has_card(about, place)

    @staticmethod
    def _has_card(about: CardContext, place: ReplyTarget) -> bool:
        """Return whether a remediation's own card is in the channel of a place."""
        return bool(about.ts) and about.channel_id == place.channel_id

    def _line(self, present: Remediation, said: str, about: CardContext | None, place: ReplyTarget) -> Message:
        """Return a result in a line, with a link to the card where that is in the same channel."""
        link = self.config.permalink(about.channel_id, about.ts) if about and self._has_card(about, place) else ""
        return cards.line(f"{escape(present.node, 100)}: {said}{f' <{link}|See the card>' if link else ''}")

    async def _decided(self, present: Remediation) -> DecidedBy | None:
        """Who brought the remediation into its state through this bot, where that is known."""
        try:
            return await self.store.who_decided(present)
        except StorageUnavailable:
            return None

    async def decide(self, job: Job) -> Result:
        """Decide, and draw the result. Continue a job that another process began.

        Raises:
            BotError: there is no remediation to show.
            LeaseLost: another process has taken the job over, or may have.
            StorageUnavailable: a POST may have left, and its repeat could not be written: leave the job for later.
        """
        if job.sent and not job.send_is_recorded:
            return await self._resume(job, job.sent)
        request = job.request
        seen: SeenState | None = None
        if request.shown is not None:
            present = await self._read_before(job)
            if precondition_failure(job, request.shown, present):
                return await self._decide_again(job, request.shown, present)
            if request.verb is Verb.APPROVE and (waiting := await self._guarded(job, present)):
                return waiting
            is_chosen = request.verb is Verb.APPROVE and request.instead_of is not None
            seen = SeenState(request.shown.mode if is_chosen else present.mode, present.state, present.episode_key)
        return await self._send(job, seen, self.clock.now())

    async def _guarded(self, job: Job, present: Remediation) -> Result | None:
        """The card that waits for a second person, when this approval is the first of two."""
        try:
            first = await self.guardrails.check(job, present)
        except StorageUnavailable as error:
            raise RefusedWithoutDatabase from error
        if first is None:
            return None
        job.card_context = replace(job.card_context or CardContext(), first=first)
        summary = "1 of 2 approvals. One more operator must approve."
        outcome = Outcome(OutcomeKind.FIRST_OF_TWO, present.state, first=first)
        return await self._card(job, present, summary=summary), outcome

    async def _decide_again(self, job: Job, shown: SeenState, present: Remediation, what: str = "") -> Result:
        """The card to decide on again, when it is no longer what was shown."""
        decided = await self._decided(present)
        notice = precondition_failure(job, shown, present, decided, what)
        changed = Outcome(OutcomeKind.CHANGED, present.state)
        return await self._card(job, present, decided=decided, notice=notice), changed

    async def _resume(self, job: Job, sent: Sent) -> Result:
        """Go on after a POST that may have been sent by a process that died.

        It is repeated only when it has had its time to arrive, and nothing has changed since it was sent. Until it is
        seen to have taken effect, nothing but "it still might" is true of it.
        """
        request, rule = job.request, RULES[job.request.verb]
        seen = replace(sent.seen, episode=request.shown.episode if request.shown else None) if sent.seen else None
        sent_at = self.clock.now() - await self.store.seconds_since(sent.at)
        present: Remediation | None = None
        for wait in (0.0, REPEAT_AFTER):
            if wait:
                await self.clock.sleep(wait, WaitReason.READ_BACK)
            try:
                present = await self.together.get(request.ref)
            except TogetherError:
                present = None
            if present and (settled := await self._settled(job, seen, present, sent_at)):
                return settled
        if present is None:
            raise OutcomeUnknown(rule.noun, NoAnswer())
        if seen and (changed := changes(request, seen, present)):
            return await self._not_in_effect(job, present, f"It wasn't sent again: {changed}.")
        if await self.store.age(job) > LIFETIME:
            return await self._not_in_effect(job, present, NoAnswer().sentence)
        return await self._send(job, seen, sent_at, present)

    async def _read_before(self, job: Job) -> Remediation:
        try:
            return await self.together.get(job.request.ref)
        except NotReached:
            raise
        except TogetherError as cause:
            raise ReadFailed(RULES[job.request.verb].noun, cause) from cause

    async def _send(
        self, job: Job, seen: SeenState | None, sent_at: float, before: Remediation | None = None
    ) -> Result:
        """Send the POST, and find out its result.

        Args:
            seen: the remediation as it was read before the first POST; None for a typed command.
            sent_at: when that may have left, in Unix time in seconds.
            before: the remediation as it was just read, where the POST of an earlier process may be on its way: then
                no refusal is final.
        """
        may_have_left = job.sent is not None
        try:
            result = await self._post(job, seen)
        except StorageUnavailable as error:
            if may_have_left:
                raise
            raise RefusedWithoutDatabase from error
        except WrongState as refusal:
            return await self._show_present(job, seen, refusal, sent_at, is_repeat=before is not None)
        except AmbiguousResponse as cause:
            return await self._read_back(job, seen, cause, sent_at)
        except (GuardrailRefusal, NotAllowed, TogetherError) as no:
            if before is None:
                raise
            return await self._not_in_effect(job, before, f"It wasn't sent again: {_why(no)}")
        if isinstance(result, Remediation):
            return await self._success(job, seen, result)
        if before is None:
            shown = seen or SeenState(None, State.PENDING_APPROVAL)
            return await self._decide_again(job, shown, result.present, result.what)
        return await self._settled(job, seen, result.present, sent_at) or await self._not_in_effect(
            job, result.present, f"It wasn't sent again: {result.what}."
        )

    async def _post(self, job: Job, seen: SeenState | None) -> Remediation | _Changed:
        """Send the POST, again only where it certainly was not taken."""
        limited: RateLimited | None = None
        for attempt in count(1):
            if changed := await self._prepare(job, seen, attempt):
                return changed
            logger.info("Sending", extra={"attempt": attempt})
            try:
                return await self._send_once(job, seen)
            except (NotReached, RateLimited) as error:
                limited = error if isinstance(error, RateLimited) else limited
                wait = self.together.wait_before_repeat(error, attempt)
                if wait is None:
                    raise limited or error from None  # once a connection was made, "not reached" would say too much
            await self.clock.sleep(wait, WaitReason.RETRY)
        raise AssertionError("the attempts never end")

    async def _send_once(self, job: Job, seen: SeenState | None) -> Remediation:
        request = job.request
        match request.verb:
            case Verb.APPROVE:
                return await self.together.approve(request.ref, comment=comment(job), mode=mode_to_send(seen))
            case Verb.REJECT:
                return await self.together.reject(request.ref, comment=comment(job))
            case Verb.CANCEL:
                return await self.together.cancel(request.ref)
            case Verb.REFRESH | Verb.HOLD | Verb.RELEASE:
                raise AssertionError("none of these is a decision")
            case _:
                assert_never(request.verb)

    async def _prepare(self, job: Job, seen: SeenState | None, attempt: int) -> _Changed | None:
        """Record that a POST leaves now, and look once more before one that repeats or can't name its mode.

        A POST decides on what is there when it arrives, even if that has changed, so nothing comes between look
        and POST but a look at this process's own clock.

        Raises:
            TogetherError: what must be seen first cannot be read.
            GuardrailRefusal: a repeated POST, here or after a takeover, must pass the guard rails again; and approvals
                may have been paused while the others were asked.
            NotAllowed: the person may not any more.
            LeaseLost: all this took so long that another process may have the job.
        """
        is_recorded, job.send_is_recorded = job.send_is_recorded, False
        is_repeat = attempt > 1 or (job.sent is not None and not is_recorded)
        is_approval = job.request.verb is Verb.APPROVE
        if is_repeat and is_approval:
            await self.guardrails.check_again(job, (seen.mode if seen else None) or "")
        if not is_recorded:
            await self.guardrails.check_person(job)
        if is_recorded and attempt == 1:
            pause = None
        elif attempt > 1:
            pause = await self.store.send_again(job)
        else:
            pause = await self.store.record_send(job, seen)
        if pause:
            raise paused(pause)
        is_blind = seen is not None and not (is_approval and mode_to_send(seen))
        if (is_repeat or is_blind) and (changed := await self._look_again(job, seen)):
            return changed
        if not self.store.may_send(job):
            raise LeaseLost
        return None

    async def _look_again(self, job: Job, seen: SeenState | None) -> _Changed | None:
        try:
            async with self.clock.timeout(LOOK_SECONDS):
                present = await self._read_before(job)
        except TimeoutError as error:
            raise ReadFailed(RULES[job.request.verb].noun, NoAnswer()) from error
        if seen is None:
            typed_at = self.clock.now() - await self.store.age(job)
            changed = changes_since(job.request, typed_at, present)
        else:
            changed = changes(job.request, seen, present)
        return _Changed(present, changed) if changed else None

    async def _success(
        self, job: Job, seen: SeenState | None, result: Remediation, *, is_read_back: bool = False
    ) -> Result:
        request, is_sure = job.request, not (is_read_back and job.request.verb is Verb.CANCEL)
        rule, notice = RULES[request.verb], success_notice(request, seen, result)
        came_in = result.http_status, result.request_id
        if result.state not in rule.effect and not took_effect(job, seen, result, self.clock.now()):
            # An answer of 200 that does not show the effect is no success.
            return await self._card(job, result, notice=notice, buttons=False), Outcome(
                OutcomeKind.NO_EFFECT_SHOWN, result.state, *came_in
            )
        if result.create_time:
            waited = max(0.0, self.clock.now() - result.create_time.timestamp())
            metrics.TIME_TO_DECISION.labels(request.verb.value).observe(waited)
        first = job.card_context.first if job.card_context and request.verb is Verb.APPROVE else None
        is_second = first is not None and seen is not None and first.mode == seen.mode
        first_user = first.user_id if first and is_second and first.user_id != request.actor.user_id else ""
        at, by = self.clock.now(), request.actor.user_id
        decided = DecidedBy(request.verb, by, at, request.reason, first_user=first_user, is_sure=is_sure)
        return await self._card(job, result, decided=decided, notice=notice), Outcome(
            OutcomeKind(rule.done), result.state, *came_in
        )

    async def _show_present(
        self, job: Job, seen: SeenState | None, refusal: WrongState, sent_at: float, *, is_repeat: bool
    ) -> Result:
        """Show a refused decision as what it usually is: somebody else was faster, or this very decision was.

        A gateway may have repeated the POST, or the one of a process that died has arrived. A cancellation leaves no
        trace of whose it is, so the first one that is refused is called somebody else's.
        """
        try:
            present = await self.together.get(job.request.ref)
        except TogetherError as cause:
            if is_repeat:
                raise OutcomeUnknown(RULES[job.request.verb].noun, cause) from cause
            raise refusal from cause
        is_told_apart = is_repeat or job.request.verb is not Verb.CANCEL
        if is_told_apart and took_effect(job, seen, present, sent_at):
            return await self._success(job, seen, present, is_read_back=True)
        if is_repeat and present.state in RULES[job.request.verb].allowed:
            return await self._not_in_effect(job, present, f"Together refused to take it again: “{refusal.sentence}”")
        outcome = Outcome(OutcomeKind.REFUSED_FOR_STATE, present.state, refusal.http_status, refusal.request_id)
        decided, about = await self._decided(present), job.card_context
        notice = too_late_notice(job, seen, present, decided, refusal)
        answer = await self._card(job, present, decided=decided, notice=notice)
        if not job.request.place.is_button and present.state in RULES[job.request.verb].effect:
            # A command that was given before leaves the card as it is, and adds no second one.
            said = f"{notice[0].lower()}{notice[1:]}"
            answer = Answer(ReplyKind.CARD, self._line(present, said, about, job.request.place), summary=notice)
        return answer, outcome

    async def _read_back(self, job: Job, seen: SeenState | None, cause: AmbiguousResponse, sent_at: float) -> Result:
        """Find out whether a decision without a clear answer took effect.

        Raises:
            OutcomeUnknown: it could not be read.
        """
        last: Result | None = None
        for seconds in READ_BACK_AFTER:
            if seconds:
                await self.clock.sleep(seconds, WaitReason.READ_BACK)
            try:
                present = await self.together.get(job.request.ref)
            except TogetherError:
                continue
            if settled := await self._settled(job, seen, present, sent_at):
                return settled
            last = await self._not_in_effect(job, present, cause.sentence, cause)
        if last is None:
            raise OutcomeUnknown(RULES[job.request.verb].noun, cause)
        return last

    async def _settled(self, job: Job, seen: SeenState | None, present: Remediation, sent_at: float) -> Result | None:
        """What a read-back shows for certain; None while the decision may still arrive."""
        rule = RULES[job.request.verb]
        if took_effect(job, seen, present, sent_at):
            return await self._success(job, seen, present, is_read_back=True)
        if present.state in rule.allowed or present.state not in set(State):
            return None
        decided = await self._decided(present)
        notice = too_late_notice(job, seen, present, decided)
        return await self._card(job, present, decided=decided, notice=notice), Outcome(
            OutcomeKind.TOO_LATE, present.state
        )

    async def _not_in_effect(
        self, job: Job, present: Remediation, why: str, cause: TogetherError | None = None
    ) -> Result:
        request = job.request
        notice = (
            f"<@{request.actor.user_id}>, your {RULES[request.verb].noun} hadn't taken effect as of "
            f"{clock_time(self.clock.now())}, but it still might. {why} "
            'Press "Check again" before you decide anything else.'
        )
        known = (cause.http_status, cause.request_id) if cause else ()
        outcome = Outcome(OutcomeKind.NOT_IN_EFFECT, present.state, *known)
        return await self._card(job, present, notice=notice, buttons=False), outcome


def _not_kept(error: StorageUnavailable, what: str) -> RefusedWithoutDatabase | MayBeDone:
    """Return that the bot's own database didn't keep something, or may have."""
    return MayBeDone(what) if error.in_doubt else RefusedWithoutDatabase()


def _why(no: GuardrailRefusal | NotAllowed | TogetherError) -> str:
    """Return why a POST isn't repeated, without a word on what the first one did."""
    if isinstance(no, GuardrailRefusal):
        return no.why
    if isinstance(no, NotAllowed):
        return "you're no longer allowed to decide."
    cause = no.cause if isinstance(no, ReadFailed) else no
    return cause.sentence.removesuffix(" Nothing was changed.")
