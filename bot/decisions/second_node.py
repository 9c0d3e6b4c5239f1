"""A second node behind the one that somebody names: it would be left out without a word, so it's refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from bot.errors import UnreadableCommand
from bot.models import Alert, RemediationRef, folded
from bot.parsing import ALSO, AROUND, FILLERS, RESERVED

_JOINED = re.compile(r"(\S+/\S+/\S+)")  # three IDs, which any path looks like
_BETWEEN_NAMES = {
    "", "also", "and", "as", "but", "for", "hold", "not", "or", "plus", "same", "then", "through", "thru", "to", "too",
    "well", "with",
}  # fmt: skip
_JOINS, _BESIDE = {"", "&", "+", "also", "and", "or", "plus", "then", "und"}, {"node", "nodes", "the", *FILLERS}
_WITHIN = re.compile(r"\W*(?:(?:in|inside|on|of|at|from)\s|@)\s*(?:the\s+)?(?:cluster\s+)?(\S+)", re.IGNORECASE)
_LENGTHS = re.compile(r"(?<!\S)(?:for\s+)?\d+\s*[hm][a-z]*(?=[\s,.;:]|$)", re.IGNORECASE)  # of a hold


def names_another(tracked: Sequence[Alert], name: str, beside: RemediationRef | None = None) -> bool:
    """Return whether what the bot tracks has this name, ID, or IDs, and isn't on the same node."""
    *joined, last = name.split("/")
    own = [alert.remediation for alert in tracked if alert.ref == beside]
    others = [alert.remediation for alert in tracked if alert.ref != beside]
    if joined:  # what ends with a node's name is a path or a URL
        return any(other.id == last for other in others) and not any(one.is_called(name) for one in own)
    if any(one.is_called(name) for one in own):
        return False  # its own node, which may have another repair too
    if any(other.is_called(name) for other in others):
        return True
    return any(other.may_be_called(name) for other in others) and not any(one.may_be_called(name) for one in own)


def ensure_one_node(tracked: Sequence[Alert], reason: str, of: RemediationRef) -> None:
    """Make sure that a reason is and adds no other node.

    Raises:
        UnreadableCommand: it does.
    """
    for added in _added(reason):
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


def ensure_its_cluster(names: Mapping[str, str], reason: str, of: RemediationRef) -> None:
    """Make sure that what follows a node's name isn't another cluster, which has a node of that name too.

    Raises:
        UnreadableCommand: it is.
    """
    within = _WITHIN.match(reason)
    called = {folded(name): known for known, named in names.items() for name in (known, named)}
    word = within[1].strip(AROUND) if within else ""
    if called.get(folded(word), of.cluster_id) != of.cluster_id:
        raise UnreadableCommand(f"Nothing open in cluster “{word}” is called so.")


def _added(reason: str) -> Iterator[str]:
    """Yield the words of a reason that may be a second node: behind a verb that begins a request, or a first "and"."""
    adds, is_first, opens = False, True, True
    for typed in reason.split():
        word = typed.strip(AROUND)
        if word.lower() in _JOINS:
            adds, opens = adds or is_first, True
        elif word.lower() in RESERVED and opens:
            adds = True
        elif word.lower() not in _BESIDE:
            if adds:
                yield word
            adds, is_first, opens = False, False, typed[-1] in ".,;:"
