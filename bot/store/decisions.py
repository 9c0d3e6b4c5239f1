"""Unfinished decisions: the row is the job, the key against duplicates, and the anchor of its audit rows.

Every write to a decision carries the fence that it was taken with: a process that was thought dead, and whose
decision another one has taken over, writes nothing any more.
"""

import math
from dataclasses import asdict, replace
from functools import partial

from sqlalchemy import ColumnElement, Double, and_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from bot.alerts import answered, overridden
from bot.errors import LeaseLost, NotAllowed, NotReadable, OutcomeKind
from bot.models import (
    Answer,
    CardContext,
    Claim,
    DecidedBy,
    Hold,
    Job,
    Outcome,
    Override,
    Pause,
    RemediationRef,
    ReplyTarget,
    Request,
    Verb,
)
from bot.store import audit, batches, outbox, pauses
from bot.store.connection import SELECT_NOW, Connection, Record, dump, lock_cluster, now, read_clock
from bot.store.database import Conflict
from bot.store.lease import LEASE_UNTIL
from bot.store.ownership import KEEP, MINE, Ownership, sent_at, update_mine
from bot.store.rows import ALERT_TO_CHANGE, FORGET_FIRST, card_context, change_alert, mark_stale, readable_alert
from bot.store.tables import (
    ACTIVE,
    ANSWERED,
    DONE,
    RECEIVED,
    UNDELIVERED,
    VOID,
    decisions,
    first_approvals,
    ids_of,
    key_of,
    one_remediation,
)

_CLOCK_STEP = 5.0  # seconds by which a clock may seem to go back without having been set
_CLOCKS_APART = 300.0  # seconds between those of two machines that are right
_TOLD_ALONE = OutcomeKind.NOT_ALLOWED, OutcomeKind.NOT_CHECKED
_TURN = 1e-5  # seconds between two that begin one after the other; a double of today's seconds tells 2e-7 apart
_INSERT = insert(decisions).values(received_at=now(), lease_until=LEASE_UNTIL, repeats=0, deliveries=0, fence=1)
_RECEIVE = _INSERT.on_conflict_do_nothing(index_elements=["dedup_key"]).returning(decisions.c.received_at)
# Or already voided, by an attempt whose own commit was in doubt.
_STILL_RECEIVED = or_(
    and_(decisions.c.id == bindparam("b_job"), decisions.c.status == RECEIVED), decisions.c.status == VOID
)
_VOID = (
    _INSERT.values(done_at=now())
    .on_conflict_do_update(
        index_elements=["dedup_key"],
        set_={"status": VOID, "request": None, "done_at": now(), "outcome": "not taken"},
        where=_STILL_RECEIVED,
    )
    .returning(decisions.c.status)
)
_NO_OUTCOME = decisions.c.status.in_((RECEIVED, ACTIVE))  # a write that was given up may come after it
_TURN_OR_NOW: ColumnElement[float] = func.coalesce(bindparam("b_turn", type_=Double()), now())
_CLAIM = update_mine(_NO_OUTCOME, status=ACTIVE, active_at=_TURN_OR_NOW)
_CLAIM_AND_SEND = _CLAIM.values(sent_at=now())
_LAST_TURN = select(func.max(decisions.c.active_at), now()).where(
    decisions.c.cluster_id == bindparam("b_cluster"), decisions.c.status == ACTIVE
)
_HOLDER = select(decisions.c.user_id, decisions.c.verb, decisions.c.active_at).where(
    one_remediation(decisions.c), decisions.c.status == ACTIVE
)
_SEND_AGAIN = update_mine(_NO_OUTCOME, sent_at=now())
_RECORD_SEND = _SEND_AGAIN.values(repeats=decisions.c.repeats + bindparam("b_repeat"))
_RECORD = update_mine(_NO_OUTCOME, answered_at=now())
_RECORD_OUTCOME = _RECORD.values(status=ANSWERED)
_RECORD_AND_FINISH = _RECORD.values(status=DONE, done_at=now(), request=None)
_INSERT_FIRST = insert(first_approvals)
_RECORDED = select(decisions.c.answered_at).where(MINE)
_FINISH = update_mine(done_at=now(), request=None, answer=None)
_others = decisions.alias("others")
_ANSWERED_SINCE = (
    select(_others.c.id)
    .where(
        one_remediation(_others.c), _others.c.id != bindparam("b_id"), _others.c.active_at.is_not(None),
        _others.c.answered_at >= bindparam("b_answered_at"),
    )
    .limit(1)
)  # fmt: skip
_RELEASED_SINCE = (
    select(_others.c.id)
    .where(
        one_remediation(_others.c), _others.c.verb == Verb.RELEASE, _others.c.outcome == OutcomeKind.RELEASED,
        _others.c.answered_at >= bindparam("b_answered_at"),
    )
    .limit(1)
)  # fmt: skip
_FINISH_LATEST = _FINISH.where(~_ANSWERED_SINCE.exists())
_POSTPONE = update_mine(deliveries=decisions.c.deliveries + 1, lease_until=now() + bindparam("b_seconds"), owner="")


class DecisionStore(Ownership):
    """The transactions. Each may raise StorageUnavailable; a write to a job that another process took, LeaseLost.

    Attributes:
        has_digests: whether a watch keeps digests current. They show the results of a selection; else each is told.
    """

    has_digests = True

    async def receive(self, request: Request, job_id: str) -> Job | None:
        """Write down what was asked. Returns None when the same click or command is there already.

        Args:
            job_id: chosen by the caller, who may have to make sure with `void` that it isn't run.
        """
        values = self._insert(request, job_id, RECEIVED, dump(request))
        asked_at = self._clock.monotonic()
        received_at = (await self.database.run(Connection.execute, _RECEIVE, values)).scalar()
        if received_at is None:
            return None
        return self._take(Job(job_id, request, fence=1, received_at=received_at), asked_at)

    async def void(self, request: Request, job_id: str) -> bool:
        """Make sure that a row whose commit is in doubt isn't run later, whether it has landed or is yet to land.

        Another row takes the place of one that has not landed, and keeps it out.

        Returns:
            Whether nothing will be run. False: another process has begun to carry it out.
        """
        values = self._insert(request, job_id, VOID, None) | {"id": f"{job_id}-void", "outcome": "not taken"}
        return bool(await self.database.run(Connection.execute, _VOID, values, b_job=job_id))

    def _insert(self, request: Request, job_id: str, status: str, written: str | None) -> Record:
        return {
            "id": job_id, "dedup_key": request.trigger_id or job_id, "status": status, "verb": request.verb.value,
            "user_id": request.actor.user_id, "request": written, "owner": self._owner, **ids_of(request.ref),
            **self._holder,
        }  # fmt: skip

    async def claim(self, job: Job, *, sends: bool = False) -> Claim | None:
        """Claim the remediation for this decision. Returns the claim of somebody else who has it.

        Args:
            sends: record too that its POST leaves now.
        """
        for is_last in (False, False, True):  # its holder may finish before we ask who it is
            asked_at = self._clock.monotonic()
            try:
                left_at, job.about = await self.database.run(self._claim, job, sends=sends)
            except Conflict:
                if claim := await self.database.read(claimed_by, job.request.ref):
                    return claim
                if is_last:
                    raise
            else:
                job.is_active = True
                job.leased_until = asked_at + self._sure_seconds
                if sends:
                    job.sent_at, job.sending_mono = left_at, asked_at
                return None
        raise AssertionError("the last attempt returns or raises")

    def _claim(self, connection: Connection, job: Job, *, sends: bool) -> tuple[float, CardContext]:
        turn, cluster_id = None, job.request.ref.cluster_id
        if job.request.verb is Verb.APPROVE:  # later than the last one that began in the cluster: clocks can go back
            lock_cluster(connection, cluster_id)
            last, present = connection.execute(_LAST_TURN, b_cluster=cluster_id).first()
            turn = max(present, (last or 0.0) + _TURN)
        written = self._use(connection, _CLAIM_AND_SEND if sends else _CLAIM, job, b_turn=turn)
        end = audit.lock_trail(connection) if sends else None
        about, left_at = card_context(connection, job.request.ref), sent_at(written)
        if end is not None:
            audit.record(connection, job, audit.SEND, None, left_at, end)
        return left_at, about

    async def record_send(self, job: Job, *, is_again: bool = False) -> Pause | Hold | None:
        """Record that a POST leaves now; the first one of a job, and each repeat, with a row in the audit trail.

        Args:
            is_again: the attempt before, of the same POST, did not arrive.

        Returns:
            What keeps an approval from leaving: a pause, or a hold that its person hasn't seen. Either is confirmed
            only after every POST that this lets pass was recorded.
        """
        asked_at = self._clock.monotonic()
        sent = await self.database.run(self._record_send, job, is_again=is_again)
        if isinstance(sent, Pause | Hold):
            return sent
        job.leased_until = asked_at + self._sure_seconds
        job.sent_at, job.sending_mono = sent, asked_at
        return None

    def _record_send(self, connection: Connection, job: Job, *, is_again: bool) -> float | Pause | Hold:
        request, is_repeat = job.request, job.sent_at is not None
        if request.verb is Verb.APPROVE and (kept_by := _kept_by(connection, request)):
            return kept_by
        if is_again:
            return sent_at(self._use(connection, _SEND_AGAIN, job))
        seen = {"seen_mode": job.seen.mode, "seen_state": job.seen.state}
        written = self._use(connection, _RECORD_SEND, job, b_repeat=int(is_repeat), **seen)
        end = audit.lock_trail(connection)
        left_at = sent_at(written)
        if request.instead_of and not is_repeat:
            suggested = replace(request, shown=replace(request.saw, mode=request.instead_of))
            audit.record(connection, replace(job, request=suggested), "suggested", None, left_at, end)
            end = audit.lock_trail(connection)
        if request.overrides and not is_repeat:
            # One person approves alone: the thread learns it, also where the result stays unknown.
            audit.record(connection, job, "override", None, left_at, end)
            override = Override(request.actor.user_id, request.reason, job.id)
            change_alert(connection, request.ref, partial(overridden, override=override))
            end = audit.lock_trail(connection)
        audit.record(connection, job, audit.REPEAT if is_repeat else audit.SEND, None, left_at, end)
        return left_at

    async def record_outcome(self, job: Job, outcome: Outcome, answer: Answer) -> Job | None:
        """Record the outcome and what to tell, with its row in the audit trail. Frees the remediation for others.

        Returns:
            The decision of the same batch whose turn it is now.
        """
        asked_at = self._clock.monotonic()
        job.answered_at, job.answer, following = await self.database.run(self._record_outcome, job, outcome, answer)
        job.leased_until = asked_at + self._sure_seconds
        return self._take(following, asked_at)

    def _record_outcome(
        self, connection: Connection, job: Job, outcome: Outcome, answer: Answer
    ) -> tuple[float, Answer | None, Job | None]:
        request = job.request
        if request.batch_id:
            batches.lock(connection, request.batch_id)
        clock, kind = connection.execute(SELECT_NOW), outcome.kind.value
        # Its digest shows it, so it gets no separate message. Who can't decide learns why.
        is_told = self.has_digests and request.batch_id is not None and kind not in _TOLD_ALONE
        if is_told:
            written = self._use(connection, _RECORD_AND_FINISH, job, outcome=kind, summary=answer.summary)
        else:
            written = self._use(connection, _RECORD_OUTCOME, job, outcome=kind, answer=dump(answer))
        end = audit.lock_trail(connection)
        shown = connection.execute(ALERT_TO_CHANGE, key_of(request.ref))
        at = float(clock.scalar())
        if not written:
            # Unless by an attempt of this process whose commit was in doubt, another one has it.
            if (at := self._use(connection, _RECORDED, job).scalar()) is None:
                raise LeaseLost
            if not is_told:
                sent_at(self._use(connection, KEEP, job))
        else:
            seq = audit.record(connection, job, audit.OUTCOME, outcome, at, end)
            if request.rule.decides:
                _note_first(connection, request, outcome)
                if kind == request.rule.done:
                    # A cancellation that was only read back may be somebody else's.
                    is_sure, mode = outcome.settled_by is not None, request.saw.mode or ""
                    who = DecidedBy(request.verb, request.actor.user_id, at, request.reason, is_sure=is_sure, mode=mode)
                    outbox.decided(connection, request.ref, who, outcome.state, key=f"decision {job.id}")
            change = partial(answered, request=request, answer=answer, seq=seq)
            change_alert(connection, request.ref, change, found=shown)
        following = None
        if request.batch_id:
            following = batches.advance(connection, request.batch_id, self._holder, job.received_at)
        return at, None if is_told else answer, following

    async def confirm(self, batch_id: str, user_id: str, reason: str) -> Job | None:
        """Write the decisions of a selection; like `batches.confirm`."""
        asked_at = self._clock.monotonic()
        return self._take(await self.database.run(batches.confirm, batch_id, user_id, reason, self._holder), asked_at)

    async def finish(self, job: Job, *, delivered: bool = True) -> None:
        """Close a job whose answer was delivered or given up, and drop what only the delivery needed.

        Where another decision on the remediation was answered since, the card may show the older answer now.
        """
        ref, status = job.request.ref, DONE if delivered else UNDELIVERED
        if not job.request.rule.decides:
            await self._write(_FINISH, job, status=status)
            return
        latest = key_of(ref) | {"b_answered_at": job.answered_at}
        if await self.database.run(self._use, _FINISH_LATEST, job, status=status, **latest):
            return

        def write(connection: Connection) -> None:
            sent_at(self._use(connection, _FINISH, job, status=status))
            mark_stale(connection, ref)

        await self.database.run(write)

    async def is_answered_since(self, job: Job, moment: float) -> bool:
        """Return whether another decision on the remediation was answered since a moment, in Unix time in seconds."""
        of = key_of(job.request.ref) | {"b_id": job.id, "b_answered_at": moment}
        return bool(await self.database.read(Connection.execute, _ANSWERED_SINCE, of))

    async def is_released_since(self, job: Job) -> bool:
        """Return whether a hold on the remediation was released since this was received."""
        of = key_of(job.request.ref) | {"b_answered_at": job.received_at}
        return bool(await self.database.read(Connection.execute, _RELEASED_SINCE, of))

    async def postpone(self, job: Job, seconds: float) -> None:
        """Let any process deliver the answer again after `seconds`."""
        request = dump(job.request)
        await self._write(_POSTPONE, job, b_seconds=seconds, request=request)

    async def set_place(self, job: Job, place: ReplyTarget) -> None:
        """Remember where "in progress" is shown, so that the process that finishes the job finds it."""
        job.request = job.request.at(place)
        await self._write(KEEP, job, request=dump(job.request))

    async def seconds_since(self, moment: float) -> float:
        """Return how many seconds ago a moment on the database's clock was."""
        return await self.database.read(read_clock) - moment

    async def age(self, job: Job) -> float:
        """Return how many seconds ago a job was received; infinity where a clock was set back since, so nobody knows.

        What this process received itself, it need not ask the database.
        """
        if not job.taken_over:
            return self._clock.monotonic() - job.received_mono
        age = await self.seconds_since(job.received_at)
        own_age = self._clock.now() - job.request.asked_at if job.request.asked_at else age
        return math.inf if age < -_CLOCK_STEP or own_age < -_CLOCKS_APART else max(age, own_age)


def _note_first(connection: Connection, request: Request, outcome: Outcome) -> None:
    """Store a first approval, or delete it: it is used up, or called off, or its person has decided otherwise since."""
    is_over = outcome.first or outcome.kind in {OutcomeKind.APPROVED, OutcomeKind.REJECTED, OutcomeKind.CANCELLED}
    is_refused = isinstance(outcome.settled_by, NotAllowed)  # then it's told that nothing has changed
    if is_over or (request.verb is not Verb.APPROVE and not is_refused):
        connection.execute(FORGET_FIRST, key_of(request.ref), b_user="" if is_over else request.actor.user_id)
    if outcome.first:
        connection.execute(_INSERT_FIRST, asdict(outcome.first) | ids_of(request.ref))


def claimed_by(connection: Connection, ref: RemediationRef) -> Claim | None:
    """Return who is deciding on a remediation right now."""
    row = connection.execute(_HOLDER, key_of(ref)).first()
    return Claim(row.user_id, Verb(row.verb), row.active_at) if row else None


def _kept_by(connection: Connection, request: Request) -> Pause | Hold | None:
    """Return what keeps an approval from being sent.

    A pause and a hold are written under the same locks, so they come before this look or after what it lets pass.

    Raises:
        NotReadable: another version wrote that down.
    """
    audit.lock_trail(connection)
    found, clock = connection.execute(ALERT_TO_CHANGE, key_of(request.ref)), connection.execute(SELECT_NOW)
    if pause := pauses.active(connection, [request.ref.cluster_id]):
        return pause
    row = found.first()
    alert = readable_alert(row.body, row.message_id) if row else None
    if row and alert is None:
        raise NotReadable
    hold = alert.hold.at(float(clock.scalar())) if alert and alert.hold else None
    return hold if hold and hold.unseen(request) else None
