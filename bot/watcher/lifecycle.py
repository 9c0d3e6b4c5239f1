"""What becomes of an alert and its message by what is seen and by time: pure functions. Times are Unix times."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from bot import cards
from bot.models import (
    FIRST_APPROVAL_SECONDS,
    HOLD_ENDS_SOON_SECONDS,
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
_CALLED = "called"


class Step(Enum):
    """What a message needs next, and which lane does it."""

    POST = Lane.POST, "post"
    EDIT = Lane.EDIT, "edit"
    TELL = Lane.TELL, "tell"
    REMIND = Lane.TELL, "remind"
    FIND = Lane.FIND, "find"
    MAKE_SURE = Lane.FIND, "make sure"
    MOVE = Lane.POST, "move"
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
    """

    message: Message
    told: frozenset[str] = frozenset()
    lines: int = 0
    broadcast: bool = False


def seen(look: Look, remediation: Remediation, fingerprint: str, share: Share | None, sequence: int) -> Tracked | None:
    """Return an alert and its message after Together has said something about its remediation.

    Args:
        look: the alert as it was.
        remediation: as Together says it.
        fingerprint: of what Together says.
        share: how much of the cluster is in repair.
        sequence: the audit trail's last row before Together was asked.

    Returns:
        None where somebody was answered since Together was asked: then this is out of date.
    """
    alert, message, before = look.alert, look.message, look.alert.remediation
    if alert.answered_seq > sequence:
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
        told = message.told - {str(remediation.ref)}  # should it fail once more, that is told once more
        message = replace(message, remind_from=look.now, reminders=0, told=told)
    alert = replace(
        alert,
        remediation=remediation,
        fingerprint=fingerprint,
        waits_since=look.now if waits_again else alert.waits_since,
        share=share if moved and waits else alert.share,
        hold=alert.hold if waits else None,
        remark=alert.remark if _holds(alert.remark, remediation) else None,
        decided=known if known and remediation.state in RULES[known.verb].effect else None,
        vanished=False,
        is_stale=False,
        as_of=None,
    )
    return alert, replace(message, next_at=0.0, done=False)


def _who(look: Look) -> Decided | None:
    """Return who decided: as the audit trail says, or as the answer did, which names both of two people."""
    trail, answer = look.decided, look.alert.decided
    if trail and answer and (trail.verb, trail.user_id) != (answer.verb, answer.user_id):
        return trail
    return answer or trail


def gone(look: Look, sequence: int) -> Tracked | None:
    """Return an alert whose remediation Together knows no longer; None where that is out of date."""
    alert, message = look.alert, look.message
    if alert.answered_seq > sequence or (alert.vanished and not alert.is_stale):
        return None
    if not alert.vanished and not message.is_digest:
        message = replace(message, lines=(*message.lines, cards.withdrawn(alert.remediation)))
    alert = replace(alert, vanished=True, is_stale=False, hold=None, as_of=None)
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
    remark = alert.remark if _holds(alert.remark, alert.remediation) else None
    notice, buttons = (remark.notice, remark.buttons) if remark else ("", True)
    decided = (remark.decided if remark else None) or alert.decided
    about = alert.about(snapshot.firsts.get(alert.remediation.ref))
    about = replace(about, pause=snapshot.pause, called=snapshot.message.called)
    return cards.card(
        alert.remediation, decided=decided, notice=notice, buttons=buttons, about=about, config=config.cards
    )


def _holds(remark: Remark | None, remediation: Remediation) -> bool:
    return remark is not None and (remark.state, remark.mode) == (remediation.state, remediation.mode)


def next_step(snapshot: Snapshot, config: WatchConfig) -> Step:  # noqa: PLR0911 - one line for each step, in their order
    """Return what a message needs next."""
    message, now = snapshot.message, snapshot.now
    if message.done:
        return Step.REST
    if not snapshot.alerts:
        return Step.REST if message.ts else Step.FORGET
    if message.ts is None:
        if message.posted_at:
            return Step.WAIT if 0 <= now - message.posted_at < ARRIVED_SECONDS else Step.FIND  # clocks can go back
        return Step.POST if waiting(snapshot.alerts) else Step.FORGET
    if snapshot.is_being_decided or awaits_reading(snapshot):
        return Step.WAIT
    if waiting(snapshot.alerts) and config.channel_of(snapshot) != message.channel_id:
        return Step.MOVE
    if not message.is_frozen and content(snapshot, config).fingerprint != message.drawn:
        return Step.EDIT
    if next(thread_parts(snapshot, config), None):
        return Step.TELL
    if (moment := remind_at(snapshot, config)) is not None and moment <= now:
        # The card is drawn once more before a reminder points at it: somebody may have deleted it.
        return Step.REMIND if message.is_frozen or message.shown_at >= moment else Step.EDIT
    return Step.REST


def awaits_reading(snapshot: Snapshot) -> bool:
    """Return whether a card stays as it was answered until Together is read."""
    return not snapshot.message.is_digest and snapshot.alerts[0].is_stale


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
    """Yield the call that was left out in quiet hours: once they are over, or once it is no mere warning any more."""
    message, waiting_ones = snapshot.message, unheld(snapshot)
    if config.quiet is None or message.called or not waiting_ones or _CALLED in message.told:
        return
    if called := config.called(waiting_ones, message.cluster_id, snapshot.now):
        yield ThreadPart(cards.late_call(waiting_ones[0].remediation, len(waiting_ones), called), frozenset({_CALLED}))


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
    message = snapshot.message
    failed = [each for each in snapshot.alerts if each.remediation.state == State.FAILED]
    new = [each for each in failed if str(each.remediation.ref) not in message.told and not _is_old(each, snapshot.now)]
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
        if hold.until - HOLD_ENDS_SOON_SECONDS <= now and key not in message.told:
            yield ThreadPart(cards.hold_ends(alert.remediation, hold), frozenset({key}))


def _warning(alert: Alert, hold: Hold) -> str:
    return f"hold {alert.remediation.ref} {hold.user_id} {hold.until:.0f}"


def unheld(snapshot: Snapshot) -> list[Alert]:
    """Return what waits and is on nobody's hold."""
    return [each for each in still_waiting(snapshot.alerts, snapshot.batches) if each.hold is None]


def remind_at(snapshot: Snapshot, config: WatchConfig) -> float | None:
    """Return when the next reminder is due: after the time, twice and four times the time without an act."""
    message = snapshot.message
    some = still_waiting(snapshot.alerts, snapshot.batches) if message.is_digest else unheld(snapshot)
    is_running = any(each.is_running for each in snapshot.batches)
    if not config.remind_seconds or message.reminders >= MAX_REMINDERS or not some or is_running:
        return None
    return message.remind_from + config.remind_seconds * 2.0**message.reminders


def reminded(snapshot: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return the message with a reminder counted; those that are overdue come to one."""
    message = replace(snapshot.message, reminders=snapshot.message.reminders + 1)
    while (moment := remind_at(replace(snapshot, message=message), config)) is not None and moment <= snapshot.now:
        message = replace(message, reminders=message.reminders + 1)
    return message


def deleted(snapshot: Snapshot) -> TrackedMessage:
    """Return a message that somebody has deleted in Slack: it is posted again while something of it waits."""
    return replace(
        snapshot.message, ts=None, posted_at=0.0, drawn="", lines=(), next_at=0.0, done=not waiting(snapshot.alerts)
    )


def moved(snapshot: Snapshot) -> TrackedMessage:
    """Return a message whose alerts go to another channel now: it is posted there, where nobody was reminded yet."""
    return replace(deleted(snapshot), is_frozen=False, remind_from=snapshot.now, reminders=0)


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
    if config.quiet and config.quiet.cover(snapshot.now) and not snapshot.message.called:
        yield config.quiet.end_after(snapshot.now)
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
