"""What an alert's thread gets: changes, failures, reminders; and when Together can't be reached."""

from collections.abc import Sequence

from bot.cards import blocks, labels
from bot.cards.blocks import line
from bot.cards.labels import fault
from bot.cards.listing import LISTED, first_of, nodes_of
from bot.cards.pause import pause_buttons
from bot.cards.remediation_card import calling_line, mention, where
from bot.models import (
    BEGUN,
    RULES,
    Alert,
    DecidedBy,
    Doubt,
    Hold,
    Message,
    Override,
    Remediation,
    RepairLoad,
    State,
    unix,
)
from bot.mrkdwn import capital, escape, lasted, when


def transition(  # noqa: PLR0913 - what a reading may say
    before: Remediation,
    after: Remediation,
    decided: DecidedBy | None,
    now: float,
    *,
    is_listed_again: bool = False,
    is_next: bool = False,
) -> list[str]:
    """Return a change of state or mode in a line each, with how long it took; a failure gets a separate message.

    Args:
        now: Unix time in seconds.
        is_listed_again: Together didn't list it before.
        is_next: it has ended and waits again, though nobody has seen it end.
    """
    lines = ["Together lists this remediation again."] if is_listed_again else []
    if after.mode != before.mode:
        was, is_now = _repair(before), _repair(after)
        look = " Review it before approving." if after.is_waiting else ""
        if not after.mode:
            lines.append(f"Together no longer says which repair this is. It was “{was}”.")
        elif not before.mode:
            lines.append(f"Together now says which repair this is: “{is_now}”.{look}")
        elif decided and decided.is_approval and not after.is_waiting:
            approved = _approved_repair(after, decided)
            since = f"Before, it was “{was}”." if approved == is_now else f"The repair is now “{is_now}”."
            lines.append(f"{decided.people} approved “{approved}”. {since}")
        else:
            lines.append(f"repair changed from “{was}” to “{is_now}”.{look}")
    if after.state != before.state:
        skipped = before.is_waiting and after.state in BEGUN
        if skipped:
            lines.append(_approved(after, decided, now))
        if after.state != State.FAILED and not (skipped and after.state == State.PENDING):
            lines.append(_moved(after, decided, now))
    if is_next:
        repair = "" if after.mode == before.mode else "a repair "
        lines.append(f"{_repair(before)} ended, and {repair}is waiting for approval again. ⏳")
    return [f"{_node(after)}: {line}" for line in lines]


def outside(reply: Message, link: str) -> Message:
    """Return a reply for the channel instead of its thread, with a link to the alert where that is known."""
    see = f"<{link}|See the alert>"
    return Message(f"{reply.text} {see}", [*reply.blocks, blocks.context(see)]) if link else reply


def _approved_repair(after: Remediation, decided: DecidedBy | None) -> str:
    """Return which repair was approved: Together may have changed it as that was on its way."""
    return escape(labels.mode(decided.mode).name, 80) if decided and decided.mode else _repair(after)


def _approved(after: Remediation, decided: DecidedBy | None, now: float) -> str:
    by = f"by {decided.people}" if decided and decided.is_approval else labels.reviewed_by(after) or "in Together"
    at = _approved_at(after, decided) or now
    waited = f", {lasted(at - unix(after.create_time))} after it opened" if after.create_time else ""
    return f"{_approved_repair(after, decided)} approved {by}{waited}. {labels.state(State.PENDING)[1]}"


def _moved(after: Remediation, decided: DecidedBy | None, now: float) -> str:
    state, symbol = labels.state(after.state, reviewed=after.is_reviewed)
    is_approved = (decided and decided.is_approval) or not after.is_automatic
    approved_at = _approved_at(after, decided) if is_approved else 0.0
    since_approval = f" {lasted(_at(after, now) - approved_at)} after approval" if approved_at else ""
    waited = f" after {lasted(_at(after, now) - unix(after.create_time))}" if after.create_time else ""
    repair, name = _repair(after), escape(state, 90)
    match after.state:
        case State.PENDING_APPROVAL:
            said = f"{repair} is waiting for approval again"
        case State.RUNNING:
            said = f"{repair} started{since_approval}"
        case State.SUCCEEDED:
            said = f"{repair} succeeded{since_approval}"
        case State.CANCELLED if decided and after.state in RULES[decided.verb].effect:
            apparently = "" if decided.is_sure else ", apparently"
            said = f"{repair} {RULES[decided.verb].done}{apparently} by <@{decided.user_id}>{waited}"
        case State.CANCELLED:
            is_rejected = after.slack_reviewer and not after.is_approved_by_bot
            done = f"rejected by <@{after.slack_reviewer}>" if is_rejected else "cancelled in Together"
            said = f"{repair} {done}{waited}"
        case State.AUTO_RESOLVED:
            said = f"resolved on its own{waited}. The alert cleared"
        case _ if after.state in set(State):
            said = f"{name.lower()}{since_approval}"
        case _:
            said = f"{name}, which this version of the bot doesn't know{_end(after, decided)}"
    return f"{said}. {symbol}"


def _end(repair: Remediation, decided: DecidedBy | None) -> str:
    """Return what came of a repair that has ended in a state of tomorrow, for who approved it; else nothing."""
    if repair.is_under_way:
        return ""
    error = f": “{escape(repair.error_message, 300)}”" if repair.error_message else ""
    return f"{error}. Check the node{f', {decided.people}' if decided and decided.is_approval else ''}"


def failure(
    remediation: Remediation, share: RepairLoad | None, decided: DecidedBy | None, called: str, now: float
) -> Message:
    """Return that a repair has failed: it calls who approved it through Slack, else who is on call.

    Args:
        called: the user or group on call; empty for nobody.
        now: Unix time in seconds.
    """
    people = decided.people if decided and decided.is_approval else mention(remediation.slack_reviewer)
    who = people or mention(called)
    approved_at = _approved_at(remediation, decided)
    after = f"{lasted(_at(remediation, now) - approved_at)} after " if approved_at else ""
    details = f", {after}approval" if after else ""
    if remediation.is_automatic and not people:
        details = ", started automatically"
    elif remediation.reviewer and not people:
        details = f", {after}{escape(remediation.reviewer, 100)} approved it in Together"
    error = f": “{escape(remediation.error_message, 500)}”" if remediation.error_message else "."
    failed = f"{_repair(remediation)} failed on {where(remediation, share)}{details}{error} ❌"
    return _addressed(who, failed)


def begun(alerts: Sequence[Alert], called: str) -> Message:
    """Call who is on call for repairs that delete data, or may, and that nobody was asked about, or not about that."""
    are = "is" if all(labels.mode(alert.remediation.mode).is_destructive for alert in alerts) else "may be"
    did = "isn't what was approved" if any(alert.decided for alert in alerts) else "started automatically"
    return calling_line(f"{_where(alerts)}: {_repairs(alerts)} {did}. Local data {are} deleted.", called)


def stuck(alerts: Sequence[Alert], called: str, now: float, *, has_card: bool) -> Message:
    """Return that repairs may be stuck.

    Args:
        called: the user or group on call; empty for nobody.
        now: Unix time in seconds.
        has_card: it is one, told in the thread of its card, which has a menu.
    """
    latest = max(unix(alert.remediation.under_way_since) for alert in alerts)  # true of all
    hint = labels.IF_STUCK if has_card else f"Check {'it' if len(alerts) == 1 else 'them'} in Together."
    said = f"{_repairs(alerts)} may be stuck. Not finished after {lasted(now - latest)}."
    return calling_line(f"{_where(alerts)}: {said} {hint}", called)


def came_back(alerts: Sequence[Alert], called: str) -> Message:
    """Return that what repairs were to mend is back: it calls who approved them, and who is on call.

    Args:
        called: the user or group on call; empty for nobody.
    """
    nodes, remediation = _where(alerts), alerts[0].remediation
    back, *others = [alert.came_back for alert in alerts if alert.came_back]  # that is what this tells
    fault, repair = escape(back.fault, 80), escape(labels.mode(remediation.mode).noun, 80)
    if nodes_of(alerts) > 1:
        is_back = "didn't stop or came back" if any(one.was_firing for one in (back, *others)) else "came back"
        said = f"{nodes} were repaired, and their faults {is_back}, such as {fault}. 🔁"
    elif back.was_firing:
        said = f"{fault} didn't stop with the {repair} of {nodes}: it didn't help. 🔁"
    else:
        said = f"{fault} came back on {nodes}, {lasted(back.at - remediation.succeeded_at)} after its {repair}. 🔁"
    return _to(alerts, called, said)


def not_back(alerts: Sequence[Alert], called: str, now: float) -> Message:
    """Return that repaired nodes don't run in their cluster again: it calls who approved that, and who is on call.

    Args:
        now: Unix time in seconds.
    """
    passed = lasted(now - max(alert.remediation.succeeded_at for alert in alerts))
    are, its, node = ("isn't", "its", "node") if nodes_of(alerts) == 1 else ("aren't", "their", "nodes")
    late = f"running in the cluster {passed} after {its} repair, as Together lists it"
    return _to(alerts, called, f"{_where(alerts)} {are} {late}. Check the {node}.")


def lasted_repairs(alerts: Sequence[Alert], seconds: float) -> Message:
    """Return that repairs have lasted."""
    return line(f"{_nodes(alerts)}: {labels.stayed_away(seconds)} ✅")


def _to(alerts: Sequence[Alert], called: str, said: str) -> Message:
    """Return a sentence for those who approved, and for who is on call."""
    approved = [alert.decided for alert in alerts if alert.decided and alert.decided.is_approval]
    people = dict.fromkeys(decided.people for decided in approved)
    return _addressed(" ".join([*list(people)[:LISTED], mention(called)]).strip(), said)


def _addressed(who: str, said: str) -> Message:
    return line(f"{who}, {said}" if who else said)


def _approved_at(remediation: Remediation, decided: DecidedBy | None) -> float:
    if remediation.review_time and remediation.is_reviewed:
        return unix(remediation.review_time)
    return decided.at if decided and decided.is_approval else 0.0


def _at(remediation: Remediation, now: float) -> float:
    """Return when it came into its state, as far as Together says."""
    began = {str(State.PENDING): remediation.review_time, str(State.RUNNING): remediation.start_time}
    return unix(began.get(remediation.state, remediation.ended)) or now


def no_effect(remediation: Remediation, doubts: Sequence[Doubt]) -> str:
    """Return that nothing came of decisions that were in doubt."""
    rules = [RULES[doubt.verb] for doubt in doubts]
    said = [f"<@{doubt.user_id}>, your {RULES[doubt.verb].noun} hasn't taken effect." for doubt in doubts]
    state, _ = labels.state(remediation.state, reviewed=remediation.is_reviewed)
    is_open = any(remediation.state in rule.allowed for rule in rules)
    next_step = "Decide again." if is_open else f"It's already “{escape(state, 90)}”."
    return f"{_node(remediation)}: {' '.join(said)} {next_step}"


def withdrawn(remediation: Remediation) -> str:
    """Return that Together no longer lists a remediation."""
    return f"{_node(remediation)}: Together no longer lists this remediation. {labels.WITHDRAWN[1]}"


def reminder(  # noqa: PLR0913 - what a reminder says
    remediation: Remediation,
    share: RepairLoad | None,
    called: str,
    waited: float,
    *,
    is_observed: bool = False,
    is_paused: bool = False,
) -> Message:
    """Return that nobody has acted.

    Args:
        called: a user or group ID to mention; empty for nobody.
        waited: seconds.
        is_observed: the bot decides nothing in its cluster.
        is_paused: approvals are.
    """
    decide = "Approve, hold, or cancel on the card."
    if is_observed:
        decide = "Decide in Together."
    elif is_paused:
        decide = "Approvals are paused: hold or cancel on the card."
    elif not remediation.mode:
        decide = "Hold or cancel on the card, or approve in Together."
    broken = f": {escape(fault(remediation), 100)}" if fault(remediation) else ""
    waits = f"has been waiting {lasted(waited)} for a decision ({_repair(remediation)}){broken}"
    return calling_line(f"{where(remediation, share)} {waits}. {decide}", called)


def late_call(alerts: Sequence[Alert], called: str, *, again: bool, is_worse: bool = False) -> Message:
    """Return the call for what waits and called nobody since it came, or since it `is_worse`: critical, not a warning.

    Args:
        called: a user or group ID to mention; empty for nobody.
        again: it had ended before.
    """
    first = where(alerts[0].remediation, alerts[0].share)
    faults = {fault(alert.remediation) for alert in alerts}
    broken = escape(faults.pop(), 100) if len(faults) == 1 else ""
    others = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    ages = [alert.as_of for alert in alerts if alert.as_of]
    verb = ("were" if others else "was") if ages else "are" if others else "is"
    worse = f"critical{'' if ages else ' now'} and " if is_worse else ""
    waits = f"{verb} {worse}waiting for a decision{' again' if again else ''}{f': {broken}' if broken else ''}."
    return calling_line(f"{first}{others} {waits}{f' {labels.as_of(min(ages))}' if ages else ''}", called)


def first_approval(alerts: Sequence[Alert], user_id: str, called: str) -> Message:
    """Return that one of two people has approved repairs, and that another one must."""
    modes = {_repair(alert.remediation) for alert in alerts}
    repair = f" for {modes.pop()}" if len(modes) == 1 else ""
    said = f"{_nodes(alerts)}: 1 of 2 approvals{repair}, by <@{user_id}>. Someone else must approve too."
    return calling_line(said, called)


def approving_alone(remediation: Remediation, override: Override, called: str) -> Message:
    """Return who approves alone, and why, and call who is on call."""
    node = _node(remediation)
    who = f"<@{override.user_id}>"
    why = escape(override.reason, 600)
    said = f"{node}: {who} chose to approve alone, without asking {labels.RULES_PASSED}: “{why}”"
    return calling_line(said, called)


def hold_ends(remediation: Remediation, hold: Hold, now: float, *, has_card: bool) -> Message:
    """Tell the person who put a repair on hold that the hold ends soon; `now` in Unix time in seconds."""
    node, left = escape(remediation.node, 200), lasted(hold.until - now)
    where = "on the card" if has_card else "in this app's Home"
    return line(f"{node}: <@{hold.user_id}>, your hold ends in {left}. Extend it {where}.")


def unreadable(clusters: Sequence[str], since: float, ids: Sequence[str]) -> Message:
    """Return that Together can't be read, and what that means.

    Args:
        clusters: their names; empty where not even the list of clusters can be read.
        since: Unix time in seconds; of several, that of the first.
        ids: those of the clusters.
    """
    span = f"since {when(since)}{' (the first of them)' if len(clusters) > 1 else ''}"
    problem = f"Couldn't read {_named(clusters)} from Together {span}"
    means = "Cards may be out of date and new alerts may be missing."
    text = f"{problem}. {means} Still retrying; use the Together console in the meantime."
    pause = pause_buttons(ids[0] if len(ids) == 1 else None, None)
    return Message(text, [blocks.paragraph(f"{text} ⚠️", bold=True), blocks.actions(pause)])


def was_unreadable(clusters: Sequence[str], since: float, until: float, *, at_most: bool) -> Message:
    """Return what a message about an outage says once it is over: it offers nothing any more.

    Args:
        clusters: their names; empty for the list of clusters.
        since: when it began, in Unix time in seconds.
        until: when it was over, in Unix time in seconds.
        at_most: it wasn't so all the time: of several clusters, or where nobody was reading for a part of it.
    """
    began, ended = ("between", "and") if at_most else ("from", "to")
    span = f"{began} {when(since)} {ended} {when(until)} ({_lasted(until - since, at_most=at_most)})"
    return line(f"Couldn't read {_named(clusters)} {span}.")


def readable(clusters: Sequence[str], since: float, now: float, *, at_most: bool) -> Message:
    """Return that Together can be read again.

    Args:
        clusters: their names; empty for the list of clusters.
        since: when it began, in Unix time in seconds.
        now: the present, in Unix time in seconds.
        at_most: as in `was_unreadable`.
    """
    subject, after = capital(_named(clusters)), _lasted(now - since, at_most=at_most)
    text = f"{subject} can be read from Together again after {after}. Cards are being updated."
    return Message(text, [blocks.paragraph(f"{text} ✅")])


def unwatched(clusters: Sequence[str]) -> Message:
    """Return that clusters which couldn't be read are no longer monitored; for none, that their list isn't needed."""
    if not clusters:
        return line("The list of clusters isn't needed any more: the bot's settings name them.")
    are = "is" if len(clusters) == 1 else "are"
    why = "Together or the bot's settings no longer list"
    return line(f"{capital(_named(clusters))} {are} no longer monitored: {why} {'it' if are == 'is' else 'them'}.")


def _repair(remediation: Remediation) -> str:
    return escape(labels.mode(remediation.mode).name, 80)


def _repairs(alerts: Sequence[Alert]) -> str:
    return _repair(alerts[0].remediation) if len(alerts) == 1 else f"{len(alerts)} repairs"


def _node(remediation: Remediation) -> str:
    return escape(remediation.node, 100)


def _nodes(alerts: Sequence[Alert]) -> str:
    called = {(alert.cluster_id, alert.remediation.instance_id): alert.remediation.node for alert in alerts}
    return first_of(list(called.values()), LISTED, 100)


def _where(alerts: Sequence[Alert]) -> str:
    """Return what a call is about; of one node with its cluster, as a push shows nothing else of it."""
    return where(alerts[0].remediation, alerts[0].share) if len(alerts) == 1 else _nodes(alerts)


def _lasted(seconds: float, *, at_most: bool) -> str:
    """Return how long an outage lasted."""
    return f"{'up to ' if at_most else ''}{lasted(seconds)}"


def _named(clusters: Sequence[str]) -> str:
    if not clusters:
        return "the list of clusters"
    return f"cluster{'s' if len(clusters) > 1 else ''} {first_of(clusters, LISTED, 200)}"
