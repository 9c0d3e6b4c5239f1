"""The composition root: the only place where concrete parts meet, and the life of the process from start to end."""

import asyncio
import logging
import ssl
from contextlib import AsyncExitStack

import aiohttp
import httpx
from slack_bolt.async_app import AsyncApp
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import Clock
from bot.decisions import Decisions
from bot.policy import Policy
from bot.settings import Settings, is_loopback
from bot.tasks import Tasks
from bot.together import Patience, TogetherClient
from handlers import register
from handlers.bolt import build_bolt
from handlers.connection import Connection, Identity
from handlers.directory import SlackDirectory
from handlers.replies import Replies
from handlers.server import Server
from handlers.socket import Socket

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 25.0
MAX_AT_ONCE = 200


class App:
    """The bot as a process.

    Args:
        settings: from the environment.
        clock: time.
        patience: with Together.
        drain_seconds: how long acked work may take after the stop.

    Attributes:
        port: where HTTP is served, once `listening` is set.
        ready: set as soon as Slack's commands and clicks are taken.
        tasks: the work that was acked and is not done yet.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        patience: Patience | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self.port = settings.port
        self.listening, self.ready = asyncio.Event(), asyncio.Event()
        self._settings = settings
        self._clock = clock or Clock()
        self._patience = patience
        self._drain_seconds = drain_seconds
        self.tasks = Tasks(MAX_AT_ONCE)
        self._slack_problem = "Slack has not been reached yet."
        self._socket: Socket | None = None
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was acked.

        Raises:
            StartError: Slack refuses a token, or the app is installed over a whole organisation.
            OSError: the HTTP port cannot be had.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            server = Server(settings.host, settings.port, self._problems)
            stack.push_async_callback(server.stop)
            self.port = await server.start(takes_slack=settings.slack_app_token is None)
            self.listening.set()
            session = await stack.enter_async_context(
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10, sock_connect=3))
            )
            http = await stack.enter_async_context(_http_client(settings))
            working = asyncio.create_task(self._work(server, session, http), name="work")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            self.tasks.close()
            stopping.cancel()
            logger.info("Stopping: finishing what was acked")
            working.cancel()
            await asyncio.wait({working})
            if self._socket:
                await self._socket.stop()
            await self.tasks.drain(self._drain_seconds)
            if not working.cancelled():
                working.result()  # it ends by itself only with an error
        logger.info("Stopped")

    async def _work(self, server: Server, session: aiohttp.ClientSession, http: httpx.AsyncClient) -> None:
        settings = self._settings
        reading = _slack_client(settings, session, reads_only=True)
        connection = Connection(reading, self._clock, self._set_slack_problem)
        identity = await connection.identify()
        bolt = self._compose(identity, reading, session, http)
        if settings.slack_app_token:
            app_token = settings.slack_app_token.get_secret_value()
            await connection.check_app_token(app_token)
            self._socket = Socket(bolt, app_token, reading, self._clock, proxy=reading.proxy)
            self._socket.start()
        else:
            server.serve(bolt)
        if settings.bot_alert_channel:
            logger.warning("BOT_ALERT_CHANNEL is set, but this version does not post alerts by itself yet")
        self.ready.set()
        logger.info("Ready for workspace %s", identity.team_name or identity.team_id)
        await connection.keep_checking()

    def _compose(
        self, identity: Identity, reading: AsyncWebClient, session: aiohttp.ClientSession, http: httpx.AsyncClient
    ) -> AsyncApp:
        settings, clock = self._settings, self._clock
        key = settings.together_api_key.get_secret_value()
        together = TogetherClient(http, settings.together_base_url, key, clock=clock, patience=self._patience)
        directory = SlackDirectory(reading, clock)
        policy = Policy(settings.bot_operators, frozenset(settings.bot_channels), identity.team_id, directory)
        posting = _slack_client(settings, session, reads_only=False)
        replies = Replies(posting, session, clock, allow_loopback=is_loopback(settings.slack_api_url))
        secret = settings.slack_signing_secret
        bolt = build_bolt(
            secret.get_secret_value() if secret else "", team_id=identity.team_id, bot_user_id=identity.bot_user_id
        )
        register(bolt, Decisions(together, policy, replies, clock), replies, self.tasks)
        return bolt

    def _problems(self) -> list[str]:
        """What keeps the bot from working right now, for `/readyz`."""
        found = [self._slack_problem] if self._slack_problem else []
        if self._socket and not self._socket.connected:
            found.append("The Socket Mode connection is down.")
        if self._stopping:
            found.append("The bot is stopping.")
        return found

    def _set_slack_problem(self, problem: str) -> None:
        if problem and problem != self._slack_problem:
            logger.warning("%s", problem)
        self._slack_problem = problem


def _slack_client(settings: Settings, session: aiohttp.ClientSession, *, reads_only: bool) -> AsyncWebClient:
    """Make a client on the shared session.

    A dropped call is repeated only where it reads: a repeated `chat.postMessage` could stand in the channel twice.
    """
    client = AsyncWebClient(
        settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        session=session,
        retry_handlers=[AsyncConnectionErrorRetryHandler()] if reads_only else [],
        logger=logging.getLogger("slack_sdk.web"),
    )
    if is_loopback(settings.slack_api_url):
        client.proxy = None  # the SDK reads HTTPS_PROXY and ignores NO_PROXY (slack-facts, 9.13)
    return client


def _http_client(settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=MAX_AT_ONCE, max_keepalive_connections=20),
        trust_env=not is_loopback(settings.together_base_url),
        verify=ssl.create_default_context(),
    )
