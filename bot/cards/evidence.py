"""What is broken, as Together's health checks and people say it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from bot.cards import labels
from bot.models import LinkedAlert, Remediation, State
from bot.mrkdwn import ago, clean, escape, plain_when

MAX_ALERTS = 3
MAX_XIDS = 4
_IN_A_WORD = {State.RUNNING: "For", State.SUCCEEDED: "Was", State.AUTO_RESOLVED: "Was"}  # before what is repaired
_FILLER = {
    "a", "an", "and", "at", "by", "for", "has", "in", "is", "of", "on", "seen", "the", "time", "times", "was", "with",
    "x",
}  # fmt: skip


def fault(remediation: Remediation, limit: int = 80, *, is_brief: bool = False) -> str:
    """Return what is broken in a few raw words, the same for the same fault; empty where nothing says."""
    alert = next(iter(remediation.linked_alerts), None)
    if alert is None:
        return clean(remediation.reason or "", limit)
    told = list(_what(alert, counts=False))
    return clean(told[0] if is_brief else ", ".join(told), limit)


def common_fault(alerts: Iterable[LinkedAlert], limit: int = 80) -> str:
    """Return what alerts have in common, escaped; empty where they are about different faults."""
    told = {", ".join(_what(each, counts=False)) for each in alerts}
    return escape(told.pop(), limit) if len(told) == 1 else ""


def most_common_fault(remediations: Iterable[Remediation]) -> tuple[str, int]:
    """Return what most of these are about, raw, and how many; empty and 0 where nothing says."""
    counted = Counter(found for each in remediations if (found := fault(each, is_brief=True)))
    return next(iter(counted.most_common(1)), ("", 0))


def broken(remediation: Remediation) -> tuple[list[str], list[str]]:
    """Return what is broken, with one alert in a line, and the lines of further alerts.

    A warning that has cleared is none while another alert fires. While it is repaired, one line says what, and
    afterwards what it was, and that it cleared where that is known.
    """
    error = remediation.error_message if remediation.state == State.FAILED else ""
    told = [f"Error: “{escape(error, 600)}”"] if error else []
    if remediation.linked_alerts and (word := _IN_A_WORD.get(remediation.state)):  # type: ignore[call-overload] # the set of states is open
        cleared_at = remediation.linked_alerts[0].resolved_at  # none fires then: one that does would be first
        cleared = f", cleared {ago(cleared_at)}" if cleared_at and remediation.state != State.RUNNING else ""
        return [*told, f"{word}: {escape(fault(remediation, 400), 400)}{cleared}"], []
    fires = any(each.resolved_at is None for each in remediation.linked_alerts)
    alerts = [each for each in remediation.linked_alerts if not (fires and each.is_cleared_warning)]
    lines = [_evidence(each) for each in alerts[:MAX_ALERTS]]
    if (left := len(alerts) - MAX_ALERTS) > 0:
        lines.append(f"…and {more_alerts(left)}")
    if lines:
        told.append(f"{lines[0]} · {more_alerts(len(alerts) - 1)}" if len(alerts) > 1 else lines[0])
    if remediation.reason and not _repeats(remediation):
        told.append(f"Reason: “{escape(remediation.reason, 400)}”")
    return told, lines[1:]


def more_alerts(count: int) -> str:
    """Return how many alerts are not shown."""
    return f"{count} more alert{'s' if count > 1 else ''}"


def _evidence(alert: LinkedAlert) -> str:
    """Return an alert in a line: severity, what is wrong, since when."""
    if alert.resolved_at:
        span = f"cleared {ago(alert.resolved_at)}"
    else:
        span = f"started {ago(alert.started_at)}" if alert.started_at else "still firing"
    return f"{severity_and_fault(alert)}, {span}"


def severity_and_fault(alert: LinkedAlert) -> str:
    """Return how bad an alert is, and what is wrong; escaped."""
    severity = labels.SEVERITIES.get(alert.severity or "", escape(alert.severity or "Alert", 30))
    return f"{severity}: {escape(', '.join(_what(alert)), 400)}"


def plain_alerts(remediation: Remediation) -> Iterator[str]:
    """Yield each alert in a raw line with its times, for those who look for it elsewhere."""
    for each in remediation.linked_alerts:
        moments = (("from", each.started_at), ("to", each.resolved_at))
        times = "".join(f" {word} {plain_when(moment)}" for word, moment in moments if moment)
        name, severity = each.alert_name or "without a name", each.severity or "no severity"
        yield f"{name} ({severity}){times}: {alert_line(each)}"


def alert_line(alert: LinkedAlert) -> str:
    """Return what an alert says is wrong, raw, on one line."""
    return ", ".join(_what(alert))


def _what(alert: LinkedAlert, *, counts: bool = True) -> Iterator[str]:
    """Yield what an alert says is wrong, raw: Xid codes, its title, why the node was drained."""
    about = alert.annotation
    title = clean((about and about.title) or alert.alert_name or "Unnamed alert", 120)
    events = about.xid.events if about and about.xid else []
    for event in events[:MAX_XIDS]:
        mnemonic = event.mnemonic or ""
        told = f" {mnemonic}" if _tokens(mnemonic) - _tokens(title) else ""
        yield clean(
            f"Xid {event.xid_code or '?'}{told}{f' ×{event.count}' if counts and (event.count or 0) > 1 else ''}", 80
        )
    if len(events) > MAX_XIDS:
        yield f"{len(events) - MAX_XIDS} more Xids"
    yield title
    if about and about.slurm_node_unavailable and about.slurm_node_unavailable.reason:
        yield clean(f"drained: {about.slurm_node_unavailable.reason}", 120)


def _tokens(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


def _repeats(remediation: Remediation) -> bool:
    """Return whether the reason says no more than the evidence."""
    known = _tokens(" ".join(" ".join(_what(each)) for each in remediation.linked_alerts).replace("×", " "))
    return bool(known) and _tokens((remediation.reason or "")[:2000]) <= known | _FILLER
