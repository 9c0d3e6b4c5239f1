"""What the controls of the bot's own messages share: write down, ack, work, and say privately what was refused."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import DecisionService, Held, Inbox, Unrecorded
from bot.errors import NotAttempted, StorageUnavailable, StoreDown
from bot.models import Actor, Entry, Place, Verb
from bot.tasks import Room, Tasks
from handlers.clicks import action_of, actor_of, key_of, place_of
from handlers.home import Home
from handlers.refusals import refusal
from handlers.replies import Replies

_PRESS = "press"
Change = Callable[[Held], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Press:
    """A control that somebody pressed."""

    action_id: str
    value: str
    actor: Actor
    place: Place
    trigger_id: str
    body: dict[str, Any]


class Controls:
    """Takes presses."""

    def __init__(self, decisions: DecisionService, inbox: Inbox, replies: Replies, tasks: Tasks, home: Home) -> None:
        self._decisions = decisions
        self._inbox = inbox
        self._replies = replies
        self._tasks = tasks
        self._home = home
        self._changes: dict[str, Change] = {}
        inbox.on(_PRESS, self._make)

    def on(self, action_id: str, change: Change) -> None:
        """Let the presses of a control that changes something be carried out, also those that were left behind."""
        self._changes[action_id] = change

    async def change(self, ack: AsyncAck, body: dict[str, Any], what: str) -> BoltResponse | None:
        """Write down what was pressed, ack, then carry it out; `what` as in "your request to pause approvals"."""
        press = self._read(body)
        if self._tasks.room(press.actor.user_id, decides=True) is not Room.FREE:
            return BoltResponse(status=503, body="")
        kept = replace(press.place, original=None)
        entry = Entry(key_of(body), _PRESS, what, press.actor, kept, press.action_id, press.value)
        try:
            work = await self._inbox.receive(entry)
        except Unrecorded as unrecorded:
            return self._refuse(unrecorded, press.actor)
        await ack()
        if work:
            done = self._home.drawn_after(work, press.actor, press.place)
            self._tasks.spawn(done, f"{press.action_id} {press.trigger_id}", person=press.actor.user_id)
        return None

    async def take(
        self, ack: AsyncAck, body: dict[str, Any], work: Callable[[Press], Awaitable[None]], verb: Verb | None = None
    ) -> BoltResponse | None:
        """Ack, then do what changes nothing. What can't be taken isn't acked: Slack then shows a warning beside it."""
        press = self._read(body)
        if self._tasks.room(press.actor.user_id, decides=True) is not Room.FREE:
            return BoltResponse(status=503, body="")
        try:
            is_new = await self._inbox.once(key_of(body), press.actor, press.place)
        except Unrecorded as unrecorded:
            return self._refuse(unrecorded, press.actor)
        await ack()
        if is_new:
            done = self._home.drawn_after(self._do(press, work, verb), press.actor, press.place)
            self._tasks.spawn(done, f"{press.action_id} {press.trigger_id}", person=press.actor.user_id)
        return None

    def _read(self, body: dict[str, Any]) -> Press:
        action, place = action_of(body), self._home.placed(place_of(body), "")
        action_id, value = str(action.get("action_id")), str(action.get("value"))
        return Press(action_id, value, actor_of(body), place, str(body.get("trigger_id")), body)

    def _refuse(self, unrecorded: Unrecorded, actor: Actor) -> BoltResponse:
        self._tasks.spawn(unrecorded.work, "unrecorded press", person=actor.user_id)
        return BoltResponse(status=503, body="")

    async def _make(self, held: Held) -> bool:
        try:
            return await self._changes[held.entry.action](held)
        except NotAttempted as error:
            return await self._tell(error, held.entry.actor, held.entry.place)

    async def _do(self, press: Press, work: Callable[[Press], Awaitable[None]], verb: Verb | None) -> None:
        try:
            await work(press)
        except NotAttempted as error:
            await self._tell(error, press.actor, press.place, verb)
        except StorageUnavailable:
            await self._replies.whisper(press.place, cards.private(StoreDown()))

    async def _tell(self, error: NotAttempted, actor: Actor, place: Place, verb: Verb | None = None) -> bool:
        await self._decisions.note(refusal(error, actor, place.channel_id, verb))
        return await self._replies.whisper(place, cards.private(error))
