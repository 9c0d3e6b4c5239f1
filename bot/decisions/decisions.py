"""The way of a job through one process: receive, authorise, claim, act, record, answer."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from itertools import chain, repeat

from bot import cards
from bot.clock import Clock, Pause
from bot.decisions.act import LIFETIME, Act, Result
from bot.decisions.guards import Guards
from bot.errors import (
    AlreadyInFlight,
    BotError,
    InternalError,
    Interrupted,
    LeaseLost,
    NotAttempted,
    StoreDown,
    StoreUnavailable,
    TogetherError,
)
from bot.models import RULES, Answer, Job, Manner, Messenger, Outcome, Request, Verb
from bot.mrkdwn import when
from bot.policy import Policy
from bot.store import Store
from bot.tasks import finish
from bot.together import TogetherClient

logger = logging.getLogger(__name__)

PROGRESS_AFTER = 1.0
RECEIVE_SECONDS = 2.0  # Slack waits 3 s for the ack
RETRY_STORE_AFTER = (1.0, 2.0, 5.0, 10.0)
Work = Coroutine[None, None, None]


class Decisions:
    """Carries out what people ask for.

    Args:
        together: the API.
        policy: who may.
        guards: what else keeps an approval from being sent.
        messenger: how answers are said.
        store: what survives this process.
        clock: for waits and for what people read.

    Attributes:
        working: the jobs that this process has in hand, by ID.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a decision needs
        self,
        together: TogetherClient,
        policy: Policy,
        guards: Guards,
        messenger: Messenger,
        store: Store,
        clock: Clock,
    ) -> None:
        self._act = Act(together, guards, store, clock)
        self._policy = policy
        self._messenger = messenger
        self._store = store
        self._clock = clock
        self.working: dict[str, Job] = {}

    async def receive(self, request: Request) -> Work | None:
        """Write down what was asked, before Slack is told "received".

        Returns:
            The work that is to be done after the ack; None for a redelivery of what is in hand or done already.
        """
        job_id = uuid.uuid4().hex
        try:
            async with self._clock.timeout(RECEIVE_SECONDS):
                job = await self._store.receive(request, job_id)
        except (StoreUnavailable, TimeoutError) as error:
            logger.error("%s %s could not be written down: %s", request.verb, request.ref, error)  # noqa: TRY400 - an outage, not a bug
            return self._not_taken(request, job_id)
        if job is None:
            logger.info("%s %s: redelivery ignored", request.verb, request.ref)
            return None
        self.working[job.id] = job
        return self.handle(job)

    async def _not_taken(self, request: Request, job_id: str) -> None:
        """Tell the person, and make sure that a row whose commit was in doubt is not run by anybody later."""
        await self._messenger.whisper(request.place, cards.private(StoreDown()))
        await self.insist(lambda: self._store.void(request, job_id))

    async def handle(self, job: Job) -> None:
        """Bring a job to its answer, from wherever it stands. Exactly one process does so at a time."""
        self.working[job.id] = job
        try:
            await self._bring_to_its_answer(job)
        except LeaseLost:
            logger.warning("%s %s: another process has taken it over", job.request.verb, job.request.ref)
        except StoreUnavailable as error:
            logger.warning("%s %s: left for later: %s", job.request.verb, job.request.ref, error)
        except asyncio.CancelledError:
            await finish(self._hand_back(job))
            raise
        finally:
            self.working.pop(job.id, None)

    async def _bring_to_its_answer(self, job: Job) -> None:
        if job.answer is not None:
            await finish(self._tell(job, job.answer))
            await self._store.finish(job)
            return
        answer, outcome = await self._work(job)
        logger.info("%s %s by %s: %s", job.request.verb, job.request.ref, job.request.actor.user_id, outcome.name)
        await finish(self._conclude(job, answer, outcome))

    async def _conclude(self, job: Job, answer: Answer, outcome: Outcome) -> None:
        """Record, tell, close. When the database is away, the person is told all the same, and it is recorded after."""
        is_recorded = True
        try:
            await self._store.conclude(job, outcome, answer)
        except StoreUnavailable:
            is_recorded = False
        await self._tell(job, answer)
        if not is_recorded:
            await self.insist(lambda: self._store.conclude(job, outcome, answer))
        await self.insist(lambda: self._store.finish(job))

    async def insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, as often as it takes."""
        for seconds in chain(RETRY_STORE_AFTER, repeat(RETRY_STORE_AFTER[-1])):
            try:
                await write()
            except StoreUnavailable:
                await self._clock.sleep(seconds, Pause.RETRY)
            else:
                return

    async def _work(self, job: Job) -> tuple[Answer, Outcome]:
        """Do it, and give back what to tell.

        Raises:
            LeaseLost: another process does it.
            StoreUnavailable: it must be left for later.
        """
        request, noun = job.request, RULES[job.request.verb].noun
        try:
            await self._admit(job)
            answer, outcome = await self._with_progress(job)
        except NotAttempted as error:
            logger.info("%s %s by %s: %s", request.verb, request.ref, request.actor.user_id, error)
            private = Answer(Manner.WHISPER, cards.private(error), summary=error.sentence)
            return private, Outcome(type(error).__name__)
        except BotError as error:
            return self._failure(job, error)
        except (LeaseLost, StoreUnavailable, asyncio.CancelledError):
            raise
        except Exception:  # the one last net: a bug must not leave the person without an answer
            logger.exception("%s %s failed", request.verb, request.ref)
            return self._failure(job, InternalError(noun, sent=job.sent is not None))
        return answer, outcome

    def _failure(self, job: Job, error: BotError) -> tuple[Answer, Outcome]:
        request = job.request
        logger.warning("%s %s by %s: %s", request.verb, request.ref, request.actor.user_id, error)
        outcome = Outcome(type(error).__name__)
        if isinstance(error, TogetherError):
            outcome = replace(outcome, http_status=error.http_status, request_id=error.request_id)
        told = cards.failure(error, request.ref, request.actor.user_id)
        return Answer(Manner.ERROR, told, summary=error.sentence), outcome

    async def _admit(self, job: Job) -> None:
        """Ask whether the actor may, now, and claim the remediation: one decision on it at a time.

        Raises:
            NotAllowed: the actor may not.
            AlreadyInFlight: somebody else is at it.
            Interrupted: it has waited too long to be begun now.
            StoreDown: the claim could not be written.
        """
        if job.is_active:
            return
        request = job.request
        try:
            if job.taken_over and await self._store.seconds_since(job.received_at) > LIFETIME:
                raise Interrupted(RULES[request.verb].noun, sent=False)
            await self._policy.authorise(request.verb, request.actor, request.place.channel_id)
            decides = RULES[request.verb].decides
            holder = await (self._store.activate(job) if decides else self._store.holder(request))
        except StoreUnavailable as error:
            raise StoreDown from error
        if holder:
            who = "You" if holder.user_id == request.actor.user_id else f"<@{holder.user_id}>"
            raise AlreadyInFlight(who, RULES[Verb(holder.verb)].doing, when(holder.since))
        job.is_active = decides

    async def _with_progress(self, job: Job) -> Result:
        """Act, and show who is doing what when that takes longer than a second."""
        request = job.request
        act = {Verb.REFRESH: self._act.look, Verb.HOLD: self._act.hold}.get(request.verb, self._act.decide)(job)
        work = asyncio.create_task(act, name=f"{request.verb} {request.ref}")
        alarm = asyncio.ensure_future(self._clock.sleep(PROGRESS_AFTER, Pause.PROGRESS))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            # Looking takes no claim: its "in progress" could overwrite a decision's answer.
            if not work.done() and job.is_active and request.batch_id is None:
                await finish(self._show_progress(job))
            return await work
        finally:
            alarm.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    async def _show_progress(self, job: Job) -> None:
        place = await self._messenger.progress(job.request.place, cards.in_progress(job.request, self._clock.now()))
        try:
            await self._store.move(job, place)
        except (LeaseLost, StoreUnavailable) as error:
            logger.warning("The place of a job could not be written: %s", type(error).__name__)

    async def _tell(self, job: Job, answer: Answer) -> None:
        place = job.request.place
        if job.request.batch_id is not None:
            return  # the message that shows the whole batch tells it
        match answer.manner:
            case Manner.CARD:
                is_shown = await self._messenger.answer(place, answer.message)
                # What takes no claim may be answered late, over something newer.
                if not is_shown or not RULES[job.request.verb].decides:
                    await self._distrust(job)
            case Manner.ERROR:
                await self._messenger.reply(place, answer.message)
            case Manner.WHISPER:
                await self._messenger.whisper(place, answer.message)

    async def _distrust(self, job: Job) -> None:
        """What stands on the alert's card may be old now: let it be drawn anew."""
        try:
            await self._store.agreed.distrust(job.request.ref)
        except StoreUnavailable as error:
            logger.warning("A card that may be old could not be noted: %s", error)

    async def _hand_back(self, job: Job) -> None:
        """Let the next process go on; where that cannot be written, tell the person how it stands."""
        try:
            await self._store.hand_back(job)
        except LeaseLost:
            return
        except StoreUnavailable:
            answer, _ = self._failure(job, Interrupted(RULES[job.request.verb].noun, sent=job.sent is not None))
            await self._tell(job, answer)
