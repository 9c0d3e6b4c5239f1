"""Many decisions that one person asked for at once."""

from dataclasses import dataclass
from enum import StrEnum

from bot.models.button import Shown
from bot.models.ids import RemediationRef
from bot.models.request import Actor, Place
from bot.models.verbs import Verb


class BatchStatus(StrEnum):
    """How far a batch is."""

    ASKED = "asked"
    RUNNING = "running"
    DONE = "done"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One decision of a batch.

    Attributes:
        number: its place in the order, from 0.
        shown: what the person saw of the remediation.
        outcome: such as "approved"; None while it is not known.
        summary: what has come of it, as mrkdwn; may be empty.
    """

    number: int
    ref: RemediationRef
    node: str
    shown: Shown
    outcome: str | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions on several remediations of a digest, carried out one after the other.

    Attributes:
        actor: who asked, and is asked for anew with every single decision.
        asked_at: seconds since 1970.
        stopped: why the rest is not tried, as mrkdwn; empty when nothing stopped it.
    """

    id: str
    digest_id: str
    verb: Verb
    actor: Actor
    place: Place
    asked_at: float
    status: BatchStatus = BatchStatus.ASKED
    stopped: str = ""
