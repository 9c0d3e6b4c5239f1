"""One message a day for the handover: what happened since the evening before."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import partial

from bot.cards import handover
from bot.daily import DailyTime
from bot.errors import DirectoryUnavailable, PostUncertain
from bot.models import ARRIVED_SECONDS, Directory
from bot.store import clusters, ended, moments, outages
from bot.watcher.faults import FaultReports
from bot.watcher.workqueue import Lane
from bot.watcher.writer import Writer

KEY = "summary of "  # begins a key of the queue; a channel's ID follows
LATE_SECONDS = 7200.0  # what was missed for longer is never sent
APART_SECONDS = 12 * 3600.0  # nobody gets two summaries within this time


@dataclass(slots=True)
class SummaryTeller(Writer):
    """Sends it once a day to each alert channel, about the clusters whose alerts go there."""

    reports: FaultReports
    directory: Directory
    _told: dict[str, float] = field(init=False)
    _unclear: dict[str, str] = field(default_factory=dict, init=False)  # which one a channel may have
    _wait_until: float = field(init=False)  # what this or an earlier process sent has arrived, or won't

    async def begin(self) -> None:
        """Begin with what the last process knew."""
        self._told = await self.database.read(moments.summaries) if self.config.cards.summary else {}
        self._wait_until = self.clock.monotonic() + ARRIVED_SECONDS

    def look(self) -> None:
        """Put on the queue what is due."""
        for channel_id in self.config.channels:
            if self._due(channel_id):
                self.queue.put(f"{KEY}{channel_id}", Lane.REPLY, channel_id)

    def _due(self, channel_id: str) -> DailyTime | None:
        """Return when it is sent, where it is due now."""
        at, now = self.config.cards.summary, self.clock.now()
        if at is None or self.clock.monotonic() < self._wait_until:
            return None
        (last, _), told_at = at.last(now), self._told.get(channel_id, 0.0)
        # The time or its zone may have changed since. One that is yet to come was told by a clock that was wrong.
        is_told = last - told_at <= APART_SECONDS and told_at - now <= APART_SECONDS
        return None if is_told or now - last >= LATE_SECONDS else at

    async def tell(self, channel_id: str, _lane: Lane) -> None:
        """Send a channel its summary, at its turn, unless an earlier attempt or process has.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have: it is looked for before it is sent again.
        """
        if (at := self._due(channel_id)) is None:
            return
        due_at, day = at.last(self.clock.now())
        midnight = datetime.combine(day, time(), at.zone).timestamp()
        mark = f"summary {day.toordinal()}"
        ts = await self.channels.look_for(mark, channel_id, since=midnight)
        is_doubted = ts is None and self._unclear.get(channel_id) == mark  # where it can't be read
        if not (ts or is_doubted):
            alerts, _, unread = await self.database.read(ended.lately, handover.LONGEST_SHIFT)
            shown = [alert for alert in alerts if self._goes_to(alert.cluster_id, channel_id)]
            faults = [
                self.reports[cluster_id]
                for cluster_id in self.reports.clusters
                if self._goes_to(cluster_id, channel_id)
            ]
            known = await self.database.read(outages.unreadable, self.config.stale_seconds)
            names = await self.database.read(clusters.names)
            # Without the list of clusters, nothing is certain of any channel's.
            here = [cluster_id for cluster_id in known if not cluster_id or self._goes_to(cluster_id, channel_id)]
            unreadable = [names[cluster_id] for cluster_id in here]
            draw = partial(handover.shift, shown, faults, unreadable, at.shift_began(due_at), unread=unread)
            people = sorted(handover.people_in(draw()))
            message = draw(names=dict(await asyncio.gather(*map(self._named, people))))
            self.database.ensure_held()
            try:
                await self.channels.post(message, channel_id=channel_id, mark=mark)
            except PostUncertain:
                self._unclear[channel_id] = mark
                self._wait_until = self.clock.monotonic() + ARRIVED_SECONDS
                raise
        await self.database.run(moments.note_summary, channel_id, due_at)
        self._told[channel_id] = due_at
        self._unclear.pop(channel_id, None)

    async def _named(self, user_id: str) -> tuple[str, str]:
        """Return a person with what Slack calls them: a mention would wake them. Without an answer, it's their ID."""
        try:
            return user_id, await self.directory.name_of(user_id)
        except DirectoryUnavailable:
            return user_id, user_id

    def _goes_to(self, cluster_id: str, channel_id: str) -> bool:
        return self.config.route(cluster_id).channel_id == channel_id
