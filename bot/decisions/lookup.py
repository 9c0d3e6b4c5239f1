"""Finds remediations without their three IDs: in what the bot tracks first, then at Together."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from bot.clock import Clock
from bot.errors import InvalidId, TogetherError, UnreadableAnswer
from bot.models import OPEN, RULES, Actor, Past, Remediation, RemediationRef, Verb
from bot.policy import Policy
from bot.store import Messages, Outages, audit
from bot.together import TogetherClient
from bot.together.answers import parse

logger = logging.getLogger(__name__)

CANCELLABLE = frozenset(RULES[Verb.CANCEL].allowed)
CLUSTERS_AT_ONCE = 6
FRESH_SECONDS = 10.0  # each letter that a person types is a new search
LOOK_SECONDS = 8.0
MENU_SECONDS = 2.5  # Slack waits 3 s for the choices of a menu (docs.slack.dev, external data source)
AUTHORIZE_SECONDS = 1.0  # a dialog must be opened within 3 s of the click (docs.slack.dev, trigger_id)
SHOWN_PAST = 20  # decisions


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found.

    Attributes:
        found: oldest first.
        unreadable: the clusters that couldn't be read; "" for the list of clusters.
        outdated: what was decided on since it was last seen.
    """

    found: Sequence[Remediation]
    unreadable: Collection[str] = ()
    outdated: Collection[RemediationRef] = ()


class Lookup:
    """Looks up remediations.

    Args:
        together: the API.
        policy: who may look, from where.
        messages: what the bot tracks.
        clusters: which to read at Together; empty for all that the key sees.
        is_watching: the bot tracks all that waits, so that it need not ask Together for it.
        clock: time.
    """

    def __init__(  # noqa: PLR0913 - where to look, and who may
        self,
        together: TogetherClient,
        policy: Policy,
        messages: Messages,
        clusters: Sequence[str],
        clock: Clock,
        *,
        is_watching: bool,
    ) -> None:
        self._together = together
        self._policy = policy
        self._messages = messages
        self._outages = Outages(messages.database)
        self._clusters = clusters
        self._is_watching = is_watching
        self._clock = clock
        self._known: tuple[float, Looked] | None = None
        self._scanning: asyncio.Task[Looked] | None = None
        self._decisions = 0

    async def authorize(self, actor: Actor, channel_id: str | None) -> None:
        """Return when the actor may see remediations here.

        Raises:
            NotAllowed: the actor may not.
        """
        await self._policy.authorize(Verb.REFRESH, actor, channel_id)

    async def authorize_to(self, verb: Verb, actor: Actor, channel_id: str | None) -> None:
        """Return when the actor may do this here.

        Raises:
            NotAllowed: the actor may not.
        """
        await self._policy.authorize(verb, actor, channel_id)

    async def authorize_in_time(self, verb: Verb, actor: Actor, channel_id: str | None) -> None:
        """Return when the actor may do this here, or when a dialog must be opened: its decision is authorized again.

        Raises:
            NotAllowed: the actor may not.
        """
        try:
            async with self._clock.timeout(AUTHORIZE_SECONDS):
                await self._policy.authorize(verb, actor, channel_id)
        except TimeoutError:
            logger.info("Could not look up user %s in time; every decision looks them up again", actor.user_id)

    async def shown_in(self, channel_id: str, ts: str) -> Sequence[RemediationRef]:
        """Return the remediations that a message of the bot shows.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._messages.shown_in(channel_id, ts)

    async def get(self, ref: RemediationRef) -> Remediation:
        """Read a remediation.

        Raises:
            TogetherError: it can't be read.
        """
        return await self._together.get(ref)

    async def history(self, ref: RemediationRef) -> Sequence[Past]:
        """Return the last decisions on a remediation, the latest first.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await audit.outcomes(self._messages.database, ref, SHOWN_PAST)

    async def cancellable(self) -> Looked:
        """Return what can be cancelled now.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        looked = await self.open()
        return replace(looked, found=[each for each in looked.found if each.state in CANCELLABLE])

    async def open(self) -> Looked:
        """Return what is open, of what the bot tracks where it watches.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        if not self._is_watching:
            return await self._scan()
        tracked = await self._messages.tracked()
        unreadable = sorted(await self._outages.known())
        outdated = {each.remediation.ref for each in tracked if each.is_stale}
        return Looked(oldest_first(each.remediation for each in tracked), unreadable, outdated)

    async def in_time_for_a_menu(self) -> Looked:
        """Return what is open, or nothing where that isn't known before Slack stops waiting for a menu's choices.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        try:
            async with self._clock.timeout(MENU_SECONDS):
                return await self.open()
        except TimeoutError:
            return Looked((), ("",))

    def forget(self) -> None:
        """Read again what was read a moment ago: somebody has decided since."""
        self._known, self._scanning = None, None
        self._decisions += 1

    async def find(self, text: str, *, states: Collection[str]) -> Looked:
        """Return the remediations in some states that a name, an ID or its beginning means.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        tracked = [each.remediation for each in await self._messages.tracked()]
        if found := _matching(tracked, text, states):
            return Looked(found)
        scanned = await self._scan()
        return Looked(_matching(scanned.found, text, states), scanned.unreadable)

    async def _scan(self) -> Looked:
        """Return all that is open at Together, as of the last few seconds."""
        if self._known and self._clock.monotonic() - self._known[0] < FRESH_SECONDS:
            return self._known[1]
        if self._scanning is None or self._scanning.done():
            self._scanning = asyncio.create_task(self._scan_and_remember(), name="search")
        # A caller that gives up leaves the search running for the next one.
        return await asyncio.shield(self._scanning)

    async def _scan_and_remember(self) -> Looked:
        began, decisions = self._clock.monotonic(), self._decisions
        looked = await self._scan_clusters()
        if decisions == self._decisions:
            self._known = began, looked
        return looked

    async def _scan_clusters(self) -> Looked:
        try:
            names = self._clusters or [each.cluster_id for each in await self._together.list_clusters()]
        except TogetherError as error:
            logger.warning("Can't list clusters for a search: %s", type(error).__name__)
            return Looked((), ("",))
        lane = asyncio.Semaphore(CLUSTERS_AT_ONCE)

        async def read(cluster_id: str) -> list[Remediation] | None:
            async with lane:
                try:
                    async with self._clock.timeout(LOOK_SECONDS):
                        items = await self._together.scan(cluster_id, states=OPEN)
                    return [each for item in items if (each := _read(item))]
                except (TogetherError, InvalidId, TimeoutError) as error:
                    logger.warning("Can't search cluster %s: %s", cluster_id, type(error).__name__)
                    return None

        lists = await asyncio.gather(*map(read, names))
        found = oldest_first(each for some in lists if some for each in some)
        return Looked(found, [name for name, some in zip(names, lists, strict=True) if some is None])


def _read(item: object) -> Remediation | None:
    try:
        found = parse(Remediation, item)
        found.ref  # noqa: B018 - its IDs are checked when they are asked for
    except (UnreadableAnswer, InvalidId):
        return None
    return found


def oldest_first(remediations: Iterable[Remediation]) -> list[Remediation]:
    """Return remediations by their age."""
    return sorted(remediations, key=lambda each: (each.create_time.timestamp() if each.create_time else 0.0, each.id))


def is_named(remediation: Remediation, text: str) -> bool:
    """Return whether a text is its whole name or one of its IDs."""
    return text.casefold() in {each.casefold() for each in (remediation.id, remediation.instance_id, remediation.node)}


def _matching(remediations: Sequence[Remediation], text: str, states: Collection[str]) -> list[Remediation]:
    """Return what a text means exactly, else what begins with it."""
    wanted = text.casefold()
    open_ones = [each for each in remediations if each.state in states]
    named = [(each, [name.casefold() for name in (each.id, each.instance_id, each.node)]) for each in open_ones]
    exact = [each for each, names in named if wanted in names]
    return oldest_first(exact or [each for each, names in named if any(name.startswith(wanted) for name in names)])
