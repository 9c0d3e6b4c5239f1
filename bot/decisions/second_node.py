"""A second node behind the one that somebody names: it would be left out without a word, so it's refused."""

import re
from collections.abc import Sequence
from itertools import takewhile

from bot.errors import UnreadableCommand
from bot.models import Alert, RemediationRef
from bot.parsing import ALSO, AROUND, FILLERS, RESERVED

_JOINED = re.compile(r"(\S+/\S+/\S+)")  # three IDs, which any path looks like
_BETWEEN_NAMES = {
    "", "also", "and", "as", "but", "for", "hold", "not", "or", "plus", "same", "then", "through", "thru", "to", "too",
    "well", "with",
}  # fmt: skip
_ADDS = {"", "&", "+", "also", "and", "node", "nodes", "or", "plus", "the", "then", "und", *RESERVED, *FILLERS}
_LENGTHS = re.compile(r"(?<!\S)(?:for\s+)?\d+\s*[hm][a-z]*(?=[\s,.;:]|$)", re.IGNORECASE)  # of a hold


def names_another(tracked: Sequence[Alert], name: str, beside: RemediationRef | None = None) -> bool:
    """Return whether what the bot tracks has this name, ID, or IDs, and isn't on the same node."""
    *joined, last = name.split("/")
    if any(alert.ref == beside and alert.remediation.is_called(name) for alert in tracked):
        return False  # its own node, which may have another repair too
    return any(
        # What is joined and ends with a node's name is a path or a URL.
        alert.ref != beside and (alert.ref.remediation_id == last if joined else alert.remediation.is_called(name))
        for alert in tracked
    )


def ensure_one_node(tracked: Sequence[Alert], reason: str, of: RemediationRef) -> None:
    """Make sure that a reason is and adds no other node.

    Raises:
        UnreadableCommand: it does.
    """
    added = _added(reason)
    if names_another(tracked, added, of):
        raise UnreadableCommand(f"“{added}” is another node. Name one node at a time.")
    also = ALSO.match(reason) or _JOINED.search(reason)
    rest, lengths = _LENGTHS.subn(" ", reason)
    said = [also[1]] if also else [word for word in rest.split() if word[0] not in "@<"]  # people
    names = [name for word in said if (name := word.strip(AROUND)).lower() not in _BETWEEN_NAMES]
    others = list(takewhile(lambda name: names_another(tracked, name, of), names))
    is_list = len(others) == len(names) or len(names) <= max(lengths, 1)  # each is a node, or has its own length
    if not is_list:  # then its words may be a whole reference
        words = {*re.split(r"[\s,;/|()]+", reason)}
        refs = (alert for alert in tracked if alert.ref != of)
        others = [
            alert.remediation.node for alert in refs if {alert.ref.instance_id, alert.ref.remediation_id} <= words
        ]
    if others:
        raise UnreadableCommand(f"“{others[0]}” is another node. Name one node at a time.")


def _added(reason: str) -> str:
    """Return what a reason names behind a verb, or first behind what adds something; empty for nothing."""
    before, is_first, adds = "", True, False
    for word in (each.strip(AROUND) for each in reason.split()):
        if word.lower() in _ADDS:
            before, adds = before if word.lower() in {"the", "node", "nodes", ""} else word.lower(), True
        elif before in RESERVED or (is_first and adds):
            return word
        else:
            before, is_first, adds = "", False, False
    return ""
