"""A call to Together was attempted; told to the channel."""

from collections.abc import Sequence

from bot.errors.base import RETRY, BotError, OutcomeKind
from bot.mrkdwn import lasted

_LONG_WAIT = 300.0  # seconds
NOT_SENT, UNCHANGED = " Nothing was sent.", " Nothing changed."


class TogetherError(BotError):
    """A call to Together was attempted and gave no remediation.

    Attributes:
        details: the `details` of an `rpcStatus`; for the log, never for the channel.
    """

    details: Sequence[object] = ()

    @property
    def why(self) -> str:
        """What went wrong, without a word on what became of a decision."""
        return self.sentence.removesuffix(NOT_SENT).removesuffix(UNCHANGED)


class NotReached(TogetherError):
    """No connection was made, so the request certainly never arrived."""

    code = OutcomeKind.NOT_REACHED
    sentence = f"Couldn't reach Together.{NOT_SENT}"
    next_step = RETRY


class RateLimited(TogetherError):
    """Together accepts no more requests with this key for now.

    Attributes:
        retry_after: seconds until the next try may succeed; None when Together did not say.
    """

    code = OutcomeKind.RATE_LIMITED

    def __init__(self, retry_after: float | None = None, *, quote: str = "") -> None:
        wait = "a minute" if retry_after is None else lasted(max(1.0, retry_after))
        until_then = " Until then, use the Together console." if (retry_after or 0.0) > _LONG_WAIT else ""
        super().__init__(
            f"Together is rate-limiting the bot.{UNCHANGED}", f"Try again in {wait}.{until_then}", quote=quote
        )
        self.retry_after = retry_after


class InvalidIds(TogetherError):
    """Together calls an ID malformed, or what was sent with it."""

    code = OutcomeKind.INVALID_IDS
    sentence = f"Together calls the request invalid.{UNCHANGED}"
    next_step = (
        "If you typed the IDs, copy them from the alert (Copy IDs in the menu ⋯). Otherwise, use the Together console."
    )


class NotFound(TogetherError):
    """No such remediation, or not under this cluster and instance."""

    code = OutcomeKind.NOT_FOUND
    sentence = "Together has no such remediation on that cluster and instance."
    next_step = (
        "If you typed the IDs, check them and their order: cluster, instance, remediation. "
        "Otherwise, use the Together console."
    )


class WrongState(TogetherError):
    """The remediation's state does not allow the decision, or its cluster's does not allow a look."""

    code = OutcomeKind.WRONG_STATE
    sentence = "Together says this isn't possible now."
    next_step = "Check again in a minute to see its state."
    check_again = True


class KeyRefused(TogetherError):
    """The API key is wrong, expired, or may not do this."""

    code = OutcomeKind.KEY_REFUSED

    def __init__(self, status: int, *, quote: str = "") -> None:
        problem, repair = "The bot's Together API key can't do that", "give the key that permission"
        if status == 401:  # noqa: PLR2004 - HTTP's own number
            problem, repair = "Together rejected the bot's API key", "check it"
        super().__init__(
            f"{problem} (HTTP {status}).{UNCHANGED}",
            f"Ask the bot's admin to {repair}. Until then, use the Together console.",
            quote=quote,
        )


class RequestRefused(TogetherError):
    """A client error without a more specific class."""

    code = OutcomeKind.REQUEST_REFUSED

    def __init__(self, status: int, *, quote: str = "") -> None:
        super().__init__(
            f"Together refused the request (HTTP {status}).{UNCHANGED}",
            "Ask the bot's admin to check its API address and version. Until then, use the Together console.",
            quote=quote,
        )


class AmbiguousResponse(TogetherError):
    """No clear answer: a decision that was sent may have taken effect."""


class ServerError(AmbiguousResponse):
    """Together, or a proxy before it, failed."""

    code = OutcomeKind.SERVER_ERROR

    def __init__(self, status: int, *, quote: str = "") -> None:
        super().__init__(f"Together had a server error (HTTP {status}).", RETRY, quote=quote)


class NoAnswer(AmbiguousResponse):
    """The request went out, and no whole answer came back in time."""

    code = OutcomeKind.NO_ANSWER
    sentence = "Together didn't respond in time."
    next_step = RETRY


class UnreadableAnswer(AmbiguousResponse):
    """An answer came that is not what the API promises."""

    code = OutcomeKind.UNREADABLE_ANSWER

    def __init__(self, problem: str, *, is_too_large: bool = False) -> None:
        super().__init__(
            f"Together sent an unexpected response ({problem}).",
            "Ask the bot's admin to check its API address. Until then, use the Together console.",
        )
        self.is_too_large = is_too_large


class _Caused(TogetherError):
    """What another error led to: it keeps that one's words and details."""

    def __init__(self, sentence: str, next_step: str, cause: TogetherError) -> None:
        super().__init__(sentence, next_step, quote=cause.quote)
        self.request_id = cause.request_id
        self.http_status = cause.http_status
        self.details = cause.details


class ReadFailed(_Caused):
    """The bot reads a remediation before it acts on a button; that read failed.

    Args:
        noun: the decision as a noun, such as "approval".
    """

    code = OutcomeKind.READ_FAILED

    def __init__(self, noun: str, cause: TogetherError) -> None:
        super().__init__(f"Your {noun} wasn't sent. {cause.why}", cause.next_step, cause)
        self._cause = cause

    @property
    def why(self) -> str:
        """What went wrong, without a word on what became of a decision."""
        return self._cause.why


class CheckFailed(_Caused):
    """A person asked what a remediation is now, and it can't be read. What was sent before may have arrived or not."""

    code = OutcomeKind.CHECK_FAILED
    check_again = True

    def __init__(self, cause: TogetherError) -> None:
        super().__init__(f"Couldn't check. {cause.why} What the card says may be old.", cause.next_step, cause)


class OutcomeUnknown(_Caused):
    """A decision was sent, got no clear answer, and could not be read back."""

    code = OutcomeKind.OUTCOME_UNKNOWN
    check_again = True

    def __init__(self, noun: str, cause: TogetherError) -> None:
        super().__init__(
            f"The {noun} may have gone through. {cause.why} Checking the result failed too.",
            "Press “Check again” before you decide anything else.",
            cause,
        )
