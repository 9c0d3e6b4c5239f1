"""What must survive: unfinished decisions, alerts, and the audit trail.

A transaction is a function of a module here, which `Database.run` and `Database.read` run in a thread.
"""

from bot.store.connection import read_clock
from bot.store.database import Database
from bot.store.decisions import DecisionStore
from bot.store.health import count_set_aside, health
from bot.store.inbox import InboxStore
from bot.store.lease import RENEWED_AFTER, Lease, LeasedDatabase
from bot.store.outages import Outage
from bot.store.outbox import OutboxEntry
from bot.store.retention import drop_old_response_urls, purge
