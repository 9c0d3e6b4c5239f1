"""Messages that are not a card: in progress, errors, usage."""

from typing import Any

from bot.cards import parts
from bot.cards.remediation_card import ids
from bot.errors import BotError, UnreadableCommand
from bot.models import RULES, Blocks, Message, RemediationRef, Request, reference_value
from bot.mrkdwn import escape, plain_when, when
from bot.parsing import COMMAND

USAGE = (
    f"`{COMMAND} CLUSTER INSTANCE REMEDIATION [reason]` cancels a remediation. The node stays as it is, and Together "
    "makes no new recommendation for it for about 30 minutes.\n"
    f"Example: `{COMMAND} c-7f2 i-0042 r-91ac rebooted by hand`\n"
    "Also understood: `CLUSTER/INSTANCE/REMEDIATION`, the remediation's URL in Together's API, and "
    '`cluster=… instance=… remediation=… reason="…"`.'
)


def in_progress(request: Request, since: float) -> Message:
    """Who is doing what, without buttons: the clicked message's own words stay, a command gets a line of its own.

    Args:
        request: what was asked.
        since: when it began, in seconds since 1970.
    """
    doing = f"<@{request.actor.user_id}> is {RULES[request.verb].doing} this remediation"
    line = parts.section(f"*{doing}…* since {when(since)}")
    text = f"{doing}, since {plain_when(since)}. {escape(str(request.ref), 1500)}"
    original = request.place.original
    if original is None:
        return Message(text=text, blocks=[line, ids(request.ref)])
    return Message(
        text=text,
        blocks=[*_without_controls(original.blocks)[: parts.MAX_BLOCKS - 1], line],
        attachments=[
            {**each, "blocks": _without_controls(each["blocks"])} if isinstance(each.get("blocks"), list) else each
            for each in original.attachments
        ],
    )


def failure(error: BotError, ref: RemediationRef, user_id: str) -> Message:
    """An error for the channel, addressed to the person who asked."""
    buttons = [parts.check_again(reference_value(ref))] if error.check_again else []
    text = f"<@{user_id}> {error}"
    blocks = [parts.section(f"⚠️ <@{user_id}> *{error.sentence}* {error.next_step}"), *_quotation(error)]
    return Message(text=f"{text} {escape(str(ref), 1500)}", blocks=[*blocks, ids(ref), *buttons])


def private(error: BotError) -> Message:
    """An error for one person alone; with the usage where a command was wrong."""
    usage = [parts.section(USAGE)] if isinstance(error, UnreadableCommand) else []
    blocks = [parts.section(f"*{error.sentence}* {error.next_step}"), *_quotation(error), *usage]
    return Message(text=f"{error} {USAGE if usage else ''}".strip(), blocks=blocks)


def usage() -> Message:
    """How to use the command."""
    return Message(text=USAGE, blocks=[parts.section(USAGE)])


def _quotation(error: BotError) -> Blocks:
    return [parts.section(f"Together says:\n> {escape(error.quote, 500)}")] if error.quote else []


def _without_controls(blocks: Blocks) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in block.items() if name != "accessory"}
        for block in blocks
        if block.get("type") not in {"actions", "input", "context_actions"}
    ]
