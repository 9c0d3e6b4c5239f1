"""The dialog in which somebody approves another mode than the suggested one."""

from collections.abc import Sequence
from typing import Any

from bot.cards import blocks, labels
from bot.cards.blocks import elements
from bot.cards.reason import reason_input, remember
from bot.models import Request
from bot.mrkdwn import entities, escape

OTHER_MODE_DIALOG, MODE = "other_mode", "mode"


def other_mode_dialog(request: Request, node: str, offered: Sequence[str]) -> dict[str, Any]:
    """Return the view: what each mode does, a menu, and a field for the reason. `node` is raw."""
    suggested = labels.mode((request.shown.mode if request.shown else None) or "")
    effects = [[*elements(labels.mode(each).name, bold=True), *elements(f": {_effect(each)}")] for each in offered]
    menu = {
        "type": "static_select",
        "action_id": MODE,
        "placeholder": blocks.plain("Choose a mode"),
        "options": [blocks.option(labels.mode(each).name, each) for each in offered],
    }
    return {
        "type": "modal",
        "callback_id": OTHER_MODE_DIALOG,
        "private_metadata": remember(request),
        "title": blocks.plain("Approve another mode"),
        "submit": blocks.plain("Approve"),
        "close": blocks.plain("Go back"),
        "blocks": [
            blocks.statement(f"{escape(node, 60)}: Together suggests “{entities(suggested.name)}”.", labels.DRAIN),
            *blocks.rich_texts(effects),
            {"type": "input", "block_id": MODE, "label": blocks.plain("Mode to run instead"), "element": menu},
            reason_input(),
        ],
    }


def _effect(mode: str) -> str:
    return entities(labels.mode(mode).effect)
