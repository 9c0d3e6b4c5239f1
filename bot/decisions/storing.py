"""Reading and writing while the database may be away: with a limit, again and again, or doing without."""

import logging
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import TypeVar

from bot.clock import Clock, WaitReason
from bot.errors import StorageUnavailable
from bot.logs import lasting
from bot.models import DecidedBy, Remediation
from bot.store import Database, approvals

logger = logging.getLogger(__name__)

RECORD_SECONDS = 12.0  # so long, less than a usual lease, recording is tried before nothing certain is said
RETRY_AFTER = (0.5, 1.0, 2.0, 5.0, 10.0)
T = TypeVar("T")


async def briefly(clock: Clock, write: Callable[[], Awaitable[T]]) -> T:
    """Write, trying again for a while.

    Raises:
        StorageUnavailable: the database stayed away.
    """
    give_up_at = clock.monotonic() + RECORD_SECONDS
    waits = chain(RETRY_AFTER, repeat(RETRY_AFTER[-1]))
    while True:
        try:
            return await in_time(clock, give_up_at - clock.monotonic(), write())
        except StorageUnavailable:
            seconds = next(waits)
            if clock.monotonic() + seconds > give_up_at:
                raise
        await clock.sleep(seconds, WaitReason.RETRY)


async def forever(clock: Clock, write: Callable[[], Awaitable[T]]) -> T:
    """Write, as often as it takes: only an outage of the database is waited out, and it ends."""
    while True:
        try:
            return await briefly(clock, write)
        except StorageUnavailable:
            await clock.sleep(RETRY_AFTER[-1], WaitReason.RETRY)


async def voided(
    clock: Clock, void: Callable[[], Awaitable[bool]], tell_uncertain: Callable[[], Awaitable[object]]
) -> bool:
    """Make sure that a row whose commit is in doubt isn't worked on later, and only then say so.

    Args:
        tell_uncertain: says for now that nothing is certain; only once, since the row must be voided.

    Returns:
        Whether it's certain now that nothing is done, which is yet to be said.
    """
    try:
        return await briefly(clock, void)
    except StorageUnavailable:
        await tell_uncertain()
        is_void = await forever(clock, void)
        logger.warning("Not run" if is_void else "Run by another process")
        return False


async def in_time(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """Return what the database says, if it does so in time.

    Raises:
        StorageUnavailable: it didn't. Where it hangs, that is in doubt: no answer is no "no".
    """
    try:
        async with clock.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise StorageUnavailable("no answer", in_doubt=True) from error


async def who_decided(database: Database, present: Remediation) -> DecidedBy | None:
    """Return who brought a remediation into its state through this bot, where that is known."""
    return await or_none(database.read(approvals.who_decided, present))


async def or_none(read: Awaitable[T]) -> T | None:
    """Return what the database says; None where it can't be asked now."""
    try:
        return await read
    except StorageUnavailable as error:
        logger.info("Going on without what the database knows: %s", error, extra=lasting())
        return None
