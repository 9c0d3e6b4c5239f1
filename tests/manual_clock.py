"""Time that passes when a test says so."""

import asyncio
from collections.abc import Awaitable, Callable

from bot.clock import Clock
from bot.decisions.decisions import PROGRESS_AFTER
from handlers.connection import CHECK_EVERY
from handlers.socket import LOOK_EVERY

KEEPER_PAUSE = 15 * 0.3  # the watch renews its lease at the same pace
LONG_KEEPER_PAUSE = 300 * 0.3
POLL = 11.0  # what the tests of the watch set
START = 1_795_489_200.0  # 2026-11-24 03:00:00 UTC, when people on call are asleep


class ManualClock:
    """A clock that stands until it is advanced.

    Attributes:
        skip: says which pauses pass at once, moving the clock by their length.
        follower: another clock, told what time it is whenever a test lets time pass.
    """

    def __init__(self, skip: Callable[[float], bool] = lambda _seconds: False) -> None:
        self.seconds = 0.0
        self.skip = skip
        self.slept: list[float] = []
        self.follower: Callable[[float], Awaitable[None]] | None = None
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._news = asyncio.Event()
        self.clock = Clock(now=self.now, monotonic=lambda: self.seconds, sleep=self.sleep)

    def now(self) -> float:
        return START + self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.skip(seconds):
            self.seconds += seconds
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[future] = self.seconds + seconds
        self._news.set()
        self._news = asyncio.Event()
        try:
            await future
        finally:
            del self._sleepers[future]

    async def advance(self, seconds: float) -> None:
        """Let time pass, and wake those whose pause is over."""
        self.seconds += seconds
        if self.follower:
            await self.follower(self.now())
        for future, wake_at in list(self._sleepers.items()):
            if wake_at <= self.seconds and not future.done():
                future.set_result(None)

    @property
    def next_wake(self) -> float:
        """When the first of those who sleep is to wake."""
        return min(self._sleepers.values(), default=self.seconds + 1.0)

    async def until_sleeping(self, seconds: float) -> None:
        """Wait until somebody has gone to sleep for exactly so long."""
        async with asyncio.timeout(10):
            while seconds not in self.slept or not self._sleepers:
                await self._news.wait()


def read_backs_pass(seconds: float) -> bool:
    """Let retries and read-backs pass at once, but not the second before "in progress" nor the background's checks."""
    return seconds not in {PROGRESS_AFTER, LOOK_EVERY, CHECK_EVERY, KEEPER_PAUSE, LONG_KEEPER_PAUSE, POLL}
