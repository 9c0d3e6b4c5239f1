"""Finds remediations without their three IDs: in what the bot tracks, and at Together."""

import asyncio
import logging
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from bot.cards.home import PER_PAGE
from bot.clock import Clock
from bot.decisions.naming import Naming
from bot.decisions.storing import who_decided
from bot.errors import InvalidId, InvalidIds, NotFound, TogetherError, UnreadableAnswer
from bot.models import (
    OPEN,
    RULES,
    Actor,
    Alert,
    ClusterNames,
    DecidedBy,
    FaultReport,
    PastDecision,
    Remediation,
    RemediationRef,
    Verb,
    folded,
    read_reference,
    unix,
)
from bot.policy import Policy
from bot.store import audit, ended, faults, messages, moments, outages
from bot.together import TogetherClient
from bot.together.answers import parse

logger = logging.getLogger(__name__)

CANCELLABLE = frozenset(RULES[Verb.CANCEL].allowed)
CLUSTERS_AT_ONCE = 6
FRESH_SECONDS = 10.0  # each letter that a person types is a new search
LOOK_SECONDS = 8.0  # for one cluster
SEARCH_SECONDS = 30.0  # for all of them: somebody waits
MENU_SECONDS = 2.5  # Slack waits 3 s for the choices of a menu (docs.slack.dev, external data source)
AUTHORIZE_SECONDS = 0.5  # a dialog has 3 s (docs.slack.dev, trigger_id), of which the database may take 2
MAX_TRIPLES = 5  # of a message are looked up: any path looks like three IDs
SHOWN_PAST = 20  # decisions
YEAR_SECONDS = 366 * 86_400.0
PAST_SECONDS = 86_400.0  # how long what went wrong is shown


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What was found.

    Attributes:
        found: oldest first.
        unread: the IDs of the clusters that couldn't be read, or not wholly; "" for the list of clusters.
        outdated: what was decided on since it was last seen, with the state that people were told.
        shown_on: the IDs of the messages that show it.
        searched: the IDs of the only clusters that were searched; empty for all.
        old: when Together last confirmed what it hasn't for long, as Unix time in seconds.
    """

    found: Sequence[Remediation]
    unread: Collection[str]
    outdated: Mapping[RemediationRef, str] = field(default_factory=dict)
    shown_on: Mapping[RemediationRef, str] = field(default_factory=dict)
    searched: Sequence[str] = ()
    names: ClusterNames = field(default_factory=ClusterNames)
    old: Mapping[RemediationRef, float] = field(default_factory=dict)

    @property
    def unreadable(self) -> list[str]:
        """The names of what couldn't be read."""
        return [self.names[cluster_id] for cluster_id in self.unread]

    @property
    def within(self) -> list[str]:
        """The names of what alone was searched."""
        return [self.names[cluster_id] for cluster_id in self.searched]


@dataclass(slots=True)
class Lookup(Naming):
    """Looks up remediations. What asks the database may raise StorageUnavailable, what asks Together TogetherError.

    Attributes:
        clusters: which to read at Together; empty for all that the key sees.
        stale_seconds: how old what the watch has read may be before it isn't sure.
    """

    together: TogetherClient
    policy: Policy
    clusters: Sequence[str]
    stale_seconds: float
    clock: Clock
    _known: tuple[float, LookupResult] | None = field(default=None, init=False)
    _scanning: asyncio.Task[LookupResult] | None = field(default=None, init=False)
    _scanning_since: float = field(default=0.0, init=False)

    async def authorize_in_time(self, verb: Verb, actor: Actor, channel_id: str | None) -> None:
        """Check that the actor may do this here, as long as a dialog can wait: its decision is authorized again.

        Raises:
            NotAllowed: the actor may not.
        """
        try:
            async with self.clock.timeout(AUTHORIZE_SECONDS):
                await self.policy.authorize(verb, actor, channel_id)
        except TimeoutError:
            logger.info("Could not look up user %s in time; every decision looks them up again", actor.user_id)

    async def shown_in(self, channel_id: str, ts: str) -> Sequence[RemediationRef]:
        """Return the remediations that a message of the bot shows."""
        return await self.database.read(messages.shown_in, channel_id, ts)

    async def get(self, ref: RemediationRef) -> Remediation:
        """Read a remediation."""
        return await self.together.get(ref)

    async def who_decided(self, present: Remediation) -> DecidedBy | None:
        """Return who brought a remediation into its state through this bot, where that is known."""
        return await who_decided(self.database, present)

    async def history(self, ref: RemediationRef) -> Sequence[PastDecision]:
        """Return the last decisions on a remediation, the latest first."""
        return await audit.outcomes(self.database, ref, SHOWN_PAST)

    async def named(self, words: Collection[str]) -> tuple[Sequence[RemediationRef], Sequence[str]]:
        """Return which remediations words are the IDs of: what is open, or else what Together knows.

        Where they are of none, what is open on the nodes that they are the names or IDs of, and the names of the
        clusters that couldn't be read: another node there may be called so.
        """
        looked = await self._everything()
        open_ones = looked.found
        if named := [
            remediation.ref for remediation in open_ones if remediation.id in words or str(remediation.ref) in words
        ]:
            return named, ()
        triples = [ref for word in sorted(words) if (ref := read_reference(word))][:MAX_TRIPLES]
        if named := [ref for ref in triples if await self._exists(ref)]:
            return named, ()
        called = {folded(word) for word in words}
        return [
            remediation.ref
            for remediation in open_ones
            if not called.isdisjoint(map(folded, (remediation.instance_id, *remediation.node_names)))
        ], looked.unreadable

    async def _exists(self, ref: RemediationRef) -> bool:
        """Return whether there is such a remediation, or whether that can't be told."""
        try:
            await self.get(ref)
        except TogetherError as error:
            return not isinstance(error, NotFound | InvalidIds)
        return True

    async def cancellable(self, *, is_fresh: bool = False) -> LookupResult:
        """Return what can be cancelled now; that there is nothing isn't told from a copy, nor what `is_fresh`."""
        asked_at = self.clock.monotonic()
        looked = _cancellable(await self._everything(asked_at if is_fresh else None))
        return looked if looked.found else _cancellable(await self._everything(asked_at))

    async def faults(self, cluster_id: str = "") -> Sequence[FaultReport]:
        """Return what fires without a repair in one cluster or in all, as far as the bot watches and may know."""
        known = await self.database.read(faults.known) if self.is_watching else {}
        return [report for name, report in known.items() if report.count and cluster_id in {"", name}]

    async def returned(self, cluster_id: str = "") -> Sequence[Alert]:
        """Return the repairs in one cluster or in all whose fault came back, or didn't stop, within the last day."""
        back = await self.database.read(ended.came_back_lately, PAST_SECONDS)
        return [alert for alert in back if cluster_id in {"", alert.cluster_id}]

    async def doubted(self) -> Collection[RemediationRef]:
        """Return the remediations whose last decision isn't confirmed, as far as the bot tracks them."""
        tracked = await self.database.read(messages.tracked) if self.is_watching else ()
        return {alert.ref for alert in tracked if alert.is_in_doubt}

    async def of_node(self, name: str) -> Sequence[Alert]:
        """Return the repairs within a year of nodes with this name or ID, the latest first."""
        return await self._aged(await self.database.read(ended.of_node, name, YEAR_SECONDS))

    async def lately(self, seconds: float) -> tuple[Sequence[Alert], float, tuple[float, float]]:
        """Return what is open or may have changed within the last `seconds`, as `ended.lately` does."""
        alerts, now, unread = await self.database.read(ended.lately, seconds)
        return await self._aged(alerts), now, unread

    async def unreadable(self) -> Sequence[str]:
        """Return the names of the clusters that the watch can't read now; "" for the list of clusters."""
        called = await self.names()
        return [called[cluster_id] for cluster_id in await self._unread()]

    async def _unread(self) -> Sequence[str]:
        return await self.database.read(outages.unreadable, self.stale_seconds)

    async def open(self, cluster_id: str = "") -> LookupResult:
        """Return what is open, of what the bot tracks where it watches.

        That nothing waits, in one cluster or in all, is said only after a look. What only that has seen waiting is
        outdated: a list may lag behind what was decided. What else that look has seen running is left out.
        """
        if not self.is_watching:
            return await self._scan()
        asked_at = self.clock.monotonic()
        tracked = replace(await self._tracked(), unread=await self._unread())
        if _waiting(tracked, cluster_id):
            return tracked
        try:
            async with self.clock.timeout(MENU_SECONDS):
                looked = await self._scan(asked_at)
        except TimeoutError:
            return replace(tracked, unread=sorted({*tracked.unread, ""}))
        unseen = _waiting(looked, cluster_id)
        every = oldest_first(
            (*(remediation for remediation in looked.found if remediation.ref in unseen), *tracked.found)
        )
        outdated = {**tracked.outdated, **unseen} if len(unseen) <= PER_PAGE else tracked.outdated
        return replace(tracked, found=every, unread=looked.unread, outdated=outdated)

    async def _everything(self, as_of: float | None = None) -> LookupResult:
        """Return what is open at Together, as `_scan` does, and what the bot tracks beside it."""
        if not self.is_watching:
            return await self._scan(as_of)
        scanned, tracked = await self._scan(as_of), await self._tracked()
        every = oldest_first((*tracked.found, *scanned.found))
        seen = {remediation.ref for remediation in scanned.found}
        old = {ref: at for ref, at in tracked.old.items() if ref not in seen}
        return replace(tracked, found=every, unread=scanned.unread, searched=scanned.searched, old=old)

    async def _aged(self, known: Sequence[Alert]) -> Sequence[Alert]:
        return await self.database.read(moments.aged, known, self.stale_seconds) if self.is_watching else known

    async def _tracked(self) -> LookupResult:
        tracked = await self._aged(await self.database.read(messages.tracked))
        stale = [alert for alert in tracked if alert.is_stale]
        outdated = {alert.ref: (alert.remark or alert.remediation).state for alert in stale}
        shown_on = {alert.ref: alert.message_id for alert in tracked}
        remediations = oldest_first(alert.remediation for alert in tracked)
        old = {alert.ref: alert.as_of for alert in tracked if alert.as_of}
        return LookupResult(remediations, (), outdated, shown_on, names=await self.names(), old=old)

    async def in_time_for_a_menu(self, allow: Awaitable[None]) -> LookupResult:
        """Return what is open, as far as that is known before Slack stops waiting for a menu's choices.

        Raises:
            NotAllowed: the person may not.
            StorageUnavailable: the database did not answer.
        """
        known = LookupResult((), ("",))
        with suppress(TimeoutError):
            async with self.clock.timeout(MENU_SECONDS):
                await allow
                known = await self._tracked() if self.is_watching else known
                known = await self._everything()
        return known

    def forget(self) -> None:
        """Read again what was read a moment ago: somebody has decided since."""
        self._known, self._scanning = None, None

    async def find(self, text: str, *, prefer: Collection[str] = OPEN, is_fresh: bool = False) -> LookupResult:
        """Return what is open and has a name or an ID; only where nothing has it, what begins with it.

        Args:
            prefer: where something is in one of these states, only that.
            is_fresh: not by a copy of a moment ago: another one may be called so since.
        """
        asked_at = self.clock.monotonic()
        looked = await self._everything(asked_at if is_fresh else None)
        if not any(remediation.is_called(text) for remediation in looked.found):
            looked = await self._everything(asked_at)  # a copy doesn't know what has opened since
        matching = [remediation for remediation in looked.found if remediation.is_called(text)]
        matching = matching or [
            remediation for remediation in looked.found if _begins_with(remediation, text.casefold())
        ]
        return replace(
            looked, found=[remediation for remediation in matching if remediation.state in prefer] or matching
        )

    async def _scan(self, as_of: float | None = None) -> LookupResult:
        """Return all that is open at Together, as of the last few seconds, or as of a moment or later."""
        oldest = self.clock.monotonic() - FRESH_SECONDS if as_of is None else as_of
        if self._known and (self._known[0] > oldest or self._known[0] == as_of):
            return self._known[1]
        if self._scanning is None or self._scanning.done() or (as_of is not None and self._scanning_since < as_of):
            self._scanning_since = self.clock.monotonic()
            self._scanning = asyncio.create_task(self._scan_and_remember(), name="search")
            self._scanning.add_done_callback(lambda done: done.cancelled() or done.exception())  # who waits is told
        # A caller that gives up leaves the search running for the next one.
        return await asyncio.shield(self._scanning)

    async def _scan_and_remember(self) -> LookupResult:
        looked = await self._scan_clusters()
        if self._scanning is asyncio.current_task():  # else somebody has decided since, or asked for a newer one
            self._known = self._scanning_since, looked
        return looked

    async def _scan_clusters(self) -> LookupResult:
        try:
            listed, is_all = ([], True) if self.clusters else await self.together.list_clusters()
        except TogetherError as error:
            logger.warning("Can't list clusters for a search: %s", type(error).__name__)
            return LookupResult((), ("",), searched=self.clusters)
        lane = asyncio.Semaphore(CLUSTERS_AT_ONCE)
        give_up_at = self.clock.monotonic() + SEARCH_SECONDS

        async def read(cluster_id: str) -> list[Remediation | None]:
            async with lane:
                try:
                    async with self.clock.timeout(min(LOOK_SECONDS, give_up_at - self.clock.monotonic())):
                        return [_read(item) for item in await self.together.scan(cluster_id, states=OPEN)]
                except (TogetherError, InvalidId, TimeoutError) as error:
                    logger.warning("Can't search cluster %s: %s", cluster_id, type(error).__name__)
                    return [None]

        names = self.clusters or [cluster.cluster_id for cluster in listed]
        lists = await asyncio.gather(*map(read, names))
        unread = [name for name, some in zip(names, lists, strict=True) if None in some] + ([] if is_all else [""])
        remediations = oldest_first(remediation for some in lists for remediation in some if remediation)
        return LookupResult(remediations, unread, searched=self.clusters)


def _read(item: object) -> Remediation | None:
    try:
        remediation = parse(Remediation, item)
        remediation.ref  # noqa: B018 - its IDs are checked when they are asked for
    except (UnreadableAnswer, InvalidId):
        return None
    return remediation


def oldest_first(remediations: Iterable[Remediation]) -> list[Remediation]:
    """Return remediations by their age, each as it comes last: pages that shift show one of them twice."""
    every = {remediation.ref: remediation for remediation in remediations}
    return sorted(every.values(), key=lambda remediation: (unix(remediation.create_time), remediation.id))


def _waiting(looked: LookupResult, cluster_id: str) -> dict[RemediationRef, str]:
    """Return what waits, in one cluster or in all, with its state."""
    here = [remediation for remediation in looked.found if cluster_id in {"", remediation.cluster_id}]
    return {remediation.ref: remediation.state for remediation in here if remediation.is_waiting}


def _begins_with(remediation: Remediation, beginning: str) -> bool:
    names = (remediation.id, remediation.instance_id, remediation.node)
    return any(name.casefold().startswith(beginning) for name in names)


def _cancellable(looked: LookupResult) -> LookupResult:
    cancellable = [
        remediation
        for remediation in looked.found
        if {remediation.state, looked.outdated.get(remediation.ref, remediation.state)} <= CANCELLABLE
    ]
    return replace(looked, found=cancellable)
