"""The dialog that asks for a reason before a button decides."""

from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService
from bot.errors import Overloaded, UnknownControl
from bot.models import RULES, Actor, Request, Verb
from handlers.clicks import dicts
from handlers.dialogs import Dialogs
from handlers.replies import Replies
from handlers.submissions import BadField, Submissions, reason_of


def _shows_what_runs(request: Request) -> bool:
    return request.shown is not None and request.shown.mode is not None


def _lacks_confirmation(body: dict[str, Any], verb: Verb) -> bool:
    """Return whether a verb's button asks nothing before it acts, in the message or home that was clicked."""
    shown = dicts(body.get("message") or body.get("view") or {}, "blocks")
    buttons = [each for block in shown for each in dicts(block, "elements")]
    return any(each.get("action_id") == verb.action_id and not each.get("confirm") for each in buttons)


@dataclass(slots=True)
class Reasons:
    """Asks for a reason, and hands the decision over once it is given."""

    config: cards.CardConfig
    decisions: DecisionService
    replies: Replies
    submissions: Submissions
    dialogs: Dialogs

    def needs_reason(self, request: Request, body: dict[str, Any]) -> bool:
        """Return whether a click opens the dialog.

        The bot's own buttons always ask something: one without a question was drawn when the settings were others. An
        approval of nobody knows what shows the card first instead.
        """
        if not RULES[request.verb].decides or (request.verb is Verb.APPROVE and not _shows_what_runs(request)):
            return False
        is_own = not request.place.is_foreign and (request.place.original or request.place.is_home)
        return request.verb in self.config.asks_reason or bool(is_own and _lacks_confirmation(body, request.verb))

    async def ask(self, request: Request) -> None:
        """Open the dialog, or tell the person that it couldn't be."""
        node = await self.decisions.node_of(request.ref) or request.ref.instance_id
        try:
            await self.dialogs.open(request.trigger_id, cards.reason_dialog(request, node))
        except Overloaded as error:
            await self.replies.reply_privately(request.place, cards.private(error))

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Take the decision with its reason."""
        await self.submissions.take(ack, body, self._read)

    @staticmethod
    def _read(view: dict[str, Any], actor: Actor) -> Request:
        try:
            verb, ref, shown, place = cards.recall(str(view.get("private_metadata")), actor.user_id)
        except (ValueError, KeyError, TypeError) as error:
            raise UnknownControl("this dialog") from error
        reason = reason_of(view, cards.REASON)
        if not reason:
            raise BadField(cards.REASON, "Type a reason first.")
        return Request(verb, ref, actor, place, shown=shown, reason=reason, trigger_id=f"view {view.get('id')}")
