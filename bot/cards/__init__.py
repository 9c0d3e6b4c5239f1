"""What people see: pure functions from values to Slack messages. Escaping, limits and fallback text are theirs."""

from bot.cards import chooser, digest, handover, home, labels, listing, review
from bot.cards.blocks import line, plainer
from bot.cards.config import CardConfig, link
from bot.cards.controls import (
    ALONE,
    COPY_IDS,
    HISTORY,
    LOOKING,
    MORE,
    OTHER_MODE,
    PAUSE_CHOICE,
    REJECT,
    RELEASE,
    RESUME_CHOICE,
    SUPPORT,
    TIMELINE,
    WITH_REASON,
)
from bot.cards.faults import more_unrepaired, none_left, unrepaired
from bot.cards.history import copyable, history, support, timeline
from bot.cards.labels import most_common_fault
from bot.cards.notices import (
    after_failure,
    as_copy,
    decision_beneath,
    failed,
    failure,
    how_to_decide,
    in_progress,
    mentions,
    moved,
    moved_cluster,
    pointer,
    posted_twice,
    private,
    unfollowed,
    usage,
    without_decisions,
)
from bot.cards.pause import (
    ALL_CLUSTERS,
    BRAKE,
    ENDS,
    PAUSE,
    PAUSE_DIALOG,
    PAUSE_FOR,
    RESUME,
    RESUME_DIALOG,
    looked_into,
    pause_dialog,
    pause_ended,
    paused,
    resume_dialog,
    resumed,
)
from bot.cards.reason import HOLD_FOR, MODE, REASON, hold_dialog, reason_dialog, recall
from bot.cards.remediation_card import asked_to_wait, brief, card
from bot.cards.thread import (
    approving_alone,
    came_back,
    first_approval,
    hold_ends,
    lasted_repairs,
    late_call,
    lines,
    listed_again,
    not_back,
    opened_again,
    readable,
    reminder,
    stuck,
    transition,
    unreadable,
    unwatched,
    was_unreadable,
    withdrawn,
)
from bot.cards.thread import failure as failed_repair
