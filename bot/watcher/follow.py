"""What an alert becomes by what is seen and by time: pure functions. Times are in seconds since 1970."""

from dataclasses import replace

from bot import cards
from bot.models import (
    DOUBT_SECONDS,
    FINAL,
    FIRST_APPROVAL_SECONDS,
    RULES,
    Alert,
    Decided,
    FirstApproval,
    Message,
    Remark,
    Remediation,
    Share,
    State,
)

MAX_REMINDERS = 3
CLOCKS = 1.0


def seen(  # noqa: PLR0913 - all that bears on an alert
    alert: Alert,
    remediation: Remediation,
    fingerprint: str,
    *,
    decided: Decided | None,
    first: FirstApproval | None,
    share: Share | None,
    read_at: float,
    now: float,
) -> Alert | None:
    """An alert after Together has said something new about its remediation.

    Args:
        alert: as it was.
        remediation: as Together says it.
        fingerprint: of what Together says.
        decided: who brought it into its state through Slack, where that is known.
        first: the first of two approvals, where there was one.
        share: how much of the cluster is in repair.
        read_at: when Together was asked.
        now: the present.

    Returns:
        None where somebody was answered since Together was asked: then this is out of date.
    """
    if alert.answered_at > read_at - CLOCKS:
        return None
    before = alert.remediation
    lines = alert.lines + (("Together lists it again.",) if alert.vanished else ())
    moved = remediation.state != before.state or remediation.mode != before.mode
    if moved:
        first_user = first.user_id if first and first.mode == remediation.mode else ""
        known = decided or alert.decided
        lines = (*lines, *cards.transition(before, remediation, known, now, first_user))
    waits = remediation.state == State.PENDING_APPROVAL
    known = decided or alert.decided
    begins_anew = waits and not alert.waits
    return replace(
        alert,
        waits_since=now if begins_anew else alert.waits_since,
        remind_from=now if begins_anew else alert.remind_from,
        reminders=0 if begins_anew else alert.reminders,
        remediation=remediation,
        fingerprint=fingerprint,
        lines=() if alert.digest_id else lines,
        share=share if moved and waits else alert.share,
        hold=alert.hold if waits else None,
        remark=alert.remark if _holds(alert.remark, remediation) else None,
        decided=known if known and remediation.state in RULES[known.verb].effect else None,
        vanished=False,
        is_stale=False,
        next_at=0.0,
        done=is_over(remediation) and alert.digest_id is not None,
    )


def gone(alert: Alert, read_at: float) -> Alert | None:
    """An alert whose remediation Together knows no longer; None where that is out of date."""
    if alert.answered_at > read_at - CLOCKS or (alert.vanished and not alert.is_stale):
        return None
    told = () if alert.vanished else ("Withdrawn: Together lists it no longer. 💨",)
    lines = () if alert.digest_id else (*alert.lines, *told)
    return replace(
        alert, vanished=True, is_stale=False, hold=None, lines=lines, next_at=0.0, done=alert.digest_id is not None
    )


def is_over(remediation: Remediation) -> bool:
    """Whether nothing can happen to it any more."""
    return remediation.state in FINAL


def is_closed(alert: Alert) -> bool:
    """Whether it is to be followed no longer, once all was told."""
    return alert.vanished or is_over(alert.remediation)


def timely(alert: Alert, now: float) -> Alert:
    """An alert without what has run out: a hold, or the doubt about an answer."""
    hold, remark = alert.hold, alert.remark
    if hold and hold.until <= now:
        alert = replace(alert, hold=None, remind_from=hold.until, reminders=0)
    if remark and not remark.buttons and remark.at + DOUBT_SECONDS <= now:
        alert = replace(alert, remark=None)
    return alert


def draw(alert: Alert, first: FirstApproval | None) -> Message:
    """The card of an alert: as the last answer on it was drawn, as long as that holds."""
    remediation, remark = alert.remediation, alert.remark
    holds = _holds(remark, remediation)
    notice, buttons = (remark.notice, remark.buttons) if remark and holds else ("", True)
    decided = (remark.decided if remark and holds else None) or alert.decided
    return cards.card(remediation, decided=decided, notice=notice, buttons=buttons, about=alert.about(first))


def _holds(remark: Remark | None, remediation: Remediation) -> bool:
    return remark is not None and (remark.state, remark.mode) == (remediation.state, remediation.mode)


def remind_at(alert: Alert, remind_seconds: float) -> float | None:
    """When the next reminder is due: after the time, twice and four times the time without an act."""
    if not remind_seconds or alert.reminders >= MAX_REMINDERS or not alert.waits or alert.hold:
        return None
    return alert.remind_from + remind_seconds * 2.0**alert.reminders


def next_at(alert: Alert, first: FirstApproval | None, remind_seconds: float) -> float | None:
    """When something is to be done about it by itself."""
    moments = [remind_at(alert, remind_seconds)]
    if first and alert.waits:
        moments.append(first.at + FIRST_APPROVAL_SECONDS)
    if alert.hold:
        moments.append(alert.hold.until)
    if alert.remark and not alert.remark.buttons:
        moments.append(alert.remark.at + DOUBT_SECONDS)
    return min((each for each in moments if each is not None), default=None)


def settled(alert: Alert, first: FirstApproval | None, remind_seconds: float) -> Alert:
    """An alert with the moment at which it is to be seen to again, or closed when there is none any more."""
    is_drawn = alert.is_lost or alert.is_stale or draw(alert, first).fingerprint == alert.drawn
    if alert.lines or not is_drawn:
        return replace(alert, next_at=0.0)
    if is_closed(alert):
        return replace(alert, next_at=None, done=True)
    return replace(alert, next_at=next_at(alert, first, remind_seconds))
