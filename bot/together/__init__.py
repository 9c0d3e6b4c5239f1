"""Together's remediation API."""

from bot.together.client import ALL_INSTANCES, Timeouts, TogetherClient

__all__ = ["ALL_INSTANCES", "Timeouts", "TogetherClient"]
