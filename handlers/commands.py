"""The slash command."""

from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService
from bot.errors import NotTaken, UnknownControl, UnreadableCommand
from bot.models import Actor, Message, Place, Request, Verb
from bot.parsing import COMMAND, Help, parse
from bot.tasks import Tasks


class Commands:
    """Reads what was typed, and hands it to the decisions."""

    def __init__(self, decisions: DecisionService, tasks: Tasks) -> None:
        self._decisions = decisions
        self._tasks = tasks

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Ack, then work. What needs no work is answered in the ack itself, which only the person sees."""
        asked = read(body) if self._tasks.accepting else cards.private(NotTaken())
        if isinstance(asked, Message):
            await ack(text=asked.text, blocks=asked.blocks, response_type="ephemeral")
            return
        work = await self._decisions.receive(asked)
        await ack()
        if work:
            self._tasks.spawn(work, f"command {asked.trigger_id}")


def read(body: dict[str, Any]) -> Request | Message:
    """What the command asks for, or what to tell the person at once."""
    command = body.get("command") or ""
    if command != COMMAND:
        return cards.private(UnknownControl(f"the command {command}"))
    order = parse(body.get("text") or "")
    if isinstance(order, Help):
        return cards.usage()
    if isinstance(order, UnreadableCommand):
        return cards.private(order)
    user_id = body.get("user_id") or ""
    # Slack lets only members of the workspace run commands, and names no home team (docs.slack.dev, Slack Connect).
    actor = Actor(user_id, body.get("user_name") or "", body.get("team_id"), is_member=True)
    place = Place(body.get("channel_id"), user_id, response_url=body.get("response_url"))
    return Request(Verb.CANCEL, order.ref, actor, place, reason=order.reason, trigger_id=body.get("trigger_id"))
