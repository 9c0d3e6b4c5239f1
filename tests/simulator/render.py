"""A Slack message as text, the way a phone would show it: for the demo and for the snapshots."""

import re
import textwrap
import unicodedata
from datetime import UTC, datetime
from typing import Any

WIDTH = 50  # about what a phone of 400 px shows in a line


def render(text: str, blocks: list[dict[str, Any]], attachments: list[dict[str, Any]] | None = None) -> str:
    """Draw a message in a box; the fallback text where it has no blocks."""
    nested = [block for attachment in attachments or [] for block in attachment.get("blocks", [])]
    parts = [block_text(block) for block in [*blocks, *nested]] or [plain(text)]
    lines = [line for part in parts for line in [*_wrap(part), ""]][:-1]
    rule = "─" * (WIDTH - 2)
    return "\n".join([f"┌{rule}┐", *(f"│ {line}{' ' * (WIDTH - 4 - _width(line))} │" for line in lines), f"└{rule}┘"])


def confirmation(button: dict[str, Any]) -> str:
    """The dialog that a button opens first; empty where it opens none."""
    confirm = button.get("confirm")
    if not confirm:
        return ""
    title, text, yes, no = (confirm[part]["text"] for part in ("title", "text", "confirm", "deny"))
    return f"{title}\n{plain(text)}\n({no})  ({yes})"


def render_view(view: dict[str, Any]) -> str:
    """Draw a dialog, with its title and buttons."""
    shown = render("", view["blocks"])
    buttons = "  ".join(f"[ {view[name]['text']} ]" for name in ("close", "submit") if name in view)
    return f"{view['title']['text']}\n{shown}\n{buttons}"


def block_text(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"█ {block['text']['text']}"
        case "section":
            fields = [plain(field["text"]).replace("\n", ": ") for field in block.get("fields", [])]
            menu = block.get("accessory", {}).get("placeholder")
            menus = [f"[ {menu['text']} ▾ ]"] if menu else []
            return "\n".join(([plain(block["text"]["text"])] if "text" in block else []) + fields + menus)
        case "rich_text":
            return "".join(_rich(element) for part in block["elements"] for element in part["elements"])
        case "container":
            return "\n".join([f"▸ {block['title']['text']}", *map(block_text, block["child_blocks"])])
        case "alert":
            return f"‼ {plain(block['text']['text'])}"
        case "divider":
            return "─" * (WIDTH - 4)
        case "context":
            return "\n".join(f"· {plain(element['text'])}" for element in block["elements"])
        case "actions":
            return "  ".join(f"[ {_label(element)} ]" for element in block["elements"])
    return f"({block['type']})"


def _rich(element: dict[str, Any]) -> str:
    match element["type"]:
        case "user":
            return f"@{element['user_id']}"
        case "usergroup":
            return f"@{element['usergroup_id']}"
        case "channel":
            return f"#{element['channel_id']}"
        case "date":
            return _moment(element["timestamp"], element["format"], element["fallback"])
    return f"`{element['text']}`" if element.get("style", {}).get("code") else str(element["text"])


def _label(element: dict[str, Any]) -> str:
    if element["type"] == "overflow":
        return "⋯"
    return f"{element['placeholder']['text']} ▾" if "options" in element else str(element["text"]["text"])


def plain(text: str) -> str:
    """Text without its markup."""
    text = re.sub(r"<!date\^(\d+)\^([^|>]*)\|([^>]*)>", lambda found: _moment(int(found[1]), found[2], found[3]), text)
    text = re.sub(r"<@(\w+)>", r"@\1", text)
    text = re.sub(r"<!subteam\^(\w+)>", r"@\1", text)
    text = re.sub(r"<#(\w+)>", r"#\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("*", "")


def _moment(seconds: int, form: str, fallback: str) -> str:
    """A moment as Slack shows it; how long ago something was depends on the present, so that stays a date."""
    if form == "{ago}":
        return f"({fallback})"
    clock = datetime.fromtimestamp(seconds, UTC).strftime("%I:%M %p").lstrip("0")
    return form.replace("{time}", clock).replace("{date_short_pretty}", f"{datetime.fromtimestamp(seconds, UTC):%b %d}")


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) == "W" else 1 for each in line)


def _wrap(part: str) -> list[str]:
    return [row for line in part.splitlines() for row in (textwrap.wrap(line, WIDTH - 4) or [""])]
