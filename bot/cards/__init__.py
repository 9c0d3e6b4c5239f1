"""What people see: pure functions from values to Slack messages. Escaping, limits and fallback text are theirs."""

from bot.cards import chooser, digest, faults, handover, home, labels, listing, review
from bot.cards.blocks import line, plainer
from bot.cards.config import CardConfig, TwoPeople, link
from bot.cards.controls import (
    ALONE,
    COPY_IDS,
    HISTORY,
    HOLD_FOR,
    LOOKING,
    MODE,
    MORE,
    OTHER_MODE,
    PAUSE_CHOICE,
    REASON,
    REJECT,
    RELEASE,
    RESUME_CHOICE,
    SUPPORT,
    TIMELINE,
    WITH_REASON,
    hold_dialog,
    reason_dialog,
    recall,
)
from bot.cards.handover import copyable, history, support, timeline
from bot.cards.labels import most_common_fault
from bot.cards.notices import (
    after_failure,
    as_copy,
    decision_beneath,
    failed,
    failure,
    how_to_decide,
    in_progress,
    is_row_of,
    mentions,
    moved,
    moved_cluster,
    pointer,
    posted_late,
    posted_twice,
    private,
    put_back,
    too_late,
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
    pause_over,
    paused,
    resume_dialog,
    resumed,
)
from bot.cards.remediation_card import asked_to_wait, brief, card
