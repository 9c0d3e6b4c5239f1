"""What the thread of a message lacks: pure functions. Times are Unix times."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bot import alerts, cards
from bot.models import (
    HOLD_ENDS_SOON_SECONDS,
    Alert,
    EventKind,
    Hold,
    Message,
    Override,
    RemediationRef,
    Snapshot,
    State,
    TrackedMessage,
)
from bot.watcher import calls
from bot.watcher.config import WatchConfig

FAILURE_SECONDS = 86_400.0  # a repair that failed longer ago calls nobody


@dataclass(frozen=True, slots=True)
class PendingReply:
    """Something that a thread lacks.

    Attributes:
        announced: what is remembered once it is told.
        lines: how many of the message's lines are no longer due then.
        broadcast: it is shown in the channel too.
        is_call: it calls who is on call.
        event: what other tools get with it, of the repairs that it is about.
        mark: by what it is known again where nothing is remembered; no two of a message have the same.
    """

    message: Message
    announced: frozenset[str] = frozenset()
    lines: int = 0
    broadcast: bool = False
    is_call: bool = False
    event: EventKind | None = None
    about: tuple[RemediationRef, ...] = ()
    mark: str = ""


def thread_parts(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield what the thread lacks."""
    message = snapshot.message
    if message.pending_lines:
        told = cards.lines(message.pending_lines)
        yield PendingReply(told, lines=len(message.pending_lines), mark=f"{message.told_lines} {told.text}")
    if any(alert.override for alert in snapshot.alerts):
        yield from _overrides(snapshot, config)
    yield from _failures(snapshot, config.on_call(snapshot.alerts, message.cluster_id))
    if any(alert.came_back for alert in snapshot.alerts):
        yield from _returns(snapshot, config)
    yield from _late_calls(snapshot, config)
    if snapshot.firsts and not any(each.is_running for each in snapshot.batches):
        yield from _first_approvals(snapshot, config)
    for alert in snapshot.alerts:
        yield from _warnings(alert, message, snapshot.now)
    if message.is_digest:
        yield from _results(snapshot)


def replied(message: TrackedMessage, part: PendingReply, now: float) -> TrackedMessage:
    """Return a message whose thread was told something."""
    message = replace(
        message,
        pending_lines=message.pending_lines[part.lines :],
        told_lines=message.told_lines + part.lines,
        announced=message.announced | part.announced,
    )
    return replace(message, called_at=now, owes_call=False) if part.is_call else message


def _late_calls(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield the call for what nobody was called for when it came; what is new is shown in the channel too."""
    if call := calls.late_call(snapshot, config):
        first, again = call.alerts[0].remediation, call.is_new and all(each.waiting_since for each in call.alerts)
        told = cards.late_call(first, len(call.alerts), call.called, again=again)
        mark = f"call {snapshot.message.called_at}"
        yield PendingReply(told, broadcast=call.is_new, is_call=True, mark=mark)


def _first_approvals(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield what one of two people has approved that waits still."""
    message, new = snapshot.message, dict[str, dict[str, Alert]]()
    for alert in snapshot.alerts:
        first = snapshot.firsts.get(alert.ref)
        if first is None or not alert.is_waiting or not first.counts_for(alert.remediation):
            continue
        if (key := f"first {first.job_id}") not in message.announced:
            new.setdefault(first.user_id, {})[key] = alert
    for user_id, approved in new.items():
        some = list(approved.values())
        called = config.on_call_now(some, message.cluster_id, snapshot.now)
        said = cards.first_approval([each.remediation for each in some], user_id, called)
        yield PendingReply(said, frozenset(approved))


def _overrides(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield who approves alone, for the channel too: on-call learns of it also in quiet hours."""
    for alert, override in untold_overrides(snapshot):
        told = cards.approving_alone(alert.remediation, override, config.on_call([alert], snapshot.message.cluster_id))
        yield PendingReply(told, frozenset({f"override {override.decision_id}"}), broadcast=True)


def untold_overrides(snapshot: Snapshot) -> list[tuple[Alert, Override]]:
    """Return the approvals by one person alone that the thread doesn't have yet."""
    found = [(each, each.override) for each in snapshot.alerts if each.override]
    return [both for both in found if f"override {both[1].decision_id}" not in snapshot.message.announced]


def _failures(snapshot: Snapshot, oncall: str) -> Iterator[PendingReply]:
    """Yield which repairs have failed, for the channel too."""
    message, new = snapshot.message, new_failures(snapshot)
    if not new:
        return
    told = frozenset(map(alerts.episode_of, new))
    if message.is_digest:
        yield PendingReply(cards.digest.failures(new, snapshot.firsts, oncall), told, broadcast=True)
        return
    remediation, decided, first = new[0].remediation, new[0].decided, snapshot.firsts.get(new[0].ref)
    first_user = decided.first_user if decided else ""
    if not first_user and first and first.mode == remediation.mode:
        first_user = first.user_id  # where it wasn't clear whether the second approval had taken effect
    said = cards.failed_repair(remediation, decided, first_user, oncall, snapshot.now)
    yield PendingReply(said, told, broadcast=True)


def new_failures(snapshot: Snapshot) -> list[Alert]:
    """Return what has failed lately and wasn't told."""
    told, now = snapshot.message.announced, snapshot.now
    failed = [each for each in snapshot.alerts if each.remediation.state == State.FAILED]
    return [each for each in failed if alerts.episode_of(each) not in told and not _is_old(each, now)]


def _is_old(alert: Alert, now: float) -> bool:
    """Return whether a repair failed so long ago that nobody is to be called for it: it was told then."""
    ended = alert.remediation.end_time or alert.remediation.update_time
    return ended is not None and now - ended.timestamp() > FAILURE_SECONDS


def _returns(snapshot: Snapshot, config: WatchConfig) -> Iterator[PendingReply]:
    """Yield that what repairs were to mend is back, for the channel too."""
    if new := new_returns(snapshot):
        said = cards.came_back(list(new.values()), config.on_call(list(new.values()), snapshot.message.cluster_id))
        refs = tuple(each.ref for each in new.values())
        yield PendingReply(said, frozenset(new), broadcast=True, event=EventKind.CAME_BACK, about=refs)


def new_returns(snapshot: Snapshot) -> dict[str, Alert]:
    """Return the repairs whose fault is back, where that wasn't told, by as what it is remembered."""
    keys = {f"came back {alerts.episode_of(each)}": each for each in snapshot.alerts if each.came_back}
    return {key: each for key, each in keys.items() if key not in snapshot.message.announced}


def _results(snapshot: Snapshot) -> Iterator[PendingReply]:
    """Yield what the thread of a digest lacks: reports of selections."""
    message = snapshot.message
    for batch in snapshot.batches:
        if batch.is_running or batch.id in message.announced:
            continue
        parts = cards.batch.report(batch)
        for number, part in enumerate(parts):
            if (key := f"{batch.id} {number}") not in message.announced:
                is_last = number == len(parts) - 1
                yield PendingReply(part, frozenset({key, batch.id} if is_last else {key}))


def holds_of(alert: Alert) -> tuple[Hold, ...]:
    """Return the holds of all who asked to wait."""
    return (alert.hold, *alert.hold.others) if alert.hold else ()


def _warnings(alert: Alert, message: TrackedMessage, now: float) -> Iterator[PendingReply]:
    """Yield what tells people that their holds end soon."""
    for hold in holds_of(alert):
        key = warning(alert, hold)
        if alert.is_waiting and warns_at(hold) <= now and key not in message.announced:
            yield PendingReply(cards.hold_ends(alert.remediation, hold, now), frozenset({key}))


def warns_at(hold: Hold) -> float:
    """Return when somebody is told that their hold ends soon; never for one that was short from the start."""
    at = hold.until - HOLD_ENDS_SOON_SECONDS
    return at if at > hold.since else math.inf


def warning(alert: Alert, hold: Hold) -> str:
    """Return as what it is remembered that somebody was told that a hold ends soon."""
    return f"hold {alert.ref} {hold.user_id} {hold.until:.0f}"
