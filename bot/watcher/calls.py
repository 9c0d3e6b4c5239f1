"""When people are reminded of what waits, and when who is on call is called: pure functions. Times are Unix times."""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.alerts import CALM_SECONDS
from bot.models import Alert, Snapshot, TrackedMessage
from bot.watcher.config import WatchConfig

MAX_REMINDERS = 3
AGAIN_SECONDS = 3600.0  # between two reminders of what was escalated


def remind_at(snapshot: Snapshot, config: WatchConfig) -> float:
    """Return when the next reminder is due: after the time, twice and four times the time without an act.

    What was escalated is reminded of each hour. While somebody looks into it, no reminder is due. Infinity is never.
    """
    message, asking = snapshot.message, snapshot.unheld
    if not asking or any(each.is_running for each in snapshot.batches):
        return math.inf
    moments = [escalate_at(snapshot, config)]
    is_escalated = message.escalated_at and all(each.remind_from <= message.escalated_at for each in asking)
    if config.remind_seconds and is_escalated:
        moments.append(max(message.escalated_at, message.reminded_at) + AGAIN_SECONDS)
    elif config.remind_seconds and (counting := _counting(snapshot, config)):
        moments.append(_due_at(counting, config))
    return max([min(moments), *(each.until for each in message.looking)])


def escalate_at(snapshot: Snapshot, config: WatchConfig) -> float:
    """Return when a reminder calls others too: nobody has decided, or looked into it; not in the quiet of warnings."""
    if config.escalation is None:
        return math.inf
    message, (_, seconds) = snapshot.message, config.escalation
    no_sooner_than = max([snapshot.now, *(each.until for each in message.looking)])
    moments = []
    for each in snapshot.unheld:
        if each.remind_from <= message.escalated_at:
            continue
        due = max(message.escalate_from, each.remind_from) + seconds
        for at in (due, max(due, no_sooner_than)):
            if config.quiet and each.remediation.is_warning and config.quiet.cover(at):
                due = config.quiet.end_after(at)
        moments.append(due)
    return min(moments, default=math.inf)


def _counting(snapshot: Snapshot, config: WatchConfig) -> tuple[float, int] | None:
    """Return since when reminders count, and how many of them were sent; None where none is to be sent.

    They start over once nothing waits that was there at the last one, and, after the third, for what has come since.
    """
    message, reminders = snapshot.message, snapshot.message.reminders
    asking = [each.remind_from for each in snapshot.unheld]
    new = [each for each in asking if each > max(message.remind_from, message.reminded_at)]
    if new and reminders and min(new) < _due_at((message.remind_from, reminders - 1), config):
        reminders -= 1  # it was skipped, as the last one had come late, but without these
    if new and (len(new) == len(asking) or reminders >= MAX_REMINDERS):
        return min(new), 0
    return (message.remind_from, reminders) if asking and reminders < MAX_REMINDERS else None


def _due_at(counting: tuple[float, int], config: WatchConfig) -> float:
    since, reminders = counting
    return since + config.remind_seconds * 2.0**reminders


def reminded(snapshot: Snapshot, waiting: Sequence[Alert], config: WatchConfig) -> TrackedMessage:
    """Return the message with a reminder of some of it counted; those that are overdue, or nearly due, come to one."""
    message = snapshot.message
    since, reminders = _counting(snapshot, config) or (message.remind_from, message.reminders)
    message = replace(message, remind_from=since, reminders=reminders + 1, reminded_at=snapshot.now)
    if escalate_at(snapshot, config) <= snapshot.now:
        message = replace(message, escalated_at=snapshot.now)
    while remind_at(replace(snapshot, message=message), config) <= snapshot.now:
        message = replace(message, reminders=message.reminders + 1)
    following = _counting(replace(snapshot, message=message), config)
    is_of_all = config.remind_seconds and len(waiting) == len(snapshot.unheld)
    if is_of_all and following and _due_at(following, config) - snapshot.now < config.remind_seconds / 2:
        message = replace(message, reminders=message.reminders + 1)  # this one came late, and that would be at once
    called, all_of_them = ({*config.on_call(some, snapshot).split()} for some in (waiting, snapshot.unheld))
    asked = having_asked(message, waiting, snapshot, config)
    read = {each.cluster_id for each in waiting}
    # Where nothing of a cluster certainly waits still, it couldn't be read.
    left_out = [each for each in snapshot.unheld if each.cluster_id not in read and calls_at(each, message) < math.inf]
    is_owed = asked.owes_call or left_out or (message.owes_call and called != all_of_them)
    return replace(asked, owes_call=bool(is_owed))


def counted(message: TrackedMessage, reminded: TrackedMessage) -> TrackedMessage:
    """Return a message with a reminder counted that was sent when it was like this."""
    return replace(
        message,
        remind_from=reminded.remind_from,
        reminders=reminded.reminders,
        reminded_at=reminded.reminded_at,
        escalated_at=reminded.escalated_at,
        called_at=reminded.called_at,
        owes_call=reminded.owes_call,
    )


def having_asked(message: TrackedMessage, alerts: Sequence[Alert], of: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return a message with a post or reminder about alerts noted: it has called, or owes a call after quiet hours."""
    if config.on_call(alerts, of) and not config.on_call_now(alerts, of):
        return replace(message, owes_call=True)
    return replace(message, called_at=of.now, owes_call=False)


def calls_at(alert: Alert, message: TrackedMessage) -> float:
    """Return when to call for an alert that came after the last call; never for one that was there."""
    if alert.came_at <= message.called_at:
        return math.inf
    return message.called_at + CALM_SECONDS if alert.waiting_since > message.called_at else alert.came_at
