"""Messages that the bot keeps true: a card for one remediation, or a digest for many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.models.alert import Alert, Looking, Pause
from bot.models.batch import Batch
from bot.models.ids import RemediationRef
from bot.models.job import FirstApproval

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
        told_lines: how many such lines it was told.
        announced: what else its thread was told: failures, repairs that may be stuck, parts of reports, and so on.
        remind_from: when the reminders that were last sent began to count.
        reminders: how many were sent since.
        reminded_at: when the last one was sent.
        next_at: when it is to be looked at again: 0 for now, None for when something changes.
        mentioned: the user or group that it called when it was posted; empty for nobody.
        called_at: when it last called, or told the channel where nobody is on call.
        owes_call: a post or reminder has called nobody since, because of quiet hours.
        escalated_at: when somebody was last called because nobody had decided; else 0.
        looking: who looks into what it shows.
        escalate_from: since when the minutes until an escalation count at the earliest; else 0.
        is_read_only: Slack takes no more edits of it.
        is_started: it tells of what was first seen past its approval.
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
    told_lines: int = 0
    announced: frozenset[str] = field(default_factory=frozenset)
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

    def at(self, now: float) -> "TrackedMessage":
        """Return it without those who said too long ago that they look into it."""
        return replace(self, looking=tuple(each for each in self.looking if each.until > now))

    def saying(self, *lines: str) -> "TrackedMessage":
        """Return it with lines that the thread of a card is yet to be told; a digest's would be too many."""
        return self if self.is_digest else replace(self, pending_lines=self.pending_lines + lines)

    def looked_into(self, user_id: str, now: float) -> "TrackedMessage":
        """Return it with somebody who looks into it from now on."""
        others = tuple(each for each in self.at(now).looking if each.user_id != user_id)
        looking = (*others, Looking(user_id, now))
        return replace(self, looking=looking, escalate_from=now, next_at=0.0, done=False)

    def is_unsure(self, now: float) -> bool:
        """Return whether an edit whose result wasn't clear may still arrive. Clocks can go back."""
        return 0 < self.unsure_until - now <= ARRIVED_SECONDS


@dataclass(frozen=True, slots=True, eq=False)
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
