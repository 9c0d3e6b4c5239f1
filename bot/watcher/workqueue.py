"""What is to be looked at: each message once, and left alone for a while after a failure."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_WAIT = 5.0


class Lane(Enum):
    """What is to be done next: Slack's limits differ, and a new card waits for no thread."""

    LOOK = "look"
    FIND = "find"
    POST = "post"
    EDIT = "edit"
    TELL = "tell"


# In seconds: so long a new alert may be missing, a card untrue, and a thread incomplete, at most, once Slack is back.
LONGEST_WAIT = {Lane.LOOK: 60.0, Lane.FIND: 60.0, Lane.POST: 10.0, Lane.EDIT: 60.0, Lane.TELL: 300.0}


class Backoff(Generic[K]):
    """How long to leave what has failed: 5 s after the first failure, twice as long after each further one.

    Args:
        monotonic: this process's clock.
        longest: seconds, beyond which it grows no more.
    """

    def __init__(self, monotonic: Callable[[], float], longest: float) -> None:
        self._monotonic = monotonic
        self._longest = longest
        self._failures: dict[K, tuple[int, float]] = {}

    def failed(self, key: K) -> None:
        """Note a failure."""
        count = self._failures.get(key, (0, 0.0))[0] + 1
        self._failures[key] = count, self._monotonic() + min(self._longest, FIRST_WAIT * 2.0 ** min(count - 1, 16))

    def succeeded(self, key: K) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)

    def is_to_wait(self, key: K) -> bool:
        """Return whether it is too early to try again."""
        return self._monotonic() < self._failures.get(key, (0, 0.0))[1]


class WorkQueue:
    """Keys that wait for a worker of their lane, first come first served.

    A key waits in one lane at most, and one worker at a time has it; what is put meanwhile is looked at afterwards.
    When something is to happen later is the store's to know: a message that is due is put again by the next tick.

    Args:
        monotonic: this process's clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._backoff: dict[Lane, Backoff[str]] = {lane: Backoff(monotonic, LONGEST_WAIT[lane]) for lane in Lane}
        self._waiting: dict[Lane, deque[str]] = {lane: deque() for lane in Lane}
        self._queued: set[str] = set()
        self._active: set[str] = set()
        self._again: dict[str, Lane] = {}
        self._news = {lane: asyncio.Event() for lane in Lane}

    def put(self, key: str, lane: Lane = Lane.LOOK) -> None:
        """Add a key, unless it waits already or has just failed in this lane."""
        if key in self._queued or self._backoff[lane].is_to_wait(key):
            return
        if key in self._active:
            self._again.setdefault(key, lane)
            return
        self._queued.add(key)
        self._waiting[lane].append(key)
        self._news[lane].set()

    def waiting(self, lane: Lane) -> int:
        """Return how many keys wait in a lane."""
        return len(self._waiting[lane])

    async def get(self, lane: Lane) -> str:
        """Take the first key of a lane, as soon as there is one. Its worker calls `done` afterwards."""
        while not self._waiting[lane]:
            self._news[lane].clear()
            await self._news[lane].wait()
        key = self._waiting[lane].popleft()
        self._queued.discard(key)
        self._active.add(key)
        return key

    def done(self, key: str, next_lane: Lane | None = None) -> None:
        """Give a key back, for another lane where there is more to do at once."""
        self._active.discard(key)
        again = self._again.pop(key, None)
        if lane := next_lane or again:
            self.put(key, lane)

    def failed(self, key: str, lane: Lane) -> None:
        """Leave a key alone in this lane for a while."""
        self._backoff[lane].failed(key)

    def succeeded(self, key: str, lane: Lane) -> None:
        """Forget the failures of a key in this lane."""
        self._backoff[lane].succeeded(key)

    def clear(self) -> None:
        """Forget what waits: the store knows what is due."""
        for lane in Lane:
            self._waiting[lane].clear()
        for keys in (self._queued, self._active, self._again):
            keys.clear()
