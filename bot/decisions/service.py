"""Takes a decision through one process: receive, authorize, claim, execute, record, deliver."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from bot import cards, metrics
from bot.clock import WaitReason
from bot.decisions.delivery import Answers, is_elsewhere
from bot.decisions.executor import Executor
from bot.decisions.guardrails import Guardrails
from bot.decisions.storing import briefly, forever, in_time, or_none, voided
from bot.decisions.upkeep import Upkeep
from bot.decisions.verdict import Verdict
from bot.errors import (
    AlreadyInFlight,
    BotError,
    Expired,
    InternalError,
    LeaseLost,
    NotAttempted,
    NotRecorded,
    OutcomeKind,
    RefusedWithoutDatabase,
    StorageUnavailable,
)
from bot.logs import LOG_CONTEXT
from bot.models import (
    LIFETIME,
    NOTHING_KNOWN,
    RULES,
    Answer,
    AuditNote,
    CardContext,
    Job,
    Messenger,
    Outcome,
    RemediationRef,
    ReplyTarget,
    Request,
    new_id,
)
from bot.mrkdwn import clock_time
from bot.store import DecisionStore, approvals, audit, rows
from bot.store.decisions import claimed_by
from bot.tasks import finish

logger = logging.getLogger(__name__)

PROGRESS_AFTER = 1.0
RECEIVE_SECONDS = 2.0  # Slack waits 3 s for the ack
NOTE_SECONDS = 0.5  # may come after RECEIVE_SECONDS, and before the ack
ABOUT_SECONDS = 0.5  # a dialog must be opened within 3 s of the click (docs.slack.dev, trigger_id)
Work = Coroutine[None, None, object]


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """What was asked could not be recorded, so it must not be acknowledged: a process that dies would lose it.

    Attributes:
        error: what is known of it.
        work: notifies the person, and makes sure that what may have been recorded isn't run.
    """

    error: BotError
    work: Work


Receipt = Work | Unrecorded | None  # the work to be done after the ack; None for no work, as for a redelivery


@contextmanager
def about_decision(job_id: str, request: Request) -> Iterator[None]:
    """Put a decision's short ID, its reference, the verb, and who asked on every line that is logged inside."""
    named = {"decision": job_id[:8], "remediation": str(request.ref), "verb": request.verb.value}
    outside = LOG_CONTEXT.get()
    LOG_CONTEXT.set({**named, "by": request.actor.user_id})
    try:
        yield
    finally:
        LOG_CONTEXT.set(outside)


class DecisionService:
    """Carries out what people ask for. What a person learns about a decision is recorded first."""

    def __init__(self, guardrails: Guardrails, messenger: Messenger, store: DecisionStore) -> None:
        together, clock = guardrails.together, guardrails.clock
        self._upkeep = Upkeep(together, store, clock)
        self._executor_for = partial(Executor, together, store, clock, guardrails=guardrails)
        self._policy = guardrails.policy
        self._messenger = messenger
        self._store = store
        self._clock = clock
        self._answers = Answers(messenger, store, clock, guardrails.config)

    async def receive(self, request: Request) -> Receipt:
        """Write down what was asked, before Slack is told "received"."""
        job_id = new_id()
        request = replace(request, asked_at=self._clock.now())
        with about_decision(job_id, request):
            try:
                job = await in_time(self._clock, RECEIVE_SECONDS, self._store.receive(request, job_id))
            except StorageUnavailable as error:
                logger.error("Couldn't record the request: %s", error)  # noqa: TRY400 - an outage
                if error.in_doubt:
                    uncertain = NotRecorded(request.rule.noun, sent=False)
                    return Unrecorded(uncertain, self._void_uncertain(request, job_id, uncertain))
                return Unrecorded(down := RefusedWithoutDatabase(), self.refuse(request.place, down))
            except Exception:  # a value that the database refuses: it is not there, and the person must know
                logger.exception("Couldn't record the request")
                return Unrecorded(bug := InternalError(request.rule.noun, sent=False), self.refuse(request.place, bug))
            if job is None:
                logger.info("Redelivery ignored")
                return None
            return self.handle(job)

    async def about(self, ref: RemediationRef) -> CardContext:
        """Return what a card says beyond the remediation, as far as that can be told at once."""
        try:
            read = self._store.database.read(approvals.contexts_now, [ref])
            return (await in_time(self._clock, ABOUT_SECONDS, read))[ref]
        except StorageUnavailable as error:
            logger.warning("Couldn't look up what is known of %s: %s", ref, error)
            return CardContext()

    async def note(self, note: AuditNote) -> None:
        """Put into the audit trail what is about no decision: a refusal, or a confirmed selection."""
        if note.kind:
            metrics.REFUSALS.labels(note.kind.value).inc()
        try:
            await in_time(self._clock, NOTE_SECONDS, self._store.database.run(audit.note, note))
        except StorageUnavailable as error:
            logger.warning("Couldn't record %s by %s: %s", note.event, note.actor.user_id, error)

    async def refuse(self, place: ReplyTarget, error: BotError) -> None:
        """Tell the person that nothing was taken: no row was written, so no process can act on it."""
        await self._messenger.reply_privately(place, cards.private(error))

    async def _void_uncertain(self, request: Request, job_id: str, uncertain: NotRecorded) -> None:
        """Make sure that a row whose commit is in doubt isn't run later, and only then say so."""
        with about_decision(job_id, request):
            message = cards.failure(uncertain, request)
            tell = partial(self._messenger.reply_privately, request.place, message, once=True)
            if await voided(self._clock, partial(self._store.void, request, job_id), tell):
                await self.refuse(request.place, RefusedWithoutDatabase())

    async def handle(self, job: Job) -> None:
        """Bring a job to its answer, from wherever it is, then the next ones of its batch.

        Exactly one process does so at a time.
        """
        following: Job | None = job
        while following:
            with about_decision(following.id, following.request):
                if not following.taken_over:
                    logger.info("Received")
                following = await self._handle(following)

    async def _handle(self, job: Job) -> Job | None:
        """Do what is left of a job. Returns the next one of its batch."""
        working = self._store.working
        try:
            if job.answer is not None:
                await finish(self._answers.deliver(job, job.answer))
                return None
            answer, outcome = await self._work(job)
            return await finish(self._record_and_deliver(job, answer, outcome))
        except LeaseLost:
            await self._let_go(job)
        except StorageUnavailable as error:
            logger.warning("Left for later: %s", error)
        except asyncio.CancelledError:
            for other in [job, *self._following(job)]:
                await finish(self._hand_back(other))
                working.pop(other.id, None)
            raise
        except Exception:  # a row that can't be written would be taken over again and again
            logger.exception("Can't be recorded; set aside")
            try:
                following = await forever(self._clock, partial(self._store.set_aside, job))
            except LeaseLost:
                await self._let_go(job)
                return None
            await self._answers.tell_until_taken(job, _bug(job))
            return following
        finally:
            if working.get(job.id) is job:  # else this process has taken it over from itself
                del working[job.id]
        return None

    async def _let_go(self, job: Job) -> None:
        """Leave a decision to the process that has it now, and answer it where its row is lost."""
        if await or_none(self._store.is_gone(job)):
            logger.error("The database has lost this decision")
            request = job.request
            lost = NotRecorded(request.rule.noun, sent=job.sent_at is not None, is_lost=True)
            reason = f"The database lost decision {job.id} on {request.ref}"
            await self.note(
                AuditNote("lost", request.actor, request.place.channel_id, request.verb, lost.code, reason=reason)
            )
            await self._answers.tell_until_taken(job, lost)  # that nothing is certain
            return
        logger.warning("Taken over by another process, or about to be")
        with suppress(LeaseLost, StorageUnavailable):
            await self._store.release(job)  # where it is still ours, nobody need wait for the lease to run out

    async def _record_and_deliver(self, job: Job, answer: Answer, outcome: Outcome) -> Job | None:
        """Record, then deliver. While the database is away, nothing certain is said, since another may act on it."""
        record = partial(self._store.record_outcome, job, outcome, answer)
        try:
            following = await briefly(self._clock, record)
        except StorageUnavailable:
            await self._answers.tell_failure(job, _uncertain(job))
            following = await forever(self._clock, record)
        logger.info("Recorded", extra={"outcome": outcome.kind.value})
        request = job.request
        metrics.DECISIONS.labels(request.verb.value, outcome.kind.value).inc()
        if request.overrides and outcome.kind is OutcomeKind.APPROVED:
            metrics.OVERRIDES.inc()
        if not job.taken_over:
            metrics.DECISION_SECONDS.labels(request.verb.value).observe(self._clock.monotonic() - job.received_mono)
        if job.answer:
            await self._answers.deliver(job, job.answer)
        return following

    async def _work(self, job: Job) -> tuple[Answer, Outcome]:
        """Do it, and return what to tell.

        Raises:
            LeaseLost: another process does it.
            StorageUnavailable: it must be left for later.
        """
        try:
            await self._authorize_and_claim(job)
            verdict = await self._with_progress(job)
            answer = await self._answers.of(job, verdict)
            return answer, Outcome(verdict.kind, verdict.present.state, verdict.settled_by, verdict.first)
        except BotError as error:
            if job.about is NOTHING_KNOWN and not isinstance(error, NotAttempted):
                with suppress(StorageUnavailable):
                    await self._read_about(job)  # it begins with what the node is called
            return self._answers.of_failure(job, error)
        except (LeaseLost, StorageUnavailable, asyncio.CancelledError):
            raise
        except Exception:  # the one last net: a bug must not leave the person without an answer
            logger.exception("Failed")
            return self._answers.of_failure(job, _bug(job))

    async def _authorize_and_claim(self, job: Job) -> None:
        """Ask whether the actor may, now, and claim the remediation: one decision on it at a time.

        What a dead process had allowed and claimed is authorized again, unless its POST may have left.

        Raises:
            NotAllowed: the actor may not.
            Observing: the bot decides nothing in this cluster.
            AlreadyInFlight: somebody else is deciding.
            Expired: it has waited too long to be begun now.
            RefusedWithoutDatabase: the claim could not be written.
        """
        request = job.request
        rule = request.rule
        if job.sent_at is not None:
            await self._read_about(job)
            return
        try:
            if await self._store.age(job) > LIFETIME:
                raise Expired(rule.noun)
            await self._policy.authorize_request(request)
            if job.is_active:
                await self._read_about(job)
                return
            if rule.decides:
                # A typed command shows nothing first, so nothing is read between the claim and the POST.
                claim = await self._store.claim(job, sends=request.shown is None)
            else:
                claim = await self._store.database.read(claimed_by, request.ref)
        except StorageUnavailable as error:
            raise RefusedWithoutDatabase from error
        if claim:
            who = "You" if claim.user_id == request.actor.user_id else f"<@{claim.user_id}>"
            raise AlreadyInFlight(who, RULES[claim.verb].doing, clock_time(claim.since))
        if rule.decides:
            logger.debug("Claimed")

    async def _read_about(self, job: Job) -> None:
        """Read what a card says beyond its remediation, where this process didn't claim it: a hold, earlier repairs."""
        job.about = await self._store.database.read(rows.card_context, job.request.ref)

    async def _with_progress(self, job: Job) -> Verdict:
        """Act, and show who is doing what when that takes longer than a second."""
        request = job.request
        act = self._executor_for(job).decide() if request.rule.decides else self._upkeep.carry_out(job)
        work = asyncio.create_task(act, name=f"{request.verb} {request.ref}")
        alarm = asyncio.ensure_future(self._clock.sleep(PROGRESS_AFTER, WaitReason.PROGRESS))
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
        """Say who is deciding. That the clicked message may say so is recorded first, so that it can be restored."""
        if is_elsewhere(job.about, job.request.place):
            return  # it says where the card is
        async with self._answers.drawing(job.request.place):
            place = await self._answers.as_it_is(job)  # another tool's alert may show a dead process's progress
            job.request = request = job.request.at(place)
            if place.is_button:
                try:
                    await self._store.set_place(job, replace(place, in_progress=place.original is not None))
                except (LeaseLost, StorageUnavailable) as error:
                    logger.warning("Couldn't record that it is in progress: %s", type(error).__name__)
                    return
            said = cards.in_progress(request, self._clock.now())
            job.request = request.at(await self._messenger.progress(place, said))

    def _following(self, job: Job) -> list[Job]:
        """Return the other jobs of a batch: one may have got its turn while `job` was being recorded."""
        batch_id = job.request.batch_id
        if batch_id is None:
            return []
        working = self._store.working.values()
        return [other for other in working if other is not job and other.request.batch_id == batch_id]

    async def _hand_back(self, job: Job) -> None:
        """Let the next process continue; where that can't be recorded, say that nothing is certain."""
        try:
            await self._store.release(job)
        except LeaseLost:
            return
        except StorageUnavailable:
            await self._answers.tell_failure(job, _uncertain(job))


def _bug(job: Job) -> InternalError:
    return InternalError(job.request.rule.noun, sent=job.sent_at is not None)


def _uncertain(job: Job) -> NotRecorded:
    return NotRecorded(job.request.rule.noun, sent=job.sent_at is not None)
