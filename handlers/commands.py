"""The slash command."""

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from slack_bolt.async_app import AsyncAck

from bot import cards
from bot.errors import (
    BotError,
    NotAttempted,
    RefusedWithoutDatabase,
    StorageUnavailable,
    UnknownControl,
    UnreadableCommand,
)
from bot.models import Actor, Json, Message, ReplyTarget, Request, Verb
from bot.parsing import COMMAND, Browse, Find, Help, Order, Report, Typed, parse
from handlers.chooser import Chooser
from handlers.surface import Interaction, Record, Surface, Unacked

READ_SECONDS = 0.7  # Slack waits 3 s for the ack; recording may take 2 of them, and the way there and back takes some
T = TypeVar("T")
Asked = Request | Browse | Find | Report


@dataclass(slots=True)
class Commands(Surface):
    """Reads what was typed, and hands it to the decisions."""

    chooser: Chooser

    async def listen(self, ack: AsyncAck, body: Json) -> Unacked:
        """Take a command. What isn't taken is answered in the ack itself, which only the person sees."""
        trigger_id = body.get("trigger_id")
        user_id = body.get("user_id") or ""
        # Slack lets only members of the workspace run commands, and names no home team (docs.slack.dev, Slack Connect).
        actor = Actor(user_id, body.get("user_name") or "", body.get("team_id"), is_member=True)
        place = ReplyTarget(body.get("channel_id"), user_id, response_url=body.get("response_url"))
        typed = Interaction(actor, place, trigger_id, f"command {trigger_id}", body, Verb.CANCEL)
        request: Request | None = None
        record: Record | NotAttempted
        try:
            match await self._read(typed):
                case Help():
                    await _say(ack, cards.usage())
                    return None
                case Request() as request:
                    record = partial(self.decisions.receive, request)
                case asked:
                    record = partial(self.record_show, typed, partial(self.chooser.answer, asked))
        except NotAttempted as error:
            record = error
        return await self.take(ack, typed, record, say=partial(_say_no, ack, request))

    async def _read(self, typed: Interaction) -> Asked | Help:
        try:
            asked = read(typed.body)
        except UnreadableCommand as error:
            name, why = error.or_node or ("", "")
            with suppress(RefusedWithoutDatabase):
                if name != "" and await self._in_time(self.lookup.is_node(name, why)):
                    return Find(name, reason=why)
            raise
        if not isinstance(asked, Order):
            return asked
        is_plain = not (asked.or_node or asked.reason or asked.is_unsure)
        meant = asked if is_plain else await self._in_time(self.lookup.meant_by(asked))
        if isinstance(meant, Find):
            return meant
        return Request(Verb.CANCEL, meant.ref, typed.actor, typed.place, reason=meant.reason, trigger_id=typed.key)

    async def _in_time(self, looked: Awaitable[T]) -> T:
        """Return what the bot tracks, before Slack stops waiting: without that, what is meant isn't sure."""
        try:
            async with self.lookup.clock.timeout(READ_SECONDS):
                return await looked
        except (StorageUnavailable, TimeoutError) as error:
            raise RefusedWithoutDatabase from error


async def _say_no(ack: AsyncAck, request: Request | None, error: BotError) -> None:
    await _say(ack, cards.failure(error, request) if request and error.check_again else cards.private(error))


async def _say(ack: AsyncAck, message: Message) -> None:
    await ack(text=message.text, blocks=message.blocks, response_type="ephemeral")


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
