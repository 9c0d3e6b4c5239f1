"""The way of a decision: from what was asked to what was delivered, over deaths and outages."""

from bot.decisions.batches import BatchRunner
from bot.decisions.guardrails import Guardrails, Limits
from bot.decisions.recovery import Recovery
from bot.decisions.service import DecisionService, Unrecorded

__all__ = ["BatchRunner", "DecisionService", "Guardrails", "Limits", "Recovery", "Unrecorded"]
