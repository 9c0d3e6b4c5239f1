"""What every dialog that decides does once it is submitted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService, Receipt
from bot.errors import BotError, NotAttempted
from bot.models import Actor, Json, ReplyTarget, Request
from bot.parsing import MAX_REASON
from handlers.clicks import actor_of, fields_of, view_of
from handlers.surface import Interaction, Surface


class BadField(Exception):
    """A field holds what can't be used: the message is shown beneath it, and the text stays."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.errors = {field: message}


def reason_of(view: Json, field: str) -> str:
    """Return the reason that was typed into a dialog, on one line; it may be empty."""
    typed = fields_of(view).get(field, {}).get(field) or {}
    return " ".join(str(typed.get("value") or "").split())[:MAX_REASON]


@dataclass(slots=True)
class Submissions:
    """Hands a dialog's decision over; what can't be taken is said in the dialog."""

    surface: Surface
    decisions: DecisionService

    async def take(self, ack: AsyncAck, body: Json, read: Callable[[Json, Actor], Request]) -> None:
        """Take the decision.

        Args:
            read: makes the request of a view; raises `BadField` or an error of the product.
        """
        actor = actor_of(body)
        asked: Request | NotAttempted
        try:
            asked = read(view_of(body), actor)
        except BadField as bad:
            await ack(response_action="errors", errors=bad.errors)
            return
        except NotAttempted as error:
            asked = error
        place = asked.place if isinstance(asked, Request) else ReplyTarget(None, actor.user_id)
        name = f"dialog {view_of(body).get('id')}"
        submitted = Interaction(actor, place, None, name, body)
        await self.surface.take(ack, submitted, lambda: self._record(asked), say=partial(say_in_dialog, ack))

    async def _record(self, asked: Request | NotAttempted) -> Receipt:
        if isinstance(asked, NotAttempted):
            raise asked
        return await self.decisions.receive(asked)


async def say_in_dialog(ack: AsyncAck, error: BotError) -> None:
    """Ack with a dialog that says why what was submitted isn't done."""
    await ack(response_action="update", view=cards.selection.refusal(error))
