"""Time that passes when a test says so."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from bot.clock import Clock, WaitReason

START = 1_795_489_200.0  # 2026-11-24 03:00:00 UTC, when people on call are asleep
POLL = 11.0  # how often the tests let the bot read Together's lists
HANGS_AFTER = 60.0  # real seconds after which a test is stuck, not slow
# What a decision waits for on its way. The background's rounds and the notice of progress stand until time passes.
ON_THE_WAY = frozenset({WaitReason.RETRY, WaitReason.READ_BACK, WaitReason.SLACK_LIMIT})


class ManualClock:
    """A clock that stops until it is advanced.

    Args:
        passing: the reasons for which nobody waits: such a pause moves the clock by its length and is over at once.
        endless: the reasons for which a pause is never over: what a test doesn't look at isn't done again and again.

    Attributes:
        set_back: by how many seconds somebody has set back the clock that says what time it is.
        follower: another clock, told what time it is whenever a test lets time pass.
    """

    def __init__(self, passing: Collection[WaitReason] = (), endless: Collection[WaitReason] = ()) -> None:
        self.seconds = 0.0
        self.set_back = 0.0
        self.passing = passing
        self.endless = endless
        self.follower: Callable[[float], Awaitable[None]] | None = None
        self._slept: list[tuple[WaitReason, float]] = []
        self._sleepers: dict[asyncio.Future[None], tuple[WaitReason, float]] = {}
        self._limits: dict[asyncio.Timeout, float] = {}
        self._news = asyncio.Event()
        self.clock = Clock(now=self.now, monotonic=lambda: self.seconds, sleep=self.sleep, timeout=self.timeout)

    def now(self) -> float:
        return START + self.seconds - self.set_back

    async def sleep(self, seconds: float, pause: WaitReason) -> None:
        self._slept.append((pause, seconds))
        self._news.set()
        self._news = asyncio.Event()
        if pause in self.passing:
            self.seconds += seconds
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[future] = (pause, math.inf if pause in self.endless else self.seconds + seconds)
        try:
            await future
        finally:
            del self._sleepers[future]

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as limit:
            self._limits[limit] = self.seconds + seconds
            try:
                yield
            finally:
                del self._limits[limit]

    async def advance(self, seconds: float, *, only: WaitReason | None = None) -> None:
        """Let time pass: wake those whose pause is over, and stop what took too long.

        Args:
            only: nobody is woken yet but who pauses for this reason.
        """
        self.seconds += seconds
        if self.follower:
            await self.follower(self.now())
        for future, (reason, wake_at) in list(self._sleepers.items()):
            if wake_at <= self.seconds and not future.done() and only in {None, reason}:
                future.set_result(None)
        if only:
            return
        for limit, expires_at in list(self._limits.items()):
            if expires_at <= self.seconds and not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def slept(self, pause: WaitReason) -> list[float]:
        """How long the bot has paused for a reason, one number for each time."""
        return [seconds for reason, seconds in self._slept if reason is pause]

    @property
    def next_wake(self) -> float:
        """When the next pause or limit of time is over."""
        pauses = [wake_at for _, wake_at in self._sleepers.values()]
        return min([*pauses, *self._limits.values()], default=self.seconds + 1.0)

    async def until_sleeping(self, pause: WaitReason, count: int = 1) -> None:
        """Wait until the bot, or this many bots, pause for a reason."""
        async with asyncio.timeout(HANGS_AFTER):
            while len(self._pausing(pause)) < count:
                await self._news.wait()

    def _pausing(self, pause: WaitReason) -> list[float]:
        return [wake_at for item, (reason, wake_at) in self._sleepers.items() if reason is pause and not item.done()]

    async def until_paused(self, pause: WaitReason) -> None:
        """Wait until the bot has paused for a reason, however long ago that pause was over."""
        async with asyncio.timeout(HANGS_AFTER):
            while not self.slept(pause):
                await self._news.wait()

    async def end_pause(self, pause: WaitReason) -> None:
        """Let so much time pass that the first pause for a reason is over."""
        await self.until_sleeping(pause)
        await self.advance(max(0.0, min(self._pausing(pause)) - self.seconds))

    async def end_pauses(self, pause: WaitReason, count: int) -> None:
        """Let enough time pass that the pauses of this many bots for a reason are over."""
        await self.until_sleeping(pause, count)
        await self.advance(max(0.0, max(self._pausing(pause)) - self.seconds))
