"""All buttons, on any message that was posted with this bot's token."""

from collections.abc import Coroutine
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.decisions import DecisionService, Unrecorded
from bot.errors import NotAttempted, TooMany, UnknownControl
from bot.models import RULES, Actor, AuditNote, OutcomeKind, Place, Request, Verb, read_button_value
from bot.tasks import Room, Tasks
from handlers.clicks import action_of, actor_of, dicts, place_of, value_beside
from handlers.home import Home
from handlers.reasons import Reasons
from handlers.replies import Replies

_VERBS = {verb.action_id: verb for verb in Verb}


class Buttons:
    """Reads a click, and hands it to the decisions."""

    def __init__(
        self, decisions: DecisionService, reasons: Reasons, replies: Replies, tasks: Tasks, home: Home
    ) -> None:
        self._decisions = decisions
        self._reasons = reasons
        self._replies = replies
        self._tasks = tasks
        self._home = home

    async def listen(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse | None:
        """Ack, then work. A click that cannot be taken is not acked: Slack then shows a warning beside the button."""
        place, actor = place_of(body), actor_of(body)
        request: Request | None = None
        refused: NotAttempted | None = None
        try:
            if request := read(body):
                request = request.at(self._home.placed(request.place, request.ref.cluster_id))
        except NotAttempted as error:
            refused = error
        room = self._tasks.room(actor.user_id, decides=request is not None and RULES[request.verb].decides)
        if room is Room.PERSON_IS_FULL:
            request, refused = None, TooMany()
            room = self._tasks.room("", decides=False)
        if room is Room.FULL:
            return BoltResponse(status=503, body="")
        work: Coroutine[Any, Any, object] | None = None
        if refused:
            work = self._refuse(refused, actor, place)
        elif request and self._reasons.are_asked(request, body):
            work = self._reasons.ask(request)
        elif request:
            try:
                work = await self._decisions.receive(request)
            except Unrecorded as unrecorded:
                # Not acked: Slack shows a warning beside the button, even if this process dies.
                self._tasks.spawn(unrecorded.work, f"unrecorded click {request.trigger_id}", person=actor.user_id)
                return BoltResponse(status=503, body="")
        await ack()
        if work:
            person = "" if isinstance(refused, TooMany) else actor.user_id
            work = self._home.drawn_after(work, actor, place)
            self._tasks.spawn(work, f"click {body.get('trigger_id')}", person=person)
        return None

    async def _refuse(self, error: NotAttempted, actor: Actor, place: Place) -> None:
        await self._decisions.note(refusal(error, actor, place.channel_id))
        await self._replies.whisper(place, cards.private(error))


def refusal(error: NotAttempted, actor: Actor, channel_id: str | None, verb: Verb | None = None) -> AuditNote:
    """Write for the audit trail what was refused before it became a decision."""
    return AuditNote("refused", actor, channel_id, verb, OutcomeKind(type(error).__name__))


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
    place = place_of(body)
    trigger = body.get("trigger_id") or f"{place.user_id} {place.message_ts} {action.get('action_ts')}"
    return Request(verb, ref, actor_of(body), place, shown=shown, trigger_id=trigger, seconds=seconds)


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
