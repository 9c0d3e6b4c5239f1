"""Messages about what is broken while no repair is open for it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.cards import blocks, labels, listing
from bot.cards.blocks import Line, elements
from bot.cards.pause import resume_button
from bot.cards.remediation_card import mention, on_call
from bot.models import QUIET_SECONDS, Fault, FaultReport, Message
from bot.mrkdwn import escape, lasted, when

_UNREADABLE = "read Together's alerts"


def unrepaired(cluster_id: str, report: FaultReport, overdue: Sequence[Fault], called: str, as_of: float) -> Message:
    """Return what is wrong in a cluster: approvals that paused automatically, and critical alerts without a repair.

    Args:
        overdue: the alerts to show.
        called: a user or group ID to mention; empty for nobody.
        as_of: when the alerts were last read, where that is long ago, as Unix time in seconds; else 0.
    """
    where, them = escape(report.cluster, 100), _them(overdue)
    lines = _brake_lines(report)
    if overdue:
        problem = labels.common_fault(fault.alert for fault in overdue) or "critical faults"
        kept = [fault.alert for fault in report.faults if fault.alert.is_critical]
        others = max(0, report.nodes - len({alert.node for alert in kept}))  # whose alerts aren't kept
        head = f"{_nodes(overdue, others)} ({where}): {problem}, and no repair is open for {them} ⚠️"
        lines.append(elements(head, bold=True))
        lines += _first(overdue, len(overdue) + report.critical - len(kept))
        lines.append(f"Check {them}, or request a repair in Together.")
        lines.append(labels.as_of(as_of, _UNREADABLE) if as_of else "")
    if overdue or report.brake_key:
        lines.append(on_call(called))
    message = listing.message(lines)
    if not report.brake_key:
        return message
    return replace(message, blocks=[*message.blocks, blocks.actions([resume_button(cluster_id)])])


def more_unrepaired(report: FaultReport, faults: Sequence[Fault], seconds: float, called: str) -> Message:
    """Return, for the thread, what has come since: the brake, and alerts that fire for `seconds` or longer too."""
    lines = _brake_lines(report)
    if faults:
        long, them = lasted(seconds), _them(faults)
        lines.append(f"{_nodes(faults)}: critical, firing for {long} or longer, and no repair is open for {them}.")
        lines += _first(faults, len(faults))
    return listing.message([*lines, mention(called)])


def none_left(report: FaultReport, now: float, as_of: float) -> Message:
    """Return what the message says once nothing of it is left.

    Args:
        now: the present, as Unix time in seconds.
        as_of: when the alerts were last read, where that is long ago, as Unix time in seconds; else 0.
    """
    where = escape(report.cluster, 100)
    if not report.is_watched:
        return listing.message([elements(f"{where} isn't monitored any more, {when(now)}.", bold=True)])
    if as_of and not report.is_of_brake:
        head = elements(f"{where}: no critical fault without a repair is known", bold=True)
        return listing.message([head, labels.as_of(as_of, _UNREADABLE)])
    over = ["the storm brake is released"] if report.message and report.message.has_brake else []
    if not report.is_of_brake:
        over.append("Together lists no critical fault without a repair")
    return listing.message([elements(f"{where}: {', and '.join(over)}, {when(now)} ✅", bold=True)])


def _brake_lines(report: FaultReport) -> list[Line]:
    """Return why approvals paused automatically, and how they resume; or who resumed them."""
    brake = report.brake
    if brake is None:
        return []
    of = f" of {brake.total}" if brake.total else ""
    where = escape(report.cluster, 100)
    broken = f"{brake.peak}{of} {listing.plural('node', brake.peak)}"
    if not brake.is_latched:
        who, why = f"<@{brake.resumed_by}>", escape(brake.resumed_because, 300)
        return [elements(f"{where}: storm brake released by {who}: “{why}”. {broken} were broken.", bold=True)]
    fault, count = brake.cause
    cause = f"Most common: {escape(fault, 80)}, on {count}. " if fault else ""
    quiet = f"{lasted(QUIET_SECONDS)} with fewer than {math.ceil(brake.limit / 2)} broken nodes"
    advice = [
        f"{cause}If one switch or rack is the cause, repairing single nodes doesn't help. You can still cancel.",
        f"Any operator can resume, with a reason. Otherwise approvals resume after {quiet}.",
    ]
    head = f"{where}: {broken} broken at once. Approvals are paused automatically ⛔"
    return [elements(head, bold=True), *advice]


def listed(reports: Sequence[FaultReport], most: int) -> tuple[str, list[Line]]:
    """Return how many alerts fire without a repair, and a line for each of the first `most`, the oldest first."""
    entries = sorted(
        ((fault, report.cluster) for report in reports for fault in report.faults), key=lambda it: it[0].since
    )
    count = sum(report.count for report in reports)
    lines = listing.with_rest([_line(*entry) for entry in entries[:most]], count)
    return f"Faults without a repair: {count}", [*lines, *filter(None, [as_of(reports)])]


def as_of(reports: Sequence[FaultReport]) -> str:
    """Return the warning that what fires may be out of date, by the oldest reading; empty where all is recent."""
    old = [report.as_of for report in reports if report.count and report.as_of]
    return labels.as_of(min(old), _UNREADABLE) if old else ""


def _first(faults: Sequence[Fault], count: int) -> list[Line]:
    return listing.with_rest([_line(fault) for fault in faults[: listing.LISTED]], count)


def _line(fault: Fault, cluster: str = "") -> Line:
    since = f"since {when(fault.alert.started_at or fault.since)}"
    parts = escape(cluster, 60), labels.severity_and_fault(fault.alert), since
    return listing.entry(fault.alert.node or "unknown node", *parts)


def _them(faults: Sequence[Fault]) -> str:
    return "it" if len({fault.alert.node for fault in faults}) == 1 else "them"


def _nodes(faults: Sequence[Fault], others: int = 0) -> str:
    """Return the names of the first nodes, escaped, and how many more and `others` there are."""
    names = list(dict.fromkeys(fault.alert.node or "unknown node" for fault in faults))
    return listing.first_of(names, 3, 60, others)  # three fit into a notification
