"""What happens beside the decisions: heartbeats, taking over what a dead process left, and purging."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bot.clock import Clock, WaitReason
from bot.decisions.inbox import Inbox
from bot.decisions.service import DecisionService, about_decision
from bot.errors import StorageUnavailable
from bot.logs import lasting
from bot.store import RENEWED_AFTER, DecisionStore, audit, batches, count_set_aside, drop_old_response_urls, purge
from bot.tasks import Tasks

logger = logging.getLogger(__name__)

TAKEN_AT_ONCE = 20
MINUTE = 60.0
HOUR = 3600.0
DAY = 86_400.0
KEPT_TRUE_SECONDS = 5.0  # readiness is what the last heartbeat found


@dataclass(slots=True)
class Recovery:
    """Keeps this process's jobs, and takes over those of dead ones and what must still be delivered.

    Attributes:
        report: told what keeps the store from being usable, or "" when nothing does.
    """

    store: DecisionStore
    decisions: DecisionService
    inbox: Inbox
    tasks: Tasks
    clock: Clock
    lease_seconds: float
    retention_days: int
    report: Callable[[str], None]
    _at_start: bool = field(default=True, init=False)
    _takes_over_from: float = field(default=0.0, init=False)  # on this process's monotonic clock

    async def run(self) -> None:
        """Keep, take over, and purge forever, each at its own pace: no slow statement lets a lease run out.

        No task group: docs/decisions/0005.
        """
        taken_over = "take over what other processes left"
        await asyncio.gather(
            self._keep(),
            self._forever(self._take_over, taken_over, self.lease_seconds * RENEWED_AFTER, WaitReason.RECOVERY),
            self._forever(self._tidy, "stop stuck selections and drop old response URLs", MINUTE, WaitReason.TIDY),
            self._forever(self._purge, "delete what is old, to be retried in an hour", DAY, WaitReason.DAILY),
        )

    async def _forever(self, work: Callable[[], Awaitable[None]], task: str, seconds: float, why: WaitReason) -> None:
        """Work again and again: what is odd about one row must not keep the others from their turn."""
        while True:
            wait = min(seconds, HOUR)
            try:
                await work()
            except StorageUnavailable as error:
                logger.warning("Couldn't %s: %s", task, error, extra=lasting())
            except Exception:  # a bug in one round must not end the process
                logger.exception("Couldn't %s", task, extra=lasting())
            else:
                wait = seconds
            await self.clock.sleep(wait, why)

    async def _keep(self) -> None:
        """Keep this process's jobs, three times in the life of a lease, and say whether the database can be written.

        Once it's back, leases may be over of processes that live, this one among them: they renew them first.
        """
        pause = min(self.lease_seconds * RENEWED_AFTER, KEPT_TRUE_SECONDS)
        while True:
            try:
                await self.store.heartbeat()
                await self.inbox.keep()
            except StorageUnavailable as error:
                self._takes_over_from = math.inf
                self.report(f"Can't reach the database ({error}).")
            else:
                self._takes_over_from = min(self._takes_over_from, self.clock.monotonic() + 2 * pause)
                self.report("")
            await self.clock.sleep(pause, WaitReason.HEARTBEAT)

    async def _take_over(self) -> None:
        if self.clock.monotonic() < self._takes_over_from:
            return
        while self.tasks.accepting:
            jobs = await self.store.take_over(TAKEN_AT_ONCE, at_start=self._at_start)
            for job in jobs:
                with about_decision(job.id, job.request):
                    logger.warning("Delivering the answer again" if job.answer else "Taking over from a dead process")
                self.tasks.spawn(self.decisions.handle(job), f"take over {job.id}")
            if len(jobs) < TAKEN_AT_ONCE:
                break
        await self.inbox.round(self.tasks, at_start=self._at_start)
        self._at_start = False

    async def _tidy(self) -> None:
        if stuck := await self.store.database.run(batches.stop_stuck):
            logger.warning("%d selections made no progress for 10 min and were stopped", stuck)
        await self.store.database.run(drop_old_response_urls)

    async def _purge(self) -> None:
        if purged := await purge(self.store.database, self.retention_days):
            logger.info("Deleted %d decisions older than %d days", purged, self.retention_days)
        if set_aside := await self.store.database.read(count_set_aside):
            logger.warning("%d decisions can't be read and are set aside", set_aside)
        await self._log_head()

    async def end(self) -> None:
        """Log the head of the audit trail a last time.

        Raises:
            StorageUnavailable: it cannot be read.
        """
        await self._log_head()

    async def _log_head(self) -> None:
        """Log the head of the audit trail: noted elsewhere, it proves later that nothing was cut or rewritten."""
        _, head = await self.store.database.read(audit.last_row)
        logger.info("Audit head %s", head)
