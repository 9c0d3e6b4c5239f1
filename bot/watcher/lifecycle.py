"""What becomes of an alert and its message by what is seen and by time: pure functions. Times are Unix times."""

import math
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum

from bot import cards
from bot.models import (
    ARRIVED_SECONDS,
    FINAL,
    FIRST_APPROVAL_SECONDS,
    HOLD_ENDS_SOON_SECONDS,
    RULES,
    Alert,
    CardNote,
    DecidedBy,
    Message,
    Remediation,
    RepairLoad,
    Snapshot,
    State,
    Tracked,
    TrackedMessage,
    Verb,
    waiting,
)
from bot.store import Look
from bot.watcher import calls, readings, threads
from bot.watcher.config import WatchConfig
from bot.watcher.workqueue import Lane

GROWS_SECONDS = 60.0  # so long after the last one, what is new in the cluster goes into its digest
READ_SECONDS = 10.0  # within which what was read alone was asked for (the client gives up then)
VANISHED_SECONDS = 10.0  # what Together doesn't find for so long, at two looks, is withdrawn


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


def seen(  # noqa: PLR0913 - what was read, and when
    look: Look,
    remediation: Remediation,
    fingerprint: str,
    share: RepairLoad | None,
    sequence: int,
    *,
    read_alone: bool,
) -> Tracked | None:
    """Return an alert and its message after Together has said something about its remediation.

    Returns:
        None where this is older than what is known, or may be: then it is to be read alone.
    """
    alert, message, before = look.alert, look.message, look.alert.remediation
    if alert.decided_seq > sequence or readings.is_older(before, remediation):
        return None
    if not read_alone and readings.may_be_older(alert, remediation):
        return None
    moved = remediation.state != before.state or remediation.mode != before.mode
    known = _who(look)
    waits = remediation.state == State.PENDING_APPROVAL
    waits_again = waits and not alert.is_waiting
    if not message.is_digest:
        lines = message.pending_lines + ((cards.listed_again(remediation),) if alert.is_unlisted else ())
        if moved:
            lines = (*lines, *cards.transition(before, remediation, known, look.now))
        message = replace(message, pending_lines=lines)
    if waits_again:
        # Should it fail once more, that is told once more.
        message = replace(message, announced=message.announced - {str(remediation.ref)})
        asked_since = max(look.now, alert.hold.until if alert.hold else 0.0)
        alert = replace(alert, waiting_since=look.now, asked_since=asked_since)
    if waits and readings.is_worse(alert, remediation) and look.now - alert.worsened_at >= calls.CALM_SECONDS:
        alert = replace(alert, worsened_at=look.now)
    alert = replace(
        alert,
        remediation=remediation,
        fingerprint=fingerprint,
        share=share if moved and waits else alert.share,
        hold=alert.hold if waits else None,
        remark=alert.remark if _still_holds(alert, remediation, look.now, read_alone=read_alone) else None,
        decided=known if known and remediation.state in RULES[known.verb].effect else None,
        is_unlisted=False,
        missing_since=0.0,
        is_stale=False,
        as_of=None,
    )
    return alert, replace(message, next_at=0.0, done=False)


def loaded(look: Look, share: RepairLoad) -> Tracked | None:
    """Return a waiting alert with how much of its cluster is in repair now; None where that is no news."""
    if not is_behind(look.alert, share):
        return None
    return replace(look.alert, share=share), replace(look.message, next_at=0.0)


def is_behind(alert: Alert, share: RepairLoad) -> bool:
    """Return whether a waiting alert says another load of its cluster than there is."""
    told = alert.share
    is_same = told is not None and (told.in_repair, told.nodes) == (share.in_repair, share.nodes)
    return alert.is_waiting and not alert.is_stale and not is_same


def _who(look: Look) -> DecidedBy | None:
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
    if alert.decided_seq > sequence or (alert.is_unlisted and not alert.is_stale):
        return None
    if not alert.missing_since or alert.missing_since > look.now:
        return replace(alert, missing_since=look.now), message
    if look.now - alert.missing_since < VANISHED_SECONDS:
        return None
    if not alert.is_unlisted and not message.is_digest:
        message = replace(message, pending_lines=(*message.pending_lines, cards.withdrawn(alert.remediation)))
    alert = replace(alert, is_unlisted=True, is_stale=False, as_of=None)
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
    remediation = readings.told_of(alert)
    remark = alert.remark if _holds(alert.remark, remediation) else None
    notice, buttons = (remark.notice, remark.buttons) if remark else ("", True)
    decided = (remark.decided if remark else None) or alert.decided
    about = alert.about(snapshot.firsts.get(alert.remediation.ref))
    about = replace(about, pause=snapshot.pause, mentioned=snapshot.message.mentioned)
    if alert.is_stale:
        as_of = None if remediation.state in FINAL else _answered_at(alert)
        about = replace(about, is_unlisted=False, as_of=as_of)
    return cards.card(remediation, decided=decided, notice=notice, buttons=buttons, about=about, config=config.cards)


def _answered_at(alert: Alert) -> float | None:
    """Return when Together was last read for somebody's answer, where no list has confirmed it for too long since."""
    return max(alert.as_of, alert.remark.at) if alert.as_of and alert.remark else None


def _still_holds(alert: Alert, read: Remediation, now: float, *, read_alone: bool) -> bool:
    """Return whether what was answered holds after a reading: a doubt ends with what was read alone, late enough."""
    remark = alert.remark
    if remark is None or not _holds(remark, read):
        return False
    return remark.settles_at is None or not read_alone or now - READ_SECONDS < remark.settles_at


def _holds(remark: CardNote | None, remediation: Remediation) -> bool:
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
    if waiting(snapshot.alerts) and config.channel_of(snapshot) != message.channel_id:
        return Step.MOVE
    if not message.is_read_only and content(snapshot, config).fingerprint != message.content_hash:
        return Step.EDIT
    if awaits_reading(snapshot):
        return Step.WAIT
    if next(threads.thread_parts(snapshot, config), None):
        return Step.TELL
    if (moment := calls.remind_at(snapshot, config)) is not None and moment <= now:
        # The card is drawn once more before a reminder points at it: somebody may have deleted it.
        return Step.REMIND if message.is_read_only or message.edited_at >= moment else Step.EDIT
    return Step.REST


def _step_to_the_channel(snapshot: Snapshot) -> Step:
    """Return what a message needs that isn't known to be in the channel, or shows nothing."""
    message, now = snapshot.message, snapshot.now
    if not snapshot.alerts:
        return Step.REST if message.ts else Step.FORGET
    if message.posted_at:
        return Step.WAIT if 0 <= now - message.posted_at < ARRIVED_SECONDS else Step.FIND  # clocks can go back
    if waiting(snapshot.alerts) or (message.edited_at and threads.new_failures(snapshot)):
        return Step.POST
    return Step.REST if message.edited_at else Step.FORGET  # what somebody has deleted may fail yet


def awaits_reading(snapshot: Snapshot) -> bool:
    """Return whether a card stays as it was answered until Together is read."""
    return not snapshot.message.is_digest and snapshot.alerts[0].is_stale


def _is_unconfirmed(snapshot: Snapshot, config: WatchConfig) -> bool:
    """Return whether nothing has confirmed for too long what somebody was answered: then the card says it."""
    at = _answered_at(snapshot.alerts[0])
    return at is not None and snapshot.now - at >= config.stale_seconds


def deleted(snapshot: Snapshot) -> TrackedMessage:
    """Return a message that somebody has deleted in Slack: it is posted again while something of it waits or fails."""
    return replace(snapshot.message, ts=None, posted_at=0.0, content_hash="", pending_lines=(), next_at=0.0)


def moved(snapshot: Snapshot) -> TrackedMessage:
    """Return a message whose alerts go to another channel now: it is posted there, where nobody was reminded yet."""
    return replace(deleted(snapshot), is_read_only=False, remind_from=snapshot.now, reminders=0)


def settled(snapshot: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Return the message with the moment at which it is to be looked at again; done when there is none any more."""
    message, now = snapshot.message, snapshot.now
    if (step := next_step(snapshot, config)) is not Step.REST:
        is_left_alone = step is Step.WAIT and awaits_reading(snapshot)
        return replace(message, next_at=now + config.stale_seconds if is_left_alone else 0.0)
    if any(each.is_running for each in snapshot.batches) or not all(each.is_closed for each in snapshot.alerts):
        return replace(message, next_at=min(_moments(snapshot, config), default=None))
    if message.is_digest and message.last_added_at + GROWS_SECONDS > now:
        return replace(message, next_at=message.last_added_at + GROWS_SECONDS)
    return replace(message, next_at=None, done=True)


def _moments(snapshot: Snapshot, config: WatchConfig) -> Iterator[float]:
    if (moment := calls.remind_at(snapshot, config)) is not None:
        yield moment
    if snapshot.pause:
        yield snapshot.pause.until
    asking = calls.unheld(snapshot)
    if config.quiet and asking and config.quiet.cover(snapshot.now):
        yield config.quiet.end_after(snapshot.now)
    yield from (at for each in asking if snapshot.now < (at := calls.calls_at(each, snapshot.message)) < math.inf)
    for alert in snapshot.alerts:
        for hold in threads.holds_of(alert):
            yield hold.until
            if threads.warning(alert, hold) not in snapshot.message.announced:
                yield hold.until - HOLD_ENDS_SOON_SECONDS
        if alert.remark and alert.remark.until is not None:
            yield alert.remark.until
        if alert.remark and alert.remark.settles_at is not None:
            yield max(alert.remark.settles_at, snapshot.now + config.poll_seconds)
        if alert.is_waiting and (first := snapshot.firsts.get(alert.remediation.ref)):
            yield first.at + FIRST_APPROVAL_SECONDS


def was_only_waiting(alert: Alert) -> bool:
    """Return whether nothing had begun, so that nothing is to be looked for once it has vanished."""
    return alert.is_waiting and not alert.is_stale and not (alert.decided and alert.decided.verb is Verb.APPROVE)
