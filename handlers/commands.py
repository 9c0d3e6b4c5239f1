"""The slash command."""

from dataclasses import dataclass
from functools import partial

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.decisions import Receipt
from bot.errors import BotError, NotAttempted, RefusedWithoutDatabase, StorageUnavailable, UnknownControl
from bot.models import Actor, Json, Message, ReplyTarget, Request, Verb
from bot.parsing import COMMAND, Browse, Find, Help, Order, Report, Typed, parse
from handlers.chooser import Chooser
from handlers.surface import Interaction, Surface, Taken

READ_SECONDS = 1.0  # Slack waits 3 s for the ack, and recording may take 2 of them
Asked = Request | Browse | Find | Report


@dataclass(slots=True)
class Commands(Surface):
    """Reads what was typed, and hands it to the decisions."""

    chooser: Chooser

    async def listen(self, ack: AsyncAck, body: Json) -> Taken:
        """Take a command. What isn't taken is answered in the ack itself, which only the person sees."""
        trigger_id = body.get("trigger_id")
        user_id = body.get("user_id") or ""
        # Slack lets only members of the workspace run commands, and names no home team (docs.slack.dev, Slack Connect).
        actor = Actor(user_id, body.get("user_name") or "", body.get("team_id"), is_member=True)
        place = ReplyTarget(body.get("channel_id"), user_id, response_url=body.get("response_url"))
        typed = Interaction(actor, place, trigger_id, f"command {trigger_id}", body, Verb.CANCEL)
        asked: Asked | Help | NotAttempted
        try:
            asked = await self._read(typed)
        except NotAttempted as error:
            asked = error
        if isinstance(asked, Help):
            await _say(ack, cards.usage())
            return None
        say = partial(_say_no, ack, asked if isinstance(asked, Request) else None)
        record = asked if isinstance(asked, NotAttempted) else partial(self._record, typed, asked)
        return await self.take(ack, typed, record, say=say)

    async def _read(self, typed: Interaction) -> Asked | Help:
        """Read what the command asks for; three words are a node and a reason where the bot knows that node."""
        order = read(typed.body)
        if not isinstance(order, Order):
            return order
        try:
            async with self.lookup.clock.timeout(READ_SECONDS):
                node = order.or_node if order.or_node and await self.lookup.knows(order.or_node.text) else None
                if reason := (node or order).reason:
                    await self.lookup.ensure_one_node(reason, order.ref)
        except (StorageUnavailable, TimeoutError) as error:  # what is meant isn't sure
            raise RefusedWithoutDatabase from error
        if node:
            return node
        return Request(Verb.CANCEL, order.ref, typed.actor, typed.place, reason=order.reason, trigger_id=typed.key)

    async def _record(self, typed: Interaction, asked: Asked) -> Receipt:
        if isinstance(asked, Request):
            return await self.decisions.receive(asked)
        return await self.once(typed, partial(self.chooser.answer, asked))


async def _say_no(ack: AsyncAck, request: Request | None, error: BotError) -> None:
    await _say(ack, cards.failure(error, request) if request and error.check_again else cards.private(error))


async def _say(ack: AsyncAck, told: Message) -> None:
    await ack(text=told.text, blocks=told.blocks, response_type="ephemeral")


def read(body: Json) -> Typed:
    """Read what the command asks for.

    Raises:
        UnknownControl: it is another command.
        UnreadableCommand: its text says nothing that can be done.
    """
    command = body.get("command") or ""
    if command != COMMAND:
        raise UnknownControl(f"the command {command}")
    return parse(body.get("text") or "")
