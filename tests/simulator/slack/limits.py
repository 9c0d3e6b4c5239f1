"""What Slack refuses in a message: the limits of Block Kit (docs.slack.dev/reference/block-kit)."""

import json
from collections import deque
from typing import Any

# Calls per minute (docs.slack.dev, "Rate limits", and each method's page).
TIERS = {
    "chat.update": 50, "chat.postEphemeral": 100, "conversations.history": 50, "usergroups.users.list": 20,
    "usergroups.list": 20, "users.info": 100, "views.open": 100, "views.update": 100, "views.publish": 100,
    "apps.connections.open": 50, "auth.test": 100,
}  # fmt: skip
POSTS_PER_MINUTE = 300  # "several hundred messages per minute" in a workspace
KNOWN_BLOCKS = {
    "header",
    "section",
    "context",
    "actions",
    "divider",
    "image",
    "input",
    "rich_text",
    "container",
    "alert",
}
# What the page documents and third parties saw Slack take (docs.slack.dev, container block).
FOLDED_BLOCKS = {"actions", "context", "divider", "header", "image", "section", "table", "video"}


class Refused(Exception):
    """Slack's answer `{"ok": false, "error": …}`; `detail` is for who reads the test."""

    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(f"{error}: {detail}")
        self.error = error
        self.detail = detail


class Limits:
    """Slack's published rate limits, counted strictly: a message per second and channel, each tier per minute."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def take(self, method: str, body: dict[str, Any], now: float) -> int:
        """Count a call. Returns after how many seconds it may be tried again; 0 when it may pass."""
        rules = [(method, TIERS[method], 60.0)] if method in TIERS else []
        if method == "chat.postMessage":
            rules = [(f"{method} {body.get('channel')}", 1, 1.0), (method, POSTS_PER_MINUTE, 60.0)]
        for name, calls, seconds in rules:
            taken = self._calls.setdefault(name, deque())
            while taken and taken[0] <= now - seconds:
                taken.popleft()
            if len(taken) >= calls:
                return max(1, round(taken[0] + seconds - now))
        for name, _, _ in rules:
            self._calls[name].append(now)
        return 0


def check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
    if not isinstance(payload, dict) or not metadata.get("event_type"):
        raise Refused("metadata_must_be_sent_from_app", "event_type and event_payload")


def check_options(options: Any) -> None:
    if not isinstance(options, list) or len(options) > 100:
        raise Refused("invalid_options", "more than 100")
    for option in options:
        _text(option.get("text"), 75, {"plain_text"})
        if not 1 <= len(option.get("value", "")) <= 75:
            raise Refused("invalid_options", "value")


def _boxes(options: list[dict[str, Any]]) -> None:
    """Check the choices of checkboxes or radio buttons, whose texts may have markup (docs.slack.dev, option object)."""
    for option in options:
        for name in ("text", "description"):
            if name in option or name == "text":
                _text(option.get(name), 75)
        if not 1 <= len(option.get("value", "")) <= 75:
            raise Refused("invalid_options", "value")


def check_option_groups(groups: Any) -> list[dict[str, Any]]:
    """Check the choices of a menu, and return them without their groups (docs.slack.dev, option group object)."""
    if not isinstance(groups, list) or len(groups) > 100:
        raise Refused("invalid_option_groups", "more than 100")
    for group in groups:
        _text(group.get("label"), 75, {"plain_text"})
        check_options(group["options"])
        if not group["options"]:
            raise Refused("invalid_option_groups", "an empty group")
    return [option for group in groups for option in group["options"]]


def check_view(view: dict[str, Any]) -> None:
    """Check a modal (docs.slack.dev/surfaces/modals)."""
    if len(json.dumps(view)) > 250_000:
        raise Refused("view_too_large")
    if view.get("type") != "modal" or not 1 <= len(view.get("blocks", [])) <= 100:
        raise Refused("invalid_arguments", "type or blocks")
    for name in ("title", "submit", "close"):
        if name in view:
            _text(view[name], 24, {"plain_text"})
    if "title" not in view or len(view.get("private_metadata", "")) > 3000:
        raise Refused("invalid_arguments", "title or private_metadata")
    ids = [block["block_id"] for block in view["blocks"] if "block_id" in block]
    if len(ids) != len(set(ids)):
        raise Refused("invalid_arguments", "block_id is not unique")
    for block in view["blocks"]:
        _check_block(block, in_modal=True)
    if "submit" not in view and any(block.get("type") == "input" for block in view["blocks"]):
        raise Refused("invalid_arguments", "a view with inputs needs a submit button")


def check_home(view: dict[str, Any]) -> None:
    """Check the app's home (docs.slack.dev/reference/views/home-tab-views)."""
    if len(json.dumps(view)) > 250_000:
        raise Refused("view_too_large")
    if view.get("type") != "home" or not 1 <= len(view.get("blocks", [])) <= 100:
        raise Refused("invalid_arguments", "type or blocks")
    if set(view) - {"type", "blocks", "private_metadata", "callback_id", "external_id"}:
        raise Refused("invalid_arguments", f"a home has no {set(view)}")
    if len(view.get("private_metadata", "")) > 3000:
        raise Refused("invalid_arguments", "private_metadata")
    for block in view["blocks"]:
        _check_block(block)


def check_message(body: dict[str, Any], *, is_update: bool) -> None:
    """Check a message.

    Raises:
        Refused: with the error that Slack gives.
    """
    text, blocks, attachments = body.get("text"), body.get("blocks"), body.get("attachments")
    if not text and not blocks and not attachments:
        raise Refused("no_text")
    if text is not None and not isinstance(text, str):
        raise Refused("invalid_arguments", "text")
    if is_update and text and len(text) > 4000:
        raise Refused("msg_too_long")
    if blocks is not None:
        check_blocks(blocks)
    if attachments is not None:
        if not isinstance(attachments, list) or len(attachments) > 100:
            raise Refused("invalid_attachments")
        for attachment in attachments:
            check_blocks(attachment.get("blocks", []))


def check_blocks(blocks: Any) -> None:
    if not isinstance(blocks, list):
        raise Refused("invalid_blocks_format")
    if len(blocks) > 50:
        raise Refused("invalid_blocks", "more than 50 blocks")
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)) or any(len(each) > 255 for each in ids):
        raise Refused("invalid_blocks", "block_id")
    for block in blocks:
        _check_block(block)


def _check_block(block: dict[str, Any], *, in_modal: bool = False) -> None:
    kind = block.get("type")
    if kind not in KNOWN_BLOCKS or (kind == "alert" and not in_modal):
        raise Refused("invalid_blocks", f"type {kind}")
    if kind == "container":
        _container(block)
    elif kind == "alert":
        _text(block.get("text"), 200)
    elif kind == "header":
        _text(block.get("text"), 150, {"plain_text"})
    elif kind == "input":
        _text(block.get("label"), 2000, {"plain_text"})
        if "hint" in block:
            _text(block["hint"], 2000, {"plain_text"})
        element = block.get("element", {})
        if element.get("type") == "external_select":
            _external_select(element)
        elif element.get("type") in {"static_select", "multi_external_select", "checkboxes", "radio_buttons"}:
            _element(element)
        elif element.get("type") != "plain_text_input" or not 1 <= element.get("max_length", 1) <= 3000:
            raise Refused("invalid_blocks", "input")
    elif kind == "rich_text":
        _rich_text(block)
    elif kind == "section":
        if not isinstance(block.get("expand", False), bool):
            raise Refused("invalid_blocks", "expand")
        if "text" not in block and "fields" not in block:
            raise Refused("invalid_blocks", "section without text")
        if "text" in block:
            _text(block["text"], 3000)
        fields = block.get("fields", [{"type": "plain_text", "text": "x"}])
        if not 1 <= len(fields) <= 10:
            raise Refused("invalid_blocks", "fields")
        for field in fields:
            _text(field, 2000)
        if "accessory" in block:
            _element(block["accessory"])
    elif kind == "context":
        if not 1 <= len(block.get("elements", [])) <= 10:
            raise Refused("invalid_blocks", "context elements")
        for element in block["elements"]:
            if element.get("type") != "image":
                _text(element, 3000)
    elif kind == "actions":
        elements = block.get("elements", [])
        if not 1 <= len(elements) <= 25:
            raise Refused("invalid_blocks", "actions elements")
        action_ids = [element["action_id"] for element in elements if "action_id" in element]
        if len(action_ids) != len(set(action_ids)):
            raise Refused("invalid_blocks", "action_id is not unique")
        for element in elements:
            if element.get("type", "").startswith("multi_"):
                raise Refused("invalid_blocks", "a multi-select menu may be in sections and inputs only")
            _element(element)


def _container(block: dict[str, Any]) -> None:
    _text(block.get("title"), 150, {"plain_text"})
    inside = block.get("child_blocks", [])
    if not 1 <= len(inside) <= 10 or any(each.get("type") not in FOLDED_BLOCKS for each in inside):
        raise Refused("invalid_blocks", "child_blocks")
    if block.get("default_collapsed") and not block.get("is_collapsible"):
        raise Refused("invalid_blocks", "default_collapsed")
    for each in inside:
        _check_block(each)


def _external_select(element: dict[str, Any]) -> None:
    _text(element.get("placeholder"), 150, {"plain_text"})
    if not isinstance(element.get("min_query_length", 3), int):
        raise Refused("invalid_blocks", "min_query_length")
    if "initial_option" in element:
        check_options([element["initial_option"]])


RICH = {
    "text": {"text"}, "user": {"user_id"}, "usergroup": {"usergroup_id"}, "channel": {"channel_id"},
    "date": {"timestamp", "format", "fallback"}, "link": {"url", "text"},
}  # fmt: skip


def _rich_text(block: dict[str, Any]) -> None:
    """Check rich text. It has no documented length: a section's is used, so that the bot doesn't rely on more."""
    sections = block.get("elements", [])
    kinds = {"rich_text_section", "rich_text_preformatted"}
    if not sections or any(section.get("type") not in kinds or not section.get("elements") for section in sections):
        raise Refused("invalid_blocks", "rich text without sections")
    preformatted = [
        element for section in sections if section["type"] != "rich_text_section" for element in section["elements"]
    ]
    if any(element.get("type") not in {"text", "link"} for element in preformatted):
        raise Refused("invalid_blocks", "preformatted text holds text and links (docs.slack.dev, rich text block)")
    elements = [element for section in sections for element in section["elements"]]
    for element in elements:
        wanted = RICH.get(element.get("type"))
        if wanted is None or not wanted <= element.keys() or element.keys() - wanted - {"type", "style"}:
            raise Refused("invalid_blocks", f"rich text element {element}")
        if not all(element[name] for name in wanted):
            raise Refused("invalid_blocks", f"an empty rich text element {element}")
        if not set(element.get("style", {})) <= {"bold", "italic", "strike", "code"}:
            raise Refused("invalid_blocks", "rich text style")
    if sum(len(str(element.get("text", "")).encode("utf-16-le")) // 2 for element in elements) > 3000:
        raise Refused("invalid_blocks", "rich text of more than 3000 characters")


def _element(element: dict[str, Any]) -> None:
    if element.get("type") == "image":
        if not element.get("image_url") or not element.get("alt_text"):
            raise Refused("invalid_blocks", "image (docs.slack.dev, image element)")
        return
    if len(element.get("action_id", "")) > 255:
        raise Refused("invalid_blocks", "action_id")
    if element.get("type") == "multi_external_select":
        _text(element.get("placeholder"), 150, {"plain_text"})
        if not isinstance(element.get("min_query_length", 3), int):
            raise Refused("invalid_blocks", "min_query_length")
        check_options(element.get("initial_options", []))
        return
    if element.get("type") in {"checkboxes", "radio_buttons"}:  # docs.slack.dev, checkboxes element
        if not 1 <= len(element.get("options", [])) <= 10:
            raise Refused("invalid_blocks", "options")
        _boxes(element["options"])
        first = element.get("initial_options", [element["initial_option"]] if "initial_option" in element else None)
        if first is not None and (not first or any(each not in element["options"] for each in first)):
            raise Refused("invalid_blocks", "initial options")
        return
    if element.get("type") == "static_select":
        _text(element.get("placeholder"), 150, {"plain_text"})
        if not element.get("options"):
            raise Refused("invalid_blocks", "options")
        check_options(element["options"])
        if element.get("initial_option", element["options"][0]) not in element["options"]:
            raise Refused("invalid_blocks", "initial_option")
        return
    if element.get("type") == "external_select":
        _external_select(element)
        return
    if element.get("type") == "overflow":
        if not 1 <= len(element.get("options", [])) <= 5:  # docs.slack.dev, overflow menu element
            raise Refused("invalid_blocks", "options of an overflow menu")
        check_options(element["options"])
        return
    if element.get("type") != "button":
        raise Refused("invalid_blocks", f"element {element.get('type')}")
    _text(element.get("text"), 75, {"plain_text"})
    if "url" in element and not str(element["url"]).startswith(("https://", "http://")):
        raise Refused("invalid_blocks", "url")
    if len(element.get("value", "")) > 2000 or len(element.get("url", "")) > 3000:
        raise Refused("invalid_blocks", "button value or url")
    if element.get("style", "primary") not in {"primary", "danger"}:
        raise Refused("invalid_blocks", "style")
    if confirm := element.get("confirm"):
        _text(confirm.get("title"), 100, {"plain_text"})
        _text(confirm.get("text"), 300)
        _text(confirm.get("confirm"), 30, {"plain_text"})
        _text(confirm.get("deny"), 30, {"plain_text"})
        if confirm.get("style", "primary") not in {"primary", "danger"}:
            raise Refused("invalid_blocks", "style of a confirm dialog")


def _text(text: Any, limit: int, kinds: set[str] | None = None) -> None:
    if not isinstance(text, dict) or text.get("type") not in (kinds or {"plain_text", "mrkdwn"}):
        raise Refused("invalid_blocks", f"text object {text}")
    # Whether Slack counts characters or UTF-16 units is not documented: the stricter count is used here.
    length = len(text.get("text", "").encode("utf-16-le")) // 2
    if not 1 <= length <= limit:
        raise Refused("invalid_blocks", f"text of {length} characters, 1 to {limit} allowed: {text['text'][:80]}")
    if text["type"] == "plain_text" and "verbatim" in text:
        raise Refused("invalid_blocks", "verbatim in plain_text")
