"""What must survive: decisions on their way, and the audit trail. One code on SQLite and PostgreSQL.

Every write to a decision carries the fence that it was taken with: a process that was thought dead, and whose
decision another one has taken over, writes nothing any more.
"""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.errors import LeaseLost
from bot.models import (
    RULES,
    Answer,
    BatchStatus,
    Decided,
    Job,
    Outcome,
    Place,
    Remediation,
    Request,
    Sent,
    Shown,
    Verb,
    answered,
)
from bot.store import audit
from bot.store.agreed import Agreed
from bot.store.alerts import change_alert
from bot.store.batches import note_outcome
from bot.store.engine import Database, now, to_the_end
from bot.store.rows import Holder, dump_answer, dump_request, to_job
from bot.store.tables import (
    ACTIVE,
    DONE,
    DOUBTFUL,
    RECEIVED,
    VOID,
    about,
    alerts,
    batch_items,
    batches,
    decisions,
    digests,
    first_approvals,
)
from bot.store.tables import audit as trail

_DAY = 86_400.0
_TURN = 1e-5  # seconds between two that begin one after the other; a double of today's seconds tells 2e-7 apart
_UNFINISHED = decisions.c.status.in_((RECEIVED, ACTIVE))


class Store:
    """The statements.

    Args:
        database: where.
        lease_seconds: how long a silent process keeps a decision.
        clock: the clock of SQLite's one process. PostgreSQL's own clock is asked instead.

    Attributes:
        agreed: what people have agreed on.
    """

    def __init__(self, database: Database, lease_seconds: float, clock: Clock) -> None:
        self.database = database
        self._lease = lease_seconds
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self.agreed = Agreed(database, clock)

    @property
    def _now(self) -> ColumnElement[float]:
        return now(self.database, self._clock)

    @to_the_end
    async def receive(self, request: Request, job_id: str) -> Job | None:
        """Write down what was asked, before Slack is told "received".

        Args:
            request: what was asked.
            job_id: chosen by the caller, who may have to take it back with `void`.

        Returns:
            The job; None when the same click or command is there already.

        Raises:
            StoreUnavailable: it could not be written, or it is not known whether it was.
        """
        key, what = request.trigger_id or job_id, dump_request(request)
        insert = self._insert(request, job_id, dedup_key=key, status=RECEIVED, request=what)
        insert = insert.on_conflict_do_nothing(index_elements=["dedup_key"])
        async with self.database.begin(one_statement=True) as connection:
            result = await connection.execute(insert.returning(decisions.c.received_at))
            received_at = result.scalar()
        return None if received_at is None else Job(job_id, request, fence=1, received_at=received_at)

    def _insert(self, asked: Request, job_id: str, **values: object) -> Any:  # noqa: ANN401 - two dialects, one method
        ref, now = asked.ref, self._now
        insert = sqlite.insert if self.database.is_sqlite else postgresql.insert
        return insert(decisions).values(
            id=job_id,
            verb=asked.verb.value,
            cluster_id=ref.cluster_id,
            instance_id=ref.instance_id,
            remediation_id=ref.remediation_id,
            user_id=asked.actor.user_id,
            received_at=now,
            repeats=0,
            owner=self._owner,
            lease_until=now + self._lease,
            fence=1,
            **values,
        )

    @to_the_end
    async def void(self, request: Request, job_id: str) -> None:
        """Make sure that a row whose commit is in doubt is not run later, whether it has landed or is yet to land.

        A row of its own stands in the place of one that has not landed, and keeps it out.

        Raises:
            StoreUnavailable: not yet; try again.
        """
        values = {"status": VOID, "request": None, "done_at": self._now, "outcome": "not taken"}
        tombstone = self._insert(request, f"{job_id}-void", dedup_key=request.trigger_id or job_id, **values)
        still_mine = and_(decisions.c.id == job_id, decisions.c.status == RECEIVED)
        tombstone = tombstone.on_conflict_do_update(index_elements=["dedup_key"], set_=values, where=still_mine)
        async with self.database.begin() as connection:
            await connection.execute(tombstone)

    @to_the_end
    async def activate(self, job: Job) -> Holder | None:
        """Claim the remediation for this decision. Gives back who has it, when somebody else does.

        Raises:
            LeaseLost: another process has taken the job over.
            StoreUnavailable: the database did not do it.
        """
        while True:
            try:
                async with self.database.begin() as connection:
                    turn = await self._turn(connection, job) if job.request.verb is Verb.APPROVE else self._now
                    await self._write(connection, job, status=ACTIVE, active_at=turn)
            except IntegrityError:
                if holder := await self.holder(job.request):
                    return holder
            else:
                return None

    async def _turn(self, connection: AsyncConnection, job: Job) -> float:
        """The present, made later than the last approval that began in the cluster: clocks may go back meanwhile."""
        c, cluster_id = decisions.c, job.request.ref.cluster_id
        await self.database.lock_cluster(connection, cluster_id)
        others = and_(c.cluster_id == cluster_id, c.status == ACTIVE)
        last, present = (await connection.execute(select(func.max(c.active_at), self._now).where(others))).one()
        return float(present) if last is None else max(float(present), float(last) + _TURN)

    @to_the_end
    async def holder(self, request: Request) -> Holder | None:
        """Who is deciding on this remediation right now.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = decisions.c
        async with self.database.begin() as connection:
            found = await connection.execute(
                select(c.user_id, c.verb, c.active_at).where(about(c, request.ref), c.status == ACTIVE)
            )
            row = found.first()
        return Holder(row.user_id, row.verb, row.active_at) if row else None

    @to_the_end
    async def who_decided(self, present: Remediation) -> Decided | None:
        """Who brought a remediation into its state through this bot, where that is known.

        A decision whose outcome stayed in doubt counts when Together's own record names the person.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = trail.c
        outcomes = [*(rule.done for rule in RULES.values() if rule.decides), *DOUBTFUL]
        chosen = (
            select(c.verb, c.user_id, c.at, c.reason, c.outcome)
            .where(about(c, present.ref), c.outcome.in_(outcomes))
            .order_by(c.seq.desc())
        )
        async with self.database.begin() as connection:
            rows = (await connection.execute(chosen)).all()
        for row in rows:
            rule = RULES[Verb(row.verb)]
            is_sure = row.outcome == rule.done or row.user_id in (present.review_comment or "")
            if is_sure and present.state in rule.effect:
                return Decided(Verb(row.verb), row.user_id, row.at, row.reason or "")
        return None

    @to_the_end
    async def sending(self, job: Job, seen: Shown | None) -> None:
        """Write down that a POST leaves now; the first one of a job, and each repeat, with a row in the audit trail.

        Raises:
            LeaseLost: another process has taken the job over, so the POST must not leave.
            StoreUnavailable: it could not be written, so the POST must not leave.
        """
        repeat = job.sent is not None
        async with self.database.begin() as connection:
            values: dict[str, Any] = {"sent_at": self._now}
            if seen:
                values |= {"seen_mode": seen.mode, "seen_state": seen.state}
            if repeat:
                values["repeats"] = decisions.c.repeats + 1
            sent_at = await self._write(connection, job, decisions.c.sent_at, **values)
            await self._record(connection, job, "repeat" if repeat else "send", None)
        job.sent = Sent(sent_at, seen)

    @to_the_end
    async def still_sending(self, job: Job) -> None:
        """Write down that another attempt of the same POST leaves now, because the one before did not arrive.

        Raises:
            LeaseLost: another process has taken the job over.
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            await self._write(connection, job, sent_at=self._now)

    @to_the_end
    async def conclude(self, job: Job, outcome: Outcome, answer: Answer) -> None:
        """Write down what has come of it and what to tell, with its row in the audit trail, in one transaction.

        Raises:
            LeaseLost: another process has taken the job over, and will tell.
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            await self._write(connection, job, answer=dump_answer(answer), outcome=outcome.name)
            await self._record(connection, job, "outcome", outcome)
            request = job.request
            await change_alert(
                self.database,
                self._clock,
                connection,
                request.ref,
                lambda alert, at: answered(alert, request, answer, at),
            )
            if request.batch_id:
                await note_outcome(connection, request, outcome, answer)
        job.answer = answer

    @to_the_end
    async def finish(self, job: Job) -> None:
        """Close a job whose answer was told, and forget what only the telling needed.

        Raises:
            LeaseLost: another process has taken the job over.
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            await self._write(connection, job, status=DONE, done_at=self._now, request=None, answer=None)

    @to_the_end
    async def move(self, job: Job, place: Place) -> None:
        """Remember where "in progress" is shown, so that whoever finishes the job finds it.

        Raises:
            LeaseLost: another process has taken the job over.
            StoreUnavailable: it could not be written.
        """
        job.request = job.request.at(place)
        async with self.database.begin() as connection:
            await self._write(connection, job, request=dump_request(job.request))

    @to_the_end
    async def heartbeat(self, job_ids: Collection[str]) -> None:
        """Keep what this process works on.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        async with self.database.begin() as connection:
            await connection.execute(
                update(decisions)
                .where(decisions.c.id.in_(job_ids), decisions.c.owner == self._owner, _UNFINISHED)
                .values(lease_until=self._now + self._lease)
            )

    @to_the_end
    async def hand_back(self, job: Job) -> None:
        """Let the next process go on with a job at once.

        Raises:
            LeaseLost: another process has taken the job over already.
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            await self._write(connection, job, lease_until=0.0)

    @to_the_end
    async def take_over(self, limit: int, *, at_start: bool = False) -> list[Job]:
        """Take what other processes have left behind.

        Args:
            limit: at most so many.
            at_start: with SQLite, whatever is unfinished then is left behind: the file belongs to one process.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        c = decisions.c
        left = c.lease_until < self._now
        if at_start and self.database.is_sqlite:
            left = or_(left, c.owner != self._owner)
        chosen = select(c.id).where(and_(_UNFINISHED, left)).order_by(c.received_at).limit(limit)
        async with self.database.begin() as connection:
            taken = await connection.execute(
                update(decisions)
                .where(c.id.in_(chosen.with_for_update(skip_locked=True)))
                .values(owner=self._owner, lease_until=self._now + self._lease, fence=c.fence + 1)
                .returning(*c)
            )
            return [to_job(row) for row in taken.mappings()]

    @to_the_end
    async def forget(self, days: int) -> int:
        """Delete finished decisions, alerts and batches that are older; the audit trail stays.

        Returns:
            How many decisions.

        Raises:
            StoreUnavailable: the database did not do it.
        """
        async with self.database.begin() as connection:
            oldest = await self._read_clock(connection) - days * _DAY
            for each in (alerts, digests):
                await connection.execute(delete(each).where(each.c.is_open.is_(False), each.c.seen_at < oldest))
            await connection.execute(delete(first_approvals).where(first_approvals.c.at < oldest))
            never_confirmed = and_(batches.c.status == BatchStatus.ASKED, batches.c.asked_at < self._now - _DAY)
            old_batches = select(batches.c.id).where(or_(batches.c.asked_at < oldest, never_confirmed))
            gone = batch_items.c.batch_id.in_(old_batches)
            await connection.execute(delete(batch_items).where(gone))
            await connection.execute(delete(batches).where(or_(batches.c.asked_at < oldest, never_confirmed)))
            return (await connection.execute(delete(decisions).where(decisions.c.done_at < oldest))).rowcount

    @to_the_end
    async def seconds_since(self, moment: float) -> float:
        """How many seconds ago a moment on the database's clock was.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            return await self._read_clock(connection) - moment

    async def _read_clock(self, connection: AsyncConnection) -> float:
        return float((await connection.execute(select(self._now))).scalar_one())

    async def _write(
        self, connection: AsyncConnection, job: Job, wanted: ColumnElement[float] | None = None, **values: object
    ) -> float:
        """Write to a job's row, if it is still ours, and keep it for another lease."""
        values = {"lease_until": self._now + self._lease, **values}
        c = decisions.c
        result = await connection.execute(
            update(decisions)
            .where(c.id == job.id, c.owner == self._owner, c.fence == job.fence, _UNFINISHED)
            .values(**values)
            .returning(wanted if wanted is not None else c.lease_until)
        )
        row = result.first()
        if row is None:
            raise LeaseLost
        return float(row[0])

    async def _record(self, connection: AsyncConnection, job: Job, event: str, outcome: Outcome | None) -> None:
        request, shown = job.request, job.request.shown
        await audit.append(
            self.database,
            connection,
            {
                "at": await self._read_clock(connection),
                "event": event,
                "decision_id": job.id,
                "team_id": request.actor.team_id,
                "channel_id": request.place.channel_id,
                "user_id": request.actor.user_id,
                "verb": request.verb.value,
                "cluster_id": request.ref.cluster_id,
                "instance_id": request.ref.instance_id,
                "remediation_id": request.ref.remediation_id,
                "shown_mode": shown.mode if shown else None,
                "shown_state": shown.state if shown else None,
                "reason": request.reason or None,
                "outcome": outcome.name if outcome else None,
                "state": outcome.state if outcome else None,
                "http_status": outcome.http_status if outcome else None,
                "request_id": outcome.request_id if outcome else None,
            },
        )
