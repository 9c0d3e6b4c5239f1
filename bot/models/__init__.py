"""Values that the whole bot speaks in: references, states, modes, verbs, remediations, people. No I/O."""

from bot.models.alert import (
    HISTORY_DAYS,
    HOLD_ENDS_SOON_SECONDS,
    HOLD_SECONDS,
    LOOKING_SECONDS,
    MAX_HOLD_SECONDS,
    Alert,
    Braked,
    CameBack,
    CardContext,
    History,
    Hold,
    Impact,
    Learned,
    Looked,
    Looking,
    Override,
    Pause,
    Pauser,
    RepairLimit,
    RepairLoad,
)
from bot.models.approval import FIRST_APPROVAL_SECONDS, FirstApproval
from bot.models.batch import (
    EVERYTHING,
    MAX_CHOSEN,
    TROUBLES,
    Batch,
    BatchItem,
    Decidable,
    StopReason,
    decided_in,
    key,
    still_waiting,
    stop_reason,
    waiting,
)
from bot.models.button import SeenState, button_value, read_button_value, reference_value
from bot.models.entry import Entry
from bot.models.event import WHILE_OPEN, Event, EventKind, Target
from bot.models.fault import QUIET_SECONDS, Brake, Fault, FaultMessage, FaultReport
from bot.models.ids import RemediationRef, check_id, new_id, read_reference, short_hash
from bot.models.job import (
    DOUBT_SECONDS,
    LIFETIME,
    Answer,
    AuditNote,
    CardNote,
    Claim,
    DecidedBy,
    Job,
    Outcome,
    PastDecision,
    ReplyKind,
    Sent,
    is_reported_in_digest,
    token_of,
)
from bot.models.message import ARRIVED_SECONDS, Snapshot, TrackedMessage
from bot.models.overview import PER_PAGE, Overview
from bot.models.ports import (
    HISTORY_BEFORE,
    AlertChannels,
    Delivery,
    Directory,
    Found,
    Impacts,
    Messenger,
    Person,
)
from bot.models.remediation import (
    FINAL,
    IN_REPAIR,
    NEXT_STEP,
    OPEN,
    OVERRIDES,
    OWN_COMMENT,
    PRECISION,
    Cluster,
    LinkedAlert,
    Mode,
    Remediation,
    State,
    TwoPeople,
    is_weaker,
    repairs_since,
)
from bot.models.request import MARK, Actor, Blocks, Json, Message, ReplyTarget, Request, decision_of
from bot.models.verbs import RULES, Verb
