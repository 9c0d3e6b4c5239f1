"""Whose a decision is: the lease on its row, the fence on each write to it, and how another process takes it over."""

from sqlalchemy import ColumnElement, Executable, Update, and_, bindparam, or_, select, update

from bot.clock import Clock
from bot.errors import LeaseLost
from bot.models import Job, new_id
from bot.store import batches
from bot.store.connection import Connection, Record, Rows, is_among, json_list, now
from bot.store.database import Database
from bot.store.jobs import read_job
from bot.store.lease import LEASE_UNTIL, OWNER, is_free
from bot.store.tables import ACTIVE, ANSWERED, RECEIVED, SET_ASIDE, decisions, leases, upsert

_RESERVE = 1.0  # seconds of a lease that this process doesn't count on
# Seconds from "a POST leaves" to the POST. Later, others may count on its having arrived, or never arriving.
SEND_WITHIN = 5.0
UNFINISHED = decisions.c.status.in_((RECEIVED, ACTIVE, ANSWERED))
MINE = and_(decisions.c.id == bindparam("b_id"), decisions.c.owner == OWNER, decisions.c.fence == bindparam("b_fence"))


def update_mine(within: ColumnElement[bool] = UNFINISHED, /, **values: object) -> Update:
    """Build the update of a job's row that succeeds only while the row is still this process's."""
    written = update(decisions).where(MINE, within).values({"lease_until": LEASE_UNTIL, **values})
    return written.returning(decisions.c.sent_at)


def sent_at(written: Rows) -> float:
    """Return when the last POST of a job left, once its row was written.

    Raises:
        LeaseLost: another process has it.
    """
    row = written.first()
    if row is None:
        raise LeaseLost
    return float(row[0] or 0.0)


KEEP = update_mine()
# Nobody's from then on: a heartbeat that is on its way must not keep it.
_RELEASE = update_mine(lease_until=0.0, owner="")
_HEARTBEAT = (
    update(decisions)
    .where(is_among("b_ids", decisions.c.id), decisions.c.owner == OWNER, UNFINISHED)
    .values(lease_until=LEASE_UNTIL)
    .returning(decisions.c.id)
)
_PROBE = upsert(leases).values(until=now())
_LEFT = or_(is_free(decisions.c.lease_until), and_(bindparam("b_all"), decisions.c.owner != OWNER))
_TAKE_OVER = (
    update(decisions)
    .where(
        decisions.c.id.in_(
            select(decisions.c.id)
            .where(UNFINISHED, _LEFT)
            .order_by(decisions.c.received_at)
            .limit(bindparam("b_limit"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(owner=OWNER, lease_until=LEASE_UNTIL, fence=decisions.c.fence + 1)
    .returning(*decisions.c)
)
_IS_THERE = select(decisions.c.id).where(decisions.c.id == bindparam("b_id"))
# Or set aside already, by an attempt whose commit was in doubt.
_SET_MINE_ASIDE = update_mine(or_(UNFINISHED, decisions.c.status == SET_ASIDE), status=SET_ASIDE)


class Ownership:
    """The decisions of this process. Each may raise StorageUnavailable; a write to another's job, LeaseLost.

    Attributes:
        working: the jobs that this process has taken and not ended yet, by ID.
    """

    def __init__(self, database: Database, lease_seconds: float, clock: Clock) -> None:
        self.database = database
        self.working: dict[str, Job] = {}
        self._sure_seconds = lease_seconds - _RESERVE
        self._clock = clock
        self._owner = new_id()
        self._holder: Record = {"b_owner": self._owner, "b_lease": lease_seconds}

    def may_send(self, job: Job) -> bool:
        """Return whether a POST may leave now: "a POST leaves" was recorded a moment ago, and nobody else has the job.

        The database's answer may have come late, and this process may have been suspended since.
        """
        return self._clock.monotonic() < min((job.sending_mono or 0.0) + SEND_WITHIN, job.leased_until)

    async def ensure_held(self, job: Job) -> None:
        """Return once no other process can have a job now; where this process's clock isn't sure, ask the database."""
        asked_at = self._clock.monotonic()
        if asked_at >= job.leased_until:
            await self._write(KEEP, job)
            job.leased_until = asked_at + self._sure_seconds

    async def heartbeat(self) -> None:
        """Keep what this process works on, and write in any case: a database that can't be written is told by that."""
        asked_at, jobs = self._clock.monotonic(), dict(self.working)

        def write(connection: Connection) -> list[str]:
            connection.execute(_PROBE, name=f"process {self._owner}", owner=self._owner)
            return connection.execute(_HEARTBEAT, b_ids=json_list(jobs), **self._holder).scalars()

        for job_id in await self.database.keep(write):
            jobs[job_id].leased_until = asked_at + self._sure_seconds

    async def is_gone(self, job: Job) -> bool:
        """Return whether the database has lost a job, as one does that took over and lacks the last commits."""
        return not await self.database.read(Connection.execute, _IS_THERE, b_id=job.id)

    async def release(self, job: Job) -> None:
        """Let the next process continue with a job at once."""
        await self._write(_RELEASE, job)

    async def take_over(self, limit: int, *, at_start: bool = False) -> list[Job]:
        """Take what other processes have left behind. What this version can't read is set aside.

        Args:
            at_start: with SQLite, take all unfinished decisions: only one process uses the file.
        """
        asked_at, take_all = self._clock.monotonic(), at_start and self.database.is_sqlite

        def write(connection: Connection) -> list[Job]:
            jobs = []
            for row in connection.execute(_TAKE_OVER, b_limit=limit, b_all=take_all, **self._holder):
                if job := read_job(connection, row):
                    job.taken_over = True
                else:
                    job = batches.advance(connection, row.batch_id, self._holder, row.received_at)
                jobs += [job] if job else []
            return jobs

        jobs = await self.database.run(write)
        for job in jobs:
            self._take(job, asked_at)
        return jobs

    async def set_aside(self, job: Job) -> Job | None:
        """Keep a job from being taken over again. Returns the decision of the same batch whose turn it is now.

        Raises:
            LeaseLost: another process has it.
        """

        def write(connection: Connection) -> Job | None:
            sent_at(self._use(connection, _SET_MINE_ASIDE, job))
            return batches.advance(connection, job.request.batch_id, self._holder, job.received_at)

        asked_at = self._clock.monotonic()
        return self._take(await self.database.run(write), asked_at)

    def _take(self, job: Job | None, asked_at: float) -> Job | None:
        """Work on a job from now on, where there is one."""
        if job:
            job.received_mono, job.leased_until = asked_at, asked_at + self._sure_seconds
            self.working[job.id] = job
        return job

    async def _write(self, statement: Update, job: Job, /, **values: object) -> None:
        # Looked at only once it's committed: a row of another process wasn't changed, and PostgreSQL is asked once.
        sent_at(await self.database.run(self._use, statement, job, **values))

    def _use(self, connection: Connection, statement: Executable, job: Job, /, **values: object) -> Rows:
        """Use a job's row if it is still ours; of what `update_mine` built, `sent_at` says whether it was."""
        return connection.execute(statement, b_id=job.id, b_fence=job.fence, **self._holder, **values)
