"""What other tools are told: CloudEvents to a webhook, incidents to PagerDuty."""

from bot.outward.sender import Destinations, Sender

__all__ = ["Destinations", "Sender"]
