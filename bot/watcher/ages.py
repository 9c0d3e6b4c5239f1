"""How old what is known is: messages say so once it is too old, and the next watch learns since when it counts."""

import logging
import math
from dataclasses import dataclass, field
from functools import partial

from bot import alerts
from bot.clock import Clock
from bot.models import RemediationRef
from bot.store import LeasedDatabase, ahead, messages, moments
from bot.watcher.config import WatchConfig
from bot.watcher.index import TrackedIndex
from bot.watcher.workqueue import WorkQueue

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Ages:
    """Looks at when what is tracked was last confirmed."""

    database: LeasedDatabase
    index: TrackedIndex
    queue: WorkQueue
    config: WatchConfig
    clock: Clock
    _begun: float = field(default=0.0, init=False)
    _note_at: float = field(default=0.0, init=False)
    _read_before: float = field(default=0.0, init=False)
    _all_read_before: float = field(default=0.0, init=False)
    _was_away: bool = field(default=False, init=False)
    _told: set[RemediationRef] = field(default_factory=set, init=False)

    async def begin(self) -> None:
        """Begin with what was confirmed before."""
        self._begun = self._note_at = now = self.clock.monotonic()
        self._read_before = await self.database.read(moments.noted, moments.READ)
        self._all_read_before = await self.database.read(moments.noted, moments.ALL_READ)
        self._was_away = 0 < self._read_before < self.clock.now() - self.config.stale_seconds - moments.NOTE_SECONDS
        self._told.clear()
        # As of just before all that this watch reads.
        self.index.load(await self.database.read(messages.known), math.nextafter(now, 0.0))

    async def look(self) -> None:
        """Make messages say when Together last confirmed them, where that is too long ago."""
        now = self.clock.monotonic()
        moment = max(now - self.config.stale_seconds, self._begun if self._was_away else 0.0)
        for ref, at in self.index.confirmed_before(moment).items():
            if ref in self._told:
                continue
            self._told.add(ref)
            # What this watch has never read, the one before read at some time.
            as_of = self.clock.now() - (now - at) if at >= self._begun else self._read_before
            before, after = await self.database.run(messages.observe, ref, partial(alerts.unconfirmed, as_of=as_of))
            if before is None:  # somebody decides on it right now
                self._told.discard(ref)
            elif after:
                self.index.mark_stale(ref)
                self.queue.put(after.message_id)
        if now >= self._note_at:
            await self._note(now)

    async def compare(self) -> None:
        """Take the database's word for what is tracked: one that took over may lack the last commits."""
        for ref in self.index.unlike(await self.database.read(messages.known)):
            self.index.mark_stale(ref)

    def confirmed(self, ref: RemediationRef) -> None:
        """Note that one was just read: it is reported again once that is too long ago."""
        self._told.discard(ref)

    @property
    def lag(self) -> float:
        """How many seconds ago the longest unread cluster was read, or was to be for the first time."""
        now = self.clock.monotonic()
        read_at = self.index.all_read_at(now)
        if read_at < self._begun and self._all_read_before:
            return max(0.0, self.clock.now() - self._all_read_before)
        return now - read_at

    async def _note(self, now: float) -> None:
        """Note for the next watch, which may begin soon, when this one was there, and what it had read."""
        present = self.clock.now()
        noted = {moments.ALIVE: present, moments.ALL_READ: present - self.lag}
        known = self.index.confirmed_before(now)
        oldest = min((at for ref, at in known.items() if ref not in self._told), default=now)
        if oldest >= self._begun:
            noted[moments.READ] = present - (now - oldest)
            # Until all was read, people are told that nothing is certain; what lasts is told as an outage.
            if self.index.all_read_at(now) >= self._begun or now - self._begun > self.config.stale_seconds:
                self._note_at = now + moments.NOTE_SECONDS
        if await self.database.run(ahead.note, noted):
            logger.warning("The database's clock was ahead and has been set back: reminders and calls count from now")
