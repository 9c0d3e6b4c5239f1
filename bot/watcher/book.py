"""What the watching process keeps in memory: what is followed, and the queues of what is to be done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Generic, TypeVar

from bot.errors import LeaseLost, NotPosted, PostUnclear, StorageUnavailable
from bot.models import RemediationRef

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Book:
    """The open alerts, with the fingerprint of what was last seen of each."""

    def __init__(self) -> None:
        self._fingerprints: dict[RemediationRef, str] = {}
        self._of_cluster: dict[str, set[RemediationRef]] = {}

    def __contains__(self, ref: object) -> bool:
        return ref in self._fingerprints

    def load(self, known: Iterable[tuple[RemediationRef, str]]) -> None:
        """Begin anew."""
        self._fingerprints.clear()
        self._of_cluster.clear()
        for ref, fingerprint in known:
            self.note(ref, fingerprint)

    def note(self, ref: RemediationRef, fingerprint: str) -> None:
        """Remember what was seen."""
        self._fingerprints[ref] = fingerprint
        self._of_cluster.setdefault(ref.cluster_id, set()).add(ref)

    def close(self, ref: RemediationRef) -> None:
        """Read it no more, though its card and thread are yet to be told how it ended."""
        self._of_cluster.get(ref.cluster_id, set()).discard(ref)

    def drop(self, ref: RemediationRef) -> None:
        """Follow it no longer."""
        self._fingerprints.pop(ref, None)
        self._of_cluster.get(ref.cluster_id, set()).discard(ref)

    def has_seen(self, ref: RemediationRef, fingerprint: str) -> bool:
        """Whether this is what was seen last."""
        return self._fingerprints.get(ref) == fingerprint

    def of_cluster(self, cluster_id: str) -> Collection[RemediationRef]:
        """The open alerts of a cluster."""
        return tuple(self._of_cluster.get(cluster_id, ()))

    @property
    def clusters(self) -> Collection[str]:
        """The clusters with open alerts."""
        return [cluster_id for cluster_id, refs in self._of_cluster.items() if refs]


class Backoff(Generic[T]):
    """How long to leave what has failed: 5 s after the first failure, twice as long after each further one.

    Args:
        monotonic: this process's clock.
        longest: seconds, beyond which it grows no more.
    """

    FIRST = 5.0

    def __init__(self, monotonic: Callable[[], float], longest: float = 300.0) -> None:
        self._monotonic = monotonic
        self._longest = longest
        self._failures: dict[T, tuple[int, float]] = {}

    def failed(self, item: T) -> int:
        """Note a failure. Gives back how many there were in a row."""
        count = self.failures(item) + 1
        wait = min(self._longest, self.FIRST * 2.0 ** (count - 1))
        self._failures[item] = (count, self._monotonic() + wait)
        return count

    async def attempt(self, item: T, work: Awaitable[None]) -> bool:
        """Do some work on an item, and note a failure. Gives back whether there was none.

        Raises:
            LeaseLost: another process watches now.
            StorageUnavailable: the database is away.
        """
        try:
            await work
        except NotPosted as error:
            logger.warning("%s: Slack did not take it: %s", item, error)
        except PostUnclear as error:
            logger.warning("%s: Slack did not say whether it took it: %s", item, error)
        except (LeaseLost, StorageUnavailable):
            raise
        except Exception:  # one message that cannot be drawn must not blind the bot to all others
            logger.exception("%s could not be seen to", item)
        else:
            return True
        self.failed(item)
        return False

    def succeeded(self, item: T) -> None:
        """Forget the failures."""
        self._failures.pop(item, None)

    def failures(self, item: T) -> int:
        """How many failures there were in a row."""
        return self._failures.get(item, (0, 0.0))[0]

    def is_to_wait(self, item: T) -> bool:
        """Whether it is too early to try again."""
        return self._monotonic() < self._failures.get(item, (0, 0.0))[1]


class Queue(Generic[T]):
    """First come first served, each item once."""

    def __init__(self) -> None:
        self._items: dict[T, None] = {}
        self._news = asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item, unless it waits already."""
        self._items.setdefault(item)
        self._news.set()

    def clear(self) -> None:
        """Begin anew."""
        self._items.clear()

    async def get(self) -> T:
        """Take the first item, as soon as there is one."""
        while not self._items:
            self._news.clear()
            await self._news.wait()
        item = next(iter(self._items))
        del self._items[item]
        return item
