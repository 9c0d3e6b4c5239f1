"""A digest: many remediations in one message."""

from collections.abc import Iterator, Mapping, Sequence

from bot.cards import blocks, labels
from bot.cards.blocks import Element, Line, elements
from bot.cards.config import CardConfig
from bot.cards.listing import (
    LISTED,
    Firsts,
    Group,
    Names,
    blast_radius,
    cluster_of,
    clusters_of,
    counted,
    entry,
    first_of,
    grouped,
    half_approved,
    in_states,
    lines_message,
    mode_name,
    named,
    names,
    node,
    nodes_of,
    plural,
    since,
    with_rest,
)
from bot.cards.pause import pause_line
from bot.cards.remediation_card import calling_line, looking_line, mention, on_call
from bot.cards.review import REPORT_LINES, controls, progress_lines, stop_button
from bot.models import (
    Alert,
    Batch,
    Blocks,
    FirstApproval,
    Json,
    Message,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
    waiting,
)
from bot.mrkdwn import capital, clean, escape, lasted, when

_RUNNING = 12  # selections that are shown while they run: a message holds 50 blocks
NAMES = 120  # characters of the names of a group's nodes; the dialog has all
_DELETES = elements("⚠️ Deletes local data:", bold=True)


def draw(shown: Snapshot, config: CardConfig) -> Message:
    """Return the message of a digest."""
    of = shown.message
    alerts = shown.alerts
    batches = shown.batches
    pause = shown.pause
    if of.is_started and not waiting(alerts):
        return _started(shown)
    open_ones = shown.undecided
    failed = [alert for alert in alerts if alert.remediation.state == State.FAILED and not alert.is_unlisted]
    title = _title(of, alerts, open_ones, len(failed))
    running, ended = ([batch for batch in batches if batch.is_running is state] for state in (True, False))
    clusters = clusters_of(alerts)
    # The bot decides nothing there.
    observed = {cluster_id: name for cluster_id, name in clusters.items() if config.observes(cluster_id)}
    decidable = sum(alert.cluster_id not in observed for alert in open_ones)
    some_observed = f"The bot only observes {first_of(sorted(observed.values()), 5, 60)}: decide there in Together."
    warnings, called = [_as_of(alerts)], ""
    if open_ones:
        called = on_call(of.mentioned)
        warnings += [labels.OBSERVED if observed == clusters else some_observed] if observed else []
        warnings += [pause_line(pause)] if pause and decidable else []
        warnings += [looking_line(of.looking)] if of.looking else []

    def told_of(batch: Batch) -> set[RemediationRef]:
        over = {item.ref for item in batch.items if item.holds_until <= shown.now}
        return {alert.ref for alert in open_ones if alert.as_of or alert.is_stale or alert.ref not in over}

    states = _others(shown)
    groups = grouped(open_ones)
    half = half_approved(open_ones, shown.firsts, config)
    listed = _groups(groups, names(alerts), half) if groups else _lines(failed, alerts)
    cause = _cause(open_ones, groups)
    drawn = [
        *blocks.paragraphs(cause),
        *blocks.paragraphs(*warnings, bold=True),
        *_running(running),
        *controls(of, len(open_ones), decidable, running[-1] if running else None, pause),
        *blocks.rich_texts(listed),
        *blocks.paragraphs(states),
        *(block for batch in ended[-3:] for block in blocks.rich_texts(progress_lines(batch, told_of(batch)))),
        *blocks.paragraphs(called),
    ]
    texts = [cause, *warnings, *_listed(listed, called), states]
    is_well = not (failed or any(alert.came_back for alert in alerts))
    return _message(title, "🌩️" if open_ones else "✅" if is_well else "❕", texts, drawn)


def _as_of(alerts: Sequence[Alert]) -> str:
    """Return that something could not be confirmed for too long; empty where all was."""
    ages = [alert.as_of for alert in alerts if alert.as_of]
    return labels.as_of(min(ages)) if ages else ""


def _listed(lines: Sequence[Line], called: str) -> list[str]:
    """Return lines as text, with who is called: a push shows the beginning, so what is broken comes first."""
    first = 2 if lines[:1] == [_DELETES] else 1
    texts = [*map(blocks.markup, lines)]
    return [*texts[:first], called, *texts[first:]]


def _message(title: str, symbol: str, texts: Sequence[str], drawn: Blocks) -> Message:
    """Return the message of a raw title, with texts and blocks beneath it."""
    text = blocks.story([f"{escape(title, 200)}.", *filter(None, texts)])
    return Message(text, [blocks.header(f"{clean(title, 145)} {symbol}"), *drawn])


def _running(batches: Sequence[Batch]) -> Iterator[Json]:
    """Yield how far selections are, each with its own Stop: a line for all but the last, whose Stop is in the row."""
    for batch in batches[-_RUNNING:-1]:
        yield from blocks.rich_texts(progress_lines(batch)[:1])
        yield blocks.actions([stop_button(batch)])
    if batches:
        yield from blocks.rich_texts(progress_lines(batches[-1]))


def _started(shown: Snapshot) -> Message:
    """Return the digest of repairs that were under way when the bot first saw them."""
    of, alerts = shown.message, shown.alerts
    name, nodes = cluster_of(of.cluster_id, alerts)
    left = [alert for alert in alerts if not alert.is_closed]
    many = f"{blast_radius(left or alerts, nodes)} {f'of {clean(name, 60)} ' if name else ''}"
    is_well = all(alert.remediation.state == State.SUCCEEDED and not alert.came_back for alert in alerts)
    is_automatic = all(alert.remediation.has_no_reviewer for alert in alerts)
    is_anew = any(alert.waiting_since for alert in left)
    before = "" if is_anew else ", since before monitoring started"
    how = f", started {'automatically' if is_automatic else 'in Together'}" if name else before
    ended = "repaired" if is_well else "no longer in repair"
    title = f"{many}in repair{how}" if left else f"Over: {many}{ended}{how}"
    called = on_call(of.mentioned) if left else ""
    lines = _lines(sorted(left or alerts, key=since), alerts)
    warning, states = _as_of(alerts), _others(shown)
    texts = [warning, *_listed(lines, called), states]
    drawn = [*blocks.paragraphs(warning), *blocks.rich_texts(lines), *blocks.paragraphs(states, called)]
    return _message(title, "🔧" if left else "✅" if is_well else "❕", texts, drawn)


def _title(of: TrackedMessage, alerts: Sequence[Alert], open_ones: Sequence[Alert], failed: int) -> str:
    """Return the blast radius: how many nodes of how many need a decision; or how many have `failed` in the end."""
    name, nodes = cluster_of(of.cluster_id, alerts)
    is_anew = any(alert.waiting_since for alert in open_ones or alerts)
    before = "" if is_anew else " (open before monitoring started)"
    where = clean(name, 60)
    if not open_ones:
        count, but = len(alerts), f", but {failed} failed" if failed else ""
        of_all = f"{count} {plural('remediation', count)}{f' in {where}' if name else before}"
        return f"Nothing left to decide{but}: {of_all}"
    count, many = nodes_of(open_ones), blast_radius(open_ones, nodes)
    needs = f"need{'s' if count == 1 else ''} a decision"
    more = f" ({len(open_ones)} remediations)" if len(open_ones) > count else ""
    if not name:
        return f"{many} {needs}{before}{more}"
    return f"{many} {'of' if nodes else 'in'} {where} {needs}{more}"


def _cause(alerts: Sequence[Alert], groups: Sequence[Group]) -> str:
    """Return the fault that most of what waits has in common, where its groups don't say so; empty for none."""
    fault, count = labels.most_common_fault(alert.remediation for alert in alerts)
    is_said = count == len(alerts) and all(group.fault for group in groups)
    if is_said or 2 * count <= len(alerts):
        return ""
    return f"Most common fault: {escape(fault, 80)}, on {count} of {len(alerts)}."


def _groups(groups: Sequence[Group], called: Names, half: Firsts) -> list[Line]:
    """Return a line for each group of what waits, and who has asked to wait, or approved as the first of two."""
    lines: list[Line] = []
    for group in groups:
        if labels.deletes_data(group.mode) and _DELETES not in lines:
            lines.append(_DELETES)
        nodes = [called[alert.ref] for alert in group.alerts]
        head = elements(f"{escape(group.title, 150)} ({len(group.alerts)}): ", bold=True)
        shown, *more = named(nodes)
        rest = elements(f"  …and {len(group.alerts)} in all") if more else []
        lines.append([*head, _in_a_line(shown), *rest])
        lines += _marked(group.alerts, called, half)
    return lines


def _marked(alerts: Sequence[Alert], called: Names, half: Firsts) -> Iterator[Line]:
    """Yield who has asked to wait, or has approved as the first of two, for which nodes."""
    marks: dict[str, list[str]] = {}
    for alert in alerts:
        if first := half.get(alert.ref):
            marks.setdefault(f": 1 of 2 approvals (<@{first.user_id}>)", []).append(called[alert.ref])
    for alert in alerts:
        for hold in alert.holds:
            said = f": on hold by <@{hold.user_id}> until {when(hold.until)}"
            marks.setdefault(said, []).append(called[alert.ref])
    for said, nodes in marks.items():
        yield [*elements("↳ "), _in_a_line(named(nodes)[0]), *elements(said)]


def _in_a_line(shown: Element) -> Element:
    """Return names of nodes, as many as fit into a line."""
    return {**shown, "text": clean(shown["text"], NAMES)}


def _lines(ordered: Sequence[Alert], alerts: Sequence[Alert]) -> list[Line]:
    """Return a line for each of the first ten, and the rest counted, named as nowhere else among all alerts."""
    called = names(alerts)
    lines: list[Line] = [_line(alert, called[alert.ref]) for alert in ordered[:LISTED]]
    if rest := ordered[LISTED:]:
        lines.append(f"…and {len(rest)} more: {counted([mode_name(alert) for alert in rest])}")
    return lines


def _line(alert: Alert, name: str) -> Line:
    remediation = alert.remediation
    parts = [escape(mode_name(alert), 60), escape(labels.fault(remediation, is_brief=True), 100)]
    if remediation.state == State.FAILED:
        error = remediation.error_message
        parts.append(f"failed{f': “{escape(error, 150)}”' if error else ''}")
    elif remediation.is_under_way and labels.mode(remediation.mode).is_destructive:
        parts.append("deletes local data")
    return entry(name, *parts)


def _others(shown: Snapshot) -> str:
    """Return how many are in which other state."""
    open_ones = {alert.ref for alert in shown.undecided}
    states = [escape(_state(alert).lower(), 60) for alert in shown.alerts if alert.ref not in open_ones]
    which = "Others" if open_ones else "In all"
    return f"{which}: {in_states(states)}." if states else ""


def _state(alert: Alert) -> str:
    if alert.is_unlisted:
        return labels.WITHDRAWN[0]
    if alert.came_back:
        return "with the fault back"
    told = alert.as_told
    return labels.state(told.state, reviewed=told.is_reviewed)[0]


def failures(alerts: Sequence[Alert], firsts: Mapping[RemediationRef, FirstApproval], called: str = "") -> Message:
    """Return which repairs of a digest have failed, and whom it concerns.

    Args:
        called: whom to call where nobody approved one through Slack: a user or group ID, or empty.
    """
    approved = [alert for alert in alerts if alert.decided and alert.decided.is_approval]
    first_ones = [(alert.remediation.mode, firsts.get(alert.ref)) for alert in approved]
    people = sorted(
        {
            user
            for alert in approved
            if alert.decided
            for user in (alert.decided.user_id, alert.decided.first_user)
            if user
        }
        | {first.user_id for mode, first in first_ones if first and first.mode == mode}
    )
    who = " ".join(f"<@{user_id}>" for user_id in people[:10])
    if len(approved) < len(alerts) and called:
        who = f"{who} {mention(called)}".strip()
    is_another = any(by.approved_other_than(alert.remediation.mode) for alert in alerts if (by := alert.decided))
    is_theirs = people and len(approved) == len(alerts) and not is_another
    failed = "these repairs you approved failed" if is_theirs else "these repairs failed"
    head = f"{who}, {failed}:" if who else f"{capital(failed)}:"
    lines = with_rest([_failure(alert) for alert in alerts[:REPORT_LINES]], len(alerts))
    return lines_message(head, lines)


def _failure(alert: Alert) -> Line:
    """Return a failure in a line, and who approved it where that was not through Slack."""
    remediation, by = alert.remediation, ""
    said = f"“{escape(remediation.error_message, 200)}”" if remediation.error_message else "no reason given"
    if alert.decided and alert.decided.approved_other_than(remediation.mode):
        by = f" (approved: {escape(labels.mode(alert.decided.mode).name, 60)})"
    elif alert.decided is None and remediation.is_automatic:
        by = " (started automatically)"
    elif alert.decided is None and (reviewer := labels.reviewed_by(remediation)):
        by = f" (approved {reviewer})"
    return [*node(remediation.node), *elements(f": {escape(mode_name(alert), 60)} failed, {said}{by}")]


def reminder(alerts: Sequence[Alert], called: str, waited: float, shown: Sequence[Alert] = ()) -> Message:
    """Return that nobody has decided on some of a digest, in which cluster where that is one, and what is worst.

    Args:
        called: a user or group ID to mention; empty for nobody.
        waited: seconds, of the one that waits least.
        shown: all that the digest shows, of which one knows what the cluster is called by now.
    """
    clusters, count = {alert.cluster_id for alert in alerts}, nodes_of(alerts)
    of = clusters.pop() if len(clusters) == 1 else None
    name, _ = cluster_of(of, [alert for alert in shown or alerts if alert.cluster_id == of])
    where = f" in {escape(name, 100)}" if name else ""
    nodes = f"{count} {plural('node', count)}{where}"
    if minutes := waited // 60:
        waits = f"{'has' if count == 1 else 'have'} waited {lasted(minutes * 60)} or more"
    else:
        waits = f"{'waits' if count == 1 else 'wait'}"
    urgent = [alert for alert in alerts if not alert.remediation.is_warning] or alerts
    fault, _ = labels.most_common_fault(alert.remediation for alert in urgent)
    many = nodes_of([alert for alert in urgent if labels.fault(alert.remediation, is_brief=True) == fault])
    broken = f" {escape(fault, 80)}{f', on {many} of {count}' if count > 1 else ''}." if fault else ""
    return calling_line(f"{nodes} {waits} for a decision.{broken}", called)
