"""What every error to be told has, the bot's own errors, and the signals that are told to nobody."""

from enum import StrEnum
from typing import ClassVar, Self

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
        kind.said = said
        kind.is_doubtful = _DOUBTFUL in flags
        kind.is_trouble = _TROUBLE in flags
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
    NOT_READABLE = "not_readable", "not sent, the bot couldn't read what it knew of the node"
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
    NOT_SENT = "not_sent", "not sent, something went wrong in the bot", _TROUBLE


DOUBTFUL = tuple(kind.value for kind in OutcomeKind if kind.is_doubtful)
RETRY = "Try again in a minute. If this keeps happening, use the Together console and tell the bot's admin."


class InvalidId(ValueError):
    """A text that is no ID.

    Args:
        part: which of cluster, instance or remediation it was meant to be.
        problem: what is wrong with it, as the end of a sentence.
    """

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(f"The {part} ID {problem}.")


class DirectoryUnavailable(Exception):
    """Slack could not say who somebody is or who belongs to a group."""


class StorageUnavailable(Exception):
    """The database did not do it, or did not say whether it did; the message names the driver's exception.

    Attributes:
        in_doubt: it may have been done all the same.
    """

    def __init__(self, cause: str, *, in_doubt: bool = False) -> None:
        super().__init__(cause)
        self.in_doubt = in_doubt


class LeaseLost(Exception):
    """Another process has taken this decision over: this one must neither write nor tell anything about it."""


class PostFailed(Exception):
    """Slack certainly did not post or change a message; the message is Slack's code.

    Attributes:
        is_lasting: it will refuse the same again: the message is gone, or may not be changed any more.
        is_gone: the message was deleted, or its channel is closed and alerts go to another one now.
        is_closed: the channel takes nothing from the bot, so nothing else needs to be tried there now.
        is_final: either of both, so the message stays as it is.
    """

    def __init__(self, code: str, *, is_lasting: bool = False, is_gone: bool = False, is_closed: bool = False) -> None:
        super().__init__(code)
        self.is_lasting = is_lasting
        self.is_gone = is_gone
        self.is_closed = is_closed
        self.is_final = is_lasting or is_closed


class PostUncertain(Exception):
    """Slack may have posted or changed a message, or not; the message names what went wrong."""

    is_final = False


class StartError(Exception):
    """The bot cannot start as it is set up; the message says what to do."""


class BotError(Exception):
    """Something to be told.

    Attributes:
        code: of it, in the audit trail.
        sentence: what happened, as Slack's mrkdwn: outside words are escaped already.
        next_step: what the reader can do now, as a sentence.
        quote: words of somebody else, raw, to be shown as a quotation; not part of `str(error)`.
        check_again: whether reading the remediation again is the next step.
        title: of a dialog that says it.
        request_id: Together's ID of the request, when its answer carried one; for the log and the audit trail.
        http_status: of Together's answer, when there was one.
    """

    code: OutcomeKind
    title: ClassVar[str] = "Nothing was sent"
    sentence = ""
    next_step = ""
    check_again = False
    request_id: str | None = None
    http_status: int | None = None

    def __init__(self, sentence: str = "", next_step: str = "", *, quote: str = "") -> None:
        self.sentence = sentence or self.sentence
        self.next_step = next_step or self.next_step
        self.quote = quote
        super().__init__(f"{self.sentence} {self.next_step}".strip())

    def said_to_all(self, noun: str, whose: str) -> str:
        """Return the sentence where everyone reads it: `whose` instead of "Your approval", such as "The approval"."""
        return self.sentence.replace(f"Your {noun}", whose)


class Expired(BotError):
    """A decision lay for so long while no process ran that it is no longer sent; `noun` such as "approval"."""

    code = OutcomeKind.EXPIRED
    check_again = True

    def __init__(self, noun: str) -> None:
        super().__init__(
            f"Your {noun} wasn't sent: the bot couldn't act on it for more than 10 min.",
            "Press “Check again”, then decide.",
        )


class NotRecorded(BotError):
    """The database is away, so what became of a decision can't be recorded. Nothing certain can be said.

    Args:
        noun: the decision as a noun, such as "approval".
        is_lost: the database is there, and has lost what it had committed.
    """

    code = OutcomeKind.NOT_RECORDED
    title = "Result unknown"
    check_again = True

    def __init__(self, noun: str, *, sent: bool, is_lost: bool = False) -> None:
        why = "The bot's database has lost this" if is_lost else "The bot can't reach its database"
        outcome = "may have gone through" if sent else "may still be sent"
        super().__init__(f"{why}. Your {noun} {outcome}.", "Check again in a minute, before you decide anything else.")


class MayBeDone(BotError):
    """A change of the bot's own, such as a pause, of which it isn't known whether it was made or still will be.

    Args:
        request: what is asked for, as the end of "Your request to".
    """

    code = OutcomeKind.MAY_BE_DONE
    title = "Result unknown"

    def __init__(self, request: str, *, is_bug: bool = False) -> None:
        why = "something went wrong in the bot" if is_bug else "the bot can't reach its database"
        super().__init__(
            f"Your request to {request} may have been carried out, or may still be: {why}.",
            "Wait a minute, then see whether it took effect before you ask again.",
        )


class NotShown(BotError):
    """A bug in this bot, met where something was only to be shown."""

    code = OutcomeKind.INTERNAL_ERROR
    sentence = "Something went wrong in the bot, so it can't show this. Nothing was sent."
    next_step = "Use the Together console if it's urgent, and tell the bot's admin: details are in its log."


class RequestExpired(BotError):
    """A change of the bot's own waited for so long that it isn't made any more."""

    def __init__(self, request: str = "do this") -> None:
        super().__init__(
            f"Your request to {request} wasn't carried out: the bot couldn't act on it for more than 10 min.",
            "Ask again if you still want it.",
        )


class InternalError(BotError):
    """A bug in this bot.

    Args:
        noun: the decision as a noun, such as "approval".
    """

    def __init__(self, noun: str, *, sent: bool) -> None:
        self.code = OutcomeKind.INTERNAL_ERROR if sent else OutcomeKind.NOT_SENT
        self.check_again = sent
        outcome = f"Your {noun} may have gone through." if sent else f"Your {noun} wasn't sent."
        first = "Press “Check again” before you decide anything else" if sent else "Try again"
        super().__init__(
            f"Something went wrong in the bot. {outcome}", f"{first}, and tell the bot's admin: details are in its log."
        )
