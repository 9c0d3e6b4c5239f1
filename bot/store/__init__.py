"""What must survive: decisions on their way, and the audit trail."""

from bot.store import audit
from bot.store.engine import Database
from bot.store.rows import Holder
from bot.store.store import Store

__all__ = ["Database", "Holder", "Store", "audit"]
