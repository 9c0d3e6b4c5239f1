"""The way of a decision: from what was asked to what was delivered, over deaths and outages."""

from bot.decisions.batches import BatchService
from bot.decisions.guardrails import Guardrails, Limits
from bot.decisions.pauses import PauseService
from bot.decisions.recovery import Recovery
from bot.decisions.service import DecisionService, Unrecorded

__all__ = ["BatchService", "DecisionService", "Guardrails", "Limits", "PauseService", "Recovery", "Unrecorded"]
