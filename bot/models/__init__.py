"""Values that the whole bot speaks in: references, states, modes, verbs, remediations, people. No I/O."""

from bot.models.button import Shown, button_value, read_button_value, reference_value
from bot.models.ids import MAX_ID_LENGTH, RemediationRef, check_id
from bot.models.job import Answer, Decided, Job, Manner, Outcome, Sent
from bot.models.ports import Directory, Messenger, Person
from bot.models.remediation import Cluster, LinkedAlert, Mode, Remediation, State
from bot.models.request import Actor, Blocks, Message, Place, Request
from bot.models.verbs import RULES, Rule, Verb

__all__ = [
    "MAX_ID_LENGTH",
    "RULES",
    "Actor",
    "Answer",
    "Blocks",
    "Cluster",
    "Decided",
    "Directory",
    "Job",
    "LinkedAlert",
    "Manner",
    "Message",
    "Messenger",
    "Mode",
    "Outcome",
    "Person",
    "Place",
    "Remediation",
    "RemediationRef",
    "Request",
    "Rule",
    "Sent",
    "Shown",
    "State",
    "Verb",
    "button_value",
    "check_id",
    "read_button_value",
    "reference_value",
]
