"""When Together cannot be read: told once when it has lasted, and once when it is over."""

import logging
from collections.abc import Collection

from bot import cards
from bot.clock import Clock
from bot.errors import PostUnclear
from bot.models import AlertChannels, Message
from bot.store import Outage, Outages
from bot.watcher.config import WatchConfig
from bot.watcher.poller import ALL_CLUSTERS

logger = logging.getLogger(__name__)

TOLD_AFTER = 300.0


class OutageNotifier:
    """Keeps what cannot be read.

    Args:
        store: where it is kept, so that a restart neither forgets nor repeats it.
        channels: the alert channels.
        config: which channel a cluster has.
        clock: time.
    """

    def __init__(self, store: Outages, channels: AlertChannels, config: WatchConfig, clock: Clock) -> None:
        self._store = store
        self._channels = channels
        self._config = config
        self._clock = clock
        self._known: dict[str, Outage] = {}
        self._over: set[str] = set()
        self._gone: set[str] = set()

    async def load(self) -> None:
        """Begin with what the last process knew."""
        self._known = await self._store.known()
        self._over.clear()
        self._gone.clear()

    async def failed(self, cluster_id: str) -> None:
        """A cluster, or the list of clusters, could not be read."""
        self._over.discard(cluster_id)
        if cluster_id not in self._known:
            self._known[cluster_id] = outage = Outage(self._clock.now(), told=False)
            await self._store.note(cluster_id, outage)

    async def succeeded(self, cluster_id: str) -> None:
        """It was read."""
        outage = self._known.get(cluster_id)
        if outage and outage.told:
            self._over.add(cluster_id)
        elif outage:
            await self._forget(cluster_id)

    async def keep(self, clusters: Collection[str]) -> None:
        """Forget what is read no more: the list of clusters has lost it, or the settings have."""
        self._gone.difference_update(clusters)  # one that is listed again is not gone
        for cluster_id in [each for each in self._known if each != ALL_CLUSTERS and each not in clusters]:
            if self._known[cluster_id].told:
                self._gone.add(cluster_id)
            else:
                await self._forget(cluster_id)

    async def tell(self) -> None:
        """Tell what has lasted, and what is over.

        Raises:
            NotPosted: Slack did not take it; it is told the next time.
        """
        now = self._clock.now()
        lasting = {
            cluster_id: outage
            for cluster_id, outage in self._known.items()
            if not outage.told and now - outage.since >= TOLD_AFTER and cluster_id not in self._over
        }
        for group in self._grouped(set(lasting)):
            since = min(lasting[each].since for each in group)
            await self._say(group, cards.unreadable(_named(group), since, now))
            for each in group:
                self._known[each] = outage = Outage(lasting[each].since, told=True)
                await self._store.note(each, outage)
        for group in self._grouped(self._gone):
            await self._say(group, cards.unwatched(_named(group)))
            for each in group:
                await self._forget(each, is_watched=False)
            self._gone.clear()
        for group in self._grouped(self._over):
            since = min(self._known[each].since for each in group)
            await self._say(group, cards.readable(_named(group), since, now))
            for each in group:
                await self._forget(each)

    async def _say(self, group: list[str], message: Message) -> None:
        logger.warning("%s", message.text)
        await self._channels.turn_to_post()
        try:
            await self._channels.post(message, channel_id=self._config.route(group[0]).channel_id)
        except PostUnclear as error:
            logger.warning("Unclear whether Slack took that; not repeating it: %s", error)

    def _grouped(self, ids: set[str]) -> list[list[str]]:
        """Group the clusters by channel, apart from the list of clusters."""
        groups: dict[tuple[bool, str], list[str]] = {}
        for each in sorted(ids):
            groups.setdefault((each != ALL_CLUSTERS, self._config.route(each).channel_id), []).append(each)
        return [groups[key] for key in sorted(groups)]

    async def _forget(self, cluster_id: str, *, is_watched: bool = True) -> None:
        await self._store.note(cluster_id, None, is_watched=is_watched)
        self._known.pop(cluster_id, None)
        self._over.discard(cluster_id)


def _named(group: list[str]) -> list[str]:
    return [each for each in group if each != ALL_CLUSTERS]
