"""What a person asked for that is no decision, such as a pause, as the store keeps it until it is done."""

from dataclasses import dataclass

from bot.models.request import Actor, ReplyTarget


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to do, with all that another process needs to do it.

    Attributes:
        key: Slack's ID of the click or message, by which a redelivery is known.
        kind: the way in, which knows how it is done.
        what: it is, as in "your request to pause approvals".
        action: the control that was used; empty for a message.
        value: the control's value, or the message's text.
        ts: of the message.
        reason: that was given.
    """

    key: str
    kind: str
    what: str
    actor: Actor
    place: ReplyTarget
    action: str = ""
    value: str = ""
    ts: str = ""
    reason: str = ""
