"""All buttons, on any message that was posted with this bot's token."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import DecisionService, Inbox, Lookup, Unrecorded
from bot.errors import NotAttempted, TooMany, UnknownControl
from bot.models import RULES, Actor, Place, Request, Verb, read_button_value
from bot.tasks import Room, Tasks
from handlers.clicks import action_of, actor_of, dicts, key_of, place_of, value_beside
from handlers.home import Home
from handlers.reasons import Reasons
from handlers.refusals import refusal
from handlers.replies import Replies

_VERBS = {verb.action_id: verb for verb in Verb}


@dataclass(slots=True)
class Buttons:
    """Reads a click, and hands it to the decisions."""

    decisions: DecisionService
    inbox: Inbox
    lookup: Lookup
    reasons: Reasons
    replies: Replies
    tasks: Tasks
    home: Home

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then work. A click that cannot be taken is not acked: Slack then shows a warning beside the button."""
        place, actor = place_of(body), actor_of(body)
        request: Request | None = None
        refused: NotAttempted | None = None
        try:
            if request := read(body):
                request = request.at(self.home.placed(request.place, request.ref.cluster_id))
        except NotAttempted as error:
            refused = error
        room = self.tasks.room(actor.user_id, decides=request is not None and RULES[request.verb].decides)
        if room is Room.PERSON_IS_FULL and self.tasks.refuses_first(actor.user_id):
            request, refused = None, TooMany()
            room = self.tasks.room("", decides=False)
        if room is not Room.FREE:
            return BoltResponse(status=503, body="")
        try:
            work = await self._receive(request, refused, body, actor, place)
        except Unrecorded as unrecorded:
            # Not acked: Slack shows a warning beside the button, even if this process dies.
            self.tasks.spawn(unrecorded.work, f"unrecorded click {key_of(body)}", person=actor.user_id)
            return BoltResponse(status=503, body="")
        await ack()
        if work:
            person = "" if isinstance(refused, TooMany) else actor.user_id
            work = self.home.drawn_after(work, actor, place)
            self.tasks.spawn(work, f"click {body.get('trigger_id')}", person=person)
        return None

    async def _receive(
        self, request: Request | None, refused: NotAttempted | None, body: dict[str, Any], actor: Actor, place: Place
    ) -> Coroutine[Any, Any, object] | None:
        """Write down what was clicked. Returns what is to be done after the ack; None where that is nothing.

        Raises:
            Unrecorded: it couldn't be written down.
        """
        if isinstance(refused, TooMany):
            return self._refuse(refused, actor, place)
        if request and not self.reasons.are_asked(request, body):
            return await self.decisions.receive(request)
        if request and await self.inbox.once(key_of(body), actor, place):
            return self._ask(request, actor, place)
        if refused and await self.inbox.once(key_of(body), actor, place):
            return self._refuse(refused, actor, place)
        return None

    async def _ask(self, request: Request, actor: Actor, place: Place) -> None:
        """Open the dialog for a reason, unless the person may not decide."""
        try:
            await self.lookup.authorize_in_time(request.verb, actor, request.place.channel_id)
            await self.reasons.ask(request)
        except NotAttempted as error:
            await self._refuse(error, actor, place, request.verb)

    async def _refuse(self, error: NotAttempted, actor: Actor, place: Place, verb: Verb | None = None) -> None:
        await self.decisions.note(refusal(error, actor, place.channel_id, verb))
        await self.replies.whisper(place, cards.private(error))


def read(body: dict[str, Any]) -> Request | None:
    """What a click asks for; None for a button that only opens a link.

    Raises:
        UnknownControl: this version has no such button.
        UnreadableButton: its value is none that this bot, or a tool that follows its contract, writes.
    """
    action = action_of(body)
    action_id = str(action.get("action_id") or action.get("name") or "?")
    verb = _VERBS.get(action_id)
    if verb is None:
        if _is_link(body.get("message") or {}, action_id):
            return None
        raise UnknownControl(f"the button {action_id}")
    seconds: float | None = None
    value = action.get("value")
    if action.get("type") == "static_select":
        chosen, value = str((action.get("selected_option") or {}).get("value")), value_beside(body, action)
        if chosen == cards.RELEASE:
            verb = Verb.RELEASE
        elif chosen.isdecimal():
            seconds = float(chosen)
        else:
            raise UnknownControl(f"the choice {chosen}")
    ref, shown = read_button_value(value)
    return Request(verb, ref, actor_of(body), place_of(body), shown=shown, trigger_id=key_of(body), seconds=seconds)


def _is_link(message: dict[str, Any], action_id: str) -> bool:
    """Whether a button only opens a URL: Slack tells of those clicks too, and nothing is expected of the app."""
    nested = (block for attachment in dicts(message, "attachments") for block in dicts(attachment, "blocks"))
    elements = [
        element
        for block in (*dicts(message, "blocks"), *nested)
        for element in (*dicts(block, "elements"), block.get("accessory"))
        if isinstance(element, dict)
    ]
    return any(element.get("action_id") == action_id and element.get("url") for element in elements)
