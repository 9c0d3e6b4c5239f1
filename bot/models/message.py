"""Messages that the bot keeps true: a card for one remediation, or a digest for many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.models.alert import Alert, Hold, Pause
from bot.models.approval import FirstApproval
from bot.models.batch import Batch
from bot.models.ids import RemediationRef
from bot.models.job import Answer, ReplyKind
from bot.models.request import Request
from bot.models.verbs import RULES
from bot.mrkdwn import escape, when

HELD_AGAIN_SECONDS = 60.0  # a second press of the same person within these is the first one, pressed twice
# A decided card isn't looked at until Together is read, which makes it due; after so long it is looked at anyway.
LEFT_ALONE_SECONDS = 60.0
ARRIVED_SECONDS = 15.0  # what was sent so long ago has arrived or never will: the client gives up after 10


@dataclass(frozen=True, slots=True)
class TrackedMessage:
    """Where a message is, what it says, and what its thread was told. Times are Unix times in seconds.

    Attributes:
        is_digest: it lists many remediations; a card shows one.
        cluster_id: of what it shows; None for the backlog that the bot found when it began to watch.
        ts: Slack's name of it; None while it isn't known to be in the channel.
        posted_at: when it was last about to be posted; 0 while it certainly isn't in the channel.
        edited_at: when Slack last took it.
        content_hash: the fingerprint of what it shows; empty while that isn't known.
        unsure_until: until when an edit whose result wasn't clear may still arrive, over a newer one.
        last_added_at: when the last remediation came in.
        pending_lines: what the thread of a card is yet to be told.
        announced: which failures, and which parts of which reports, the thread of a digest was told.
        remind_from: when the reminders that were last sent began to count.
        reminders: how many were sent since.
        reminded_at: when the last one was sent.
        next_at: when it is to be looked at again: 0 for now, None for when something changes.
        mentioned: the user or group that it called when it was posted; empty for nobody.
        called_at: when it last called, or told the channel where nobody is on call.
        owes_call: a post or reminder has called nobody since, because of quiet hours.
        is_read_only: Slack takes no more edits of it.
        done: everything has ended and was told.
    """

    id: str
    is_digest: bool
    cluster_id: str | None
    channel_id: str
    opened_at: float = 0.0
    ts: str | None = None
    posted_at: float = 0.0
    edited_at: float = 0.0
    content_hash: str = ""
    unsure_until: float = 0.0
    last_added_at: float = 0.0
    pending_lines: tuple[str, ...] = ()
    announced: frozenset[str] = field(default_factory=frozenset)
    remind_from: float = 0.0
    reminders: int = 0
    reminded_at: float = 0.0
    next_at: float | None = 0.0
    mentioned: str = ""
    called_at: float = 0.0
    owes_call: bool = False
    is_read_only: bool = False
    done: bool = False

    def is_unsure(self, now: float) -> bool:
        """Return whether an edit whose result wasn't clear may still arrive. Clocks can go back."""
        return 0 < self.unsure_until - now <= ARRIVED_SECONDS


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A message with everything that it is drawn from.

    Attributes:
        alerts: what it shows, in the order in which it came in.
        firsts: the first of two approvals, where there is one.
        batches: the selections that were confirmed on it, the oldest first.
        is_being_decided: somebody's decision on its remediation has not been answered yet; cards only.
        now: the present, as Unix time in seconds.
        version: grows with each change of the message or of what it shows.
        pause: approvals are paused, of its cluster or of all.
    """

    message: TrackedMessage
    alerts: Sequence[Alert]
    firsts: Mapping[RemediationRef, FirstApproval]
    batches: Sequence[Batch]
    is_being_decided: bool
    now: float
    version: int = 0
    pause: Pause | None = None


Tracked = tuple[Alert, TrackedMessage]


def answered(  # noqa: PLR0913, PLR0917 - all that bears on it
    alert: Alert, message: TrackedMessage, request: Request, answer: Answer, at: float, seq: int
) -> Tracked:
    """Note that somebody was answered: what the answer says must stay on the card.

    Args:
        message: likewise.
        at: the present, as Unix time in seconds.
    """
    decides, remark = RULES[request.verb].decides, answer.remark
    known = alert.remediation.state, alert.remediation.mode
    is_told = remark is not None and answer.manner is ReplyKind.CARD  # an error says nothing of the state
    is_stale = is_told and remark is not None and (alert.is_unlisted or (remark.state, remark.mode) != known)
    if is_stale and remark:
        # The card must say it too if Together can't be read; the notice was for the person who asked.
        alert = replace(alert, is_stale=True, missing_since=0.0, remark=replace(remark, notice="", at=at))
    alert = replace(alert, decided_seq=seq if decides else alert.decided_seq)
    if remark and remark.decided:
        alert = replace(alert, hold=None, decided=remark.decided)
    is_left_alone = alert.is_stale and not message.is_digest and message.ts is not None
    message = replace(message, next_at=at + LEFT_ALONE_SECONDS if is_left_alone else 0.0, done=False)
    place = request.place
    shown_at = place.channel_id, answer.card_ts or place.message_ts
    if message.is_digest or message.ts is None or (message.channel_id, message.ts) != shown_at:
        return alert, message
    if remark and answer.manner is ReplyKind.ERROR:
        if alert.remark and not alert.remark.buttons:
            # A doubt that is older still holds, and for as long as the newer one.
            return replace(alert, remark=replace(alert.remark, at=at)), replace(message, content_hash="")
        state, mode = (alert.remark.state, alert.remark.mode) if alert.is_stale and alert.remark else known
        remark = replace(remark, state=remark.state or state, mode=remark.mode or mode)
    if remark and not decides and alert.remark and alert.remark.notice == remark.notice and not remark.buttons:
        at = alert.remark.at  # a look that found nothing new prolongs no doubt
    if remark:
        # An error is in the thread, and its line on the card is drawn with the next look.
        is_known = answer.manner is ReplyKind.CARD and not message.is_unsure(at)
        drawn = answer.message.fingerprint if is_known else ""
        return replace(alert, remark=replace(remark, at=at)), replace(message, content_hash=drawn)
    # "In progress" is on the card: what was there before is put back, and drawn again in case that fails.
    return alert, replace(message, content_hash="") if place.in_progress else message


def outdated(message: TrackedMessage, now: float, *, may_overwrite: bool) -> TrackedMessage:
    """Let a message be drawn again; once more later, where an edit may still arrive over that."""
    unsure_until = now + ARRIVED_SECONDS if may_overwrite else message.unsure_until
    return replace(message, content_hash="", unsure_until=unsure_until, next_at=0.0, done=False)


def held(alert: Alert, message: TrackedMessage, hold: Hold, now: float) -> Tracked:
    """Put an alert on hold. Who asks again at once is not told of again."""
    before = alert.hold.at(now) if alert.hold else None
    joined = before.joined(hold) if before else hold
    is_again = before and before.user_id == hold.user_id and abs(hold.until - before.until) < HELD_AGAIN_SECONDS
    message, node = replace(message, next_at=0.0, done=False), escape(alert.remediation.node, 100)
    if not message.is_digest:
        line = () if is_again else (f"{node}: <@{hold.user_id}> put this on hold until {when(hold.until)}.",)
        message = replace(message, pending_lines=message.pending_lines + line)
    return replace(alert, hold=joined, asked_since=joined.until), message


def released(alert: Alert, message: TrackedMessage, user_id: str, now: float) -> Tracked | None:
    """End a hold; None where there is none."""
    if alert.hold is None or alert.hold.at(now) is None:
        return None
    message = replace(message, next_at=0.0)
    if not message.is_digest:
        line = f"{escape(alert.remediation.node, 100)}: <@{user_id}> released the hold."
        message = replace(message, pending_lines=(*message.pending_lines, line))
    return replace(alert, hold=None, asked_since=now), message
