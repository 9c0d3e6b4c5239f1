"""Messages that are not a card: in progress, errors, usage, what is added to a message, and what points elsewhere."""

import re
from collections.abc import Sequence
from dataclasses import replace

from bot.cards import blocks, labels
from bot.cards.blocks import line
from bot.cards.config import CardConfig
from bot.cards.controls import LOOKING, MORE
from bot.cards.remediation_card import NOTICE, ON_CALL, card, ids
from bot.errors import BotError
from bot.models import (
    MARK,
    RULES,
    Alert,
    Blocks,
    CardContext,
    CardNote,
    DecidedBy,
    Json,
    Message,
    Remediation,
    RemediationRef,
    ReplyTarget,
    Request,
    State,
    Verb,
    reference_value,
    short_hash,
)
from bot.mrkdwn import clean, clock_time, entities, escape
from bot.parsing import COMMAND

ADDED = "remediation-bot-added-"  # how the IDs of such blocks begin, so that they are found again
_LINE = f"{ADDED}line"
_PROGRESS = f"{ADDED}progress"
_CARD = re.compile(rf"{ADDED}[0-9a-f]{{8}}-")  # a block of a card beneath an alert, with its remediation's hash
_DECISION = "\n— Decision: "  # where the text of the bot's additions begins
_DOING = "⏳ <@"  # how "in progress" begins
USAGE = (
    f"`{COMMAND}` lets you choose what to cancel.\n"
    f"`{COMMAND} gpu-node-07` finds it by node name or ID; the beginning is enough.\n"
    f"`{COMMAND} list` lists what you can cancel; `{COMMAND} status gpu-node-07` shows one card. Only you see them.\n"
    f"`{COMMAND} tonight` sums up the last shift; `{COMMAND} history gpu-node-07` lists a node's last repairs.\n"
    f"`{COMMAND} CLUSTER INSTANCE REMEDIATION [reason]` cancels right away, without asking.\n"
    f"Example: `{COMMAND} c-7f2 i-0042 r-91ac rebooted by hand`\n"
    "You can also use `CLUSTER/INSTANCE/REMEDIATION`, the remediation's URL in Together's API, or "
    '`cluster=… instance=… remediation=… reason="…"`.'
)
MENTIONS = (
    "Nothing was sent. Mention the bot, or send it a direct message:\n"
    "`cancel gpu-node-07` or `approve gpu-node-07` links to its card. Nothing is sent until you press a button there.\n"
    "`hold 1h gpu-node-07` pauses its reminders for an hour, and shows that you asked to wait.\n"
    "`status gpu-node-07` shows one card; `list` lists what you can cancel. Only you see them.\n"
    "`tonight` sums up the last shift; `history gpu-node-07` lists a node's last repairs.\n"
    "In the thread of an alert, `cancel`, `approve`, `hold 1h`, and `status` need no name."
)
CONSOLE = "the Together console"  # as errors say it


def decision_beneath(alert: Message, card: Message, of: RemediationRef) -> Message:
    """Return another tool's alert with a card beneath it: it keeps its own words, and its buttons about others."""
    own = _beneath(of)
    added = [block for block in card.blocks if str(block.get("block_id", "")).startswith(own)]  # release 0.1 drew it so
    added = added or [{"type": "divider"}, *without_header(card)]
    named = [{**block, "block_id": f"{own}{number}"} for number, block in enumerate(added)]
    theirs = [block for block in _unmarked(alert.blocks) if not _is_replaced(str(block.get("block_id", "")), own)]
    kept = list(blocks.without_controls(theirs, of))[: blocks.MAX_BLOCKS - len(named)]
    said = card.text.partition(_DECISION)[2] or card.text
    return Message(_told(alert, said), [*kept, *named], _without_controls(alert.attachments, of))


def _beneath(of: RemediationRef) -> str:
    return f"{ADDED}{short_hash(str(of), 8)}-"


def is_row_of(block_id: str, ref: RemediationRef) -> bool:
    """Return whether a block is about a remediation: of its card, or of a decision beneath another tool's alert."""
    return block_id.startswith((f"{short_hash(str(ref), 8)}.", _beneath(ref)))


def _is_replaced(block_id: str, own: str) -> bool:
    """Return whether a block is of an answer that a new one replaces: only the cards of other remediations stay."""
    return block_id.startswith(own) or (block_id.startswith(ADDED) and not _CARD.match(block_id))


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
    quiet = [number for number, block in enumerate(shown) if block.get("type") != "actions" and number]
    return [block for number, block in enumerate(shown) if number != quiet[-1]] if quiet else shown[:-1]


def _told(alert: Message, addition: str) -> str:
    """Return another tool's text with what the bot adds in place of what it added before."""
    text = f"{alert.text.partition(_DECISION)[0]}{_DECISION}{addition}"
    return text if len(text) <= blocks.MAX_STORY else blocks.story([addition])


def put_back(now: Message, before: Message, of: RemediationRef) -> Message:
    """Return another tool's alert without "in progress": as it is by now, with the buttons that this took from it."""
    shown = {str(block.get("block_id")): block for block in now.blocks}
    since = shown.keys() - {block.get("block_id") for block in before.blocks}
    is_decided = any(each.startswith(_beneath(of)) for each in since)  # the buttons are about what was so before that
    drawn: Blocks = []
    for block in before.blocks:
        present = shown.pop(str(block.get("block_id")), None)
        if not is_decided and list(blocks.without_controls([block], of)) != [block]:
            drawn.append(block)
        elif present:
            drawn.append(present)
    drawn += shown.values()
    is_untouched = now.attachments == _without_controls(before.attachments, of)
    said = (text for text in (now.text, before.text) if _DOING not in text)
    return Message(
        next(said, now.text.partition(_DECISION)[0]),
        [block for block in drawn if block.get("block_id") != _PROGRESS],
        before.attachments if is_untouched else now.attachments,
    )


def with_line(
    place: ReplyTarget, line: str, of: RemediationRef, *, keeps_controls: bool, block_id: str = _LINE
) -> Message:
    """Return what was clicked with a line more: on top of the bot's own card, beneath another tool's alert."""
    original = place.original or Message("")
    kept = [block for block in _unmarked(original.blocks) if block.get("block_id") not in {_LINE, _PROGRESS}]
    if not place.is_foreign:  # what was said before no longer holds
        kept = [block for block in kept if not str(block.get("block_id", "")).startswith(NOTICE)]
    attachments = original.attachments
    if not keeps_controls:
        kept, attachments = list(blocks.without_controls(kept, of)), _without_controls(attachments, of)
    kept = _with_room(kept)
    added = {**blocks.paragraph(line, bold=True), "block_id": block_id}
    # The bot's own mark says what was drawn whole: with a line more, it is something else.
    own = [{**block, "block_id": f"{MARK}with-a-line"} for block in kept[:1]]
    drawn = [*kept, added] if place.is_foreign else [*own, added, *kept[1:]]
    text = _told(original, line) if place.is_foreign else blocks.story([line, original.text])
    return Message(text, drawn, attachments)


def _unmarked(alert: Blocks) -> Blocks:
    """Return blocks of which the first has an ID: without one, the message would be marked as the bot's own."""
    return [{"block_id": "alert"} | alert[0], *alert[1:]] if alert else []


def _without_controls(attachments: Blocks, of: RemediationRef) -> Blocks:
    def shown(attachment: Json) -> Json:
        if not isinstance(inner := attachment.get("blocks"), list):
            return attachment
        return {**attachment, "blocks": list(blocks.without_controls(inner, of))}

    return [shown(attachment) for attachment in attachments]


def in_progress(request: Request, since: float) -> Message:
    """Return who is doing what, without buttons; for a command, to its person alone. `since` in Unix time."""
    began = f"this… (started {clock_time(since)})"
    if request.place.original is not None:
        doing = f"{_DOING}{request.actor.user_id}> is {request.rule.doing} {began}"
        shown = with_line(request.place, doing, request.ref, keeps_controls=False, block_id=_PROGRESS)
        return shown if request.place.is_foreign else replace(shown, blocks=_under_way(shown.blocks, request.verb))
    doing = f"⏳ Still {request.rule.doing} {began}. The result follows."
    return Message(
        f"{doing} {escape(str(request.ref), 1500)}",
        [blocks.paragraph(doing, bold=True), blocks.context(ids(request.ref))],
    )


def _under_way(drawn: Blocks, verb: Verb) -> Blocks:
    """Return the bot's own card with a first line that says what is being decided, rather than what was asked."""
    if not RULES[verb].decides:
        return drawn
    match drawn[0]:
        case {"type": "header", "text": {"text": str(title)}}:
            doing = {"text": blocks.plain(_doing(title, verb))}
        case {"elements": [{"elements": [{"type": "link", "text": str(title)} as link, *rest]}]}:
            doing = blocks.paragraph([{**link, "text": _doing(title, verb)}, *rest])
        case _:
            doing = {}
    return [{**drawn[0], **doing}, *drawn[1:]]


def _doing(title: str, verb: Verb) -> str:
    _, colon, rest = title.partition(": ")
    return clean(f"{RULES[verb].doing.capitalize()}: {rest}", blocks.MAX_HEADER) if colon else title


def after_failure(place: ReplyTarget, ref: RemediationRef, remark: CardNote) -> Message:
    """Return what was clicked with a line that says what failed; in doubt, "Check again" is all that it offers."""
    after = with_line(place, remark.notice, ref, keeps_controls=remark.buttons)
    if remark.buttons:
        return after
    check = {**blocks.check_again(reference_value(ref)), "block_id": f"{ADDED}check"}
    kept = [block for block in after.blocks if block.get("block_id") != check["block_id"]][: blocks.MAX_BLOCKS - 1]
    return replace(after, blocks=[*kept, check])


def failed(request: Request, error: BotError, now: float) -> str:
    """Return what failed and when, in a line for the card; the thread says what to do."""
    whose = f"<@{request.actor.user_id}>'s {request.rule.noun}"
    said = error.said_to_all(request.rule.noun, whose)
    return f"⚠️ {clock_time(now)}{'' if whose in said else f', {whose}'}: {said}"


def failure(error: BotError, request: Request, node: str = "", console: str = "") -> Message:
    """Return an error for the channel, addressed to the person who asked.

    Args:
        node: raw; empty if not known.
        console: the link to the remediation in Together's console; empty for none.
    """
    ref = request.ref
    buttons = [blocks.check_again(reference_value(ref))] if error.check_again else []
    # A push shows the beginning: the node and what was asked come first.
    about = f"{escape(node or ref.instance_id, 100)}, {request.rule.noun}: <@{request.actor.user_id}>"
    next_step = error.next_step.replace(CONSOLE, f"<{entities(console)}|{CONSOLE}>") if console else error.next_step
    shown = [blocks.statement(f"⚠️ {about} {error.sentence}", next_step), *_quotation(error)]
    return Message(f"{about} {error} {escape(str(ref), 1500)}", [*shown, blocks.context(ids(ref)), *buttons])


def private(error: BotError) -> Message:
    """Return an error for one person alone."""
    return Message(str(error), [blocks.statement(error.sentence, error.next_step), *_quotation(error)])


def pointer(remediation: Remediation, said: str, about: CardContext, config: CardConfig) -> Message:
    """Return what is said of a remediation in a line that points at its card; `said` is trusted markup."""
    link = config.permalink(about.channel_id, about.ts)
    where = f"<{link}|See the card>" if link else f"The card is in <#{about.channel_id}>."
    return blocks.line(f"{escape(remediation.node, 100)}: {said} {where}")


def too_late(verb: Verb, state: str) -> str:
    """Return that a decision is too late for a state, as trusted markup; what an unknown one means isn't certain."""
    named = escape(labels.state(state)[0], 90)
    if state in set(State):
        return f"Too late to {verb}: it's already “{named}”."
    return f"Can't {verb} this here: it's “{named}”. Check it in Together."


def unfollowed(
    remediation: Remediation,
    about: CardContext,
    config: CardConfig,
    notice: str = "",
    decided: DecidedBy | None = None,
) -> Message:
    """Return a card that nobody keeps current, without controls that would outlive it."""
    is_alone = bool(about.ts) and not about.is_one_of_many  # has a card elsewhere, with a menu to point at
    about = replace(about, mentioned="", is_unlisted=False, is_just_read=True, is_one_of_many=not is_alone)
    is_sure = not about.is_in_doubt(remediation)
    said = notice or ("" if is_sure else labels.UNCONFIRMED)
    drawn = card(remediation, decided=decided, notice=said, buttons=is_sure, about=about, config=config)
    return Message(drawn.text, list(blocks.without_controls(drawn.blocks)))


def without_decisions(shown: Message) -> Message:
    """Return a card without the controls that decide, for a message that isn't kept current."""
    undecided = {verb.action_id for verb in Verb if verb is not Verb.REFRESH} | {MORE, LOOKING}
    drawn = []
    for block in shown.blocks:
        if block["type"] == "actions":
            kept = [control for control in block["elements"] if control.get("action_id") not in undecided]
            if not kept:
                continue
            block = {**block, "elements": kept}  # noqa: PLW2901 - the same row
        drawn.append(block)
    return replace(shown, blocks=drawn)


def as_copy(shown: Message) -> Message:
    """Return a card for another message than its own: it decides nothing, and mentions nobody on call again."""
    copied = without_decisions(shown)
    lines = (line for line in copied.text.splitlines() if not line.startswith(ON_CALL))
    return replace(copied, text="\n".join(lines), blocks=[block for block in copied.blocks if not _mentions(block)])


def _mentions(block: Json) -> bool:
    sections = block["elements"] if block["type"] == "rich_text" else []
    return any(str(part.get("text", "")).startswith(ON_CALL) for section in sections for part in section["elements"])


def how_to_decide(verb: Verb, remediation: Remediation) -> str:
    """Return where to decide on a remediation without a card, as the end of a sentence."""
    ways = ["open this app's Home"] if remediation.is_waiting else []  # it decides on no others
    ways += [f"type `{COMMAND} {escape(str(remediation.ref), 1500)}`"] if verb is Verb.CANCEL else []
    return f"to decide, {', or '.join(ways)}."


def usage() -> Message:
    """Return how to use the command."""
    return Message(USAGE, [blocks.section(USAGE)])


def mentions() -> Message:
    """Return what can be asked in a message."""
    return Message(MENTIONS, [blocks.section(MENTIONS)])


def _quotation(error: BotError) -> Blocks:
    return [blocks.paragraph(f"Together: “{escape(error.quote, 500)}”")] if error.quote else []


def moved(alerts: Sequence[Alert], channel_id: str) -> Message:
    """Return that a message was moved to another channel: true also once that has moved again."""
    return line(f"{_named(alerts)}: moved to <#{channel_id}>.")


def moved_cluster(cluster: str, channel_id: str) -> Message:
    """Return that a cluster got another channel: true whether or not any alert is there, and once it gets another."""
    return line(f"Cluster {escape(cluster, 100)}: its alerts moved to <#{channel_id}>.")


def posted_twice(alerts: Sequence[Alert], link: str) -> Message:
    """Return that there is another message about the same.

    Args:
        link: of the other message; empty where it isn't known.
    """
    where = f"<{link}|the other message>" if link else "the other message in this channel"
    return line(f"{_named(alerts)}: posted twice by mistake. Use {where}.")


def posted_late() -> Message:
    """Return what a message says that Slack posted late: it's over, or the bot has posted it again."""
    return line("This came late: it's over, or another message in this channel is about it.")


def _named(alerts: Sequence[Alert]) -> str:
    """Return the nodes of a message: one by its name."""
    nodes = {alert.remediation.node for alert in alerts}
    return escape(nodes.pop(), 100) if len(nodes) == 1 else f"{len(nodes)} nodes"
