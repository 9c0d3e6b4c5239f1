"""What Slack may send and this version doesn't handle: acked, and answered if a person waits."""

from dataclasses import dataclass

from slack_bolt.async_app import AsyncAck

from bot.errors import UnknownControl
from bot.models import Json, ReplyTarget
from handlers.payloads import actor_of
from handlers.surface import Interaction, Surface


@dataclass(slots=True)
class Fallbacks(Surface):
    """Answers dialogs and shortcuts of other versions. Socket Mode acks only what a listener takes."""

    async def view(self, ack: AsyncAck, body: Json) -> None:
        """Ack a dialog that was submitted or closed; the empty ack closes it."""
        await ack()
        if body.get("type") == "view_submission":
            self._tell(body, "this dialog")

    async def shortcut(self, ack: AsyncAck, body: Json) -> None:
        """Ack a shortcut, and say that the bot doesn't recognize it."""
        await ack()
        self._tell(body, "this shortcut")

    async def options(self, ack: AsyncAck) -> None:
        """Give a menu no options."""
        await ack(options=[])

    async def ignore(self, ack: AsyncAck) -> None:
        """Ack an event that nothing handles, or a choice that Slack keeps until a button is pressed."""
        await ack()

    def _tell(self, body: Json, control: str) -> None:
        actor = actor_of(body)
        place = ReplyTarget((body.get("channel") or {}).get("id"), actor.user_id, response_url=body.get("response_url"))
        used = Interaction(actor, place, None, f"unknown {control}", body)
        self.tasks.spawn(self.refuse(UnknownControl(control), used), used.name)
