"""A decision on its way, as the store keeps it."""

from dataclasses import dataclass
from enum import StrEnum

from bot.models.button import Shown
from bot.models.request import Message, Request
from bot.models.verbs import Verb

DOUBT_SECONDS = 60.0  # how long an answer in doubt stays so: what was sent has long arrived by then, or never will


class Manner(StrEnum):
    """How an answer is told."""

    CARD = "card"
    ERROR = "error"
    WHISPER = "whisper"


@dataclass(frozen=True, slots=True)
class Decided:
    """Who decided through Slack.

    Attributes:
        at: seconds since 1970.
        reason: as it was typed; may be empty.
    """

    verb: Verb
    user_id: str
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """What a card that answers somebody says beyond the remediation: whoever draws it anew must say it too.

    Attributes:
        notice: trusted mrkdwn; may be empty.
        buttons: whether the card has the buttons that the state allows.
        decided: who brought it into its state through Slack, where that is known.
        state: the remediation's, for which this holds.
        mode: likewise.
        at: seconds since 1970.
    """

    notice: str
    buttons: bool
    decided: Decided | None
    state: str
    mode: str
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell, and how.

    Attributes:
        remark: what a card says beyond the remediation.
        summary: what has come of it in a sentence, as mrkdwn, for a list of many; may be empty.
    """

    manner: Manner
    message: Message
    remark: Remark | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a decision, for the audit trail.

    Attributes:
        name: such as "approved", "NotAllowed" or "changed meanwhile".
        state: the remediation's state as far as it is known.
        http_status: of Together's refusal, where there was one.
        request_id: Together's ID of the request, where it gave one.
    """

    name: str
    state: str | None = None
    http_status: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A POST that may have left.

    Attributes:
        at: seconds since 1970, on the database's clock.
        seen: the remediation as the bot read it before; None for a typed command.
    """

    at: float
    seen: Shown | None


@dataclass(slots=True)
class Job:
    """One request, from its receipt to its answer.

    Attributes:
        fence: grows each time it changes hands.
        received_at: seconds since 1970, on the database's clock.
        is_active: its decision was allowed and claimed.
        sent: its POST may have left.
        answer: what came of it is known, and is yet to be told.
        taken_over: another process began it.
    """

    id: str
    request: Request
    fence: int
    received_at: float
    is_active: bool = False
    sent: Sent | None = None
    answer: Answer | None = None
    taken_over: bool = False
