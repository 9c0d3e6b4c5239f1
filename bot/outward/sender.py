"""Tells other tools what happened: at least once, in order for each remediation, never in the way of a decision."""

import asyncio
import logging
from dataclasses import dataclass

import httpx

from bot import metrics
from bot.clock import Clock, Pause
from bot.errors import LeaseLost, StorageUnavailable
from bot.models import Target
from bot.outward.formats import cloud_event, incident, signed
from bot.store import Lease, Letter, Outbox

logger = logging.getLogger(__name__)

AT_ONCE = 20
TICK = 1.0
SECONDS = 10.0  # one request in all
GIVE_UP_AFTER = 86_400.0
BACKOFF = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_FINAL = {400, 413, 422}  # PagerDuty's "invalid event": the same would be refused again


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where it is told; empty for nowhere.

    Attributes:
        webhook_url: receives CloudEvents.
        webhook_secret: `whsec_…`, which signs them.
        pagerduty_url: the base of the Events API.
        pagerduty_key: the integration's routing key.
    """

    webhook_url: str = ""
    webhook_secret: str = ""
    pagerduty_url: str = ""
    pagerduty_key: str = ""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Who is told."""
        chosen = ((Target.WEBHOOK, self.webhook_url), (Target.PAGERDUTY, self.pagerduty_key))
        return tuple(target for target, where in chosen if where)


class Sender:
    """Sends what waits in the outbox; one process at a time does.

    Args:
        outbox: what waits.
        destinations: where it is told.
        http: connections of its own; follows no redirects.
        clock: time.
        lease_seconds: how long a silent process keeps the right to send.
    """

    def __init__(
        self,
        outbox: Outbox,
        destinations: Destinations,
        http: httpx.AsyncClient,
        clock: Clock,
        lease_seconds: float,
    ) -> None:
        self._outbox = outbox
        self._to = destinations
        self._http = http
        self._clock = clock
        self._lease = Lease(outbox.database, "outbox", lease_seconds, clock)
        self._renew = lease_seconds * 0.3
        self._is_ours = False

    async def run(self) -> None:
        """Send forever, whenever no other process does; what one target doesn't take keeps no other waiting."""
        await asyncio.gather(self._keep_lease(), *(self._tell(target) for target in Target))

    async def _keep_lease(self) -> None:
        at_start, drop_at = True, 0.0
        while True:
            try:
                self._is_ours = await self._lease.acquire(at_start=at_start)
                at_start = False
                if self._is_ours and self._clock.monotonic() >= drop_at:
                    await self._outbox.drop_old(2 * GIVE_UP_AFTER)
                    drop_at = self._clock.monotonic() + GIVE_UP_AFTER
            except StorageUnavailable as error:
                logger.warning("Events for other tools: can't reach the database: %s", error)
            await self._clock.sleep(self._renew, Pause.LEASE)

    async def _tell(self, target: Target) -> None:
        while True:
            try:
                while self._is_ours and target in self._to.targets and await self.send_some(target):
                    pass
            except (StorageUnavailable, LeaseLost) as error:
                logger.warning("Events for %s: %s", target, type(error).__name__)
            except Exception:  # decisions must keep working, and so must the attempts
                logger.exception("Couldn't send events; retrying")
            await self._clock.sleep(TICK, Pause.OUTBOX)

    def use(self, destinations: Destinations) -> None:
        """Tell these from now on."""
        self._to = destinations

    async def end(self) -> None:
        """Let the next process send at once."""
        await self._lease.release()

    async def send_some(self, target: Target) -> bool:
        """Send what is due, at most one event of each remediation. Returns whether there was any.

        Raises:
            LeaseLost: another process sends now.
            StorageUnavailable: what was sent may be sent again.
        """
        letters = await self._outbox.due(target, AT_ONCE)
        results = await asyncio.gather(*map(self._send, letters), return_exceptions=True)
        if failed := next((each for each in results if each), None):
            raise failed
        return bool(letters)

    async def _send(self, letter: Letter) -> None:
        self._lease.ensure_held()
        result = await self._deliver(letter)
        metrics.OUTWARD.labels(letter.target.value, result or "taken").inc()
        if not result:
            await self._outbox.drop(letter)
        elif letter.age > GIVE_UP_AFTER or (result.isdecimal() and self._is_final(letter, int(result))):
            logger.error("%s didn't take “%s” of %s: %s; giving up", letter.target, letter.event.kind,
                         letter.event.subject, result)  # fmt: skip
            await self._outbox.drop(letter)
        else:
            seconds = BACKOFF[min(letter.attempts, len(BACKOFF) - 1)]
            logger.warning("%s didn't take an event: %s; retrying in %d s", letter.target, result, seconds)
            await self._outbox.postpone(letter, seconds)

    @staticmethod
    def _is_final(letter: Letter, status: int) -> bool:
        return letter.target is Target.PAGERDUTY and status in _FINAL

    async def _deliver(self, letter: Letter) -> str:
        """Send an event. Returns why it wasn't taken; empty where it was, or this target isn't told of such."""
        if letter.target is Target.WEBHOOK:
            body = cloud_event(letter.event)
            headers = signed(self._to.webhook_secret, letter.event.id, int(self._clock.now()), body)
            headers["content-type"] = "application/cloudevents+json; charset=utf-8"
            return await self._post(self._to.webhook_url, headers=headers, content=body)
        told = incident(letter.event, self._to.pagerduty_key)
        return await self._post(f"{self._to.pagerduty_url}/v2/enqueue", json=told) if told else ""

    async def _post(self, url: str, **what: object) -> str:
        try:
            async with self._clock.timeout(SECONDS):
                response = await self._http.post(url, follow_redirects=False, **what)  # type: ignore[arg-type] # httpx's own
        except (httpx.HTTPError, TimeoutError) as error:
            return type(error).__name__
        return "" if response.is_success else str(response.status_code)
