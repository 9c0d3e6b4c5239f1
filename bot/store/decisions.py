"""Decisions on their way: the row is the job, the key against duplicates, and the anchor of its audit rows.

Every write to a decision carries the fence that it was taken with: a process that was thought dead, and whose
decision another one has taken over, writes nothing any more.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Delete,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from bot.alerts import Look, Tracked, answered, outdated
from bot.clock import Clock
from bot.errors import LeaseLost
from bot.models import (
    RULES,
    Answer,
    AuditNote,
    CardContext,
    Claim,
    DecidedBy,
    Job,
    Outcome,
    Pause,
    Remediation,
    ReplyTarget,
    Request,
    SeenState,
    Sent,
    Verb,
    is_reported_in_digest,
    new_id,
)
from bot.store import audit, batches, inbox, outbox
from bot.store.approvals import card_context, keep_first
from bot.store.connection import Connection, is_among, listed, lock_audit, lock_cluster, now, read_clock
from bot.store.database import Conflict, Database
from bot.store.pauses import active_pause
from bot.store.rows import change_alert
from bot.store.serialization import dump_answer, dump_request, to_job
from bot.store.tables import (
    ACTIVE,
    ANSWERED,
    DONE,
    RECEIVED,
    SET_ASIDE,
    UNDELIVERED,
    VOID,
    alerts,
    decisions,
    first_approvals,
    ids_of,
    key_of,
    leases,
    messages,
    one_remediation,
)

logger = logging.getLogger(__name__)

_DAY = 86_400.0
_RESPONSE_URL_SECONDS = 1800.0  # docs.slack.dev, "Handling user interaction": 30 minutes
_LONGEST_LEASE = 900.0  # more than BOT_LEASE_SECONDS may be, and than the longest pause before an answer is told again
_RESERVE = 1.0  # seconds of a lease that this process doesn't count on
# Seconds from "a POST leaves" to the POST. Later, others may count on its having arrived, or never arriving.
SEND_WITHIN = 5.0
_CLOCK_STEP = 5.0  # seconds by which a clock may seem to go back without having been set
_PURGED_AT_ONCE = 500
_TURN = 1e-5  # seconds between two that begin one after the other; a double of today's seconds tells 2e-7 apart
c = decisions.c
_UNFINISHED = c.status.in_((RECEIVED, ACTIVE, ANSWERED))
_LEASE_UNTIL = now() + bindparam("b_lease")


_MINE = and_(c.id == bindparam("b_id"), c.owner == bindparam("b_owner"), c.fence == bindparam("b_fence"))


def _write(within: ColumnElement[bool] = _UNFINISHED, /, **values: object) -> Update:
    """Build the update of a job's row that succeeds only while the row is still this process's."""
    written = update(decisions).where(_MINE, within).values({"lease_until": _LEASE_UNTIL, **values})
    return written.returning(c.sent_at)


_INSERT = insert(decisions).values(received_at=now(), lease_until=_LEASE_UNTIL, repeats=0, deliveries=0, fence=1)
_RECEIVE = _INSERT.on_conflict_do_nothing(index_elements=["dedup_key"]).returning(c.received_at)
# Or voided already, by an attempt whose commit was in doubt in its turn.
_STILL_RECEIVED = or_(and_(c.id == bindparam("b_job"), c.status == RECEIVED), c.status == VOID)
_VOID = (
    _INSERT.values(done_at=now())
    .on_conflict_do_update(
        index_elements=["dedup_key"],
        set_={"status": VOID, "request": None, "done_at": now(), "outcome": "not taken"},
        where=_STILL_RECEIVED,
    )
    .returning(c.status)
)
_CLAIM = _write(status=ACTIVE, active_at=bindparam("b_active_at"))
_CLAIM_AND_SEND = _write(status=ACTIVE, active_at=bindparam("b_active_at"), sent_at=now())
_LAST_TURN = select(func.max(c.active_at), now()).where(c.cluster_id == bindparam("b_cluster"), c.status == ACTIVE)
_HOLDER = select(c.user_id, c.verb, c.active_at).where(one_remediation(c), c.status == ACTIVE)
_RECORD_SEND = _write(
    sent_at=now(), seen_mode=bindparam("b_mode"), seen_state=bindparam("b_state"),
    repeats=c.repeats + bindparam("b_repeat"),
)  # fmt: skip
_SEND_AGAIN = _write(sent_at=now())
_NO_OUTCOME = c.status.in_((RECEIVED, ACTIVE))
_RECORD_OUTCOME = _write(
    _NO_OUTCOME, status=ANSWERED, answer=bindparam("b_answer"), outcome=bindparam("b_outcome"), answered_at=now()
)
_RECORD_AND_FINISH = _write(
    _NO_OUTCOME, status=DONE, outcome=bindparam("b_outcome"), summary=bindparam("b_summary"), answered_at=now(),
    done_at=now(), request=None,
)  # fmt: skip
_RECORDED = select(c.answered_at).where(_MINE, c.status == bindparam("b_status"))
_KEEP = _write()
_FINISH = _write(status=bindparam("b_status"), done_at=now(), request=None, answer=None)
_ANSWERED_SINCE = (
    select(c.id)
    .where(
        one_remediation(c), c.id != bindparam("b_id"), c.active_at.is_not(None),
        c.answered_at >= bindparam("b_answered_at"),
    )
    .limit(1)
)  # fmt: skip
_MOVE = _write(request=bindparam("b_request"))
_POSTPONE = _write(
    deliveries=c.deliveries + 1, lease_until=now() + bindparam("b_seconds"), request=bindparam("b_request")
)
_RELEASE = _write(lease_until=0.0)
_HEARTBEAT = (
    update(decisions)
    .where(is_among("b_ids", c.id), c.owner == bindparam("b_owner"), _UNFINISHED)
    .values(lease_until=_LEASE_UNTIL)
    .returning(c.id)
)
_PROBE = insert(leases).values(until=now()).on_conflict_do_update(index_elements=["name"], set_={"until": now()})
_OLD_PROBES = delete(leases).where(leases.c.name.startswith("process "), leases.c.until < now() - _DAY)
# A clock that was set back would make a dead process's lease last for as long.
_IMPOSSIBLE = c.lease_until > now() + _LONGEST_LEASE
_LEFT = or_(c.lease_until < now(), _IMPOSSIBLE, and_(bindparam("b_all"), c.owner != bindparam("b_owner")))
_TAKE_OVER = (
    update(decisions)
    .where(
        c.id.in_(
            select(c.id).where(_UNFINISHED, _LEFT).order_by(c.received_at).limit(bindparam("b_limit"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(owner=bindparam("b_owner"), lease_until=_LEASE_UNTIL, fence=c.fence + 1)
    .returning(*c)
)  # fmt: skip
_SET_ASIDE = update(decisions).where(c.id == bindparam("b_id")).values(status=SET_ASIDE)
_COUNT_SET_ASIDE = select(func.count()).where(c.status == SET_ASIDE)
_OLD_REQUESTS = select(c.id, c.request).where(
    _UNFINISHED, c.received_at < now() - _RESPONSE_URL_SECONDS, c.request.contains('"response_url": "')
)
_REWRITE = update(decisions).where(c.id == bindparam("b_id")).values(request=bindparam("b_request"))


def _old(table: Table, *where: ColumnElement[bool]) -> Delete:
    """Build the deletion of some of what is old."""
    key = list(table.primary_key.columns)
    some = select(*key).where(*where).limit(_PURGED_AT_ONCE)
    return delete(table).where((tuple_(*key) if len(key) > 1 else key[0]).in_(some))


_OLDEST: BindParameter[float] = bindparam("b_oldest")
_OLD = (
    _old(decisions, c.done_at < _OLDEST),
    # Worded so that SQLite looks by age: almost all rows are closed.
    _old(alerts, alerts.c.is_open.is_distinct_from(true()), alerts.c.seen_at < _OLDEST),
    _old(messages, messages.c.is_open.is_distinct_from(true()), messages.c.opened_at < _OLDEST),
)


class DecisionStore:
    """The transactions. Each may raise StorageUnavailable; a write to a job that another process took, LeaseLost."""

    def __init__(self, database: Database, lease_seconds: float, clock: Clock) -> None:
        self.database = database
        self._lease = lease_seconds
        self._clock = clock
        self._owner = new_id()
        self._turn = batches.Owner(self._owner, lease_seconds)

    async def receive(self, request: Request, job_id: str) -> Job | None:
        """Write down what was asked. Returns None when the same click or command is there already.

        Args:
            job_id: chosen by the caller, who may have to make sure with `void` that it isn't run.
        """
        values, asked_at = self._insert(request, job_id, RECEIVED, dump_request(request)), self._clock.monotonic()
        received_at = (await self.database.run(Connection.execute, _RECEIVE, values)).scalar()
        if received_at is None:
            return None
        job = Job(job_id, request, fence=1, received_at=received_at, received_mono=asked_at)
        return self._hold(job, asked_at)

    async def void(self, request: Request, job_id: str) -> bool:
        """Make sure that a row whose commit is in doubt isn't run later, whether it has landed or is yet to land.

        A row of its own is put in the place of one that has not landed, and keeps it out.

        Returns:
            Whether nothing will be run. False: another process has begun to carry it out.
        """
        values = self._insert(request, job_id, VOID, None) | {"id": f"{job_id}-void", "outcome": "not taken"}
        return bool(await self.database.run(Connection.execute, _VOID, values | {"b_job": job_id}))

    def _insert(self, request: Request, job_id: str, status: str, written: str | None) -> dict[str, Any]:
        return {
            "id": job_id, "dedup_key": request.trigger_id or job_id, "status": status, "verb": request.verb.value,
            "user_id": request.actor.user_id, "request": written, "owner": self._owner, "b_lease": self._lease,
            **ids_of(request.ref),
        }  # fmt: skip

    async def claim(self, job: Job, *, sends: bool = False) -> Claim | CardContext:
        """Claim the remediation for this decision.

        Returns:
            The claim of somebody else who has it, or, when it is claimed, what a card says beyond the remediation.
        """
        for is_last in (False, False, True):  # its holder may finish before we ask who it is
            asked_at = self._clock.monotonic()
            try:
                sent_at, context = await self.database.run(self._claim, job, sends=sends)
            except Conflict:
                if claim := await self.claimed_by(job.request):
                    return claim
                if is_last:
                    raise
            else:
                job.is_active = True
                self._hold(job, asked_at)
                if sends:
                    job.sent, job.send_is_recorded, job.sending_since = Sent(sent_at, None), True, asked_at
                return context
        raise AssertionError("the last attempt returns or raises")

    def _claim(self, connection: Connection, job: Job, *, sends: bool) -> tuple[float, CardContext]:
        turn = _next_turn(connection, job.request) if job.request.verb is Verb.APPROVE else read_clock(connection)
        sent_at = self._execute(connection, _CLAIM_AND_SEND if sends else _CLAIM, job, b_active_at=turn)
        if sends:
            audit.record(connection, job, "send", None, sent_at)
        return sent_at, card_context(connection, job.request.ref)

    async def claimed_by(self, request: Request) -> Claim | None:
        """Return who is deciding on this remediation right now."""
        return await self.database.read(_claimed_by, request)

    async def who_decided(self, present: Remediation) -> DecidedBy | None:
        """Return who brought a remediation into its state through this bot, where that is known."""
        return await self.database.read(audit.who_decided, present)

    async def record_send(self, job: Job, seen: SeenState | None) -> Pause | None:
        """Record that a POST leaves now; the first one of a job, and each repeat, with a row in the audit trail.

        Returns:
            The pause that keeps an approval from leaving. A pause is confirmed only after every POST that this
            lets pass was recorded.
        """
        asked_at, repeat = self._clock.monotonic(), job.sent is not None
        sent_at = await self.database.run(self._record_send, job, seen, repeat=repeat)
        if isinstance(sent_at, Pause):
            return sent_at
        self._hold(job, asked_at)
        job.sent, job.sending_since = Sent(sent_at, seen), asked_at
        return None

    def _record_send(self, connection: Connection, job: Job, seen: SeenState | None, *, repeat: bool) -> float | Pause:
        if pause := _pause_of(connection, job.request):
            return pause
        before = job.sent.seen if job.sent else None
        kept = seen or before
        sent_at = self._execute(
            connection, _RECORD_SEND, job, b_repeat=int(repeat), b_mode=kept.mode if kept else None,
            b_state=kept.state if kept else None,
        )  # fmt: skip
        audit.record(connection, job, "repeat" if repeat else "send", None, sent_at)
        return sent_at

    async def send_again(self, job: Job) -> Pause | None:
        """Record that another attempt of the same POST leaves now, because the one before did not arrive.

        Returns:
            As `record_send`.
        """
        asked_at = self._clock.monotonic()
        if pause := await self.database.run(self._send_again, job):
            return pause
        self._hold(job, asked_at)
        job.sending_since = asked_at
        return None

    def _send_again(self, connection: Connection, job: Job) -> Pause | None:
        if pause := _pause_of(connection, job.request):
            return pause
        self._execute(connection, _SEND_AGAIN, job)
        return None

    def may_send(self, job: Job) -> bool:
        """Return whether a POST may leave now: "a POST leaves" was recorded a moment ago, and nobody else has the job.

        The database's answer may have come late, and this process may have been suspended since.
        """
        is_soon = self._clock.monotonic() - job.sending_since < SEND_WITHIN
        return is_soon and self.holds(job)

    def holds(self, job: Job) -> bool:
        """Return whether no other process can have a job now, by this process's own clock."""
        return self._clock.monotonic() < job.held_until - _RESERVE

    async def ensure_held(self, job: Job) -> None:
        """Return once no other process can have a job now; where this process's clock isn't sure, ask the database."""
        if not self.holds(job):
            asked_at = self._clock.monotonic()
            await self.database.run(self._execute, _KEEP, job)
            self._hold(job, asked_at)

    def _hold(self, job: Job, asked_at: float) -> Job:
        job.held_until = asked_at + self._lease
        return job

    async def record_outcome(self, job: Job, outcome: Outcome, answer: Answer) -> Job | None:
        """Record the outcome and what to tell, with its row in the audit trail. Frees the remediation for others.

        Returns:
            The decision of the same batch whose turn it is now.
        """
        asked_at = self._clock.monotonic()
        job.answered_at, following = await self.database.run(self._record_outcome, job, outcome, answer)
        self._hold(job, asked_at)
        job.answer = answer
        return self._hold(following, asked_at) if following else None

    def _record_outcome(
        self, connection: Connection, job: Job, outcome: Outcome, answer: Answer
    ) -> tuple[float, Job | None]:
        request = job.request
        if request.batch_id:
            batches.lock(connection, request.batch_id)
        at, kind = read_clock(connection), outcome.kind.value
        is_told = is_reported_in_digest(request, outcome)
        try:
            if is_told:
                self._execute(connection, _RECORD_AND_FINISH, job, b_outcome=kind, b_summary=answer.summary)
            else:
                self._execute(connection, _RECORD_OUTCOME, job, b_answer=dump_answer(answer), b_outcome=kind)
        except LeaseLost:
            recorded = connection.execute(
                _RECORDED, self._key(job) | {"b_status": DONE if is_told else ANSWERED}
            ).first()
            if recorded is None:
                raise
            # By an attempt of this process whose commit was in doubt.
            if not is_told:
                self._execute(connection, _KEEP, job)
            at = float(recorded.answered_at)
        else:
            if outcome.first:
                keep_first(connection, request.ref, outcome.first)
            seq = audit.record(connection, job, audit.OUTCOME, outcome, at)
            if kind == RULES[request.verb].done and RULES[request.verb].decides:
                outbox.decided(connection, job, outcome)

            def answer_given(look: Look) -> Tracked:
                return answered(look.alert, look.message, request, answer, look.now, seq)

            change_alert(connection, request.ref, answer_given)
        batch_id = request.batch_id
        return at, batches.advance(connection, batch_id, self._turn, job.received_at) if batch_id else None

    async def confirm(self, batch_id: str, user_id: str) -> Job | None:
        """Write the decisions of a selection; like `batches.confirm`."""
        asked_at = self._clock.monotonic()
        job = await self.database.run(batches.confirm, batch_id, user_id, self._turn)
        return self._hold(job, asked_at) if job else None

    async def finish(self, job: Job, *, delivered: bool = True) -> None:
        """Close a job whose answer was delivered or given up, and drop what only the delivery needed.

        Where another decision on the remediation was answered since, the card may show the older answer now.
        """
        await self.database.run(self._finish, job, DONE if delivered else UNDELIVERED)

    def _finish(self, connection: Connection, job: Job, status: str) -> None:
        self._execute(connection, _FINISH, job, b_status=status)
        values = key_of(job.request.ref) | {"b_id": job.id, "b_answered_at": job.answered_at}
        if RULES[job.request.verb].decides and connection.execute(_ANSWERED_SINCE, values).first():
            change_alert(connection, job.request.ref, lambda look: (look.alert, outdated(look.message, look.now)))

    async def postpone(self, job: Job, seconds: float) -> None:
        """Let any process deliver the answer again after `seconds`."""
        request, place = job.request, job.request.place
        if await self.seconds_since(job.received_at) > _RESPONSE_URL_SECONDS:
            request = request.at(replace(place, response_url=None))
        await self.database.run(self._execute, _POSTPONE, job, b_seconds=seconds, b_request=dump_request(request))

    async def set_place(self, job: Job, place: ReplyTarget) -> None:
        """Remember where "in progress" is shown, so that the process that finishes the job finds it."""
        job.request = job.request.at(place)
        await self.database.run(self._execute, _MOVE, job, b_request=dump_request(job.request))

    async def note(self, note: AuditNote) -> None:
        """Put a row into the audit trail that is about no decision."""
        await self.database.run(audit.note, note)

    async def heartbeat(self, jobs: Mapping[str, Job]) -> None:
        """Keep what this process works on, and write in any case: a database that can't be written is told by that."""
        asked_at, jobs = self._clock.monotonic(), dict(jobs)
        for job_id in await self.database.keep(self._heartbeat, list(jobs)):
            self._hold(jobs[job_id], asked_at)

    def _heartbeat(self, connection: Connection, job_ids: list[str]) -> list[str]:
        connection.execute(_PROBE, {"name": f"process {self._owner}", "owner": self._owner})
        kept = connection.execute(
            _HEARTBEAT, {"b_ids": listed(job_ids), "b_owner": self._owner, "b_lease": self._lease}
        )
        return kept.scalars()

    async def release(self, job: Job) -> None:
        """Let the next process continue with a job at once."""
        await self.database.run(self._execute, _RELEASE, job)

    async def take_over(self, limit: int, *, at_start: bool = False) -> list[Job]:
        """Take what other processes have left behind. What this version can't read is set aside.

        Args:
            at_start: with SQLite, take all unfinished decisions: only one process uses the file.
        """
        asked_at, take_all = self._clock.monotonic(), at_start and self.database.is_sqlite
        jobs = await self.database.run(self._take_over, limit, take_all=take_all)
        return [self._hold(job, asked_at) for job in jobs]

    def _take_over(self, connection: Connection, limit: int, *, take_all: bool) -> list[Job]:
        values = {"b_limit": limit, "b_owner": self._owner, "b_lease": self._lease, "b_all": take_all}
        jobs, odd = [], []
        for row in connection.execute(_TAKE_OVER, values):
            try:
                jobs.append(to_job(row))
            except (ValueError, TypeError, KeyError) as error:
                logger.error("Decision %s can't be read and is set aside: %s", row.id, type(error).__name__)  # noqa: TRY400 - the row may hold a response_url
                odd.append(row)
        aside = (self._set_aside(connection, row.id, row.batch_id, row.received_at) for row in odd)
        return jobs + [following for following in aside if following]

    async def set_aside(self, job: Job) -> Job | None:
        """Keep a job from being taken over again. Returns the decision of the same batch whose turn it is now."""
        asked_at = self._clock.monotonic()
        following = await self.database.run(self._set_aside, job.id, job.request.batch_id, job.received_at)
        return self._hold(following, asked_at) if following else None

    def _set_aside(self, connection: Connection, job_id: str, batch_id: str | None, began_at: float) -> Job | None:
        connection.execute(_SET_ASIDE, {"b_id": job_id})
        return batches.advance(connection, batch_id, self._turn, began_at) if batch_id else None

    async def count_set_aside(self) -> int:
        """Return how many rows no version that ran here could read."""
        return int((await self.database.read(Connection.execute, _COUNT_SET_ASIDE)).scalar())

    async def purge(self, days: int) -> int:
        """Delete finished decisions, alerts and batches that are older, some at a time; the audit trail stays.

        Returns:
            How many decisions.
        """
        oldest = await self.database.read(read_clock) - days * _DAY
        await self.database.run(_purge_small, oldest)
        purged = [await self._purge_all(each, oldest) for each in _OLD]
        return purged[0]

    async def _purge_all(self, statement: Delete, oldest: float) -> int:
        """Delete in many small transactions: acks wait for none of them long."""
        total = 0
        while count := (await self.database.run(Connection.execute, statement, {"b_oldest": oldest})).rowcount:
            total += count
            if count < _PURGED_AT_ONCE:
                break
        return total

    async def drop_old_response_urls(self) -> None:
        """Forget response_urls that Slack no longer takes."""
        await self.database.run(_drop_old_response_urls)

    async def seconds_since(self, moment: float) -> float:
        """Return how many seconds ago a moment on the database's clock was."""
        return await self.database.read(read_clock) - moment

    async def age(self, job: Job) -> float:
        """Return how many seconds ago a job was received; infinity where a clock was set back since, so nobody knows.

        What this process received itself, it need not ask the database.
        """
        if not job.taken_over:
            return self._clock.monotonic() - job.received_mono
        ages = [await self.seconds_since(job.received_at)]
        if job.request.asked_at:
            ages.append(self._clock.now() - job.request.asked_at)
        return math.inf if min(ages) < -_CLOCK_STEP else max(ages)

    def _execute(self, connection: Connection, statement: Update, job: Job, /, **values: object) -> float:
        """Write to a job's row, if it is still ours, and keep it for another lease."""
        keys = self._key(job)
        if statement not in (_POSTPONE, _RELEASE):
            keys["b_lease"] = self._lease
        row = connection.execute(statement, keys | values).first()
        if row is None:
            raise LeaseLost
        return float(row[0] or 0.0)

    def _key(self, job: Job) -> dict[str, Any]:
        return {"b_id": job.id, "b_owner": self._owner, "b_fence": job.fence}


def _claimed_by(connection: Connection, request: Request) -> Claim | None:
    row = connection.execute(_HOLDER, key_of(request.ref)).first()
    return Claim(row.user_id, Verb(row.verb), row.active_at) if row else None


def _pause_of(connection: Connection, request: Request) -> Pause | None:
    """Return the pause that keeps an approval from being sent.

    A pause is written under the same lock, so it comes before this look or after what this look lets pass.
    """
    if request.verb is not Verb.APPROVE:
        return None
    lock_audit(connection)
    return active_pause(connection, [request.ref.cluster_id])


def _next_turn(connection: Connection, request: Request) -> float:
    """The present, made later than the last approval that began in the cluster: clocks can go back."""
    lock_cluster(connection, request.ref.cluster_id)
    last, present = connection.execute(_LAST_TURN, {"b_cluster": request.ref.cluster_id}).one()
    return float(present) if last is None else max(float(present), float(last) + _TURN)


def _purge_small(connection: Connection, oldest: float) -> None:
    connection.execute(delete(first_approvals).where(first_approvals.c.at < oldest))
    connection.execute(_OLD_PROBES)
    inbox.purge(connection)
    batches.purge(connection, oldest, never_confirmed=read_clock(connection) - _DAY)


def _drop_old_response_urls(connection: Connection) -> None:
    for row in connection.execute(_OLD_REQUESTS):
        connection.execute(_REWRITE, {"b_id": row.id, "b_request": without_response_url(row.request)})


def without_response_url(request: str) -> str:
    """Blank the response_url in a stored request."""
    head, _, rest = request.partition('"response_url": "')
    return f'{head}"response_url": null{rest.partition(chr(34))[2]}'
