"""Attack: the HTTP server."""

import asyncio
from contextlib import suppress

from handlers.server import MAX_CONNECTIONS
from tests.world import APPROVE, world


async def test_idle_connections_of_others_do_not_refuse_a_click() -> None:
    """A hundred kept-alive connections that do nothing, and every click is refused, for as long as they are kept.

    What happens: whoever reaches the port (it must be public in HTTP mode) asks for /healthz on 100 connections and
    keeps them; one byte's worth of request each 29 s keeps them for ever. A new connection, Slack's, is closed at once,
    so the person sees a warning triangle and nothing is recorded. A load balancer that keeps many connections, or
    Slack's own senders after a burst of a hundred clicks, do the same for 30 s.
    Why it matters: no approve, no cancel, no hold, while nodes are drained, caused by connections that wait for nothing.
    Cause: handlers/server.py:_Connection.connection_made closes the newest connection, never an idle one.
    Fix: where there are too many, close the one that has been idle for longest (no request in progress), and only if
    none is idle the new one.
    """
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        host, port = bot.slack.bot_url.removeprefix("http://").split(":")
        kept = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(ConnectionError):
                await reader.read(1000)
            kept.append(writer)
        try:
            ack = await bot.slack.press(alert, APPROVE)
        finally:
            for writer in kept:
                writer.close()
        assert ack.status == 200
