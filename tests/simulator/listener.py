"""What both simulators are: an HTTP server on loopback whose state can be waited for."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Self, TypeVar

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")
HANGS_AFTER = 60.0  # real seconds after which a test is stuck, not slow
KEPT_CALLS = 200
KEPT_BODY = 100_000
_NUMBERS = count(1)


@dataclass
class Exchange:
    """An HTTP call, as the console's log shows it.

    Attributes:
        number: in the order of all calls.
        at: when it began, in seconds since 1970.
        way: who called whom, as `caller → called`.
        path: with the method before it.
        proof: what the called one was given to know the caller by, and whether it is the right one.
        sent: the beginning of the body.
        answered: the beginning of the answer's.
        status: None while it lasts, 0 where the line was cut.
        seconds: how long it took.
    """

    number: int
    at: float
    way: str
    path: str
    proof: str
    sent: str
    answered: str = ""
    status: int | None = None
    seconds: float = 0.0

    @property
    def is_poll(self) -> bool:
        """Whether it is of the watch's own reading, which comes again and again."""
        return self.path.startswith("GET ") and self.path.endswith(("/clusters", "/-/remediations"))


class Listener:
    """A server on a free port of loopback, for as long as its context lasts.

    Attributes:
        busy: how many requests are being answered.
        exchanges: the last calls, from the bot and to it.
        polls: the last of the watch's own, which would push the others out.
    """

    name = ""

    def __init__(self) -> None:
        self.exchanges: deque[Exchange] = deque(maxlen=KEPT_CALLS)
        self.polls: deque[Exchange] = deque(maxlen=KEPT_CALLS)
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
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.busy += 1
            try:
                with self.exchange(
                    f"bot → {self.name}", f"{request.method} {request.path}", self.proof(request), await request.read()
                ) as exchange:
                    response = await handler(request)
                    is_cut = request.transport is None or request.transport.is_closing()
                    exchange.status = 0 if is_cut else response.status
                    exchange.answered = _beginning(getattr(response, "body", None))
                    return response
            finally:
                self.busy -= 1

        web_app = web.Application(client_max_size=10 * 1024 * 1024, middlewares=[note])
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

    def proof(self, _request: web.Request) -> str:
        """By what a caller is known, for the log."""
        return ""

    @contextmanager
    def exchange(self, way: str, path: str, proof: str, sent: bytes) -> Iterator[Exchange]:
        """Note a call from its beginning to its end. What does not end otherwise was cut."""
        exchange = Exchange(next(_NUMBERS), time.time(), way, path, proof, _beginning(sent))
        (self.polls if exchange.is_poll else self.exchanges).append(exchange)
        self.changed()
        began = time.monotonic()
        try:
            yield exchange
        finally:
            exchange.seconds = time.monotonic() - began
            exchange.status = exchange.status or 0
            self.changed()

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

    @property
    def upcoming(self) -> asyncio.Event:
        """What is set as soon as something happens after now."""
        return self._news

    async def news(self) -> None:
        """Wait until something happens."""
        await self._news.wait()

    async def until(self, look: Callable[[], T | None]) -> T:
        """Wait until `look` gives something true, and give that back.

        Raises:
            TimeoutError: it did not happen within a minute.
        """
        async with asyncio.timeout(HANGS_AFTER):
            while not (found := look()):
                await self._news.wait()
            return found


def _beginning(body: object) -> str:
    return body[:KEPT_BODY].decode(errors="replace") if isinstance(body, bytes) else ""
