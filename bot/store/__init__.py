"""What must survive: decisions on their way, alerts, and the audit trail."""

from bot.store import audit
from bot.store.approvals import Approvals, look_into
from bot.store.batches import Batches, stop_batch
from bot.store.database import Database
from bot.store.decisions import DecisionStore
from bot.store.faults import Faults, resume
from bot.store.health import health
from bot.store.inbox import InboxStore
from bot.store.lease import Lease
from bot.store.messages import InChannel, Messages
from bot.store.outages import Outage, Outages
from bot.store.outbox import Outbox, OutboxEntry
from bot.store.pauses import Pauses, begin_pause
from bot.store.retention import drop_old_response_urls, purge
from bot.store.summaries import Summaries
from bot.store.trail import Trail, check_signatures

__all__ = [
    "Approvals",
    "Batches",
    "Database",
    "DecisionStore",
    "Faults",
    "InChannel",
    "InboxStore",
    "Lease",
    "Messages",
    "Outage",
    "Outages",
    "Outbox",
    "OutboxEntry",
    "Pauses",
    "Summaries",
    "Trail",
    "audit",
    "begin_pause",
    "check_signatures",
    "drop_old_response_urls",
    "health",
    "look_into",
    "purge",
    "resume",
    "stop_batch",
]
