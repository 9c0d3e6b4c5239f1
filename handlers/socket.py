"""Socket Mode: two connections per process, each Bolt's handler with a watchdog over its reconnects."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from aiohttp import WSMessage, WSMsgType
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import metrics
from bot.clock import Clock, WaitReason
from bot.logs import lasting
from bot.tasks import cancel
from handlers.client import slack_session

logger = logging.getLogger(__name__)

_Replace = Callable[[bool], Coroutine[Any, Any, Any]]
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
        self._clock = clock
        self._up = asyncio.Event()
        self._connected: set[AsyncSocketModeHandler] = set()
        self._watching: list[asyncio.Task[None]] = []
        log = logging.getLogger("slack_sdk.socket_mode")
        log.addFilter(_note_lasting)  # the SDK tries again every few seconds, and logs each failure
        self.handlers = [
            AsyncSocketModeHandler(bolt, app_token, logger=log, web_client=client, ping_interval=PING_SECONDS)
            for _ in range(AT_ONCE)
        ]
        for handler in self.handlers:
            # The SDK takes a proxy from the environment and ignores NO_PROXY (slack_sdk 3.48).
            handler.client.proxy = client.proxy
            replace = _one_at_a_time(handler.client.connect_to_new_endpoint)
            handler.client.connect_to_new_endpoint = replace  # type: ignore[assignment, method-assign] # it has no other way
            handler.client.on_message_listeners.append(_note_connections)

    async def start(self) -> None:
        """Connect, as often as it takes, and keep watch. Returns as soon as one connection is up."""
        for handler in self.handlers:
            # The SDK's own session waits 5 min for the answer to a handshake (slack_sdk 3.48).
            await handler.client.aiohttp_client_session.close()
            handler.client.aiohttp_client_session = slack_session()
        self._watching = [
            asyncio.create_task(self._watch(handler), name="socket watchdog") for handler in self.handlers
        ]
        await self._up.wait()

    async def stop(self) -> None:
        """Disconnect: Slack sends what comes from now on to another connection, or tells the person."""
        self._connected.clear()
        await cancel(self._watching)
        await asyncio.gather(*(handler.client.close() for handler in self.handlers))

    @property
    def connected(self) -> int:
        """How many are up."""
        return len(self._connected)

    def use_token(self, app_token: str) -> None:
        """Connect with another token from now on."""
        for handler in self.handlers:
            handler.app_token = handler.client.app_token = app_token

    async def _watch(self, handler: AsyncSocketModeHandler) -> None:
        """Mend what the SDK does not: after a failed reconnect it tries the same dead ticket forever.

        Forgetting the ticket makes its next try ask Slack for a new one (seen with slack_sdk 3.48).
        """
        connecting = asyncio.create_task(self._connect(handler), name="socket connect")
        try:
            up_at = self._clock.monotonic()
            while True:
                is_up, now = await self._is_up(handler), self._clock.monotonic()
                if is_up:
                    up_at = now
                elif now - up_at > DEAD_TICKET_AFTER:
                    logger.warning(
                        "Socket Mode has been down for %d s: asking Slack for a new connection",
                        now - up_at,
                        extra=lasting("socket"),
                    )
                    handler.client.wss_uri = None
                await self._clock.sleep(LOOK_EVERY, WaitReason.SOCKET_CHECK)
        finally:
            await cancel([connecting])

    async def _connect(self, handler: AsyncSocketModeHandler) -> None:
        await handler.client.connect()  # tries again itself, until it is closed (slack_sdk 3.48)
        await self._is_up(handler)
        self._up.set()

    async def _is_up(self, handler: AsyncSocketModeHandler) -> bool:
        is_up = await handler.client.is_connected()
        if is_up:
            self._connected.add(handler)
        else:
            self._connected.discard(handler)
        return is_up


def _one_at_a_time(replace: _Replace) -> _Replace:
    """Replace a connection only if that isn't under way.

    When Slack asks twice, the SDK waits 5 s for the first, then replaces it at the same time: one of the two new
    connections stays open, and nobody reads what Slack sends there (seen with slack_sdk 3.48).
    """
    under_way = asyncio.Lock()

    async def replace_once(force: bool = False) -> None:  # noqa: FBT001, FBT002 - the SDK's own
        if not under_way.locked():
            async with under_way:
                await replace(force)

    return replace_once


def _note_lasting(record: logging.LogRecord) -> bool:
    vars(record).update(lasting())
    return True


async def _note_connections(message: WSMessage) -> None:
    """Note how many connections the app has, as Slack says with each new one: other processes' are among them."""
    if message.type is not WSMsgType.TEXT or '"hello"' not in message.data:
        return
    with suppress(ValueError, AttributeError, TypeError, KeyError):
        hello = json.loads(message.data)
        if hello.get("type") == "hello":
            metrics.APP_SOCKETS.set(float(hello["num_connections"]))
