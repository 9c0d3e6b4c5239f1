"""What says that something is broken, and no repair is open."""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.cards import blocks, listing
from bot.cards.blocks import Element, elements
from bot.cards.evidence import common_fault, severity_and_fault
from bot.cards.listing import plural
from bot.cards.pause import resume_button
from bot.cards.remediation_card import mention
from bot.models import QUIET_SECONDS, Fault, FaultReport, Message
from bot.mrkdwn import escape, lasted, when


def unrepaired(cluster_id: str, report: FaultReport, overdue: Sequence[Fault], called: str) -> Message:
    """Return what is wrong in a cluster: approvals that paused automatically, and critical alerts without a repair.

    Args:
        overdue: alerts to tell of.
        called: a user or group ID to mention; empty for nobody.
    """
    where, count = escape(report.cluster, 100), len({each.alert.node for each in overdue})
    lines = _brake_lines(report)
    if overdue:
        what = common_fault(each.alert for each in overdue) or "critical faults"
        lines.append(elements(f"{_nodes(overdue)} ({where}): {what}, and no repair is open ⚠️", bold=True))
        lines += _first(overdue)
        lines.append(elements(f"Check {'it' if count == 1 else 'them'}, or request a repair in Together."))
    if called and (overdue or report.brake_key):
        lines.append(elements(f"On call: {mention(called)}"))
    told = _message(lines)
    if not report.brake_key:
        return told
    return replace(told, blocks=[*told.blocks, blocks.actions([resume_button(cluster_id)])])


def more_unrepaired(report: FaultReport, faults: Sequence[Fault], seconds: float, called: str) -> Message:
    """Return, for the thread, what has come since: the brake, and alerts that fire for `seconds` or longer too."""
    lines = _brake_lines(report)
    if faults:
        lines.append(elements(f"{_nodes(faults)}: critical for {lasted(seconds)} or longer, and no repair is open."))
        lines += _first(faults)
    return _message([*lines, *([elements(mention(called))] if called else [])])


def repaired(report: FaultReport, now: float) -> Message:
    """Return what the message says once nothing of it is left; `now` in Unix time in seconds."""
    message = report.message
    told = ["Approvals aren't paused any more"] if message and message.has_brake else []
    if message is None or message.has_faults:
        told.append("Together lists no critical fault without a repair")
    return _message([elements(f"{escape(report.cluster, 100)}: {', and '.join(told)}, {when(now)} ✅", bold=True)])


def _brake_lines(report: FaultReport) -> list[list[Element]]:
    """Return why approvals paused automatically, and how they resume; or who resumed them."""
    brake = report.brake
    if brake is None:
        return []
    # Together's list of a cluster's nodes may lag behind.
    nodes = brake.nodes if brake.nodes and brake.nodes >= brake.broken else 0
    of = f" of {nodes}" if nodes else ""
    where, broken = escape(report.cluster, 100), f"{brake.broken}{of} {plural('node', nodes or brake.broken)}"
    if not brake.is_latched:
        who, why = f"<@{brake.resumed_by}>", escape(brake.resumed_because, 300)
        return [elements(f"{where}: approvals resumed by {who}: “{why}”. {broken} broken.", bold=True)]
    fault, count = brake.cause
    cause = f"Most common: {escape(fault, 80)}, on {count}. " if fault else ""
    quiet = f"{lasted(QUIET_SECONDS)} with fewer than {math.ceil(brake.limit / 2)} broken nodes"
    told = [
        f"{cause}If one switch or rack is the cause, repairing single nodes doesn't help. You can still cancel.",
        f"Any operator can resume, with a reason. Otherwise approvals resume after {quiet}.",
    ]
    head = f"{where}: {broken} broken at once. Approvals are paused automatically ⛔"
    return [elements(head, bold=True), *map(elements, told)]


def listed(reports: Sequence[FaultReport], most: int) -> tuple[str, list[list[Element]]]:
    """Return how many alerts fire without a repair, and a line for each of the first `most`, the oldest first."""
    found = sorted(((each.since, each, report.cluster) for report in reports for each in report.faults), key=_age)
    count = sum(each.count for each in reports)
    lines = [_line(each, cluster) for _, each, cluster in found[:most]]
    return f"Faults without a repair: {count}", listing.with_rest(lines, count)


def _age(found: tuple[float, Fault, str]) -> float:
    return found[0]


def _first(faults: Sequence[Fault]) -> list[list[Element]]:
    return listing.with_rest([_line(each) for each in faults[: listing.LISTED]], len(faults))


def _line(each: Fault, cluster: str = "") -> list[Element]:
    told = [escape(cluster, 60), severity_and_fault(each.alert), f"since {when(each.since)}"]
    return [*listing.node(each.alert.node or "unknown node"), *elements(f"  {' · '.join(filter(None, told))}")]


def _message(lines: Sequence[list[Element]]) -> Message:
    return Message(blocks.story([blocks.markup(each) for each in lines]), blocks.rich_texts(lines))


def _nodes(faults: Sequence[Fault]) -> str:
    """Return the names of the first nodes, escaped."""
    names = list(dict.fromkeys(each.alert.node or "unknown node" for each in faults))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - of them fit into a notification
    return f"{', '.join(escape(each, 60) for each in names[:3])}{more}"
