"""The message shortcut "Cancel remediation…": finds in any message what it is about."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot.errors import UnreadableButton
from bot.models import Json, RemediationRef, ReplyTarget, Verb, read_button_value
from bot.parsing import Suggested, possible_ids, references
from handlers.chooser import Chooser
from handlers.clicks import actor_of
from handlers.surface import Interaction, Surface

SHORTCUT = "cancel_remediation"
_TEXTS = {"text", "fallback", "pretext", "title", "footer", "value"}  # the fields that people read
_DEEPEST = 12  # of a message's blocks


@dataclass(slots=True)
class Shortcuts(Surface):
    """Reads the message, and lets the person choose from what it names: a suggestion, never a permission."""

    chooser: Chooser

    async def listen(self, ack: AsyncAck, body: Json) -> BoltResponse | None:
        """Take it, then open the dialog. Where there is no room, Slack says that it didn't work."""
        message, actor, trigger_id = body.get("message") or {}, actor_of(body), body.get("trigger_id")
        thread_ts = message.get("thread_ts") or message.get("ts")
        channel_id = (body.get("channel") or {}).get("id")
        place = ReplyTarget(channel_id, actor.user_id, response_url=body.get("response_url"), thread_ts=thread_ts)
        used = Interaction(actor, place, trigger_id, f"shortcut {trigger_id}", body, Verb.CANCEL)
        asked = Suggested(tuple(find_references(message)), find_words(message))
        return await self.take_once(ack, used, partial(self.chooser.answer, asked), decides=False)


def find_references(message: Json) -> list[RemediationRef]:
    """Return which remediations a message names: in its metadata, its buttons, its text, and its links."""
    payload = json.dumps((message.get("metadata") or {}).get("event_payload"))
    named = list(_strings(message, 0))
    values = [payload, *(text for name, text in named if name == "value")]
    found = [ref for value in values for ref in _in_value(value)]
    found += [ref for name, text in named if name != "value" for ref in references(text)]
    return list(dict.fromkeys(found))


def find_words(message: Json) -> frozenset[str]:
    """Return the words of a message that may be IDs: only what the bot knows is one of a remediation."""
    return frozenset(word for name, text in _strings(message, 0) if name in _TEXTS for word in possible_ids(text))


def _in_value(value: str) -> Iterator[RemediationRef]:
    with suppress(UnreadableButton):
        yield read_button_value(value)[0]


def _strings(node: object, depth: int) -> Iterator[tuple[str, str]]:
    """Yield every text of a message with the name of its field."""
    if depth > _DEEPEST:
        return
    if isinstance(node, list):
        for each in node:
            yield from _strings(each, depth + 1)
    elif isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str):
                yield name, value
            else:
                yield from _strings(value, depth + 1)
