"""What a message's thread doesn't say yet: pure functions. Times are Unix times."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from bot import cards
from bot.cards import thread
from bot.models import (
    HOLD_ENDS_SOON_SECONDS,
    Alert,
    Batch,
    EventKind,
    Hold,
    Message,
    Mode,
    Override,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
)
from bot.watcher import calls
from bot.watcher.config import WatchConfig

FAILURE_SECONDS = 86_400.0  # a repair that had failed longer ago when it was first seen calls nobody
GATHERED_SECONDS = 600.0  # what is due in a digest is posted together, at the next full ten minutes
BACK_SECONDS = 900.0  # within which a repaired node is to run again
BACK_LOOKED_FOR_SECONDS = 7 * 86_400.0  # also where no bot ran
TOO_LATE_SECONDS = 86_400.0  # so long after a repair was watched, its fault isn't looked for any more
# Of what replaces the VM, neither its new ID nor its name is known before; and what is removed is not to come back.
KEEP_THE_NODE = {Mode.REBOOT_VM, Mode.HOST_POWER_CYCLE}
SOON_SECONDS, LATE_SECONDS = 60.0, 120.0  # a call is left to a reminder that is due so soon, or is so late


@dataclass(frozen=True, slots=True)
class PendingReply:
    """Something that a thread lacks.

    Attributes:
        announced: what is remembered once it is posted.
        lines: how many of the message's lines are no longer due then.
        broadcast: it is shown in the channel too.
        is_call: it calls who is on call.
        owes_call: a call is still owed after it, because of quiet hours.
        reminded: the message with this reminder counted.
        event: what other tools get with it, of the repairs that it is about.
        mark: identifies it where nothing is remembered; unique within a message.
        user_id: whom it answers, in a direct message where the channel takes nothing.
    """

    message: Message
    announced: frozenset[str] = frozenset()
    lines: int = 0
    broadcast: bool = False
    is_call: bool = False
    owes_call: bool = False
    reminded: TrackedMessage | None = None
    event: EventKind | None = None
    about: tuple[Alert, ...] = ()
    mark: str = ""
    user_id: str = ""


class News(NamedTuple):
    """What a thread doesn't have yet: approvals by one person alone, failures, and repairs whose fault is back."""

    overrides: list[tuple[Alert, Override]]
    failures: list[Alert]
    returns: dict[str, Alert]


def news(snapshot: Snapshot) -> News:
    """Return what the thread doesn't have yet: of the repairs whose fault is back with their keys in `announced`."""
    incidents, announced = snapshot.incidents, snapshot.message.announced
    overrides = [(alert, one) for alert in incidents if alert.override for one in alert.override.each]
    failures = [
        alert
        for alert in incidents
        if alert.remediation.state == State.FAILED
        and (not alert.was_over or snapshot.now - (alert.remediation.changed_at or snapshot.now) <= FAILURE_SECONDS)
        and alert.incident not in announced
    ]
    returns = {f"came back {alert.incident}": alert for alert in incidents if alert.came_back}
    returns = {key: alert for key, alert in returns.items() if key not in announced}
    return News([both for both in overrides if both[1].key not in announced], failures, returns)


def thread_parts(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield what the thread lacks."""
    message = snapshot.message
    if message.pending_lines:
        reply = cards.listing.message(message.pending_lines)
        yield PendingReply(reply, lines=len(message.pending_lines), mark=f"{message.told_lines} {reply.text}")
    untold = news(snapshot)
    under_way = {alert.override.each[-1] for alert in snapshot.alerts if alert.override and not alert.is_closed}
    for alert, override in untold.overrides:  # on-call learns of it also in quiet hours
        oncall = config.on_call([alert], snapshot) if override in under_way and not override.is_over else ""
        reply = thread.approving_alone(alert.remediation, override, oncall)
        yield PendingReply(reply, frozenset({override.key}), broadcast=True)
    yield from _begun(snapshot, config)
    yield from _failures(untold.failures, snapshot, config)
    if new := untold.returns:
        # What waits or has begun again calls on-call itself, what cleared nobody; but its own fault may be back by now.
        again = [alert for alert in snapshot.alerts if not alert.came_back]
        called = {alert.ref for alert in again if alert.is_waiting or _begun_key(alert) in message.announced}
        called |= {alert.ref for alert in again if alert.remediation.state == State.AUTO_RESOLVED}
        silent = [alert for alert in new.values() if alert.ref not in called]
        oncall = config.on_call(silent, snapshot) if config.on_call_now(silent, snapshot) else ""
        reply = thread.came_back(list(new.values()), oncall)
        yield PendingReply(reply, frozenset(new), broadcast=True, event=EventKind.CAME_BACK, about=tuple(new.values()))
    yield from _late_calls(snapshot, config)
    if snapshot.firsts and not any(batch.is_running for batch in snapshot.batches):
        yield from _first_approvals(snapshot, config)
    for alert in snapshot.alerts:
        for hold in alert.holds:
            key = hold_warning_key(alert, hold)
            if alert.is_waiting and hold_warning_at(hold) <= snapshot.now and key not in message.announced:
                ends = thread.hold_ends(alert.remediation, hold, snapshot.now, has_card=not message.is_digest)
                yield PendingReply(ends, frozenset({key}))
    if message.is_digest:
        yield from _results(snapshot)


def reminder(
    snapshot: Snapshot, message: TrackedMessage, waiting: Sequence[Alert], config: WatchConfig
) -> PendingReply:
    """Return a reminder of what certainly waits still; `message` has it counted."""
    before = snapshot.message
    called = config.on_call_now(waiting, snapshot)
    if config.escalation and message.escalated_at != before.escalated_at:  # nobody has decided
        called = " ".join(dict.fromkeys([*called.split(), *config.escalation[0].split()]))
    if message.is_digest:
        waited = snapshot.now - max(alert.came_at for alert in waiting)
        said = cards.digest.reminder(waiting, called, waited, snapshot.alerts)
    else:
        alert = snapshot.alerts[0]
        since = alert.waiting_since or cards.listing.since(alert)
        is_observed = config.cards.observes(alert.cluster_id)
        said = thread.reminder(
            alert.remediation, alert.share, called, snapshot.now - since, is_observed=is_observed,
            is_paused=snapshot.pause is not None,
        )  # fmt: skip
    mark = f"reminder {before.reminded_at} {called}"  # one that calls somebody is never taken for one that doesn't
    return PendingReply(said, reminded=message, mark=mark)


def replied(message: TrackedMessage, part: PendingReply, now: float) -> TrackedMessage:
    """Return a message whose thread was told something."""
    if part.reminded:
        return calls.counted(message, part.reminded)
    lines = message.pending_lines[part.lines :]
    return replace(
        message,
        pending_lines=lines,
        owed_lines=tuple(line for line in message.owed_lines if line in lines),
        told_lines=message.told_lines + part.lines,
        announced=message.announced | part.announced,
        called_at=now if part.is_call else message.called_at,
        owes_call=part.owes_call or (message.owes_call and not part.is_call),
    )


def _late_calls(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield the call for what nobody was called for when it came; where nothing else waits, for the channel too."""
    message, now = snapshot.message, snapshot.now
    # What turned critical while it was on hold calls: that is no reminder.
    asking = [
        alert
        for alert in snapshot.undecided
        if alert.hold is None or alert.worsened_at > max(alert.hold.since, message.called_at)
    ]
    looked_at = max((looker.since for looker in message.looking), default=0.0)
    if all(max(alert.came_at, alert.worsened_at) <= looked_at for alert in asking):
        return  # somebody looks into all of it
    called = config.on_call_now(asking, snapshot)
    # A reminder that waited for somebody who looked is due long ago; then that line on the card has just gone.
    remind_at = max(calls.remind_at(snapshot, config), message.edited_at)
    is_held = any(alert.hold for alert in asking)
    if called and -LATE_SECONDS < remind_at - now < SOON_SECONDS and not is_held:
        return  # the reminder calls
    if not called and config.on_call(asking, snapshot):
        return  # in quiet hours
    came = [alert for alert in asking if calls.calls_at(alert, message) <= now]
    new = came if all(alert in came or alert.hold for alert in asking) else []
    worse = [alert for alert in asking if called and alert.worsened_at > message.called_at]
    # What turned critical calls separately: in quiet hours it brings the call for others no sooner.
    silent = [alert for alert in asking if not alert.worsened_at or alert.is_warning]
    # In quiet hours some of those on call may have been called, and others not yet.
    is_whole = called == config.on_call(asking, snapshot) or any(not alert.is_warning for alert in came)
    is_owed = bool(message.owes_call and silent and is_whole and config.on_call_now(silent, snapshot))
    if worse:
        new = [alert for alert in new if not alert.is_warning]
    if alerts := (asking if is_owed else [alert for alert in asking if alert in worse or alert in new]):
        again = bool(new) and all(alert.waiting_since for alert in alerts)
        reply = thread.late_call(alerts, called, again=again, is_worse=alerts == worse and not is_owed)
        is_rest_owed = len(alerts) < len(asking) or called != config.on_call(asking, snapshot)
        owes_call = message.owes_call and is_rest_owed
        mark = f"call {message.called_at}"
        yield PendingReply(reply, broadcast=bool(new), is_call=True, owes_call=owes_call, mark=mark)


def _begun(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield the call for what has begun unasked, or deletes data by now, since a post that called nobody."""
    message = snapshot.message
    is_told = message.cluster_id is not None  # else it was under way before monitoring started
    was_silent = is_told and message.is_started and not message.called_at  # what it does may be worse by now
    later = [
        alert
        for alert in snapshot.alerts
        if (alert.waiting_since > message.called_at or was_silent) and not alert.decided and config.automatic != "none"
    ]
    others = [
        alert
        for alert in snapshot.alerts
        if alert.decided and alert.decided.approved_other_than(alert.remediation.mode)
    ]
    for begun in (later, others):
        new = {_begun_key(alert): alert for alert in calls.started_that_call(begun, message.cluster_id or "")}
        alerts = [alert for key, alert in new.items() if key not in message.announced]
        if alerts and (called := config.on_call_now(alerts, snapshot)):
            yield PendingReply(thread.begun(alerts, called), frozenset(new), broadcast=True)


def _begun_key(alert: Alert) -> str:
    """Return the key in `announced` of the call for what has begun as the next incident of an ID, or changed since."""
    return f"begun {alert.incident} {alert.remediation.mode}" if alert.decided else f"begun {alert.incident}"


def _first_approvals(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield what one of two people has approved that waits still."""
    message, new = snapshot.message, dict[str, dict[str, Alert]]()
    half = cards.listing.half_approved(snapshot.alerts, snapshot.firsts, config.cards)
    for alert in snapshot.undecided:
        if (first := half.get(alert.ref)) and (key := f"first {first.job_id}") not in message.announced:
            new.setdefault(first.user_id, {})[key] = alert
    for user_id, approved in new.items():
        alerts = list(approved.values())
        called = config.on_call_now(alerts, snapshot)
        said = thread.first_approval(alerts, user_id, called)
        is_silent = called != config.on_call(alerts, snapshot)
        yield PendingReply(said, frozenset(approved), owes_call=is_silent)


def _failures(new: Sequence[Alert], snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield which repairs have failed, for the channel too."""
    message, new = snapshot.message, new if snapshot.message.is_digest else new[:1]
    if not new:
        return
    nobodys = [alert for alert in new if not (alert.decided and alert.decided.is_approval)]
    calling = [alert for alert in nobodys or new if alert.ref not in snapshot.ended_without_failure]
    oncall = config.on_call(calling, snapshot)
    keys = frozenset(alert.incident for alert in new)
    failed = {alert.ref for alert in snapshot.alerts if alert.remediation.state == State.FAILED}
    firsts = {ref: first for ref, first in snapshot.firsts.items() if ref in failed}  # others are of a next incident
    if message.is_digest:
        yield PendingReply(cards.digest.failures(new, firsts, oncall), keys, broadcast=True)
        return
    remediation = new[0].remediation
    decided = new[0].decided
    first = firsts.get(new[0].ref)
    if decided and not decided.first_user and first and first.mode == remediation.mode:
        # It wasn't clear whether the second approval had taken effect.
        decided = replace(decided, first_user=first.user_id)
    said = thread.failure(remediation, new[0].share, decided, oncall, snapshot.now)
    yield PendingReply(said, keys, broadcast=True)


def untold_selections(snapshot: Snapshot) -> list[Batch]:
    """Return the selections that have ended and whose results the thread doesn't have, or not all of them."""
    return [batch for batch in snapshot.batches if not batch.is_running and batch.id not in snapshot.message.announced]


def _results(snapshot: Snapshot) -> Iterator[PendingReply]:
    """Yield what the thread of a digest lacks: reports of selections."""
    message = snapshot.message
    for batch in untold_selections(snapshot):
        parts = cards.review.report(batch)
        for number, part in enumerate(parts):
            if (key := f"{batch.id} {number}") not in message.announced:
                is_last = number == len(parts) - 1
                keys = frozenset({key, batch.id} if is_last else {key})
                yield PendingReply(part, keys, user_id=batch.actor.user_id)


def hold_warning_at(hold: Hold) -> float:
    """Return when somebody is told that their hold ends soon; never for one that was short from the start."""
    at = hold.until - HOLD_ENDS_SOON_SECONDS
    return at if at > hold.since else math.inf


def hold_warning_key(alert: Alert, hold: Hold) -> str:
    """Return the key in `announced` of the warning that a hold ends soon."""
    return f"hold {alert.ref} {hold.user_id} {hold.until:.0f}"


# What time alone says of a repair, so that Together is asked before it is posted: may it be stuck, is the node back in
# its cluster, has its fault stayed away?


class Check(Enum):
    """What is looked for, in this order."""

    STUCK = "stuck"
    BACK = "back"
    LASTS = "lasts"

    def key(self, alert: Alert) -> str:
        """Return the key in `announced` of this check."""
        key = f"{self.value} {alert.incident}"
        return f"{key} {alert.remediation.under_way_since}" if self is Check.STUCK else key

    def found(self, alert: Alert) -> str:
        """Return the key noted where it found something that its thread won't say, or not yet: that was deleted."""
        return f"found {self.key(alert)}"


class Due(NamedTuple):
    """A check that must still be made, and when."""

    check: Check
    alert: Alert
    at: float

    @property
    def alarm(self) -> str:
        """The key noted where other tools were told what it found before Slack took it."""
        return f"alarm {self.check.key(self.alert)}"

    @property
    def place(self) -> tuple[Check, str]:
        """Equal for all checks that one answer of Together's settles."""
        return self.check, self.alert.cluster_id


def missing_key(alert: Alert) -> str:
    """Return the key in `announced` of a node that wasn't back in its cluster."""
    return f"missing {alert.incident}"


def outstanding_checks(snapshot: Snapshot, config: WatchConfig) -> Iterator[Due]:
    """Yield the checks that must still be made, where people were told of a repair, or will be."""
    was_posted = snapshot.message.ts or snapshot.message.edited_at
    for alert in snapshot.alerts:
        is_sure = not (alert.is_waiting or alert.is_unlisted or alert.is_stale)
        is_told = is_sure and (was_posted or alert.remediation.is_approved_by_bot or config.announces(alert))
        for check, at in _moments(alert, config, snapshot.now).items() if is_told else ():
            keys = {check.key(alert)} | ({check.found(alert)} if check is Check.LASTS else set())
            if at < math.inf and snapshot.message.announced.isdisjoint(keys):
                gathered = math.ceil(at / GATHERED_SECONDS) * GATHERED_SECONDS
                yield Due(check, alert, gathered if snapshot.message.is_digest else at)


def _moments(alert: Alert, config: WatchConfig, now: float) -> dict[Check, float]:
    ended, watched = alert.remediation.succeeded_at, config.cards.verify_seconds
    if not (ended and watched):
        return {Check.STUCK: config.cards.stuck_at(alert.remediation)}
    moments = {Check.BACK: ended + BACK_SECONDS, Check.LASTS: ended + watched}
    if alert.came_back or alert.remediation.mode not in KEEP_THE_NODE:
        del moments[Check.BACK]
    if now > ended + BACK_LOOKED_FOR_SECONDS:
        moments.pop(Check.BACK, None)
    is_late = now > ended + watched + TOO_LATE_SECONDS
    if is_late or alert.came_back or not alert.remediation.can_be_watched:
        del moments[Check.LASTS]
    return moments


def check_reply(
    made: Sequence[Due], found: Collection[RemediationRef], snapshot: Snapshot, config: WatchConfig
) -> PendingReply | None:
    """Return what the thread gets after checks of one place; None for nothing."""
    check, asked = made[0].check, [due.alert for due in made]
    alerts = [alert for alert in asked if alert.ref in found]
    if check is Check.LASTS:
        alerts = [alert for alert in asked if missing_key(alert) not in snapshot.message.announced]
    if not alerts:
        return None
    called = config.on_call(alerts, snapshot)
    keys = {check.key(alert) for alert in asked}
    match check:
        case Check.BACK:
            event, said = EventKind.NOT_BACK, thread.not_back(alerts, called, snapshot.now)
            keys |= {missing_key(alert) for alert in alerts}
        case Check.LASTS:
            event = EventKind.LASTED
            said = thread.lasted_repairs(alerts, config.cards.verify_seconds)
        case Check.STUCK:
            has_card = not snapshot.message.is_digest
            event = EventKind.STUCK
            said = thread.stuck(alerts, called, snapshot.now, has_card=has_card)
            keys = {check.key(alert) for alert in alerts}
            alarmed = {due.alert.ref for due in made if due.alarm in snapshot.message.announced}
            alerts = [alert for alert in alerts if alert.ref not in alarmed]
    return PendingReply(said, frozenset(keys), broadcast=check is not Check.LASTS, event=event, about=tuple(alerts))
