"""A Slack workspace: Web API, `response_url`, signed delivery and Socket Mode, with Slack's own refusals."""

from tests.simulator.slack.limits import Refused
from tests.simulator.slack.people import Slack, sign
from tests.simulator.slack.socket import Ack
from tests.simulator.slack.workspace import Channel, Posted, SlackFault

__all__ = ["Ack", "Channel", "Posted", "Refused", "Slack", "SlackFault", "sign"]
