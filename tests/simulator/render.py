"""A Slack message as text, the way a phone would show it: for the demo and for the snapshots."""

import re
import textwrap
import unicodedata
from datetime import UTC, datetime
from typing import Any

WIDTH = 78


def render(text: str, blocks: list[dict[str, Any]], attachments: list[dict[str, Any]] | None = None) -> str:
    """Draw a message in a box; the fallback text where it has no blocks."""
    nested = [block for attachment in attachments or [] for block in attachment.get("blocks", [])]
    parts = [_block(block) for block in [*blocks, *nested]] or [plain(text)]
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


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"█ {block['text']['text']}"
        case "section":
            fields = [plain(field["text"]).replace("\n", ": ") for field in block.get("fields", [])]
            menu = block.get("accessory", {}).get("placeholder")
            menus = [f"[ {menu['text']} ▾ ]"] if menu else []
            return "\n".join(([plain(block["text"]["text"])] if "text" in block else []) + fields + menus)
        case "context":
            return "\n".join(f"· {plain(element['text'])}" for element in block["elements"])
        case "actions":
            return "  ".join(f"[ {_label(element)} ]" for element in block["elements"])
    return f"({block['type']})"


def _label(element: dict[str, Any]) -> str:
    return f"{element['placeholder']['text']} ▾" if "options" in element else str(element["text"]["text"])


def plain(text: str) -> str:
    """Text without its markup."""
    text = re.sub(r"<!date\^\d+\^\{ago\}\|([^>]*)>", r"\1", text)
    text = re.sub(r"<!date\^(\d+)\^[^|>]*\|[^>]*>", lambda found: _time(int(found[1])), text)
    text = re.sub(r"<@(\w+)>", r"@\1", text)
    text = re.sub(r"<!subteam\^(\w+)>", r"@\1", text)
    text = re.sub(r"<#(\w+)>", r"#\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("*", "")


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%b %d at %H:%M UTC")


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) == "W" else 1 for each in line)


def _wrap(part: str) -> list[str]:
    return [row for line in part.splitlines() for row in (textwrap.wrap(line, WIDTH - 4) or [""])]
