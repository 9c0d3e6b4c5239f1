"""Messages that the bot keeps current, a card for one remediation or a digest for many, and a digest's selections."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from bot.errors import DOUBTFUL, OutcomeKind
from bot.models.alert import Alert, CardContext, Looking
from bot.models.guardrails import Pause
from bot.models.ids import RemediationRef
from bot.models.outcome import DOUBT_SECONDS, FirstApproval
from bot.models.request import Actor, ReplyTarget, SeenState, Verb
from bot.models.states import FINAL, State

EVERYTHING = "all"
MAX_CHOSEN = 1000  # at once: that many names of 100 characters are within a view's 250 KB (docs.slack.dev, views.open)
TROUBLES = 3  # in a row, after which the fault is not the node's
_FOR_NOW = {*DOUBTFUL, OutcomeKind.LIMIT_REACHED.value, OutcomeKind.PAUSED.value}
ARRIVED_SECONDS = 15.0  # after which a call to Slack has arrived or never will: the client gives up after 10


class StopReason(StrEnum):
    """Why the rest of a batch is left alone."""

    NOT_ALLOWED = "not allowed"
    NOT_CHECKED = "not checked"
    REPAIR_LIMIT = "repair limit"
    TROUBLE = "trouble"
    TOO_OLD = "too old"
    PAUSED = "paused"
    PERSON = "person"
    IN_DOUBT = "in doubt"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One decision of a batch.

    Attributes:
        number: its place in the order, from 0.
        shown: what the person saw of the remediation.
        outcome: such as "approved"; None while it is not known, and where it was not attempted.
        summary: the result in a sentence, as mrkdwn; may be empty.
        is_left: it was not attempted, and won't be.
        answered_at: when its result was recorded, as Unix time in seconds; 0 until then.
    """

    number: int
    ref: RemediationRef
    node: str
    shown: SeenState
    outcome: str | None = None
    summary: str = ""
    is_left: bool = False
    answered_at: float = 0.0

    @property
    def holds_until(self) -> float:
        """Until when a digest says its result: a doubt, limit, or pause may be over then; infinity for others."""
        return self.answered_at + 2 * DOUBT_SECONDS if self.outcome in _FOR_NOW and self.answered_at else math.inf


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions on several remediations of a digest, carried out one after the other.

    Attributes:
        actor: who asked; checked again with every single decision.
        asked_at: when it was selected, then when it was confirmed, as Unix time in seconds.
        reason: as it was typed when it was confirmed; may be empty.
        is_running: something of it is under way, or waits for its turn.
        stopped: why the rest was left alone; None where nothing stopped it.
        stopped_by: who stopped it, where that was a person.
    """

    id: str
    digest_id: str
    verb: Verb
    actor: Actor
    place: ReplyTarget
    asked_at: float
    items: Sequence[BatchItem] = ()
    is_running: bool = False
    stopped: StopReason | None = None
    stopped_by: str = ""
    reason: str = ""


_STOPS: Mapping[str, StopReason] = {
    OutcomeKind.NOT_ALLOWED: StopReason.NOT_ALLOWED,
    OutcomeKind.NOT_CHECKED: StopReason.NOT_CHECKED,
    OutcomeKind.LIMIT_REACHED: StopReason.REPAIR_LIMIT,
    OutcomeKind.EXPIRED: StopReason.TOO_OLD,
    OutcomeKind.PAUSED: StopReason.PAUSED,
}


def stop_reason(latest: Sequence[str]) -> StopReason | None:
    """Return why a batch must not continue after its latest outcomes, the newest first; None where it may."""
    if latest and latest[0] in _STOPS:
        return _STOPS[latest[0]]
    troubles = [
        outcome for outcome in latest[:TROUBLES] if outcome in set(OutcomeKind) and OutcomeKind(outcome).is_trouble
    ]
    return StopReason.TROUBLE if len(troubles) == TROUBLES else None


@dataclass(frozen=True, slots=True)
class Decidable:
    """What waits in a digest, and can be decided.

    Attributes:
        alerts: the oldest, as many as can be decided at once.
        total: how many there are.
        firsts: the first of two approvals, where there is one.
        about: how much of its cluster is in repair, where it is of one and that is known.
        running: the selections that are being carried out.
        pause: approvals are paused, of its cluster or of all.
        unclear: on which a decision isn't answered yet, or may still take effect.
    """

    alerts: Sequence[Alert]
    total: int
    firsts: Mapping[RemediationRef, FirstApproval]
    about: CardContext
    running: Sequence[Batch] = ()
    pause: Pause | None = None
    unclear: Collection[RemediationRef] = ()


def waiting(alerts: Sequence[Alert]) -> list[Alert]:
    """Return those that wait for approval."""
    return [alert for alert in alerts if alert.is_waiting]


@dataclass(frozen=True, slots=True)
class TrackedMessage:
    """Where a message is, what it says, and what its thread was told. Times are Unix times in seconds.

    Attributes:
        is_digest: it lists many remediations; a card shows one.
        cluster_id: of what it shows; None for the backlog that the bot found when it began to watch.
        ts: Slack's name of it; None while it isn't known to be in the channel.
        posted_at: when it was last about to be posted; 0 while it certainly isn't in the channel.
        edited_at: when Slack last took it.
        moved_at: when its place in a former channel began to point at this one; else 0.
        moved_from: that channel; else empty.
        content_hash: the fingerprint of what it shows; empty while that isn't known.
        unsure_until: until when an edit whose result wasn't clear may still arrive, over a newer one.
        last_added_at: when the last remediation came in.
        pending_lines: lines that its thread must still get.
        owed_lines: those of them for which it is posted again where it was deleted.
        told_lines: how many such lines it got.
        announced: what else its thread got: failures, repairs that may be stuck, parts of reports, and so on.
        remind_from: when the reminders that were last sent began to count.
        reminders: how many were sent since.
        reminded_at: when the last one was sent.
        next_at: when to look at it next: 0 for now, None for when something changes.
        mentioned: the user or group that it called when it was posted; empty for nobody.
        called_at: when it last called, or told the channel where nobody is on call.
        owes_call: a post, reminder, or first approval has called nobody since, in quiet hours or without on-call.
        escalated_at: when somebody was last called because nobody had decided; else 0.
        looking: who looks into what it shows.
        escalate_from: since when the minutes until an escalation count at the earliest; else 0.
        is_read_only: Slack takes no more edits of it.
        is_started: it is about what was first seen past its approval.
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
    moved_at: float = 0.0
    moved_from: str = ""
    content_hash: str = ""
    unsure_until: float = 0.0
    last_added_at: float = 0.0
    pending_lines: tuple[str, ...] = ()
    owed_lines: tuple[str, ...] = ()
    told_lines: int = 0
    announced: frozenset[str] = frozenset()
    remind_from: float = 0.0
    reminders: int = 0
    reminded_at: float = 0.0
    next_at: float | None = 0.0
    mentioned: str = ""
    called_at: float = 0.0
    owes_call: bool = False
    escalated_at: float = 0.0
    looking: tuple[Looking, ...] = ()
    escalate_from: float = 0.0
    is_read_only: bool = False
    is_started: bool = False
    done: bool = False

    @property
    def due(self) -> "TrackedMessage":
        """The message, to be looked at now."""
        return replace(self, next_at=0.0, done=False)

    def at(self, now: float) -> "TrackedMessage":
        """Return it without those who said too long ago that they look into it."""
        return replace(self, looking=tuple(looker for looker in self.looking if looker.until > now))

    def saying(self, *lines: str, of_many: bool = False) -> "TrackedMessage":
        """Return it with lines that its thread must still get.

        Args:
            of_many: a digest's too, where all of them would be too many.
        """
        return replace(self, pending_lines=self.pending_lines + lines) if of_many or not self.is_digest else self

    def owing(self, line: str) -> "TrackedMessage":
        """Return it with a line that those whom it names must get in any case."""
        return replace(self.saying(line, of_many=True), owed_lines=(*self.owed_lines, line))

    def looked_into(self, user_id: str, now: float) -> "TrackedMessage":
        """Return it with somebody who looks into it from now on."""
        others = tuple(looker for looker in self.at(now).looking if looker.user_id != user_id)
        looking = (*others, Looking(user_id, now))
        return replace(self.due, looking=looking, escalate_from=now)


@dataclass(frozen=True, eq=False)  # without slots, so that it keeps what is asked for again and again
class Snapshot:
    """A message with everything that it is drawn from, as of one moment: no two are the same.

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

    @property
    def subject(self) -> RemediationRef | str:
        """What the message in Slack is marked with, and called in the log."""
        return self.alerts[0].ref if self.alerts and not self.message.is_digest else self.message.id

    @property
    def awaits_reading(self) -> bool:
        """Whether a card stays as it was answered until Together is read."""
        return not self.message.is_digest and self.alerts[0].is_stale

    @property
    def incidents(self) -> list[Alert]:
        """What it shows, and before each the earlier incidents under its ID."""
        return [incident for alert in self.alerts for incident in (*alert.earlier, alert)]

    @property
    def ended_without_failure(self) -> set[RemediationRef]:
        """What has ended, and didn't fail: nobody is called for a failure before it."""
        return {alert.ref for alert in self.alerts if alert.remediation.state in FINAL - {State.FAILED}}

    @cached_property
    def undecided(self) -> list[Alert]:
        """What waits for approval, but for what somebody has decided and nobody has read again since."""
        return [alert for alert in waiting(self.alerts) if alert.as_told.is_waiting]

    @cached_property
    def unheld(self) -> list[Alert]:
        """What waits and is on nobody's hold."""
        return [alert for alert in self.undecided if alert.hold is None]
