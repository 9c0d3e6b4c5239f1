"""Which remediations a message's text may name; pure functions."""

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote

from bot.errors import InvalidId
from bot.models import RemediationRef, read_reference
from bot.parsing import BETWEEN, QUOTES, plain_text

MAX_SEARCHED = 16_000  # characters of one text that are searched for references
_URL_ANYWHERE = re.compile(
    r"compute/clusters/([^/\s?#]+)/instances/([^/\s?#]+)/remediations/([^/\s?#)>|\"']+)", re.IGNORECASE
)
_SHOWN = re.compile(r"`([^`\s/]+)` / `([^`\s/]+)` / `([^`\s/]+)`")  # at the foot of a card
_INSIDE = re.compile("[=:/…→—]")  # a word of somebody else's tool


def references(text: str) -> Iterator[RemediationRef]:
    """Yield the references in a message's text: API URLs, and three IDs as a card shows them."""
    plain = plain_text(_beginning(text).replace(">", "> "))  # what follows a link isn't part of it
    for three in (*_URL_ANYWHERE.findall(plain), *_SHOWN.findall(plain)):
        with suppress(InvalidId):
            yield RemediationRef(*(unquote(part).strip(QUOTES).rstrip(".,:;!") for part in three))


def possible_ids(text: str) -> Iterator[str]:
    """Yield the words of a message's text that may be IDs, or three of them with slashes between."""
    for word in BETWEEN.split(plain_text(_beginning(text))):
        parts = () if read_reference(word.strip(".:!?")) else _INSIDE.split(word)  # a part of IDs is another one's, too
        yield from filter(None, (part.strip(".:!?") for part in (word, *parts)))


def _beginning(text: str) -> str:
    """Return what of a text is searched: only whole words, since a part of an ID is another ID."""
    return text if len(text) <= MAX_SEARCHED else text[:MAX_SEARCHED].rpartition(" ")[0]
