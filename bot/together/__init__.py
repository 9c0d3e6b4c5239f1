"""Together's remediation API."""

from bot.together.client import ALL_INSTANCES, Timeouts, TogetherClient
