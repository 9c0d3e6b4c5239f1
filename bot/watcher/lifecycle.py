"""What becomes of an alert and its message by what is seen and by time: pure functions. Times are Unix times."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from bot import cards
from bot.models import (
    FINAL,
    FIRST_APPROVAL_SECONDS,
    HOLD_ENDS_SOON_SECONDS,
    OPEN,
    RULES,
    Alert,
    Decided,
    Hold,
    Message,
    Remark,
    Remediation,
    Share,
    Snapshot,
    State,
    Tracked,
    TrackedMessage,
    Verb,
    still_waiting,
    waiting,
)
from bot.store import Look
from bot.watcher.config import WatchConfig
from bot.watcher.workqueue import Lane

MAX_REMINDERS = 3
ARRIVED_SECONDS = 15.0  # a post has arrived by then or never will: the client gives up after 10
GROWS_SECONDS = 60.0  # so long after the last one, what is new in the cluster goes into its digest
FAILURE_SECONDS = 86_400.0  # a repair that failed longer ago calls nobody
VANISHED_SECONDS = 10.0  # what Together doesn't find for so long, at two looks, is withdrawn
CALM_SECONDS = 900.0  # what comes and goes calls no more often
LATE_SECONDS = 120.0  # so long a call leaves to a reminder that is due
# A remediation only moves forward in these, unless it begins once more.
_ORDER = {str(state): place for place, state in enumerate(OPEN)} | dict.fromkeys(map(str, FINAL), len(OPEN))
_TIMES = "create_time", "update_time"


class Step(Enum):
    """What a message needs next, and which lane does it."""

    POST = Lane.POST, "post"
    EDIT = Lane.EDIT, "edit"
    TELL = Lane.TELL, "tell"
    REMIND = Lane.TELL, "remind"
    FIND = Lane.FIND, "find"
    FORGET = Lane.LOOK, "forget"
    WAIT = Lane.LOOK, "wait"
    REST = Lane.LOOK, "rest"

    @property
    def lane(self) -> Lane:
        """The lane in which it is done."""
        return self.value[0]


@dataclass(frozen=True, slots=True)
class ThreadPart:
    """Something that a thread lacks.

    Attributes:
        told: what is remembered once it is told.
        lines: how many of the message's lines are no longer due then.
        broadcast: it is shown in the channel too.
        is_call: it calls who is on call.
    """

    message: Message
    told: frozenset[str] = frozenset()
    lines: int = 0
    broadcast: bool = False
    is_call: bool = False


def seen(  # noqa: PLR0913 - what was read, and when
    look: Look,
    remediation: Remediation,
    fingerprint: str,
    share: Share | None,
    sequence: int,
    *,
    read_alone: bool,
) -> Tracked | None:
    """Return an alert and its message after Together has said something about its remediation.

    Args:
        look: the alert as it was.
        remediation: as Together says it.
        fingerprint: of what Together says.
        share: how much of the cluster is in repair.
        sequence: the audit trail's last row before Together was asked.
        read_alone: it is no item of a list, which may lag behind.

    Returns:
        None where this is older than what is known, or may be: then it is to be read alone.
    """
    alert, message, before = look.alert, look.message, look.alert.remediation
    if alert.answered_seq > sequence or _is_older(before, remediation):
        return None
    if not read_alone and _may_be_older(alert, remediation):
        return None
    moved = remediation.state != before.state or remediation.mode != before.mode
    known = _who(look)
    waits = remediation.state == State.PENDING_APPROVAL
    waits_again = waits and not alert.waits
    if not message.is_digest:
        lines = message.lines + ((cards.listed_again(remediation),) if alert.vanished else ())
        if moved:
            lines = (*lines, *cards.transition(before, remediation, known, look.now))
        message = replace(message, lines=lines)
    if waits_again:
        # Should it fail once more, that is told once more.
        message = replace(message, told=message.told - {str(remediation.ref)})
        asked_since = max(look.now, alert.hold.until if alert.hold else 0.0)
        alert = replace(alert, waits_since=look.now, asked_since=asked_since)
    if waits and _is_worse(alert, remediation) and look.now - alert.worsened_at >= CALM_SECONDS:
        alert = replace(alert, worsened_at=look.now)
    alert = replace(
        alert,
        remediation=remediation,
        fingerprint=fingerprint,
        share=share if moved and waits else alert.share,
        hold=alert.hold if waits else None,
        remark=alert.remark if _holds(alert.remark, remediation) else None,
        decided=known if known and remediation.state in RULES[known.verb].effect else None,
        vanished=False,
        missing_since=0.0,
        is_stale=False,
        as_of=None,
    )
    return alert, replace(message, next_at=0.0, done=False)


def _is_older(known: Remediation, read: Remediation) -> bool:
    """Return whether Together's own times say that a reading is older than another."""
    return _compared(known, read) < 0


def _may_be_older(alert: Alert, read: Remediation) -> bool:
    """Return whether an item of a list may be from before what is known, as nothing shows that it is from after."""
    known = alert.remediation
    if _compared(known, read) > 0:
        return False
    if alert.is_stale and read.state == known.state:
        return True  # somebody was answered something else, and the list hasn't moved
    return _rank(read.state, len(_ORDER)) < _rank(told_of(alert).state, 0)


def _rank(state: str, unknown: int) -> int:
    """Return how far a repair has come in a state; `unknown` where this version doesn't know it."""
    return _ORDER.get(state, unknown)


def _compared(known: Remediation, read: Remediation) -> int:
    """Return 1 where a reading is newer than what is known by Together's own times, -1 where it is older, else 0."""
    for name in _TIMES:
        before, after = _seconds(getattr(known, name)), _seconds(getattr(read, name))
        if before and after and before != after:
            return 1 if after > before else -1
    return 0


def _seconds(moment: datetime | None) -> float:
    if moment is None:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_worse(alert: Alert, read: Remediation) -> bool:
    """Return whether a fault that was a warning isn't any more; what names no fault says nothing of that."""
    return alert.remediation.is_warning and bool(read.linked_alerts) and not read.is_warning


def told_of(alert: Alert) -> Remediation:
    """Return a remediation as people were last told of it: as it was seen, or as somebody was answered since."""
    remark = alert.remark
    if not alert.is_stale or remark is None:
        return alert.remediation
    told: dict[str, object] = {"state": remark.state, "mode": remark.mode}
    if remark.decided and remark.decided.verb is Verb.APPROVE and alert.remediation.review_time is None:
        told["review_time"] = datetime.fromtimestamp(remark.decided.at, UTC)
    return alert.remediation.model_copy(update=told)


def loaded(look: Look, share: Share) -> Tracked | None:
    """Return a waiting alert with how much of its cluster is in repair now; None where that is no news."""
    if not is_behind(look.alert, share):
        return None
    return replace(look.alert, share=share), replace(look.message, next_at=0.0)


def is_behind(alert: Alert, share: Share) -> bool:
    """Return whether a waiting alert says another load of its cluster than there is."""
    told = alert.share
    is_same = told is not None and (told.in_repair, told.nodes) == (share.in_repair, share.nodes)
    return alert.waits and not alert.is_stale and not is_same


def _who(look: Look) -> Decided | None:
    """Return who decided: as the audit trail says, or as the answer did, which names both of two people."""
    trail, answer = look.decided, look.alert.decided
    if trail and answer and (trail.verb, trail.user_id) != (answer.verb, answer.user_id):
        return trail
    return answer or trail


def gone(look: Look, sequence: int) -> Tracked | None:
    """Return an alert whose remediation Together doesn't find; None where that is out of date.

    One look may be at a replica that lags: only the second one says that it is withdrawn.
    """
    alert, message = look.alert, look.message
    if alert.answered_seq > sequence or (alert.vanished and not alert.is_stale):
        return None
    if not alert.missing_since or alert.missing_since > look.now:
        return replace(alert, missing_since=look.now), message
    if look.now - alert.missing_since < VANISHED_SECONDS:
        return None
    if not alert.vanished and not message.is_digest:
        message = replace(message, lines=(*message.lines, cards.withdrawn(alert.remediation)))
    alert = replace(alert, vanished=True, is_stale=False, as_of=None)
    return alert, replace(message, next_at=0.0, done=False)


def unconfirmed(look: Look, as_of: float) -> Tracked | None:
    """Return an alert that Together has not confirmed for too long, so that its message says as of when it is."""
    if look.alert.is_closed or look.alert.as_of:
        return None
    # The next reading counts as news, for the next watcher too.
    return replace(look.alert, as_of=as_of, fingerprint=""), replace(look.message, next_at=0.0)


def content(snapshot: Snapshot, config: WatchConfig) -> Message:
    """Return what the message should say: a card as the last answer on it was drawn, as long as that holds."""
    if snapshot.message.is_digest:
        return cards.digest.draw(snapshot.message, snapshot.alerts, snapshot.batches, snapshot.pause)
    alert = snapshot.alerts[0]
    remediation = told_of(alert)
    remark = alert.remark if _holds(alert.remark, remediation) else None
    notice, buttons = (remark.notice, remark.buttons) if remark else ("", True)
    decided = (remark.decided if remark else None) or alert.decided
    about = alert.about(snapshot.firsts.get(alert.remediation.ref))
    about = replace(about, pause=snapshot.pause, called=snapshot.message.called)
    if alert.is_stale:
        about = replace(about, vanished=False, as_of=_answered_at(alert))
    return cards.card(remediation, decided=decided, notice=notice, buttons=buttons, about=about, config=config.cards)


def _answered_at(alert: Alert) -> float | None:
    """Return when Together was last read for somebody's answer, where no list has confirmed it for too long since."""
    return max(alert.as_of, alert.remark.at) if alert.as_of and alert.remark else None


def _holds(remark: Remark | None, remediation: Remediation) -> bool:
    return remark is not None and (remark.state, remark.mode) == (remediation.state, remediation.mode)


def next_step(snapshot: Snapshot, config: WatchConfig) -> Step:  # noqa: PLR0911 - one line for each step, in their order
    """Return what a message needs next."""
    message, now = snapshot.message, snapshot.now
    if message.done:
        return Step.REST
    if message.ts is None or not snapshot.alerts:
        return _step_to_the_channel(snapshot)
    if snapshot.is_being_decided or (awaits_reading(snapshot) and not _is_unconfirmed(snapshot, config)):
        return Step.WAIT
    if not message.is_frozen and content(snapshot, config).fingerprint != message.drawn:
        return Step.EDIT
    if awaits_reading(snapshot):
        return Step.WAIT
    if next(thread_parts(snapshot, config), None):
        return Step.TELL
    if (moment := remind_at(snapshot, config)) is not None and moment <= now:
        # The card is drawn once more before a reminder points at it: somebody may have deleted it.
        return Step.REMIND if message.is_frozen or message.shown_at >= moment else Step.EDIT
    return Step.REST


def _step_to_the_channel(snapshot: Snapshot) -> Step:
    """Return what a message needs that isn't known to be in the channel, or shows nothing."""
    message, now = snapshot.message, snapshot.now
    if not snapshot.alerts:
        return Step.REST if message.ts else Step.FORGET
    if message.posted_at:
        return Step.WAIT if 0 <= now - message.posted_at < ARRIVED_SECONDS else Step.FIND  # clocks can go back
    if waiting(snapshot.alerts) or (message.shown_at and _new_failures(snapshot)):
        return Step.POST
    return Step.REST if message.shown_at else Step.FORGET  # what somebody has deleted may fail yet


def awaits_reading(snapshot: Snapshot) -> bool:
    """Return whether a card stays as it was answered until Together is read."""
    return not snapshot.message.is_digest and snapshot.alerts[0].is_stale


def _is_unconfirmed(snapshot: Snapshot, config: WatchConfig) -> bool:
    """Return whether a card that stays as it was answered must say as of when that is."""
    alert = snapshot.alerts[0]
    at = _answered_at(alert)
    return at is not None and told_of(alert).state not in FINAL and snapshot.now - at >= config.stale_seconds


def thread_parts(snapshot: Snapshot, config: WatchConfig) -> Iterator[ThreadPart]:
    """Yield what the thread lacks."""
    message = snapshot.message
    if message.lines:
        yield ThreadPart(cards.lines(message.lines), lines=len(message.lines))
    yield from _failures(snapshot, config.oncall(snapshot.alerts, message.cluster_id))
    yield from _late_calls(snapshot, config)
    if not message.is_digest:
        yield from _first_approvals(snapshot, config)
    for alert in snapshot.alerts:
        yield from _warnings(alert, message, snapshot.now)
    if message.is_digest:
        yield from _results(snapshot)


def _is_old(alert: Alert, now: float) -> bool:
    """Return whether a repair failed so long ago that nobody is to be called for it: it was told then."""
    ended = alert.remediation.end_time or alert.remediation.update_time
    return ended is not None and now - ended.timestamp() > FAILURE_SECONDS


def _late_calls(snapshot: Snapshot, config: WatchConfig) -> Iterator[ThreadPart]:
    """Yield the call for what nobody was called for when it came; what is new since is shown in the channel too."""
    message, now, asking = snapshot.message, snapshot.now, unheld(snapshot)
    if not asking:
        return
    called = config.called(asking, message.cluster_id, now)
    due = remind_at(snapshot, config)
    if called and due is not None and -LATE_SECONDS < due - now < GROWS_SECONDS:
        return  # the reminder calls
    if not called and config.oncall(asking, message.cluster_id):
        return  # in quiet hours
    worse = [each for each in asking if each.worsened_at > message.called_at]
    came = [each for each in asking if _calls_at(each, message) <= now]
    new = came if len(came) == len(asking) else []
    if some := (worse if called else []) or new or (asking if called and message.owes_call else []):
        again = bool(new) and all(each.waits_since for each in some)
        told = cards.late_call(some[0].remediation, len(some), called, again=again)
        yield ThreadPart(told, broadcast=bool(new), is_call=True)


def _calls_at(alert: Alert, message: TrackedMessage) -> float:
    """Return when to call for an alert that came after the last call; never for one that was there."""
    if alert.came_at <= message.called_at:
        return math.inf
    return message.called_at + CALM_SECONDS if alert.waits_since > message.called_at else alert.came_at


def _first_approvals(snapshot: Snapshot, config: WatchConfig) -> Iterator[ThreadPart]:
    """Yield that one of two people has approved what waits still."""
    for alert in snapshot.alerts:
        first = snapshot.firsts.get(alert.remediation.ref)
        if first is None or not alert.waits or not first.counts_for(alert.remediation):
            continue
        key = f"first {first.job_id}"
        if key not in snapshot.message.told:
            called = config.called([alert], snapshot.message.cluster_id, snapshot.now)
            yield ThreadPart(cards.first_approval(alert.remediation, first.user_id, called), frozenset({key}))


def _failures(snapshot: Snapshot, oncall: str) -> Iterator[ThreadPart]:
    """Yield which repairs have failed, for the channel too."""
    message, new = snapshot.message, _new_failures(snapshot)
    if not new:
        return
    told = frozenset(str(each.remediation.ref) for each in new)
    if message.is_digest:
        yield ThreadPart(cards.digest.failures(new, snapshot.firsts, oncall), told, broadcast=True)
        return
    first = snapshot.firsts.get(new[0].remediation.ref)
    first_user = first.user_id if first and first.mode == new[0].remediation.mode else ""
    said = cards.failed_repair(new[0].remediation, new[0].decided, first_user, oncall, snapshot.now)
    yield ThreadPart(said, told, broadcast=True)


def _new_failures(snapshot: Snapshot) -> list[Alert]:
    """Return what has failed lately and wasn't told."""
    told, now = snapshot.message.told, snapshot.now
    failed = [each for each in snapshot.alerts if each.remediation.state == State.FAILED]
    return [each for each in failed if str(each.remediation.ref) not in told and not _is_old(each, now)]


def _results(snapshot: Snapshot) -> Iterator[ThreadPart]:
    """Yield what the thread of a digest lacks: reports of selections."""
    message = snapshot.message
    for batch in snapshot.batches:
        if batch.is_running or batch.id in message.told:
            continue
        parts = cards.batch.report(batch)
        for number, part in enumerate(parts):
            if (key := f"{batch.id} {number}") not in message.told:
                is_last = number == len(parts) - 1
                yield ThreadPart(part, frozenset({key, batch.id} if is_last else {key}))


def _holds_of(alert: Alert) -> tuple[Hold, ...]:
    return (alert.hold, *alert.hold.others) if alert.hold else ()


def _warnings(alert: Alert, message: TrackedMessage, now: float) -> Iterator[ThreadPart]:
    """Yield what tells people that their holds end soon."""
    for hold in _holds_of(alert):
        key = _warning(alert, hold)
        if alert.waits and hold.until - HOLD_ENDS_SOON_SECONDS <= now and key not in message.told:
            yield ThreadPart(cards.hold_ends(alert.remediation, hold), frozenset({key}))


def _warning(alert: Alert, hold: Hold) -> str:
    return f"hold {alert.remediation.ref} {hold.user_id} {hold.until:.0f}"


def unheld(snapshot: Snapshot) -> list[Alert]:
    """Return what waits and is on nobody's hold."""
    return [each for each in still_waiting(snapshot.alerts, snapshot.batches) if each.hold is None]


def remind_at(snapshot: Snapshot, config: WatchConfig) -> float | None:
    """Return when the next reminder is due: after the time, twice and four times the time without an act."""
    is_running = any(each.is_running for each in snapshot.batches)
    if not config.remind_seconds or is_running or (counting := _counting(snapshot)) is None:
        return None
    since, reminders = counting
    return since + config.remind_seconds * 2.0**reminders


def _counting(snapshot: Snapshot) -> tuple[float, int] | None:
    """Return since when reminders count, and how many of them were sent; None where none is to be sent.

    They start over once nothing waits that was there at the last one, and, after the third, for what has come since.
    """
    message = snapshot.message
    asking = [each.remind_from for each in unheld(snapshot)]
    new = [each for each in asking if each > max(message.remind_from, message.reminded_at)]
    if new and (len(new) == len(asking) or message.reminders >= MAX_REMINDERS):
        return min(new), 0
    return (message.remind_from, message.reminders) if asking and message.reminders < MAX_REMINDERS else None


def reminded(snapshot: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return the message with a reminder counted; those that are overdue come to one."""
    message = snapshot.message
    since, reminders = _counting(snapshot) or (message.remind_from, message.reminders)
    message = replace(message, remind_from=since, reminders=reminders + 1, reminded_at=snapshot.now)
    while (moment := remind_at(replace(snapshot, message=message), config)) is not None and moment <= snapshot.now:
        message = replace(message, reminders=message.reminders + 1)
    return asked(message, unheld(snapshot), config, snapshot.now)


def not_reminded(message: TrackedMessage, before: TrackedMessage) -> TrackedMessage:
    """Return a message whose reminder Slack has refused, as it was before."""
    return replace(
        message,
        remind_from=before.remind_from,
        reminders=before.reminders,
        reminded_at=before.reminded_at,
        called_at=before.called_at,
        owes_call=before.owes_call,
        next_at=0.0,
    )


def asked(message: TrackedMessage, alerts: Sequence[Alert], config: WatchConfig, now: float) -> TrackedMessage:
    """Return a message with a post or reminder about alerts noted: it has called, or owes a call after quiet hours."""
    if config.oncall(alerts, message.cluster_id) and not config.called(alerts, message.cluster_id, now):
        return replace(message, owes_call=True)
    return replace(message, called_at=now, owes_call=False)


def leaving(message: TrackedMessage, snapshot: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return a message that is about to be posted."""
    message = replace(message, posted_at=snapshot.now)
    if not (some := waiting(snapshot.alerts)):
        return replace(message, called="")  # somebody has deleted it, and a repair of it has failed since
    called = config.called(some, message.cluster_id, snapshot.now)
    return asked(replace(message, called=called), some, config, snapshot.now)


def replied(message: TrackedMessage, part: ThreadPart, now: float) -> TrackedMessage:
    """Return a message whose thread was told something."""
    message = replace(message, lines=message.lines[part.lines :], told=message.told | part.told)
    return replace(message, called_at=now, owes_call=False) if part.is_call else message


def deleted(snapshot: Snapshot) -> TrackedMessage:
    """Return a message that somebody has deleted in Slack: it is posted again while something of it waits or fails."""
    return replace(snapshot.message, ts=None, posted_at=0.0, drawn="", lines=(), next_at=0.0)


def settled(snapshot: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return the message with the moment at which it is to be looked at again; done when there is none any more."""
    message, now = snapshot.message, snapshot.now
    if (step := next_step(snapshot, config)) is not Step.REST:
        is_left_alone = step is Step.WAIT and awaits_reading(snapshot)
        return replace(message, next_at=now + config.stale_seconds if is_left_alone else 0.0)
    if any(each.is_running for each in snapshot.batches) or not all(each.is_closed for each in snapshot.alerts):
        return replace(message, next_at=min(_moments(snapshot, config), default=None))
    if message.is_digest and message.grown_at + GROWS_SECONDS > now:
        return replace(message, next_at=message.grown_at + GROWS_SECONDS)
    return replace(message, next_at=None, done=True)


def _moments(snapshot: Snapshot, config: WatchConfig) -> Iterator[float]:
    if (moment := remind_at(snapshot, config)) is not None:
        yield moment
    if snapshot.pause:
        yield snapshot.pause.until
    asking = unheld(snapshot)
    if config.quiet and asking and config.quiet.cover(snapshot.now):
        yield config.quiet.end_after(snapshot.now)
    yield from (at for each in asking if snapshot.now < (at := _calls_at(each, snapshot.message)) < math.inf)
    for alert in snapshot.alerts:
        for hold in _holds_of(alert):
            yield hold.until
            if _warning(alert, hold) not in snapshot.message.told:
                yield hold.until - HOLD_ENDS_SOON_SECONDS
        if alert.remark and alert.remark.until is not None:
            yield alert.remark.until
        if alert.waits and (first := snapshot.firsts.get(alert.remediation.ref)):
            yield first.at + FIRST_APPROVAL_SECONDS


def was_only_waiting(alert: Alert) -> bool:
    """Return whether nothing had begun, so that nothing is to be looked for once it has vanished."""
    return alert.waits and not alert.is_stale and not (alert.decided and alert.decided.verb is Verb.APPROVE)
