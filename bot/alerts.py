"""How each event changes an alert and its message. Pure functions; times are Unix times."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot import readings
from bot.cards import labels, thread
from bot.models import (
    ARRIVED_SECONDS,
    BEGUN,
    CALLED_OFF,
    DOUBT_SECONDS,
    FINAL,
    PRECISION,
    RULES,
    Alert,
    Answer,
    CameBack,
    DecidedBy,
    Doubt,
    Hold,
    Override,
    Remediation,
    RepairLoad,
    ReplyKind,
    Request,
    Snapshot,
    State,
    TrackedMessage,
    Verb,
    waiting,
)
from bot.mrkdwn import escape, when

VANISHED_SECONDS = 10.0  # what Together doesn't find for so long, at two looks, is withdrawn
CALM_SECONDS = 900.0  # what comes and goes calls no more often
HELD_AGAIN_SECONDS = 60.0  # a second press of the same person within these is the first one, pressed twice
LEFT_ALONE_SECONDS = 60.0  # until a decided card is looked at, unless Together is read before, which makes it due
EARLIER = 20  # repairs under one ID that are kept
KEPT_SECONDS = 999 * 3600.0  # so long: BOT_MAX_REPAIRS_PER_NODE counts as far back
Tracked = tuple[Alert, TrackedMessage]
_USUAL = Verb.APPROVE, Verb.CANCEL  # of those that bring it into a state


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert with what bears on it.

    Attributes:
        alert: without what has run out.
        decided: who brought what was seen into its state through this bot, where that is known.
        now: the present, as Unix time in seconds.
        asked_at: when Together was asked for what it says, on the same clock; 0 where it wasn't.
    """

    alert: Alert
    message: TrackedMessage
    decided: DecidedBy | None
    now: float
    asked_at: float = 0.0


# What Together says.


def seen(  # noqa: PLR0913 - what was read, and when
    view: AlertView,
    remediation: Remediation,
    fingerprint: str,
    share: RepairLoad | None,
    sequence: int,
    *,
    read_alone: bool,
    verify_seconds: float = 0.0,
) -> Tracked | None:
    """Return an alert and its message after Together has said something about its remediation.

    Args:
        verify_seconds: how long after its end a repair answers for what it was to mend.

    Returns:
        None if this is older than what is known, or may be; it must then be read alone.
    """
    alert, message, before = view.alert, view.message, view.alert.remediation
    is_old = alert.decided_seq > sequence or readings.is_before_answer(alert, remediation, view.asked_at, view.now)
    is_old = is_old or readings.is_older(before, remediation)
    if is_old or (not read_alone and readings.may_be_older(alert, remediation)):
        return None
    remediation = readings.as_ended(before, remediation) if before.state in FINAL else remediation
    waits = remediation.is_waiting
    # The next incident, which began before it was seen to wait; or what had ended runs after all.
    runs = before.state in FINAL and remediation.is_under_way
    is_later = readings.opened_later(before, remediation) or readings.ran_again(before, remediation)
    has_begun = alert.is_closed and not waits and (runs or is_later)
    known = view.decided if has_begun else _who(view)
    is_next = readings.is_next_incident(before, remediation)
    waits_again = waits and (is_next or not alert.is_waiting)
    if not (waits_again or has_begun):  # what an answer leaves out didn't change
        kept = {name: getattr(before, name) for name in ("mode", "linked_alerts") if not getattr(remediation, name)}
        remediation = remediation.model_copy(update=kept)
    remediation = remediation.seen_after(before)
    moved = remediation.state != before.state or remediation.mode != before.mode
    asked_from = remediation.began_at - PRECISION if is_next else 0.0  # what was asked for before is over
    holds = [hold for hold in alert.holds if hold.since >= asked_from]
    alert = replace(alert, hold=replace(holds[0], others=tuple(holds[1:])) if waits and holds else None)
    decided = known if known and remediation.state in RULES[known.verb].effect else None
    did = decided.verb if decided else next((verb for verb in _USUAL if remediation.state in RULES[verb].effect), None)
    if view.alert.is_waiting and did:
        message = _told_of_ended_hold(view.alert, message, did, decided, remediation)
    # The mode of the next incident is no change of the last one's.
    last = before.model_copy(update={"mode": remediation.mode}) if has_begun else before
    lines = thread.transition(last, remediation, known, view.now, is_listed_again=alert.is_unlisted, is_next=is_next)
    # What was approved and won't run is named, as nobody would know which of a digest it is.
    is_off = remediation.state == State.CANCELLED or not (remediation.state in set(State) or remediation.is_under_way)
    was_approved = not BEGUN.isdisjoint({before.state, alert.as_told.state})
    message = message.saying(*lines, of_many=moved and was_approved and is_off)
    message = _told_of_undone_cancellation(view.alert, message, remediation)
    if waits_again or has_begun:
        ran = view.alert.remediation if runs else alert.as_told  # that it runs may have been answered before it is read
        if ran.state in BEGUN:
            alert = _having_run(alert, ran, remediation, view.now, verify_seconds)
        if alert.override and (waits_again or is_later):  # else what was approved alone runs after all
            alert = replace(alert, override=replace(alert.override, is_over=True))
        asked_since = max(view.now, alert.hold.until if alert.hold else 0.0)
        alert = replace(
            alert, waiting_since=view.now, asked_since=asked_since, came_back=None, was_over=False,
            worsened_at=0.0, history=None, impact=None,  # they are learned again
        )  # fmt: skip
        looking = tuple(looker for looker in message.looking if is_next and looker.since >= asked_from)
        message = message if message.is_digest else replace(message, looking=looking, mentioned="")  # by its post
    holds_still = alert.remark and not (is_next or has_begun) and alert.remark.applies_to(remediation)
    doubts = () if is_next or has_begun else alert.doubts
    alert = replace(alert, remark=alert.remark if holds_still else None, doubts=doubts)
    if alert.remark or doubts:
        is_settled = read_alone and view.asked_at >= settles_at(alert)
        alert, message = _told_of_no_effect(alert, message, remediation, is_settled=is_settled)
    is_worse = waits and not waits_again and readings.is_worse(alert, remediation)
    alert = replace(
        alert,
        remediation=remediation,
        fingerprint=fingerprint,
        share=share if waits_again or (moved and waits) else alert.share,
        decided=decided,
        worsened_at=view.now if is_worse and view.now - alert.worsened_at >= CALM_SECONDS else alert.worsened_at,
        is_unlisted=False,
        missing_since=0.0,
        is_stale=False,
        as_of=None,
    )
    return alert, message.due


def _having_run(alert: Alert, repair: Remediation, read: Remediation, now: float, verify_seconds: float) -> Alert:
    """Return an alert whose next incident is seen after a repair under the same ID, with what came of that."""
    if repair.state not in FINAL:
        if not readings.opened_later(repair, read) and repair.state != State.RUNNING:
            return alert  # it wasn't seen to run
        # How it ended was not seen, but it was over when the next one opened.
        ended_at = read.create_time if readings.opened_later(repair, read) else datetime.fromtimestamp(now, UTC)
        repair = repair.model_copy(update={"state": "ENDED", "end_time": ended_at})
    ended = Alert(
        repair, "", seen_at=alert.seen_at, waiting_since=alert.waiting_since, decided=alert.decided,
        came_back=alert.came_back or readings.came_back(repair, read, verify_seconds), override=alert.override,
    )  # fmt: skip
    kept = [
        incident
        for incident in alert.earlier
        if incident.remediation.ended_at > now - KEPT_SECONDS
        and (repair.start_time is None or incident.remediation.start_time != repair.start_time)  # a reading went back
    ]
    return replace(alert, override=None, earlier=(*kept[1 - EARLIER :], ended))


def loaded(view: AlertView, share: RepairLoad) -> Tracked:
    """Return an alert with how much of its cluster is in repair now."""
    return replace(view.alert, share=share), view.message.due


def _who(view: AlertView) -> DecidedBy | None:
    """Return who decided: as the audit trail says, or as the answer did, which names both of two people."""
    trail, answer = view.decided, view.alert.decided
    if trail and answer and (trail.verb, trail.user_id) != (answer.verb, answer.user_id):
        return trail
    return answer or trail


def gone(view: AlertView, sequence: int) -> Tracked | None:
    """Return an alert whose remediation Together doesn't find; None where that is out of date, or it had ended.

    One look may be at a replica that lags: only the second one says that it is withdrawn.
    """
    alert, message = view.alert, view.message
    if alert.decided_seq > sequence:
        return None
    if alert.is_closed and not alert.is_stale:
        is_settled = settles_at(alert) <= view.asked_at
        return (replace(alert, remark=None, doubts=()), message.due) if is_settled else None
    if not alert.missing_since or alert.missing_since > view.asked_at:
        return replace(alert, missing_since=view.asked_at, fingerprint=""), message  # a list that has it is news
    if view.asked_at - alert.missing_since < VANISHED_SECONDS:
        return None
    if alert.is_stale and alert.as_told.state in FINAL:  # it had ended before, as somebody was answered
        return seen(view, alert.as_told, alert.fingerprint, alert.share, sequence, read_alone=True)
    if not alert.is_unlisted:
        message = message.saying(thread.withdrawn(alert.remediation))
    alert = replace(alert, is_unlisted=True, is_stale=False, as_of=None, remark=None, doubts=())
    return alert, message.due


def unconfirmed(view: AlertView, as_of: float) -> Tracked | None:
    """Return an alert that Together has not confirmed for too long, so that its message says as of when it is."""
    if view.alert.is_closed or view.alert.as_of:
        return None
    # The next reading counts as news, for the next watcher too.
    return replace(view.alert, as_of=max(as_of, view.alert.seen_at), fingerprint=""), view.message.due


def returned(view: AlertView, back: CameBack) -> Tracked | None:
    """Return a repaired alert whose fault is back; None where that is known."""
    if view.alert.came_back or view.alert.remediation.state != State.SUCCEEDED:
        return None
    return replace(view.alert, came_back=back), view.message.due


def was_only_waiting(alert: Alert) -> bool:
    """Return whether no repair had begun, so one that vanishes need not be watched for."""
    return alert.is_waiting and not alert.is_stale and not (alert.decided and alert.decided.is_approval)


# What people do.


def answered(view: AlertView, request: Request, answer: Answer, seq: int) -> Tracked:
    """Note that somebody was answered: what the answer says must stay on the card."""
    alert, message, at = view.alert, view.message, view.now
    decides, remark = request.rule.decides, answer.remark
    if remark and not (decides or remark.buttons):
        doubt = alert.remark
        if doubt and not doubt.buttons and doubt.state == remark.state:
            alert = replace(alert, remark=replace(doubt, looked_at=at))
        remark = None  # it says what somebody's decision may do yet, and leaves no new doubt behind
    known = alert.remediation.state, alert.remediation.mode
    is_card = answer.manner is ReplyKind.CARD  # an error says nothing of the state
    if remark and is_card and (alert.is_unlisted or (remark.state, remark.mode) != known):
        # The card must say it too if Together can't be read; the notice was for the person who asked.
        alert = replace(alert, is_stale=True, missing_since=0.0, remark=replace(remark, notice="", at=at))
    read = answer.remark
    is_confirmed = is_card and (remark is not None or (read is not None and (read.state, read.mode) == known))
    as_of = at if alert.as_of and is_confirmed else alert.as_of  # the card is drawn by what was read for that
    alert = replace(alert, decided_seq=seq if decides else alert.decided_seq, as_of=as_of)
    if remark and remark.decided:
        message = _told_of_ended_hold(alert, message, remark.decided.verb, remark.decided, alert.remediation)
        alert = replace(alert, hold=None, decided=remark.decided)
    is_left_alone = alert.is_stale and not message.is_digest and message.ts is not None
    message = replace(message, next_at=at + LEFT_ALONE_SECONDS if is_left_alone else 0.0, done=False)
    place = request.place
    shown_at = place.channel_id, answer.card_ts or place.message_ts
    is_here = message.ts is not None and (message.channel_id, message.ts) == shown_at
    # What a decision left in doubt the card must say wherever somebody was told of it.
    is_doubt = remark is not None and not remark.buttons
    if is_doubt:
        of = request.verb, request.actor.user_id
        others = (doubt for doubt in alert.doubts if (doubt.verb, doubt.user_id) != of)
        alert = replace(alert, doubts=(*others, Doubt(*of, at)))
    if message.is_digest or not (is_here or is_doubt):
        return alert, message
    if remark and answer.manner is ReplyKind.ERROR:
        told, before = alert.as_told, alert.remark if alert.is_stale else None
        read_at, decided = (before.confirmed_at, before.decided) if before else (0.0, None)
        if alert.remark and not alert.remark.buttons:  # a doubt that is older still holds, and for as long as the newer
            alert = replace(alert, remark=replace(alert.remark, at=at, read_at=read_at))
            return alert, replace(message, content_hash="")
        seen = told if alert.is_stale else remark  # this person may not have seen a later answer
        state, mode = seen.state or told.state, seen.mode or told.mode
        remark = replace(remark, state=state, mode=mode, decided=decided, read_at=read_at)
    if remark:
        # An error is in the thread, and its line on the card is drawn with the next look.
        drawn = answer.message.fingerprint if is_card and is_here and not is_unsure(message, at) else ""
        return replace(alert, remark=replace(remark, at=at)), replace(message, content_hash=drawn)
    # "In progress" is on the card: what was there before is put back, and drawn again in case that fails.
    return alert, replace(message, content_hash="") if place.in_progress else message


def settles_at(alert: Alert) -> float:
    """Return from when on a reading ends all that is in doubt, in Unix time; infinity where nothing is."""
    told_at = [doubt.at for doubt in alert.doubts]
    if alert.remark and not alert.remark.buttons:
        told_at.append(alert.remark.at)
    return max(told_at, default=math.inf) + DOUBT_SECONDS


def _told_of_no_effect(alert: Alert, message: TrackedMessage, read: Remediation, *, is_settled: bool) -> Tracked:
    """Tell those whose decision was in doubt that it certainly hasn't taken effect."""
    left = tuple(doubt for doubt in alert.doubts if not _may_have_led_to(doubt.verb, read))
    if not (is_settled or read.state in FINAL):
        return replace(alert, doubts=left), message  # it may still
    message = message.owing(thread.no_effect(read, left)) if left else message
    if is_settled and alert.remark and not alert.remark.buttons:  # any other says what is certain
        alert = replace(alert, remark=None)
    return replace(alert, doubts=()), message


def _may_have_led_to(verb: Verb, read: Remediation) -> bool:
    """Return whether a decision may have led to what was read, or there is nothing left that it was to do."""
    if verb is Verb.APPROVE and read.state in CALLED_OFF:  # it may have been approved before
        return read.is_reviewed and (read.is_approved_by_bot or not read.review_comment)
    is_wanted = read.state in RULES[verb].effect or read.state in CALLED_OFF
    return is_wanted or read.state not in set(State)


def _told_of_ended_hold(
    alert: Alert, message: TrackedMessage, verb: Verb, decided: DecidedBy | None, read: Remediation
) -> TrackedMessage:
    """Tell those who asked to wait that somebody else didn't; `decided` is None where that wasn't through the bot."""
    deciders = {decided.user_id, decided.first_user} if decided else set()
    waited = [hold for hold in alert.holds if hold.user_id not in deciders]
    if not waited:
        return message
    who = ", ".join(f"<@{hold.user_id}>" for hold in waited)
    is_sure = decided is None or decided.is_sure
    by = f"by {decided.people}" if decided else (verb is Verb.APPROVE and labels.reviewed_by(read)) or "in Together"
    did = f"{RULES[verb].done}{'' if is_sure else ', apparently,'} {by}"
    return message.owing(f"{escape(alert.remediation.node, 100)}: {did} during your hold, {who}.")


def _told_of_undone_cancellation(alert: Alert, message: TrackedMessage, read: Remediation) -> TrackedMessage:
    """Tell the person who cancelled a remediation that it was carried out all the same."""
    before, who = alert.remediation, alert.decided
    told_state = alert.as_told.state
    is_undone = read.state in BEGUN and not readings.opened_later(before, read)
    # Somebody may have been answered before it was read that it was cancelled, or that it runs.
    was_cancelled = told_state == State.CANCELLED or (told_state in BEGUN and before.state == State.CANCELLED)
    if who is None or State.CANCELLED not in RULES[who.verb].effect or not (is_undone and was_cancelled):
        return message
    did = f"although {who.people} {'' if who.is_sure else 'apparently '}{RULES[who.verb].done} it"
    return message.owing(f"{escape(read.node, 100)}: Together went on with this {did}.")


def overridden(view: AlertView, override: Override) -> Tracked:
    """Note that somebody approves alone: the thread is told, even if the result stays unknown."""
    before = view.alert.override.each if view.alert.override else ()
    untold = tuple(one for one in before if one.key not in view.message.announced)
    return replace(view.alert, override=replace(override, earlier=untold)), view.message.due


def outdated(message: TrackedMessage, now: float, *, may_overwrite: bool) -> TrackedMessage:
    """Return a message that must be drawn again, and once more later where an edit may still arrive over that."""
    unsure_until = now + ARRIVED_SECONDS if may_overwrite else message.unsure_until
    return replace(message.due, content_hash="", unsure_until=unsure_until)


def maybe_overwritten(current: Snapshot) -> TrackedMessage:
    """Return a message over which an edit may still arrive."""
    return outdated(current.message, current.now, may_overwrite=True)


def is_unsure(message: TrackedMessage, now: float) -> bool:
    """Return whether an edit whose result wasn't clear may still arrive. Clocks can go back."""
    return 0 < message.unsure_until - now <= ARRIVED_SECONDS


def held(view: AlertView, hold: Hold) -> Tracked:
    """Put an alert on hold. Who asks again at once is not told of again."""
    alert, message, before = view.alert, view.message.due, view.alert.hold
    joined = before.joined(hold) if before else hold
    own = next((other for other in view.alert.holds if other.user_id == hold.user_id), None)
    if own is None or abs(hold.until - own.until) >= HELD_AGAIN_SECONDS or hold.reason not in {"", own.reason}:
        node, why = escape(alert.remediation.node, 100), f": “{escape(hold.reason, 300)}”" if hold.reason else "."
        message = message.saying(f"{node}: <@{hold.user_id}> put this on hold until {when(hold.until)}{why}")
    return replace(alert, hold=joined, asked_since=joined.until), message


def released(view: AlertView, user_id: str, shown: AbstractSet[str]) -> Tracked | None:
    """End a hold. Returns None if there was no hold, or somebody has joined it since it was shown.

    Args:
        shown: the keys of what was shown; empty where that isn't known.
    """
    alert = view.alert
    if alert.hold is None or (shown and not (alert.hold.keys <= shown or alert.hold.key_of_all in shown)):
        return None
    theirs = [f"<@{hold.user_id}>" for hold in alert.holds if hold.user_id != user_id]
    whose = f" of {', '.join(theirs)}" if theirs else ""
    said = f"{escape(alert.remediation.node, 100)}: <@{user_id}> released the hold{whose}."
    message = view.message.owing(said) if theirs else view.message.saying(said)  # who asked to wait is told anyway
    return replace(alert, hold=None, asked_since=view.now), message.due


# What becomes of the message in Slack.


def deleted(snapshot: Snapshot) -> TrackedMessage:
    """Return a message that is deleted, or of no use: it is posted again while something of it waits or fails."""
    message = snapshot.message
    lines = message.pending_lines if waiting(snapshot.alerts) else message.owed_lines  # how it ended is told anyway
    return replace(
        message, ts=None, posted_at=0.0, content_hash="", is_read_only=False, pending_lines=lines, next_at=0.0
    )
