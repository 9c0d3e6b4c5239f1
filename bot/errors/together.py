"""A call to Together was attempted; told to the channel."""

from collections.abc import Sequence

from bot.errors.base import BotError

IF_IT_PERSISTS = "If this keeps happening, use the Together console and tell the bot's admin."


class TogetherError(BotError):
    """A call to Together was attempted and gave no remediation.

    Attributes:
        request_id: Together's ID of the request, when the answer carried one; for the log and the audit trail.
        http_status: of the answer, when there was one.
        details: the `details` of an `rpcStatus`; for the log, never for the channel.
    """

    def __init__(self, sentence: str, next_step: str, *, quote: str = "") -> None:
        super().__init__(sentence, next_step, quote=quote)
        self.request_id: str | None = None
        self.http_status: int | None = None
        self.details: Sequence[object] = ()


class NotReached(TogetherError):
    """No connection was made, so the request certainly never arrived."""

    def __init__(self) -> None:
        super().__init__("Couldn't reach Together. Nothing was changed.", f"Try again in a minute. {IF_IT_PERSISTS}")


class RateLimited(TogetherError):
    """Together takes no more requests of this key for now.

    Attributes:
        retry_after: seconds until the next try may succeed; None when Together did not say.
    """

    def __init__(self, retry_after: float | None = None, *, quote: str = "") -> None:
        wait = "a minute" if retry_after is None else f"{max(1, round(retry_after))} s"
        super().__init__(
            "Together is rate-limiting this bot.",
            f"Try again in {wait}.",
            quote=quote,
        )
        self.retry_after = retry_after


class InvalidIds(TogetherError):
    """Together calls an ID malformed."""

    def __init__(self, *, quote: str = "") -> None:
        super().__init__(
            "Together rejected these IDs.",
            "Compare them with the alert, and try again.",
            quote=quote,
        )


class NotFound(TogetherError):
    """No such remediation, or not under this cluster and instance."""

    def __init__(self, *, quote: str = "") -> None:
        super().__init__(
            "No such remediation on that cluster and instance.",
            "Check the three IDs and their order: cluster, instance, remediation.",
            quote=quote,
        )


class WrongState(TogetherError):
    """The remediation's state does not allow the decision."""

    check_again = True

    def __init__(self, *, quote: str = "") -> None:
        super().__init__(
            "Too late: the remediation has moved on.",
            "Check again to see its state.",
            quote=quote,
        )


class KeyRefused(TogetherError):
    """The API key is wrong, expired, or may not do this."""

    def __init__(self, status: int, *, quote: str = "") -> None:
        what = "rejected this bot's API key" if status == 401 else "doesn't allow this bot's API key to do that"  # noqa: PLR2004 - HTTP's own number
        super().__init__(
            f"Together {what} (HTTP {status}).",
            "Ask the bot's admin to check its API key. Until then, use the Together console.",
            quote=quote,
        )


class RequestRefused(TogetherError):
    """A client error that has no class of its own."""

    def __init__(self, status: int, *, quote: str = "") -> None:
        super().__init__(
            f"Together refused the request (HTTP {status}).",
            "Ask the bot's admin to check its API address and version. Until then, use the Together console.",
            quote=quote,
        )


class Unclear(TogetherError):
    """No clear answer: a decision that was sent may have taken effect."""


class ServerError(Unclear):
    """Together, or a proxy before it, failed."""

    def __init__(self, status: int, *, quote: str = "") -> None:
        super().__init__(
            f"Together had a server error (HTTP {status}).", f"Try again in a minute. {IF_IT_PERSISTS}", quote=quote
        )


class NoAnswer(Unclear):
    """The request went out, and no whole answer came back in time."""

    def __init__(self) -> None:
        super().__init__("Together didn't respond in time.", f"Try again in a minute. {IF_IT_PERSISTS}")


class UnreadableAnswer(Unclear):
    """An answer came that is not what the API promises."""

    def __init__(self, what: str, *, is_too_large: bool = False) -> None:
        super().__init__(
            f"Together sent an unexpected response ({what}).",
            "Ask the bot's admin to check its API address. Until then, use the Together console.",
        )
        self.is_too_large = is_too_large


class ReadFailed(TogetherError):
    """The bot reads a remediation before it acts on a button; that read failed.

    Args:
        noun: the decision as a noun, such as "approval".
    """

    def __init__(self, noun: str, cause: TogetherError) -> None:
        super().__init__(
            f"{cause.sentence} Your {noun} wasn't sent.",
            cause.next_step,
            quote=cause.quote,
        )
        self.request_id, self.http_status, self.details = cause.request_id, cause.http_status, cause.details
        self.cause = cause


class CheckFailed(TogetherError):
    """A person asked what a remediation is now, and it can't be read. What was sent before may have arrived or not."""

    check_again = True

    def __init__(self, cause: TogetherError) -> None:
        sentence = cause.sentence.removesuffix(" Nothing was changed.")
        super().__init__(f"Couldn't check the remediation. {sentence}", cause.next_step, quote=cause.quote)
        self.request_id, self.http_status, self.details = cause.request_id, cause.http_status, cause.details


class OutcomeUnknown(TogetherError):
    """A decision was sent, got no clear answer, and could not be read back."""

    check_again = True

    def __init__(self, noun: str, cause: TogetherError) -> None:
        super().__init__(
            f"We don't know if the {noun} went through. {cause.sentence} Checking the result failed too.",
            'Press "Check again" before you decide anything else.',
            quote=cause.quote,
        )
        self.request_id, self.http_status, self.details = cause.request_id, cause.http_status, cause.details
