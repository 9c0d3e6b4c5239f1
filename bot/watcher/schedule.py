"""What a message should say, what it needs next, and when: pure functions, with a cache. Times are Unix times."""

import math
import operator
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace

from bot import alerts, cards
from bot.models import (
    ARRIVED_SECONDS,
    BEGUN,
    FINAL,
    FIRST_APPROVAL_SECONDS,
    Alert,
    Message,
    Snapshot,
    State,
    TrackedMessage,
    decision_part,
    unix,
    waiting,
)
from bot.watcher import calls, threads
from bot.watcher.config import WatchConfig
from bot.watcher.workqueue import Lane, Laned, Rank

# What is drawn of a message that can change.
_SHOWN_OF = operator.attrgetter("id", "is_started", "mentioned", "looking", "announced")
# What the last messages were drawn from, and how they look: a digest of a thousand nodes takes long.
_drawn = deque[tuple[object, Message]](maxlen=2)
EDIT_AGAIN_SECONDS = 10.0  # after which a message that took no edit is looked at again
GROWS_SECONDS = 60.0  # so long after the last one, what is new in the cluster goes into its digest
REPOST_SECONDS = 600.0  # between two posts of a card that takes no edits
POINTED_SECONDS = 86_400.0  # so long a channel that takes nothing is tried again for what only a pointer names


class Step(Laned):
    """What a message needs next, and which lane does it."""

    POST = Lane.POST, "post"
    EDIT = Lane.EDIT, "edit"
    REPLY = Lane.REPLY, "reply"
    CHECK = Lane.REPLY, "check"
    REMIND = Lane.REPLY, "remind"
    FIND = Lane.FIND, "find"
    MAKE_SURE = Lane.FIND, "make sure"
    MOVE = Lane.POST, "move"
    ALARM = Lane.ALARM, "alarm"
    DROP = Lane.LOOK, "drop"
    WAIT = Lane.LOOK, "wait"
    IDLE = Lane.LOOK, "idle"


def content(snapshot: Snapshot, config: WatchConfig) -> Message:
    """Return what the message should say. What is noted once Slack has taken it changes nothing of that."""
    message, batches = snapshot.message, snapshot.batches
    now = snapshot.now if batches or not message.is_digest else None  # a digest says moments; its results run out
    # The alerts last, because they are many: those that nothing has changed are the same objects in the next snapshot.
    of = now, _SHOWN_OF(message), config, snapshot.firsts, batches, snapshot.pause, snapshot.alerts
    for known, drawn in _drawn:
        if known == of:
            return drawn
    drawn = _draw(snapshot, config)
    _drawn.append((of, drawn))
    return drawn


def _draw(snapshot: Snapshot, config: WatchConfig) -> Message:
    """Draw a message: a card as the last answer on it was, as long as that holds."""
    if snapshot.message.is_digest:
        return cards.digest.draw(snapshot, config.cards)
    alert, message = snapshot.alerts[0], snapshot.message
    remediation = alert.as_told
    remark = alert.remark if alert.remark and alert.remark.applies_to(remediation) else None
    notice, buttons = (remark.notice, remark.buttons) if remark else ("", True)
    if remark and remark.looked_at:
        notice = cards.labels.still_unconfirmed(notice, remark.looked_at)
    decided = (remark.decided if remark else None) or alert.decided
    is_mended = remediation.state == State.SUCCEEDED
    is_missing = is_mended and threads.missing_key(alert) in message.announced
    about = replace(
        alert.about(snapshot.firsts.get(alert.ref)),
        pause=snapshot.pause,
        mentioned=message.mentioned,
        is_automatic=message.is_started and remediation.is_automatic,
        now=snapshot.now,
        looking=message.looking,
        is_missing=is_missing,
        has_lasted=is_mended and not is_missing and threads.Check.LASTS.key(alert) in message.announced,
    )
    if alert.is_stale:
        as_of = None if remediation.state in FINAL else _answered_at(alert)
        about = replace(about, is_unlisted=False, as_of=as_of)
    is_over = message.is_started and remediation.state in FINAL and not about.came_back
    if is_over and alert.was_over:
        return cards.brief(remediation, about, config.cards)
    return cards.card(remediation, decided=decided, notice=notice, buttons=buttons, about=about, config=config.cards)


def _answered_at(alert: Alert) -> float | None:
    """Return when Together was last read for somebody's answer, where no list has confirmed it for too long since."""
    return max(alert.as_of, alert.remark.confirmed_at) if alert.as_of and alert.remark else None


def answers_on(snapshot: Snapshot) -> object:
    """Return what changes when somebody is answered on the message itself."""
    answers = [] if snapshot.message.is_digest else [(alert.remark, alert.decided_seq) for alert in snapshot.alerts]
    return snapshot.message.content_hash, answers


def next_step(snapshot: Snapshot, config: WatchConfig) -> Step:  # noqa: PLR0911 - one line for each step, in their order
    """Return what a message needs next."""
    message, now = snapshot.message, snapshot.now
    if message.done:
        return Step.IDLE
    if message.ts is None or not snapshot.alerts:
        return _step_to_the_channel(snapshot, config)
    if snapshot.is_being_decided or (snapshot.awaits_reading and not _is_unconfirmed(snapshot, config)):
        return Step.WAIT
    if waiting(snapshot.alerts) and config.channel_of(snapshot) != message.channel_id:
        return Step.MOVE
    is_left = message.is_read_only and not is_outdated(snapshot, config)
    takes_edits = not (is_left or message.id in config.refused.edits)
    if takes_edits and content(snapshot, config).fingerprint != message.content_hash:
        return Step.EDIT
    if snapshot.awaits_reading:
        return Step.WAIT
    if next(threads.thread_parts(snapshot, config), None):
        return Step.REPLY
    if (moment := calls.remind_at(snapshot, config)) <= now:
        # The card is drawn once more before a reminder points at it: somebody may have deleted it.
        return Step.EDIT if takes_edits and message.edited_at < moment else Step.REMIND
    return Step.CHECK if any(due.at <= now for due in threads.outstanding_checks(snapshot, config)) else Step.IDLE


def rank(snapshot: Snapshot, config: WatchConfig) -> Rank:
    """Return how urgent an edit is."""
    calls_somebody = any(not part.lines for part in threads.thread_parts(snapshot, config))
    if calls_somebody or calls.remind_at(snapshot, config) <= snapshot.now:
        return Rank.CALLS
    return Rank.DECISION if _asks_otherwise(snapshot, config) else Rank.OTHERS


def is_outdated(snapshot: Snapshot, config: WatchConfig) -> bool:
    """Return whether a card that waits asks for what isn't asked any more: one that takes no edits is posted again."""
    message, asking = snapshot.message, waiting(snapshot.alerts)
    # A pause of approvals would have all of them posted again; who presses is told of it. A digest offers the dialog
    # as long as something waited when it was drawn last.
    offers = message.is_digest and any(alert.came_at <= message.edited_at for alert in asking)
    asks = bool(asking) and not (offers or snapshot.pause)
    return asks and snapshot.now - message.posted_at >= REPOST_SECONDS and _asks_otherwise(snapshot, config)


def _asks_otherwise(snapshot: Snapshot, config: WatchConfig) -> bool:
    """Return whether a message offers or asks something else than it should."""
    return decision_part(content(snapshot, config).fingerprint) != decision_part(snapshot.message.content_hash)


def _step_to_the_channel(snapshot: Snapshot, config: WatchConfig) -> Step:
    """Return what a message needs that isn't known to be in the channel, or shows nothing."""
    message, now = snapshot.message, snapshot.now
    if not snapshot.alerts:
        return Step.IDLE if message.ts else Step.DROP
    if message.posted_at:
        return Step.WAIT if 0 <= now - message.posted_at < ARRIVED_SECONDS else Step.FIND  # clocks can go back
    is_pointed_at = message.edited_at < message.moved_at and now - message.moved_at < POINTED_SECONDS
    if is_pointed_at or waiting(snapshot.alerts):
        return Step.POST
    checks = [due for due in threads.outstanding_checks(snapshot, config) if due.at <= now]
    if not _is_long_over(snapshot, config) and _has_news(snapshot, checks, config):
        return Step.POST
    if checks:
        return Step.CHECK
    # What has begun may fail yet, and stays known when it's over: the list of clusters, which says what each node had
    # last, would tell it as new. And who cancelled is told where it runs all the same.
    is_known = message.edited_at or snapshot.batches or _has_begun(snapshot)
    is_known = is_known or any(alert.decided for alert in snapshot.alerts)
    is_over = not is_known and all(alert.is_closed for alert in snapshot.alerts)
    return Step.DROP if is_over else Step.IDLE


def _has_news(snapshot: Snapshot, checks: Collection[threads.Due], config: WatchConfig) -> bool:
    """Return whether people must still be told something of what waits no longer, by the checks that are due."""
    message = snapshot.message
    news = threads.news(snapshot)
    if message.owed_lines or news.overrides or news.returns or threads.untold_selections(snapshot):
        return True
    if any(due.check.found(due.alert) in message.announced for due in checks):
        return True
    if not message.edited_at:
        return _has_begun(snapshot) and any(config.announces(alert) for alert in snapshot.alerts)
    return bool(news.failures)


def _has_begun(snapshot: Snapshot) -> bool:
    return snapshot.message.is_started or any(alert.remediation.state in BEGUN for alert in snapshot.alerts)


def _is_long_over(snapshot: Snapshot, config: WatchConfig) -> bool:
    """Return whether all that a message shows ended so long ago that what nobody was told of it is of no use."""
    since = snapshot.now - config.cards.verify_seconds - threads.TOO_LATE_SECONDS
    return all(alert.is_closed and _over_by(alert) < since for alert in snapshot.alerts)


def _over_by(alert: Alert) -> float:
    """Return when an alert that is closed ended, or a moment before that, as late as is known."""
    remediation, decided_at = alert.remediation, alert.decided.at if alert.decided else 0.0
    return max(
        remediation.changed_at, unix(remediation.under_way_since), decided_at, alert.came_at, alert.missing_since
    )


def about_to_post(snapshot: Snapshot, config: WatchConfig) -> TrackedMessage | None:
    """Return a message that is about to be posted, by the settings of now; None where it isn't to be any more."""
    if next_step(snapshot, config) is not Step.POST:
        return None
    message = replace(snapshot.message, channel_id=config.channel_of(snapshot), posted_at=snapshot.now)
    asking = snapshot.unheld
    if message.is_started and not (asking or message.edited_at):
        asking = calls.started_that_call(snapshot.alerts, message.cluster_id)
    is_reminder_due = message.edited_at and calls.remind_at(snapshot, config) <= snapshot.now  # which calls at once
    if not asking or is_reminder_due:
        return replace(message, mentioned="")  # nobody is to do anything now, or was called by the message before
    called = config.on_call_now(asking, snapshot)
    return calls.having_asked(replace(message, mentioned=called), asking, snapshot, config)


def moved(snapshot: Snapshot) -> TrackedMessage:
    """Return a message whose alerts go to another channel now: it is posted there, where nobody was reminded yet."""
    now = snapshot.now
    message = replace(alerts.deleted(snapshot), moved_at=now, moved_from=snapshot.message.channel_id)
    return replace(message, reminders=0, looking=(), remind_from=now, escalate_from=now, escalated_at=0.0)


def _is_unconfirmed(snapshot: Snapshot, config: WatchConfig) -> bool:
    """Return whether nothing has confirmed for too long what somebody was answered: then the card says it."""
    at = _answered_at(snapshot.alerts[0])
    return at is not None and snapshot.now - at >= config.stale_seconds


def settled(snapshot: Snapshot, config: WatchConfig) -> TrackedMessage:
    """Set when to check the message next, or mark it done."""
    message, now = snapshot.message, snapshot.now
    if (step := next_step(snapshot, config)) is not Step.IDLE:
        is_left_alone = step is Step.WAIT and snapshot.awaits_reading
        return replace(message, next_at=now + config.stale_seconds if is_left_alone else 0.0)
    moments = [due.at for due in threads.outstanding_checks(snapshot, config) if due.at > now]
    is_open = any(batch.is_running for batch in snapshot.batches) or not all(
        alert.is_closed for alert in snapshot.alerts
    )
    moments += [moment for moment in _moments(snapshot, config, is_open=is_open) if moment < math.inf]
    if message.id in config.refused.edits:
        moments.append(now + EDIT_AGAIN_SECONDS)
    if message.is_read_only and is_open and message.posted_at + REPOST_SECONDS > now:
        moments.append(message.posted_at + REPOST_SECONDS)
    if not is_open and message.is_digest and message.last_added_at + GROWS_SECONDS > now:
        moments.append(message.last_added_at + GROWS_SECONDS)
    return replace(message, next_at=min(moments, default=None), done=not (is_open or moments))


def _moments(snapshot: Snapshot, config: WatchConfig, *, is_open: bool) -> Iterator[float]:
    for alert in snapshot.alerts:
        if alert.remark:
            yield alert.remark.until
        if alert.remark or alert.doubts:
            yield max(alerts.settles_at(alert), snapshot.now + config.poll_seconds)
    if not is_open:
        return
    yield calls.remind_at(snapshot, config)
    yield from (looker.until for looker in snapshot.message.looking)
    yield from (pauser.until for pauser in snapshot.pause.people) if snapshot.pause else ()
    results = (item.holds_until for batch in snapshot.batches for item in batch.items)
    yield from (moment for moment in results if moment > snapshot.now)
    asking = snapshot.unheld
    if config.quiet and asking and config.quiet.cover(snapshot.now):
        yield config.quiet.end_after(snapshot.now)
    yield from (at for alert in asking if (at := calls.calls_at(alert, snapshot.message)) > snapshot.now)
    for alert in snapshot.alerts:
        for hold in alert.holds:
            yield hold.until
            if threads.hold_warning_key(alert, hold) not in snapshot.message.announced:
                yield threads.hold_warning_at(hold)
        if alert.is_waiting and (first := snapshot.firsts.get(alert.ref)):
            yield first.at + FIRST_APPROVAL_SECONDS
