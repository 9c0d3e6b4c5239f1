"""The dialog that approves another mode than the suggested one."""

from dataclasses import dataclass, replace
from typing import Any

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import DecisionService, two_needed
from bot.errors import UnknownControl
from bot.models import Actor, Request, SeenState, Verb, is_weaker
from handlers.dialogs import Dialogs
from handlers.submissions import BadField, Submissions, reason_of


@dataclass(slots=True)
class OtherModes:
    """Lets somebody choose a mode, and hands the approval over."""

    config: cards.CardConfig
    decisions: DecisionService
    submissions: Submissions
    dialogs: Dialogs

    async def ask(self, request: Request) -> None:
        """Open the dialog.

        Raises:
            Overloaded: it couldn't be opened.
            SecondPersonNeeded: nobody may choose another mode alone.
        """
        node = await self.decisions.node_of(request.ref) or request.ref.instance_id
        if not (offered := self.config.other_modes(_suggested(request.shown))):
            raise two_needed()
        await self.dialogs.open(request.trigger_id, cards.other_mode_dialog(request, node, offered))

    async def submit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Take the approval with its mode."""
        await self.submissions.take(ack, body, self._read)

    def _read(self, view: dict[str, Any], actor: Actor) -> Request:
        try:
            verb, ref, shown, place = cards.recall(str(view.get("private_metadata")), actor.user_id)
            mode = str(view["state"]["values"][cards.MODE][cards.MODE]["selected_option"]["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnknownControl("this dialog") from error
        suggested, reason = _suggested(shown), reason_of(view, cards.REASON)
        if verb is not Verb.APPROVE or mode not in self.config.other_modes(suggested):
            raise UnknownControl("this dialog")
        if not reason:
            chosen, is_less = cards.labels.mode(mode), is_weaker(mode, suggested)
            why = "weaker than what Together suggests. Say why it's enough" if is_less else "your choice. Say why"
            raise BadField(cards.REASON, f"“{chosen.name}” is {why}. {chosen.effect}")
        return Request(
            verb, ref, actor, place, shown=replace(shown, mode=mode), reason=reason,
            trigger_id=f"view {view.get('id')}", instead_of=suggested,
        )  # fmt: skip


def _suggested(shown: SeenState | None) -> str:
    """Return the mode that a card suggested.

    Raises:
        UnknownControl: it didn't say.
    """
    if shown is None or shown.mode is None:
        raise UnknownControl("this menu")
    return shown.mode
