"""What Slack's payloads say: who, where, and which remediations they name."""

import json
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

from bot import cards
from bot.errors import UnreadableButton
from bot.models import MARK, Actor, Json, Message, RemediationRef, ReplyTarget, read_button_value
from bot.parsing import MAX_REASON
from bot.text_search import possible_ids, references

SHORTCUT = "cancel_remediation"
_TEXTS = {"text", "fallback", "pretext", "title", "footer", "value"}  # the fields that people read
_FILLERS = set("\u115f\u1160\u2800\u3164\uffa0")  # letters and a pattern of dots that are blank
_DEEPEST = 12  # of a message's blocks


def actor_of(body: Json) -> Actor:
    """Return who clicked. `team` is null where the app is installed org-wide."""
    user = body.get("user") or {}
    name = user.get("username") or user.get("name") or ""
    return Actor(user.get("id") or "", name, (body.get("team") or {}).get("id"), home_team_id=user.get("team_id"))


def action_of(body: Json) -> Json:
    """Return the control that was used; empty where the payload names none."""
    action: Json = (body.get("actions") or [{}])[0]
    return action


def option_of(action: Json) -> str:
    """Return the value that was chosen in a menu; empty for none."""
    return str((action.get("selected_option") or {}).get("value") or "")


def view_of(body: Json) -> Json:
    """Return the dialog or home that something was done in; empty where it was a message."""
    view: Json = body.get("view") or {}
    return view


def known_of(view: Json) -> str:
    """Return what a dialog or home remembers, as it was written."""
    return str(view.get("private_metadata"))


def place_of(body: Json) -> ReplyTarget:
    """Return where it was clicked. An ephemeral message has no `message`, and nothing in one that could be updated."""
    user_id = actor_of(body).user_id
    if view_of(body).get("type") == "home":
        return ReplyTarget(None, user_id, is_home=True)
    container, message = body.get("container") or {}, body.get("message")
    message_ts = container.get("message_ts")
    channel = container.get("channel_id") or (body.get("channel") or {}).get("id")
    original, is_own = None, False
    if message:
        original = Message(message.get("text") or "", dicts(message, "blocks"), dicts(message, "attachments"))
        # The bot names the first block of each message that it draws.
        is_own = bool(original.blocks) and str(original.blocks[0].get("block_id")).startswith(MARK)
    return ReplyTarget(
        channel_id=channel,
        user_id=user_id,
        response_url=url if isinstance(url := body.get("response_url"), str) else None,
        message_ts=message_ts,
        thread_ts=container.get("thread_ts") or (message or {}).get("thread_ts") or message_ts,
        is_button=True,
        is_ephemeral=bool(container.get("is_ephemeral")) or message_ts is None,
        original=original,
        is_foreign=original is not None and not is_own,
    )


def value_beside(body: Json, action: Json) -> object:
    """Return the value of a menu's row that says which remediation it is about: a button has one, a menu doesn't.

    Where the message was drawn again while the menu was open, it's the row that is about the same remediation now.
    """
    rows, used = dicts(body.get("message") or view_of(body), "blocks"), str(action.get("block_id"))
    own = [row for row in rows if row.get("block_id") == used]
    for element in (element for row in own or rows for element in dicts(row, "elements")):
        for ref in _in_value(element.get("value")):
            if own or cards.is_row_of(used, ref):
                return element["value"]
    return None


def dicts(node: Json, name: str) -> list[Json]:
    """Return what of a list is an object: payloads are not to be trusted with their shape."""
    items = node.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def fields_of(of: Json) -> dict[str, Json]:
    """Return what was chosen in a message's or a dialog's fields, by block and control; odd ones are left out."""
    blocks = (of.get("state") or {}).get("values")
    fields = blocks.items() if isinstance(blocks, dict) else ()
    return {name: field for name, field in fields if isinstance(field, dict)}


def chosen_in(of: Json) -> list[str]:
    """Return the values of all that was ticked or chosen in a message or a dialog."""
    menus = [menu for block in fields_of(of).values() for menu in block.values() if isinstance(menu, dict)]
    return [str(option.get("value")) for menu in menus for option in dicts(menu, "selected_options")]


def reason_of(view: Json, field: str) -> str:
    """Return the reason that was typed into a dialog, on one line; it may be empty."""
    typed = fields_of(view).get(field, {}).get(field) or {}
    reason = " ".join(str(typed.get("value") or "").split())[:MAX_REASON]
    return reason if any(map(_is_visible, reason)) else ""


def _is_visible(character: str) -> bool:
    return character not in _FILLERS and unicodedata.category(character)[0] in "LNPS"


def find_references(message: Json) -> list[RemediationRef]:
    """Return which remediations a message names: in its metadata, its buttons, its text, and its links."""
    payload = json.dumps((message.get("metadata") or {}).get("event_payload"))
    named = list(_strings(message, 0))
    values = [payload, *(text for name, text in named if name == "value")]
    refs = [ref for value in values for ref in _in_value(value)]
    refs += [ref for name, text in named if name != "value" for ref in references(text)]
    rows = [str(block.get("block_id")) for block in dicts(message, "blocks")]
    if rows and rows[0].startswith(MARK):  # a card's people may have named others in their reasons
        refs = [ref for ref in refs if any(cards.is_row_of(row, ref) for row in rows)] or refs
    return list(dict.fromkeys(refs))


def find_words(message: Json) -> frozenset[str]:
    """Return the words of a message that may be IDs: only what the bot knows is one of a remediation."""
    return frozenset(word for name, text in _strings(message, 0) if name in _TEXTS for word in possible_ids(text))


def _in_value(value: object) -> list[RemediationRef]:
    with suppress(UnreadableButton):
        return [read_button_value(value)[0]]
    return []


def _strings(node: object, depth: int) -> Iterator[tuple[str, str]]:
    """Yield every text of a message with the name of its field."""
    if depth > _DEEPEST:
        return
    if isinstance(node, list):
        for item in node:
            yield from _strings(item, depth + 1)
    elif isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str):
                yield name, value
            else:
                yield from _strings(value, depth + 1)
