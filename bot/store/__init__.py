"""What must survive: decisions on their way, alerts, and the audit trail."""

from bot.store import audit
from bot.store.alerts import Alerts, Look, Outage
from bot.store.batches import Batches
from bot.store.engine import Database
from bot.store.lease import Lease
from bot.store.rows import Holder
from bot.store.store import Store

__all__ = ["Alerts", "Batches", "Database", "Holder", "Lease", "Look", "Outage", "Store", "audit"]
