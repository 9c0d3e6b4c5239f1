"""Socket Mode: two connections per process, each Bolt's handler with a watchdog over its reconnects."""

import asyncio
import json
import logging
from contextlib import suppress

import aiohttp
from aiohttp import WSMessage, WSMsgType
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import metrics
from bot.clock import Clock, WaitReason
from handlers.client import SlackFailure

logger = logging.getLogger(__name__)

LOOK_EVERY = 3.0
DEAD_TICKET_AFTER = 15.0
AT_ONCE = 2  # of the ten that Slack allows an app (docs.slack.dev, using Socket Mode)
# aiohttp 3.14 closes a connection half of this after a ping without an answer; the SDK replaces it at its next look.
PING_SECONDS = 5.0


class Sockets:
    """Two connections: when Slack refreshes one, the SDK closes it before the new one is up.

    Args:
        app_token: `xapp-…`.
        client: for `apps.connections.open`; the WebSockets take its proxy too.
    """

    def __init__(self, bolt: AsyncApp, app_token: str, client: AsyncWebClient, clock: Clock) -> None:
        self._up = asyncio.Event()
        self.each = [Socket(bolt, app_token, client, clock, self._up) for _ in range(AT_ONCE)]

    async def start(self) -> None:
        """Connect, as often as it takes. Returns as soon as one connection is up."""
        for each in self.each:
            each.start()
        await self._up.wait()

    async def stop(self) -> None:
        """Disconnect: Slack sends what comes from now on to another connection, or tells the person."""
        await asyncio.gather(*(each.stop() for each in self.each))

    @property
    def connected(self) -> int:
        """How many are up."""
        return sum(each.connected for each in self.each)

    def use_token(self, app_token: str) -> None:
        """Connect with another token from now on."""
        for each in self.each:
            each.use_token(app_token)


class Socket:
    """One Socket Mode connection that stays up; `up` is set once it is."""

    def __init__(self, bolt: AsyncApp, app_token: str, client: AsyncWebClient, clock: Clock, up: asyncio.Event) -> None:
        self._handler = AsyncSocketModeHandler(
            bolt,
            app_token,
            logger=logging.getLogger("slack_sdk.socket_mode"),
            web_client=client,
            ping_interval=PING_SECONDS,
        )
        # The SDK takes a proxy from the environment and ignores NO_PROXY (slack_sdk 3.48).
        self._handler.client.proxy = client.proxy
        self._handler.client.on_message_listeners.append(_note_connections)
        self._clock = clock
        self._watching: asyncio.Task[None] | None = None
        self._up = up
        self.connected = False

    def start(self) -> None:
        """Connect, as often as it takes, and keep watch from then on."""
        self._watching = asyncio.create_task(self._watch(), name="socket watchdog")

    async def stop(self) -> None:
        """Disconnect: Slack sends what comes from now on to another connection, or tells the person."""
        self.connected = False
        if self._watching:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self._handler.client.close()

    def use_token(self, app_token: str) -> None:
        """Connect with another token from now on."""
        self._handler.app_token = self._handler.client.app_token = app_token

    async def _watch(self) -> None:
        """Mend what the SDK does not: after a failed reconnect it tries the same dead ticket forever.

        Forgetting the ticket makes its next try ask Slack for a new one (seen with slack_sdk 3.48).
        """
        connecting = asyncio.create_task(self._connect(), name="socket connect")
        try:
            up_at = self._clock.monotonic()
            while True:
                self.connected = await self._handler.client.is_connected()
                now = self._clock.monotonic()
                if self.connected:
                    up_at = now
                elif now - up_at > DEAD_TICKET_AFTER:
                    logger.warning("Socket Mode has been down for %d s: asking Slack for a new connection", now - up_at)
                    self._handler.client.wss_uri = None
                await self._clock.sleep(LOOK_EVERY, WaitReason.SOCKET_CHECK)
        finally:
            connecting.cancel()
            await asyncio.wait({connecting})

    async def _connect(self) -> None:
        try:
            await self._handler.client.connect()
            self.connected = await self._handler.client.is_connected()
            self._up.set()
        except (SlackFailure, aiohttp.ClientError, TimeoutError) as error:
            logger.warning("Socket Mode can't connect: %s", str(error) or type(error).__name__)


async def _note_connections(message: WSMessage) -> None:
    """Note how many connections the app has, as Slack says with each new one: other processes' are among them."""
    if message.type is not WSMsgType.TEXT or '"hello"' not in message.data:
        return
    with suppress(ValueError, AttributeError, TypeError, KeyError):
        hello = json.loads(message.data)
        if hello.get("type") == "hello":
            metrics.APP_SOCKETS.set(float(hello["num_connections"]))
