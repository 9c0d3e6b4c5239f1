"""When Together cannot be read: told once when it has lasted, and once when it is over."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from bot import cards
from bot.clock import Clock
from bot.errors import PostFailed, PostUncertain
from bot.models import ARRIVED_SECONDS, AlertChannels, Message, new_id
from bot.store import LeasedDatabase, Outage, outages, read_clock
from bot.tasks import finish
from bot.watcher.comparison import HISTORY_BEFORE
from bot.watcher.config import WatchConfig
from bot.watcher.poller import ALL_CLUSTERS
from bot.watcher.workqueue import Lane, WorkQueue

logger = logging.getLogger(__name__)

TOLD_AFTER = 300.0
# What fails again so soon after it was said to be over is over only once it has been readable for so long.
FLAPS_WITHIN, STEADY_SECONDS = 1800.0, 900.0
KEY = "outages of "  # begins a key of the queue that is one of these; the others are the IDs of messages


class _Kind(Enum):
    """What is to be told of clusters, in the order in which it is."""

    LASTS = "lasts"
    GONE = "gone"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class _Notice:
    """Something to be told of clusters that share a channel."""

    kind: _Kind
    clusters: tuple[str, ...]
    channel_id: str


@dataclass(frozen=True, slots=True)
class _Unclear:
    """What a channel may have been told: it is looked for before it is repeated.

    Attributes:
        until: when it has arrived or never will, on this process's monotonic clock.
        since: when it was sent, by the database's clock, as Unix time in seconds.
    """

    notice: _Notice
    mark: str
    until: float
    since: float


@dataclass(slots=True)
class OutageNotifier:
    """Keeps what cannot be read."""

    database: LeasedDatabase
    channels: AlertChannels
    queue: WorkQueue
    config: WatchConfig
    clock: Clock
    _known: dict[str, Outage] = field(default_factory=dict, init=False)
    _over: dict[str, float] = field(default_factory=dict, init=False)
    _gone: set[str] = field(default_factory=set, init=False)
    _ended: dict[str, float] = field(default_factory=dict, init=False)
    _sending: set[_Notice] = field(default_factory=set, init=False)
    _unclear: dict[str, _Unclear] = field(default_factory=dict, init=False)
    _told_blindly: set[str] = field(default_factory=set, init=False)
    _shown_over: set[str] = field(default_factory=set, init=False)

    async def load(self) -> None:
        """Begin with what the last process knew."""
        self._known = await self.database.read(outages.known)
        for each in (self._over, self._gone, self._unclear, self._told_blindly, self._shown_over):
            each.clear()
        self._look_for_sent()

    def _look_for_sent(self) -> None:
        """Look for what the last process sent, and ended before it could write down that it had arrived."""
        untold = {cluster_id: each for cluster_id, each in self._known.items() if each.mark and not each.told}
        for outage in sorted(untold.values(), key=lambda each: each.sent_at):
            clusters = tuple(sorted(each for each, other in untold.items() if other.mark == outage.mark))
            notice, until = _Notice(_Kind.LASTS, clusters, outage.channel_id), self.clock.monotonic() + ARRIVED_SECONDS
            self._unclear[outage.channel_id] = _Unclear(notice, outage.mark, until, outage.sent_at)

    async def failed(self, cluster_id: str) -> None:
        """A cluster, or the list of clusters, could not be read."""
        self._over.pop(cluster_id, None)
        outage = self._known.get(cluster_id)
        if outage is None or outage.ts in self._shown_over:
            self._known[cluster_id] = again = Outage(outage.since if outage else self.clock.now(), told=False)
            await self.database.run(outages.note, cluster_id, again)

    async def succeeded(self, cluster_id: str) -> None:
        """It was read."""
        outage = self._known.get(cluster_id)
        if outage and (outage.told or self._may_be_told(cluster_id)):
            self._over.setdefault(cluster_id, self.clock.now())
        elif outage:
            await self._forget(cluster_id)

    async def keep(self, clusters: Collection[str]) -> None:
        """Forget what is read no more: the list of clusters has lost it, or the settings have."""
        self._gone.difference_update(clusters)  # one that is listed again is not gone
        for cluster_id in [each for each in self._known if each != ALL_CLUSTERS and each not in clusters]:
            if self._known[cluster_id].told or self._may_be_told(cluster_id):
                self._gone.add(cluster_id)
            else:
                await self._forget(cluster_id)

    def look(self) -> None:
        """Put on the queue what has lasted and what is over, for its channel's next turn to post."""
        now = self.clock.monotonic()
        unclear = {channel_id for channel_id, each in self._unclear.items() if each.until <= now}
        due = {each.channel_id for each in self._notices()} - self._unclear.keys()
        for channel_id in unclear | due:
            self.queue.put(key_of(channel_id), Lane.REPLY, channel_id, urgent=True)

    async def tell(self, channel_id: str, _lane: Lane) -> None:
        """Tell a channel the next thing, at its turn.

        Raises:
            PostFailed, PostUncertain: Slack did not take it, or may have: it is looked at the next time.
        """
        if (unclear := self._unclear.get(channel_id)) and not await self._is_settled(unclear):
            return
        notice = next((each for each in self._notices() if each.channel_id == channel_id), None)
        if notice is None:
            return
        if notice.kind is not _Kind.LASTS:
            await self._take_buttons(notice)
            if notice not in self._notices():
                return
        self.database.lease.ensure_held()
        await finish(self._send(notice))

    def _notices(self) -> Iterator[_Notice]:
        now = self.clock.now()
        lasting = {
            cluster_id
            for cluster_id, outage in self._known.items()
            if not outage.told and now - outage.since >= TOLD_AFTER and cluster_id not in self._over
        }
        over = {each for each, since in self._over.items() if self._known[each].told and self._is_steady(each, since)}
        gone = {each for each in self._gone if self._known[each].told}
        for kind, clusters in ((_Kind.LASTS, lasting), (_Kind.GONE, gone), (_Kind.OVER, over - gone)):
            for group in self._grouped(clusters):
                yield _Notice(kind, tuple(group), self.config.route(group[0]).channel_id)

    def _is_steady(self, cluster_id: str, over_since: float) -> bool:
        """Return whether what is readable now may be said to be so: what comes and goes is told once."""
        is_again = self._known[cluster_id].since - self._ended.get(cluster_id, -FLAPS_WITHIN) < FLAPS_WITHIN
        return not is_again or self.clock.now() - over_since >= STEADY_SECONDS

    async def _send(self, notice: _Notice) -> None:
        self._sending.add(notice)
        try:
            await self._say(notice)
        finally:
            self._sending.discard(notice)

    async def _say(self, notice: _Notice) -> None:
        message, mark = self._message(notice), new_id()
        since = await self.database.read(read_clock)  # nearer to Slack's clock than this process's may be
        logger.warning("%s", message.text)
        if notice.kind is _Kind.LASTS:
            # Before it leaves, so that the next process with the watch looks for it.
            for each in notice.clusters:
                sending = replace(self._known[each], channel_id=notice.channel_id, mark=mark, sent_at=since)
                self._known[each] = sending
                await self.database.run(outages.note, each, sending)
        try:
            ts = await self.channels.post(message, channel_id=notice.channel_id, mark=mark)
        except PostUncertain:
            until = self.clock.monotonic() + ARRIVED_SECONDS
            self._unclear[notice.channel_id] = _Unclear(notice, mark, until, since)
            raise
        self._told_blindly.discard(notice.channel_id)
        await self._told(notice, ts)

    def _message(self, notice: _Notice) -> Message:
        named = _named(notice.clusters)
        since = min(self._known[each].since for each in notice.clusters)
        match notice.kind:
            case _Kind.LASTS:
                return cards.unreadable(named, since, self.clock.now())
            case _Kind.GONE:
                return cards.unwatched(named)
            case _Kind.OVER:
                return cards.readable(named, since, max(self._over[each] for each in notice.clusters))

    async def _told(self, notice: _Notice, ts: str) -> None:
        for each in notice.clusters:
            if each not in self._known:
                continue
            if notice.kind is _Kind.LASTS:
                told = replace(self._known[each], told=True, channel_id=notice.channel_id, ts=ts)
                self._known[each] = told
                await self.database.run(outages.note, each, told)
            else:
                self._ended[each] = self.clock.now()
                await self._forget(each, is_watched=notice.kind is _Kind.OVER)

    async def _is_settled(self, unclear: _Unclear) -> bool:
        """Look for what a channel may have been told. Where the bot may not read it, it is repeated, but only once."""
        if self.clock.monotonic() < unclear.until:
            return False
        notice = unclear.notice
        try:
            found = await self.channels.find(unclear.since - HISTORY_BEFORE, notice.channel_id)
        except PostFailed as error:
            if not error.is_lasting:
                raise
            found = None
        is_blind = found is None
        ts = found.marks.get(unclear.mark) if found else None
        del self._unclear[notice.channel_id]
        if ts or (is_blind and notice.channel_id in self._told_blindly):
            self._told_blindly.discard(notice.channel_id)
            await self._told(notice, ts or "")
        else:
            if is_blind:
                self._told_blindly.add(notice.channel_id)
            for each in [each for each in notice.clusters if each in self._over and not self._known[each].told]:
                await self._forget(each)  # nobody has heard of it, and it is over
        return True

    async def _take_buttons(self, notice: _Notice) -> None:
        """Take the button off each message about an outage that is over for all whom it was about."""
        for ts in sorted({self._known[each].ts for each in notice.clusters} - {""}):
            about = [each for each, outage in self._known.items() if outage.ts == ts]
            if not set(about) <= set(notice.clusters):
                continue
            await self.channels.turn_to_update()
            if notice not in self._notices():
                return
            since, until = (
                min(self._known[each].since for each in about),
                max(self._over.get(each, self.clock.now()) for each in about),
            )
            shown = cards.was_unreadable(_named(about), since, until)
            self.database.lease.ensure_held()
            self._shown_over.add(ts)
            try:
                await self.channels.update(ts, shown, self._known[about[0]].channel_id)
            except PostFailed as error:
                self._shown_over.discard(ts)
                if not (error.is_lasting or error.is_closed):
                    raise
                logger.warning("The message about an outage can't be changed any more: %s", error)

    def _may_be_told(self, cluster_id: str) -> bool:
        notices = [*self._sending, *(each.notice for each in self._unclear.values())]
        return any(cluster_id in each.clusters for each in notices)

    def _grouped(self, ids: set[str]) -> list[list[str]]:
        """Group the clusters by channel, apart from the list of clusters."""
        groups: dict[tuple[bool, str], list[str]] = {}
        for each in sorted(ids):
            groups.setdefault((each != ALL_CLUSTERS, self.config.route(each).channel_id), []).append(each)
        return [groups[key] for key in sorted(groups)]

    async def _forget(self, cluster_id: str, *, is_watched: bool = True) -> None:
        await self.database.run(outages.note, cluster_id, None, is_watched=is_watched)
        self._known.pop(cluster_id, None)
        self._over.pop(cluster_id, None)
        self._gone.discard(cluster_id)


def key_of(channel_id: str) -> str:
    """Return the queue's key for notices about outages in a channel."""
    return f"{KEY}{channel_id}"


def _named(group: Collection[str]) -> list[str]:
    return [each for each in group if each != ALL_CLUSTERS]
