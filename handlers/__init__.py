"""Slack: surfaces in, messages out. No rules, and no HTTP to Together."""

import re

from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.cards import (
    LOOKING,
    MORE,
    PAUSE,
    PAUSE_DIALOG,
    REASON,
    RESUME,
    RESUME_DIALOG,
    CardConfig,
    review,
)
from bot.cards.chooser import CHOOSER
from bot.cards.home import TONIGHT
from bot.decisions import BatchService, DecisionService, Inbox, Lookup, PauseService
from bot.tasks import Tasks
from handlers.buttons import Buttons
from handlers.chooser import Chooser
from handlers.commands import Commands
from handlers.dialogs import Dialogs
from handlers.digests import Digests
from handlers.fallbacks import Fallbacks
from handlers.home import Home
from handlers.mentions import Mentions
from handlers.more import OverflowMenu
from handlers.pauses import Pauses
from handlers.reasons import Reasons
from handlers.replies import Replies
from handlers.shortcuts import SHORTCUT, Shortcuts
from handlers.surface import Surface

_ANY = re.compile("")
_REMEDIATION = re.compile("^remediation:")
_SAID = re.compile(f"^({PAUSE}|{PAUSE_DIALOG}|{RESUME}|{RESUME_DIALOG}|{LOOKING})$")
_CHOOSER = re.compile("^chooser:")
_HOME = re.compile("^home:")
_REVIEW = re.compile(f"^({review.REVIEW}|{review.APPROVE}|{review.CANCEL})$")


def register(  # noqa: PLR0913 - what the surfaces need
    app: AsyncApp,
    *,
    decisions: DecisionService,
    batches: BatchService,
    pauses: PauseService,
    inbox: Inbox,
    replies: Replies,
    tasks: Tasks,
    config: CardConfig,
    lookup: Lookup,
    client: AsyncWebClient,
    home: Home,
) -> None:
    """Connect Slack's surfaces with the handlers, the frequent ones first: each listener costs a request 9 µs."""
    surface, dialogs = Surface(decisions, inbox, replies, tasks, home), Dialogs(client, home.clock)
    chooser = Chooser(surface, lookup, decisions, replies, dialogs, config)
    reasons = Reasons(config, decisions, surface, dialogs)
    buttons = Buttons(surface, decisions, lookup, reasons, home)
    commands, fallbacks = Commands(surface, decisions, chooser), Fallbacks(replies, tasks)
    digests = Digests(surface, batches, lookup, dialogs, config)
    pausing = Pauses(pauses, lookup, surface, replies, dialogs)
    more = OverflowMenu(surface, decisions, lookup, reasons, pausing, replies, home)
    app.action(MORE)(more.listen)
    app.action(_SAID)(pausing.listen)
    app.action(_REMEDIATION)(buttons.listen)
    app.command(_ANY)(commands.listen)
    app.action(_REVIEW)(digests.review)
    app.action(review.STOP)(digests.stop)
    app.action(review.SELECT)(digests.select)
    app.options(review.SOME)(digests.options)
    app.view(review.REVIEW)(digests.choose)
    app.view(review.BATCH)(digests.submit)
    app.view(REASON)(reasons.submit)
    app.view(CHOOSER)(chooser.submit)
    app.view(PAUSE_DIALOG)(pausing.submit_pause)
    app.view(RESUME_DIALOG)(pausing.submit)
    app.action(_CHOOSER)(chooser.pick)
    app.action(TONIGHT)(chooser.tonight)
    app.options(_CHOOSER)(chooser.options)
    mentions = Mentions(surface, lookup, decisions, inbox, chooser, replies, config, client)
    app.event("app_mention")(mentions.listen)
    app.event("message")(mentions.listen)
    app.event("app_home_opened")(home.opened)
    app.action(_HOME)(home.act)
    app.options(_HOME)(home.options)
    app.action(_ANY)(buttons.listen)
    app.view(_ANY)(fallbacks.view)
    app.view_closed(_ANY)(fallbacks.view)
    app.shortcut(SHORTCUT)(Shortcuts(surface, chooser).listen)
    app.shortcut(_ANY)(fallbacks.shortcut)
    app.options(_ANY)(fallbacks.options)
    app.event(_ANY)(fallbacks.event)
