"""How a batch is going, and its results."""

import re
from collections.abc import Collection, Sequence
from typing import assert_never

from bot.cards.blocks import Element, elements
from bot.cards.listing import lines_message, node
from bot.errors import OutcomeKind
from bot.models import RULES, TROUBLES, Batch, BatchItem, Message, RemediationRef, StopReason, Verb
from bot.mrkdwn import escape, when

BAR = 10
REPORT_LINES = 100


def progress_lines(batch: Batch, waiting: Collection[RemediationRef] | None = None) -> list[Sequence[Element]]:
    """Return a bar, and what wasn't done and why.

    Args:
        waiting: what waits still; what no longer does is not named any more. None names all.
    """
    rule, known = RULES[batch.verb], [each for each in batch.items if each.outcome is not None]
    asked = f"by <@{batch.actor.user_id}>, {when(batch.asked_at)}"
    head = f"{_well(batch)} of {len(batch.items)} {rule.done} {asked}"
    if batch.is_running:
        head = f"{rule.doing.capitalize()} {len(batch.items)}: started {asked}"
    lines: list[Sequence[Element]] = [elements(head, bold=True), elements(_bar(batch))]
    if stopped := _stopped(batch):
        lines.append(elements(stopped, bold=True))
    failed = [each for each in known if each.outcome != rule.done and (waiting is None or each.ref in waiting)]
    lines += [_outcome(each, batch.verb) for each in failed[:5]]
    if len(failed) > 5:  # noqa: PLR2004 - as many as fit at a glance
        lines.append(elements(f"…and {len(failed) - 5} more. Full results in the thread when finished."))
    return lines


def _well(batch: Batch) -> int:
    return sum(each.outcome == RULES[batch.verb].done for each in batch.items)


def _stopped(batch: Batch) -> str:
    """Return why the rest was left alone, and what can be done; empty where nothing was."""
    if not batch.stopped:
        return ""
    left = sum(each.is_left for each in batch.items)
    return f"Stopped: {_why(batch, batch.stopped)} {left} not attempted."


def _why(batch: Batch, stopped: StopReason) -> str:
    match stopped:
        case StopReason.NOT_ALLOWED:
            return f"couldn't confirm that <@{batch.actor.user_id}> is allowed to decide."
        case StopReason.REPAIR_LIMIT:
            return "the cluster reached its repair limit. Approve the rest when a repair finishes."
        case StopReason.TROUBLE:
            return f"Together failed {TROUBLES} times in a row. Try the rest again when it responds."
        case StopReason.PAUSED:
            return "approvals are paused."
        case StopReason.PERSON:
            return f"<@{batch.stopped_by}> stopped it."
        case StopReason.TOO_OLD:
            return "there was no progress for 10 min, so the rest expired."
        case _:
            assert_never(stopped)


def _bar(batch: Batch) -> str:
    """Return how many came out how, in one line."""
    known = [each.outcome for each in batch.items if each.outcome is not None]
    filled = BAR * len(known) // max(1, len(batch.items))
    return f"{'█' * filled}{'░' * (BAR - filled)} {len(known)} of {len(batch.items)}: {_counts(batch)}"


def _counts(batch: Batch) -> str:
    known = [each.outcome for each in batch.items if each.outcome is not None]
    well, halves = _well(batch), known.count(OutcomeKind.FIRST_OF_TWO)
    told = [f"{well} {RULES[batch.verb].done}"]
    told += [f"{halves} need{'s' if halves == 1 else ''} one more approval"] if halves else []
    told += [f"{skipped} skipped"] if (skipped := len(known) - well - halves) else []
    return ", ".join(told)


def _outcome(item: BatchItem, verb: Verb) -> Sequence[Element]:
    """Return the result of one decision, in a line."""
    rule = RULES[verb]
    if item.outcome is None:
        said = "not attempted"
    elif item.outcome == rule.done and not item.summary:
        said = rule.done
    else:
        named = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", item.outcome).lower()  # "NotAllowed", of the error's class
        said = item.summary or escape(named, 100)
    return [*node(item.node), *elements(f": {said}")]


def report(batch: Batch) -> list[Message]:
    """Return the result of every decision of a batch, for the thread, in as few messages as hold them."""
    done = RULES[batch.verb].done
    items = sorted(batch.items, key=lambda each: (each.outcome == done, each.number))  # what needs a look comes first
    chunks = [items[start : start + REPORT_LINES] for start in range(0, len(items), REPORT_LINES)]
    told = []
    for number, chunk in enumerate(chunks, start=1):
        of = f" ({number} of {len(chunks)})" if len(chunks) > 1 else ""
        stopped = f" {_stopped(batch)}" if batch.stopped else ""
        head = f"<@{batch.actor.user_id}>, results{of}: {_counts(batch)} of {len(batch.items)}.{stopped}"
        lines = [_outcome(each, batch.verb) for each in chunk]
        told.append(lines_message(head, lines))
    return told
