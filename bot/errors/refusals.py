"""Refused before anything was sent to Together; told to the person alone."""

from bot.errors.base import BotError
from bot.mrkdwn import escape

_SHOWN = 600  # characters of outside words in a sentence: enough for two IDs of full length


class NotAttempted(BotError):
    """Refused before anything was sent to Together."""


class UnreadableCommand(NotAttempted):
    """What was typed is not a reference."""

    def __init__(self, problem: str) -> None:
        super().__init__(escape(problem, 2 * _SHOWN), "Nothing was sent.")


class UnreadableButton(NotAttempted):
    """The value of a button is not what this bot, or a tool that follows its contract, writes."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"This button is malformed ({escape(problem, _SHOWN)}). Nothing was sent.",
            "Tell the alert's owner. For now, use /cancel-remediation or the Together console.",
        )


class UnknownControl(NotAttempted):
    """A button, dialog or command of another version, or of another app's making."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"This bot doesn't recognize {escape(what, _SHOWN)}. Nothing was sent.",
            "Use the latest card, or type /cancel-remediation help.",
        )


class NotAllowed(NotAttempted):
    """The actor may not do this, or not from here."""

    def __init__(self, why: str, who_can: str) -> None:
        super().__init__(f"{why} Nothing changed.", who_can)


class NotChecked(NotAllowed):
    """Slack couldn't say whether somebody may do this."""


class AlreadyInFlight(NotAttempted):
    """Somebody's decision on the same remediation has not been answered yet.

    Args:
        doing: the verb in progress, such as "approving".
    """

    def __init__(self, who: str, doing: str, since: str) -> None:
        already = "You're already" if who == "You" else f"{who} is already"
        super().__init__(
            f"{already} {doing} this (since {since}). Your request was ignored.",
            "Wait for the result in the channel, then decide.",
        )


class Guarded(NotAttempted):
    """A guard rail keeps an approval from being sent."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(f"Not approved: {why}", next_step)
        self.why = why


class SecondPersonNeeded(Guarded):
    """This person has approved it already, and a mode that takes two people waits for another one."""


class LimitReached(Guarded):
    """As many nodes of the cluster are in repair as may be at once."""


class NotFollowed(NotAttempted):
    """A hold is the bot's own, on remediations whose alert the bot posted itself."""

    def __init__(self) -> None:
        super().__init__(
            "Only alerts posted by this bot can be put on hold. Nothing changed.",
            "Ask your team in the thread instead.",
        )


class NoMatch(NotAttempted):
    """Nothing that is open has this name or ID.

    Args:
        text: what was looked for, raw.
    """

    def __init__(self, text: str, where: str) -> None:
        super().__init__(
            f"No open remediation matches “{escape(text, 200)}” in {where}. Nothing was sent.",
            "Type a node name, an ID, or its first characters, or type /cancel-remediation list.",
        )


class NoReference(NotAttempted):
    """Somebody asked for something in a thread, or outside one, that isn't about one remediation.

    Args:
        count: how many remediations the thread is about; None outside a thread.
    """

    def __init__(self, count: int | None) -> None:
        if count is None:
            why = "Which remediation? Nothing was sent."
        elif count == 0:
            why = "This thread isn't about a remediation. Nothing was sent."
        else:
            why = f"This thread is about {count} remediations. Nothing was sent."
        super().__init__(why, "Add a node name or an ID, such as “cancel gpu-node-07”.")


class NothingSelected(NotAttempted):
    """A button for a selection was pressed, and nothing that still waits was selected."""

    def __init__(self) -> None:
        super().__init__(
            "No waiting nodes selected. Nothing changed.", "Choose nodes in the menu, then press the button."
        )


class NothingToStop(NotAttempted):
    """A selection was to be stopped that has ended, or was stopped before."""

    def __init__(self) -> None:
        super().__init__("This selection has already finished.", "See the results in the channel.")


class NothingToResume(NotAttempted):
    """Approvals are not paused, or not any more."""

    def __init__(self) -> None:
        super().__init__("Approvals aren't paused.", "There's nothing to resume.")


class Paused(Guarded):
    """Somebody has paused approvals."""


class NotConfirmed(NotAttempted):
    """A dialog was submitted for a selection that is not this person's, or has been begun already."""

    def __init__(self) -> None:
        super().__init__(
            "This selection was already confirmed or belongs to someone else. Nothing more was started.",
            "Choose again in the channel message.",
        )


class NotTaken(NotAttempted):
    """The bot can take nothing right now."""

    def __init__(self) -> None:
        super().__init__("The bot is restarting or overloaded. Nothing was sent.", "Try again in 30 seconds.")


class TooMany(NotAttempted):
    """One person has so much under way that others would have to wait."""

    def __init__(self) -> None:
        super().__init__(
            "You have too many requests in progress, so this one was ignored. Nothing was sent.",
            "Wait for the results, then try again.",
        )


class StoreDown(NotAttempted):
    """What cannot be proved afterwards is not done."""

    def __init__(self) -> None:
        super().__init__(
            "The bot can't reach its database, so nothing was sent.",
            "Try again in a minute. If this keeps happening, use the Together console and tell the bot's admin.",
        )
