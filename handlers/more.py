"""The menu on a card with what is seldom wanted."""

from dataclasses import dataclass, replace

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards
from bot.errors import UnknownControl, UnreadableButton
from bot.models import Json, RemediationRef, Request, Verb, read_button_value
from handlers.clicks import action_of, option_of, value_beside
from handlers.pauses import Pauses
from handlers.reasons import Reasons
from handlers.shortcuts import find_references
from handlers.surface import Interaction, Surface

_PAUSES = {cards.PAUSE_CHOICE: cards.PAUSE_DIALOG, cards.RESUME_CHOICE: cards.RESUME_DIALOG}
_DECIDES = {cards.REJECT: Verb.REJECT, cards.OTHER_MODE: Verb.APPROVE, cards.ALONE: Verb.APPROVE}


@dataclass(slots=True)
class OverflowMenu(Surface):
    """Opens the dialog of what decides, and shows the rest to the person alone."""

    reasons: Reasons
    pausing: Pauses

    async def listen(self, ack: AsyncAck, body: Json) -> BoltResponse | None:
        """Take what was chosen, then do it."""
        press = self.press_of(body, _DECIDES.get(option_of(action_of(body))))
        return await self.take_once(ack, press, self._do)

    async def _do(self, press: Interaction) -> None:
        action = action_of(press.body)
        chosen = option_of(action)
        if verb := _DECIDES.get(chosen):
            ref, shown = read_button_value(value_beside(press.body, action))
            place = self.home.result_target(press.place, ref.cluster_id)
            await self.lookup.authorize_in_time(verb, press.actor, place.channel_id)
            request = Request(verb, ref, press.actor, place, shown=shown, trigger_id=press.trigger_id)
            request = replace(request, overrides=chosen == cards.ALONE)
            await self.reasons.ask(request, other_mode=chosen == cards.OTHER_MODE)
            return
        ref = _reference(press.body, action)
        if dialog := _PAUSES.get(chosen):
            await self.pausing.ask(press, dialog, ref.cluster_id)
            return
        await self.lookup.authorize(press.actor, press.place.channel_id)
        if chosen == cards.COPY_IDS:
            told = cards.copyable(ref)
        elif chosen == cards.HISTORY:
            node = (await self.decisions.about(ref)).node or ref.instance_id
            told = cards.history(node, await self.lookup.history(ref))
        elif chosen == cards.TIMELINE:
            known, about = await self.lookup.get(ref), await self.decisions.about(ref)
            told = cards.timeline(known, about, await self.lookup.history(ref))
        elif chosen == cards.SUPPORT:
            told = cards.support(await self.lookup.get(ref), await self.lookup.history(ref))
        else:
            raise UnknownControl(f"the choice {chosen}")
        await self.replies.reply_privately(press.place, told)


def _reference(body: Json, action: Json) -> RemediationRef:
    """Return what a card is about: a button beside the menu says it, or the IDs at its foot."""
    try:
        return read_button_value(value_beside(body, action))[0]
    except UnreadableButton:
        if named := find_references(body.get("message") or {}):
            return named[0]
        raise
