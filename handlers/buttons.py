"""All buttons, on any message that was posted with this bot's token, a card's menu, and the dialog for a reason."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import Receipt, two_needed_error
from bot.errors import NotAttempted, UnknownControl, UnreadableButton
from bot.models import (
    NOTHING_KNOWN,
    Actor,
    Json,
    RemediationRef,
    Request,
    Verb,
    is_weaker,
    read_button_value,
)
from handlers.pauses import Pauses
from handlers.payloads import (
    action_of,
    dicts,
    find_references,
    known_of,
    option_of,
    reason_of,
    value_beside,
    view_of,
)
from handlers.surface import BadField, Interaction, Surface, Unacked, click_of

_VERBS = {verb.action_id: verb for verb in Verb}
_MENUS = cards.MODE, cards.HOLD_FOR  # of the dialog for a reason
_MENU_PAUSES = {cards.PAUSE_CHOICE: cards.PAUSE_DIALOG, cards.RESUME_CHOICE: cards.RESUME_DIALOG}
_MENU_DECIDES = {cards.REJECT: Verb.REJECT, cards.OTHER_MODE: Verb.APPROVE, cards.ALONE: Verb.APPROVE}


@dataclass(slots=True)
class Buttons(Surface):
    """Reads a click, and hands it to the decisions; shows the person alone what decides nothing."""

    pausing: Pauses

    async def listen(self, ack: AsyncAck, body: Json) -> Unacked:
        """Take a click."""
        click = click_of(body)
        try:
            asked = read(click)
        except NotAttempted as error:
            return await self.take_show(ack, click, partial(self.refuse, error), decides=False)
        if asked:
            click = replace(click, verb=asked.verb)
        decides = asked is not None and asked.rule.decides
        return await self.take(ack, click, partial(self._record, click, asked), decides=decides)

    async def _record(self, click: Interaction, request: Request | None) -> Receipt:
        if request is None:
            return None
        if request.place.is_home:
            request = request.at(self.home.result_target(request.place, request.ref.cluster_id))
        if self._needs_reason(request, click.body):
            return await self.record_show(click, lambda _: self._ask(request))
        return await self.decisions.receive(request)

    def _needs_reason(self, request: Request, body: Json) -> bool:
        """Return whether a click opens the dialog.

        The bot's own buttons always ask something: one without a question was drawn when the settings were others. An
        approval whose button does not say the mode shows the card first.
        """
        if request.verb is Verb.HOLD:
            return option_of(action_of(body)) == cards.WITH_REASON
        if not request.rule.decides or (request.verb is Verb.APPROVE and request.saw.mode is None):
            return False
        is_own = not request.place.is_foreign and (request.place.original or request.place.is_home)
        shown = dicts(body.get("message") or view_of(body), "blocks")
        own = [control for block in shown if is_own for control in dicts(block, "elements")]
        asks = all(control.get("confirm") for control in own if control.get("action_id") == request.verb.action_id)
        return request.verb in self.config.asks_reason or not asks

    async def _ask(self, request: Request, *, other_mode: bool = False) -> None:
        """Open the dialog for a reason; with `other_mode`, it has a menu of the modes to run instead.

        Raises:
            DialogNotShown: it couldn't be opened.
            NotAllowed: the person can't decide.
            SecondPersonNeeded: nobody may choose another mode alone.
        """
        await self.lookup.authorize_in_time(request.verb, request.actor, request.place.channel_id)
        about = await self.decisions.about(request.ref)
        node = about.node or request.ref.instance_id
        if request.verb is Verb.HOLD:
            view = cards.hold_dialog(request, node)
        else:
            offered: Sequence[str] = ()
            if other_mode and not (offered := self.config.other_modes(_suggested(request), about.history)):
                raise two_needed_error()
            known = about if request.verb is Verb.APPROVE else NOTHING_KNOWN
            if known.followed:  # the dialog says who asked to wait
                holds = tuple(known.hold.keys) if known.hold else ()
                request = replace(request, shown=replace(request.saw, holds=holds))
            view = cards.reason_dialog(request, node, offered, self.config.wait_of(request.ref.cluster_id), known)
        await self.dialogs.open(request.trigger_id, view)

    async def submit(self, ack: AsyncAck, body: Json) -> None:
        """Take the decision with its reason."""
        await self.take_decision(ack, body, self._read)

    def _read(self, view: Json, actor: Actor) -> Request:
        request, values = cards.recall(known_of(view), actor), view["state"]["values"]
        verb = request.verb
        chosen = {name: values[name][name]["selected_option"]["value"] for name in _MENUS if name in values}
        seconds = float(chosen[cards.HOLD_FOR]) if verb is Verb.HOLD else None
        reason = reason_of(view, cards.REASON)
        request = replace(request, reason=reason, trigger_id=f"view {view.get('id')}", seconds=seconds)
        if verb is Verb.HOLD:
            return request
        if mode := chosen.get(cards.MODE):
            suggested = _suggested(request)
            if verb is not Verb.APPROVE or mode not in self.config.other_modes(suggested):
                raise UnknownControl("this dialog")
            request = replace(request, shown=replace(request.saw, mode=mode), instead_of=suggested)
        if not reason:
            raise BadField(cards.REASON, _why_needed(request))
        return request

    async def listen_to_menu(self, ack: AsyncAck, body: Json) -> Unacked:
        """Take what was chosen in the menu of a card, then do it: what is seldom wanted."""
        press = self.press_of(body, _MENU_DECIDES.get(option_of(action_of(body))))
        return await self.take_show(ack, press, self._do)

    async def _do(self, press: Interaction) -> bool:
        """Do it. Returns whether Slack took what was said."""
        action = action_of(press.body)
        chosen = option_of(action)
        if verb := _MENU_DECIDES.get(chosen):
            ref, shown = read_button_value(value_beside(press.body, action))
            place = self.home.result_target(press.place, ref.cluster_id)
            alone = chosen == cards.ALONE
            request = Request(verb, ref, press.actor, place, shown, trigger_id=press.trigger_id, overrides=alone)
            await self._ask(request, other_mode=chosen == cards.OTHER_MODE)
            return True
        ref = _reference(press.body, action)
        if dialog := _MENU_PAUSES.get(chosen):
            await self.pausing.ask(press, dialog, ref.cluster_id)
            return True
        await self.lookup.policy.authorize(Verb.REFRESH, press.actor, press.place.channel_id)
        if chosen == cards.COPY_IDS:
            message = cards.copyable(ref)
        elif chosen == cards.HISTORY:
            node = (await self.decisions.about(ref)).node or ref.instance_id
            message = cards.history(node, await self.lookup.history(ref))
        elif chosen == cards.TIMELINE:
            known, about = await self.lookup.get(ref), await self.decisions.about(ref)
            message = cards.timeline(known, about, await self.lookup.history(ref))
        elif chosen == cards.SUPPORT:
            message = cards.support(await self.lookup.get(ref), await self.lookup.history(ref))
        else:
            raise UnknownControl(f"the choice {chosen}")
        return await self.replies.reply_privately(press.place, message)


def read(click: Interaction) -> Request | None:
    """Return what a click asks for; None for a button that only opens a link.

    Raises:
        UnknownControl: this version has no such button.
        UnreadableButton: neither this bot nor a tool that follows its contract writes such a value.
    """
    body, action = click.body, action_of(click.body)
    action_id = str(action.get("action_id") or action.get("name") or "?")
    verb = _VERBS.get(action_id)
    if verb is None:
        if _is_link(body.get("message") or {}, action_id):
            return None
        raise UnknownControl(f"the button {action_id}")
    seconds: float | None = None
    value = action.get("value")
    holds: list[str] | None = None
    if action.get("type") == "static_select":
        chosen, value = option_of(action), value_beside(body, action)
        name, *keys = chosen.split(":")
        if name == cards.RELEASE:
            verb, holds = Verb.RELEASE, keys
        elif chosen.isdecimal():
            seconds = float(chosen)
        elif chosen != cards.WITH_REASON:
            raise UnknownControl(f"the choice {chosen}")
    ref, shown = read_button_value(value)
    if holds is not None:  # the menu that was used says it, and the button beside it may be newer
        shown = replace(shown, holds=tuple(holds))
    return Request(verb, ref, click.actor, click.place, shown=shown, trigger_id=click.key, seconds=seconds)


def _is_link(message: Json, action_id: str) -> bool:
    """Return whether a button only opens a URL: Slack reports those clicks too, and the app must do nothing."""
    nested = (block for attachment in dicts(message, "attachments") for block in dicts(attachment, "blocks"))
    elements = [
        element
        for block in (*dicts(message, "blocks"), *nested)
        for element in (*dicts(block, "elements"), block.get("accessory"))
        if isinstance(element, dict)
    ]
    return any(element.get("action_id") == action_id and element.get("url") for element in elements)


def _reference(body: Json, action: Json) -> RemediationRef:
    """Return what a card is about: a button beside the menu says it, or the IDs at its foot."""
    try:
        return read_button_value(value_beside(body, action))[0]
    except UnreadableButton:
        named = find_references(body.get("message") or {})
        row = str(action.get("block_id"))
        if found := [ref for ref in named if cards.is_row_of(row, ref)] or named:
            return found[0]
        raise


def _why_needed(request: Request) -> str:
    if request.instead_of is None:
        return "Type a reason first."
    mode = request.saw.mode or ""
    chosen = cards.labels.mode(mode)
    is_less = is_weaker(mode, request.instead_of)
    why = "weaker than what Together suggests. Say why it's enough" if is_less else "your choice. Say why"
    return f"“{chosen.name}” is {why}. {chosen.effect}"


def _suggested(request: Request) -> str:
    """Return the mode that a card suggested.

    Raises:
        UnknownControl: it didn't say.
    """
    if request.saw.mode is None:
        raise UnknownControl("this menu")
    return request.saw.mode
