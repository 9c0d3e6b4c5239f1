"""What the controls of the bot's own messages share: ack, then work, and say privately what was refused."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import DecisionService
from bot.errors import NotAttempted, StorageUnavailable, StoreDown
from bot.models import Actor, Place, Verb
from bot.tasks import Room, Tasks
from handlers.buttons import refusal
from handlers.clicks import action_of, actor_of, place_of
from handlers.home import Home
from handlers.replies import Replies


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
    """Takes presses.

    Args:
        decisions: puts refusals into the audit trail.
        replies: tells the person alone.
        tasks: where the work continues after the ack.
        home: drawn again after what was done in it.
    """

    def __init__(self, decisions: DecisionService, replies: Replies, tasks: Tasks, home: Home) -> None:
        self._decisions = decisions
        self._replies = replies
        self._tasks = tasks
        self._home = home

    async def take(
        self, ack: AsyncAck, body: dict[str, Any], work: Callable[[Press], Awaitable[None]], verb: Verb | None = None
    ) -> BoltResponse | None:
        """Ack, then work. What can't be taken is not acked: Slack then shows a warning beside the control."""
        action, actor = action_of(body), actor_of(body)
        if self._tasks.room(actor.user_id, decides=True) is not Room.FREE:
            return BoltResponse(status=503, body="")
        await ack()
        place = self._home.placed(place_of(body), "")
        press = Press(
            str(action.get("action_id")), str(action.get("value")), actor, place, str(body.get("trigger_id")), body
        )
        done = self._home.drawn_after(self._do(press, work, verb), actor, place)
        self._tasks.spawn(done, f"{press.action_id} {press.trigger_id}", person=actor.user_id)
        return None

    async def _do(self, press: Press, work: Callable[[Press], Awaitable[None]], verb: Verb | None) -> None:
        try:
            await work(press)
        except NotAttempted as error:
            await self._decisions.note(refusal(error, press.actor, press.place.channel_id, verb))
            await self._replies.whisper(press.place, cards.private(error))
        except StorageUnavailable:
            await self._replies.whisper(press.place, cards.private(StoreDown()))
