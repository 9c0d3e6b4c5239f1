"""Load: signed commands in, and the two services that answer, cheap enough to be no bottleneck."""

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Self
from urllib.parse import parse_qs, urlencode

import aiohttp

from tests.simulator.slack import sign
from tests.simulator.slack.workspace import BOT_USER, COMMAND, TEAM

_ID = re.compile(rb"r-\d{7}-")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ENDS = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
# A crowd: the bot keeps one person from having too many decisions in flight.
PEOPLE = [f"U0PERSON{number:02}" for number in range(32)]
Answer = Callable[[str, bytes], dict[str, object]]


class _Service(asyncio.Protocol):
    """An HTTP server of a few lines: the simulators are honest and slow, and would be what is measured."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of a stream server it is one

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            reply = json.dumps(self._answer(head.split(b" ", 2)[1].decode(), body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                % (len(reply), reply)
            )
            if _ENDS.search(head):
                self._transport.close()


class Load:
    """Both services and a person who types, in one process.

    Attributes:
        slack_url, together_url: where the services are.
        cards: when the card of a remediation was posted, by its ID.
    """

    def __init__(self) -> None:
        self.cards: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._numbers = count(1)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.slack_url = f"{await self._serve(self._slack)}/api/"
        self.together_url = f"{await self._serve(self._together)}/v1"
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, answer: Answer) -> str:
        server = await asyncio.get_running_loop().create_server(lambda: _Service(answer), "127.0.0.1", 0)
        self._stack.callback(server.close)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def _slack(self, path: str, body: bytes) -> dict[str, object]:
        if path.rpartition("/")[2].startswith("chat."):
            # Where a call takes long, the bot first posts who is cancelling; that is not the card yet.
            if b"Cancelled" in body and (found := _ID.search(body)):
                remediation = found[0].decode()
                self.cards[remediation] = time.perf_counter()
                if waiting := self._waiting.pop(remediation, None):
                    waiting.set_result(None)
            return {"ok": True, "channel": "C0OPS", "ts": f"{time.time():.6f}", "message": {}}
        asked = parse_qs(body.decode()).get("user", ["U0PERSON00"])[0]
        who = {"id": asked, "name": "alice", "team_id": TEAM, "deleted": False, "is_bot": False}
        return {"ok": True, "team_id": TEAM, "team": "home", "user_id": BOT_USER, "bot_id": "B0BOT", "user": who}

    def _together(self, path: str, _body: bytes) -> dict[str, object]:
        _, _, _, _, cluster, _, instance, _, remediation, *_ = path.split("/")
        return {
            "id": remediation, "cluster_id": cluster, "instance_id": instance, "instance_name": "gpu-node-07",
            "mode": "REMEDIATION_MODE_REBOOT_VM", "trigger": "REMEDIATION_TRIGGER_AUTOMATED", "state": "CANCELLED",
            "reason": "Xid 79 seen 3 times", "create_time": "2026-11-24T03:00:00Z",
            "end_time": "2026-11-24T03:05:00Z", "update_time": "2026-11-24T03:05:00Z",
        }  # fmt: skip

    async def command(self, url: str, *, until_card: bool = True) -> tuple[float, float] | None:
        """Type a command, and wait for its ack and its card.

        Returns:
            The seconds from sending to the ack and to the card; None where it was not acked.
        """
        number = next(self._numbers)
        remediation = f"r-{number:07d}-"
        fields = {
            "command": COMMAND, "text": f"cluster-1 instance-1 {remediation}", "team_id": TEAM,
            "user_id": PEOPLE[number % len(PEOPLE)], "user_name": "alice",
            "channel_id": "C0OPS", "channel_name": "ops", "trigger_id": f"{number}.1",
            "api_app_id": "A0BOT", "token": "deprecated", "is_enterprise_install": "false",
            "response_url": "http://127.0.0.1:9/response",
        }  # fmt: skip
        body, stamp = urlencode(fields).encode(), str(int(time.time()))
        headers = {
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": sign(stamp, body),
            "content-type": "application/x-www-form-urlencoded",
        }
        card = self._waiting[remediation] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        async with self._session.post(f"{url}/slack/events", data=body, headers=headers) as response:
            await response.read()
            acked = time.perf_counter()
        if response.status != 200:
            del self._waiting[remediation]
            return None
        if not until_card:
            return acked - began, 0.0
        await asyncio.wait_for(card, 60)
        return acked - began, self.cards.pop(remediation) - began

    async def paced(self, url: str, commands: int, per_second: float) -> list[tuple[float, float]]:
        """Type commands at an even pace, whether or not the ones before are done."""
        typing = []
        for _ in range(commands):
            typing.append(asyncio.create_task(self.command(url)))
            await asyncio.sleep(1 / per_second)
        return [_done(took) for took in await asyncio.gather(*typing)]

    async def flood(self, url: str, commands: int, in_flight: int) -> float:
        """Keep this many commands in flight until all have their card. Returns the seconds it took."""
        left = iter(range(commands))

        async def worker() -> None:
            for _ in left:
                _done(await self.command(url))

        began = time.perf_counter()
        workers: list[Awaitable[None]] = [worker() for _ in range(in_flight)]
        await asyncio.gather(*workers)
        return time.perf_counter() - began


def _done(took: tuple[float, float] | None) -> tuple[float, float]:
    if took is None:
        raise AssertionError("a command was not acked")
    return took


async def _acks(url: str, commands: int, per_second: float) -> None:
    """Print when commands were sent and how long their acks took, of remediations that nobody has, as JSON."""
    async with Load() as load:
        sent, typing = [], []
        for _ in range(commands):
            sent.append(time.time())
            typing.append(asyncio.create_task(load.command(url, until_card=False)))
            await asyncio.sleep(1 / per_second)
        acks = [_done(took)[0] for took in await asyncio.gather(*typing)]
    print(json.dumps(list(zip(sent, acks, strict=True))))


if __name__ == "__main__":
    asyncio.run(_acks(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
