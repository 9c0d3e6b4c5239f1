"""Puts the bot together from its settings and connections."""

import functools
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

import aiohttp
import httpx
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
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
    TwoPeople,
    link,
    review,
)
from bot.cards.chooser import CHOOSER
from bot.cards.home import TONIGHT
from bot.clock import Clock
from bot.decisions import (
    BatchService,
    DecisionService,
    Guardrails,
    Inbox,
    Lookup,
    Overviews,
    PauseService,
    Recovery,
)
from bot.formats import is_loopback, proxy_for
from bot.models import RULES, RepairLimit, Target, Verb
from bot.outward import Destinations, ImpactReader
from bot.policy import Policy
from bot.settings import Settings, revealed
from bot.store import DecisionStore
from bot.tasks import Tasks
from bot.together import Timeouts, TogetherClient
from bot.transport import AiohttpTransport
from bot.watcher import Route, StormBrake, WatchConfig, Watcher, stale_after
from handlers.alert_channels import SlackAlertChannels
from handlers.bolt import Bolt
from handlers.buttons import Buttons
from handlers.chooser import Chooser
from handlers.client import SlackClient
from handlers.commands import Commands
from handlers.connection import Identity
from handlers.dialogs import Dialogs
from handlers.digests import Digests
from handlers.directory import SlackDirectory
from handlers.fallbacks import Fallbacks
from handlers.home import Home
from handlers.mentions import Mentions
from handlers.pauses import Pauses
from handlers.payloads import SHORTCUT
from handlers.replies import Replies

MAX_AT_ONCE = 200
_trusted = functools.cache(ssl.create_default_context)  # takes 10 ms, and each process needs it four times
# What each surface works with, in the order of `Surface`.
_Shared = tuple[DecisionService, Inbox, Lookup, Replies, Dialogs, Tasks, Home, CardConfig]
_ANY = re.compile("")
_REMEDIATION = re.compile("^remediation:")
_SAID = re.compile(f"^({PAUSE}|{PAUSE_DIALOG}|{RESUME}|{RESUME_DIALOG}|{LOOKING})$")
_CHOOSER = re.compile("^chooser:")
_HOME = re.compile("^home:")
_REVIEW = re.compile(f"^({review.REVIEW}|{review.APPROVE}|{review.CANCEL})$")


@dataclass(frozen=True, slots=True)
class Connections:
    """How the bot reaches Slack and Together.

    Attributes:
        identity: who the bot is in Slack.
        reading: Slack, for questions: a dropped call is repeated.
        writing: Slack, for what the bot says: no call is repeated.
        session: HTTP, for `response_url`.
        together: the API, for decisions.
        lists: the API over other connections, so that no decision waits for a list.
    """

    identity: Identity
    reading: AsyncWebClient
    writing: SlackClient
    session: aiohttp.ClientSession
    together: TogetherClient
    lists: TogetherClient
    impacts: httpx.AsyncClient | None


@dataclass(frozen=True, slots=True)
class Bot:
    """The parts that work together on one database.

    Attributes:
        bolt: takes Slack's requests.
        recovery: keeps jobs, and takes over those of dead processes; runs until it is cancelled.
        watcher: keeps the alert channels current until it is cancelled; None without an alert channel.
    """

    bolt: Bolt
    recovery: Recovery
    watcher: Watcher | None


def build_bot(  # noqa: PLR0913 - what it is made of
    settings: Settings,
    connections: Connections,
    store: DecisionStore,
    tasks: Tasks,
    clock: Clock,
    *,
    report: Callable[[str], None],
    warn: Callable[[str, str], None],
) -> Bot:
    """Put the parts together.

    Args:
        report: told what keeps the database from being usable, or "" when nothing does.
        warn: told what else the bot works without: what it is about, and a sentence, or "" when it works again.
    """
    identity = connections.identity
    database = store.database
    reading = connections.reading
    cards = card_config(settings, identity)
    replies = Replies(
        connections.writing, connections.session, clock, allow_loopback=is_loopback(settings.slack_api_url)
    )
    directory = SlackDirectory(reading, clock)
    policy = Policy(settings.bot_operators, settings.bot_channels, identity.team_id, directory, cards.observes)
    together, alone = connections.together, settings.bot_break_glass
    break_glass = replace(policy, operators=alone) if alone else None
    guardrails = Guardrails(cards, together, database, policy, clock, break_glass)
    decisions = DecisionService(guardrails, replies, store)
    is_watching = settings.bot_alert_channel is not None
    lookup = Lookup(
        database, is_watching, together, policy, settings.bot_clusters, stale_after(settings.bot_poll_seconds), clock
    )
    batches = BatchService(decisions, policy, store, clock, cards)
    overviews = Overviews(lookup, policy, batches, database, clock)
    inbox = Inbox(database, replies, clock, settings.bot_lease_seconds)
    signing_secret = revealed(settings.slack_signing_secret)
    bolt = Bolt(signing_secret, team_id=identity.team_id, bot_user_id=identity.bot_user_id)
    home = Home(overviews, settings.channel_for, cards, tasks, connections.writing, clock)
    shared = decisions, inbox, lookup, replies, Dialogs(connections.writing, clock), tasks, home, cards
    _listen(bolt, shared, batches, PauseService(policy, database), connections.writing)
    recovery = Recovery(
        store, decisions, inbox, tasks, clock, settings.bot_lease_seconds, settings.bot_retention_days, report
    )
    if settings.bot_alert_channel is None:
        return Bot(bolt, recovery, None)
    config = watch_config(settings, settings.bot_alert_channel, cards)
    impacts: ImpactReader | None = None
    if connections.impacts:
        address = functools.partial(link, settings.bot_impact_url)
        token = revealed(settings.bot_impact_token)
        impacts = ImpactReader(connections.impacts, address, token, clock, directory.name_of)
    watcher = Watcher(
        together=connections.lists,
        store=store,
        channels=SlackAlertChannels(connections.writing, reading, config.channels, identity.bot_user_id, clock),
        directory=directory,
        config=config,
        clock=clock,
        warn=warn,
        impacts=impacts,
    )
    return Bot(bolt, recovery, watcher)


def _listen(app: Bolt, shared: _Shared, batches: BatchService, pauses: PauseService, client: AsyncWebClient) -> None:
    """Connect Slack with the surfaces: Bolt takes the first match, so names come before the patterns that include them.

    Among those, the frequent ones come first: each listener costs a request 9 µs.
    """
    chooser = Chooser(*shared)
    pausing = Pauses(*shared, pauses)
    buttons = Buttons(*shared, pausing)
    commands = Commands(*shared, chooser)
    digests = Digests(*shared, batches)
    mentions = Mentions(*shared, chooser, client)
    fallbacks = Fallbacks(*shared)
    home = chooser.home
    app.command(_ANY)(commands.listen)
    app.action(MORE)(buttons.listen_to_menu)
    app.action(_SAID)(pausing.listen)
    app.action(_REMEDIATION)(buttons.listen)
    app.action(_REVIEW)(digests.review)
    app.action(review.STOP)(digests.stop)
    app.action(review.SELECT)(fallbacks.ignore)
    app.options(review.SOME)(digests.options)
    app.view(review.REVIEW)(digests.choose)
    app.view(review.BATCH)(digests.submit)
    app.view(REASON)(buttons.submit)
    app.view(CHOOSER)(chooser.submit)
    app.view(PAUSE_DIALOG)(pausing.submit_pause)
    app.view(RESUME_DIALOG)(pausing.submit)
    app.action(_CHOOSER)(chooser.pick)
    app.action(TONIGHT)(chooser.tonight)
    app.options(_CHOOSER)(chooser.options)
    app.event("app_mention")(mentions.listen)
    app.event("message")(mentions.listen)
    app.event("app_home_opened")(home.opened)
    app.action(_HOME)(home.act)
    app.options(_HOME)(home.options)
    app.action(_ANY)(buttons.listen)
    app.view(_ANY)(fallbacks.view)
    app.view_closed(_ANY)(fallbacks.view)
    app.shortcut(SHORTCUT)(chooser.suggest)
    app.shortcut(_ANY)(fallbacks.shortcut)
    app.options(_ANY)(fallbacks.options)
    app.event(_ANY)(fallbacks.ignore)


def card_config(settings: Settings, identity: Identity) -> CardConfig:
    """Return what cards are set to."""
    limit = RepairLimit(settings.bot_max_in_repair, settings.bot_max_in_repair_percent)
    two_people = TwoPeople(frozenset(settings.bot_two_people_modes), *settings.bot_max_repairs_per_node)
    has_rules_to_pass = (limit, two_people) != (RepairLimit(), TwoPeople())
    deciding = frozenset(verb for verb, rule in RULES.items() if rule.decides)
    asking = {"never": frozenset[Verb](), "cancel": deciding - {Verb.APPROVE}, "always": deciding}
    return CardConfig(
        console_url=settings.bot_console_url,
        runbook_url=settings.bot_runbook_url,
        asks_reason=asking[settings.bot_reason],
        workspace_url=identity.url,
        limit=limit,
        two_people=two_people,
        waits=settings.bot_wait_minutes,
        stuck_minutes=settings.bot_stuck_minutes,
        verify_seconds=3600.0 * settings.bot_verify_hours,
        observed=frozenset(cluster_id.casefold() for cluster_id in settings.bot_observe),
        summary=settings.bot_summary,
        has_break_glass=bool(settings.bot_break_glass) and has_rules_to_pass,
    )


def watch_config(settings: Settings, channel_id: str, cards: CardConfig) -> WatchConfig:
    """Return what the watch is set to."""
    return WatchConfig(
        Route(channel_id, settings.bot_oncall),
        routes={
            cluster_id: Route(own, called or settings.bot_oncall)
            for cluster_id, (own, called) in settings.bot_routes.items()
        },
        clusters=settings.bot_clusters,
        poll_seconds=settings.bot_poll_seconds,
        remind_seconds=settings.bot_remind_minutes * 60,
        escalation=settings.bot_escalate,
        lease_seconds=settings.bot_lease_seconds,
        quiet=settings.bot_quiet_hours,
        cards=cards,
        automatic=settings.bot_automatic_repairs,
        unrepaired_seconds=settings.bot_unrepaired_minutes * 60,
        named=settings.named_clusters,
        storm_brake=StormBrake(*settings.bot_storm_brake) if settings.bot_storm_brake else None,
    )


def destinations(settings: Settings) -> Destinations:
    """Return which other tools are told of events."""
    urls: dict[Target, str] = {}
    if settings.bot_webhook_url:
        urls[Target.WEBHOOK] = settings.bot_webhook_url
    if settings.bot_pagerduty_key:
        urls[Target.PAGERDUTY] = settings.bot_pagerduty_url
    return Destinations(
        urls,
        revealed(settings.bot_webhook_secret),
        revealed(settings.bot_pagerduty_key),
        pages_at_once=settings.bot_pagerduty_when == "opened",
    )


def tool_clients(settings: Settings) -> dict[Target, httpx.AsyncClient]:
    """Make the connections to the tools that are told, also to one whose key comes only with renewed secrets."""
    urls = {Target.WEBHOOK: settings.bot_webhook_url or "", Target.PAGERDUTY: settings.bot_pagerduty_url}
    return {target: plain_client(url) for target, url in urls.items()}


def plain_client(url: str) -> httpx.AsyncClient:
    """Make the connections to another tool."""
    return httpx.AsyncClient(timeout=None, transport=transport_to(url))  # noqa: S113 - all who use it have a limit


def together_client(
    settings: Settings, transport: httpx.AsyncBaseTransport, clock: Clock, patience: Timeouts | None
) -> TogetherClient:
    """Make a client of the API."""
    api_key = settings.together_api_key.get_secret_value()
    return TogetherClient(transport, settings.together_base_url, api_key, clock=clock, patience=patience)


def slack_client(settings: Settings, session: aiohttp.ClientSession, *, reads_only: bool) -> SlackClient:
    """Make a client on the shared session.

    A dropped call is repeated only where it reads: a repeated `chat.postMessage` could stand in the channel twice.
    """
    client = SlackClient(
        settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        session=session,
        retry_handlers=[AsyncConnectionErrorRetryHandler()] if reads_only else [],
        logger=logging.getLogger("slack_sdk.web"),
    )
    client.proxy = proxy_for(settings.slack_api_url)  # the SDK's own way ignores NO_PROXY (slack_sdk 3.48)
    return client


def transport_to(url: str) -> AiohttpTransport:
    """Make the connections to a host."""
    return AiohttpTransport(_trusted(), limit=MAX_AT_ONCE, proxy=proxy_for(url))
