"""Controls that change something of the bot's own, such as a pause: written down before the ack, and done once."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot.decisions import Held, Inbox, Receipt
from bot.errors import NotAttempted
from bot.models import Entry, Json
from handlers.surface import Interaction, Surface

_PRESS = "press"
Change = Callable[[Held], Awaitable[bool]]


class Controls:
    """Takes presses."""

    def __init__(self, surface: Surface, inbox: Inbox) -> None:
        self._surface = surface
        self._inbox = inbox
        self._changes: dict[str, Change] = {}
        inbox.on(_PRESS, self._make)

    def on(self, action_id: str, change: Change) -> None:
        """Let the presses of a control that changes something be carried out, also those that were left behind."""
        self._changes[action_id] = change

    async def change(self, ack: AsyncAck, body: Json, what: str) -> BoltResponse | None:
        """Take a press that changes something; `what` as in "your request to pause approvals"."""
        press = self._surface.press_of(body)
        return await self._surface.take(ack, press, lambda: self.record(press, what, press.action_id, press.value))

    async def record(self, of: Interaction, what: str, action_id: str, value: str, reason: str = "") -> Receipt:
        """Write down what was asked for."""
        kept = replace(of.place, original=None)
        return await self._inbox.receive(
            Entry(of.key or "", _PRESS, what, of.actor, kept, action_id, value, reason=reason)
        )

    async def _make(self, held: Held) -> bool:
        entry = held.entry
        try:
            return await self._changes[entry.action](held)
        except NotAttempted as error:
            return await self._surface.refuse(error, Interaction(entry.actor, entry.place, entry.key, "press", {}))
