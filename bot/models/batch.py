"""Many decisions that one person asked for at once: a selection, which once confirmed is a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import OutcomeKind
from bot.models.alert import Alert, RepairLoad
from bot.models.ids import RemediationRef, short_hash
from bot.models.job import FirstApproval
from bot.models.remediation import Remediation, State
from bot.models.request import RULES, Actor, ReplyTarget, SeenState, Verb

EVERYTHING = "all"
MAX_CHOSEN = 1000  # at once: that many names of 100 characters are within a view's 250 KB (docs.slack.dev, views.open)
TROUBLES = 3  # in a row, after which the fault is not the node's


class StopReason(StrEnum):
    """Why the rest of a batch is left alone."""

    NOT_ALLOWED = "not allowed"
    REPAIR_LIMIT = "repair limit"
    TROUBLE = "trouble"
    TOO_OLD = "too old"
    PAUSED = "paused"
    PERSON = "person"
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
    """

    number: int
    ref: RemediationRef
    node: str
    shown: SeenState
    outcome: str | None = None
    summary: str = ""
    is_left: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions on several remediations of a digest, carried out one after the other.

    Attributes:
        actor: who asked; checked again with every single decision.
        asked_at: when it was selected, then when it was confirmed, as Unix time in seconds.
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


def stop_reason(latest: Sequence[str]) -> StopReason | None:
    """Return why a batch must not continue after its latest outcomes, the newest first; None where it may."""
    match latest[:1]:
        case [OutcomeKind.NOT_ALLOWED | OutcomeKind.NOT_CHECKED]:
            return StopReason.NOT_ALLOWED
        case [OutcomeKind.LIMIT_REACHED]:
            return StopReason.REPAIR_LIMIT
        case [OutcomeKind.EXPIRED]:
            return StopReason.TOO_OLD
        case [OutcomeKind.PAUSED]:
            return StopReason.PAUSED
    troubles = [each for each in latest[:TROUBLES] if each in set(OutcomeKind) and OutcomeKind(each).is_trouble]
    return StopReason.TROUBLE if len(troubles) == TROUBLES else None


@dataclass(frozen=True, slots=True)
class Decidable:
    """What waits in a digest, and can be decided.

    Attributes:
        alerts: the oldest, as many as can be decided at once.
        total: how many there are.
        firsts: the first of two approvals, where there is one.
        load: how much of its cluster is in repair; None where that isn't known, or it is of several.
    """

    alerts: Sequence[Alert]
    total: int
    firsts: Mapping[RemediationRef, FirstApproval]
    load: RepairLoad | None


def key(remediation: Remediation) -> str:
    """Return a remediation's short name among the options of a menu, which may be 75 characters long."""
    return short_hash(str(remediation.ref))


def waiting(alerts: Sequence[Alert]) -> list[Alert]:
    """Return those that wait for approval."""
    return [each for each in alerts if each.is_waiting]


def decided_in(batches: Sequence[Batch]) -> dict[RemediationRef, State]:
    """Return what batches have decided, with the state it leads to: that is known before it is read again."""
    reached = {Verb.APPROVE: State.PENDING, Verb.CANCEL: State.CANCELLED}
    return {
        item.ref: reached[batch.verb]
        for batch in batches
        if batch.verb in reached
        for item in batch.items
        if item.outcome == RULES[batch.verb].done
    }


def still_waiting(alerts: Sequence[Alert], batches: Sequence[Batch]) -> list[Alert]:
    """Return those that wait for approval, but for what a batch has decided and nobody has read again since."""
    decided = decided_in(batches)
    return [each for each in waiting(alerts) if not (each.is_stale and each.ref in decided)]
