"""The one HTTP port: Slack's requests and the two health checks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp

from bot.errors import StartError

logger = logging.getLogger(__name__)

SLACK_PATH = "/slack/events"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_BODY = 1024 * 1024
MAX_CONNECTIONS = 100  # fewer than the descriptors that even a small host grants, so that work never lacks one
REQUEST_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30.0
SHUTDOWN_SECONDS = 2.0


class _Connection(web.RequestHandler):
    """A client's connection: one of a bounded number, and closed when its first request takes too long to arrive."""

    def __init__(self, manager: web.Server, others: "set[_Connection]", seconds: float) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._others = others
        self._seconds = seconds
        self.is_used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._others) >= MAX_CONNECTIONS:
            self.force_close()
            return
        self._others.add(self)
        asyncio.get_running_loop().call_later(self._seconds, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._others.discard(self)
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if not self.is_used:
            self.force_close()


@web.middleware
async def _note_use(request: web.Request, handler: Handler) -> web.StreamResponse:
    if isinstance(request.protocol, _Connection):
        request.protocol.is_used = True
    return await handler(request)


class Server:
    """Serves `/healthz`, `/readyz`, `/metrics` and, in HTTP mode, `/slack/events`.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        problems: what keeps the bot from working right now, one sentence each; empty when it is ready.
        warnings: what it works without, likewise.
        measure: brings the gauges up to date before they are read.
        request_seconds: how long a request's head, and then its body, may take to arrive.
    """

    def __init__(  # noqa: PLR0913 - what it serves
        self,
        host: str,
        port: int,
        problems: Callable[[], list[str]],
        warnings: Callable[[], list[str]] = list,
        measure: Callable[[], Awaitable[None]] | None = None,
        *,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._request_seconds = request_seconds
        self._host = host
        self._port = port
        self._problems = problems
        self._warnings = warnings
        self._measure = measure
        self._bolt: AsyncApp | None = None
        web_app = web.Application(client_max_size=MAX_BODY, middlewares=[_note_use])
        web_app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.post(SLACK_PATH, self._slack),
            ]
        )
        self._runner = web.AppRunner(web_app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._takes_slack = True

    async def start(self, *, takes_slack: bool) -> int:
        """Listen. Gives back the port.

        Args:
            takes_slack: whether this is HTTP mode; in Socket Mode `/slack/events` is a 404.

        Raises:
            StartError: the address cannot be had.
        """
        self._takes_slack = takes_slack
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._connection, self._host, self._port, backlog=MAX_CONNECTIONS
            )
        except OSError as error:
            raise StartError(f"Cannot listen on {self._host}:{self._port}: {error.strerror or error}.") from error
        port = int(self._server.sockets[0].getsockname()[1])
        logger.info("Listening on %s:%d", self._host, port)
        return port

    def serve(self, bolt: AsyncApp) -> None:
        """Take Slack's requests from now on; until then they are answered 503."""
        self._bolt = bolt

    async def stop(self) -> None:
        """Stop listening, and close every connection, whatever its client does."""
        if self._server:
            self._server.close()
        await self._runner.cleanup()
        for connection in list(self._connections):
            connection.force_close()

    def _connection(self) -> "_Connection":
        assert self._runner.server is not None  # noqa: S101 - made by setup
        return _Connection(self._runner.server, self._connections, self._request_seconds)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        problems = self._problems()
        lines = [*(problems or ["ready"]), *self._warnings()]
        return web.Response(status=503 if problems else 200, text="\n".join(lines) + "\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self._measure:
            await self._measure()
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _slack(self, request: web.Request) -> web.Response:
        if not self._takes_slack:
            return web.Response(status=404, text="This bot uses Socket Mode.\n")
        if self._bolt is None:
            return web.Response(status=503, text="starting\n")
        try:
            async with asyncio.timeout(self._request_seconds):
                await request.read()
        except TimeoutError:
            request.protocol.force_close()
            return web.Response(status=408, text="the body took too long\n")
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413, text="the body is too large\n")
        try:
            bolt_request = await to_bolt_request(request)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            # Not UTF-8, an unknown charset, broken JSON or no object: Slack sends none of these.
            return web.Response(status=401, text="invalid request\n")
        return await to_aiohttp_response(await self._bolt.async_dispatch(bolt_request))
