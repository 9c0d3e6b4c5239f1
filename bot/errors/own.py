"""The bot's own end or fault in the middle of a decision; told to the channel."""

from bot.errors.base import BotError
from bot.errors.codes import OutcomeKind


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
    check_again = True

    def __init__(self, noun: str, *, sent: bool, is_lost: bool = False) -> None:
        why = "The bot's database has lost this" if is_lost else "The bot can't reach its database"
        what = "may have gone through" if sent else "may still be sent"
        super().__init__(
            f"{why}. Your {noun} {what}.", "Press “Check again” in a minute, before you decide anything else."
        )


class MayBeDone(BotError):
    """A change of the bot's own, such as a pause, of which it isn't known whether it was made or still will be.

    Args:
        what: it is, as in "your request to pause approvals".
    """

    code = OutcomeKind.MAY_BE_DONE

    def __init__(self, what: str, *, is_bug: bool = False) -> None:
        why = "something went wrong in the bot" if is_bug else "the bot can't reach its database"
        super().__init__(
            f"Your request to {what} may have been carried out, or may still be: {why}.",
            "Wait a minute, then see whether it took effect before you ask again.",
        )


class NotShown(BotError):
    """A bug in this bot, met where something was only to be shown."""

    code = OutcomeKind.INTERNAL_ERROR
    sentence = "Something went wrong in the bot, so it can't show this. Nothing was sent."
    next_step = "Use the Together console if it's urgent, and tell the bot's admin: details are in its log."


class RequestExpired(BotError):
    """A change of the bot's own waited for so long that it isn't made any more."""

    def __init__(self, what: str = "do this") -> None:
        super().__init__(
            f"Your request to {what} wasn't carried out: the bot couldn't act on it for more than 10 min.",
            "Ask again if you still want it.",
        )


class InternalError(BotError):
    """A bug in this bot.

    Args:
        noun: the decision as a noun, such as "approval".
    """

    code = OutcomeKind.INTERNAL_ERROR
    check_again = True

    def __init__(self, noun: str, *, sent: bool) -> None:
        what = f"Your {noun} may have gone through." if sent else f"Your {noun} wasn't sent."
        first = "Press “Check again” before you decide anything else" if sent else "Try again"
        super().__init__(
            f"Something went wrong in the bot. {what}", f"{first}, and tell the bot's admin: details are in its log."
        )
