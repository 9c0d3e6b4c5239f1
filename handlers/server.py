"""The one HTTP port: Slack's requests and the two health checks."""

import logging
from collections.abc import Callable

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp

from bot.errors import StartError

logger = logging.getLogger(__name__)

SLACK_PATH = "/slack/events"


class Server:
    """Serves `/healthz`, `/readyz` and, in HTTP mode, `/slack/events`.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        problems: what keeps the bot from working right now, one sentence each; empty when it is ready.
    """

    def __init__(self, host: str, port: int, problems: Callable[[], list[str]]) -> None:
        self._host = host
        self._port = port
        self._problems = problems
        self._bolt: AsyncApp | None = None
        web_app = web.Application()
        web_app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.post(SLACK_PATH, self._slack),
            ]
        )
        self._runner = web.AppRunner(web_app, access_log=None, handle_signals=False)
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
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(f"Cannot listen on {self._host}:{self._port}: {error.strerror or error}.") from error
        port = int(self._runner.addresses[0][1])
        logger.info("Listening on %s:%d", self._host, port)
        return port

    def serve(self, bolt: AsyncApp) -> None:
        """Take Slack's requests from now on; until then they are answered 503."""
        self._bolt = bolt

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        problems = self._problems()
        return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ready"]) + "\n")

    async def _slack(self, request: web.Request) -> web.Response:
        if not self._takes_slack:
            return web.Response(status=404, text="This bot uses Socket Mode.\n")
        if self._bolt is None:
            return web.Response(status=503, text="starting\n")
        try:
            bolt_request = await to_bolt_request(request)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            # Not UTF-8, an unknown charset, broken JSON or no object: Slack sends none of these.
            return web.Response(status=401, text="invalid request\n")
        return await to_aiohttp_response(await self._bolt.async_dispatch(bolt_request))
