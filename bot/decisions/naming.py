"""What words mean: which node, and that no second one is left out behind it without a word."""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import takewhile

from bot.errors import UnreadableCommand
from bot.models import Alert, ClusterNames, Remediation, RemediationRef, folded
from bot.parsing import ALSO, AROUND, FILLERS, RESERVED, Find, Order
from bot.store import Database, clusters, messages

_JOINED = re.compile(r"(\S+/\S+/\S+)")  # three IDs, which any path looks like
_BETWEEN_NAMES = {
    "", "also", "and", "as", "but", "for", "hold", "not", "or", "plus", "same", "then", "through", "thru", "to", "too",
    "well", "with",
}  # fmt: skip
_JOINS = {"", "&", "+", "also", "and", "but", "or", "plus", "then", "und"}
_BESIDE = {"both", "in", "it", "node", "nodes", "not", "of", "on", "one", "that", "the", "this", *FILLERS}
_WITHIN = re.compile(r"\W*(?:(?:in|inside|on|of|at|for|from|the|cluster)(?![\w-])\W*)*", re.IGNORECASE)
_SHORT = re.compile(r"(\d+)(?:[–-]\d+)?")  # how a digest writes further nodes: gpu-node-0000, 0002, 0004–0005
# How people speak of another node, of several, or of a hold that is over.
_NO_REASON = re.compile(
    r"\W*(?:(?:the|that|these|those)\s+)?(?:all|another|any\w*|both|each|every\w*|first|last|next|nodes?|ones?|others?|rest"
    r"|second|third|them|can|is|isn['’]?t|no|not|off|released?|was|wasn['’]?t)\b",
    re.IGNORECASE,
)
_LENGTHS = re.compile(r"(?<!\S)(?:for\s+)?\d+\s*[hm][a-z]*(?=[\s,.;:]|$)", re.IGNORECASE)  # of a hold


def names_another(tracked: Sequence[Alert], name: str, beside: RemediationRef | None = None) -> bool:
    """Return whether what the bot tracks has this name, ID, or IDs, and isn't on the same node."""
    own = [alert.remediation for alert in tracked if alert.ref == beside]
    name = _in_full(name, own)
    *joined, last = name.split("/")
    others = [alert.remediation for alert in tracked if alert.ref != beside]
    if joined:  # what ends with a node's name is a path or a URL
        return any(other.id == last for other in others) and not any(one.is_called(name) for one in own)
    if any(one.is_called(name) for one in own):
        return False  # its own node, which may have another repair too
    if any(other.is_called(name) for other in others):
        return True
    return any(other.may_be_called(name) for other in others) and not any(one.may_be_called(name) for one in own)


def _in_full(name: str, own: Sequence[Remediation]) -> str:
    """Return a name that is shortened to its number behind another one as it's meant."""
    number = short[1] if (short := _SHORT.fullmatch(name)) else ""
    begun = [one.node[: -len(number)] for one in own if number and one.node[-len(number) :].isdecimal()]
    return f"{begun[0]}{number}" if begun else name


def ensure_one_node(tracked: Sequence[Alert], reason: str, of: RemediationRef) -> None:
    """Make sure that a reason is and adds no other node.

    Raises:
        UnreadableCommand: it does.
    """
    own = {folded(name) for one in tracked if one.ref == of for name in (one.ref.instance_id, one.remediation.node)}
    for added in _added(reason, own):
        if names_another(tracked, added, of):
            raise UnreadableCommand(f"“{added}” is another node. Name one node at a time.")
    also = ALSO.match(reason) or _JOINED.search(reason)
    rest, lengths = _LENGTHS.subn(" ", reason)
    said = [also[1]] if also else [word for word in rest.split() if word[0] not in "@<"]  # people
    names = [name for word in said if folded(name := word.strip(AROUND)) not in own | _BETWEEN_NAMES]
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


def ensure_reason(tracked: Sequence[Alert], said: str, of: RemediationRef) -> None:
    """Make sure that what is said in a thread is why its own node is held.

    Raises:
        UnreadableCommand: it may mean another one, several, or that a hold is over.
    """
    words = (name for word in re.split(r"[\s,;/()]+", said) if (name := word.strip(AROUND)))
    if _NO_REASON.match(said) or any(names_another(tracked, name, of) for name in words):
        raise UnreadableCommand(
            f"It isn't clear what “{said[:60]}” means. Put because before a reason, or name one node. "
            "Release hold ends a hold."
        )


def ensure_its_cluster(names: Mapping[str, str], reason: str, of: RemediationRef) -> None:
    """Make sure that what follows a node's name isn't another cluster, which has a node of that name too.

    Raises:
        UnreadableCommand: it is.
    """
    within = _WITHIN.match(reason)
    rest = folded(reason[within.end() if within else 0 :])
    called = {folded(name): known for known, named in names.items() for name in (known, named)}
    begun = [name for name in called if rest.startswith(name) and not re.match(r"[\w-]", rest[len(name) :])]
    if begun and called[name := max(begun, key=len)] != of.cluster_id:
        raise UnreadableCommand(f"Nothing open in cluster “{name}” is called so.")


def _added(reason: str, own: AbstractSet[str]) -> Iterator[str]:
    """Yield the words of a reason that may be a second node: behind a verb that begins a request, or a first "and"."""
    adds, is_first, opens = False, True, True
    for typed in reason.split():
        word = typed.strip(AROUND)
        if word.lower() in _JOINS:
            adds, opens = adds or is_first, True
        elif word.lower() in RESERVED and opens:
            adds = True
        elif folded(word) not in own | _BESIDE:
            if adds:
                yield word
            adds, is_first, opens = False, False, typed[-1] in ".,;:"


def _first_called(tracked: Sequence[Alert], name: str) -> RemediationRef | None:
    """Return the first remediation that has a name or an ID; None where none has."""
    called = [alert.ref for alert in tracked if alert.remediation.is_called(name)]
    called = called or [alert.ref for alert in tracked if alert.remediation.may_be_called(name)]
    return called[0] if called else None


@dataclass(slots=True)
class Naming:
    """What words mean, by what the bot tracks. Each may raise StorageUnavailable.

    Attributes:
        is_watching: whether the bot watches clusters, and so knows what has happened there.
    """

    database: Database
    is_watching: bool

    async def names(self) -> ClusterNames:
        """Return what clusters are called, as far as the bot watches and knows."""
        return await self.database.read(clusters.names) if self.is_watching else ClusterNames()

    async def meant_by(self, order: Order) -> Order | Find:
        """Return what three words mean: a node and a reason where something open is called like the first of them.

        Raises:
            UnreadableCommand: the reason names another node.
            StorageUnavailable: the database did not answer.
        """
        tracked = await self.database.read(messages.tracked)
        node = order.or_node
        called = _first_called(tracked, node.text) if node else None
        meant = node if node and called else order
        if meant is order and order.is_unsure and self.is_watching:
            known = {folded(cluster_id) for cluster_id in await self.database.read(clusters.sizes)}
            if known and folded(order.ref.cluster_id) not in known:
                problem = f"“{order.ref.cluster_id}” isn't a cluster that Together lists."
                raise UnreadableCommand(problem, "Type just the node, or join its three IDs with slashes.")
        ensure_one_node(tracked, meant.reason, called or order.ref)
        return meant

    async def is_node(self, name: str, reason: str) -> bool:
        """Return whether the bot tracks something open with this name.

        Raises:
            UnreadableCommand: the reason names another node.
            StorageUnavailable: the database did not answer.
        """
        tracked = await self.database.read(messages.tracked) if self.is_watching else ()
        called = _first_called(tracked, name)
        if called:
            ensure_one_node(tracked, reason, called)
        return called is not None

    async def is_called(self, ref: RemediationRef, name: str) -> bool:
        """Return whether what the bot tracks as this remediation, or its node, is called so."""
        tracked = await self.database.read(messages.tracked)
        return any(alert.ref == ref and alert.remediation.may_be_called(name) for alert in tracked)

    async def ensure_one_node(self, reason: str, of: RemediationRef, *, is_named: bool = False) -> None:
        """Make sure that a reason is and adds no other node; where one was named, that no other cluster follows it.

        Raises:
            UnreadableCommand: it does.
            StorageUnavailable: the database did not answer.
        """
        if is_named:
            ensure_its_cluster(await self.names(), reason, of)
        ensure_one_node(await self.database.read(messages.tracked), reason, of)

    async def ensure_reason(self, said: str, of: RemediationRef) -> None:
        """Make sure that what is said in a thread is why its own node is held, as `ensure_reason`."""
        ensure_reason(await self.database.read(messages.tracked), said, of)
