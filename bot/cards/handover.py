"""What has happened: within a shift, to a node, and to a remediation; for one person alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.cards import blocks, labels
from bot.cards.blocks import Element, Line, elements
from bot.cards.chooser import not_read
from bot.cards.faults import as_of
from bot.cards.listing import (
    LISTED,
    NOT_CONFIRMED,
    clusters_of,
    confirmed,
    entry,
    in_states,
    lines_message,
    mode_name,
    plural,
    returned_lines,
    since,
    with_rest,
)
from bot.cards.remediation_card import mention
from bot.daily import DailyTime
from bot.errors import OutcomeKind
from bot.models import (
    CLOCKS_DIFFER_BY,
    FINAL,
    OWN_COMMENT,
    RAN,
    RULES,
    Alert,
    CardContext,
    FaultReport,
    Message,
    PastDecision,
    Remediation,
    RemediationRef,
    State,
    Verb,
    folded,
    parts_of,
    unix,
)
from bot.mrkdwn import capital, clean, entities, escape, lasted, plain_when, when
from bot.parsing import COMMAND

SHIFT_SECONDS = 12 * 3600.0
_REVIEWS = {Verb.APPROVE, Verb.REJECT}  # Together keeps who decided of these
LONGEST_SHIFT = 48 * 3600.0  # since the evening before, with a change of clocks in between
UNWATCHED = "The bot doesn't watch clusters, so it doesn't know what happened there. Set BOT_ALERT_CHANNEL."


def shift_began(summary: DailyTime | None, now: float) -> float:
    """Return since when a shift is summed up: the evening before, where the day's summary names a time zone."""
    return summary.shift_began(now) if summary else now - SHIFT_SECONDS


def shift(  # noqa: PLR0913 - what a shift is summed up from
    alerts: Sequence[Alert],
    faults: Sequence[FaultReport],
    unreadable: Sequence[str],
    began: float,
    *,
    unread: tuple[float, float] = (0.0, 0.0),
    names: Mapping[str, str] | None = None,
) -> Message:
    """Return what has happened within a shift, and what is left of it.

    Args:
        alerts: all that may have changed since it began.
        faults: what fires without a repair.
        unreadable: the names of the clusters that can't be read now; "" for the list of clusters.
        began: when the shift began, as Unix time in seconds.
        unread: from when to when, the last time, nobody could know what began and ended; zeros for never.
        names: of people, raw, by user ID; without them, people are mentioned.
    """
    alerts = _with_earlier(alerts)
    opened = [alert for alert in alerts if max(since(alert), alert.waiting_since) >= began]
    running = [alert for alert in alerts if alert.as_told.is_under_way and not alert.is_unlisted]
    ended = [alert for alert in alerts if _over_at(alert) >= began]
    new = f"{len(opened) or 'no'} new {plural('remediation', len(opened))}. {_results(ended)}"
    count = sum(report.count for report in faults)
    unrepaired = f"Faults without a repair: {count}." if count else ""
    rest = [_decided(alerts, began), _often(opened), unrepaired, as_of(faults), not_read(unreadable)]
    if unread[1] > began:
        span = " and ".join(map(when, unread))
        rest.append(f"Together wasn't always read between {span}: repairs that started and ended then may be missing.")
    lines: list[Line] = [f"In repair now: {len(running)}."] if running else []
    if waiting := [alert for alert in alerts if alert.is_waiting and alert.as_told.is_waiting]:
        lines.append(elements(f"Waiting for approval: {len(waiting)}, oldest first", bold=True))
        lines += _lines(sorted(waiting, key=since))
    else:
        lines.append(f"Nothing is waiting for approval{', as far as Together could be read' if unreadable else ''}.")
    if failed := [alert for alert in ended if alert.remediation.state == State.FAILED]:
        lines += [elements("Failed", bold=True), *_lines(failed)]
    if returned := [alert for alert in alerts if alert.came_back and alert.came_back.at >= began]:
        lines += [elements("Didn't help", bold=True), *returned_lines(returned, LISTED)]
    lines += rest
    if names is not None:
        lines = [[_named(element, names) for element in elements(line)] for line in lines]
    return lines_message(f"Since {when(began)}: {new}", lines)


def _over_at(alert: Alert) -> float:
    """Return when it ended, as people were told; 0 while it hasn't."""
    if alert.is_unlisted:
        return alert.missing_since
    if alert.as_told.state not in FINAL:
        return 0.0
    return alert.remark.at if alert.is_stale and alert.remark else alert.remediation.ended_at


def people_in(message: Message) -> set[str]:
    """Return the user IDs of those whom a shift's message mentions."""
    parts = [element for block in message.blocks for part in block["elements"] for element in part["elements"]]
    return {element["user_id"] for element in parts if element["type"] == "user"}


def _with_earlier(alerts: Sequence[Alert]) -> list[Alert]:
    """Add the earlier repairs under the same IDs whose end was seen."""
    return [
        incident
        for alert in alerts
        for incident in (alert, *alert.earlier)
        if incident is alert or incident.remediation.state in RAN
    ]


def _named(element: Element, names: Mapping[str, str]) -> Element:
    if element["type"] != "user":
        return element
    return {"type": "text", "text": f"@{clean(names.get(element['user_id'], element['user_id']), 80)}"}


def repairs_of(name: str, alerts: Sequence[Alert]) -> Message:
    """Return the last ten remediations of a node: when, what, what it came to, who decided, and how long it took.

    Args:
        name: of the node, raw, as it was asked for.
        alerts: those of that node, the latest first.
    """
    if not alerts:
        known = "the bot has no record of a node with this name or instance ID in the last year."
        return lines_message(f"{escape(name, 100)}: {known}", [])
    nodes = {folded(alert.remediation.node): alert.remediation.node for alert in alerts}
    if len(nodes) > 1 and not any(alert.remediation.is_called(name) for alert in alerts):
        head = f"{escape(name, 100)}: several nodes have this name. Ask for one by its whole name."
        return lines_message(head, [escape(node, 100) for node in sorted(nodes.values())[:LISTED]])
    alerts = sorted(_with_earlier(alerts), key=since, reverse=True)
    many = f"the last {LISTED} of {len(alerts)}" if len(alerts) > LISTED else f"{len(alerts)}"
    order = ", latest first" if len(alerts) > 1 else ""
    head = f"{escape(alerts[0].remediation.node, 100)}: {many} {plural('remediation', len(alerts))}{order}"
    clusters = clusters_of(alerts)
    shown = clusters if len(clusters) > 1 else {}
    return lines_message(head, [_past(alert, shown.get(alert.cluster_id, "")) for alert in alerts[:LISTED]])


def _past(alert: Alert, cluster: str) -> Line:
    remediation = alert.remediation
    parts = [
        when(since(alert)),
        escape(cluster, 60),
        escape(mode_name(alert), 60),
        escape(labels.fault(remediation, is_brief=True), 80),
    ]
    parts += [_result(alert), confirmed(alert.as_of), _who(alert)]
    began = unix(remediation.start_time)
    if remediation.state in RAN and 0 < began < remediation.ended_at:  # else it began for an earlier incident
        parts.append(f"took {lasted(remediation.ended_at - began)}")
    return " · ".join(filter(None, parts))


def _result(alert: Alert) -> str:
    if back := alert.came_back:
        after = lasted(back.at - alert.remediation.succeeded_at)
        return "didn't help" if back.was_firing else f"came back after {after}"
    if alert.is_unlisted:
        return labels.WITHDRAWN[0].lower()
    state, _ = labels.state(alert.as_told.state, reviewed=alert.as_told.is_reviewed)
    return escape(state.lower(), 60)


def _who(alert: Alert) -> str:
    """Return who decided on it, as mentions where that was in Slack; empty where nobody is known."""
    remediation = alert.remediation
    return _deciders(alert) or ("automatic" if remediation.is_automatic else escape(remediation.reviewer, 80))


def _deciders(alert: Alert) -> str:
    """Return who decided on it in Slack, as mentions: as the bot knows, or as its comment in Together's record says."""
    if alert.decided:
        return f"{'' if alert.decided.is_sure else 'apparently '}{alert.decided.people}"
    return mention(alert.remediation.slack_reviewer)


def _results(ended: Sequence[Alert]) -> str:
    results = in_states("didn't help" if alert.came_back else _result(alert) for alert in ended)
    return f"Ended: {results}." if results else "None ended."


def _lines(alerts: Sequence[Alert]) -> list[Line]:
    """Return a line for each of the first ten: since when it waits, or why it failed and who approved it."""
    lines: list[Line] = []
    clusters = clusters_of(alerts)
    for alert in alerts[:LISTED]:
        remediation = alert.remediation
        parts = [
            escape(part, 60)
            for part in (clusters[remediation.cluster_id], mode_name(alert), labels.fault(remediation, is_brief=True))
        ]
        error = f"“{escape(remediation.error_message, 150)}”" if remediation.error_message else ""
        doubt = NOT_CONFIRMED if alert.is_in_doubt else ""
        waits = f"since {when(alert.waiting_since or since(alert))}"
        parts += [waits, confirmed(alert.as_of), doubt] if alert.is_waiting else [error, _who(alert)]
        lines.append(entry(remediation.node, *parts))
    return with_rest(lines, len(alerts))


def _decided(alerts: Sequence[Alert], began: float) -> str:
    """Return who has decided how often since then."""
    people = Counter[str]()
    for alert in alerts:
        remediation = alert.remediation
        reviewed = remediation.review_time if remediation.is_reviewed else None
        without_a_repair: dict[str, datetime | None] = {
            State.CANCELLED: remediation.end_time,
            State.AUTO_RESOLVED: None,
            State.PENDING_APPROVAL: None,
        }
        moment = reviewed or without_a_repair.get(remediation.state, remediation.start_time)
        at = alert.decided.at if alert.decided else unix(moment)
        if at >= began and (who := _deciders(alert)):
            people[who] += 1
        elif at >= began and not alert.is_waiting:
            people["automatic" if remediation.is_automatic else "in Together"] += 1
    counts = ", ".join(f"{who} {count}" for who, count in people.most_common())
    return f"Decided by: {counts}." if counts else ""


def _often(opened: Sequence[Alert]) -> str:
    """Return the nodes that had more than one remediation."""
    counts = Counter((alert.remediation.node, alert.cluster_id) for alert in opened)
    clusters = clusters_of(opened)
    often = [
        f"{escape(name, 60)}{f' in {escape(clusters[cluster_id], 60)}' if len(clusters) > 1 else ''} ({count})"
        for (name, cluster_id), count in counts.most_common(5)
        if count > 1
    ]
    return f"More than once: {', '.join(often)}." if often else ""


# One remediation.


def history(node: str, past: Sequence[PastDecision]) -> Message:
    """Return what was decided on a remediation, the latest first; `node` is raw."""
    name = escape(node, 100)
    if not past:
        return lines_message(f"{name}: no decisions through this bot yet.", [])
    return lines_message(f"{name}: decisions through this bot, latest first", [decision(one) for one in past])


def decision(past: PastDecision, what: str = "") -> str:
    """Return a decision in a line; `what` it was about is raw, and empty where that is clear."""
    about = f"{escape(what, 100)} · " if what else ""
    reason = f": “{escape(past.reason, 300)}”" if past.reason else ""
    return f"{when(past.at)} · {about}<@{past.user_id}> · {escape(_did(past), 90)}{reason}"


def _did(past: PastDecision) -> str:
    """Return a decision and its outcome, raw."""
    outcome = past.outcome
    if outcome == RULES[past.verb].done:
        return outcome if past.is_sure else f"apparently {outcome}"
    known = OutcomeKind(outcome).said if outcome in set(OutcomeKind) else ""  # another version may have more of them
    return f"{past.verb}: {known or outcome.replace('_', ' ')}"


def support(remediation: Remediation, past: Sequence[PastDecision]) -> Message:
    """Return what Together's support asks for, as plain text to copy: IDs, times, alerts, decisions."""
    mode = labels.mode(remediation.mode).name
    lines = [
        f"Remediation {remediation.id}: {mode} ({remediation.mode}), state {remediation.state}",
        f"Cluster {remediation.cluster_id}, instance {remediation.instance_id}, node {remediation.node}",
    ]
    moments = (
        ("Created", remediation.create_time), ("Reviewed", remediation.review_time),
        ("Started", remediation.start_time), ("Ended", remediation.end_time), ("Updated", remediation.update_time),
    )  # fmt: skip
    lines += [f"{name} {plain_when(moment)}" for name, moment in moments if moment]
    words = (
        ("Requested by", remediation.requested_by), ("Reviewed by", remediation.reviewed_by),
        ("Review comment", remediation.review_comment), ("Reason", remediation.reason),
        ("Error", remediation.error_message),
    )  # fmt: skip
    lines += [f"{name}: {value}" for name, value in words if value]
    lines += [f"Alert {alert}" for alert in labels.plain_alerts(remediation)]
    lines += [
        f"{plain_when(decision.at)}: {decision.verb} by {decision.user_id} in Slack: {decision.outcome}"
        f"{'' if decision.is_sure else ', apparently'}"
        for decision in past
    ]
    return _to_copy(lines)


def _to_copy(raw: Sequence[str]) -> Message:
    """Return raw lines as a message to copy from."""
    lines = [clean(line, 400) for line in raw]
    return Message(blocks.story(map(entities, lines)), blocks.preformatted(lines))


def timeline(remediation: Remediation, about: CardContext, past: Sequence[PastDecision]) -> Message:
    """Return what happened and when, as Markdown to copy into a postmortem."""
    mode, state = labels.mode(remediation.mode).name, labels.state(remediation.state)[0]
    ended = f"{'Repair ended' if remediation.state in RAN else 'Ended without a repair'}: {state}"
    error = f" ({remediation.error_message})" if remediation.error_message else ""
    opened, started = remediation.create_time, remediation.start_time
    is_its = not remediation.is_waiting and unix(started) >= unix(opened) - CLOCKS_DIFFER_BY
    reviewed = remediation.review_time if remediation.is_reviewed else None
    moments = [
        (opened, "Remediation created"),
        (started if is_its else None, "Repair started"),
        (remediation.ended, f"{ended}{error}"),
    ]
    comment = remediation.review_comment or ""
    own = OWN_COMMENT.fullmatch(comment)
    if not own:
        who = f"Reviewed by {remediation.reviewed_by or 'somebody'} in Together"
        moments.append((reviewed, f"{who}: {comment}" if comment else who))
    elif not any(decision.outcome == RULES[decision.verb].done and decision.verb in _REVIEWS for decision in past):
        moments.append((reviewed, own[1]))
    for alert in remediation.linked_alerts:
        fault = labels.alert_line(alert)
        moments += [(alert.started_at, f"Alert: {fault}"), (alert.resolved_at, f"Alert cleared: {fault}")]
    happened = [(unix(moment), what) for moment, what in moments if moment]
    for decision in past:
        why = f": {decision.reason}" if decision.reason else ""
        happened.append((decision.at, f"{capital(_did(decision))} by {decision.user_id} in Slack{why}"))
    if back := about.came_back:
        happened.append((back.at, f"{back.fault} {'still fired' if back.was_firing else 'came back'}"))
    lines = [f"### {remediation.node} ({labels.cluster(remediation, about.share)}): {mode}, {state.lower()}", ""]
    return _to_copy(lines + [f"- {plain_when(at)}: {what}" for at, what in sorted(happened)])


def copyable(ref: RemediationRef) -> Message:
    """Return the IDs, each to be copied alone, and together as the command takes them."""
    ids = parts_of(ref)
    named = zip(("Cluster", "Instance", "Remediation"), ids, strict=True)
    lines = [[*elements(f"{name}: "), *elements(escape(value, 300), code=True)] for name, value in named]
    lines.append([*elements("To cancel it: "), *elements(escape(f"{COMMAND} {' '.join(ids)}", 900), code=True)])
    return lines_message("IDs to copy", lines)
