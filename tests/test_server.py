"""HTTP with limits: slow, large and many requests, and a stop that no client can delay."""

import asyncio
import gzip
import io
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress

import aiohttp
import pytest

from handlers.bolt import Bolt
from handlers.server import KEEP_ALIVE_SECONDS, MAX_BODY, MAX_CONNECTIONS, Server
from tests.manual_clock import HANGS_AFTER
from tests.world import APPROVE, world

Connect = Callable[[bytes], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
HALF_A_HEAD = b"POST /slack/events HTTP/1.1\r\nHost: x\r\n"
HALF_A_BODY = HALF_A_HEAD + b"Content-Length: 100\r\nContent-Type: application/json\r\n\r\n{"


async def _nothing() -> None:
    """There is nothing to measure."""


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    """A server with little patience, and its port."""
    made = Server(list, list, _nothing, request_seconds=0.2)
    port = await made.start("127.0.0.1", 0, takes_slack=True)
    made.serve(Bolt("secret", team_id="T0HOME", bot_user_id="U0BOT"))
    yield made, port
    await made.stop()


@pytest.fixture
async def connect(server: tuple[Server, int]) -> AsyncIterator[Connect]:
    """Open connections that send something and then nothing more."""
    writers = []

    async def connected(sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server[1])
        writers.append(writer)
        writer.write(sent)
        return reader, writer

    yield connected
    for writer in writers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def until_closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(HANGS_AFTER):
        with suppress(ConnectionError):
            await reader.read()


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["nothing", "half a head", "half a body"])
async def test_request_that_never_ends_is_closed(connect: Connect, sent: bytes) -> None:
    reader, _ = await connect(sent)
    await until_closed(reader)


async def test_head_of_a_second_request_that_never_ends_is_closed(connect: Connect) -> None:
    reader, writer = await connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readuntil(b"ok\n")
    writer.write(HALF_A_HEAD)
    async with asyncio.timeout(KEEP_ALIVE_SECONDS / 2):
        await until_closed(reader)


@pytest.mark.parametrize("path", ["/slack/events", "/healthz", "/nowhere"])
async def test_compressed_body_is_never_unpacked(server: tuple[Server, int], path: str) -> None:
    """Unpacking takes a thousand times the work of sending, and nobody has to sign for it."""
    body = gzip.compress(bytes(200_000_000))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    began = time.process_time()
    async with aiohttp.ClientSession() as session:
        with suppress(aiohttp.ClientError):
            await session.post(f"http://127.0.0.1:{server[1]}{path}", data=io.BytesIO(body), headers=headers)
        spent = time.process_time() - began
        assert (await session.get(f"http://127.0.0.1:{server[1]}/healthz")).status == 200
    assert spent < 0.1


async def test_unsigned_body_is_never_parsed(server: tuple[Server, int]) -> None:
    """Parsing a form with half a million fields takes most of a second, in which nothing else is acknowledged."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    began = time.process_time()
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server[1]}/slack/events"
        assert (await session.post(url, data=b"a&" * (MAX_BODY // 2), headers=headers)).status == 401
    assert time.process_time() - began < 0.2


async def test_body_that_only_claims_to_be_compressed_is_refused_as_unsigned(server: tuple[Server, int]) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server[1]}/slack/events"
        assert (await session.post(url, data=b"{}", headers=headers)).status == 401


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["two lengths", "version", "chunk"],
)
async def test_malformed_request_is_a_line_in_the_log_and_no_traceback(
    connect: Connect, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level("INFO")
    reader, _ = await connect(sent)
    assert (await reader.readline()).split()[1] == b"400"
    assert [record.levelname for record in caplog.records if record.exc_info] == []
    assert "Refused an HTTP request that can't be read" in caplog.text


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["between requests", "at the end"])
async def test_connections_that_do_not_read_their_answers_keep_nobody_out_for_long(last: bytes) -> None:
    size = 30_000 if last else 300_000  # less than what is kept before the writer waits, and more
    server = Server(lambda: ["x" * size], list, _nothing, request_seconds=0.2)
    port = await server.start("127.0.0.1", 0, takes_slack=True)
    assert server._server is not None
    server._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            mute = stack.enter_context(socket.socket())
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mute.setblocking(False)
            await loop.sock_connect(mute, ("127.0.0.1", port))
            await loop.sock_sendall(mute, b"GET /readyz HTTP/1.1\r\nHost: x\r\n" + last + b"\r\n")
        async with asyncio.timeout(HANGS_AFTER / 4):
            while not await is_healthy(port):
                pass
    await server.stop()


async def is_healthy(port: int) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            return (await session.get(f"http://127.0.0.1:{port}/healthz")).status == 200
        except aiohttp.ClientError:
            return False


async def test_body_that_is_too_large_is_refused(server: tuple[Server, int]) -> None:
    url = f"http://127.0.0.1:{server[1]}/slack/events"
    async with aiohttp.ClientSession() as session:
        response = await session.post(url, data=io.BytesIO(b"x" * (MAX_BODY + 1)))
        assert response.status == 413


async def test_idle_connections_are_bounded_and_keep_nobody_out_for_long(
    server: tuple[Server, int], connect: Connect
) -> None:
    readers = [(await connect(HALF_A_HEAD))[0] for _ in range(MAX_CONNECTIONS + 5)]
    await asyncio.gather(*map(until_closed, readers))
    async with aiohttp.ClientSession() as session:
        assert (await session.get(f"http://127.0.0.1:{server[1]}/healthz")).status == 200


async def test_stop_waits_for_no_client(server: tuple[Server, int], connect: Connect) -> None:
    reader, _ = await connect(HALF_A_BODY)
    async with asyncio.timeout(HANGS_AFTER / 2):
        await server[0].stop()
    await until_closed(reader)


async def test_idle_connections_of_others_do_not_refuse_a_click() -> None:
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
