"""What people have agreed on a remediation before it is decided: holds, first approvals, and what keeps nodes busy."""

from dataclasses import replace

from sqlalchemy import and_, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import Clock
from bot.models import DOUBT_SECONDS, FINAL, About, FirstApproval, Hold, Job, RemediationRef, State, Verb, held
from bot.store.alerts import change_alert, first_counts, forget_first_approval, state_of_alert, to_alert
from bot.store.engine import Database, now, read_clock, to_the_end
from bot.store.tables import ACTIVE, DONE, DOUBTFUL, about, alerts, decisions, first_approvals


class Agreed:
    """The statements, which any process may run."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    @to_the_end
    async def about(self, ref: RemediationRef) -> About:
        """What a card of a remediation says beyond itself.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        async with self.database.begin() as connection:
            first = await self._first_approval(connection, ref)
            body = (await connection.execute(select(alerts.c.body).where(about(alerts.c, ref)))).scalar()
            present = await read_clock(self.database, self._clock, connection)
        if body is None:
            return About(first=first)
        found = to_alert(body).about(first)
        return replace(found, hold=None) if found.hold and found.hold.until <= present else found

    @to_the_end
    async def hold(self, ref: RemediationRef, user_id: str, seconds: float) -> Hold | None:
        """Keep the bot from reminding of a remediation. Gives back until when; None where the bot does not follow it.

        Raises:
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            changed = await change_alert(
                self.database, self._clock, connection, ref, lambda alert, at: held(alert, Hold(user_id, at + seconds))
            )
        return changed.hold if changed else None

    @to_the_end
    async def distrust(self, ref: RemediationRef) -> None:
        """Let an alert's card be drawn anew, because an answer could not be shown on it.

        Raises:
            StoreUnavailable: it could not be written.
        """
        async with self.database.begin() as connection:
            await change_alert(
                self.database,
                self._clock,
                connection,
                ref,
                lambda alert, _at: replace(alert, drawn="", next_at=0.0, done=False),
            )

    @to_the_end
    async def approve_first(self, job: Job, mode: str, *, instead_of: FirstApproval | None = None) -> FirstApproval:
        """Write down the first of two approvals, unless there is one of this mode. Gives back the one that counts.

        Args:
            job: the approval.
            mode: what is approved.
            instead_of: one that counts no longer.

        Raises:
            StoreUnavailable: it could not be written.
        """
        ref, user_id = job.request.ref, job.request.actor.user_id
        async with self.database.begin() as connection:
            first = await self._first_approval(connection, ref)
            if first and first.mode == mode and first != instead_of:
                return first
            await forget_first_approval(connection, ref)
            first = FirstApproval(user_id, mode, await read_clock(self.database, self._clock, connection), job.id)
            await connection.execute(
                insert(first_approvals).values(
                    cluster_id=ref.cluster_id, instance_id=ref.instance_id, remediation_id=ref.remediation_id,
                    mode=mode, user_id=user_id, at=first.at, job_id=job.id,
                )
            )  # fmt: skip
            return first

    @to_the_end
    async def about_to_be_in_repair(self, job: Job) -> set[str]:
        """The instances of a job's cluster that may go into repair, though no list of Together's says so yet.

        These are of approvals that began before this one and are not answered yet, or whose outcome was in doubt a
        moment ago.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = decisions.c
        mine = select(c.active_at).where(c.id == job.id).scalar_subquery()
        is_before = or_(c.active_at < mine, and_(c.active_at == mine, c.id < job.id))
        since = now(self.database, self._clock) - DOUBT_SECONDS
        in_doubt = and_(c.status == DONE, c.outcome.in_(DOUBTFUL), c.done_at > since)
        approvals = select(c.instance_id).where(
            c.verb == Verb.APPROVE,
            c.cluster_id == job.request.ref.cluster_id,
            c.id != job.id,
            or_(and_(c.status == ACTIVE, is_before), in_doubt),
        )
        async with self.database.begin() as connection:
            return set(await connection.scalars(approvals))

    @to_the_end
    async def at_work(self, cluster_id: str) -> list[RemediationRef]:
        """What the bot follows in a cluster that was neither waiting nor over when it was last seen.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        c = alerts.c
        at_rest = [State.PENDING_APPROVAL, *sorted(FINAL)]
        wanted = select(c.cluster_id, c.instance_id, c.remediation_id).where(
            c.cluster_id == cluster_id, c.is_open, state_of_alert(self.database).not_in(at_rest)
        )
        async with self.database.begin() as connection:
            return [RemediationRef(*row) for row in await connection.execute(wanted)]

    async def _first_approval(self, connection: AsyncConnection, ref: RemediationRef) -> FirstApproval | None:
        c = first_approvals.c
        wanted = select(c.user_id, c.mode, c.at, c.job_id).where(
            about(c, ref), first_counts(self.database, self._clock)
        )
        row = (await connection.execute(wanted)).first()
        return FirstApproval(row.user_id, row.mode, row.at, row.job_id) if row else None
