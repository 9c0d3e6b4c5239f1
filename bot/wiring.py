"""What the bot is made of: settings and connections in, concrete parts out."""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import httpx
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.cards import CardConfig
from bot.clock import Clock
from bot.decisions import BatchService, DecisionService, Guardrails, Inbox, Limits, Lookup, Overviews, PauseService
from bot.models import Messenger, Target, Verb
from bot.outward import Destinations
from bot.policy import Policy
from bot.settings import Settings, is_loopback
from bot.store import Approvals, DecisionStore, Messages
from bot.together import Patience, TogetherClient
from bot.watcher import Route, WatchConfig
from handlers.client import MeasuredClient
from handlers.connection import Identity
from handlers.directory import SlackDirectory

MAX_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Services:
    """What the surfaces work with."""

    decisions: DecisionService
    batches: BatchService
    pauses: PauseService
    lookup: Lookup
    overviews: Overviews
    inbox: Inbox


def build_services(  # noqa: PLR0913 - what they are made of
    settings: Settings,
    *,
    team_id: str,
    reading: AsyncWebClient,
    messenger: Messenger,
    together: TogetherClient,
    store: DecisionStore,
    clock: Clock,
    cards: CardConfig,
) -> Services:
    """Put the rules together."""
    database = store.database
    policy = Policy(settings.bot_operators, frozenset(settings.bot_channels), team_id, SlackDirectory(reading, clock))
    limits = Limits(
        settings.bot_max_in_repair, settings.bot_max_in_repair_percent, frozenset(settings.bot_two_people_modes)
    )
    approvals, messages = Approvals(database), Messages(database)
    guardrails = Guardrails(limits, together, approvals, policy, clock)
    decisions = DecisionService(together, policy, guardrails, messenger, store, clock, cards)
    is_watching = settings.bot_alert_channel is not None
    lookup = Lookup(together, policy, messages, settings.bot_clusters, clock, is_watching=is_watching)
    return Services(
        decisions,
        BatchService(decisions, policy, store, clock),
        PauseService(policy),
        lookup,
        Overviews(lookup, policy, approvals, messages, clock, is_watching=is_watching),
        Inbox(database, messenger, clock, settings.bot_lease_seconds),
    )


def card_config(settings: Settings, identity: Identity) -> CardConfig:
    """Return what cards are set to."""
    asking = {"never": (), "cancel": (Verb.CANCEL, Verb.REJECT), "always": (Verb.CANCEL, Verb.REJECT, Verb.APPROVE)}
    return CardConfig(
        settings.bot_console_url,
        settings.bot_runbook_url,
        frozenset(asking[settings.bot_reason]),
        identity.url,
        frozenset(settings.bot_two_people_modes),
    )


def watch_config(settings: Settings, channel_id: str, cards: CardConfig) -> WatchConfig:
    """Return what the watch is set to."""
    return WatchConfig(
        Route(channel_id, settings.bot_oncall),
        routes={cluster_id: Route(*target) for cluster_id, target in settings.routes.items()},
        clusters=settings.bot_clusters,
        poll_seconds=settings.bot_poll_seconds,
        remind_seconds=settings.bot_remind_minutes * 60,
        lease_seconds=settings.bot_lease_seconds,
        quiet=settings.bot_quiet_hours,
        cards=cards,
    )


def destinations(settings: Settings) -> Destinations:
    """Return which other tools are told of events."""
    secret, key = settings.bot_webhook_secret, settings.bot_pagerduty_key
    return Destinations(
        settings.bot_webhook_url or "",
        secret.get_secret_value() if secret else "",
        settings.bot_pagerduty_url,
        key.get_secret_value() if key else "",
    )


def outward_clients(settings: Settings) -> Mapping[Target, httpx.AsyncClient]:
    """Make the connections to other tools: each through the proxy that is set, except on loopback."""
    urls = {Target.WEBHOOK: settings.bot_webhook_url or "", Target.PAGERDUTY: settings.bot_pagerduty_url}
    return {target: httpx.AsyncClient(trust_env=not is_loopback(url)) for target, url in urls.items()}


def together_client(
    settings: Settings, http: httpx.AsyncClient, clock: Clock, patience: Patience | None
) -> TogetherClient:
    """Make a client of the API."""
    return TogetherClient(
        http,
        settings.together_base_url,
        settings.together_api_key.get_secret_value(),
        clock=clock,
        patience=patience,
        secrets=settings.secrets,
    )


def slack_client(settings: Settings, session: aiohttp.ClientSession, *, reads_only: bool) -> AsyncWebClient:
    """Make a client on the shared session.

    A dropped call is repeated only where it reads: a repeated `chat.postMessage` could stand in the channel twice.
    """
    client = MeasuredClient(
        settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        session=session,
        retry_handlers=[AsyncConnectionErrorRetryHandler()] if reads_only else [],
        logger=logging.getLogger("slack_sdk.web"),
    )
    if is_loopback(settings.slack_api_url):
        client.proxy = None  # the SDK reads HTTPS_PROXY and ignores NO_PROXY (slack_sdk 3.48)
    return client


def http_client(settings: Settings) -> httpx.AsyncClient:
    """Make the connections to Together."""
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=MAX_AT_ONCE, max_keepalive_connections=20),
        trust_env=not is_loopback(settings.together_base_url),
        verify=ssl.create_default_context(),
    )
