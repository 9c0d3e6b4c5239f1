"""Everything that can go wrong, as values: a class, a sentence and a next step each.

::

    BotError                      str(error) is the sentence and the next step, fit to post
    ├── NotAttempted              nothing was sent to Together; told to the person alone
    │   ├── UnreadableCommand     a part is missing or is no ID
    │   ├── UnreadableButton      the button's value is not one this bot writes
    │   ├── UnknownControl        a button, dialog or command this version does not have
    │   ├── NotAllowed            this person, channel or workspace may not decide
    │   ├── AlreadyInFlight       somebody is deciding on this remediation right now
    │   ├── NotTaken              the bot is stopping or full
    │   └── StoreDown             the bot cannot write down what was asked, or what it is about to do
    ├── TogetherError             a call was attempted; told to the channel
    │   ├── NotReached            no connection was made: the only one that may say that nothing was changed
    │   ├── RateLimited           429
    │   ├── InvalidIds            400 with code 3
    │   ├── NotFound              404
    │   ├── WrongState            400 with code 9, 409: usually shown as the present card instead
    │   ├── KeyRefused            401, 403
    │   ├── RequestRefused        any other 4xx
    │   ├── Unclear               a decision that was sent may have taken effect: read it back
    │   │   ├── ServerError       5xx
    │   │   ├── NoAnswer          a timeout or a cut line after the request went out
    │   │   └── UnreadableAnswer  not a remediation, too large, a redirect, another remediation
    │   ├── ReadFailed            the read before a decision failed, so the decision was not sent
    │   └── OutcomeUnknown        the decision was sent, and reading it back failed too
    ├── Interrupted               the bot was stopped in the middle
    └── InternalError             a bug in the bot

    InvalidId                     a ValueError: a text that is no ID
    DirectoryUnavailable          Slack could not say who somebody is
    StoreUnavailable              the database did not do it
    LeaseLost                     another process has taken this decision over
    StartError                    the bot cannot start as it is set up; told on the terminal
"""

from collections.abc import Sequence

from bot.mrkdwn import escape

_SHOWN = 600  # characters of outside words in a sentence: enough for two IDs of full length

IF_IT_GOES_ON = "If it goes on, decide in Together's own console and tell whoever runs this bot."


class InvalidId(ValueError):
    """A text that is no ID.

    Attributes:
        part: which of cluster, instance or remediation it was meant to be.
        problem: what is wrong with it, as the end of a sentence.
    """

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(f"The {part} ID {problem}.")
        self.part = part
        self.problem = problem


class DirectoryUnavailable(Exception):
    """Slack could not say who somebody is or who belongs to a group."""


class StoreUnavailable(Exception):
    """The database did not do it, or did not say whether it did; the message names the driver's exception."""


class LeaseLost(Exception):
    """Another process has taken this decision over: this one must neither write nor tell anything about it."""


class StartError(Exception):
    """The bot cannot start as it is set up; the message says what to do."""


class BotError(Exception):
    """Something to be told.

    Attributes:
        sentence: what happened, as Slack's mrkdwn: whatever came from outside is escaped already.
        next_step: what the reader can do now, likewise.
        quote: words of somebody else, raw, to be shown as a quotation; not part of `str(error)`.
        check_again: whether reading the remediation again is the next step.
    """

    check_again = False

    def __init__(self, sentence: str, next_step: str, *, quote: str = "") -> None:
        super().__init__(f"{sentence} {next_step}".strip())
        self.sentence = sentence
        self.next_step = next_step
        self.quote = quote


class NotAttempted(BotError):
    """Refused before anything was sent to Together."""


class UnreadableCommand(NotAttempted):
    """What was typed is not a reference."""

    def __init__(self, problem: str) -> None:
        super().__init__(escape(problem, 2 * _SHOWN), "Nothing was sent to Together.")


class UnreadableButton(NotAttempted):
    """The value of a button is not what this bot, or a tool that follows its contract, writes."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"This button cannot be read: {escape(problem, _SHOWN)}. Nothing was sent to Together.",
            "Tell whoever posts these alerts, and use /cancel-remediation or Together's console meanwhile.",
        )


class UnknownControl(NotAttempted):
    """A button, dialog or command of another version, or of another app's making."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"This version of the bot does not know {escape(what, _SHOWN)}. Nothing was sent to Together.",
            "Use the newest card of this remediation, or type /cancel-remediation help.",
        )


class NotAllowed(NotAttempted):
    """The actor may not do this, or not from here."""

    def __init__(self, why: str, who_can: str) -> None:
        super().__init__(f"{why} Nothing was done.", who_can)


class AlreadyInFlight(NotAttempted):
    """Somebody's decision on the same remediation has not been answered yet.

    Args:
        who: mention of the person, or "You".
        doing: the verb in progress, such as "approving".
        since: when it began, as Slack shows times.
    """

    def __init__(self, who: str, doing: str, since: str) -> None:
        already = "You have been" if who == "You" else f"{who} has been"
        super().__init__(
            f"{already} {doing} this remediation since {since}. Your click or command was not taken.",
            "The answer will stand in the channel in a moment; look at it, then decide.",
        )


class NotTaken(NotAttempted):
    """The bot can take nothing right now."""

    def __init__(self) -> None:
        super().__init__(
            "The bot is restarting or has too much to do, and did not take this. Nothing was sent to Together.",
            "Try again in half a minute.",
        )


class StoreDown(NotAttempted):
    """What cannot be proved afterwards is not done."""

    def __init__(self) -> None:
        super().__init__(
            "The bot cannot reach its own database, so it did not take this. Nothing was decided.",
            "Try again in a minute. If it goes on, decide in Together's own console and tell whoever runs this bot.",
        )


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
        super().__init__(
            "Together's API could not be reached, so nothing was changed.", f"Try again in a minute. {IF_IT_GOES_ON}"
        )


class RateLimited(TogetherError):
    """Together takes no more requests of this key for now.

    Attributes:
        retry_after: seconds until the next try may succeed; None when Together did not say.
    """

    def __init__(self, retry_after: float | None = None, *, quote: str = "") -> None:
        wait = "a minute" if retry_after is None else f"{max(1, round(retry_after))} s"
        super().__init__(
            "Together did not take the request: too many requests with this key (HTTP 429).",
            f"Try again in {wait}.",
            quote=quote,
        )
        self.retry_after = retry_after


class InvalidIds(TogetherError):
    """Together calls an ID malformed."""

    def __init__(self, *, quote: str = "") -> None:
        super().__init__(
            "Together does not accept these IDs.",
            "Compare cluster, instance and remediation ID with the alert, and try again.",
            quote=quote,
        )


class NotFound(TogetherError):
    """No such remediation, or not under this cluster and instance."""

    def __init__(self, *, quote: str = "") -> None:
        super().__init__(
            "Together knows no such remediation under this cluster and instance.",
            "Check the three IDs and their order: cluster, instance, remediation.",
            quote=quote,
        )


class WrongState(TogetherError):
    """The remediation's state does not allow the decision."""

    check_again = True

    def __init__(self, *, quote: str = "") -> None:
        super().__init__(
            "Together refused: the remediation is no longer in a state that allows this.",
            "Look at its present state before you decide again.",
            quote=quote,
        )


class KeyRefused(TogetherError):
    """The API key is wrong, expired, or may not do this."""

    def __init__(self, status: int, *, quote: str = "") -> None:
        what = "refused this bot's API key" if status == 401 else "does not let this bot's API key do that"  # noqa: PLR2004 - HTTP's own number
        super().__init__(
            f"Together {what} (HTTP {status}).",
            "Whoever runs the bot must check TOGETHER_API_KEY. Until then, decide in Together's own console.",
            quote=quote,
        )


class RequestRefused(TogetherError):
    """A client error that has no class of its own."""

    def __init__(self, status: int, *, quote: str = "") -> None:
        super().__init__(
            f"Together refused the request (HTTP {status}).",
            "Whoever runs the bot must check TOGETHER_BASE_URL and the bot's version. "
            "Until then, decide in Together's own console.",
            quote=quote,
        )


class Unclear(TogetherError):
    """No clear answer: a decision that was sent may have taken effect."""


class ServerError(Unclear):
    """Together, or a proxy before it, failed."""

    def __init__(self, status: int, *, quote: str = "") -> None:
        super().__init__(
            f"Together's API failed (HTTP {status}).", f"Try again in a minute. {IF_IT_GOES_ON}", quote=quote
        )


class NoAnswer(Unclear):
    """The request went out, and no whole answer came back in time."""

    def __init__(self) -> None:
        super().__init__(
            "Together's API took the request but did not answer.", f"Try again in a minute. {IF_IT_GOES_ON}"
        )


class UnreadableAnswer(Unclear):
    """An answer came that is not what the API promises."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Together's API gave an answer that cannot be read: {what}.",
            "Whoever runs the bot must check TOGETHER_BASE_URL. Until then, decide in Together's own console.",
        )


class ReadFailed(TogetherError):
    """The bot reads a remediation before it acts on a button; that read failed.

    Args:
        noun: the decision as a noun, such as "approval".
        cause: why the read failed.
    """

    def __init__(self, noun: str, cause: TogetherError) -> None:
        super().__init__(
            f"{cause.sentence} The bot reads a remediation before it decides, so your {noun} was not sent.",
            cause.next_step,
            quote=cause.quote,
        )
        self.request_id, self.http_status, self.details = cause.request_id, cause.http_status, cause.details


class OutcomeUnknown(TogetherError):
    """A decision was sent, got no clear answer, and could not be read back."""

    check_again = True

    def __init__(self, noun: str, cause: TogetherError) -> None:
        super().__init__(
            f"It is unknown whether the {noun} took effect. {cause.sentence} "
            "Reading the remediation back failed too. The decision may still arrive.",
            'Press "Check again" before you decide anything else.',
            quote=cause.quote,
        )
        self.request_id, self.http_status, self.details = cause.request_id, cause.http_status, cause.details


class Interrupted(BotError):
    """The bot was stopped before it had the answer.

    Args:
        noun: the decision as a noun, such as "approval".
        sent: whether the decision may have left for Together.
    """

    check_again = True

    def __init__(self, noun: str, *, sent: bool) -> None:
        if sent:
            what = f"The bot was stopped while Together was working on the {noun}: it may have taken effect."
        else:
            what = f"The bot was stopped before it sent the {noun} to Together."
        super().__init__(what, 'Press "Check again" when the bot is back, then decide.')


class InternalError(BotError):
    """A bug in this bot.

    Args:
        noun: the decision as a noun, such as "approval".
        sent: whether the decision may have left for Together.
    """

    check_again = True

    def __init__(self, noun: str, *, sent: bool) -> None:
        what = f"The {noun} may have taken effect." if sent else f"The {noun} was not sent to Together."
        super().__init__(
            f"The bot itself failed; its log says why. {what}",
            'Press "Check again" before you decide anything else, and tell whoever runs this bot.',
        )
