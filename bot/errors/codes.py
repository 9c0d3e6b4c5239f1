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
    FIRST_OF_TWO = "first_of_two", "first of 2 approvals"
    CHANGED = "changed", "not sent, it had changed"
    REFUSED_FOR_STATE = "refused_for_state"
    TOO_LATE = "too_late"
    NOT_IN_EFFECT = "not_in_effect", "unclear, not in effect when checked", _DOUBTFUL, _TROUBLE
    OPENED_AGAIN = "opened_again", "unclear, it ended and opened again", _DOUBTFUL
    NO_EFFECT_SHOWN = "no_effect_shown", "", _DOUBTFUL
    NOT_ALLOWED = "not_allowed"
    NOT_CHECKED = "not_checked"
    ALREADY_IN_FLIGHT = "already_in_flight", "ignored, somebody was already deciding"
    SECOND_PERSON_NEEDED = "second_person_needed", "not sent, a second person is needed"
    LIMIT_REACHED = "limit_reached", "not sent, repair limit reached"
    PAUSED = "paused"
    OBSERVING = "observing", "not sent, the bot only observes the cluster"
    NOT_TRACKED = "not_tracked", "not possible, the bot doesn't track it"
    REFUSED_WITHOUT_DATABASE = "refused_without_database", "not sent, the bot's database was down"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNREADABLE_COMMAND = "unreadable_command"
    UNREADABLE_BUTTON = "unreadable_button"
    UNKNOWN_CONTROL = "unknown_control"
    NO_MATCH = "no_match"
    NO_REFERENCE = "no_reference"
    NOTHING_SELECTED = "nothing_selected"
    NOT_CONFIRMED = "not_confirmed"
    NOTHING_TO_STOP = "nothing_to_stop"
    NOTHING_TO_RESUME = "nothing_to_resume"
    OVERLOADED = "overloaded"
    NOT_REACHED = "not_reached", "not sent, couldn't reach Together", _TROUBLE
    RATE_LIMITED = "rate_limited", "", _TROUBLE
    INVALID_IDS = "invalid_ids"
    NOT_FOUND = "not_found", "Together doesn't know it"
    WRONG_STATE = "wrong_state"
    KEY_REFUSED = "key_refused", "", _TROUBLE
    REQUEST_REFUSED = "request_refused", "", _TROUBLE
    SERVER_ERROR = "server_error", "", _TROUBLE
    NO_ANSWER = "no_answer", "unclear, Together didn't respond", _TROUBLE
    UNREADABLE_ANSWER = "unreadable_answer", "", _TROUBLE
    READ_FAILED = "read_failed", "not sent, couldn't read it from Together", _TROUBLE
    CHECK_FAILED = "check_failed"
    OUTCOME_UNKNOWN = "outcome_unknown", "unclear, couldn't check the result", _DOUBTFUL, _TROUBLE
    EXPIRED = "expired"
    NOT_RECORDED = "not_recorded"
    MAY_BE_DONE = "may_be_done"
    INTERNAL_ERROR = "internal_error", "", _DOUBTFUL, _TROUBLE
