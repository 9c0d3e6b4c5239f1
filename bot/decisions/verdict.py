"""How a decision ended: from Together's answer, or where that says too little, from reading the remediation again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from bot import cards, metrics
from bot.clock import Clock, WaitReason
from bot.decisions.preconditions import (
    ended_by_review,
    has_opened_again,
    may_be_off,
    precondition_failure,
    success_notice,
    too_late_notice,
    took_effect,
    your,
)
from bot.decisions.storing import briefly, or_none, who_decided
from bot.errors import OutcomeKind, OutcomeUnknown, TogetherError, WrongState
from bot.models import CardContext, DecidedBy, FirstApproval, Job, Remediation, SeenState, State, Verb, unix
from bot.mrkdwn import clock_time, escape
from bot.store import DecisionStore, approvals
from bot.together import TogetherClient

READ_BACK_AFTER: Sequence[float] = (0, 2, 5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the remediation is now, and what to say of the decision.

    Attributes:
        kind: how it ended, for the audit trail.
        present: the remediation, as it was read last.
        decided: who brought it into its state through Slack, where that is known.
        notice: what must be said beyond the remediation, as trusted markup; may be empty.
        summary: what the card shows anyway, in a sentence, for an answer without a card; may be empty.
        buttons: whether what the state allows may be decided; otherwise it is in doubt.
        was_so_before: it was so before a command asked for it, so its card stays as it is.
        first: the first of two approvals, which counts from the moment in which this is recorded.
        about: what its card says beyond the remediation, where that was read on the way.
        settled_by: the answer that settled it, where there was one.
    """

    kind: OutcomeKind
    present: Remediation
    decided: DecidedBy | None = None
    notice: str = ""
    summary: str = ""
    buttons: bool = True
    was_so_before: bool = False
    first: FirstApproval | None = None
    about: CardContext | None = None
    settled_by: Remediation | TogetherError | None = None


@dataclass(slots=True)
class Judge:
    """Finds the verdict on one decision, and writes nothing.

    Attributes:
        sent_mono: when the first POST may have left, on this process's monotonic clock.
    """

    together: TogetherClient
    store: DecisionStore
    clock: Clock
    job: Job
    sent_mono: float = field(default=0.0, init=False)

    async def decide_again(self, shown: SeenState, present: Remediation, changed: str = "") -> Verdict:
        """Return that it is no longer what was shown, so it must be decided on again."""
        decided = await who_decided(self.store.database, present)
        notice = precondition_failure(self.job, shown, present, decided, changed)
        return Verdict(OutcomeKind.CHANGED, present, decided, notice)

    def success(self, result: Remediation, *, is_read_back: bool = False) -> Verdict:
        """Return that the decision took effect, or that the answer doesn't show it."""
        request, seen = self.job.request, self.job.seen
        is_sure = not (is_read_back and request.verb is Verb.CANCEL)
        alone = f"Approved alone, without asking {cards.labels.RULES_PASSED}." if request.overrides else ""
        notice = success_notice(request, seen, result) or alone
        if result.state not in request.rule.effect and not self._took_effect(result):
            # An answer of 200 that does not show the effect is no success.
            return Verdict(OutcomeKind.NO_EFFECT_SHOWN, result, notice=notice, buttons=False, settled_by=result)
        if result.create_time:
            waited = max(0.0, self.clock.now() - result.create_time.timestamp())
            metrics.TIME_TO_DECISION.labels(request.verb.value).observe(waited)
        asks_two = request.verb is Verb.APPROVE and not request.overrides
        first = self.job.about.first if asks_two else None
        at, by = self.clock.now(), request.actor.user_id
        first_user = first.user_id if first and first.precedes(seen, by) else ""
        mode = seen.mode or ""
        decided = DecidedBy(request.verb, by, at, request.reason, is_sure, first_user, mode)
        return Verdict(OutcomeKind(request.rule.done), result, decided, notice, settled_by=result if is_sure else None)

    async def show_present(self, refusal: WrongState, *, is_repeat: bool) -> Verdict:
        """Show a refused decision as what it usually is: somebody else was faster, or this very decision was.

        A gateway may have repeated the POST, or the one of a process that died has arrived. A cancellation leaves no
        trace of whose it is, so the first one that is refused is called somebody else's.
        """
        request = self.job.request
        try:
            present = await self.together.get(request.ref)
        except TogetherError as cause:
            if is_repeat:
                raise OutcomeUnknown(request.rule.noun, cause) from cause
            raise refusal from cause
        is_told_apart = is_repeat or request.verb is not Verb.CANCEL
        if is_told_apart and await self._is_this_decision(present):
            return self.success(present, is_read_back=True)
        if is_repeat and has_opened_again(self.job.seen, present, self._left_at(present)):
            return self._opened_again(present)
        if is_repeat and present.state in request.rule.allowed:
            said = f": “{escape(refusal.quote, 300)}”" if refusal.quote else "."
            return self.not_in_effect(present, f"Together refused to take it again{said}")
        decided = await who_decided(self.store.database, present)
        notice = too_late_notice(self.job, self.job.seen, present, decided, refusal)
        was_so_before = not request.place.is_button and present.state in request.rule.effect
        return Verdict(
            OutcomeKind.REFUSED_FOR_STATE, present, decided, notice, was_so_before=was_so_before, settled_by=refusal
        )

    async def read_back(self) -> Verdict | Remediation | None:
        """Find out whether a decision without a clear answer took effect.

        Returns:
            What was read last, where that shows no effect; None where it could not be read.
        """
        last: Remediation | None = None
        for seconds in READ_BACK_AFTER:
            if seconds:
                await self.clock.sleep(seconds, WaitReason.READ_BACK)
            try:
                present = await self.together.get(self.job.request.ref)
            except TogetherError:
                continue
            if settled := await self.settled(present):
                return settled
            last = present
        return last

    async def settled(self, present: Remediation) -> Verdict | None:
        """Return what a read-back shows for certain; None while the decision may still arrive."""
        request, seen = self.job.request, self.job.seen
        is_again = has_opened_again(seen, present, self._left_at(present)) or self._has_run(present)
        # A cancellation leaves no trace of whose it is.
        if (request.verb is not Verb.CANCEL or not is_again) and await self._is_this_decision(present):
            return self.success(present, is_read_back=True)
        if is_again:
            return self._opened_again(present)
        if present.state in request.rule.allowed or present.state not in set(State):
            return None
        decided = await who_decided(self.store.database, present)
        notice = too_late_notice(self.job, seen, present, decided)
        return Verdict(OutcomeKind.TOO_LATE, present, decided, notice)

    def _has_run(self, present: Remediation) -> bool:
        """Return whether this approval started a repair that has ended, and the remediation waits again since."""
        has_ended = 0 < unix(present.review_time) <= unix(present.end_time)
        return present.is_waiting and has_ended and present.is_reviewed_with(self.job.token)

    def time_of(self, present: Remediation) -> float:
        """Return when a remediation was read: by Together's clock, to whole seconds, where it says."""
        return present.answered_at or self.clock.now()

    def not_in_effect(self, present: Remediation, why: str, cause: TogetherError | None = None) -> Verdict:
        """Return that it isn't seen to have taken effect, and still might."""
        request = self.job.request
        look = "Check it in Together" if request.batch_id else "Press “Check again”"  # which no digest has
        notice = (
            f"{your(request)} hadn't taken effect as of {clock_time(self.clock.now())}, but it still might. {why} "
            f"{look} before you decide anything else."
        )
        return Verdict(OutcomeKind.NOT_IN_EFFECT, present, notice=notice, buttons=False, settled_by=cause)

    def _took_effect(self, present: Remediation) -> bool:
        return took_effect(self.job, present, self._left_at(present))

    async def _is_this_decision(self, present: Remediation) -> bool:
        """Return whether what was read is this decision's effect, and not what another cancellation is known to be.

        Raises:
            StorageUnavailable: nobody can say whose it is.
        """
        is_effect = self._took_effect(present)
        if not is_effect or self.job.request.verb is not Verb.CANCEL:
            return is_effect
        read = partial(self.store.database.read, approvals.who_decided, present)
        if (decided := await briefly(self.clock, read)) is None:
            return True
        if decided.verb is Verb.REJECT and ended_by_review(present):
            return False  # whenever it arrived
        # What ended later than theirs had opened again since, under its ID; or theirs never arrived.
        ago = await or_none(self.store.seconds_since(decided.at))
        return ago is not None and present.changed_at > self.time_of(present) - ago + may_be_off(present)

    def _left_at(self, present: Remediation) -> float:
        """Return when the POST left by Together's clock, which says when a remediation was read."""
        return self.time_of(present) - (self.clock.monotonic() - self.sent_mono)

    def _opened_again(self, present: Remediation) -> Verdict:
        notice = f"{your(self.job.request)} may have gone through: the remediation has ended and opened again since."
        return Verdict(OutcomeKind.OPENED_AGAIN, present, notice=notice)
