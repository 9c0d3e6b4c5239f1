"""Slack: surfaces in, messages out. No rules, and no HTTP to Together."""

import re

from slack_bolt.async_app import AsyncApp

from bot.decisions import Decisions
from bot.tasks import Tasks
from handlers.buttons import Buttons
from handlers.commands import Commands
from handlers.fallbacks import Fallbacks
from handlers.replies import Replies

_ANY = re.compile("")


def register(app: AsyncApp, decisions: Decisions, replies: Replies, tasks: Tasks) -> None:
    """Connect Slack's surfaces with the handlers, the frequent ones first: each listener costs a request 9 µs."""
    buttons, commands = Buttons(decisions, replies, tasks), Commands(decisions, tasks)
    fallbacks = Fallbacks(replies, tasks)
    app.action(_ANY)(buttons.listen)
    app.command(_ANY)(commands.listen)
    app.view(_ANY)(fallbacks.view)
    app.view_closed(_ANY)(fallbacks.view)
    app.shortcut(_ANY)(fallbacks.shortcut)
    app.options(_ANY)(fallbacks.options)
    app.event(_ANY)(fallbacks.event)
