"""HTTP with limits: slow, large and many requests, and a stop that no client can delay."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest

from handlers.bolt import build_bolt
from handlers.server import MAX_BODY, MAX_CONNECTIONS, Server
from tests.manual_clock import HANGS_AFTER

Connect = Callable[[bytes], Awaitable[asyncio.StreamReader]]
HALF_A_HEAD = b"POST /slack/events HTTP/1.1\r\nHost: x\r\n"
HALF_A_BODY = HALF_A_HEAD + b"Content-Length: 100\r\nContent-Type: application/json\r\n\r\n{"


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    """A server with little patience, and its port."""
    made = Server("127.0.0.1", 0, list, request_seconds=0.2)
    port = await made.start(takes_slack=True)
    made.serve(build_bolt("secret", team_id="T0HOME", bot_user_id="U0BOT"))
    yield made, port
    await made.stop()


@pytest.fixture
async def connect(server: tuple[Server, int]) -> AsyncIterator[Connect]:
    """Open connections that send something and then nothing more."""
    writers = []

    async def connected(sent: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", server[1])
        writers.append(writer)
        writer.write(sent)
        return reader

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
    await until_closed(await connect(sent))


async def test_body_that_is_too_large_is_refused(server: tuple[Server, int]) -> None:
    url = f"http://127.0.0.1:{server[1]}/slack/events"
    async with aiohttp.ClientSession() as session:
        response = await session.post(url, data=io.BytesIO(b"x" * (MAX_BODY + 1)))
        assert response.status == 413


async def test_idle_connections_are_bounded_and_keep_nobody_out_for_long(
    server: tuple[Server, int], connect: Connect
) -> None:
    readers = [await connect(HALF_A_HEAD) for _ in range(MAX_CONNECTIONS + 5)]
    await asyncio.gather(*map(until_closed, readers))
    async with aiohttp.ClientSession() as session:
        assert (await session.get(f"http://127.0.0.1:{server[1]}/healthz")).status == 200


async def test_stop_waits_for_no_client(server: tuple[Server, int], connect: Connect) -> None:
    reader = await connect(HALF_A_BODY)
    async with asyncio.timeout(HANGS_AFTER / 2):
        await server[0].stop()
    await until_closed(reader)
