"""Together's remediation API."""

from bot.together.client import ALL_INSTANCES, Patience, TogetherClient

__all__ = ["ALL_INSTANCES", "Patience", "TogetherClient"]
