"""The remediation card: one pure function from a `Remediation` to a Slack message."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, assert_never

from bot.cards import parts, words
from bot.cards.pause import pause_line
from bot.models import (
    HISTORY_DAYS,
    RULES,
    About,
    Decided,
    History,
    LinkedAlert,
    Message,
    Remediation,
    RemediationRef,
    Share,
    State,
    Verb,
    button_value,
    reference_value,
)
from bot.mrkdwn import ago, clean, code, escape, plain_when, when

MAX_ALERTS = 5
MAX_XIDS = 4
RELEASE = "release"
HOLDS = (("30 min", "1800"), ("1 h", "3600"), ("4 h", "14400"), ("Until I release it (at most 24 h)", "86400"))


def card(
    remediation: Remediation,
    *,
    decided: Decided | None = None,
    notice: str = "",
    buttons: bool = True,
    about: About | None = None,
) -> Message:
    """Draw a remediation in whatever state it is.

    Args:
        remediation: as Together answered it; every text in it is escaped and cut.
        decided: who decided through Slack, when that led to this card.
        notice: what the reader must know before anything else; trusted mrkdwn.
        buttons: the buttons that the state allows. Without them the card offers "Check again" alone, for when it is
            not certain that it is true.
        about: what the bot knows of the node, the cluster and what people have agreed.
    """
    about = about or About()
    mode = words.mode_words(remediation.mode)
    state, symbol = ("Withdrawn", "💨") if about.vanished else _state(remediation)
    title = clean(f"{state}: {mode.name} for {words.node(remediation)}", 140)
    blocks = [
        {"type": "header", "text": parts.plain(f"{title} {symbol}")},
        *([parts.section(f"*{notice}*")] if notice else []),
        *(parts.section(f"*{line}*") for line in _agreed(remediation, about)),
        parts.section(f"*Mode: {escape(mode.name, 80)}*. {escape(_consequence(remediation, about), 250)}"),
        {
            "type": "section",
            "fields": [parts.mrkdwn(f"*{label}*\n{value}") for label, value in _fields(remediation, about)],
        },
        *(parts.section(f"*{label}*\n{value}") for label, value in _paragraphs(remediation, about)),
        *([parts.context(_decided(decided))] if decided else []),
        ids(remediation.ref),
        *_actions(remediation, about, buttons=buttons),
    ]
    return Message(text=_story(remediation, decided, notice, about), blocks=blocks)


def ids(ref: RemediationRef) -> dict[str, Any]:
    """The three IDs, each as code that can be copied."""
    return parts.context(
        f"cluster {code(ref.cluster_id, 900)}",
        f"instance {code(ref.instance_id, 900)}",
        f"remediation {code(ref.remediation_id, 900)}",
    )


def _state(remediation: Remediation) -> tuple[str, str]:
    return words.state_words(remediation.state, reviewed=remediation.is_reviewed)


def _consequence(remediation: Remediation, about: About) -> str:
    if about.vanished:
        return "Together lists it no longer, so there is nothing to decide. Should it come back, this card says so."
    return words.consequence(remediation)


def _waits(remediation: Remediation, about: About) -> bool:
    return remediation.state == State.PENDING_APPROVAL and not about.vanished


def _agreed(remediation: Remediation, about: About) -> Iterator[str]:
    """How old this is, where that matters, and what people have said about it so far; as trusted mrkdwn."""
    if about.as_of:
        yield words.as_of(about.as_of)
    if not _waits(remediation, about):
        return
    if about.pause:
        yield pause_line(about.pause)
    if about.hold:
        others = "".join(f", <@{each.user_id}> until {when(each.until)}" for each in about.hold.others)
        yield f"On hold until {when(about.hold.until)}: <@{about.hold.user_id}> asks to wait{others}."
    if about.first and about.first.counts_for(remediation):
        first = f"<@{about.first.user_id}> approved {when(about.first.at)}"
        yield f"First of two approvals: {first}. Another person must approve too."


def _history(history: History) -> str:
    """This node's repairs in one sentence."""
    if history.repairs == 0:
        return f"First repair in {HISTORY_DAYS} days."
    number = words.ordinal(history.repairs + 1)
    last = ""
    if history.last_mode is not None:
        mode = escape(words.mode_words(history.last_mode).name, 80)
        state = escape(words.state_words(history.last_state or "")[0].lower(), 80)
        last = f" The last: {mode}, {state}{f' {ago(history.last_at)}' if history.last_at else ''}."
    return f"{number.capitalize()} repair in {HISTORY_DAYS} days.{last}"


def _share(share: Share) -> str:
    """How much of the cluster is in repair, in one sentence."""
    of = f"{share.in_repair} of {share.nodes}" if share.nodes else f"{share.in_repair}"
    nodes = "node was" if (share.nodes or share.in_repair) == 1 else "nodes were"
    return f"{of} {nodes} in repair {when(share.at)}."


def _fields(remediation: Remediation, about: About) -> list[tuple[str, str]]:
    """Two columns, at most ten fields (docs.slack.dev, section block)."""
    trigger = words.TRIGGERS.get(remediation.trigger)
    rows: list[tuple[str, str | None]] = [
        ("Node", code(words.node(remediation), 300)),
        ("Cluster", code(remediation.cluster_id, 300)),
        ("Trigger", trigger or escape(remediation.trigger, 100) or "unknown"),
        ("Requested by", escape(remediation.requested_by or "", 200)),
        ("Reviewed in Together by", escape(remediation.reviewed_by or "", 200)),
    ]
    if remediation.create_time and about.followed and _waits(remediation, about):
        rows.append(("Waiting since", ago(remediation.create_time)))
    rows += [(label, when(moment)) for label, moment in _times(remediation) if moment]
    return [(label, value) for label, value in rows if value]


def _times(remediation: Remediation) -> list[tuple[str, datetime | None]]:
    return [
        ("Created", remediation.create_time),
        ("Reviewed", remediation.review_time),
        ("Started", remediation.start_time),
        ("Ended", remediation.end_time),
    ]


def _paragraphs(remediation: Remediation, about: About) -> Iterator[tuple[str, str]]:
    if remediation.error_message:
        yield "Error", f"> {escape(remediation.error_message, 800)}"
    if remediation.reason:
        yield "Reason", f"> {escape(remediation.reason, 500)}"
    if remediation.linked_alerts:
        lines = [_evidence(alert) for alert in remediation.linked_alerts[:MAX_ALERTS]]
        if more := len(remediation.linked_alerts) - MAX_ALERTS:
            lines += [f"… and {more} more"] if more > 0 else []
        for number, page in enumerate(parts.pages(lines, limit=parts.MAX_TEXT - 50)):
            yield "Evidence" if number == 0 else "More evidence", page
    if about.history:
        yield "This node", _history(about.history)
    if about.share and _waits(remediation, about):
        yield "The cluster", _share(about.share)
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


def first_evidence(remediation: Remediation) -> str:
    """The evidence in a few raw words, for a list of many; empty where there is none."""
    alert = next(iter(remediation.linked_alerts), None)
    if alert is None:
        return clean(remediation.reason or "", 80)
    return clean(next(iter(_details(alert)), _title(alert)), 80)


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


def _actions(remediation: Remediation, about: About, *, buttons: bool) -> list[dict[str, Any]]:
    if about.vanished:
        return []
    value = button_value(remediation)
    if not buttons or len(value) > parts.MAX_VALUE:
        return [parts.check_again(reference_value(remediation.ref))]
    allowed = [verb for verb, rule in RULES.items() if _is_offered(verb, about) and remediation.state in rule.allowed]
    controls = [
        _hold_menu(about) if verb is Verb.HOLD else _button(verb, remediation, value, about) for verb in allowed
    ]
    return [parts.actions(controls)] if allowed else []


def _is_offered(verb: Verb, about: About) -> bool:
    return about.followed if verb is Verb.HOLD else RULES[verb].on_card


def _hold_menu(about: About) -> dict[str, Any]:
    """For how long. The value of the buttons beside it says of what; an option of a menu is too short for that."""
    choices = [*HOLDS, *([("Release hold", RELEASE)] if about.hold else [])]
    return {
        "type": "static_select",
        "action_id": Verb.HOLD.action_id,
        "placeholder": parts.plain("Hold"),
        "options": [{"text": parts.plain(text), "value": chosen} for text, chosen in choices],
    }


def _button(verb: Verb, remediation: Remediation, value: str, about: About) -> dict[str, Any]:
    """A verb's button. One that decides asks back first, and says what comes of it."""
    button = parts.button(verb, value)
    name = clean(words.node(remediation), 60)
    stays = f"The node stays as it is, broken or not. {words.COOLDOWN}"
    match verb:
        case Verb.APPROVE:
            mode = words.mode_words(remediation.mode)
            button["style"] = "primary"
            held = "Somebody asks to wait: see the hold above. " if about.hold else ""
            dialog = (f"{mode.name} for {name}?", f"{held}{mode.consequence} {words.DRAIN}", "Approve", "Not now")
        case Verb.CANCEL:
            approved = "It has been approved already. " if remediation.is_reviewed else ""
            dialog = (f"Cancel the remediation of {name}?", f"{approved}{stays}", "Cancel remediation", "Keep it")
        case Verb.REJECT:
            dialog = (f"Reject the remediation of {name}?", stays, "Reject", "Keep it")
        case Verb.REFRESH | Verb.HOLD | Verb.RELEASE:
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


def _story(remediation: Remediation, decided: Decided | None, notice: str, about: About) -> str:
    """The whole card as one text of at most 4,000 characters: screen readers read it instead of the blocks."""
    mode = words.mode_words(remediation.mode)
    state = "Withdrawn" if about.vanished else _state(remediation)[0]
    told = [
        notice,
        *_agreed(remediation, about),
        f"{escape(state, 90)}: {escape(mode.name, 80)} for node {escape(words.node(remediation), 300)}.",
        f"Cluster {escape(remediation.cluster_id, 250)}.",
        escape(_consequence(remediation, about), 250),
        f"Error: {escape(remediation.error_message, 400)}." if remediation.error_message else "",
        f"Reason: {escape(remediation.reason, 250)}." if remediation.reason else "",
        *(
            f"Evidence: {escape(_title(alert), 100)}{', cleared' if alert.resolved_at else ', firing'}"
            f"{''.join(f', {escape(each, 60)}' for each in _details(alert)[:2])}."
            for alert in remediation.linked_alerts[:3]
        ),
        f"This node: {_history(about.history)}" if about.history else "",
        f"The cluster: {_share(about.share)}" if about.share and _waits(remediation, about) else "",
        f"Trigger: {words.TRIGGERS.get(remediation.trigger) or escape(remediation.trigger, 60) or 'unknown'}.",
        f"Requested by {escape(remediation.requested_by, 100)}." if remediation.requested_by else "",
        f"Reviewed in Together by {escape(remediation.reviewed_by, 100)}." if remediation.reviewed_by else "",
        f"Review comment: {escape(remediation.review_comment, 150)}." if remediation.review_comment else "",
        f"{RULES[decided.verb].done.capitalize()} in Slack by <@{decided.user_id}>." if decided else "",
        f"Slack reason: {escape(decided.reason, 200)}." if decided and decided.reason else "",
        *(f"{label} {plain_when(moment)}." for label, moment in _times(remediation) if moment),
        f"Instance {escape(remediation.instance_id, 250)}, remediation {escape(remediation.id, 250)}.",
    ]
    return parts.story([each for each in told if each], " ")
