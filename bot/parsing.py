"""What a person typed or pasted behind the slash command → which remediation, and why. One pure function, `parse`."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from urllib.parse import unquote

from bot.errors import InvalidId, UnreadableCommand
from bot.models import RemediationRef, Verb, check_id, parts_of, read_reference

COMMAND = "/cancel-remediation"
_SHORTEST = f"Type just the node: {COMMAND} gpu-node-07. For more: {COMMAND} help."
MAX_REASON = 500
MAX_TEXT = 4_000  # characters that a request may have: three encoded IDs and a reason have fewer
VERBS = {*Verb, "pause", "resume", "stop"} - {Verb.CANCEL}
_REQUESTS = VERBS | {"help", "history", "list", "status", "tonight"}
RESERVED = _REQUESTS | {"cancel"}
PARTS = ("cluster", "instance", "remediation")

QUOTES = "\"'`“”„‟‘’‚‛«»"
AROUND = f"{QUOTES}()[]{{}}<>*_~.,:;!?…-–—"  # what a sentence has around a word
_ENDS = ".:;!"  # what phones put behind a name
FILLERS = {"please", "pls", "plz", "thanks", "thx", "now", "asap"}
COURTESIES = re.compile(rf"\A(?:(?:{'|'.join(FILLERS)})(?:[\s,.!]+|$))+", re.IGNORECASE)  # before a request
# A name, or three IDs, with what a sentence has around all of it.
_WRAPPED = re.compile(r"(?:\(([^()]+)\)|\[([^\[\]]+)\]|\*([^\s*]+)\*|“([^\s“”]+)”|\"([^\s\"]+)\")[.!]?")
_DASHES = r"(?:--?|[‒–—―−])"  # macOS makes one long dash of two short ones
# As should_escape sends people, channels, groups, and @here (docs.slack.dev, "Implementing slash commands"); shown
# without notifying anybody.
_MENTION = re.compile(r"<([@#!])(?:subteam\^)?([A-Za-z0-9]+)(?:\|@?([^<>]*))?>")
_LINK = re.compile(r"<((?:https?|mailto|tel):[^<|>\s]+)(?:\|([^<>]*))?>")
_URL = re.compile(
    r"(?:https?://[^/\s]+)?/?(?:v1/)?compute/clusters/([^/\s?#]+)/instances/([^/\s?#]+)/remediations/([^/\s?#]+)"
    r"(?:/([^\s?#]*))?(?:[?#]\S*)?(?:[\s,]+|$)",
    re.IGNORECASE,
)
_OTHER_URL = re.compile(r"https?://", re.IGNORECASE)
_LABELLED = re.compile(
    r"\A\W*cluster:?\s+(\S+)\s\W*instance:?\s+(\S+)\s\W*remediation:?\s+(\S+)(.*)", re.IGNORECASE | re.DOTALL
)
# An option, a verb or a second reference: it was not meant as a reason.
_NO_REASON = re.compile(
    rf"(?<!\S)(?:{_DASHES}(?!reason)[a-z]|/[a-z]|(?!https?:)[^\s/]+/[^\s/]+/[^\s/]+(?!\S)|\S*compute/clusters/)",
    re.IGNORECASE,
)
# Behind IDs, for which a cancellation is sent at once; without courtesies and the signs around words.
_NOT_NOW = re.compile(
    r"(?:(?:(?:no|not?|nope|nvm|wait|hang on|never ?mind|yet|now|just yet|don['’]?t|do not)(?: |\Z))+\Z"
    r"|(?:dry.?run|just testing|wait an? \w+|(?:maybe )?(?:tomorrow|tonight|later)(?: (?:morning|today|at .*|\d.*))?)\Z"
    r"|(?:if|unless|when|until|till|before|after (?:the|this|that))(?: \S+){1,3}\Z|at \d\d?(?::\d\d| ?(?:am|pm|h))?\Z"
    r"|(?:wait|hold on) (?:until|till|for|\d)|maybe not\b|do nothing\b"
    r"|in (?:half )?(?:an?|(?:a )?few|\w{2,6}|\d+) ?(?:h|m|mins?|minutes?|hours?|moments?|while)\b"
    r"|(?:after|until|not before) \d\d?(?::\d\d| ?(?:am|pm|h|uhr))?\b(?! reboots?)"
    r"|(?:only|not) (?:after|if|until|when)\b|(?:should|must|can)(?: ?not|n['’]t) be cancell?ed\b"
    r"|(?:once|as soon as|pending)(?: \S+){1,4} (?:is|are|ends?|finish(?:es|ed)|done|completes?|says?|ok|agrees?)\b"
    r"|after \S+ (?:says|agrees)\b|(?:ask|check|talk|speak)\b.* first\Z|not (?:needed yet|cancel|this)\b"
    r"|(?:in the (?:morning|evening|afternoon)|at noon|after lunch|\d\d?:\d\d|\d\d?(?::\d\d)? ?(?:am|pm|h|uhr))\Z"
    r"|(?:keep|leave|let|forget|ignore|undo|abort|skip|revert|scratch)(?: (?:it|this|that|the repair|alone|run))*\Z"
    r"|(?:never|no need|nothing|nein|(?:noch )?nicht|oops|disregard|is (?:it|this)\b.*)\Z"
    r"|(?:if|unless|when)\b.*\b(?:is|it['’]s|are|objects?|running|ends?|finish(?:es|ed)|done|completes?|free)\b"
    r"|(?:can|shall|should) (?:i|we)\b|(?:don['’]?t|do not) (?:cancel|do|touch|proceed)\b)",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"[.,;:!…\n]+|\s[-–—]+\s")
QUESTION = re.compile(r"(?<!\S)(?!\S*://)\S*\?\S{0,2}\s*\Z")  # what ends so, but for a link
ALSO = re.compile(r"(?:and|or|plus|then|[&+])\s+(\S+)", re.IGNORECASE)  # a reason that begins so may name one more
BETWEEN = re.compile(r"""[\s,;()\[\]{}<>"'`|*~“”‘’]+""")
_WORD = re.compile(r"[^\s,/]+")
# Behind a name, a word of a reason, or a number or sign: the IDs that Together makes have letters and digits.
_SAID = re.compile(r"[\s,:;]+[^\w\s/]*(?:([^\W\d_]+(?:['’][^\W\d_]+)*|\d+%?)?[^\w\s/-]*(?=\s|$|/|,))")
_KEY = rf"(?:(?P<dash>{_DASHES})?(?P<key>cluster|instance|remediation|reason)(?:[_-]?id)?)"
_OPTION = re.compile(rf"(?<!\S){_KEY}(?:\s*=\s*|(?<=[a-z])\s+(?(dash)|(?!)))", re.IGNORECASE)
# An apostrophe ends no quotation but before a space, and one in double quotes none at all.
_ANNOUNCED = re.compile(rf"(?:{_DASHES}reason(?:\s*=\s*|\s+)|reason\s*=\s*)", re.IGNORECASE)
_QUOTED = re.compile(r"""(?:["“”„‟]([^"“”„‟]*)["“”„‟]|['‘’]((?:[^"'“”„‟‘’]|['’](?=\w))*)['‘’](?!\w))""")


@dataclass(frozen=True, slots=True)
class Order:
    """A command that can be carried out.

    Attributes:
        reason: of at most 500 characters; may be empty.
        or_node: what it means where something open is called like its first word: a node, and why.
        is_unsure: its IDs may be words: they were typed apart, and look like some.
    """

    ref: RemediationRef
    reason: str = ""
    or_node: "Find | None" = field(default=None, compare=False)
    is_unsure: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Help:
    """The person asked how to use the command."""


@dataclass(frozen=True, slots=True)
class Browse:
    """Nothing was typed: the person wants to choose what to cancel."""


@dataclass(frozen=True, slots=True)
class ListWaiting:
    """The person asked what is waiting."""


@dataclass(frozen=True, slots=True)
class Tonight:
    """The person asked what has happened during the last shift."""


@dataclass(frozen=True, slots=True)
class RepairsOf:
    """The person asked for the last repairs of a node; `node` is its name or instance ID, as typed."""

    node: str


@dataclass(frozen=True, slots=True)
class Find:
    """A node's name, an ID, or the beginning of one: which remediation it means must be looked up.

    Attributes:
        text: as typed.
        only_shows: show it, rather than offer to cancel it.
        reason: what was typed behind it, of at most 500 characters.
    """

    text: str
    only_shows: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Suggested:
    """A message names these, or none: read them before showing anything as fact.

    Attributes:
        refs: what it certainly names.
        words: what else may be an ID, or three of them with slashes between.
        ts: Slack's name of the message.
    """

    refs: tuple[RemediationRef, ...]
    words: frozenset[str]
    ts: str = ""


Report = ListWaiting | Tonight | RepairsOf
Typed = Order | Help | Browse | Report | Find


def parse(text: str) -> Typed:
    """Read what follows `/cancel-remediation`.

    Understood are three words; `cluster/instance/remediation`; the API's own URL, with or without Slack's
    `<…|…>` around it; `cluster=… instance=… remediation=… reason="…"`; `--cluster …`; each with quotes,
    backticks, commas, line breaks and invisible characters wherever pasting leaves them, and a free-text reason
    behind it; one word alone is looked up.

    Raises:
        UnreadableCommand: it can't be read; names the part.
    """
    if len(text) > MAX_TEXT:
        raise too_long()
    plain = COURTESIES.sub("", plain_text(text))
    plain = plain.removeprefix(COMMAND).lstrip()  # as it's pasted
    if wrapped := _WRAPPED.fullmatch(plain):
        plain = wrapped[wrapped.lastindex or 0]
    bare = plain.strip(QUOTES + " ")
    if not bare:
        return Browse()
    try:
        return _from_verb(bare) or _read(plain)
    except InvalidId as error:
        problem = str(error)
    except UnreadableCommand as error:
        problem = error.problem
    if _first_word(bare)[0].lower() in RESERVED:  # the shortest way to cancel helps nobody who asked for something else
        raise UnreadableCommand(problem)
    node = None
    with suppress(UnreadableCommand):
        node = _node_and_why(plain)
    raise UnreadableCommand(problem, _SHORTEST, (node.text, node.reason) if node else None)


def too_long() -> UnreadableCommand:
    """Return that a text is too long to be read."""
    return UnreadableCommand(f"That's longer than {MAX_TEXT:,} characters.")


def _read(plain: str) -> Find | Order:
    """Read one word to be looked up; or the API's URL, options, or three words, and a reason behind them."""
    with suppress(InvalidId):
        return Find(check_id("remediation", plain.strip(QUOTES + " ,/").rstrip(_ENDS)))
    bare = plain.lstrip(QUOTES + " ")
    if url := _URL.match(bare):
        verb = (url[4] or "").strip(QUOTES + "/").lower()
        if verb not in {"", "cancel"}:
            raise UnreadableCommand(f'That URL ends in "/{verb}", but {COMMAND} only cancels.')
        return _order(_reference(map(unquote, url.group(1, 2, 3))), bare[url.end() :])
    if _OTHER_URL.match(bare):
        raise UnreadableCommand("That URL names no remediation.")
    options = list(_OPTION.finditer(plain))
    before = plain[: options[0].start()].strip(QUOTES + " ,") if options else ""
    words_before = len(list(_words(before)))
    if words_before == 1 and [option["key"].lower() for option in options] == ["reason"]:
        return Find(check_id("instance", before.rstrip(_ENDS)), reason=_reason(plain[options[0].start() :]))
    return _from_options(plain) if options and words_before < len(PARTS) else _from_words(plain)


def _from_verb(bare: str) -> Typed | None:
    """Read what begins with a word that no cluster's ID may be; None where it doesn't."""
    verb, rest = _first_word(bare)
    match verb.lower():
        case "help" | "--help" | "-h" | "?":
            return Help()
        case "list" | "tonight" | "history" as report:
            return _report(report, rest.strip(QUOTES + " ,"))
        case "status" if not rest:
            raise UnreadableCommand(f"Type {COMMAND} status and a node name or an ID.")
        case "status":
            meant = _read(rest)
            if isinstance(meant, Order) and meant.is_unsure:
                raise UnreadableCommand(f"“{rest[:60]}” isn't a node name or an ID.")
            return Find(meant.text if isinstance(meant, Find) else str(meant.ref), only_shows=True)
        case "cancel" if not rest:
            return Browse()
        case "cancel":
            if (word := _first_word(rest)[0]).lower() in RESERVED:
                raise UnreadableCommand(f"“{word}” isn't a node name or an ID.")
            return _read(rest)
        case other if other in VERBS:
            raise UnreadableCommand(
                f"{COMMAND} can't {other}. Use the buttons on its card, if it has one, or this app's Home."
            )
    return None


def _report(word: str, typed: str) -> ListWaiting | Tonight | RepairsOf:
    rest = " ".join(name for each in typed.split() if (name := each.rstrip(_ENDS + ",")).lower() not in FILLERS)
    if word == "history":
        if not rest:
            raise UnreadableCommand(f"Type {COMMAND} history and a node name or an instance ID.")
        if len(rest.split()) > 1:
            raise UnreadableCommand(f"Type {COMMAND} history and one node name or instance ID.")
        return RepairsOf(rest)
    if rest:
        raise UnreadableCommand(f"{COMMAND} {word} takes no names.")
    return ListWaiting() if word == "list" else Tonight()


def _first_word(bare: str) -> tuple[str, str]:
    """Return the first word, and what follows it; commas and slashes between them count for nothing."""
    word = next(_words(bare), None)
    return (word[0].strip(QUOTES + _ENDS), bare[word.end() :].strip(" ,/")) if word else ("", "")


def plain_text(text: str) -> str:
    """Undo what Slack, phones and word processors do to a pasted text, and nothing else."""
    if not (text.isascii() and text.isprintable()):  # nearly every text is
        # A space for what separates, nothing for what is invisible; nodes are called with plain hyphens.
        kinds = ((each, unicodedata.category(each)) for each in text.replace("‐", "-").replace("‑", "-"))
        text = "".join(
            " " if character.isspace() or kind == "Cc" else character
            for character, kind in kinds
            if kind not in {"Cf", "Cs"}
        )
    named = _MENTION.sub(lambda found: f"{'#' if found[1] == '#' else '@'}{found[3] or found[2]}", text)
    # Slack links anything that looks like a host; what was typed then is the label.
    linked = _LINK.sub(_linked, named)
    return linked.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def _linked(link: re.Match[str]) -> str:
    """Return what a link says: its address where that names a remediation, and where it reads otherwise, both."""
    address, label = link[1], link[2] or ""
    if url := _URL.match(address):
        is_other = read_reference(label) and label != "/".join(map(unquote, url.group(1, 2, 3)))
        return f"{address} {label} " if is_other else f"{address} "
    return label or address


def _from_options(plain: str) -> Order:
    """Read `cluster=… instance=… remediation=… reason=…`, in any order."""
    options = list(_OPTION.finditer(plain))
    if stray := plain[: options[0].start()].strip(QUOTES + " ,"):
        raise UnreadableCommand(f"Unrecognized text before “{options[0][0].strip()}”: “{stray[:60]}”.")
    values: dict[str, str] = {}
    rest = ""
    for option, following in zip(options, [*options[1:], None], strict=True):
        value = plain[option.end() : following.start() if following else len(plain)].strip(" ,")
        key = option["key"].lower()
        if key in values:
            raise UnreadableCommand(f"“{key}” appears twice.")
        if key == "reason":
            quoted = _QUOTED.match(value)
            values[key], tail = (quoted[0][1:-1], value[quoted.end() :]) if quoted else (value, "")
        else:
            values[key], _, tail = value.partition(" ")
        rest = f"{rest} {tail}".strip(" ,")
    if re.match(rf"{_DASHES}\w", rest):
        raise UnreadableCommand(f"Unknown option “{rest.split()[0][:60]}”.")
    ids = (values.get(part, "").strip(QUOTES + ",") for part in PARTS)
    said = f"reason={values['reason']}" if values.get("reason") else ""
    return _order(_reference(ids), f"{said} {rest}")


def _words(plain: str) -> Iterator[re.Match[str]]:
    """Return the words that are more than quotes."""
    return (word for word in _WORD.finditer(plain) if word[0].strip(QUOTES))


def _from_words(plain: str) -> Order:
    """Read three IDs in a row, apart or joined, and a reason behind them; or a node's name, and why."""
    if labelled := _LABELLED.fullmatch(plain):  # as at the foot of a card
        return _order(_reference(labelled.group(1, 2, 3)), labelled[4])
    words = list(_words(plain))
    ref = _reference(word[0] for word in words[: len(PARTS)])
    end = words[len(PARTS) - 1].end()
    joined = re.match(r"[/,]+([^\s,/]+)\S*", plain[end:])
    if joined and joined[1].strip(QUOTES).lower() != "cancel":
        raise UnreadableCommand("Too many parts are joined with “/”. Give the cluster, instance, and remediation IDs.")
    order = _order(ref, plain[end + (joined.end() if joined else 0) :])
    is_apart = "/" not in plain[words[0].end() : words[len(PARTS) - 1].start()]
    cluster_id, *others = parts_of(ref)
    are_ids = all(any(map(str.isdecimal, part)) for part in others) and not cluster_id.strip(AROUND).isalpha()
    is_unsure = is_apart and not are_ids
    or_node = _node_and_why(plain) if _SAID.match(plain, words[0].end()) else None
    return replace(order, or_node=or_node, is_unsure=is_unsure)


def _node_and_why(plain: str) -> Find | None:
    """Return a node's name and a reason behind it, where words may be that."""
    name = next(_words(plain), None)
    if name is None or not (said := _SAID.match(plain, name.end())):
        return None
    with suppress(InvalidId, *(() if said[1] else [UnreadableCommand])):  # an ID may be any sign
        why = _reason(plain[name.end() :].strip(" ,:;–—-"))
        return Find(check_id("instance", name[0].strip(QUOTES).rstrip(_ENDS)), reason=why)
    return None


def _order(ref: RemediationRef, rest: str) -> Order:
    """Return the order to cancel, with what follows its IDs as the reason."""
    reason = _reason(rest)
    clauses = (
        " ".join(word for each in clause.split() if (word := each.strip(AROUND)) and word.lower() not in FILLERS)
        for clause in (rest, *_CLAUSES.split(rest))
    )
    said = islice(filter(None, clauses), 2)  # all of it, and the first clause
    if (QUESTION.search(rest) or any(map(_NOT_NOW.match, said))) and not _ANNOUNCED.match(rest.lstrip(" ,;")):
        raise UnreadableCommand(f"“{reason[:60]}” reads as if it's not to be done now. Put reason= before a reason.")
    # A second reference is no reason: its node would be repaired after all.
    also = ALSO.match(reason)
    words = reason[also.start(1) if also else 0 :].split()
    second = words[: len(PARTS)]
    has_digits = len(second) == len(PARTS) and all(any(map(str.isdecimal, word)) for word in second)
    is_date = len(words) > len(PARTS) and not any(map(str.isalpha, words[0]))  # and a time, and words
    clusters = {*words[:1], *BETWEEN.split(reason)[: 1 - len(PARTS)]}  # each with words behind it
    if ref.cluster_id in clusters or (has_digits and not is_date):
        raise UnreadableCommand(f"Unrecognized text after the IDs: “{reason[:60]}”. Cancel one remediation at a time.")
    return Order(ref, reason)


def _reference(quoted: Iterable[str]) -> RemediationRef:
    """Check the parts one by one, so that the sentence says what is there and what is missing."""
    ids = [word.strip(QUOTES) for word in quoted]
    ids[2:] = [word.rstrip(_ENDS) or word for word in ids[2:]]
    given = [(part, value) for part, value in zip(PARTS, ids, strict=False) if value]
    for part, value in given:
        check_id(part, value)
    missing = [part for part in PARTS if part not in dict(given)]
    if missing:
        lack = f"Missing {' and '.join(missing)} ID{'s' if len(missing) > 1 else ''}."
        have = " and ".join(f"“{value}” as the {part}" for part, value in given)
        raise UnreadableCommand(f"{lack} Read {have}." if have else "Missing cluster, instance, and remediation IDs.")
    return RemediationRef(*ids)


def _reason(rest: str) -> str:
    """Return a reason without its quotes or the word that announces it."""
    words = " ".join(rest.strip(QUOTES[2] + " ,").lstrip("; ").rstrip("/").split())
    option = _ANNOUNCED.match(words)
    words = words[option.end() :] if option else words
    also = ALSO.match(words)
    bare = [word for each in words.lower().split() if (word := each.strip(AROUND))]
    said = [word for word in bare if word not in FILLERS]
    is_short = len(said) == 1 or bare[:1] == said[:1] or any(map(str.isdecimal, "".join(said[1:2])))
    asks = said[0] in (_REQUESTS if len(said) == 1 else VERBS) and is_short if said else "?" in words
    if not option and (asks or words.startswith("-- ") or _NO_REASON.match(words, also.start(1) if also else 0)):
        raise UnreadableCommand(f"Unrecognized text after the IDs: “{words[:60]}”. Put reason= before a reason.")
    quoted = _QUOTED.fullmatch(words)
    reason = (quoted[0][1:-1] if quoted else words)[:MAX_REASON].strip()
    return reason if reason.strip(AROUND) else ""
