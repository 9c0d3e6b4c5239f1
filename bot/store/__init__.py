"""What must survive: decisions on their way, alerts, and the audit trail."""

from bot.store import audit
from bot.store.alerts import Alerts, Look
from bot.store.batches import Batches, decision_key
from bot.store.digests import DigestLook, Digests
from bot.store.engine import Database
from bot.store.lease import Lease
from bot.store.outages import Outage, Outages
from bot.store.rows import Holder
from bot.store.store import Store

__all__ = [
    "Alerts",
    "Batches",
    "Database",
    "DigestLook",
    "Digests",
    "Holder",
    "Lease",
    "Look",
    "Outage",
    "Outages",
    "Store",
    "audit",
    "decision_key",
]
