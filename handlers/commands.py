"""The slash command."""

from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import Decisions
from bot.errors import NotTaken, UnknownControl, UnreadableCommand
from bot.models import Actor, Place, Request, Verb
from bot.parsing import COMMAND, Help, parse
from bot.tasks import Tasks
from handlers.replies import Replies


class Commands:
    """Reads what was typed, and hands it to the decisions."""

    def __init__(self, decisions: Decisions, replies: Replies, tasks: Tasks) -> None:
        self._decisions = decisions
        self._replies = replies
        self._tasks = tasks

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Ack, then work. What cannot be taken is said in the ack itself."""
        if not self._tasks.accepting:
            await ack(str(NotTaken()))
            return
        await ack()
        self._tasks.spawn(self._run(body), f"command {body.get('trigger_id')}")

    async def _run(self, body: dict[str, Any]) -> None:
        place = Place(body.get("channel_id"), body["user_id"], response_url=body.get("response_url"))
        if body["command"] != COMMAND:
            await self._replies.whisper(place, UnknownControl(f"the command {body['command']}"))
            return
        order = parse(body.get("text") or "")
        if isinstance(order, Help):
            await self._replies.whisper(place, cards.usage())
        elif isinstance(order, UnreadableCommand):
            await self._replies.whisper(place, order)
        else:
            # Slack lets only members of the workspace run commands, and names no home team (slack-facts, 3.8).
            actor = Actor(body["user_id"], body.get("user_name") or "", body.get("team_id"), is_member=True)
            await self._decisions.handle(
                Request(Verb.CANCEL, order.ref, actor, place, reason=order.reason, trigger_id=body.get("trigger_id"))
            )
