"""Tells other tools what happened: at least once, in order for each remediation, without delaying a decision."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx

from bot import metrics
from bot.clock import Clock, WaitReason
from bot.errors import LeaseLost, StorageUnavailable
from bot.logs import lasting, named
from bot.models import Event, Target
from bot.outward.formats import cloud_event, incidents, signed
from bot.store import RENEWED_AFTER, Database, Lease, OutboxEntry, outbox

logger = logging.getLogger(__name__)

AT_ONCE = 20
TICK = 1.0
SECONDS = 10.0  # one request in all
GIVE_UP_AFTER = 86_400.0
BACKOFF = (5.0, 15.0, 60.0, 300.0, 900.0, outbox.LONGEST_PAUSE)
_NAMES = {
    Target.WEBHOOK: ("The webhook", "BOT_WEBHOOK_URL and what receives it"),
    Target.PAGERDUTY: ("PagerDuty", "BOT_PAGERDUTY_KEY and BOT_PAGERDUTY_URL"),
}
_ANSWER = 4096  # bytes that are read so that the connection can be used again; only the status counts


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where it is told.

    Attributes:
        urls: of those who are told: what receives CloudEvents, and the base of PagerDuty's Events API.
        webhook_secret: `whsec_…`, which signs CloudEvents.
        pagerduty_key: the integration's routing key.
        pages_at_once: PagerDuty is told of what is critical when it opens, and not by the first reminder.
    """

    urls: Mapping[Target, str]
    webhook_secret: str
    pagerduty_key: str
    pages_at_once: bool


@dataclass(slots=True)
class Sender:
    """Sends what waits in the outbox; one process at a time does.

    Attributes:
        to: where.
        warn: told, for each target, what keeps it from taking events, or "" when nothing does.
    """

    database: Database
    to: Destinations
    http: Mapping[Target, httpx.AsyncClient]
    clock: Clock
    lease_seconds: float
    warn: Callable[[Target, str], None]
    _lease: Lease = field(init=False)
    _is_ours: bool = field(default=False, init=False)
    _hurries: bool = field(default=True, init=False)
    _refused: dict[Target, dict[str, str]] = field(init=False)  # why, by subject

    def __post_init__(self) -> None:
        self._lease = Lease(self.database, "outbox", self.lease_seconds, self.clock)
        self._refused = {target: {} for target in Target}
        for target in self.to.urls:  # or Prometheus wouldn't see the first one that is taken as an increase
            metrics.OUTWARD.labels(target.value, "taken")

    def use(self, to: Destinations) -> None:
        """Tell these from now on, at once what wasn't taken before."""
        self.to, self._hurries = to, True

    async def run(self) -> None:
        """Send forever, whenever no other process does; what one target doesn't take keeps no other waiting."""
        await asyncio.gather(self._keep_lease(), *(self._tell(target) for target in Target))

    async def _keep_lease(self) -> None:
        while True:
            try:
                self._is_ours = await self._lease.acquire()
                for target in Target:
                    if not self._is_ours or target not in self.to.urls:  # another process knows, or nobody is told
                        self._refused[target].clear()
                        self.warn(target, "")
                if self._is_ours and self._hurries:
                    await self.database.run(outbox.hurry)
                    self._hurries = False
            except StorageUnavailable as error:
                logger.warning("Events for other tools: can't reach the database: %s", error, extra=lasting())
            await self.clock.sleep(self.lease_seconds * RENEWED_AFTER, WaitReason.LEASE)

    async def _tell(self, target: Target) -> None:
        while True:
            try:
                while self._is_ours and target in self.to.urls and await self.send_some(target):
                    pass
            except (StorageUnavailable, LeaseLost) as error:
                logger.warning("Events for %s: %s", target, type(error).__name__, extra=lasting())
            except Exception:  # decisions must keep working, and so must the attempts
                logger.exception("Couldn't send events; retrying", extra=lasting())
            await self.clock.sleep(TICK, WaitReason.OUTBOX)

    async def end(self) -> None:
        """Let the next process send at once."""
        await self._lease.release()

    async def send_some(self, target: Target) -> bool:
        """Send what is due, at most one event of each remediation. Returns whether there was any.

        Raises:
            LeaseLost: another process sends now.
            StorageUnavailable: what was sent may be sent again.
        """
        letters = await self.database.read(outbox.due, target, AT_ONCE)
        results = await asyncio.gather(*map(self._send, letters), return_exceptions=True)
        if failed := next((result for result in results if result), None):
            raise failed
        return bool(letters)

    async def _send(self, letter: OutboxEntry) -> None:
        self._lease.ensure_held()
        if letter.event is None:
            logger.error("An event about %s can't be read and is dropped: a newer version wrote it", letter.subject)
            await self.database.run(outbox.drop, letter)
            return
        is_paging = letter.target is Target.PAGERDUTY
        behind = await self.database.read(outbox.behind, letter) if is_paging else ()
        try:
            result = await self._deliver(letter.target, letter.event, behind)
        except LeaseLost:
            raise
        except Exception as error:  # it would be tried again and again, and the others with it
            logger.exception("Couldn't send an event about %s", letter.subject)
            result = type(error).__name__
        if result is None:
            await self.database.run(outbox.drop, letter)
            return
        metrics.OUTWARD.labels(letter.target.value, (result or "taken").partition(":")[0]).inc()
        refused = self._refused[letter.target]
        if not result:
            refused.pop(letter.subject, None)
        elif letter.attempts:  # one failure passes
            refused[letter.subject] = result
        if letter.attempts or not result:
            self.warn(letter.target, _problem(letter.target, next(iter(refused.values()), "")))
        # One that is old enough may have waited while no bot ran.
        if result and (letter.age <= GIVE_UP_AFTER or letter.attempts < len(BACKOFF)):
            seconds = BACKOFF[min(letter.attempts, len(BACKOFF) - 1)]
            about = letter.target, result
            logger.warning("%s didn't take an event: %s; retrying in %d s", *about, seconds, extra=lasting(*about))
            await self.database.run(outbox.postpone, letter, seconds)
            return
        if result:
            logger.error("%s didn't take “%s” of %s: %s; giving up", letter.target, letter.event.kind,
                         letter.event.subject, result)  # fmt: skip
            del refused[letter.subject]
        await self.database.run(outbox.drop, letter)

    async def _deliver(self, target: Target, event: Event, behind: Sequence[Event]) -> str | None:
        """Send an event. Returns why it wasn't taken; empty where it was, None where this target isn't told of such.

        Args:
            behind: what PagerDuty is told of the same later.

        Raises:
            LeaseLost: another process sends now.
        """
        url = self.to.urls[target]
        if target is Target.WEBHOOK:
            body = cloud_event(event)
            headers = signed(self.to.webhook_secret, event.id, int(self.clock.now()), body)
            headers["content-type"] = "application/cloudevents+json; charset=utf-8"
            return await self._post(target, url, body, headers)
        result, headers = None, {"content-type": "application/json"}
        told = partial(incidents, routing_key=self.to.pagerduty_key, at_once=self.to.pages_at_once)
        later = [content for one in behind for content in told(one)]
        over = {content["dedup_key"] for content in later if content["event_action"] == "resolve"}
        for content in told(event):
            if content["event_action"] == "trigger" and content["dedup_key"] in over:
                continue  # nobody is called for what is answered by now
            self._lease.ensure_held()  # each may take long, and another process may have told by now that it's over
            if result := await self._post(target, f"{url}/v2/enqueue", json.dumps(content).encode(), headers):
                break
        return result

    async def _post(self, target: Target, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Send one request. Returns why it wasn't taken; empty where it was."""
        headers = {"accept-encoding": "identity", **headers}
        status = 0
        try:
            async with (
                self.clock.timeout(SECONDS),
                self.http[target].stream("POST", url, headers=headers, content=body, follow_redirects=False) as answer,
            ):
                status = answer.status_code
                size = 0
                async for chunk in answer.aiter_raw():  # raw: an answer that is small on the way may be huge unpacked
                    size += len(chunk)
                    if size > _ANSWER:
                        break
        except (httpx.HTTPError, TimeoutError) as error:
            if not status:
                return named(error)
        return "" if httpx.codes.is_success(status) else str(status)


def _problem(target: Target, result: str) -> str:
    """Return what keeps a target from taking events; empty for nothing."""
    if not result:
        return ""
    name, settings = _NAMES[target]
    return f"{name} isn't taking events ({result}). Check {settings}. Events are tried again for a day."
