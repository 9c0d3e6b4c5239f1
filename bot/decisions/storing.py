"""Writing what must be written, while the database may be away."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar

from bot.clock import Clock, WaitReason
from bot.errors import StorageUnavailable
from bot.models import DecidedBy, Remediation
from bot.store import Database, audit

RECORD_SECONDS = 12.0  # so long, less than a usual lease, recording is tried before nothing certain is said
RETRY_AFTER = (0.5, 1.0, 2.0, 5.0, 10.0)
T = TypeVar("T")


@dataclass(slots=True)
class Storing:
    """Tries a write again and again."""

    clock: Clock

    async def briefly(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, trying again for a while.

        Raises:
            StorageUnavailable: the database stayed away.
        """
        give_up_at = self.clock.monotonic() + RECORD_SECONDS
        for seconds in chain(RETRY_AFTER, repeat(RETRY_AFTER[-1])):
            try:
                async with self.clock.timeout(give_up_at - self.clock.monotonic()):
                    return await write()
            except TimeoutError as error:  # the database hangs: no answer is no "no"
                raise StorageUnavailable("no answer", in_doubt=True) from error
            except StorageUnavailable:
                if self.clock.monotonic() + seconds > give_up_at:
                    raise
            await self.clock.sleep(seconds, WaitReason.RETRY)
        raise AssertionError("the pauses never end")

    async def forever(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, as often as it takes: only an outage of the database is waited out, and it ends."""
        while True:
            try:
                return await self.briefly(write)
            except StorageUnavailable:
                await self.clock.sleep(RETRY_AFTER[-1], WaitReason.RETRY)


async def who_decided(database: Database, present: Remediation) -> DecidedBy | None:
    """Return who brought a remediation into its state through this bot, where that is known."""
    return await or_none(database.read(audit.who_decided, present))


async def or_none(read: Awaitable[T]) -> T | None:
    """Return what the database says; None where it can't be asked now."""
    try:
        return await read
    except StorageUnavailable:
        return None
