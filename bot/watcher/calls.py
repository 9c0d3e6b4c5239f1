"""When people are reminded of what waits, and when who is on call is called: pure functions. Times are Unix times."""

import math
from collections.abc import Sequence
from dataclasses import replace

from bot.alerts import CALM_SECONDS
from bot.cards import labels
from bot.models import Alert, Snapshot, TrackedMessage
from bot.watcher.config import WatchConfig

MAX_REMINDERS = 3
AGAIN_SECONDS = 3600.0  # between two reminders of what was escalated
OVERDUE_SECONDS = 60.0  # so late, other tools get a reminder that Slack hasn't taken


def started_that_call(started: Sequence[Alert], cluster_id: str | None) -> list[Alert]:
    """Return which repairs call who is on call, until they have ended or are gone: those that delete data unasked.

    Args:
        cluster_id: None for what was under way before monitoring started, which calls nobody.
    """
    if cluster_id is None:
        return []
    running = [alert for alert in started if not alert.is_closed]
    return [
        alert
        for alert in running
        if labels.deletes_data(alert.remediation.mode)
        and (
            alert.remediation.is_automatic
            or (alert.decided and alert.decided.approved_other_than(alert.remediation.mode))
        )
    ]


def remind_at(snapshot: Snapshot, config: WatchConfig) -> float:
    """Return when the next reminder is due: after the time, twice and four times the time without an act.

    What was escalated is reminded of each hour. While somebody looks into it, no reminder is due, nor within half the
    time after one. Infinity is never.
    """
    message = snapshot.message
    if not snapshot.unheld or any(batch.is_running for batch in snapshot.batches):
        return math.inf
    calm_until = message.reminded_at + config.remind_seconds / 2  # the one before may have come late
    moment = min(escalate_at(snapshot, config), max(_due_at(snapshot, config), calm_until))
    return max([moment, *(looker.until for looker in message.looking)])


def _due_at(snapshot: Snapshot, config: WatchConfig) -> float:
    """Return when the next reminder is due that calls nobody else, however late the one before has come."""
    message = snapshot.message
    if not config.remind_seconds:
        return math.inf
    if (
        config.escalation
        and message.escalated_at
        and all(alert.remind_from <= message.escalated_at for alert in snapshot.unheld)
    ):
        return max(message.escalated_at, message.reminded_at) + AGAIN_SECONDS
    counting = _counting(snapshot)
    return counting[0] + config.remind_seconds * 2.0 ** counting[1] if counting else math.inf


def escalate_at(snapshot: Snapshot, config: WatchConfig) -> float:
    """Return when a reminder calls others too: nobody has decided, or looked into it; not in the quiet of warnings."""
    if config.escalation is None:
        return math.inf
    message, (_, seconds) = snapshot.message, config.escalation
    no_sooner_than = max([snapshot.now, *(looker.until for looker in message.looking)])
    moments = []
    for alert in snapshot.unheld:
        if alert.remind_from <= message.escalated_at:
            continue
        due = max(message.escalate_from, alert.remind_from) + seconds
        for at in (due, max(due, no_sooner_than)):
            if config.quiet and alert.remediation.is_warning and config.quiet.cover(at):
                due = config.quiet.end_after(at)
        moments.append(due)
    return min(moments, default=math.inf)


def _counting(snapshot: Snapshot) -> tuple[float, int] | None:
    """Return since when reminders count, and how many of them were sent; None where no more are due.

    They start over once nothing waits that was there at the last one, and, after the third, for what has come since.
    Who has looked into it since the third is followed by one more.
    """
    message = snapshot.message
    asking = [alert.remind_from for alert in snapshot.unheld]
    new = [moment for moment in asking if moment > max(message.remind_from, message.reminded_at)]
    if new and (len(new) == len(asking) or message.reminders >= MAX_REMINDERS):
        return min(new), 0
    is_left = message.reminders < MAX_REMINDERS or message.escalate_from > message.reminded_at
    return (message.remind_from, message.reminders) if asking and is_left else None


def reminded(snapshot: Snapshot, waiting: Sequence[Alert], config: WatchConfig) -> TrackedMessage:
    """Return the message with a reminder of some of it counted; those that are overdue come to one."""
    message = snapshot.message
    since, reminders = _counting(snapshot) or (message.remind_from, message.reminders)
    message = replace(message, remind_from=since, reminders=reminders + 1, reminded_at=snapshot.now)
    if escalate_at(snapshot, config) <= snapshot.now:
        message = replace(message, escalated_at=snapshot.now)
    while _due_at(replace(snapshot, message=message), config) <= snapshot.now:
        message = replace(message, reminders=message.reminders + 1)
    called, all_of_them = ({*config.on_call(some, snapshot).split()} for some in (waiting, snapshot.unheld))
    asked = having_asked(message, waiting, snapshot, config)
    read = {alert.cluster_id for alert in waiting}
    # Where nothing of a cluster certainly waits still, it couldn't be read.
    left_out = [
        alert for alert in snapshot.unheld if alert.cluster_id not in read and calls_at(alert, message) < math.inf
    ]
    is_owed = asked.owes_call or left_out or (message.owes_call and called != all_of_them)
    return replace(asked, owes_call=bool(is_owed))


def untold(message: TrackedMessage, alerts: Sequence[Alert]) -> dict[str, list[Alert]]:
    """Return the alerts whose next reminder other tools don't have yet, by the keys in `announced` that note it.

    A key is of a cluster, and says up to which moment of `remind_from` its alerts have been told.
    """
    found: dict[str, list[Alert]] = {}
    for cluster_id in dict.fromkeys(alert.cluster_id for alert in alerts):
        start = f"alarm {cluster_id} {message.remind_from} {message.reminders} "
        told = max((float(key.removeprefix(start)) for key in message.announced if key.startswith(start)), default=0.0)
        if new := [alert for alert in alerts if alert.cluster_id == cluster_id and alert.remind_from > told]:
            found[f"{start}{max(alert.remind_from for alert in new)}"] = new
    return found


def counted(message: TrackedMessage, reminded: TrackedMessage) -> TrackedMessage:
    """Return a message with a reminder counted that was sent when it was like this."""
    told = f" {message.remind_from} {message.reminders} "
    return replace(
        message,
        announced=frozenset(key for key in message.announced if not (key.startswith("alarm ") and told in key)),
        remind_from=reminded.remind_from,
        reminders=reminded.reminders,
        reminded_at=reminded.reminded_at,
        escalated_at=reminded.escalated_at,
        called_at=reminded.called_at,
        owes_call=reminded.owes_call,
    )


def having_asked(message: TrackedMessage, alerts: Sequence[Alert], of: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return a message with a post or reminder about alerts noted: it has called, or owes a call.

    That is for after quiet hours, or for when somebody is on call: the settings may name nobody yet.
    """
    called, all_of_them = config.on_call_now(alerts, of), config.on_call(alerts, of)
    called_at = of.now if called or not all_of_them else message.called_at
    return replace(message, called_at=called_at, owes_call=not called or called != all_of_them)


def calls_at(alert: Alert, message: TrackedMessage) -> float:
    """Return when to call for an alert that came after the last call; never for one that was there."""
    if alert.came_at <= message.called_at:
        return math.inf
    return message.called_at + CALM_SECONDS if alert.waiting_since > message.called_at else alert.came_at
