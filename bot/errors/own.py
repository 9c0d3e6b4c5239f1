"""The bot's own end or fault in the middle of a decision; told to the channel."""

from bot.errors.base import BotError


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
