"""What must survive: decisions on their way, alerts, and the audit trail."""

from bot.store import audit
from bot.store.alerts import Alerts, Look
from bot.store.approvals import Approvals
from bot.store.batches import Batches
from bot.store.database import Database
from bot.store.decisions import DecisionStore
from bot.store.digests import DigestLook, Digests
from bot.store.lease import Lease
from bot.store.outages import Outage, Outages

__all__ = [
    "Alerts",
    "Approvals",
    "Batches",
    "Database",
    "DecisionStore",
    "DigestLook",
    "Digests",
    "Lease",
    "Look",
    "Outage",
    "Outages",
    "audit",
]
