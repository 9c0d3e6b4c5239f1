"""What was decided before, and the IDs to copy: for one person alone."""

from collections.abc import Sequence
from dataclasses import astuple

from bot.cards import blocks, labels
from bot.cards.blocks import Line, elements
from bot.cards.labels import alert_line, plain_alerts
from bot.cards.listing import lines_message
from bot.errors import OutcomeKind
from bot.models import (
    OWN_COMMENT,
    RULES,
    CardContext,
    Message,
    PastDecision,
    Remediation,
    RemediationRef,
    State,
    Verb,
)
from bot.mrkdwn import clean, entities, escape, plain_when, when
from bot.parsing import COMMAND

_REVIEWS = {Verb.APPROVE, Verb.REJECT}  # Together keeps who decided of these


def history(node: str, past: Sequence[PastDecision]) -> Message:
    """Return what was decided on a remediation, the latest first; `node` is raw."""
    name = escape(node, 100)
    if not past:
        return lines_message(f"{name}: no decisions through this bot yet.", [])
    return lines_message(f"{name}: decisions through this bot, latest first", [line(each) for each in past])


def line(past: PastDecision, what: str = "") -> Line:
    """Return a decision in a line; `what` it was about is raw, and empty where that is clear."""
    done = RULES[past.verb].done
    said = done if past.outcome == done else f"{past.verb}: {escape(_said(past.outcome), 60)}"
    about = f"{escape(what, 100)} · " if what else ""
    reason = f": “{escape(past.reason, 300)}”" if past.reason else ""
    return f"{when(past.at)} · {about}<@{past.user_id}> · {said}{reason}"


def _said(outcome: str) -> str:
    """Return an outcome in words, raw; another version's, or a rarer one's code in its own."""
    known = OutcomeKind(outcome).said if outcome in set(OutcomeKind) else ""
    return known or outcome.replace("_", " ")


def support(remediation: Remediation, past: Sequence[PastDecision]) -> Message:
    """Return what Together's support asks for, as plain text to copy: IDs, times, alerts, decisions."""
    mode = labels.mode(remediation.mode).name
    told = [
        f"Remediation {remediation.id}: {mode} ({remediation.mode}), state {remediation.state}",
        f"Cluster {remediation.cluster_id}, instance {remediation.instance_id}, node {remediation.node}",
    ]
    moments = (
        ("Created", remediation.create_time), ("Reviewed", remediation.review_time),
        ("Started", remediation.start_time), ("Ended", remediation.end_time), ("Updated", remediation.update_time),
    )  # fmt: skip
    told += [f"{name} {plain_when(moment)}" for name, moment in moments if moment]
    words = (
        ("Requested by", remediation.requested_by), ("Reviewed by", remediation.reviewed_by),
        ("Review comment", remediation.review_comment), ("Reason", remediation.reason),
        ("Error", remediation.error_message),
    )  # fmt: skip
    told += [f"{name}: {value}" for name, value in words if value]
    told += [f"Alert {each}" for each in plain_alerts(remediation)]
    told += [f"{plain_when(each.at)}: {each.verb} by {each.user_id} in Slack: {each.outcome}" for each in past]
    return _to_copy(told)


def _to_copy(told: Sequence[str]) -> Message:
    """Return raw lines as a message to copy from."""
    lines = [clean(each, 400) for each in told]
    return Message(blocks.story(map(entities, lines)), blocks.preformatted(lines))


def timeline(remediation: Remediation, about: CardContext, past: Sequence[PastDecision]) -> Message:
    """Return what happened and when, as Markdown to copy into a postmortem."""
    mode, state = labels.mode(remediation.mode).name, labels.state(remediation.state)[0]
    has_run = bool(remediation.start_time) or remediation.state in {State.SUCCEEDED, State.FAILED}
    ended = f"{'Repair ended' if has_run else 'Ended without a repair'}: {state}"
    error = f" ({remediation.error_message})" if remediation.error_message else ""
    moments = [
        (remediation.create_time, "Remediation created"),
        (remediation.start_time, "Repair started"),
        (remediation.ended, f"{ended}{error}"),
    ]
    comment = remediation.review_comment or ""
    own = OWN_COMMENT.fullmatch(comment)
    if not own:
        who = f"Reviewed by {remediation.reviewed_by or 'somebody'} in Together"
        moments.append((remediation.review_time, f"{who}: {comment}" if comment else who))
    elif not any(each.outcome == RULES[each.verb].done and each.verb in _REVIEWS for each in past):
        moments.append((remediation.review_time, own[1]))
    for alert in remediation.linked_alerts:
        what = alert_line(alert)
        moments += [(alert.started_at, f"Alert: {what}"), (alert.resolved_at, f"Alert cleared: {what}")]
    happened = [(moment.timestamp(), what) for moment, what in moments if moment]
    for each in past:
        done, why = RULES[each.verb].done, f": {each.reason}" if each.reason else ""
        did = done.capitalize() if each.outcome == done else f"{each.verb.capitalize()}: {_said(each.outcome)}"
        happened.append((each.at, f"{did} by {each.user_id} in Slack{why}"))
    if back := about.came_back:
        happened.append((back.at, f"{back.fault} {'still fired' if back.was_firing else 'came back'}"))
    lines = [f"### {remediation.node} ({labels.cluster(remediation, about.share)}): {mode}, {state.lower()}", ""]
    return _to_copy(lines + [f"- {plain_when(at)}: {what}" for at, what in sorted(happened)])


def copyable(ref: RemediationRef) -> Message:
    """Return the IDs, each to be copied alone, and together as the command takes them."""
    ids = astuple(ref)
    named = zip(("Cluster", "Instance", "Remediation"), ids, strict=True)
    lines = [[*elements(f"{name}: "), *elements(escape(value, 300), code=True)] for name, value in named]
    lines.append([*elements("To cancel it: "), *elements(escape(f"{COMMAND} {' '.join(ids)}", 900), code=True)])
    return lines_message("IDs to copy", lines)
