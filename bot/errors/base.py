"""What every error to be told has, and the signals that are told to nobody."""

from typing import ClassVar

from bot.errors.codes import OutcomeKind


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
        is_gone: the message was deleted.
        is_closed: the channel takes nothing from the bot, so nothing else needs to be tried there now.
    """

    def __init__(self, code: str, *, is_lasting: bool = False, is_gone: bool = False, is_closed: bool = False) -> None:
        super().__init__(code)
        self.is_lasting = is_lasting
        self.is_gone = is_gone
        self.is_closed = is_closed


class PostUncertain(Exception):
    """Slack may have posted or changed a message, or not; the message names what went wrong."""


class StartError(Exception):
    """The bot cannot start as it is set up; the message says what to do."""


class BotError(Exception):
    """Something to be told.

    Attributes:
        code: of it, in the audit trail.
        sentence: what happened, as Slack's mrkdwn: outside words are escaped already.
        next_step: what the reader can do now, likewise.
        quote: words of somebody else, raw, to be shown as a quotation; not part of `str(error)`.
        check_again: whether reading the remediation again is the next step.
    """

    code: ClassVar[OutcomeKind]
    sentence = ""
    next_step = ""
    check_again = False

    def __init__(self, sentence: str = "", next_step: str = "", *, quote: str = "") -> None:
        self.sentence = sentence or self.sentence
        self.next_step = next_step or self.next_step
        self.quote = quote
        super().__init__(f"{self.sentence} {self.next_step}".strip())
