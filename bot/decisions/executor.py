"""What a decision does at Together: look, send, repeat. It draws nothing, and writes only that a POST leaves."""

import logging
import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bot.clock import WaitReason
from bot.decisions.guardrails import Guardrails, first_is_over, paused_error
from bot.decisions.preconditions import body_to_send, changes, changes_since, mode_to_send, precondition_failure
from bot.decisions.verdict import Judge, Verdict
from bot.errors import (
    AmbiguousResponse,
    Expired,
    GuardrailRefusal,
    LeaseLost,
    NoAnswer,
    NotAllowed,
    NotReached,
    Observing,
    OutcomeKind,
    OutcomeUnknown,
    RateLimited,
    ReadFailed,
    RefusedWithoutDatabase,
    StorageUnavailable,
    TogetherError,
    WrongState,
)
from bot.models import LIFETIME, Pause, Remediation, SeenState, Verb
from bot.store.ownership import SEND_WITHIN

logger = logging.getLogger(__name__)

# Seconds after which a POST has either arrived or never will: the client gives up 15 s after it left, and "a POST
# leaves" was recorded a little earlier. Counted from the takeover, because the database's clock may have been set.
REPEAT_AFTER = 15.0 + SEND_WITHIN
# A look that is older when a POST is to leave is repeated: one takes 10 s at most (the client gives up then), so the
# machine was suspended, or the guard rails took long.
_FRESH_SECONDS = 15.0
_AT_ONCE = 0.3  # seconds between the last look and a POST that cannot name its mode
LOOK_SECONDS = SEND_WITHIN - 1.0  # for the look between "a POST leaves" and the POST
_CUT_OFF = NoAnswer("The bot was interrupted before it had Together's answer.")


class _Changed(NamedTuple):
    """The remediation is no longer what was decided on, so no POST leaves; `what` as the end of a sentence."""

    present: Remediation
    what: str


@dataclass(slots=True)
class Executor(Judge):
    """Carries out one decision at Together, and judges its result."""

    guardrails: Guardrails
    _looked_at: float = field(default=math.inf, init=False)  # on this process's monotonic clock
    _present: Remediation = field(init=False)  # as it was last read before a POST; a command's first one reads nothing

    async def decide(self) -> Verdict:
        """Decide, or continue what another process began.

        Raises:
            BotError: there is no remediation to show.
            LeaseLost: another process has taken the job over, or may have.
            StorageUnavailable: a POST may have left, and its repeat could not be written: leave the job for later.
        """
        job = self.job
        request = job.request
        if job.sent_at is not None and job.sending_mono is None:
            return await self._resume(job.sent_at)
        if shown := request.shown:
            self._looked_at = self.clock.monotonic()
            self._present = present = await self._read_before()
            if precondition_failure(job, shown, present):
                return await self.decide_again(shown, present)
            if request.verb is Verb.APPROVE and (verdict := await self._hold_back(shown, present)):
                return verdict
            mode = present.mode if request.instead_of is None else shown.mode
            job.seen = SeenState(mode, present.state, present.episode_key)
        self.sent_mono = self.clock.monotonic()
        return await self._send()

    async def _hold_back(self, shown: SeenState, present: Remediation) -> Verdict | None:
        """Return why an approval isn't sent now: somebody asked to wait, or a second person is awaited."""
        about, request = self.job.about, self.job.request
        if held := self._held():
            return await self.decide_again(shown, present, held)
        try:
            first = await self.guardrails.check(self.job, present)
        except StorageUnavailable as error:
            raise RefusedWithoutDatabase from error
        if first:
            return Verdict(
                OutcomeKind.FIRST_OF_TWO, present, summary="1 of 2 approvals. Someone else must approve too.",
                first=first, about=replace(about, first=first),
            )  # fmt: skip
        if shown.is_first and not request.overrides:
            # Somebody else has approved since, or one person is enough by the settings of now.
            why = "it's no longer the first of two approvals, so it would start the repair"
            return await self.decide_again(shown, present, why)
        return None

    def _held(self) -> str:
        """Return that somebody asked to wait whom the person wasn't shown; empty for nobody."""
        hold, request = self.job.about.hold, self.job.request
        by = hold.unseen(request) if hold else ""
        who = "you" if by == request.actor.user_id else f"<@{by}>"
        return f"{who} asked to wait since you saw it" if by else ""

    async def _resume(self, recorded_at: float) -> Verdict:
        """Continue after a POST that may have been sent by a process that died.

        It is repeated only when it has had its time to arrive, and nothing has changed since it was sent. Until it is
        seen to have taken effect, nothing but "it still might" is true of it.
        """
        request, seen = self.job.request, self.job.seen
        self.sent_mono = self.clock.monotonic() - await self.store.seconds_since(recorded_at)
        present: Remediation | None = None
        for wait in (0.0, REPEAT_AFTER):
            if wait:
                await self.clock.sleep(wait, WaitReason.READ_BACK)
            try:
                present = await self.together.get(request.ref)
            except TogetherError:
                present = None
            if present and (settled := await self.settled(present)):
                return settled
        if present is None:
            raise OutcomeUnknown(request.rule.noun, _CUT_OFF)
        if seen.state and (changed := changes(request, seen, present)):
            return self.not_in_effect(present, f"It wasn't sent again: {changed}.")
        if await self.store.age(self.job) > LIFETIME:
            return self.not_in_effect(present, _CUT_OFF.sentence)
        self._present = present
        return await self._send(present)

    async def _read_before(self) -> Remediation:
        try:
            return await self.together.get(self.job.request.ref)
        except NotReached:
            raise
        except TogetherError as cause:
            raise ReadFailed(self.job.request.rule.noun, cause) from cause

    async def _send(self, before: Remediation | None = None) -> Verdict:
        """Send the POST, and find out its result.

        Args:
            before: the remediation as it was just read, where the POST of an earlier process may be on its way: then
                no refusal is final.
        """
        may_have_left = self.job.sent_at is not None
        try:
            result = await self._post()
        except StorageUnavailable as error:
            if may_have_left:
                raise
            raise RefusedWithoutDatabase from error
        except WrongState as refusal:
            return await self.show_present(refusal, is_repeat=before is not None)
        except AmbiguousResponse as cause:
            settled = await self.read_back()
            if settled is None:
                raise OutcomeUnknown(self.job.request.rule.noun, cause) from cause
            return settled if isinstance(settled, Verdict) else self.not_in_effect(settled, cause.sentence, cause)
        except (GuardrailRefusal, NotAllowed, Observing, TogetherError) as no:
            if before is None:
                raise
            return self.not_in_effect(before, f"It wasn't sent again: {no.why}")
        if isinstance(result, Remediation):
            verdict = self.success(result)
            is_shown = verdict.kind is not OutcomeKind.NO_EFFECT_SHOWN
            return verdict if is_shown else await self._after_lagging(verdict)
        if before is None:
            return await self.decide_again(self.job.seen, result.present, result.what)
        return await self.settled(result.present) or self.not_in_effect(
            result.present, f"It wasn't sent again: {result.what}."
        )

    async def _after_lagging(self, answered: Verdict) -> Verdict:
        """Return what a POST has done that Together took, where its answer shows no effect: it may lag behind."""
        settled = await self.read_back()
        if isinstance(settled, Remediation):
            settled = replace(self.success(settled), settled_by=answered.settled_by)
        return answered if settled is None or settled.kind is OutcomeKind.TOO_LATE else settled

    async def _post(self) -> Remediation | _Changed:
        """Send the POST, again only where it certainly was not taken."""
        request = self.job.request
        # Cancel takes none.
        body = None if request.verb is Verb.CANCEL else body_to_send(self.job)
        limited: RateLimited | None = None
        attempt = 0
        while True:
            attempt += 1
            try:
                changed = await self._prepare(attempt)
            except NotReached as error:
                raise limited or error from None  # once a connection was made, "not reached" would say too much
            if changed:
                return changed
            # Together's answer is a line in any case.
            logger.log(logging.DEBUG if attempt == 1 else logging.INFO, "Sending", extra={"attempt": attempt})
            try:
                return await self.together.decide(request.ref, request.verb, body)
            except (NotReached, RateLimited) as error:
                limited = error if isinstance(error, RateLimited) else limited
                wait = self.together.wait_before_repeat(error, attempt)
                if wait is None:
                    raise limited or error from None  # as above
            await self.clock.sleep(wait, WaitReason.RETRY)

    async def _prepare(self, attempt: int) -> _Changed | None:
        """Record that a POST leaves now, and look once more before one that repeats or can't name its mode.

        A POST decides on what is there when it arrives, even if that has changed, so nothing that takes long comes
        between look and POST: the first of two approvals is read then, since its person may take it back until then.

        Raises:
            TogetherError: what must be seen first cannot be read.
            GuardrailRefusal: a repeated POST, here or after a takeover, must pass the guard rails again; and approvals
                may have been paused while the others were asked. A hold since then comes back as a change.
            NotAllowed: the person may not any more.
            Expired: all this took so long that the person has long looked elsewhere.
            LeaseLost: all this took so long that another process may have the job.
        """
        job = self.job
        seen = job.seen
        is_recorded = job.sending_mono is not None and attempt == 1  # with the claim
        is_repeat = job.sent_at is not None and not is_recorded
        is_approval = job.request.verb is Verb.APPROVE
        if is_repeat and is_approval and await self.guardrails.check(job, self._present):
            raise first_is_over(job.about.first)
        if not is_recorded:
            await self.guardrails.policy.authorize_request(job.request)
            if job.sent_at is None and await self.store.age(job) > LIFETIME:
                raise Expired(job.request.rule.noun)
            kept_by = await self.store.record_send(job, is_again=attempt > 1)
            if isinstance(kept_by, Pause):
                raise paused_error(kept_by, job.request.actor.user_id)
            if kept_by:
                job.about = replace(job.about, hold=kept_by)
                return _Changed(self._present, self._held())
        names_mode = is_approval and mode_to_send(seen) is not None
        is_old = self.clock.monotonic() - self._looked_at > _FRESH_SECONDS
        # A command shows nothing first: typed a while ago, it may be about the past.
        is_blind = is_old or not names_mode if seen.state else await self.store.age(job) > _FRESH_SECONDS
        if (is_repeat or is_blind) and (changed := await self._look_again()):
            return changed
        looked_at = self.clock.monotonic()
        if is_approval and not await self.guardrails.has_first(job):
            raise first_is_over(job.about.first)
        if self.clock.monotonic() - looked_at > _AT_ONCE and (changed := await self._look_again()):
            return changed
        if not self.store.may_send(job):
            raise LeaseLost
        return None

    async def _look_again(self) -> _Changed | None:
        job = self.job
        try:
            async with self.clock.timeout(LOOK_SECONDS):
                present = await self._read_before()
        except TimeoutError as error:
            raise ReadFailed(job.request.rule.noun, NoAnswer()) from error
        if job.seen.state is None:
            changed = changes_since(job.request, self.time_of(present) - await self.store.age(job), present)
        else:
            changed = changes(job.request, job.seen, present)
        return _Changed(present, changed) if changed else None
