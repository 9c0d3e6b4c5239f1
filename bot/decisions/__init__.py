"""The way of a decision: from what was asked to what was delivered, over deaths and outages."""

from bot.decisions.batches import BatchService
from bot.decisions.guardrails import Guardrails, two_needed
from bot.decisions.inbox import SHOW, Inbox, LeasedEntry, Way
from bot.decisions.lookup import CANCELLABLE, Lookup, LookupResult
from bot.decisions.overview import Overviews
from bot.decisions.pauses import PauseService
from bot.decisions.recovery import Recovery
from bot.decisions.service import DecisionService, Receipt, Unrecorded
