"""How decisions end: outcomes, answers, the first of two approvals, and what the audit trail says of them."""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from bot.errors import BotError, OutcomeKind
from bot.models.ids import RemediationRef
from bot.models.remediation import PRECISION, Remediation
from bot.models.request import Actor, Message, SeenState, Verb

FIRST_APPROVAL_SECONDS = 8 * 3600  # so long, about a shift, the first of two approvals counts
LIFETIME = 600.0  # seconds after which a decision is no longer sent: the person has long looked elsewhere
ERROR_SECONDS = 3600.0  # how long a card says that something failed
CLOCKS_DIFFER_BY = 60.0  # seconds between Together's clock and the database's, or Slack's
DOUBT_SECONDS = 60.0  # after which a POST to Together has arrived or never will: what is read then is its result


@dataclass(frozen=True, slots=True)
class FirstApproval:
    """The first of two people who must approve.

    Attributes:
        at: Unix time in seconds.
        job_id: of that very click.
        episode: the remediation's own times then. It counts for that mode and episode only.
    """

    user_id: str
    mode: str
    at: float
    job_id: str = ""
    episode: str = ""

    def counts_for(self, remediation: Remediation) -> bool:
        """Return whether it was given for this very repair."""
        opened, ended = _opened_and_ended(remediation.episode)
        opened_then, ended_then = _opened_and_ended(self.episode)
        is_other = opened and opened_then and abs(opened - opened_then) > PRECISION  # lists may leave it out
        is_other = is_other or remediation.began_at > self.at + CLOCKS_DIFFER_BY
        return not is_other and abs(ended - ended_then) <= PRECISION and self.mode == remediation.mode

    def precedes(self, seen: SeenState, user_id: str) -> bool:
        """Return whether it makes somebody's approval of what they saw the second, where both say when that began."""
        if self.user_id == user_id or self.mode != seen.mode:
            return False
        moments = [int(at) for at in _moments(self.episode) if at]
        return not (moments and seen.began_at) or any(abs(at - seen.began_at) <= PRECISION for at in moments)


def _opened_and_ended(episode: str) -> tuple[float, float]:
    """Return when an incident opened and the one before it ended, in Unix time in seconds; 0 for what isn't known."""
    moments = _moments(episode)
    return moments[0], moments[-1]


def _moments(episode: str) -> list[float]:
    """Return its moments in Unix time in seconds; 0 for what isn't known, where it has "None"."""
    return [datetime.fromisoformat(at).timestamp() if at[:1].isdigit() else 0.0 for at in episode.split("|")]


def token_of(decision_id: str) -> str:
    """Return the short ID of a decision."""
    return decision_id[:8]


class ReplyKind(StrEnum):
    """How an answer reaches people."""

    CARD = "card"
    ERROR = "error"
    WHISPER = "whisper"


@dataclass(frozen=True, slots=True)
class DecidedBy:
    """Who decided through Slack.

    Attributes:
        at: Unix time in seconds.
        reason: as it was typed; may be empty.
        is_sure: Together's answer or record says so; otherwise only the times agree.
        first_user: who gave the first of two approvals; empty where one was enough.
        mode: of the repair that was approved; empty where that isn't known.
        was_in_doubt: they were told that it isn't clear whether it took effect.
    """

    verb: Verb
    user_id: str
    at: float
    reason: str = ""
    is_sure: bool = True
    first_user: str = ""
    mode: str = ""
    was_in_doubt: bool = False

    @property
    def is_approval(self) -> bool:
        """Whether it was approved."""
        return self.verb is Verb.APPROVE

    def approved_other_than(self, mode: str) -> bool:
        """Return whether this approved a repair of another mode: Together may change it as long as it is queued."""
        return self.verb is Verb.APPROVE and bool(self.mode and mode) and self.mode != mode

    @property
    def people(self) -> str:
        """Who decided, as mentions; each once, where it took two."""
        return " and ".join(f"<@{user_id}>" for user_id in dict.fromkeys((self.first_user, self.user_id)) if user_id)


@dataclass(frozen=True, slots=True)
class CardNote:
    """What a card that answers somebody says beyond the remediation. Every later drawing must say it too.

    Attributes:
        notice: trusted mrkdwn; may be empty.
        buttons: whether the card has the buttons that the state allows; without them it is in doubt.
        decided: who brought it into its state through Slack, where that is known.
        state: the remediation's, for which this holds.
        mode: the remediation's, for which this holds.
        at: Unix time in seconds.
        is_error: it says what failed, while the remediation is what it was.
        looked_at: when somebody looked again, and nothing had changed, in Unix time; 0 for never.
        read_at: when Together was read for what an error leaves as it was, in Unix time; 0 where that is `at`.
        updated: when Together last changed what it answered, by its clock; None where it doesn't say.
    """

    notice: str
    buttons: bool
    decided: DecidedBy | None
    state: str
    mode: str
    at: float
    is_error: bool = False
    looked_at: float = 0.0
    read_at: float = 0.0
    updated: datetime | None = None

    @property
    def confirmed_at(self) -> float:
        """When Together was last read for what people were told, in Unix time: an error confirms nothing."""
        return self.read_at or self.at

    @property
    def until(self) -> float:
        """When it matters no longer, in Unix time; infinity where only a change or a reading ends it."""
        return self.at + ERROR_SECONDS if self.is_error and self.buttons else math.inf

    @property
    def settles_at(self) -> float:
        """From when on a reading ends the doubt, in Unix time; infinity where nothing is in doubt."""
        return math.inf if self.buttons else self.at + DOUBT_SECONDS

    def left_at(self, now: float, *, is_stale: bool) -> "CardNote | None":
        """Return what is left of it at a moment; of an error, the state that people were told, where that is unread."""
        if self.until > now:
            return self
        return replace(self, notice="", is_error=False) if is_stale else None

    def applies_to(self, remediation: Remediation) -> bool:
        """Return whether it is about what the remediation is now; what is in doubt may take effect in any mode."""
        return self.state == remediation.state and (self.mode == remediation.mode or not self.buttons)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A decision that may still take effect; `at` is when its person was told so, in Unix time in seconds."""

    verb: Verb
    user_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell, and how.

    Attributes:
        remark: what a card says beyond the remediation.
        summary: the result in a sentence, as mrkdwn, for a list of many; may be empty.
        card_ts: the card in the same channel that `message` is drawn on; empty where it is the answer itself.
        line: then the answer, which points at that card.
    """

    manner: ReplyKind
    message: Message
    remark: CardNote | None = None
    summary: str = ""
    card_ts: str = ""
    line: Message | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is deciding on a remediation right now; `since` as Unix time in seconds."""

    user_id: str
    verb: Verb
    since: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a decision ended, for the audit trail.

    Attributes:
        state: the remediation's, where it is known.
        settled_by: the answer or error that settled it, where there was one.
        first: the first of two approvals, which counts from the moment in which this outcome is recorded.
    """

    kind: OutcomeKind
    state: str | None = None
    settled_by: Remediation | BotError | None = None
    first: FirstApproval | None = None


@dataclass(frozen=True, slots=True)
class PastDecision:
    """A decision that has ended, as the audit trail has it.

    Attributes:
        at: Unix time in seconds.
        outcome: an `OutcomeKind`, or another version's.
        is_sure: Together's answer says that it was theirs; otherwise only the times agree.
    """

    ref: RemediationRef
    verb: Verb
    user_id: str
    at: float
    outcome: str
    reason: str = ""
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class AuditNote:
    """A row of the audit trail that is about no decision.

    Attributes:
        event: such as "refused" or "confirmed".
        kind: why it was refused.
        batch_id: the batch that it is about, where there is one.
        cluster_id: the cluster that it is about, where it is about one.
        reason: that was given.
    """

    event: str
    actor: Actor
    channel_id: str | None
    verb: Verb | None = None
    kind: OutcomeKind | None = None
    batch_id: str = ""
    cluster_id: str = ""
    reason: str = ""
