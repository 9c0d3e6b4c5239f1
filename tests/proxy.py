"""A line to PostgreSQL that a test can cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

COMMIT = b"COMMIT\0"  # the end of a message, unlike READ COMMITTED


class Line:
    """Passes bytes between a bot and PostgreSQL on loopback, until it is cut.

    Attributes:
        url: by which the database is reached through the line.
        is_down: whether new connections are refused.
        opens: cleared, new connections wait until it is set, while those that are open work.
        cut_after: what a bot may still send before all is cut: the server has done it, and the bot doesn't learn it.
        freeze_after: what a bot may still send, in this order, before the line passes nothing until `thaw`, though up.
            A COMMIT counts on the connection of what comes before it: a heartbeat may commit at any moment.
        frozen: set while it passes nothing.
        questions: how many messages with statements were passed to the server.
    """

    def __init__(self, url: str) -> None:
        self._socket = f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432"
        self._target = url
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_down = False
        self.opens = asyncio.Event()
        self.opens.set()
        self.cut_after: bytes | None = None
        self._unheard: asyncio.StreamReader | None = None
        self.freeze_after: list[bytes] = []
        self._sender: asyncio.StreamWriter | None = None
        self.frozen = asyncio.Event()
        self.url = ""
        self.questions = 0
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        folder = parse_qs(urlsplit(self._target).query)["host"][0]
        self.url = self._target.replace("postgres:@/", f"postgres:@127.0.0.1:{port}/").replace(f"host={folder}&", "")
        return server

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def connections(self) -> int:
        """Return how many are up."""
        return len(self._writers) // 2

    def freeze(self) -> None:
        """Pass nothing from now on, with all connections up: both ends' systems acknowledge what is sent."""
        self._flowing.clear()
        self.frozen.set()

    def thaw(self) -> None:
        """Pass what was held back."""
        self._flowing.set()
        self.frozen.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.opens.wait()
        if self.is_down:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(self._pass(reader, far_writer, far_reader), self._pass(far_reader, writer, reader))
        finally:
            self._writers -= ends

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.StreamReader
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                if reader is self._unheard:
                    self.cut()
                    break
                if self.cut_after and self.cut_after in data:
                    # All is cut when the server has done it: its answer is what nobody hears.
                    self.cut_after, self.is_down, self._unheard = None, True, answers
                writer.write(data)
                self.questions += data.startswith(b"Q")
                await writer.drain()
                self._freeze_after(data, writer)
        writer.transport.abort()

    def _freeze_after(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while self.freeze_after and self.freeze_after[0] in data:
            if self.freeze_after[0] == COMMIT and self._sender not in {None, writer}:
                return
            data = data.partition(self.freeze_after.pop(0))[2]
            self._sender = writer
            if not self.freeze_after:
                self.freeze()


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    """Open a line to a PostgreSQL server that listens on a socket."""
    line = Line(url)
    server = await line.start()
    try:
        yield line
    finally:
        line.is_down = True
        line.opens.set()
        line.thaw()
        line.cut()
        server.close()
