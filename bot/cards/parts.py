"""Block Kit, in the few shapes that the bot uses, as plain dicts."""

from collections.abc import Sequence
from typing import Any

from bot.models import RULES, Verb

MAX_VALUE = 2000  # of a button (docs.slack.dev, button element)
MAX_BLOCKS = 50  # of a message (docs.slack.dev, blocks)
MAX_STORY = 4000  # of the text beside blocks, so that it can be changed later (docs.slack.dev, chat.update)
MAX_TEXT = 3000  # of a text object (docs.slack.dev, text object)


def plain(text: str) -> dict[str, Any]:
    """Text without any markup."""
    return {"type": "plain_text", "text": text, "emoji": True}


def mrkdwn(text: str) -> dict[str, Any]:
    """Text with markup; `verbatim` keeps Slack from linking what merely looks like a name or an address."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def section(text: str) -> dict[str, Any]:
    """A paragraph."""
    return {"type": "section", "text": mrkdwn(text)}


def context(*texts: str) -> dict[str, Any]:
    """Small print."""
    return {"type": "context", "elements": [mrkdwn(text) for text in texts]}


def button(verb: Verb, value: str) -> dict[str, Any]:
    """The button of a verb."""
    return {
        "type": "button",
        "action_id": verb.action_id,
        "text": plain(RULES[verb].label),
        "value": value,
    }


def actions(buttons: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of buttons."""
    return {"type": "actions", "elements": buttons}


def check_again(value: str) -> dict[str, Any]:
    """A row with "Check again" alone."""
    return actions([button(Verb.REFRESH, value)])


def pages(lines: Sequence[str], between: str = "\n", limit: int = MAX_TEXT) -> list[str]:
    """Lines in as few texts of Slack's size as hold them; no line is cut."""
    found: list[str] = []
    size = limit
    for line in lines:
        length = len(between) + len(line) + sum(character > "\uffff" for character in line)
        size += length
        if size > limit:
            found.append(line)
            size = length
        else:
            found[-1] += f"{between}{line}"
    return found


def story(lines: Sequence[str], between: str = "\n") -> str:
    """Return as many lines as the text beside the blocks holds."""
    return pages(lines, between, MAX_STORY)[0]
