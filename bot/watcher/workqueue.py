"""The messages that need work: each once, and left alone for a while after a failure."""

import asyncio
import math
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_WAIT = 5.0
OFTEN = 3  # failures, within half a minute


class Lane(Enum):
    """What to do next, each in its own line.

    Slack's limits differ, a new card doesn't wait for a thread, and no look at a message waits for Together.
    """

    LOOK = "look"
    FIND = "find"
    POST = "post"
    EDIT = "edit"
    REPLY = "reply"
    ALARM = "alarm"


class Laned(Enum):
    """A step, with the lane in which it is done. The name only keeps the steps of one lane from being aliases."""

    def __init__(self, lane: Lane, _name: str) -> None:
        self.lane = lane


class Rank(IntEnum):
    """What comes first in a line: what calls people, and then what changes the decision."""

    CALLS = 0
    DECISION = 1
    OTHERS = 2


Line = tuple[Lane, str]  # a lane of one channel: one that is closed or slow keeps no other waiting
_LOOKS: Line = Lane.LOOK, ""
# Seconds for which what waits in a line isn't looked at again: looks that follow each other would keep its worker out.
LOOKED_SECONDS = 3.0
# In seconds: how long a new alert is missing, a card outdated, and a thread incomplete at most, once Slack is back.
LONGEST_WAIT = dict.fromkeys(Lane, 60.0) | {Lane.POST: 10.0, Lane.REPLY: 300.0}


@dataclass(slots=True)
class Backoff(Generic[K]):
    """How long to leave what has failed: 5 s after the first failure, twice as long after each further one.

    Attributes:
        longest: the longest wait, in seconds.
    """

    monotonic: Callable[[], float]
    longest: float
    _failures: dict[K, tuple[int, float]] = field(default_factory=dict, init=False)

    def failed(self, key: K) -> None:
        """Note a failure."""
        count = self._failures.get(key, (0, 0.0))[0] + 1
        self._failures[key] = count, self.monotonic() + min(self.longest, FIRST_WAIT * 2.0 ** min(count - 1, 16))

    def is_stuck(self, key: K) -> bool:
        """Return whether it has failed so often in a row that what depends on it waits no longer."""
        return self._failures.get(key, (0, 0.0))[0] >= OFTEN

    def pause(self, key: K, seconds: float) -> None:
        """Leave it for so long."""
        self._failures[key] = 0, self.monotonic() + seconds

    def succeeded(self, key: K) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)

    def must_wait(self, key: K) -> bool:
        """Return whether it is too early to try again."""
        return self.monotonic() < self._failures.get(key, (0, 0.0))[1]


@dataclass(slots=True)
class _Waiting:
    """The keys that wait in a line, with their ranks, in the order in which they came."""

    ranks: dict[str, Rank] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class WorkQueue:
    """Keys that wait for the worker of their line: by rank, then first come first served.

    A key waits in one line at most, and now and then to be looked at beside that, since it may have become urgent. One
    worker at a time has it. When something is to happen later is the store's to know: a message that is due is put
    again by the next tick.

    Attributes:
        opened: set whenever there is a new line, which needs a worker.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.opened = asyncio.Event()
        self.clear()

    @property
    def lines(self) -> Collection[Line]:
        """The lines that there are."""
        return self._lines.keys()

    def put(self, key: str, lane: Lane = Lane.LOOK, channel_id: str = "", *, rank: Rank = Rank.OTHERS) -> None:
        """Add a key, unless it waits there already, or it or the channel has just failed in this lane."""
        line, backoff = (lane, channel_id), self._backoff[lane]
        if backoff.must_wait(key) or backoff.must_wait(channel_id):
            return
        before, looked_at = self._waits_in.get(key, (line, -math.inf))
        now = self._monotonic()
        if lane is not Lane.LOOK:
            for other in {before, _LOOKS} - {line}:
                self._waiting(other).ranks.pop(key, None)
            self._waits_in[key] = line, now
        elif now - looked_at < LOOKED_SECONDS:
            return
        waiting = self._waiting(line)
        if waiting.ranks.get(key, math.inf) > rank:
            waiting.ranks.pop(key, None)  # behind what has this rank already
            waiting.ranks[key] = rank
        waiting.news.set()

    def waiting(self, lane: Lane) -> int:
        """Return how many keys wait in a lane."""
        return sum(len(waiting.ranks) for (in_lane, _), waiting in self._lines.items() if in_lane is lane)

    async def get(self, lane: Lane, channel_id: str = "") -> str:
        """Take the first key of a line, as soon as there is one. Its worker calls `done` afterward."""
        waiting = self._waiting((lane, channel_id))
        while not (free := [key for key in waiting.ranks if key not in self._active]):
            waiting.news.clear()
            await waiting.news.wait()
        key = min(free, key=waiting.ranks.__getitem__)
        del waiting.ranks[key]
        if lane is not Lane.LOOK:
            del self._waits_in[key]
        self._active.add(key)
        return key

    def done(self, key: str, next_lane: Lane | None = None, channel_id: str = "", *, rank: Rank = Rank.OTHERS) -> None:
        """Give a key back, for another lane where there is more to do at once."""
        self._active.discard(key)
        if next_lane:
            self.put(key, next_lane, channel_id, rank=rank)
        for line in {_LOOKS, self._waits_in.get(key, (_LOOKS, 0.0))[0]}:
            self._waiting(line).news.set()

    def failed(self, key: str, lane: Lane) -> None:
        """Leave a key alone in this lane for a while."""
        self._backoff[lane].failed(key)

    def is_stuck(self, key: str, lane: Lane) -> bool:
        """Return whether a key has failed again and again in this lane, like `Backoff.is_stuck`."""
        return self._backoff[lane].is_stuck(key)

    def closed(self, channel_id: str, lane: Lane) -> None:
        """Leave a channel alone in this lane for a while, with all that waits there: it comes back when it is due."""
        self._backoff[lane].failed(channel_id)
        for key in self._lines.pop((lane, channel_id)).ranks:
            del self._waits_in[key]

    def succeeded(self, key: str, lane: Lane, channel_id: str = "") -> None:
        """Forget the failures of a key, and of its channel, in this lane."""
        for failed in (key, channel_id):
            self._backoff[lane].succeeded(failed)

    def clear(self) -> None:
        """Forget what waits, and what has failed: the store knows what is due."""
        self._backoff = {lane: Backoff[str](self._monotonic, LONGEST_WAIT[lane]) for lane in Lane}
        self._lines: dict[Line, _Waiting] = {}
        # In which line a key waits, and when it was last looked at, on this process's monotonic clock.
        self._waits_in: dict[str, tuple[Line, float]] = {}
        self._active: set[str] = set()

    def _waiting(self, line: Line) -> _Waiting:
        if line not in self._lines:
            self._lines[line] = _Waiting()
            self.opened.set()
        return self._lines[line]
