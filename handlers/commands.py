"""The slash command."""

from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService, Unrecorded
from bot.errors import NotAttempted, NotRecorded, NotTaken, TooMany, UnknownControl
from bot.models import Actor, Message, Place, Request, Verb
from bot.parsing import COMMAND, Browse, Find, Help, ListWaiting, Order, parse
from bot.tasks import Room, Tasks
from handlers.buttons import refusal
from handlers.chooser import Chooser


class Commands:
    """Reads what was typed, and hands it to the decisions."""

    def __init__(self, decisions: DecisionService, chooser: Chooser, tasks: Tasks) -> None:
        self._decisions = decisions
        self._chooser = chooser
        self._tasks = tasks

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Ack, then work. What needs no decision is answered in the ack itself, which only the person sees."""
        person = str(body.get("user_id") or "")
        room = self._tasks.room(person, decides=True)
        if room is not Room.FREE:
            told = cards.private(TooMany() if room is Room.PERSON_IS_FULL else NotTaken())
            await ack(text=told.text, blocks=told.blocks, response_type="ephemeral")
            return
        asked = read(body)
        if isinstance(asked, Request):
            try:
                work = await self._decisions.receive(asked)
            except Unrecorded as unrecorded:
                # The ack itself says so: nobody is left waiting, even if this process dies.
                error = unrecorded.error
                check = cards.failure(error, asked.ref, asked.actor.user_id) if error.check_again else None
                told = check or cards.private(error)
                await ack(text=told.text, blocks=told.blocks, response_type="ephemeral")
                if isinstance(error, NotRecorded):
                    self._tasks.spawn(unrecorded.work, f"unrecorded command {asked.trigger_id}", person=person)
                else:
                    unrecorded.work.close()
                return
            await ack()
            if work:
                self._tasks.spawn(work, f"command {asked.trigger_id}", person=person)
            return
        if isinstance(asked, Browse | Find | ListWaiting):
            await ack()
            actor, trigger_id = actor_of(body), str(body.get("trigger_id"))
            work = self._chooser.answer(asked, actor, place_of(body), trigger_id)
            self._tasks.spawn(work, f"lookup {trigger_id}", person=person)
            return
        told = cards.private(asked) if isinstance(asked, NotAttempted) else asked
        await ack(text=told.text, blocks=told.blocks, response_type="ephemeral")
        if isinstance(asked, NotAttempted):
            note = refusal(asked, actor_of(body), body.get("channel_id"), Verb.CANCEL)
            self._tasks.spawn(self._decisions.note(note), f"refused command {body.get('trigger_id')}", person=person)


def actor_of(body: dict[str, Any]) -> Actor:
    """Read who typed it."""
    # Slack lets only members of the workspace run commands, and names no home team (docs.slack.dev, Slack Connect).
    return Actor(body.get("user_id") or "", body.get("user_name") or "", body.get("team_id"), is_member=True)


def place_of(body: dict[str, Any]) -> Place:
    """Return where it was typed."""
    return Place(body.get("channel_id"), str(body.get("user_id") or ""), response_url=body.get("response_url"))


def read(body: dict[str, Any]) -> Request | Message | NotAttempted | Browse | Find | ListWaiting:
    """Read what the command asks for: a decision, help, or something that can't be read."""
    command = body.get("command") or ""
    if command != COMMAND:
        return UnknownControl(f"the command {command}")
    order = parse(body.get("text") or "")
    if isinstance(order, Help):
        return cards.usage()
    if not isinstance(order, Order):
        return order
    actor, place, trigger_id = actor_of(body), place_of(body), body.get("trigger_id")
    return Request(Verb.CANCEL, order.ref, actor, place, reason=order.reason, trigger_id=trigger_id)
