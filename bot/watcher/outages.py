"""When Together cannot be read: told once when it has lasted, and once when it is over."""

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import IntEnum

from bot.cards import thread
from bot.errors import PostUncertain
from bot.models import ARRIVED_SECONDS, Message, new_id
from bot.store import Outage, clusters, moments, outages, read_clock
from bot.tasks import finish
from bot.watcher.comparison import Comparer
from bot.watcher.listings import CLUSTER_LIST
from bot.watcher.workqueue import Lane, Rank
from bot.watcher.writer import Writer

logger = logging.getLogger(__name__)

TOLD_AFTER = 300.0
# What fails again so soon after it was said to be over is over only once it has been readable for so long.
FLAPS_WITHIN, STEADY_SECONDS = 1800.0, 900.0
KEY = "outages of "  # begins a key of the queue that is one of these; the others are the IDs of messages


class _Kind(IntEnum):
    """What to tell of clusters, in this order."""

    LASTS = 1
    GONE = 2
    OVER = 3


@dataclass(slots=True)
class _Notice:
    """News of clusters that share a channel; looked for before it is repeated.

    Attributes:
        mark: identifies it in the channel, from when it is being sent.
        since: when it was sent, by the database's clock, as Unix time in seconds.
        until: when it has arrived or never will, on this process's monotonic clock.
    """

    kind: _Kind
    clusters: tuple[str, ...]
    channel_id: str
    mark: str = ""
    since: float = 0.0
    until: float = math.inf


@dataclass(slots=True)
class _Known:
    """A cluster that can't be read, or whose channel hasn't heard yet that it can be again.

    Attributes:
        outage: as it is in the database.
        over_at: since when it can be read again; 0 while it can't.
        is_gone: it is no longer read: the list of clusters, or the settings, no longer have it.
        has_gap: for a part of it, nobody was reading.
        is_shown_over: the message about it says that it is over.
    """

    outage: Outage
    over_at: float = 0.0
    is_gone: bool = False
    has_gap: bool = False
    is_shown_over: bool = False


@dataclass(slots=True)
class OutageTeller(Writer):
    """Tracks which clusters can't be read, and tells their channels."""

    comparer: Comparer
    _known: dict[str, _Known] = field(default_factory=dict, init=False)
    _ended: dict[str, float] = field(default_factory=dict, init=False)
    _sent: dict[str, _Notice] = field(default_factory=dict, init=False)
    # What was repeated, by its channel.
    _told_blindly: dict[str, tuple[_Kind, tuple[str, ...]]] = field(default_factory=dict, init=False)

    async def load(self) -> None:
        """Begin with what the last process knew, and look for what it sent without writing down that it had arrived."""
        known = await self.database.read(outages.known)
        now = self.clock.now()
        if now - await self.database.read(moments.noted, moments.ALIVE) > TOLD_AFTER:
            await self.database.run(moments.note, {moments.GAP: now})  # for the watch after this one too
        gap_at = await self.database.read(moments.noted, moments.GAP)
        self._known = {
            cluster_id: self._continued(outage, has_gap=outage.since < gap_at or outage.is_over)
            for cluster_id, outage in known.items()
        }
        self._told_blindly.clear()
        self._sent.clear()
        arrived = self.clock.monotonic() + ARRIVED_SECONDS
        sent: dict[tuple[str, str, float, bool], list[str]] = {}
        for cluster_id, outage in sorted(known.items()):
            if mark := "" if outage.told else outage.mark or outage.over_mark:
                sent.setdefault((outage.channel_id, mark, outage.sent_at, outage.is_over), []).append(cluster_id)
        for (channel_id, mark, sent_at, is_over), group in sorted(sent.items(), key=lambda item: item[0][2]):
            kind = _Kind.OVER if is_over else _Kind.LASTS
            self._sent[channel_id] = _Notice(kind, tuple(group), channel_id, mark, sent_at, arrived)

    def _continued(self, outage: Outage, *, has_gap: bool) -> _Known:
        """Return what the last process knew. What nobody knows of continues once this one can't read it either.

        What should have been told long ago begins then: nobody was reading.
        """
        now, is_untold = self.clock.now(), not (outage.has_lasted or outage.is_over)
        known = replace(outage, since=now) if is_untold and now - outage.since > 2 * TOLD_AFTER else outage
        over_at = now if is_untold else 0.0
        return _Known(known, over_at=over_at, has_gap=has_gap, is_shown_over=bool(outage.over_mark))

    async def failed(self, cluster_id: str) -> None:
        """Note that a cluster, or the list of clusters, could not be read."""
        known = self._known.get(cluster_id)
        if known is None or known.is_shown_over:
            again = Outage(self.clock.now(), told=False)
            self._known[cluster_id] = _Known(again, is_gone=bool(known and known.is_gone))
            await self._note(cluster_id, again)
        else:
            known.over_at = 0.0
            if known.outage.is_over:
                await self._note(cluster_id, known.outage.back)

    async def succeeded(self, cluster_id: str) -> None:
        """Note that it was read."""
        known = self._known.get(cluster_id)
        if known and self._is_told(cluster_id, known):
            known.over_at = known.over_at or self.clock.now()
            await self._end(cluster_id, known)
        elif known:
            await self._forget(cluster_id)

    async def keep(self, clusters: Collection[str]) -> None:
        """Forget what is no longer read."""
        for cluster_id, known in list(self._known.items()):
            is_needed = cluster_id == CLUSTER_LIST and not self.config.clusters
            known.is_gone = cluster_id not in clusters and not is_needed
            if known.is_gone and not self._is_told(cluster_id, known):
                await self._forget(cluster_id, is_watched=False)
            elif known.is_gone:
                await self._end(cluster_id, known)

    async def _end(self, cluster_id: str, known: _Known) -> None:
        """Tell all but the channel that an outage is over, where it is: they wait for nothing that Slack may refuse."""
        if known.outage.told and self._kind_of(cluster_id):
            self._ended[cluster_id] = self.clock.now()
            await self._note(cluster_id, known.outage.over, is_watched=not known.is_gone)

    def look(self) -> None:
        """Put on the queue what has lasted and what is over, for its channel's next turn to post."""
        now = self.clock.monotonic()
        unclear = {channel_id for channel_id, notice in self._sent.items() if notice.until <= now}
        due = {notice.channel_id for notice in self._notices()} - self._sent.keys()
        for channel_id in unclear | due:
            self.queue.put(f"{KEY}{channel_id}", Lane.REPLY, channel_id, rank=Rank.CALLS)

    async def tell(self, channel_id: str, _lane: Lane) -> None:
        """Tell a channel the next thing, at its turn.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have: it is looked at the next time.
        """
        if (sent := self._sent.get(channel_id)) and not await self._is_settled(sent):
            return
        notice = next((notice for notice in self._notices() if notice.channel_id == channel_id), None)
        if notice is None:
            return
        if notice.kind is not _Kind.LASTS:
            await self._take_buttons(notice)
            if notice not in self._notices():
                return
        self.database.ensure_held()
        # From now on it may be told, so that nothing forgets these clusters before the post has begun.
        self._sent[channel_id] = replace(notice, mark=new_id())
        await finish(self._send(self._sent[channel_id]))

    def _notices(self) -> list[_Notice]:
        """Return what to tell now, of the list of clusters apart from all else."""
        groups: dict[tuple[_Kind, bool, str], list[str]] = {}
        for cluster_id in sorted(self._known):
            if kind := self._kind_of(cluster_id):
                key = kind, cluster_id != CLUSTER_LIST, self.config.route(cluster_id).channel_id
                groups.setdefault(key, []).append(cluster_id)
        return [_Notice(key[0], tuple(clusters), key[2]) for key, clusters in sorted(groups.items())]

    def _kind_of(self, cluster_id: str) -> _Kind | None:
        known, now = self._known[cluster_id], self.clock.now()
        if self._is_sent(cluster_id):
            return None  # maybe to a channel that it had before
        if not known.outage.was_told:
            return _Kind.LASTS if not known.over_at and now - known.outage.since >= TOLD_AFTER else None
        if known.is_gone:
            return _Kind.GONE
        if known.outage.is_over:
            return _Kind.OVER if known.over_at else None
        # What comes and goes is reported once.
        is_again = known.outage.since - self._ended.get(cluster_id, -FLAPS_WITHIN) < FLAPS_WITHIN
        is_steady = known.over_at and (not is_again or now - known.over_at >= STEADY_SECONDS)
        return _Kind.OVER if is_steady else None

    async def _send(self, sent: _Notice) -> None:
        channel_id = sent.channel_id
        try:
            message = await self._message(sent)
            sent.since = await self.database.read(read_clock)  # nearer to Slack's clock than this process's may be
            logger.warning("%s", message.text)
            for cluster_id in sent.clusters:
                # Before it leaves, so that the next process with the watch looks for it.
                known, begins = self._known[cluster_id].outage, sent.kind is _Kind.LASTS
                sending = replace(known, mark=sent.mark) if begins else known.telling_the_end(sent.mark, channel_id)
                sending = replace(sending, channel_id=channel_id, sent_at=sent.since)
                await self._note(cluster_id, sending, is_watched=sent.kind is not _Kind.GONE)
            self.database.ensure_held()  # that may have taken so long that another process tells it by now
            await self._told(sent, await self.channels.post(message, channel_id=channel_id, mark=sent.mark))
        except PostUncertain:
            sent.until = self.clock.monotonic() + ARRIVED_SECONDS
            raise
        finally:
            if sent.until == math.inf:
                self._sent.pop(channel_id, None)

    async def _message(self, notice: _Notice) -> Message:
        named = await self._named(notice.clusters)
        since, until, at_most = self._lasted(notice.clusters)
        match notice.kind:
            case _Kind.LASTS:
                return thread.unreadable(named, since, notice.clusters)
            case _Kind.GONE:
                return thread.unwatched(named)
            case _Kind.OVER:
                return thread.readable(named, since, until, at_most=at_most)

    def _lasted(self, clusters: Collection[str]) -> tuple[float, float, bool]:
        """Return since when some of these couldn't be read, until when, and whether not surely all that time."""
        entries, now = [self._known[cluster_id] for cluster_id in clusters], self.clock.now()
        at_most = len(entries) > 1 or entries[0].has_gap
        return min(known.outage.since for known in entries), max(known.over_at or now for known in entries), at_most

    async def _told(self, notice: _Notice, ts: str) -> None:
        for cluster_id in notice.clusters:
            if cluster_id not in self._known:
                continue
            if notice.kind is _Kind.LASTS:
                outage = self._known[cluster_id].outage
                await self._note(cluster_id, replace(outage, told=True, channel_id=notice.channel_id, ts=ts))
            else:
                self._ended[cluster_id] = self.clock.now()
                await self._forget(cluster_id, is_watched=notice.kind is _Kind.OVER)
        self._told_blindly.pop(notice.channel_id, None)

    async def _is_settled(self, sent: _Notice) -> bool:
        """Look for what a channel may have been told. Where the bot may not read it, it is repeated, but only once."""
        if self.clock.monotonic() < sent.until:
            return False
        channel_id = sent.channel_id
        ts = await self.channels.look_for(sent.mark, channel_id, since=sent.since)
        notice = sent.kind, sent.clusters
        if ts or (ts is None and self._told_blindly.get(channel_id) == notice):
            self.comparer.found(channel_id, sent.mark)
            await self._told(sent, ts or "")
        elif ts is None:
            self._told_blindly[channel_id] = notice
        else:
            self.comparer.lost(channel_id, sent.mark)
        del self._sent[channel_id]
        for cluster_id in sent.clusters:
            known = self._known.get(cluster_id)
            if known and (known.over_at or known.is_gone) and not known.outage.was_told:
                # The channel hasn't heard of it, and it is over.
                await self._forget(cluster_id, is_watched=not known.is_gone)
                self._told_blindly.pop(channel_id, None)
        return True

    async def _take_buttons(self, notice: _Notice) -> None:
        """Take the button off each message about an outage that is over for all whom it was about."""
        for ts in sorted({self._known[cluster_id].outage.ts for cluster_id in notice.clusters} - {""}):
            about = {cluster_id: known for cluster_id, known in self._known.items() if known.outage.ts == ts}
            if not about.keys() <= set(notice.clusters):
                continue
            named = await self._named(about)
            await self.channels.turn_to_update()
            if notice not in self._notices():
                return
            since, until, at_most = self._lasted(about)
            shown = thread.was_unreadable(named, since, until, at_most=at_most)
            self.database.ensure_held()
            for cluster_id, known in about.items():  # before it leaves, as that may be the last word
                if known.outage.is_over and not known.outage.over_mark:
                    await self._note(cluster_id, replace(known.outage, over_mark=new_id()))
            is_stuck, is_shown = self.queue.is_stuck(f"{KEY}{notice.channel_id}", Lane.REPLY), False
            channel_id = next(iter(about.values())).outage.channel_id
            await self.comparer.owe(channel_id, ts, shown)
            try:
                is_shown = await self.comparer.edit_last(ts, shown, channel_id, may_wait=is_stuck)
            except PostUncertain:
                is_shown = True
                raise
            finally:
                for known in about.values():
                    known.is_shown_over = is_shown
                if not is_shown:
                    await self.comparer.owe(channel_id, ts, None)

    def _is_told(self, cluster_id: str, known: _Known) -> bool:
        """Return whether people were told that it can't be read, or may have been; it may be forgotten by now."""
        return known.outage.was_told or self._is_sent(cluster_id)

    def _is_sent(self, cluster_id: str) -> bool:
        return any(cluster_id in notice.clusters for notice in self._sent.values())

    async def _note(self, cluster_id: str, outage: Outage, *, is_watched: bool = True) -> None:
        self._known[cluster_id].outage = outage
        await self.database.run(outages.note, cluster_id, outage, is_watched=is_watched)

    async def _forget(self, cluster_id: str, *, is_watched: bool = True) -> None:
        self._known.pop(cluster_id, None)  # first, so that no turn to post finds it while it is written down
        await self.database.run(outages.note, cluster_id, None, is_watched=is_watched)

    async def _named(self, group: Collection[str]) -> list[str]:
        names = await self.database.read(clusters.names)
        return [names[cluster_id] for cluster_id in group if cluster_id != CLUSTER_LIST]
