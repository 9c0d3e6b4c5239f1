"""The dialog that asks for a reason before a decision, and which mode to run instead of the suggested one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import two_needed
from bot.errors import UnknownControl
from bot.models import Actor, Json, Request, SeenState, Verb, is_weaker
from handlers.clicks import known_of, reason_of
from handlers.surface import BadField, Surface

_MENUS = cards.MODE, cards.HOLD_FOR


@dataclass(slots=True)
class Reasons(Surface):
    """Asks for a reason, and hands the decision over once it is given."""

    async def ask(self, request: Request, *, other_mode: bool = False) -> None:
        """Open the dialog; with `other_mode`, it has a menu of the modes to run instead.

        Raises:
            DialogNotShown: it couldn't be opened.
            SecondPersonNeeded: nobody may choose another mode alone.
        """
        about = await self.decisions.about(request.ref)
        node = about.node or request.ref.instance_id
        if request.verb is Verb.HOLD:
            view = cards.hold_dialog(request, node)
        else:
            offered: Sequence[str] = ()
            if other_mode and not (offered := self.config.other_modes(_suggested(request.shown), about.history)):
                raise two_needed()
            known = about if request.verb is Verb.APPROVE else None
            view = cards.reason_dialog(request, node, offered, self.config.wait_of(request.ref.cluster_id), known)
        await self.dialogs.open(request.trigger_id, view)

    async def submit(self, ack: AsyncAck, body: Json) -> None:
        """Take the decision with its reason."""
        await self.take_dialog(ack, body, self._read)

    def _read(self, view: Json, actor: Actor) -> Request:
        try:
            request = cards.recall(known_of(view), actor)
            verb, shown = request.verb, request.shown
            values = view["state"]["values"]
            chosen = {name: values[name][name]["selected_option"]["value"] for name in _MENUS if name in values}
            seconds = float(chosen[cards.HOLD_FOR]) if verb is Verb.HOLD else None
        except (ValueError, KeyError, TypeError) as error:
            raise UnknownControl("this dialog") from error
        reason = reason_of(view, cards.REASON)
        request = replace(request, reason=reason, trigger_id=f"view {view.get('id')}", seconds=seconds)
        if verb is Verb.HOLD:
            return request
        if mode := chosen.get(cards.MODE):
            suggested = _suggested(shown)
            if verb is not Verb.APPROVE or mode not in self.config.other_modes(suggested):
                raise UnknownControl("this dialog")
            request = replace(request, shown=replace(shown or SeenState(None, None), mode=mode), instead_of=suggested)
        if not reason:
            raise BadField(cards.REASON, _why_needed(request))
        return request


def _why_needed(request: Request) -> str:
    if request.instead_of is None or request.shown is None or request.shown.mode is None:
        return "Type a reason first."
    chosen, is_less = cards.labels.mode(request.shown.mode), is_weaker(request.shown.mode, request.instead_of)
    why = "weaker than what Together suggests. Say why it's enough" if is_less else "your choice. Say why"
    return f"“{chosen.name}” is {why}. {chosen.effect}"


def _suggested(shown: SeenState | None) -> str:
    """Return the mode that a card suggested.

    Raises:
        UnknownControl: it didn't say.
    """
    if shown is None or shown.mode is None:
        raise UnknownControl("this menu")
    return shown.mode
