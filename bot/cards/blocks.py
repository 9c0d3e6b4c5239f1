"""Block Kit, in the few shapes that the bot uses, as plain dicts."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from html import unescape
from typing import Self, TypeVar

from pydantic import TypeAdapter

from bot.errors import UnreadableButton
from bot.models import RULES, Blocks, Json, Message, RemediationRef, Verb, read_button_value, short_hash
from bot.mrkdwn import clean, entities
from bot.parsing import MAX_REASON

MAX_HEADER = 150  # docs.slack.dev, header block
MAX_VALUE = 2000  # of a button (docs.slack.dev, button element)
MAX_BLOCKS = 50  # of a message (docs.slack.dev, blocks)
MAX_STORY = 4000  # of the text beside blocks, so that it can be changed later (docs.slack.dev, chat.update)
MAX_TEXT = 3000  # of a text object (docs.slack.dev, text object); rich text documents none, so it is used there too
MAX_CONTEXT = 10  # elements of small print (docs.slack.dev, context block)
MAX_OPTIONS = 100  # of a select menu (docs.slack.dev, select menu element)
MAX_OPTION_TEXT = 75  # docs.slack.dev, option object
_MAX_ALARM = 200  # docs.slack.dev, alert block
_SHORTEST, _END = 16, 10  # characters of a name that a text leaves room for, and of its end
Element = Json
Parts = list[Element]  # of a line of rich text
Line = str | Parts  # escaped text, where all of it looks the same
T = TypeVar("T")
# What is live in text, by the names that Slack has for its parts in rich text.
_TOKEN = re.compile(
    r"<(?:@(?P<user_id>[A-Z0-9]+)|!subteam\^(?P<usergroup_id>[A-Z0-9]+)|#(?P<channel_id>[A-Z0-9]+)"
    r"|!date\^(?P<timestamp>\d+)\^(?P<format>[^|>]+)\|(?P<fallback>[^>]+)|(?P<url>https?://[^|>]+)\|(?P<text>[^>]+))>"
)
_MARKUP = {
    "user": "<@{user_id}>",
    "usergroup": "<!subteam^{usergroup_id}>",
    "channel": "<#{channel_id}>",
    "date": "<!date^{timestamp}^{format}|{fallback}>",
    "link": "<{url}|{text}>",
}
_adapter = cache(TypeAdapter)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a dialog or home knows when it comes back."""

    def dump(self) -> str:
        """Write it as a view's metadata."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def load(cls, metadata: str) -> Self:
        """Read it.

        Raises:
            ValueError: it isn't one.
        """
        known: Self = _adapter(cls).validate_json(metadata)  # type: ignore[arg-type] # a class can be hashed
        return known


def plain(text: str) -> Json:
    """Return text without any markup: not even `:fire:` is an emoji."""
    return {"type": "plain_text", "text": text, "emoji": False}


def mrkdwn(text: str) -> Json:
    """Return text with markup; `verbatim` keeps Slack from linking what merely looks like a name or an address."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def section(text: str) -> Json:
    """Return a paragraph of the bot's own words, which Slack doesn't fold."""
    return {"type": "section", "text": mrkdwn(text), "expand": True}


def elements(line: Line, *, bold: bool = False, code: bool = False) -> Parts:
    """Return a line for `paragraph`: mentions, times and links are live, and all else is drawn literally.

    mrkdwn would give a meaning to the `*`, backticks and `:fire:` of outside words.
    """
    if not isinstance(line, str):
        return line
    style = {name: True for name, is_on in (("bold", bold), ("code", code)) if is_on}
    styled = {"style": style} if style else {}
    parts: Parts = []
    end = 0
    for token in (*_TOKEN.finditer(line), None):
        if before := line[end : token.start() if token else None]:
            parts.append({"type": "text", "text": unescape(before)} | styled)
        if token is None:
            break
        end = token.end()
        said = {name: unescape(value) for name, value in token.groupdict().items() if value is not None}
        match said:
            case {"timestamp": timestamp}:
                parts.append({"type": "date", **said, "timestamp": int(timestamp)})
            case {"url": _}:
                parts.append({"type": "link", **said} | styled)
            case _:
                (name,) = said
                parts.append({"type": name.removesuffix("_id"), **said} | styled)
    return parts


def markup(line: Line) -> str:
    """Return a line as escaped text, for the text beside the blocks."""
    return "".join(map(_marked_up, elements(line)))


def _marked_up(element: Element) -> str:
    if element["type"] == "text":
        return entities(element["text"])  # nearly every one, at a fifth of the cost
    return _MARKUP[element["type"]].format_map({name: entities(str(value)) for name, value in element.items()})


def paragraph(*lines: Line, bold: bool = False) -> Json:
    """Return lines as one block, drawn literally."""
    flat: Parts = []
    for line in lines:
        flat += [*([{"type": "text", "text": "\n"}] if flat else []), *elements(line, bold=bold)]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": flat}]}


def paragraphs(*texts: Line, bold: bool = False) -> Blocks:
    """Return texts as a paragraph each, but for empty ones."""
    return [paragraph(text, bold=bold) for text in texts if text]


def rich_texts(lines: Iterable[Line]) -> Blocks:
    """Return lines in as few blocks as hold them; no line is cut."""
    sized = ((line, 1 + sum(units(str(element.get("text", ""))) for element in line)) for line in map(elements, lines))
    return [paragraph(*chunk) for chunk in _chunks(sized, MAX_TEXT)]


def _chunks(sized: Iterable[tuple[T, int]], limit: int) -> list[list[T]]:
    """Return lines, each of which came with its length, in as few chunks as hold them."""
    chunks: list[list[T]] = []
    size = limit
    for line, length in sized:
        size += length
        if size > limit:
            chunks.append([])
            size = length
        chunks[-1].append(line)
    return chunks


def units(text: str) -> int:
    """Return the length in UTF-16 units, the larger of the two that Slack may count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def header(text: str) -> Json:
    """Return a heading, raw."""
    return {"type": "header", "text": plain(clean(text, MAX_HEADER))}


def title(text: str, url: str, beside: str) -> Json:
    """Return a card's first line, raw: a link in bold where there is something to link to, which no header can be."""
    rest = f" · {beside}" if beside else ""
    if not url:
        return header(f"{text}{rest}")
    link = {"type": "link", "url": url, "text": text, "style": {"bold": True}}
    return paragraph([link, *([{"type": "text", "text": rest}] if rest else [])])


def preformatted(lines: Sequence[str]) -> Blocks:
    """Return raw lines as text that is easily copied: one piece of Slack's size, or as few as hold them."""
    chunks = _chunks(((line, 1 + units(line)) for line in lines), MAX_TEXT)
    pages = [[{"type": "text", "text": "\n".join(chunk)}] for chunk in chunks[:MAX_BLOCKS]]
    return [{"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": page}]} for page in pages]


def line(text: str) -> Message:
    """Return one line of trusted markup as a message."""
    return Message(text, [paragraph(text)])


def statement(sentence: str, rest: str) -> Json:
    """Return a sentence in bold, and what follows from it."""
    return paragraph([*elements(sentence, bold=True), *elements(f" {rest}" if rest else "")])


def context(text: str) -> Json:
    """Return small print."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def literal(text: str) -> Json:
    """Return escaped text as small print: mentions, times and links are live, and all else is drawn literally."""
    parts = [
        plain(element["text"].strip()) if element["type"] == "text" else mrkdwn(_marked_up(element))
        for element in elements(text)
    ]
    return {"type": "context", "elements": [element for element in parts if element["text"]][:MAX_CONTEXT]}


def folded(title: str, inside: Sequence[Json]) -> Json:
    """Return blocks that are out of sight until somebody opens them; `title` is raw.

    Text in it is small print: third parties say that Slack refuses `rich_text` there (docs.slack.dev, container block).
    """
    return {
        "type": "container", "title": plain(title), "child_blocks": [*inside], "is_collapsible": True,
        "default_collapsed": True,
    }  # fmt: skip


def alarm(text: str) -> Json:
    """Return a warning in red, for dialogs only (docs.slack.dev, alert block); raw, at most 200 characters."""
    return {"type": "alert", "level": "error", "text": plain(clean(text, _MAX_ALARM))}


def plainer(drawn: Iterable[Json]) -> Blocks:
    """Return blocks without the two kinds that Slack has only since 2026: what they hold is drawn openly."""
    shown: Blocks = []
    for block in drawn:
        match block:
            case {"type": "container", "child_blocks": list(inside)}:
                shown += inside
            case {"type": "alert", "text": {"text": str(text)}}:
                shown.append(paragraph([{"type": "text", "text": text, "style": {"bold": True}}]))
            case _:
                shown.append(block)
    return shown


def press(action_id: str, label: str, **more: str) -> Json:
    """Return a button; `label` is raw, `more` as Slack takes it."""
    return {"type": "button", "action_id": action_id, "text": plain(label), **more}


def button(verb: Verb, value: str, label: str = "") -> Json:
    """Return the button of a verb."""
    return press(verb.action_id, label or RULES[verb].label, value=value)


def before_name(text: str, between: str, name: str) -> str:
    """Return a text and a name behind it, raw, in a menu's size: of the name the end stays, which may tell it apart."""
    text = clean(text, MAX_OPTION_TEXT - units(between) - min(units(name), _SHORTEST))
    room = MAX_OPTION_TEXT - units(text + between)
    return f"{text}{between}{name if units(name) <= room else clean(name, room - _END) + name[-_END:]}"


def option(text: str, value: str) -> Json:
    """Return a choice of a menu; `text` is raw."""
    return {"text": plain(clean(text, MAX_OPTION_TEXT) or "-"), "value": value}


def actions(controls: Sequence[Json], of: RemediationRef | None = None) -> Json:
    """Return a row of controls; with `of`, its ID names the remediation, and is another one with other controls."""
    row = {"type": "actions", "elements": list(controls)}
    return row | {"block_id": f"{short_hash(str(of), 8)}.{short_hash(row, 8)}"} if of else row


def check_again(value: str) -> Json:
    """Return a row with "Check again" alone."""
    return actions([button(Verb.REFRESH, value)])


def without_controls(blocks: Sequence[Json], of: RemediationRef | None = None) -> Iterator[Json]:
    """Yield the blocks of a message that only show something; with `of`, also the buttons about other remediations."""
    for block in blocks:
        inside, beside = block.get("child_blocks"), block.get("accessory")
        if block.get("type") in {"actions", "input", "context_actions"}:
            controls = block.get("elements")
            if kept := [each for each in controls if _is_of_another(each, of)] if isinstance(controls, list) else []:
                yield {**block, "elements": kept}
        elif isinstance(inside, list):
            if shown := list(without_controls([block for block in inside if isinstance(block, dict)], of)):
                yield {**block, "child_blocks": shown}
        elif isinstance(beside, dict) and (beside.get("type") == "image" or _is_of_another(beside, of)):
            yield block
        else:
            yield {name: value for name, value in block.items() if name != "accessory"}


def _is_of_another(control: object, of: RemediationRef | None) -> bool:
    """Return whether a control names another remediation."""
    try:
        return of is not None and isinstance(control, dict) and read_button_value(control.get("value"))[0] != of
    except UnreadableButton:
        return False


def story(lines: Iterable[str], between: str = "\n", limit: int = MAX_STORY) -> str:
    """Return as many lines as a text holds: the one beside the blocks, unless another limit is given."""
    sized = ((line, len(between) + units(line)) for line in lines)
    return between.join(_chunks(sized, limit)[0])


def modal(title: str, drawn: Sequence[Json], *, close: str = "Go back", submit: str = "", **more: str) -> Json:
    """Return a dialog; texts are raw, and `more` as Slack takes it: `callback_id` is the name that it is known by."""
    view: Json = {"type": "modal", "title": plain(title), "close": plain(close), "blocks": [*drawn], **more}
    return view | {"submit": plain(submit)} if submit else view


def choice(name: str, label: str, placeholder: str, options: Sequence[Element], first: int | None = None) -> Element:
    """Return a dialog's menu with fixed choices; `first` is the number of the one that is chosen to begin with."""
    menu: Element = {
        "type": "static_select", "action_id": name, "placeholder": plain(placeholder), "options": [*options],
    }  # fmt: skip
    if first is not None:
        menu["initial_option"] = options[first]
    return {"type": "input", "block_id": name, "label": plain(label), "element": menu}


def search(name: str, placeholder: str, first: Element | None = None) -> Element:
    """Return a menu that asks the bot for its choices; `first` is the one that is chosen to begin with."""
    menu = {"type": "external_select", "action_id": name, "placeholder": plain(placeholder), "min_query_length": 0}
    return menu | {"initial_option": first} if first else menu


def field(name: str, label: str, element: Element, hint: str = "", *, is_optional: bool = True) -> Element:
    """Return a dialog's field; label and hint are raw."""
    drawn: Element = {
        "type": "input", "block_id": name, "optional": is_optional, "label": plain(label), "element": element,
    }  # fmt: skip
    return drawn | {"hint": plain(hint)} if hint else drawn


def boxes(name: str, options: Sequence[Element], first: Sequence[Element]) -> Element:
    """Return check boxes; `first` are those that are ticked to begin with."""
    drawn: Element = {"type": "checkboxes", "action_id": name, "options": [*options]}
    return drawn | {"initial_options": [*first]} if first else drawn


def reason_field(
    name: str, hint: str = "Shown on the card and kept in the audit trail.", *, is_optional: bool = True
) -> Element:
    """Return a dialog's field for a reason."""
    typed: Element = {"type": "plain_text_input", "action_id": name, "multiline": True, "max_length": MAX_REASON}
    return field(name, "Reason", typed, hint, is_optional=is_optional)
