"""What a person wrote to the bot in a message → what is asked for. One pure function, `parse_mention`."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from bot.errors import UnreadableCommand
from bot.models import MAX_HOLD_SECONDS
from bot.parsing import (
    COURTESIES,
    FILLERS,
    MAX_REASON,
    MAX_TEXT,
    QUESTION,
    QUOTES,
    Find,
    Help,
    Order,
    Report,
    parse,
    plain_text,
    too_long,
)

_MENTIONED = re.compile(r"<@[A-Z0-9]+(?:\|[^<>]*)?>")
_TO_THE_BOT = re.compile(rf"\A(?:[\s,]*{_MENTIONED.pattern})+|{_MENTIONED.pattern}")
_BOLD = re.compile(r"(?<!\S)\*|\*(?=[\s,.;:!?]|$)")  # as Slack writes it, around words
_PERSON = re.compile(r"(?<!\S)@\S*")  # as `plain_text` has it; no node is called so
_LENGTH = re.compile(
    r"(?<!\S)(?:for\s+)?(?=\d)(?:(\d{1,9})\s*(?:h|hrs?|hours?))?"
    r"(?:\s*(?:and\s+)?(\d{1,9})\s*(?:m|mins?|minutes?))?(?=[\s,.;:]|$)",
    re.IGNORECASE,
)
# Around a time of a reason: "rebooted 5 minutes ago", "idle since 2h".
_TIME_AFTER = re.compile(r"(?<!\s)\s+(?:ago|already|left|old|remaining|later)\b", re.IGNORECASE)
_TIME_BEFORE = re.compile(r"(?:\A|\s)(?:about|after|each|every|last|past|since|takes|took|within)\s*\Z", re.IGNORECASE)
# What says how long, or until when, in other words than those: "an hour", "1.5h", "2 days", "for the weekend".
_UNREAD_LENGTH = re.compile(
    r"(?<!\S)(?:[(\"'“”‘’]?(?:(?:un)?till?|thru)|@\d\S*|bis|(?:up\s+)?to\s+\d\S*|\d+\s*(?:uhr|am|pm)|tomorrow"
    r"|(?:\d[\d.,:]*\s*)?(?:h(?:ou)?rs?|minutes?|mins?|\d\s*sec(?:ond)?s?|days?|weeks?|stunden?|minuten?|heures?|horas?)"
    r"|[\"'“”„‘’`*_~(]?\d[\d.,:]*\s*(?:h|m|d|w)\d*[\"'“”‘’`*_~)]?|for\s+[`*_~(]?\d\S*|(?:for|over|all|during|through|by|before)\s+(?:\w+\s+)?(?:\w*night|weekend|while|bit|morning)"
    r"|tonight|overnight|forever)(?=[\s,.;:]|$)",
    re.IGNORECASE,
)
_MORE_LENGTH = re.compile(r"(?:(?:and|then|or)\s+)?\d+\s*(?:h|hrs?|hours?|m|mins?|minutes?)?", re.IGNORECASE)
# A length without a unit, or with a misspelled one.
_BARE_NUMBER = re.compile(r"\d+(?:\W*\Z|\s*[,;]|\s*(?:ours?|mi|hour['’]s)\b)")
_ITS_OWN = {"", "it", "this", "this one"}
_SHORT_QUESTION = 3  # words; a longer one has a reason that ends so
_BECAUSE = re.compile(r"(?<!\S)because\s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ask:
    """Something to decide, asked for in a message: what it would do is shown first, with buttons.

    Attributes:
        verb: "approve" or "cancel".
        of: which remediation; None for the one that the thread is about.
    """

    verb: str
    of: Order | Find | None


@dataclass(frozen=True, slots=True)
class AskToHold:
    """A hold, asked for in a message; `seconds` is None for the usual time, and `of` as for `Ask`.

    Attributes:
        behind: what of the reason was typed behind the name, and not behind "because".
    """

    seconds: float | None
    of: Order | Find | None
    reason: str = ""
    behind: str = ""


@dataclass(frozen=True, slots=True)
class AskForStatus:
    """The card of the remediation that the thread is about."""


Mentioned = Ask | AskToHold | AskForStatus | Find | Report | Help


def parse_mention(text: str) -> Mentioned:
    """Read a message to the bot. What is no request is answered with what can be asked.

    Raises:
        UnreadableCommand: it is one, and can't be read.
    """
    if len(text) > MAX_TEXT:
        raise too_long()
    said = _TO_THE_BOT.sub(" ", text, count=1)
    bare = _bare(_MENTIONED.sub(" ", said))
    verb, _, rest = bare.partition(" ")
    verb, rest = verb.lower(), rest.strip()
    match verb:
        case "status":
            asked = parse(bare) if _is_named(rest) else AskForStatus()
            if isinstance(asked, Find | AskForStatus):
                return asked
        case "list" | "tonight" | "history":
            with suppress(UnreadableCommand):
                if isinstance(asked := parse(bare), Report):
                    return asked
        case "approve" | "cancel":
            return Ask(verb, _of(rest))
        case "hold":
            if QUESTION.search(plain_text(text)) and len(rest.split()) <= _SHORT_QUESTION:
                raise UnreadableCommand("A question holds nothing.")
            first, _, with_people = _bare(said).partition(" ")
            return _hold(with_people if first.lower() == verb else rest)
    return Help()


def _bare(text: str) -> str:
    """Return a request without the courtesies around it: they are no IDs."""
    plain = plain_text(_BOLD.sub("", text)).strip(QUOTES + " :.!?")
    words = COURTESIES.sub("", plain).split(" ")
    while words and words[-1].lower().strip(",.!") in FILLERS:
        words.pop()
    return " ".join(words).strip(" ,")


def _hold(rest: str) -> AskToHold:
    """Read for how long, which, and why: `1h NAME`, `NAME for 1h`, each with a reason behind it, which keeps people."""
    because = _BECAUSE.search(rest)
    asked, why = (rest[: because.start()], rest[because.end() :]) if because else (rest, "")
    seconds, after, unread = None, "", _UNREAD_LENGTH.search(asked)
    if length := next(filter(partial(_is_length, asked), _LENGTH.finditer(asked)), None):
        seconds = int(length[1] or 0) * 3600.0 + int(length[2] or 0) * 60.0
        if not 0 < seconds <= MAX_HOLD_SECONDS:
            raise UnreadableCommand("A hold lasts from 1 minute to 24 hours.")
        before, after = asked[: length.start()].strip(" ,:;"), asked[length.end() :].strip(" ,.;:")
        unread = _UNREAD_LENGTH.search(before) or _MORE_LENGTH.fullmatch(after)
        asked, after, why = (before, after, f"{after} {why}") if before else (after, "", why)
    if unread:
        raise UnreadableCommand("A hold needs one length, such as 30m or 2h.")
    asked = re.sub(rf"\A(?:[\s,]*{_PERSON.pattern})+", "", asked)
    if person := _PERSON.search(asked):  # who is mentioned behind a node is no second one
        asked, why = asked[: person.start()], f"{asked[person.start() :]} {why}"
    of = _of(asked.strip(" ,"), takes_a_reason=True)
    if of is None:
        return AskToHold(seconds, of, _reason("", why))
    node = of.or_node if isinstance(of, Order) and of.or_node else of
    if seconds is None and _BARE_NUMBER.match(node.reason):
        raise UnreadableCommand("A hold needs one length, such as 30m or 2h.")
    if isinstance(of, Order) and of.or_node:
        of = replace(of, or_node=replace(of.or_node, reason=_reason(of.or_node.reason, why)))
    return AskToHold(seconds, of, _reason(of.reason, why), behind=_reason(node.reason, after))


def _is_length(asked: str, time: re.Match[str]) -> bool:
    """Return whether a time says how long to hold, and not when something was."""
    return not (_TIME_AFTER.match(asked, time.end()) or _TIME_BEFORE.search(asked[: time.start()]))


def _reason(typed: str, why: str) -> str:
    return " ".join(f"{typed} {why}".split())[:MAX_REASON]


def _is_named(rest: str) -> bool:
    """Return whether somebody names what they mean; otherwise it's what the thread is about."""
    return rest.lower().strip(" ,.!") not in _ITS_OWN


def _of(rest: str, *, takes_a_reason: bool = False) -> Order | Find | None:
    if not _is_named(rest):
        return None
    try:
        asked = parse(rest)
    except UnreadableCommand as error:  # its hint says how to cancel, which nobody may have asked for
        if takes_a_reason and error.or_node:
            return Find(error.or_node[0], reason=error.or_node[1])
        raise UnreadableCommand(error.problem) from None
    if isinstance(asked, Order | Find):
        return asked
    raise UnreadableCommand(f"“{rest[:60]}” isn't a node name or an ID.")
