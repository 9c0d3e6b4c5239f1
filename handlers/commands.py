"""The slash command."""

from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService, Inbox, Unrecorded
from bot.errors import NotAttempted, NotRecorded, NotTaken, TooMany, UnknownControl
from bot.models import Actor, Message, Place, Request, Verb
from bot.parsing import COMMAND, Browse, Find, Help, ListWaiting, Order, parse
from bot.tasks import Room, Tasks
from handlers.chooser import Chooser
from handlers.refusals import refusal


@dataclass(slots=True)
class Commands:
    """Reads what was typed, and hands it to the decisions."""

    decisions: DecisionService
    inbox: Inbox
    chooser: Chooser
    tasks: Tasks

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Ack, then work. What needs no decision is answered in the ack itself, which only the person sees."""
        person = str(body.get("user_id") or "")
        room = self.tasks.room(person, decides=True)
        if room is not Room.FREE:
            error = TooMany() if room is Room.PERSON_IS_FULL else NotTaken()
            await _say(ack, cards.private(error))
            if self.tasks.refuses_first(person):
                self._note(error, body, "")
            return
        asked = read(body)
        if isinstance(asked, Request):
            try:
                work = await self.decisions.receive(asked)
            except Unrecorded as unrecorded:
                check = cards.failure(unrecorded.error, asked.ref, asked.actor.user_id)
                await self._say_unrecorded(ack, unrecorded, check, person)
                return
            await ack()
            if work:
                self.tasks.spawn(work, f"command {asked.trigger_id}", person=person)
            return
        if isinstance(asked, Browse | Find | ListWaiting):
            actor, place, trigger_id = actor_of(body), place_of(body), body.get("trigger_id")
            try:
                is_new = await self.inbox.once(trigger_id, actor, place)
            except Unrecorded as unrecorded:
                await self._say_unrecorded(ack, unrecorded, None, person)
                return
            await ack()
            if is_new:
                work = self.chooser.answer(asked, actor, place, str(trigger_id))
                self.tasks.spawn(work, f"lookup {trigger_id}", person=person)
            return
        await _say(ack, cards.private(asked) if isinstance(asked, NotAttempted) else asked)
        if isinstance(asked, NotAttempted):
            self._note(asked, body, person)

    async def _say_unrecorded(self, ack: AsyncAck, unrecorded: Unrecorded, check: Message | None, person: str) -> None:
        """Say in the ack itself what isn't recorded: nobody is left waiting, even if this process dies."""
        error = unrecorded.error
        await _say(ack, check if check and error.check_again else cards.private(error))
        if isinstance(error, NotRecorded):
            self.tasks.spawn(unrecorded.work, "unrecorded command", person=person)
        else:
            unrecorded.work.close()

    def _note(self, error: NotAttempted, body: dict[str, Any], person: str) -> None:
        note = refusal(error, actor_of(body), body.get("channel_id"), Verb.CANCEL)
        self.tasks.spawn(self.decisions.note(note), f"refused command {body.get('trigger_id')}", person=person)


async def _say(ack: AsyncAck, told: Message) -> None:
    await ack(text=told.text, blocks=told.blocks, response_type="ephemeral")


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
