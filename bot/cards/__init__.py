"""What people see: pure functions from values to Slack messages. Escaping, limits and fallback text are theirs."""

from bot.cards import batch, chooser, digest, home, labels, listing, selection
from bot.cards.additions import decision_beneath
from bot.cards.config import CardConfig
from bot.cards.controls import COPY_IDS, HISTORY, MORE, OTHER_MODE, REJECT, RELEASE, question
from bot.cards.history import copyable, history
from bot.cards.notices import (
    USAGE,
    after_failure,
    failed,
    failure,
    how_to_decide,
    in_progress,
    line,
    mentions,
    pointer,
    private,
    unfollowed,
    usage,
    without_decisions,
)
from bot.cards.other_mode import MODE, OTHER_MODE_DIALOG, other_mode_dialog
from bot.cards.pause import ALL_CLUSTERS, PAUSE, RESUME, paused, resumed
from bot.cards.pointers import moved, posted_twice
from bot.cards.reason import REASON, reason_dialog, recall
from bot.cards.remediation_card import card
from bot.cards.thread import failure as failed_repair
from bot.cards.thread import (
    first_approval,
    hold_ends,
    late_call,
    lines,
    listed_again,
    readable,
    reminder,
    transition,
    unreadable,
    unwatched,
    was_unreadable,
    withdrawn,
)

__all__ = [
    "ALL_CLUSTERS",
    "COPY_IDS",
    "HISTORY",
    "MODE",
    "MORE",
    "OTHER_MODE",
    "OTHER_MODE_DIALOG",
    "PAUSE",
    "REASON",
    "REJECT",
    "RELEASE",
    "RESUME",
    "USAGE",
    "CardConfig",
    "after_failure",
    "batch",
    "card",
    "chooser",
    "copyable",
    "decision_beneath",
    "digest",
    "failed",
    "failed_repair",
    "failure",
    "first_approval",
    "history",
    "hold_ends",
    "home",
    "how_to_decide",
    "in_progress",
    "labels",
    "late_call",
    "line",
    "lines",
    "listed_again",
    "listing",
    "mentions",
    "moved",
    "other_mode_dialog",
    "paused",
    "pointer",
    "posted_twice",
    "private",
    "question",
    "readable",
    "reason_dialog",
    "recall",
    "reminder",
    "resumed",
    "selection",
    "transition",
    "unfollowed",
    "unreadable",
    "unwatched",
    "usage",
    "was_unreadable",
    "withdrawn",
    "without_decisions",
]
