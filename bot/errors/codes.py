"""How a decision ended, or why there was none: the code in the audit trail, and what is known of each."""

from enum import StrEnum
from typing import Self

_DOUBTFUL = "doubtful"
_TROUBLE = "trouble"


class OutcomeKind(StrEnum):
    """The code of an outcome or error; stored, so a released one keeps its value.

    Attributes:
        said: what histories say; empty for the code's own words.
        is_doubtful: the decision may have taken effect all the same.
        is_trouble: it is Together's or the bot's fault rather than the node's: many in a row stop a batch.
    """

    said: str
    is_doubtful: bool
    is_trouble: bool

    def __new__(cls, code: str, said: str = "", *flags: str) -> Self:
        """Make a member of its code and what is known of it."""
        kind = str.__new__(cls, code)
        kind._value_ = code
        kind.said, kind.is_doubtful, kind.is_trouble = said, _DOUBTFUL in flags, _TROUBLE in flags
        return kind

    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    HELD = "held"
    RELEASED = "released"
    READ = "read"
    FIRST_OF_TWO = "first of two", "first of 2 approvals"
    CHANGED = "changed", "not sent, it had changed"
    REFUSED_FOR_STATE = "refused for the state"
    TOO_LATE = "too late"
    NOT_IN_EFFECT = "not in effect", "unclear, not in effect when checked", _DOUBTFUL, _TROUBLE
    NO_EFFECT_SHOWN = "no effect shown", "", _DOUBTFUL
    NOT_ALLOWED = "NotAllowed", "not allowed"
    NOT_CHECKED = "NotChecked"
    ALREADY_IN_FLIGHT = "AlreadyInFlight", "ignored, somebody was already deciding"
    SECOND_PERSON_NEEDED = "SecondPersonNeeded", "not sent, a second person is needed"
    LIMIT_REACHED = "LimitReached", "not sent, repair limit reached"
    PAUSED = "Paused"
    NOT_TRACKED = "NotTracked", "not possible, the bot doesn't track it"
    REFUSED_WITHOUT_DATABASE = "RefusedWithoutDatabase", "not sent, the bot's database was down"
    TOO_MANY_REQUESTS = "TooManyRequests"
    UNREADABLE_COMMAND = "UnreadableCommand"
    UNREADABLE_BUTTON = "UnreadableButton"
    UNKNOWN_CONTROL = "UnknownControl"
    NO_MATCH = "NoMatch"
    NO_REFERENCE = "NoReference"
    NOTHING_SELECTED = "NothingSelected"
    NOT_CONFIRMED = "NotConfirmed"
    NOTHING_TO_STOP = "NothingToStop"
    NOTHING_TO_RESUME = "NothingToResume"
    OVERLOADED = "Overloaded"
    NOT_REACHED = "NotReached", "not sent, couldn't reach Together", _TROUBLE
    RATE_LIMITED = "RateLimited", "", _TROUBLE
    INVALID_IDS = "InvalidIds"
    NOT_FOUND = "NotFound", "Together doesn't know it"
    WRONG_STATE = "WrongState"
    KEY_REFUSED = "KeyRefused", "", _TROUBLE
    REQUEST_REFUSED = "RequestRefused", "", _TROUBLE
    SERVER_ERROR = "ServerError", "", _TROUBLE
    NO_ANSWER = "NoAnswer", "unclear, Together didn't respond", _TROUBLE
    UNREADABLE_ANSWER = "UnreadableAnswer", "", _TROUBLE
    READ_FAILED = "ReadFailed", "not sent, couldn't read it from Together", _TROUBLE
    CHECK_FAILED = "CheckFailed"
    OUTCOME_UNKNOWN = "OutcomeUnknown", "unclear, couldn't check the result", _DOUBTFUL, _TROUBLE
    EXPIRED = "Expired"
    NOT_RECORDED = "NotRecorded"
    MAY_BE_DONE = "MayBeDone"
    INTERNAL_ERROR = "InternalError", "", _DOUBTFUL, _TROUBLE
