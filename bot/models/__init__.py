"""Values that the whole bot speaks in: references, states, modes, verbs, remediations, people. No I/O."""

from bot.models.alert import (
    HISTORY_DAYS,
    HOLD_ENDS_SOON_SECONDS,
    HOLD_SECONDS,
    LOOKING_SECONDS,
    MAX_HOLD_SECONDS,
    Alert,
    CameBack,
    CardContext,
    History,
    Hold,
    Learned,
    Looked,
    Looking,
    repairs_since,
)
from bot.models.cluster import Cluster, ClusterNames
from bot.models.event import ENDS, Event, EventKind, Target
from bot.models.fault import QUIET_SECONDS, Brake, Fault, FaultMessage, FaultReport
from bot.models.guardrails import Braked, Override, Pause, Pauser, RepairLimit, RepairLoad
from bot.models.ids import RemediationRef, check_id, folded, new_id, parts_of, read_reference, short_hash
from bot.models.job import NOTHING_KNOWN, Job
from bot.models.message import (
    ARRIVED_SECONDS,
    EVERYTHING,
    MAX_CHOSEN,
    TROUBLES,
    Batch,
    BatchItem,
    Decidable,
    Snapshot,
    StopReason,
    TrackedMessage,
    stop_reason,
    waiting,
)
from bot.models.outcome import (
    CLOCKS_DIFFER_BY,
    DOUBT_SECONDS,
    FIRST_APPROVAL_SECONDS,
    LIFETIME,
    Answer,
    AuditNote,
    CardNote,
    Claim,
    DecidedBy,
    Doubt,
    FirstApproval,
    Outcome,
    PastDecision,
    ReplyKind,
    token_of,
)
from bot.models.ports import (
    HISTORY_BEFORE,
    AlertChannels,
    Delivery,
    Directory,
    Found,
    Impact,
    Impacts,
    Messenger,
    Person,
)
from bot.models.remediation import OWN_COMMENT, PRECISION, LinkedAlert, Remediation, unix
from bot.models.request import (
    MARK,
    RULES,
    Actor,
    Blocks,
    Entry,
    Json,
    Message,
    ReplyTarget,
    Request,
    SeenState,
    Verb,
    button_value,
    decision_part,
    read_button_value,
    reference_value,
)
from bot.models.states import (
    BEGUN,
    CALLED_OFF,
    FINAL,
    IN_REPAIR,
    NEXT_STEP,
    OPEN,
    OVERRIDES,
    RAN,
    Mode,
    State,
    is_weaker,
)
