"""What words mean: which node, and that no second one is left out behind it without a word."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from bot.errors import UnreadableCommand
from bot.models import Alert, ClusterNames, Remediation, RemediationRef, folded
from bot.parsing import ALSO, AROUND, FILLERS, RESERVED, Find, Order
from bot.store import Database, clusters, messages

_JOINED = re.compile(r"(?<!\S)([^\s/]+/[^\s/]*/\S+)")  # three IDs, which any path looks like
_BETWEEN_NAMES = {
    "", "also", "and", "as", "but", "for", "hold", "not", "or", "plus", "same", "then", "through", "thru", "to", "too",
    "well", "with",
}  # fmt: skip
_JOINS = {
    "", "&", "+", "actually", "also", "and", "but", "et", "mean", "no", "oops", "or", "plus", "sorry", "then", "und",
    "wait", "with", "y",
}  # fmt: skip
_BESIDE = {
    "along", "auch", "both", "i", "in", "it", "its", "maybe", "neighbour", "neighbor", "node", "nodes", "not", "number",
    "of", "on", "one", "that", "the", "this", "together", *FILLERS,
}  # fmt: skip
_WITHIN = re.compile(
    r"(?P<sign>\W*)(?P<words>(?:(?:in|inside|on|of|at|for|from|the|cluster)(?![\w-])\W*)*)", re.IGNORECASE
)
_SHORT = re.compile(r"(\d+)(?:[–-]\d+)?")  # how a digest writes further nodes: gpu-node-0000, 0002, 0004–0005
_ENDS_IN_NUMBER = re.compile(r"\A(.*\D|)(\d+)")
# How people speak of another node, or of several.
_OTHERS = re.compile(
    r"\A\W*(?:and\s+)?(?:the\s+)?(?:(?:an?other|other|second|third|next|first|last)\s+(?:ones?|nodes?)\b|(?:others?|rest)\W*\Z"
    r"|ones?\s+(?:on|above|below)\b|(?:these|those|them)\s+(?:all|both|two)\b|(?:all|both|each|every)\s+(?:the\s+)?(?:nodes?|others)\b"
    r"|whole\s+cluster\b|neither\b|not\s+this\s+(?:node|one)\b|(?:it|this)(?:\s+one)?\s+and\b"
    r"|(?:all|any|both|each|every|two|three)\s+(?:one\s+)?of\s+(?:them|these|those|the)\b|(?:all|both|everything)\W*\Z"
    r"|everything\s+(?:in|on)\b|its\s+neighbou?rs?\b)",
    re.IGNORECASE,
)
_AND_ANOTHER = re.compile(
    r"\b(?:and|or|plus)\s+(?:all\s+)?(?:(?:the|its)\s+)?(?:others?|next|second|neighbou?rs?)(?:\s+one)?\W*\Z",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(?:\b(?:nodes?|number|and|the)|&)\s+#?(\d+)\b", re.IGNORECASE)
_BEFORE_ONE_MORE = {"&", "also", "and", "do", "plus"}
_BEHIND_ONE_MORE = {"also", "as", "too"}
_OVER = re.compile(
    r"\b(?:(?:be|was|been|is)\s+(?:released|lifted|removed)|(?:released|lifted|removed|cancelled)\s+by|expired|mistake"
    r"|(?:no\s+longer|not|isn['’]?t|wasn['’]?t)\s+(?:needed|necessary|required)|approve\s+it|go\s+ahead|never\s?mind)\b"
    r"|\A\W*(?:(?:hold|it|this)\s+)?(?:(?:is|has|can)\s+)?(?:over|end(?:ed)?|off|cancel(?:led)?|done|finished|no\s+longer|no\s+more\W*\Z)\b",
    re.IGNORECASE,
)
_LENGTHS = re.compile(r"(?<!\S)(?:for\s+)?\d+\s*[hm][a-z]*(?=[\s,.;:]|$)", re.IGNORECASE)  # of a hold


@dataclass(slots=True)
class _Nodes:
    """The names of what is tracked: of a remediation, and of the others beside it."""

    own: list[Remediation]
    others: list[Remediation]
    _exact: set[str] = field(init=False)
    _short: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._exact, self._short = _exact(self.others), _short(self.others)

    @property
    def of_own(self) -> set[str]:
        """The names of the node itself, which no other one has."""
        return _exact(self.own) | (_short(self.own) - self._exact)

    def has_another(self, name: str) -> bool:
        """Return whether another node has this name, ID, or IDs; its own may have another repair too."""
        *joined, last = name.split("/")
        called = folded(name)
        if joined:  # what ends with a node's name is a path or a URL
            return any(other.id == last for other in self.others) and called not in _exact(self.own)
        is_own = called in _exact(self.own)
        return not is_own and (called in self._exact or (called in self._short and called not in _short(self.own)))

    def is_like(self, word: str) -> bool:
        """Return whether a word is the node's name with another number: a node that isn't tracked."""
        like = _ENDS_IN_NUMBER.fullmatch(folded(word))
        return like is not None and any(like[1] == own[1] != "" and like[2] != own[2] for own in self._numbered())

    def means_another(self, word: str) -> bool:
        """Return the same, also for the number to which a digest shortens the name of a further node."""
        return any(map(self.has_another, (word, *self._in_full(word))))

    def _in_full(self, word: str) -> Iterator[str]:
        if not (short := _SHORT.fullmatch(word)):
            return
        for own in self._numbered():
            yield from (own[1] + short[1], own[1] + short[1].zfill(len(own[2])))

    def _numbered(self) -> Iterator[re.Match[str]]:
        """Yield the node's names that end in a number, in two parts."""
        return filter(None, map(_ENDS_IN_NUMBER.fullmatch, _short(self.own)))


def _exact(of: Iterable[Remediation]) -> set[str]:
    return {folded(name) for one in of for name in (one.id, one.instance_id, one.node)}


def _short(of: Iterable[Remediation]) -> set[str]:
    return {folded(name) for one in of for name in one.node_names}


def _nodes(tracked: Sequence[Alert], of: RemediationRef) -> _Nodes:
    own = [alert.remediation for alert in tracked if alert.ref == of]
    return _Nodes(own, [alert.remediation for alert in tracked if alert.ref != of])


def ensure_one_node(tracked: Sequence[Alert], reason: str, of: RemediationRef, behind: str = "") -> None:
    """Make sure that a reason is and adds no other node, nor begins with words for others where it follows a name.

    Raises:
        UnreadableCommand: it does.
    """
    nodes = _nodes(tracked, of)
    own = nodes.of_own
    others = list(filter(nodes.means_another, _added(reason, own)))
    if not others:
        also = ALSO.match(reason) or _JOINED.search(reason)
        rest, lengths = _LENGTHS.subn(" ", reason)
        said = [also[1]] if also else [word for word in rest.split() if word[0] not in "@<"]  # people
        names = [name for word in said if folded(name := word.strip(AROUND)) not in own | _BETWEEN_NAMES]
        others = list(takewhile(nodes.means_another, names))
        is_list = len(others) == len(names) or len(names) <= max(lengths, 1)  # each is a node, or has its own length
        if not is_list:  # then its words may be a whole reference
            words = {*re.split(r"[\s,;/|()]+", reason)}
            others = [other.node for other in nodes.others if {other.instance_id, other.id} <= words]
    others += _one_more(nodes, reason.split())
    if others:
        raise UnreadableCommand(f"“{others[0]}” is another node. Name one node at a time.")
    if _AND_ANOTHER.search(reason) or _OTHERS.match(behind):
        raise UnreadableCommand(f"“{reason[:60]}” means another node too. Name one node at a time.")


def _one_more(nodes: _Nodes, words: Sequence[str]) -> list[str]:
    """Return the other nodes that are joined anywhere: "fixed by hand and NODE", "NODE as well"."""
    bare = [word if word == "&" else word.strip(AROUND) for word in words]
    return [
        word
        for before, word, behind in zip(["", *bare], bare, [*bare[1:], ""], strict=False)
        if (before.lower() in _BEFORE_ONE_MORE and nodes.has_another(word))
        or (behind.lower() in _BEHIND_ONE_MORE and nodes.means_another(word))
    ]


def ensure_its_own(tracked: Sequence[Alert], said: str, of: RemediationRef) -> None:
    """Make sure that what is said in a thread is about its own node alone.

    Raises:
        UnreadableCommand: it may mean another one, or several.
    """
    words = [name for word in re.split(r"[\s,;/()]+", said) if (name := word.strip(AROUND))]
    nodes, numbers = _nodes(tracked, of), _NUMBERED.findall(said)
    is_of_another = any(map(nodes.has_another, words)) or any(map(nodes.means_another, numbers))
    if is_of_another or _OTHERS.match(said) or _AND_ANOTHER.search(said) or any(map(nodes.is_like, words[:1])):
        problem = f"It isn't clear which node “{said[:60]}” means. Name one, or put because before a reason."
        raise UnreadableCommand(problem)


def ensure_not_over(said: str) -> None:
    """Make sure that nobody says that a hold is over.

    Raises:
        UnreadableCommand: it reads so.
    """
    if _OVER.search(said):
        problem = f"“{said[:60]}” reads as if a hold is over. Release hold ends one. Put because before a reason."
        raise UnreadableCommand(problem)


def ensure_its_cluster(names: Mapping[str, str], said: str, of: RemediationRef) -> None:
    """Make sure that what follows a node's name isn't another cluster, which has a node of that name too.

    A name that may be any word counts behind "in" and the like, behind a sign, or alone.

    Raises:
        UnreadableCommand: it is.
    """
    if not (within := _WITHIN.match(said)):
        return
    rest = folded(said[within.end() :])
    called = {folded(name): known for known, named in names.items() for name in (known, named)}
    begun = [name for name in called if rest.startswith(name) and not re.match(r"[\w-]", rest[len(name) :])]
    name = max(begun, key=len, default="")
    words = {*re.findall(r"\w+", within["words"].lower())} - {"for", "the"}  # the team that it's for may be called so
    is_alone = not rest[len(name) :].strip(AROUND + " ")
    is_meant = within["sign"].strip() or words or is_alone or any(map(str.isdecimal, name))
    if name and is_meant and called[name] != of.cluster_id:
        raise UnreadableCommand(f"Nothing open in cluster “{name}” has that name.")


def _added(reason: str, own: set[str]) -> Iterator[str]:
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
                problem = f"The bot knows no cluster “{order.ref.cluster_id}”."
                raise UnreadableCommand(problem, "Type just the node, or join its three IDs with slashes.")
        ensure_one_node(tracked, meant.reason, called or order.ref, meant.reason)
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
            ensure_one_node(tracked, reason, called, reason)
        return called is not None

    async def is_called(self, ref: RemediationRef, name: str) -> bool:
        """Return whether what the bot tracks as this remediation, or its node, is called so."""
        tracked = await self.database.read(messages.tracked)
        return any(alert.ref == ref and alert.remediation.may_be_called(name) for alert in tracked)

    async def ensure_one_node(self, reason: str, of: RemediationRef, behind: str = "") -> None:
        """Make sure that a reason is and adds no other node, and that no other cluster follows its name.

        Args:
            behind: what was typed behind the name; empty where none was.

        Raises:
            UnreadableCommand: it does.
            StorageUnavailable: the database did not answer.
        """
        if behind:
            names, sizes = await self.names(), await self.database.read(clusters.sizes)
            ensure_its_cluster({cluster_id: names[cluster_id] for cluster_id in sizes}, behind, of)
        ensure_one_node(await self.database.read(messages.tracked), reason, of, behind)

    async def ensure_its_own(self, said: str, of: RemediationRef) -> None:
        """Make sure that what is said in a thread is about its own node alone, as `ensure_its_own`."""
        ensure_its_own(await self.database.read(messages.tracked), said, of)
