"""Values that the whole bot speaks in: references, states, modes, verbs, remediations, people. No I/O."""

from bot.models.alert import (
    FIRST_APPROVAL_SECONDS,
    HISTORY_DAYS,
    HOLD_SECONDS,
    About,
    Alert,
    Digest,
    FirstApproval,
    History,
    Hold,
    Share,
    answered,
    held,
)
from bot.models.batch import Batch, BatchItem, BatchStatus
from bot.models.button import Shown, button_value, read_button_value, reference_value
from bot.models.ids import MAX_ID_LENGTH, RemediationRef, check_id
from bot.models.job import DOUBT_SECONDS, Answer, Decided, Job, Manner, Outcome, Remark, Sent
from bot.models.ports import Board, Directory, Found, Messenger, Person
from bot.models.remediation import FINAL, IN_REPAIR, OPEN, Cluster, LinkedAlert, Mode, Remediation, State
from bot.models.request import Actor, Blocks, Message, Place, Request
from bot.models.verbs import RULES, Rule, Verb

__all__ = [
    "DOUBT_SECONDS",
    "FINAL",
    "FIRST_APPROVAL_SECONDS",
    "HISTORY_DAYS",
    "HOLD_SECONDS",
    "IN_REPAIR",
    "MAX_ID_LENGTH",
    "OPEN",
    "RULES",
    "About",
    "Actor",
    "Alert",
    "Answer",
    "Batch",
    "BatchItem",
    "BatchStatus",
    "Blocks",
    "Board",
    "Cluster",
    "Decided",
    "Digest",
    "Directory",
    "FirstApproval",
    "Found",
    "History",
    "Hold",
    "Job",
    "LinkedAlert",
    "Manner",
    "Message",
    "Messenger",
    "Mode",
    "Outcome",
    "Person",
    "Place",
    "Remark",
    "Remediation",
    "RemediationRef",
    "Request",
    "Rule",
    "Sent",
    "Share",
    "Shown",
    "State",
    "Verb",
    "answered",
    "button_value",
    "check_id",
    "held",
    "read_button_value",
    "reference_value",
]
