"""One decision from receipt to answer: authorise → claim → read → call → read back → answer.

Whatever happens between the first and the last step, the person gets exactly one answer.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from bot import cards
from bot.cards import Decided
from bot.clock import Clock
from bot.decisions.rules import already, comment, is_anothers, mode_to_send, success_notice, why_not
from bot.errors import (
    AlreadyInFlight,
    BotError,
    InternalError,
    Interrupted,
    NotReached,
    NotTaken,
    OutcomeUnknown,
    RateLimited,
    ReadFailed,
    TogetherError,
    Unclear,
    WrongState,
)
from bot.models import RULES, Message, Messenger, Place, Remediation, RemediationRef, Request, Verb
from bot.mrkdwn import when
from bot.policy import Policy
from bot.together import TogetherClient

logger = logging.getLogger(__name__)

PROGRESS_AFTER = 1.0
READ_BACK_AFTER: Sequence[float] = (0, 2, 5)
_REMEMBERED_TRIGGERS = 10_000


@dataclass(slots=True)
class _Attempt:
    """A request on its way to its answer.

    Attributes:
        place: where the answer goes; changes when "in progress" is shown.
        admitted: the actor may do it, and nobody else is at it: from here on it is the channel's business.
        sent: whether the POST may have left.
    """

    request: Request
    since: float
    place: Place
    admitted: bool = False
    sent: bool = False


class Decisions:
    """Carries out what people ask for.

    Args:
        together: the API.
        policy: who may.
        messenger: how answers are said.
        clock: for durations, waits and what people read.
    """

    def __init__(self, together: TogetherClient, policy: Policy, messenger: Messenger, clock: Clock) -> None:
        self._together = together
        self._policy = policy
        self._messenger = messenger
        self._clock = clock
        self._in_flight: dict[RemediationRef, _Attempt] = {}
        self._triggers: OrderedDict[str, None] = OrderedDict()

    async def handle(self, request: Request) -> None:
        """Carry out one request and answer it once. A redelivery of the same click or command is ignored."""
        if self._is_redelivery(request.trigger_id):
            logger.info("%s %s: redelivery ignored", request.verb, request.ref)
            return
        attempt = _Attempt(request, self._clock.now(), request.place)
        noun = RULES[request.verb].noun
        try:
            await self._policy.authorise(request.verb, request.actor, request.place.channel_id)
            self._claim(attempt)
            message = await self._with_progress(attempt)
        except BotError as error:
            await self._tell(attempt, error)
        except asyncio.CancelledError:
            await self._tell(attempt, Interrupted(noun, sent=attempt.sent) if attempt.admitted else NotTaken())
            raise
        except Exception:  # the one last net: a bug must not leave the person without an answer
            logger.exception("%s %s failed", request.verb, request.ref)
            await self._tell(attempt, InternalError(noun, sent=attempt.sent))
        else:
            logger.info("%s %s by %s: done", request.verb, request.ref, request.actor.user_id)
            await _finish(self._messenger.answer(attempt.place, message))
        finally:
            if self._in_flight.get(request.ref) is attempt:
                del self._in_flight[request.ref]

    def _is_redelivery(self, trigger_id: str | None) -> bool:
        # Slack documents no retries of clicks and commands, yet duplicates were seen (slack-facts, 1.7 and 1.8).
        if trigger_id is None:
            return False
        known = trigger_id in self._triggers
        self._triggers[trigger_id] = None
        if len(self._triggers) > _REMEMBERED_TRIGGERS:
            self._triggers.popitem(last=False)
        return known

    def _claim(self, attempt: _Attempt) -> None:
        """One decision per remediation at a time; the second person is told who is at it."""
        request = attempt.request
        if other := self._in_flight.get(request.ref):
            same = other.request.actor.user_id == request.actor.user_id
            who = "You" if same else f"<@{other.request.actor.user_id}>"
            raise AlreadyInFlight(who, RULES[other.request.verb].doing, when(other.since))
        if RULES[request.verb].decides:
            self._in_flight[request.ref] = attempt
        attempt.admitted = True

    async def _tell(self, attempt: _Attempt, error: BotError) -> None:
        request = attempt.request
        logger.warning(
            "%s %s by %s: %s: %s", request.verb, request.ref, request.actor.user_id, type(error).__name__, error
        )
        if attempt.admitted:
            await _finish(self._messenger.fail(attempt.place, error, request.ref))
        else:
            await _finish(self._messenger.whisper(attempt.place, error))

    async def _with_progress(self, attempt: _Attempt) -> Message:
        """Do it, and show who is doing what when that takes longer than a second."""
        request = attempt.request
        work = asyncio.create_task(self._carry_out(attempt), name=f"{request.verb} {request.ref}")
        alarm = asyncio.ensure_future(self._clock.sleep(PROGRESS_AFTER))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await _finish(self._show_progress(attempt))
            return await work
        finally:
            alarm.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    async def _show_progress(self, attempt: _Attempt) -> None:
        message = cards.in_progress(attempt.request, attempt.since)
        attempt.place = await self._messenger.progress(attempt.place, message)

    async def _carry_out(self, attempt: _Attempt) -> Message:
        """Decide, and draw what has come of it.

        Raises:
            TogetherError: there is no remediation to show.
        """
        request = attempt.request
        if not RULES[request.verb].decides:
            return await self._look(request)
        seen: Remediation | None = None
        if request.shown is not None:
            seen = await self._read_before(request)
            if notice := why_not(request, seen):
                return cards.card(seen, notice=notice)
        try:
            result = await self._call(attempt, seen)
        except WrongState as refusal:
            return await self._show_present(request, refusal)
        except Unclear as cause:
            return await self._read_back(request, seen, cause)
        return self._success(request, seen, result)

    async def _look(self, request: Request) -> Message:
        present = await self._together.get(request.ref)
        if other := self._in_flight.get(request.ref):
            # A decision began meanwhile: buttons drawn now could outlive its answer.
            doing = RULES[other.request.verb].doing
            notice = f"<@{other.request.actor.user_id}> is {doing} this remediation since {when(other.since)}."
            return cards.card(present, notice=notice, buttons=False)
        return cards.card(present)

    async def _read_before(self, request: Request) -> Remediation:
        try:
            return await self._together.get(request.ref)
        except NotReached:
            raise
        except TogetherError as cause:
            raise ReadFailed(RULES[request.verb].noun, cause) from cause

    async def _call(self, attempt: _Attempt, seen: Remediation | None) -> Remediation:
        request = attempt.request
        attempt.sent = True
        try:
            match request.verb:
                case Verb.APPROVE:
                    return await self._together.approve(request.ref, comment=comment(request), mode=mode_to_send(seen))
                case Verb.REJECT:
                    return await self._together.reject(request.ref, comment=comment(request))
                case Verb.CANCEL:
                    return await self._together.cancel(request.ref)
                case Verb.REFRESH:
                    raise AssertionError("looking is no decision")
        except (NotReached, RateLimited):
            attempt.sent = False
            raise

    def _success(self, request: Request, seen: Remediation | None, result: Remediation) -> Message:
        if result.state not in RULES[request.verb].effect:
            # An answer of 200 that does not show the effect is no success, whatever its status says.
            return cards.card(result, notice=success_notice(request, seen, result), buttons=False)
        decided = Decided(request.verb, request.actor.user_id, self._clock.now(), request.reason)
        return cards.card(result, decided=decided, notice=success_notice(request, seen, result))

    async def _show_present(self, request: Request, refusal: WrongState) -> Message:
        """Show a refused decision as what it usually is: somebody else was faster."""
        try:
            present = await self._together.get(request.ref)
        except TogetherError as cause:
            raise refusal from cause
        return cards.card(present, notice=already(request.verb, present, refusal))

    async def _read_back(self, request: Request, seen: Remediation | None, cause: Unclear) -> Message:
        """Find out whether a decision without a clear answer took effect.

        Raises:
            OutcomeUnknown: it could not be read.
        """
        rule = RULES[request.verb]
        present: Remediation | None = None
        as_of = 0.0
        for seconds in READ_BACK_AFTER:
            if seconds:
                await self._clock.sleep(seconds)
            try:
                present, as_of = await self._together.get(request.ref), self._clock.now()
            except TogetherError:
                continue
            if present.state in rule.effect and not is_anothers(request, seen, present):
                return self._success(request, seen, present)
            if present.state not in rule.allowed:
                return cards.card(present, notice=already(request.verb, present))
        if present is None:
            raise OutcomeUnknown(rule.noun, cause)
        notice = (
            f"<@{request.actor.user_id}>, your {rule.noun} is not in effect as of {when(as_of)}; it may still arrive. "
            f"{cause.sentence}"
        )
        return cards.card(present, notice=notice, buttons=False)


async def _finish(saying: Coroutine[None, None, None]) -> None:
    """Say to the end what has begun to be said, also while the bot is being stopped."""
    task = asyncio.ensure_future(saying)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
