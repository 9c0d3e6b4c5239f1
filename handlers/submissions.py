"""What every dialog that decides does once it is submitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService, Unrecorded
from bot.errors import NotAttempted, NotRecorded, NotTaken
from bot.models import Actor, Request
from bot.parsing import MAX_REASON
from bot.tasks import Room, Tasks
from handlers.clicks import actor_of
from handlers.home import Home
from handlers.refusals import refusal


class BadField(Exception):
    """A field holds what can't be used: the message stands beneath it, and what was typed stays."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.errors = {field: message}


def reason_of(view: dict[str, Any], field: str) -> str:
    """Return the reason that was typed into a dialog, on one line; it may be empty."""
    typed = (((view.get("state") or {}).get("values") or {}).get(field) or {}).get(field) or {}
    return " ".join(str(typed.get("value") or "").split())[:MAX_REASON]


@dataclass(slots=True)
class Submissions:
    """Hands a dialog's decision over; what can't be taken is said in the dialog."""

    decisions: DecisionService
    tasks: Tasks
    home: Home

    async def take(self, ack: AsyncAck, body: dict[str, Any], read: Callable[[dict[str, Any], Actor], Request]) -> None:
        """Write down what was asked, ack, then carry it out.

        Args:
            read: makes the request of a view; raises `BadField` or an error of the product.
        """
        actor = actor_of(body)
        try:
            request = read(body.get("view") or {}, actor)
            if self.tasks.room(actor.user_id, decides=True) is not Room.FREE:
                raise NotTaken
            work = await self.decisions.receive(request)
        except BadField as bad:
            await ack(response_action="errors", errors=bad.errors)
        except Unrecorded as unrecorded:
            await ack(response_action="update", view=cards.selection.refusal(unrecorded.error))
            if isinstance(unrecorded.error, NotRecorded):
                self.tasks.spawn(unrecorded.work, "unrecorded dialog", person=actor.user_id)
            else:
                unrecorded.work.close()
        except NotAttempted as error:
            await ack(response_action="update", view=cards.selection.refusal(error))
            if not isinstance(error, NotTaken) or self.tasks.refuses_first(actor.user_id):
                note = self.decisions.note(refusal(error, actor, None))
                self.tasks.spawn(note, "refused dialog")
        else:
            await ack()
            if work:
                work = self.home.drawn_after(work, actor, request.place)
                self.tasks.spawn(work, f"dialog {request.trigger_id}", person=actor.user_id)
