"""What both simulators are: an HTTP server on loopback whose state can be waited for."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")
PATIENCE = 10.0


class Listener:
    """A server on a free port of loopback, for as long as its context lasts.

    Attributes:
        busy: how many requests are being answered.
    """

    def __init__(self) -> None:
        self.routes: list[web.RouteDef] = []
        self.url = ""
        self.stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._gates: dict[str, asyncio.Event] = {}
        self._at_gate: list[str] = []
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.busy = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop`, on the same port again."""
        self.stopping.clear()

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.busy += 1
            try:
                return await handler(request)
            finally:
                self.busy -= 1

        web_app = web.Application(client_max_size=10 * 1024 * 1024, middlewares=[count])
        web_app.add_routes(self.routes)
        self._runner = web.AppRunner(web_app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Refuse connections from now on."""
        self.stopping.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a request as none that is being answered, while it waits for somebody to let it go on."""
        self.busy -= 1
        try:
            yield
        finally:
            self.busy += 1

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Let requests of this name arrive, and answer them only when the context ends."""
        self._gates[name] = gate = asyncio.Event()
        try:
            yield
        finally:
            del self._gates[name]
            gate.set()

    @contextmanager
    def open_for_others(self, name: str) -> Iterator[None]:
        """Let requests pass a gate, while those that wait there already go on waiting."""
        gate = self._gates.pop(name)
        try:
            yield
        finally:
            self._gates[name] = gate

    def is_paused(self, name: str) -> bool:
        """Whether there is a gate of this name."""
        return name in self._gates

    def is_waiting(self, name: str) -> bool:
        """Whether a request waits at a gate."""
        return name in self._at_gate

    async def gate(self, name: str) -> None:
        """Wait here while requests of this name are paused."""
        if gate := self._gates.get(name):
            self._at_gate.append(name)
            self.changed()
            with self.waiting():
                await gate.wait()
            self._at_gate.remove(name)

    def changed(self) -> None:
        """Tell those who wait that something happened."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Wait until something happens."""
        await self._news.wait()

    async def until(self, look: Callable[[], T | None]) -> T:
        """Wait until `look` gives something true, and give that back.

        Raises:
            TimeoutError: it did not happen within ten seconds.
        """
        async with asyncio.timeout(PATIENCE):
            while not (found := look()):
                await self._news.wait()
            return found
