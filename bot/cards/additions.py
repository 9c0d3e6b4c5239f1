"""What the bot adds to a message: a line to its own card, a decision beneath another tool's alert."""

from bot.cards import blocks
from bot.models import MARK, Blocks, Json, Message, ReplyTarget
from bot.mrkdwn import escape

ADDED = "remediation-bot-added-"  # how the IDs of such blocks begin, so that they are found again
_LINE = f"{ADDED}line"
_DECISION = "\n— Decision: "  # where the text of the bot's additions begins


def decision_beneath(alert: Message, card: Message) -> Message:
    """Return another tool's alert with a card beneath it: the alert keeps its own words, and loses its buttons."""
    added = [{"type": "divider"}, *without_header(card)]
    named = [{**block, "block_id": f"{ADDED}{number}"} for number, block in enumerate(added)]
    theirs = [each for each in _unmarked(alert.blocks) if not _is_added(each)]
    kept = list(blocks.without_controls(theirs))[: blocks.MAX_BLOCKS - len(named)]
    return Message(_told(alert, card.text), [*kept, *named], _without_controls(alert.attachments))


def without_header(card: Message) -> Blocks:
    """Return a card's blocks with its title in bold, for a message or dialog with its own; nothing is folded."""
    title = card.blocks[0]
    if title["type"] == "header":
        title = blocks.paragraph(escape(title["text"]["text"], 150), bold=True)
    return blocks.plainer([title, *card.blocks[1:]])


def _with_room(shown: Blocks) -> Blocks:
    """Return blocks with room for one more: of a full message the last that only shows something goes."""
    if len(shown) < blocks.MAX_BLOCKS:
        return shown
    quiet = [number for number, each in enumerate(shown) if each.get("type") != "actions" and number]
    return [each for number, each in enumerate(shown) if number != quiet[-1]] if quiet else shown[:-1]


def _told(alert: Message, addition: str) -> str:
    """Return another tool's text with what the bot adds in place of what it added before."""
    text = f"{alert.text.partition(_DECISION)[0]}{_DECISION}{addition}"
    return text if len(text) <= blocks.MAX_STORY else blocks.story([addition])


def with_line(place: ReplyTarget, line: str, *, keeps_controls: bool) -> Message:
    """Return what was clicked with a line more: on top of the bot's own card, beneath another tool's alert."""
    original = place.original or Message("")
    kept = [each for each in _unmarked(original.blocks) if each.get("block_id") != _LINE]
    if not place.is_foreign:  # what was said before no longer holds
        kept = [each for each in kept if not str(each.get("block_id", "")).startswith(blocks.NOTICE)]
    attachments = original.attachments
    if not keeps_controls:
        kept, attachments = list(blocks.without_controls(kept)), _without_controls(attachments)
    kept = _with_room(kept)
    added = {**blocks.paragraph(line, bold=True), "block_id": _LINE}
    # The bot's own mark says what was drawn whole: with a line more, it is something else.
    own = [{**each, "block_id": f"{MARK}with-a-line"} for each in kept[:1]]
    drawn = [*kept, added] if place.is_foreign else [*own, added, *kept[1:]]
    text = _told(original, line) if place.is_foreign else blocks.story([line, original.text])
    return Message(text, drawn, attachments)


def _is_added(block: Json) -> bool:
    return str(block.get("block_id", "")).startswith(ADDED)


def _unmarked(alert: Blocks) -> Blocks:
    """Return blocks of which the first has an ID: without one, the message would be marked as the bot's own."""
    return [{"block_id": "alert"} | alert[0], *alert[1:]] if alert else []


def _without_controls(attachments: Blocks) -> Blocks:
    def shown(attachment: Json) -> Json:
        inner = attachment.get("blocks")
        return {**attachment, "blocks": list(blocks.without_controls(inner))} if isinstance(inner, list) else attachment

    return [shown(each) for each in attachments]
