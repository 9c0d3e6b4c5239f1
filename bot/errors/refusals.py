"""Refused before anything was sent to Together; told to the person alone."""

from bot.errors.base import RETRY, BotError, OutcomeKind
from bot.mrkdwn import escape

_SHOWN = 600  # characters of outside words in a sentence: enough for two IDs of full length


class NotAttempted(BotError):
    """Refused before anything was sent to Together."""


class UnreadableCommand(NotAttempted):
    """What was typed can't be read.

    Args:
        problem: what is wrong with it, raw.
        instead: what works, where what was meant is certain; may be empty.
        or_node: what it means where something open is called like its first word: that, and a reason.
    """

    code = OutcomeKind.UNREADABLE_COMMAND

    def __init__(self, problem: str, instead: str = "", or_node: tuple[str, str] | None = None) -> None:
        super().__init__(escape(problem, 2 * _SHOWN), f"Nothing was sent. {instead}".rstrip())
        self.problem = problem
        self.or_node = or_node


class UnreadableButton(NotAttempted):
    """The value of a button is not what this bot, or a tool that follows its contract, writes."""

    code = OutcomeKind.UNREADABLE_BUTTON

    def __init__(self, problem: str) -> None:
        wrong = f"the tool that posted it sent invalid data ({escape(problem, _SHOWN)})"
        super().__init__(
            f"This button doesn't work: {wrong}. Nothing was sent.",
            "Tell that tool's owner. For now, use /cancel-remediation or the Together console.",
        )


class UnknownControl(NotAttempted):
    """A button, dialog or command of another version, or of another app's making."""

    code = OutcomeKind.UNKNOWN_CONTROL

    def __init__(self, control: str) -> None:
        super().__init__(
            f"The bot doesn't recognize {escape(control, _SHOWN)}. Nothing was sent.",
            "Use the latest card, or type /cancel-remediation help.",
        )


class NotAllowed(NotAttempted):
    """The actor may not do this, or not from here.

    Attributes:
        why: as the end of a sentence, where they could a moment ago.
    """

    code = OutcomeKind.NOT_ALLOWED
    why = "you're no longer allowed to decide."

    def __init__(self, sentence: str, who_can: str) -> None:
        super().__init__(f"{sentence} Nothing changed.", who_can)


class NotChecked(NotAllowed):
    """Slack couldn't say whether somebody may do this."""

    code = OutcomeKind.NOT_CHECKED
    why = "Slack couldn't say whether you can still decide."


class AlreadyInFlight(NotAttempted):
    """Somebody's decision on the same remediation has not been answered yet.

    Args:
        doing: the verb in progress, such as "approving".
    """

    code = OutcomeKind.ALREADY_IN_FLIGHT

    def __init__(self, who: str, doing: str, since: str) -> None:
        already = "You're already" if who == "You" else f"{who} is already"
        super().__init__(
            f"{already} {doing} this (since {since}). Nothing more was sent.",
            f"The result comes where {'you' if who == 'You' else 'they'} decided.",
        )


class GuardrailRefusal(NotAttempted):
    """A guard rail keeps an approval from being sent."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(f"Not approved: {why}", next_step)
        self.why = why


class SecondPersonNeeded(GuardrailRefusal):
    """This person has approved it already, and a mode that takes two people waits for another one."""

    code = OutcomeKind.SECOND_PERSON_NEEDED


class LimitReached(GuardrailRefusal):
    """As many nodes of the cluster are in repair as may be at once."""

    code = OutcomeKind.LIMIT_REACHED


class NotReadable(GuardrailRefusal):
    """Another version of the bot wrote down what bears on an approval, such as holds."""

    code = OutcomeKind.NOT_READABLE

    def __init__(self) -> None:
        super().__init__(
            "the bot can't read what another version of it wrote about this node, such as holds.",
            "Use the Together console. The bot's admin can install the newer version again.",
        )


class Observing(NotAttempted):
    """The bot is set to decide nothing in this cluster."""

    code = OutcomeKind.OBSERVING
    sentence = "The bot only observes this cluster, so nothing was sent."
    next_step = "Decide in Together."
    why = "the bot only observes this cluster now."


class NotTracked(NotAttempted):
    """A hold is the bot's own, on remediations whose alert the bot posted itself."""

    code = OutcomeKind.NOT_TRACKED
    sentence = "The bot doesn't track this remediation, so it can't be put on hold."
    next_step = "Tell your team in the thread."


class NoMatch(NotAttempted):
    """Nothing that is open has this name or ID.

    Args:
        text: what was looked for, raw.
    """

    code = OutcomeKind.NO_MATCH

    def __init__(self, text: str, where: str) -> None:
        name = escape(text, 200)
        super().__init__(
            f"No open remediation matches “{name}” in {where}. Nothing was sent.",
            f"Check the name, or type /cancel-remediation list. If it's over, type /cancel-remediation history {name}.",
        )


class NoReference(NotAttempted):
    """Somebody asked for something in a thread, or outside one, that isn't about one remediation.

    Args:
        count: how many remediations the thread is about; None outside a thread.
    """

    code = OutcomeKind.NO_REFERENCE

    def __init__(self, count: int | None) -> None:
        if count is None:
            why = "Which remediation? Nothing was sent."
        elif count == 0:
            why = "This thread isn't about a remediation. Nothing was sent."
        else:
            why = f"{count} remediations are in this thread. Nothing was sent."
        super().__init__(why, "Add a node name or an ID, such as “cancel gpu-node-07”.")


class NothingSelected(NotAttempted):
    """Nothing that still waits was chosen."""

    code = OutcomeKind.NOTHING_SELECTED
    sentence = "Nothing that still waits was chosen, so nothing was sent."
    next_step = "Press Review on the alert and choose again."


class NothingToStop(NotAttempted):
    """A selection was to be stopped that has ended, was stopped before, or has begun its last decision."""

    code = OutcomeKind.NOTHING_TO_STOP
    sentence = "This selection has nothing left to stop."
    next_step = "The results are in the thread, or come there in a moment."


class NothingToResume(NotAttempted):
    """Approvals are not paused, or not any more."""

    code = OutcomeKind.NOTHING_TO_RESUME
    sentence = "Approvals aren't paused."
    next_step = "There's nothing to resume."


class Paused(GuardrailRefusal):
    """Somebody has paused approvals."""

    code = OutcomeKind.PAUSED


class NotConfirmed(NotAttempted):
    """A dialog was submitted for a selection that is not this person's, or has been begun already."""

    code = OutcomeKind.NOT_CONFIRMED
    title = "Nothing more was started"
    sentence = "This selection was already started, has expired, or is someone else's. Nothing more was started."
    next_step = "Choose again on the alert."


class SubmittedBefore(NotAttempted):
    """A dialog was submitted that had been: Slack leaves it open where the ack of the first one came too late."""

    code = OutcomeKind.NOT_CONFIRMED
    title = "Nothing more was started"
    sentence = "This dialog was already submitted. Nothing more was started."
    next_step = "Close it, see what became of the first one, and open it again to ask for something else."


class Overloaded(NotAttempted):
    """The bot can take nothing right now."""

    code = OutcomeKind.OVERLOADED
    sentence = "The bot is restarting or overloaded. Nothing was sent."
    next_step = "Try again in 30 seconds."


class DialogNotShown(NotAttempted):
    """Slack didn't say that it opened or filled a dialog."""

    code = OutcomeKind.OVERLOADED
    sentence = "Slack couldn't show the dialog. Nothing was sent."
    next_step = "Try again in 30 seconds."


class Interrupted(NotAttempted):
    """What was only to be shown may not have been: its process ended or lost it, or Slack didn't take it."""

    code = OutcomeKind.OVERLOADED
    sentence = "The bot was interrupted, or Slack didn't take its answer, so you may not have seen what you asked for."
    next_step = "Ask again if you didn't."


class TooManyRequests(NotAttempted):
    """One person has so much under way that others would have to wait."""

    code = OutcomeKind.TOO_MANY_REQUESTS
    sentence = "You have too many requests running, so this one wasn't sent."
    next_step = "Try again when they finish."


class RefusedWithoutDatabase(NotAttempted):
    """What cannot be proved afterward is not done."""

    code = OutcomeKind.REFUSED_WITHOUT_DATABASE
    sentence = "The bot can't reach its database, so nothing was sent."
    next_step = RETRY
