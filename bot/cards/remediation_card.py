"""The remediation card: one pure function from a `Remediation` to a Slack message."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, assert_never

from bot.cards import parts, words
from bot.models import (
    RULES,
    Decided,
    LinkedAlert,
    Message,
    Remediation,
    RemediationRef,
    Verb,
    button_value,
    reference_value,
)
from bot.mrkdwn import clean, code, escape, plain_when, when

MAX_ALERTS = 5
MAX_XIDS = 4


def card(
    remediation: Remediation, *, decided: Decided | None = None, notice: str = "", buttons: bool = True
) -> Message:
    """Draw a remediation in whatever state it is.

    Args:
        remediation: as Together answered it; every text in it is escaped and cut.
        decided: who decided through Slack, when that led to this card.
        notice: what the reader must know before anything else; trusted mrkdwn.
        buttons: the buttons that the state allows. Without them the card offers "Check again" alone, for when it is
            not certain that it is true.
    """
    mode = words.mode_words(remediation.mode)
    state, symbol = words.state_words(remediation.state, reviewed=_is_reviewed(remediation))
    title = clean(f"{state}: {mode.name} on {words.node(remediation)}", 140)
    blocks = [
        {"type": "header", "text": parts.plain(f"{title} {symbol}")},
        *([parts.section(f"*{notice}*")] if notice else []),
        parts.section(f"*Mode: {escape(mode.name, 80)}*. {escape(words.consequence(remediation), 250)}"),
        {"type": "section", "fields": [parts.mrkdwn(f"*{label}*\n{value}") for label, value in _fields(remediation)]},
        *(parts.section(f"*{label}*\n{value}") for label, value in _paragraphs(remediation)),
        *([parts.context(_decided(decided))] if decided else []),
        ids(remediation.ref),
        *_actions(remediation, buttons=buttons),
    ]
    return Message(text=_story(remediation, decided, notice), blocks=blocks)


def ids(ref: RemediationRef) -> dict[str, Any]:
    """The three IDs, each as code that can be copied."""
    return parts.context(
        f"cluster {code(ref.cluster_id, 900)}",
        f"instance {code(ref.instance_id, 900)}",
        f"remediation {code(ref.remediation_id, 900)}",
    )


def _is_reviewed(remediation: Remediation) -> bool:
    return bool(remediation.reviewed_by or remediation.review_time)


def _fields(remediation: Remediation) -> list[tuple[str, str]]:
    """Two columns, at most ten fields (docs.slack.dev, section block)."""
    trigger = words.TRIGGERS.get(remediation.trigger)
    rows: list[tuple[str, str | None]] = [
        ("Node", code(words.node(remediation), 300)),
        ("Cluster", code(remediation.cluster_id, 300)),
        ("Trigger", trigger or escape(remediation.trigger, 100) or "unknown"),
        ("Requested by", escape(remediation.requested_by or "", 200)),
        ("Reviewed in Together by", escape(remediation.reviewed_by or "", 200)),
    ]
    rows += [(label, when(moment)) for label, moment in _times(remediation) if moment]
    return [(label, value) for label, value in rows if value]


def _times(remediation: Remediation) -> list[tuple[str, datetime | None]]:
    return [
        ("Created", remediation.create_time),
        ("Reviewed", remediation.review_time),
        ("Started", remediation.start_time),
        ("Ended", remediation.end_time),
    ]


def _paragraphs(remediation: Remediation) -> Iterator[tuple[str, str]]:
    if remediation.error_message:
        yield "Error", f"> {escape(remediation.error_message, 800)}"
    if remediation.reason:
        yield "Reason", f"> {escape(remediation.reason, 500)}"
    if remediation.linked_alerts:
        lines = [_evidence(alert) for alert in remediation.linked_alerts[:MAX_ALERTS]]
        if more := len(remediation.linked_alerts) - MAX_ALERTS:
            lines += [f"… and {more} more"] if more > 0 else []
        yield "Evidence", "\n".join(lines)
    if remediation.review_comment:
        yield "Review comment", f"> {escape(remediation.review_comment, 600)}"


def _evidence(alert: LinkedAlert) -> str:
    """One alert in at most 500 characters: severity, title, Xid codes, drain reason, firing or cleared."""
    severity = words.SEVERITIES.get(alert.severity or "", escape(alert.severity or "Alert", 30))
    started, resolved = alert.started_at, alert.resolved_at
    span = f"firing since {when(started)}" if started else "firing"
    if resolved:
        span = f"cleared {when(resolved)}"
    details = [escape(_title(alert), 120), *(escape(each, 80) for each in _details(alert))]
    return f"{severity}: {'; '.join(details)}; {span}"


def _title(alert: LinkedAlert) -> str:
    return (alert.annotation and alert.annotation.title) or alert.alert_name or "unnamed alert"


def _details(alert: LinkedAlert) -> list[str]:
    about = alert.annotation
    if about is None:
        return []
    events = about.xid.events if about.xid else []
    found = [
        f"Xid {event.xid_code or '?'}"
        + (f" {event.mnemonic}" if event.mnemonic else "")
        + (f" × {event.count}" if event.count else "")
        for event in events[:MAX_XIDS]
    ]
    if len(events) > MAX_XIDS:
        found[-1] += f" and {len(events) - MAX_XIDS} more Xids"
    drained = about.slurm_node_unavailable.reason if about.slurm_node_unavailable else None
    return found + ([f"drained: {drained}"] if drained else [])


def _decided(decided: Decided) -> str:
    reason = f": {escape(decided.reason, 1000)}" if decided.reason else ""
    return f"{RULES[decided.verb].done.capitalize()} in Slack by <@{decided.user_id}> {when(decided.at)}{reason}"


def _actions(remediation: Remediation, *, buttons: bool) -> list[dict[str, Any]]:
    value = button_value(remediation)
    if not buttons or len(value) > parts.MAX_VALUE:
        return [parts.check_again(reference_value(remediation.ref))]
    allowed = [verb for verb, rule in RULES.items() if rule.on_card and remediation.state in rule.allowed]
    return [parts.actions([_button(verb, remediation, value) for verb in allowed])] if allowed else []


def _button(verb: Verb, remediation: Remediation, value: str) -> dict[str, Any]:
    """A verb's button. One that decides asks back first, and says what comes of it."""
    button = parts.button(verb, value)
    name = clean(words.node(remediation), 60)
    stays = f"The node stays as it is, broken or not. {words.COOLDOWN}"
    match verb:
        case Verb.APPROVE:
            mode = words.mode_words(remediation.mode)
            button["style"] = "primary"
            dialog = (f"{mode.name} {name}?", f"{mode.consequence} {words.DRAIN}", "Approve", "Not now")
        case Verb.CANCEL:
            approved = "It has been approved already. " if _is_reviewed(remediation) else ""
            dialog = (f"Cancel the remediation of {name}?", f"{approved}{stays}", "Cancel remediation", "Keep it")
        case Verb.REJECT:
            dialog = (f"Reject the remediation of {name}?", stays, "Reject", "Keep it")
        case Verb.REFRESH:
            return button
        case _:
            assert_never(verb)
    title, text, yes, no = dialog
    button["confirm"] = {
        "title": parts.plain(clean(title, 100)),
        "text": parts.plain(clean(text, 300)),
        "confirm": parts.plain(yes),
        "deny": parts.plain(no),
    }
    return button


def _story(remediation: Remediation, decided: Decided | None, notice: str) -> str:
    """The whole card as one text of at most 4,000 characters: screen readers read it instead of the blocks."""
    mode = words.mode_words(remediation.mode)
    state, _ = words.state_words(remediation.state, reviewed=_is_reviewed(remediation))
    told = [
        notice,
        f"{escape(state, 90)}: {escape(mode.name, 80)} on node {escape(words.node(remediation), 300)}.",
        f"Cluster {escape(remediation.cluster_id, 250)}.",
        escape(words.consequence(remediation), 250),
        f"Error: {escape(remediation.error_message, 400)}." if remediation.error_message else "",
        f"Reason: {escape(remediation.reason, 250)}." if remediation.reason else "",
        *(
            f"Evidence: {escape(_title(alert), 100)}{', cleared' if alert.resolved_at else ', firing'}"
            f"{''.join(f', {escape(each, 60)}' for each in _details(alert)[:2])}."
            for alert in remediation.linked_alerts[:3]
        ),
        f"Trigger: {words.TRIGGERS.get(remediation.trigger) or escape(remediation.trigger, 60) or 'unknown'}.",
        f"Requested by {escape(remediation.requested_by, 100)}." if remediation.requested_by else "",
        f"Reviewed in Together by {escape(remediation.reviewed_by, 100)}." if remediation.reviewed_by else "",
        f"Review comment: {escape(remediation.review_comment, 150)}." if remediation.review_comment else "",
        f"{RULES[decided.verb].done.capitalize()} in Slack by <@{decided.user_id}>." if decided else "",
        f"Slack reason: {escape(decided.reason, 200)}." if decided and decided.reason else "",
        *(f"{label} {plain_when(moment)}." for label, moment in _times(remediation) if moment),
        f"Instance {escape(remediation.instance_id, 250)}, remediation {escape(remediation.id, 250)}.",
    ]
    return " ".join(each for each in told if each)
