"""The one HTTP port: Slack's requests, the two health checks, and the metrics."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from slack_bolt.adapter.aiohttp import to_aiohttp_response

from bot.errors import StartError
from handlers.bolt import Bolt

logger = logging.getLogger(__name__)

SLACK_PATH = "/slack/events"
MAX_BODY = 1024 * 1024
MAX_CONNECTIONS = 100  # fewer than the descriptors that even a small host grants, so that work never lacks one
REQUEST_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30.0
SHUTDOWN_SECONDS = 2.0


class _Connection(web.RequestHandler):
    """A client's connection: one of a bounded number, and cut when its client keeps it waiting.

    A client's time to send a request's head, and to read the answer, is limited.
    """

    def __init__(self, manager: web.Server, others: "dict[_Connection, None]", seconds: float) -> None:
        # Nothing is unpacked: that costs far more than sending it, and happens before anybody has signed anything.
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            auto_decompress=False,
            logger=logger,
        )
        self._others = others
        self._seconds = seconds
        self._wire: asyncio.Transport | None = None
        self._limits: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._others) >= MAX_CONNECTIONS and not self._make_room():
            self.force_close()
            return
        self._others[self] = None
        self._wire = self.transport
        self._limit("head")
        if self._task_handler:
            self._task_handler.add_done_callback(self._ends)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._others.pop(self, None)
        for limit in list(self._limits):
            self._done(limit)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self in self._others:
            self._others[self] = self._others.pop(self)
        if self._messages or self._request_in_progress:
            self._done("head")
        elif data:
            self._limit("head")

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for its client's next request, if one does."""
        waits = (other for other in self._others if not other._request_in_progress and not other._messages)  # noqa: SLF001 - its own class
        if longest := next(waits, None):
            longest.cut()
            del self._others[longest]
        return longest is not None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit("answer")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._done("answer")

    def cut(self) -> None:
        """Close the connection, even with an answer on its way that nobody reads."""
        if self._wire:
            self._wire.abort()

    def log_exception(self, *args: object, **options: object) -> None:
        error = options.get("exc_info")
        if isinstance(error, HttpProcessingError):
            logger.info("Refused an HTTP request that can't be read: %s", type(error).__name__)
        else:
            super().log_exception(*args, **options)

    def _limit(self, name: str) -> None:
        if name not in self._limits:
            self._limits[name] = asyncio.get_running_loop().call_later(self._seconds, self.cut)

    def _done(self, name: str) -> None:
        if limit := self._limits.pop(name, None):
            limit.cancel()

    def _ends(self, _task: "asyncio.Task[None]") -> None:
        if self in self._others:  # a closed transport waits forever for its client to read the rest
            self._limit("rest of the answer")


class Server:
    """Serves `/healthz`, `/readyz`, `/metrics` and, in HTTP mode, `/slack/events`.

    Args:
        problems: what keeps the bot from working right now, one sentence each; empty when it is ready.
        warnings: what it works without, in sentences.
        measure: brings the metrics up to date before they are served.
        request_seconds: how long a client may take for a request, or to read its answer.
    """

    def __init__(
        self,
        problems: Callable[[], list[str]],
        warnings: Callable[[], list[str]],
        measure: Callable[[], Awaitable[None]],
        *,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._request_seconds = request_seconds
        self._problems = problems
        self._warnings = warnings
        self._measure = measure
        self._bolt: Bolt | None = None
        web_app = web.Application(client_max_size=MAX_BODY)
        web_app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.post(SLACK_PATH, self._slack),
            ]
        )
        self._runner = web.AppRunner(web_app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        self._connections: dict[_Connection, None] = {}  # those that were heard last at the end
        self._server: asyncio.Server | None = None
        self._takes_slack = True

    async def start(self, host: str, port: int, *, takes_slack: bool) -> int:
        """Listen, and return the port.

        Args:
            port: 0 takes a free one.
            takes_slack: whether this is HTTP mode; in Socket Mode `/slack/events` is a 404.

        Raises:
            StartError: the address cannot be had.
        """
        self._takes_slack = takes_slack
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 - made by setup
        connection = partial(_Connection, self._runner.server, self._connections, self._request_seconds)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                connection, host, port, backlog=MAX_CONNECTIONS
            )
        except (OSError, UnicodeError) as error:  # the latter of an impossible name
            raise StartError(f"Cannot listen on {host}:{port}: {getattr(error, 'strerror', '') or error}.") from error
        port = int(self._server.sockets[0].getsockname()[1])
        logger.info("Listening on %s:%d", host, port)
        return port

    def serve(self, bolt: Bolt) -> None:
        """Take Slack's requests from now on; until then they are answered 503."""
        self._bolt = bolt

    async def stop(self) -> None:
        """Stop listening, and close every connection, even in use."""
        if self._server:
            self._server.close()
        await self._runner.cleanup()
        for connection in list(self._connections):
            connection.cut()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        problems = self._problems()
        lines = [*(problems or ["ready"]), *self._warnings()]
        return web.Response(status=503 if problems else 200, text="\n".join(lines) + "\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        await self._measure()
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _slack(self, request: web.Request) -> web.Response:
        if not self._takes_slack:
            return web.Response(status=404, text="This bot uses Socket Mode.\n")
        if self._bolt is None:
            return web.Response(status=503, text="starting\n")
        if refusal := await self._read_body(request):
            return refusal
        answer = await self._bolt.receive(await request.read(), dict(request.headers))
        return await to_aiohttp_response(answer)

    async def _read_body(self, request: web.Request) -> web.Response | None:
        """Wait for the body. Returns the answer to a request without one."""
        try:
            async with asyncio.timeout(self._request_seconds):
                await request.read()
        except TimeoutError:
            request.protocol.force_close()
            return web.Response(status=408, text="the body took too long\n")
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413, text="the body is too large\n")
        except web.RequestPayloadError as error:
            logger.info("Refused an HTTP request that can't be read: %s", type(error).__name__)
            return web.Response(status=400, text="the body can't be read\n")
        return None
