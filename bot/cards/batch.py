"""How a batch is going, and its results."""

from collections.abc import Collection, Sequence

from bot.cards.blocks import Element, elements
from bot.cards.groups import named
from bot.cards.listing import lines_message
from bot.errors import OutcomeKind
from bot.models import RULES, TROUBLES, Batch, BatchItem, Message, RemediationRef, StopReason, Verb
from bot.mrkdwn import escape, when

SHOWN = 3  # kinds of results beneath a selection in the channel; the thread has all
REPORT_LINES = 12  # which may be of 2,000 characters each
_WHY = {
    StopReason.NOT_ALLOWED: "couldn't confirm that <@{person}> is allowed to decide.",
    StopReason.REPAIR_LIMIT: "the cluster reached its repair limit. Approve the rest when a repair finishes.",
    StopReason.TROUBLE: f"Together failed {TROUBLES} times in a row. Try the rest again when it responds.",
    StopReason.PAUSED: "approvals are paused.",
    StopReason.PERSON: "<@{stopped_by}> stopped it.",
    StopReason.TOO_OLD: "there was no progress for 10 min, so the rest expired.",
    StopReason.OTHER: "another version of the bot stopped it.",
}


def progress_lines(batch: Batch, waiting: Collection[RemediationRef] | None = None) -> list[Sequence[Element]]:
    """Return how it goes or went, in a line, and what wasn't done and why.

    Args:
        waiting: what waits still; what no longer does is not named any more. None names all.
    """
    rule, known = RULES[batch.verb], [each for each in batch.items if each.outcome is not None]
    asked = f"<@{batch.actor.user_id}>, {when(batch.asked_at)}"
    head = f"{_counts(batch)} · {asked}"
    if batch.is_running:
        so_far = [f"{_well(batch)} {rule.done}", *_others(batch), f"{len(batch.items) - len(known)} to go"]
        head = f"{rule.doing.capitalize()} {len(batch.items)}, started by {asked}: {', '.join(so_far)}"
    lines: list[Sequence[Element]] = [elements(head, bold=True)]
    if stopped := _stopped(batch):
        lines.append(elements(stopped, bold=True))
    failed = [each for each in known if each.outcome != rule.done and (waiting is None or each.ref in waiting)]
    results = _results(failed, batch.verb)
    lines += results[:SHOWN]
    if len(results) > SHOWN:
        lines.append(elements(f"…and {len(results) - SHOWN} more results. All are in the thread when it has finished."))
    return lines


def _well(batch: Batch) -> int:
    return sum(each.outcome == RULES[batch.verb].done for each in batch.items)


def _counts(batch: Batch) -> str:
    """Return how many came out how."""
    return " · ".join([f"{_well(batch)} of {len(batch.items)} {RULES[batch.verb].done}", *_others(batch)])


def _others(batch: Batch) -> list[str]:
    known = [each.outcome for each in batch.items if each.outcome is not None]
    halves = known.count(OutcomeKind.FIRST_OF_TWO)
    skipped = len(known) - _well(batch) - halves
    told = [f"{halves} need{'s' if halves == 1 else ''} one more approval"] if halves else []
    return told + ([f"{skipped} skipped"] if skipped else [])


def _stopped(batch: Batch) -> str:
    """Return why the rest was left alone, and what can be done; empty where nothing was."""
    if not batch.stopped:
        return ""
    left = sum(each.is_left for each in batch.items)
    why = _WHY[batch.stopped].format(person=batch.actor.user_id, stopped_by=batch.stopped_by)
    return f"Stopped: {why} {left} not attempted."


def _results(items: Sequence[BatchItem], verb: Verb) -> list[Sequence[Element]]:
    """Return results, a line for all that have the same: the result first where it is short, else the nodes."""
    some: dict[str, list[str]] = {}
    for each in items:
        some.setdefault(_said(each, verb), []).append(each.node)
    return [_result(said, len(nodes), names) for said, nodes in some.items() for names in named(nodes)]


def _result(said: str, count: int, names: Element) -> Sequence[Element]:
    many = f" ({count})" if count > 1 else ""
    if said.endswith("."):
        return [names, *elements(f"{many}: {said}")]
    return [*elements(f"{said[0].upper()}{said[1:]}{many}: "), names]


def _said(item: BatchItem, verb: Verb) -> str:
    """Return the result of one decision, as trusted markup."""
    rule = RULES[verb]
    if item.outcome is None:
        return "not attempted"
    if item.outcome == rule.done and not item.summary:
        return rule.done
    return item.summary or escape(item.outcome.replace("_", " "), 100)


def report(batch: Batch) -> list[Message]:
    """Return the result of every decision of a batch, for the thread, in as few messages as hold them."""
    done = RULES[batch.verb].done
    items = sorted(batch.items, key=lambda each: (each.outcome == done, each.number))  # what needs a look comes first
    lines = _results(items, batch.verb)
    chunks = [lines[start : start + REPORT_LINES] for start in range(0, len(lines), REPORT_LINES)]
    stopped = f" {_stopped(batch)}" if batch.stopped else ""
    told = []
    for number, chunk in enumerate(chunks, start=1):
        of = f" ({number} of {len(chunks)})" if len(chunks) > 1 else ""
        head = f"<@{batch.actor.user_id}>, results{of}: {_counts(batch)}.{stopped}"
        told.append(lines_message(head, chunk))
    return told
