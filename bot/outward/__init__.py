"""What other tools are told, CloudEvents to a webhook and incidents to PagerDuty; and what they are asked."""

from bot.outward.impact import ImpactReader
from bot.outward.sender import Destinations, Sender
