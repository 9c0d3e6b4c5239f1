"""Requests that aren't decisions: written down before the ack, done once, finished by another process after a crash."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from bot import cards, metrics
from bot.clock import Clock
from bot.decisions.delivery import DELIVER_SECONDS, until_taken
from bot.decisions.service import RECEIVE_SECONDS, Receipt, Unrecorded
from bot.decisions.storing import briefly, forever, in_time, or_none, voided
from bot.errors import (
    BotError,
    Interrupted,
    LeaseLost,
    MayBeDone,
    NotAttempted,
    RefusedWithoutDatabase,
    RequestExpired,
    StorageUnavailable,
)
from bot.models import LIFETIME, AuditNote, Entry, Messenger, ReplyTarget, new_id
from bot.store import Database, InboxStore
from bot.store.database import Transaction
from bot.tasks import Tasks, finish

logger = logging.getLogger(__name__)

SHOW = "show"  # the kind of what changes nothing
TELL_AGAIN_SECONDS = 60.0
P = ParamSpec("P")
T = TypeVar("T", bool, float, str)


@dataclass(slots=True)
class LeasedEntry:
    """A request that this process works on.

    Attributes:
        entry: what was asked.
        owner: the token by which it is leased.
        age: how long ago it was asked, in seconds, where another process has left it; else 0.
        is_acted: that one has made the change, which is yet to be told: nobody is asked again whether it may be.
    """

    entry: Entry
    owner: str
    store: InboxStore
    clock: Clock
    age: float = 0.0
    is_acted: bool = False

    async def act(self, change: Transaction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the change that was asked for, once, in whichever process; return its result.

        Raises:
            RequestExpired: it was asked too long ago.
            LeaseLost: another process does it.
            StorageUnavailable: it may have been made, or may still be.
        """
        act = partial(self.store.act, self.entry.key, self.owner, change, *args, **kwargs)
        return await briefly(self.clock, act)

    async def refuse(self, error: BotError, noted: AuditNote | None = None) -> None:
        """Record that this isn't carried out, before anybody is told so: the next process would try it again.

        Args:
            noted: what the audit trail gets of it.

        Raises:
            LeaseLost: another process does it.
            StorageUnavailable: it may be recorded, or not.
        """
        await briefly(self.clock, partial(self.store.refuse, self.entry.key, self.owner, error, noted))
        if noted and noted.kind:
            metrics.REFUSALS.labels(noted.kind.value).inc()

    async def leave(self, entry: Entry) -> None:
        """Write down what follows from the change: any process takes it from there, for a day, if need be.

        Raises:
            StorageUnavailable: it may be written down, or not.
        """
        await briefly(self.clock, partial(self.store.leave, entry))

    async def end(self, *, is_told: bool) -> None:
        """Close it; or let any process say in a minute what Slack didn't take."""
        end = partial(self.store.finish, self.entry.key, self.owner)
        if not is_told:
            end = partial(self.store.release, self.entry.key, self.owner, TELL_AGAIN_SECONDS)
        await forever(self.clock, end)


Handler = Callable[[LeasedEntry], Awaitable[bool]]


class Inbox:
    """Takes requests, and works on them."""

    def __init__(self, database: Database, messenger: Messenger, clock: Clock, lease_seconds: float) -> None:
        self._store = InboxStore(database, lease_seconds)
        self._messenger = messenger
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._owned: set[str] = set()

    def on(self, name: str, handler: Handler) -> None:
        """Set what handles requests of a kind, or presses of a control: it returns whether Slack took what it said."""
        self._handlers[name] = handler

    async def receive(self, entry: Entry, show: Handler | None = None) -> Receipt:
        """Write down what was asked, before Slack is told "received".

        Args:
            show: does it, in this process alone, where its kind is `SHOW`; None for the handler of its kind.
        """
        owner = new_id()
        self._owned.add(owner)  # before the row is there, so that no round of this process takes it over
        try:
            is_new = await in_time(self._clock, RECEIVE_SECONDS, self._store.receive(entry, owner))
        except StorageUnavailable as error:
            logger.error("Couldn't record a request of %s: %s", entry.actor.user_id, error)  # noqa: TRY400 - an outage
            self._owned.discard(owner)
            if error.in_doubt and not show:
                return Unrecorded(MayBeDone(entry.what), self._void_uncertain(entry, owner))
            return Unrecorded(down := RefusedWithoutDatabase(), self._tell_until_taken(entry.place, down))
        if not is_new:
            self._owned.discard(owner)
            logger.info("Redelivery ignored")
            return None
        return self._work(LeasedEntry(entry, owner, self._store, self._clock), show=show)

    async def keep(self) -> None:
        """Keep what this process works on.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        if self._owned:
            await self._store.heartbeat(self._owned)

    async def round(self, tasks: Tasks, *, at_start: bool) -> None:
        """Take over what dead processes left.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        left: set[str] = set()
        while tasks.accepting and (taken := await self._store.take_over(self._owned | left, at_start=at_start)):
            entry = taken.entry
            if entry is None:
                left.add(taken.owner)
                continue
            refusal: BotError | None = None
            if taken.refusal:
                refusal = NotAttempted(*taken.refusal)
            elif entry.kind == SHOW:
                refusal = Interrupted()  # it may have been shown already, and a dialog can't be opened any more
            elif taken.age > LIFETIME and not taken.is_acted:
                refusal = RequestExpired(entry.what)
            is_late = taken.is_acted and taken.age > DELIVER_SECONDS
            if not refusal and not is_late and entry.handler not in self._handlers:
                logger.error("A request is left for another version, which knows %s", entry.handler)
                left.add(taken.owner)  # until its lease runs out
                continue
            logger.info("Taking over a request: %s", entry.kind)
            self._owned.add(taken.owner)
            leased = LeasedEntry(entry, taken.owner, self._store, self._clock, taken.age, taken.is_acted)
            tasks.spawn(self._drop(leased) if is_late else self._work(leased, refusal), f"take over {entry.key}")

    async def _work(self, leased: LeasedEntry, refusal: BotError | None = None, show: Handler | None = None) -> None:
        entry = leased.entry
        try:
            is_told = await (show(leased) if show else self._carry_out(leased, refusal))
            await finish(leased.end(is_told=is_told))
        except LeaseLost:
            if await or_none(self._store.is_gone(entry.key)):
                logger.error("The database has lost a request: %s", entry.kind)  # noqa: TRY400 - it isn't this program's
                await self._tell(entry.place, MayBeDone(entry.what))
            else:
                logger.warning("Taken over by another process")
        except StorageUnavailable as error:
            logger.warning("Left for later: %s", error)
            await self._tell(entry.place, MayBeDone(entry.what), once=True)
        except asyncio.CancelledError:
            await finish(self._hand_back(leased))
            raise
        except Exception:  # a bug must not leave the person without an answer
            logger.exception("Failed")
            is_told = await self._tell(entry.place, MayBeDone(entry.what, is_bug=True))
            await leased.end(is_told=is_told)
        finally:
            self._owned.discard(leased.owner)

    async def _carry_out(self, leased: LeasedEntry, refusal: BotError | None) -> bool:
        """Do what was asked for, or say why it isn't done. Returns whether Slack took what is said of it."""
        entry = leased.entry
        noted: AuditNote | None = None
        try:
            if refusal is None:
                return await self._handlers[entry.handler](leased)
        except RequestExpired:
            refusal = RequestExpired(entry.what)
        except NotAttempted as error:
            refusal, noted = error, AuditNote("refused", entry.actor, entry.place.channel_id, kind=error.code)
        except BotError as error:
            return await self._tell(entry.place, error)
        await leased.refuse(refusal, noted)
        return await self._tell(entry.place, refusal)

    async def _drop(self, leased: LeasedEntry) -> None:
        """Close what it is too late to tell."""
        try:
            await leased.end(is_told=True)
        finally:
            self._owned.discard(leased.owner)

    async def _hand_back(self, leased: LeasedEntry) -> None:
        try:
            await self._store.release(leased.entry.key, leased.owner)
        except StorageUnavailable:
            await self._tell(leased.entry.place, MayBeDone(leased.entry.what), once=True)  # this process ends

    async def _void_uncertain(self, entry: Entry, owner: str) -> None:
        """Make sure that a row whose commit is in doubt isn't worked on later, and only then say so."""
        tell = partial(self._tell, entry.place, MayBeDone(entry.what), once=True)
        if await voided(self._clock, partial(self._store.void, entry, owner), tell):
            await self._tell_until_taken(entry.place, RefusedWithoutDatabase())

    async def _tell_until_taken(self, place: ReplyTarget, error: BotError) -> None:
        await until_taken(self._clock, partial(self._tell, place, error), TELL_AGAIN_SECONDS)

    async def _tell(self, place: ReplyTarget, error: BotError, *, once: bool = False) -> bool:
        return await self._messenger.reply_privately(place, cards.private(error), once=once)
