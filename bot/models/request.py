"""One thing that a person asked for: who, what, where."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bot.models.button import SeenState
from bot.models.ids import RemediationRef, short_hash
from bot.models.verbs import RULES, Rule, Verb

Json = dict[str, Any]  # an object in a payload
Blocks = list[Json]
MARK = "shows-"
_DECISION = 8  # characters of a fingerprint


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, as Slack's payload says it.

    Attributes:
        user_id: Slack's ID.
        name: for Together's record; Slack's own messages use the ID.
        team_id: the workspace in which it was asked; None for an org-wide installation.
        home_team_id: the workspace that the person belongs to; None where the payload does not say.
        is_member: the way it was asked is open to members of the workspace only, so `home_team_id` is not needed.
    """

    user_id: str
    name: str
    team_id: str | None
    home_team_id: str | None = None
    is_member: bool = False


@dataclass(frozen=True)
class Message:
    """A Slack message: `text` for notifications and screen readers, `blocks` for eyes."""

    text: str
    blocks: Blocks = field(default_factory=list)
    attachments: Blocks = field(default_factory=list)

    @cached_property
    def fingerprint(self) -> str:
        """The same for messages that look the same; it begins the same for those that ask and offer the same."""
        asks = self.blocks[:1] + [
            each for each in self.blocks[1:] if each.get("type") == "actions" or "accessory" in each
        ]
        whole = [self.text, self.blocks, self.attachments]
        return short_hash(asks, _DECISION) + short_hash(whole)

    @property
    def marked_blocks(self) -> Blocks:
        """The blocks, with the fingerprint as the ID of the first: it tells later what a message in a channel shows."""
        if not self.blocks or "block_id" in self.blocks[0]:
            return self.blocks
        return [{**self.blocks[0], "block_id": f"{MARK}{self.fingerprint}"}, *self.blocks[1:]]


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """Where an action came from and its answer goes.

    Attributes:
        channel_id: the channel, None where there is none (a dialog, the app's home).
        user_id: whom to tell in private.
        response_url: Slack's short-lived address for answers; a capability, so it is kept out of every repr.
        message_ts: the message that the answer updates: the clicked one, or the one that said "in progress".
        thread_ts: the thread in which an error is told.
        is_button: whether a message was clicked, as opposed to a command typed.
        is_ephemeral: whether the clicked message is one that only `response_url` can change.
        original: what the clicked message showed, to restore it.
        is_foreign: another tool wrote the clicked message: its own words stay.
        is_home: it was asked in the app's home, where no message is: what is for the person alone is a direct message.
        in_progress: whether "in progress" is shown in its stead now.
        may_overwrite: "in progress" may still arrive, over the answer.
    """

    channel_id: str | None
    user_id: str
    response_url: str | None = field(default=None, repr=False)
    message_ts: str | None = None
    thread_ts: str | None = None
    is_button: bool = False
    is_ephemeral: bool = False
    original: Message | None = field(default=None, repr=False)
    in_progress: bool = False
    may_overwrite: bool = False
    is_foreign: bool = False
    is_home: bool = False

    @property
    def clicked_at(self) -> float | None:
        """When the clicked message was posted, as Unix time in seconds: Slack names it by that. None for a command."""
        try:
            return float(self.message_ts or "") if self.is_button else None
        except ValueError:
            return None

    @property
    def is_direct(self) -> bool:
        """Whether what is for the person alone is a direct message: there is no channel to show it in beside others."""
        return self.is_home or (self.channel_id or "").startswith("D")


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that a person asked for.

    Attributes:
        shown: what the person saw; None for a typed command, which shows nothing first.
        trigger_id: Slack's ID of the click or command, by which a redelivery is known.
        batch_id: the batch that it is a part of, and where its outcome is told.
        seconds: for how long, where that was chosen.
        overrides: the person approves alone, over the two-person rule and the repair limit.
        instead_of: the mode that was suggested, where the person chose another: `shown` then holds the chosen one.
        asked_at: when it was received, on the clock of the process that did, in Unix time in seconds.
    """

    verb: Verb
    ref: RemediationRef
    actor: Actor
    place: ReplyTarget
    shown: SeenState | None = None
    reason: str = ""
    trigger_id: str | None = None
    batch_id: str | None = None
    seconds: float | None = None
    instead_of: str | None = None
    overrides: bool = False
    asked_at: float = 0.0

    @property
    def rule(self) -> Rule:
        """What its verb does."""
        return RULES[self.verb]

    def at(self, place: ReplyTarget) -> "Request":
        """The same request, whose answer goes to another place."""
        return replace(self, place=place)


def decision_of(fingerprint: str) -> str:
    """Return the part of a message's fingerprint that changes with what may be decided on it."""
    return fingerprint[:_DECISION]
