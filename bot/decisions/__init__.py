"""A decision's lifecycle: from the request to the delivered answer, also across crashes and outages."""

from bot.decisions.batches import BatchService
from bot.decisions.guardrails import Guardrails, two_needed_error
from bot.decisions.inbox import SHOW, Handler, Inbox, LeasedEntry
from bot.decisions.lookup import CANCELLABLE, Lookup, LookupResult
from bot.decisions.naming import ensure_not_over
from bot.decisions.overview import Overviews
from bot.decisions.pauses import PauseService
from bot.decisions.recovery import Recovery
from bot.decisions.service import DecisionService, Receipt, Unrecorded
