"""What is wrong in clusters as a whole, as the process with the watch knows it: written down before it counts."""

import asyncio
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from bot.models import FaultReport
from bot.store import LeasedDatabase, faults
from bot.store.outbox import Data

FRESH_SECONDS = 420.0  # since the alerts of a cluster were read: while Together is slow, that is every five minutes
Change = Callable[[FaultReport], FaultReport]


@dataclass(slots=True)
class Reports:
    """Keeps a report for each cluster in which something is wrong.

    Attributes:
        database: others resume approvals there, so a report with a brake is always changed as it is in the database.
        read_at: when the alerts of a cluster were read by this process, on its monotonic clock.
        confirmed_at: likewise, as Unix time in seconds.
    """

    database: LeasedDatabase
    read_at: dict[str, float] = field(default_factory=dict, init=False)
    confirmed_at: dict[str, float] = field(default_factory=dict, init=False)
    _known: dict[str, FaultReport] = field(default_factory=dict, init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def load(self) -> None:
        """Begin with what the last process knew."""
        await self.database.run(faults.drop_unreadable)
        self._known = await self.database.read(faults.known)
        self.read_at.clear()
        self.confirmed_at.clear()

    async def refresh(self) -> None:
        """Learn who has resumed approvals, though Together can't be read."""
        if any(each.brake for each in self._known.values()):
            async with self._writing:
                self._known = await self.database.read(faults.known)

    def __getitem__(self, cluster_id: str) -> FaultReport:
        return self._known.get(cluster_id, FaultReport())

    @property
    def clusters(self) -> Collection[str]:
        """Those in which something is wrong, or a message says so."""
        return list(self._known)

    def is_fresh(self, cluster_id: str, now: float) -> bool:
        """Return whether the alerts of a cluster were read lately; `now` on this process's monotonic clock."""
        return now - self.read_at.get(cluster_id, -math.inf) <= FRESH_SECONDS

    async def change(self, cluster_id: str, change: Change, *, told: Data | None = None) -> None:
        """Change a report. `told` is what other tools are told with it.

        Raises:
            LeaseLost, StorageUnavailable: it may have been changed, or not.
        """
        async with self._writing:
            known = self[cluster_id]
            after = change(known)
            is_same = after == known or (after.is_empty and known.is_empty)
            if is_same and told is None and known.brake is None:
                return
            after = await self.database.run(faults.change, cluster_id, change, told)
            if after.is_empty:
                self._known.pop(cluster_id, None)
            else:
                self._known[cluster_id] = after
