"""What may be called "not sent": servers and proxies that end a connection at each moment."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest

from bot.clock import Clock
from bot.formats import proxy_for
from bot.models import Delivery, Message, ReplyTarget
from bot.settings import read_settings
from bot.transport import AiohttpTransport, Resolver
from bot.wiring import plain_client, slack_client
from handlers.client import SlackFailure, slack_session
from handlers.replies import Replies
from tests.manual_clock import HANGS_AFTER
from tests.test_settings import GOOD

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
SHORT = httpx.Timeout(0.5)  # where the time is to run out; elsewhere a slow machine would


@asynccontextmanager
async def serving(handle: Handle) -> AsyncIterator[str]:
    """Serve on loopback, a connection at a time by `handle`, and close what it leaves open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def client(proxy: str | None = None, limit: int = 10) -> AsyncIterator[httpx.AsyncClient]:
    transport = AiohttpTransport(ssl.create_default_context(), limit=limit, proxy=proxy)
    async with httpx.AsyncClient(transport=transport, timeout=HANGS_AFTER) as made:
        yield made


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read a request of this file: its body is four bytes."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + (await reader.readexactly(4) if head.startswith(b"POST") else b"")


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1", ANSWER[:-1], b"not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
], ids=["nothing", "part of a line", "part of a body", "no HTTP", "odd length", "part of a chunk"])  # fmt: skip
@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
async def test_post_that_may_have_arrived_is_never_called_unsent_nor_sent_again(answer: bytes, *, kept: bool) -> None:
    arrived: list[bytes] = []

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kept and not arrived:
            arrived.append(await request(reader))
            writer.write(ANSWER)
        arrived.append(await request(reader))
        writer.write(answer)
        await writer.drain()

    async with serving(cut) as there, client() as made:
        if kept:
            assert (await made.post(f"http://{there}/", content=b"warm")).json() == {}
        with pytest.raises(httpx.HTTPError) as caught:
            await made.post(f"http://{there}/", content=b"post")
        await asyncio.sleep(0)
    assert not isinstance(caught.value, NOT_SENT)
    assert [each[-4:] for each in arrived] == ([b"warm"] if kept else []) + [b"post"]


async def test_answer_that_does_not_come_is_a_read_timeout() -> None:
    arrived = []

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        arrived.append(await request(reader))
        await reader.read()

    async with serving(hang) as there, client() as made:
        with pytest.raises(httpx.ReadTimeout):
            await made.post(f"http://{there}/", content=b"post", timeout=SHORT)
    assert len(arrived) == 1


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "hangs"])
async def test_handshake_that_fails_sends_nothing(*, closes: bool) -> None:
    seen: list[bytes] = []

    async def handshake(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        if not closes:
            await reader.read()

    async with serving(handshake) as there, client() as made:
        with pytest.raises(NOT_SENT):
            await made.post(f"https://{there}/", content=b"post", timeout=SHORT)
    assert seen
    assert b"post" not in b"".join(seen)


@pytest.mark.parametrize("host", ["nowhere.invalid", "empty..label.invalid", f"{'x' * 64}.invalid"])
async def test_host_without_an_address_is_a_failed_connection(host: str) -> None:
    async with client() as made:
        with pytest.raises(httpx.ConnectError):
            await made.post(f"http://{host}/", content=b"post")


async def test_link_local_address_of_a_host_keeps_its_interface() -> None:
    host = f"fe80::1%{socket.if_nameindex()[0][1]}"
    assert [each["host"] for each in await Resolver().resolve(host)] == [host]


@pytest.mark.parametrize("made_for", ["Together", "Slack", "other tools"])
async def test_hosts_whose_lookup_hangs_keep_no_other_waiting(made_for: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(ANSWER)
        await writer.drain()

    async def status(url: str) -> int:
        if made_for == "Slack":
            async with slack_session() as session, session.get(url) as response:
                return response.status
        async with client() if made_for == "Together" else plain_client(url) as made:
            return (await made.get(url)).status_code

    hangs = threading.Event()
    with ThreadPoolExecutor(1) as lookups:  # in which asyncio looks up every host
        asyncio.get_running_loop().set_default_executor(lookups)
        lookups.submit(hangs.wait)
        try:
            async with serving(answer) as there, asyncio.timeout(5):
                assert await status(f"http://localhost:{there.rpartition(':')[2]}/") == 200
        finally:
            hangs.set()


async def test_pool_that_is_full_is_a_failed_connection() -> None:
    is_taken = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        is_taken.set()
        await reader.read()

    async with serving(hang) as there, client(limit=1) as made:
        first = asyncio.ensure_future(made.post(f"http://{there}/", content=b"1111", timeout=2))
        await is_taken.wait()
        with pytest.raises(httpx.ConnectTimeout):
            await made.post(f"http://{there}/", content=b"2222", timeout=0.1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a proxy that passes nothing on."""
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()


async def test_proxy_that_refuses_has_passed_nothing_on() -> None:
    async with serving(refuse) as there, client(f"http://{there}") as made:
        with pytest.raises(httpx.ProxyError):
            await made.post("https://together.invalid/", content=b"post")


async def test_proxy_that_refuses_has_passed_nothing_on_to_slack() -> None:
    place = ReplyTarget("C0OPS", "U0ALICE", "https://hooks.slack.com/actions/x", message_ts="1.0", is_button=True)
    async with serving(refuse) as there, slack_session() as session:
        slack = slack_client(read_settings(GOOD), session, reads_only=False)
        slack.proxy = f"http://{there}"
        replies = Replies(slack, session, Clock(), allow_loopback=False)
        assert await replies.answer(place, Message("Cancelled")) == Delivery(is_told=False, is_in_place=False)


async def test_what_gets_no_connection_to_slack_in_time_was_not_sent() -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    limits = aiohttp.ClientTimeout(total=HANGS_AFTER, sock_connect=0.2)
    async with serving(hang) as there, aiohttp.ClientSession(timeout=limits) as session:
        settings = read_settings({**GOOD, "SLACK_API_URL": f"https://{there}/api/"})
        with pytest.raises(SlackFailure) as caught:
            await slack_client(settings, session, reads_only=False).chat_postMessage(channel="C0OPS", text="x")
    assert not caught.value.may_have_worked


async def test_headers_and_body_leave_as_httpx_made_them() -> None:
    arrived: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await request(reader))
        writer.write(b"HTTP/1.1 302 Found\r\nset-cookie: a=b\r\nlocation: /x\r\ncontent-encoding: gzip\r\n")
        writer.write(b"content-length: 2\r\n\r\n{}")
        await writer.drain()

    async with serving(answer) as there, client() as made:
        headers = {"authorization": "Bearer x", "accept-encoding": "identity"}
        async with made.stream("POST", f"http://{there}/a%2Fb?c=%2F", content=b"post", headers=headers) as response:
            raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert (response.status_code, response.headers["content-encoding"], raw) == (302, "gzip", b"{}")
    (sent,) = arrived
    assert sent.startswith(b"POST /a%2Fb?c=%2F HTTP/1.1\r\n")
    lines = [line.lower() for line in sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    assert sorted(line.partition(b":")[0] for line in lines) == [
        b"accept", b"accept-encoding", b"authorization", b"connection", b"content-length", b"host", b"user-agent",
    ]  # fmt: skip


async def test_login_of_a_url_is_sent_in_the_headers() -> None:
    arrived: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await request(reader))
        writer.write(ANSWER)
        await writer.drain()

    async with serving(answer) as there, client() as made:
        assert (await made.get(f"http://name:word@{there}/")).status_code == 200
    assert b"\r\nauthorization: Basic bmFtZTp3b3Jk\r\n" in arrived[0]


@pytest.mark.parametrize(("lines", "length"), [(1, 60_000), (500, 50)])
async def test_answer_with_long_or_many_headers_is_read(lines: int, length: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(ANSWER.replace(b"\r\n\r\n", b"\r\nx-policy: %b" % (b"x" * length) * lines + b"\r\n\r\n"))
        await writer.drain()

    async with serving(answer) as there, client() as made:
        assert (await made.post(f"http://{there}/", content=b"post")).status_code == 200


def test_proxy_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_for("https://api.together.ai/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert proxy_for("https://api.together.ai/v1") == "http://proxy:3128"
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    assert proxy_for("https://api.together.ai/v1") == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", "api.together.ai")
    assert proxy_for("https://api.together.ai/v1") is None


async def test_slack_takes_the_proxy_that_together_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(GOOD)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    async with aiohttp.ClientSession() as session:
        assert slack_client(settings, session, reads_only=True).proxy is None
        monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
        assert slack_client(settings, session, reads_only=True).proxy == "http://proxy:3128"
        monkeypatch.setenv("NO_PROXY", "slack.com")
        assert slack_client(settings, session, reads_only=True).proxy is None
