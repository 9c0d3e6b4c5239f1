"""What any message names: for the shortcut “Cancel remediation…”, and for answers in its thread."""

import json
from collections.abc import Iterator
from contextlib import suppress

from bot.errors import UnreadableButton
from bot.models import Json, RemediationRef, read_button_value
from bot.parsing import possible_ids, references

SHORTCUT = "cancel_remediation"
_TEXTS = {"text", "fallback", "pretext", "title", "footer", "value"}  # the fields that people read
_DEEPEST = 12  # of a message's blocks


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
