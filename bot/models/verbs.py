"""Verbs are data: buttons, wording, policy and the read-back are driven by `RULES`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.models.remediation import BEGUN, State


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
        done: finished, as in "was approved".
        noun: as in "your approval".
        allowed: the states from which Together takes it.
        effect: the states that show that it took effect.
        on_card: whether the bot's own cards carry its button where the state allows it.
        open_to_all: whether it takes no operator.
    """

    label: str
    doing: str
    done: str
    noun: str
    allowed: frozenset[str] = frozenset()
    effect: frozenset[str] = frozenset()
    on_card: bool = False
    open_to_all: bool = False

    @property
    def decides(self) -> bool:
        """Whether it changes a remediation."""
        return bool(self.effect)


# Allowed states and results: docs.together.ai/reference, remediation-cancel, -approve and -reject.
RULES: Mapping[Verb, Rule] = {
    Verb.APPROVE: Rule(
        label="Approve",
        doing="approving",
        done="approved",
        noun="approval",
        allowed=frozenset({State.PENDING_APPROVAL}),
        effect=BEGUN,
        on_card=True,
    ),
    # Not on the bot's cards: it ends like cancel, and two buttons with one outcome make a tired person wonder.
    Verb.REJECT: Rule(
        label="Reject",
        doing="rejecting",
        done="rejected",
        noun="rejection",
        allowed=frozenset({State.PENDING_APPROVAL}),
        effect=frozenset({State.CANCELLED}),
    ),
    Verb.CANCEL: Rule(
        label="Cancel remediation",
        doing="cancelling",
        done="cancelled",
        noun="cancellation",
        allowed=frozenset({State.PENDING_APPROVAL, State.PENDING}),
        effect=frozenset({State.CANCELLED}),
        on_card=True,
    ),
    Verb.REFRESH: Rule(label="Check again", doing="checking", done="checked", noun="check", open_to_all=True),
    # Together knows no hold: it is the bot's own, on remediations that the bot follows.
    Verb.HOLD: Rule(
        label="Hold for 30 min",
        doing="holding",
        done="held",
        noun="hold",
        allowed=frozenset({State.PENDING_APPROVAL}),
    ),
    Verb.RELEASE: Rule(
        label="Release hold",
        doing="releasing",
        done="released",
        noun="release",
        allowed=frozenset({State.PENDING_APPROVAL}),
    ),
}
