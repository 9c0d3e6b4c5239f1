"""Socket Mode: tickets for one use, envelopes to any one connection, acks within 3 s."""

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from tests.simulator.listener import Listener

ACK_SECONDS = 3.0


@dataclass(frozen=True)
class Ack:
    """What the app answered to a delivery. Status 0 means no ack in time."""

    status: int
    body: str
    seconds: float


class Sockets:
    """The WebSocket side of a workspace."""

    def __init__(self, slack: Listener) -> None:
        self._slack = slack
        self._tickets: set[str] = set()
        self._acks: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self.open: list[web.WebSocketResponse] = []
        self.refuse_new_tickets = False
        self.answers_pings = True
        self.answers_handshakes = True
        self.hears = asyncio.Event()
        self.hears.set()
        self.refused = 0
        self.unanswered = 0
        self.connected = 0

    def new_ticket(self) -> str:
        self._count += 1
        ticket = f"ticket-{self._count}"
        if not self.refuse_new_tickets:
            self._tickets.add(ticket)
        return f"{self._slack.url.replace('http', 'ws', 1)}/link?ticket={ticket}"

    async def connect(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            self.refused += 1
            self._slack.changed()
            return web.Response(status=401, text="dead ticket")
        self._tickets.discard(ticket)
        if not self.answers_handshakes:
            self.unanswered += 1
            self._slack.changed()
            await self._slack.stopping.wait()
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        known = {"num_connections": len(self.open) + 1, "connection_info": {"app_id": "A0BOT"}}
        await socket.send_json({"type": "hello", **known})
        self.open.append(socket)
        self.connected += 1
        self._slack.changed()
        with self._slack.waiting():
            async for message in socket:
                if message.type is WSMsgType.PING and self.answers_pings:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    ack = json.loads(message.data)
                    waiting = self._acks.pop(ack.get("envelope_id"), None)
                    if waiting and not waiting.done():
                        waiting.set_result(ack)
                await self.hears.wait()
        self.open.remove(socket)
        self._slack.changed()
        return socket

    async def deliver(self, kind: str, payload: dict[str, Any], ack_seconds: float) -> Ack:
        self._count += 1
        envelope_id = f"envelope-{self._count}"
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._acks[envelope_id] = future
        began = time.monotonic()
        await random.choice(self.open).send_json({  # noqa: S311 - Slack promises no pattern
            "type": kind,
            "envelope_id": envelope_id,
            "accepts_response_payload": kind != "events_api",
            "payload": payload,
        })  # fmt: skip
        try:
            ack = await asyncio.wait_for(future, ack_seconds)
        except TimeoutError:
            return Ack(0, "", time.monotonic() - began)
        return Ack(200, json.dumps(ack["payload"]) if ack.get("payload") else "", time.monotonic() - began)

    async def close_all(self) -> None:
        """Cut every connection."""
        for socket in list(self.open):
            await socket.close()

    async def ask_to_reconnect(self, count: int | None = None) -> None:
        """Tell every connection, or some, that it will be replaced (docs.slack.dev, using-socket-mode)."""
        for socket in list(self.open)[:count]:
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})
