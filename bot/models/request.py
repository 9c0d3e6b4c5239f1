"""One thing that a person asked for: who, what, where. Verbs are data: `RULES` drives buttons, wording, and policy."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from bot.errors import InvalidId, OutcomeKind, UnreadableButton
from bot.models.ids import MAX_ID_LENGTH, RemediationRef, short_hash
from bot.models.remediation import Remediation
from bot.models.states import BEGUN, State

Json = dict[str, Any]  # an object in a payload
Blocks = list[Json]
MARK = "shows-"
_DECISION_LENGTH = 8  # characters of a fingerprint
_WAITING = frozenset({State.PENDING_APPROVAL})
_CANCELLED = frozenset({State.CANCELLED})


class Verb(StrEnum):
    """What a person can ask for. The value is the end of a button's `action_id`."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    REFRESH = "refresh"
    HOLD = "hold"
    RELEASE = "release"

    @property
    def action_id(self) -> str:
        """The `action_id` of its button."""
        return f"remediation:{self}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a verb means.

    Attributes:
        label: on its button.
        doing: in progress, as in "is approving".
        done: finished, as in "was approved"; the code of its success, where the verb decides.
        noun: as in "your approval".
        allowed: the states from which Together takes it.
        effect: the states that show that it took effect.
        decides: whether it changes a remediation.
        on_card: whether all of the bot's cards carry it where the state allows; a hold is on those that are followed.
        open_to_all: whether it takes no operator.
    """

    label: str
    doing: str
    done: str
    noun: str
    allowed: frozenset[str] = frozenset()
    effect: frozenset[str] = frozenset()
    decides: bool = False
    on_card: bool = False
    open_to_all: bool = False


# Allowed states and results: docs.together.ai/reference, remediation-cancel, -approve and -reject.
RULES: Mapping[Verb, Rule] = {
    Verb.APPROVE: Rule(
        label="Approve",
        doing="approving",
        done=OutcomeKind.APPROVED,
        noun="approval",
        allowed=_WAITING,
        effect=BEGUN,
        decides=True,
        on_card=True,
    ),
    # Not on the bot's cards: it ends like cancel, and two buttons with one outcome make a tired person wonder.
    Verb.REJECT: Rule(
        label="Reject",
        doing="rejecting",
        done=OutcomeKind.REJECTED,
        noun="rejection",
        allowed=_WAITING,
        effect=_CANCELLED,
        decides=True,
    ),
    Verb.CANCEL: Rule(
        label="Cancel remediation",
        doing="cancelling",
        done=OutcomeKind.CANCELLED,
        noun="cancellation",
        allowed=frozenset({State.PENDING_APPROVAL, State.PENDING}),
        effect=_CANCELLED,
        decides=True,
        on_card=True,
    ),
    Verb.REFRESH: Rule(label="Check again", doing="checking", done="checked", noun="check", open_to_all=True),
    # Together knows no hold: it is the bot's own, on remediations that the bot follows.
    Verb.HOLD: Rule(
        label="Hold for 30 min",
        doing="holding",
        done=OutcomeKind.HELD,
        noun="hold",
        allowed=_WAITING,
    ),
    Verb.RELEASE: Rule(
        label="Release hold",
        doing="releasing",
        done=OutcomeKind.RELEASED,
        noun="release",
        allowed=_WAITING,
    ),
}


@dataclass(frozen=True, slots=True)
class SeenState:
    """What was seen: by a person on a card, or by the bot in a read. None where it isn't known.

    Attributes:
        episode: `Remediation.episode_key`: another one after it has ended and come back under the same ID.
        at: when it was shown, as Unix time in seconds, where a dialog stood between the message and the decision.
        holds: the keys of the hold that it showed; None where that isn't known.
        is_first: it said that an approval is the first of two, so nothing runs yet.
    """

    mode: str | None
    state: str | None
    episode: str | None = None
    at: float | None = None
    is_first: bool = False
    holds: tuple[str, ...] | None = None

    @property
    def began_at(self) -> int | None:
        """When the incident began that was seen, in Unix time, or 0; None where that isn't known."""
        return int(self.episode) if self.episode and self.episode.isdecimal() else None


NOTHING_SEEN = SeenState(None, None)


def button_value(remediation: Remediation, *, is_first: bool, holds: Iterable[str] | None) -> str:
    """Write a button's value: the reference, and what the person is shown."""
    value = {
        **asdict(remediation.ref),
        "mode": remediation.mode,
        "state": remediation.state,
        "episode": remediation.episode_key,
        **({"is_first": True} if is_first else {}),
        **({"holds": sorted(holds)} if holds is not None else {}),
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reference_value(ref: RemediationRef) -> str:
    """Write the value of a button on a message that shows no remediation, only which one it is about."""
    return json.dumps(asdict(ref), ensure_ascii=False, separators=(",", ":"))


def _is_plain(value: object) -> bool:
    """Return whether it is short, without control, format or surrogate characters: no database takes all of these."""
    if not isinstance(value, str) or len(value) > MAX_ID_LENGTH:
        return False
    return not any(unicodedata.category(character)[0] == "C" for character in value)


def read_button_value(value: object) -> tuple[RemediationRef, SeenState]:
    """Read a button's value, as this or any earlier release or another tool wrote it.

    Raises:
        UnreadableButton: it is no such value.
    """
    try:
        fields = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UnreadableButton("its value isn't a JSON object")
    names = ("cluster_id", "instance_id", "remediation_id")
    ids = [value for name in names if isinstance(value := fields.get(name), str)]
    if len(ids) < len(names):
        raise UnreadableButton("cluster_id, instance_id or remediation_id is missing")
    mode, state, episode = shown = [fields.get(name) for name in ("mode", "state", "episode")]
    if not all(text is None or _is_plain(text) for text in shown):
        raise UnreadableButton("mode or state isn't plain text")
    holds: tuple[str, ...] | None = None
    if isinstance(keys := fields.get("holds"), list) and all(map(_is_plain, keys)):
        holds = tuple(keys)
    try:
        is_first = fields.get("is_first") is True
        seen = SeenState(mode or None, state or None, episode or None, is_first=is_first, holds=holds)
        return RemediationRef(*ids), seen
    except InvalidId as error:
        raise UnreadableButton(str(error).removesuffix(".")) from None


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
        controls = [each for block in self.blocks[1:] for each in (*block.get("elements", ()), block.get("accessory"))]
        asks = self.blocks[:1] + [
            {name: value for name, value in control.items() if name != "confirm"}  # which says how many are in repair
            for control in controls
            if control and "action_id" in control
        ]
        whole = [self.text, self.blocks, self.attachments]
        return short_hash(asks, _DECISION_LENGTH) + short_hash(whole)

    @property
    def marked_blocks(self) -> Blocks:
        """The blocks, with the fingerprint as the ID of the first: it says later what a message in a channel shows."""
        if not self.blocks or "block_id" in self.blocks[0]:
            return self.blocks
        return [{**self.blocks[0], "block_id": f"{MARK}{self.fingerprint}"}, *self.blocks[1:]]


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """Where an action came from and its answer goes.

    Attributes:
        channel_id: the channel; None in a dialog or the app's home.
        user_id: whom to tell in private.
        response_url: Slack's short-lived address for answers; a capability, so it is kept out of every repr.
        message_ts: the message that the answer updates: the clicked one, or the one that said "in progress".
        thread_ts: the thread in which an error is posted.
        is_button: whether a message was clicked, as opposed to a command typed.
        is_ephemeral: whether the clicked message is one that only `response_url` can change.
        original: what the clicked message showed, to restore it.
        is_foreign: another tool wrote the clicked message: its own words stay.
        is_home: it was asked in the app's home, where no message is: what is for the person alone is a direct message.
        is_dialog: it was asked in a dialog, and the message that it was opened from may have no thread yet.
        in_progress: whether "in progress" is shown instead of it now.
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
    is_dialog: bool = False

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
        batch_id: the batch that it is a part of, and where its outcome is shown.
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

    @property
    def saw(self) -> SeenState:
        """What the person saw; nothing of it for a typed command."""
        return self.shown or NOTHING_SEEN

    def at(self, place: ReplyTarget) -> "Request":
        """Return the same request, whose answer goes to another place."""
        return replace(self, place=place)


def decision_part(fingerprint: str) -> str:
    """Return the part of a message's fingerprint that changes with what may be decided on it."""
    return fingerprint[:_DECISION_LENGTH]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to do, with all that another process needs to do it.

    Attributes:
        key: Slack's ID of the click or message, by which a redelivery is known.
        kind: what came in, such as a press; names its handler where there is no `action`.
        what: is asked for, as the end of "your request to".
        action: the control that was used; empty for a message.
        value: the control's value, or the message's text.
        reason: that was given.
    """

    key: str
    kind: str
    what: str
    actor: Actor
    place: ReplyTarget
    action: str = ""
    value: str = ""
    reason: str = ""

    @property
    def handler(self) -> str:
        """The name of what does it."""
        return self.action or self.kind
