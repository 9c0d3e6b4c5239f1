"""How long Slack waits for the ack, next to default Bolt."""

import asyncio
import logging
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.app import App
from bot.models import Request
from handlers.bolt import build_bolt
from handlers.commands import Commands
from handlers.server import Server
from tests.manual_clock import ManualClock
from tests.postgres import serve_postgresql
from tests.simulator.slack import Slack, sign
from tests.simulator.slack.workspace import BOT_TOKEN, SIGNING_SECRET, TEAM
from tests.simulator.together import Together
from tests.world import REF, settings_for

ROUNDS = 300
WARM_UP = 30
LIMIT = 0.35
DURABLE = ("bot, SQLite", "bot, PostgreSQL")


class NothingWritten:
    """Decisions that write nothing and do nothing: the bot's ack without its commit."""

    async def receive(self, _request: Request) -> None:
        """Take it."""


async def main() -> int:
    """Measure, print, and fail when an ack with its commit takes more than 0.35 of default Bolt's."""
    logging.disable(logging.WARNING)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        postgresql = stack.enter_context(serve_postgresql())
        slack = await stack.enter_async_context(Slack())
        together = await stack.enter_async_context(Together(slack.now))
        addresses = {
            "default Bolt": await _default_bolt(stack, slack),
            "bot, nothing written": await _without_commit(stack),
            "bot, SQLite": await _bot(stack, slack, together, f"sqlite:///{folder}/bot.db"),
            "bot, PostgreSQL": await _bot(stack, slack, together, postgresql),
        }
        session = await stack.enter_async_context(aiohttp.ClientSession())
        times: dict[str, list[float]] = {name: [] for name in addresses}
        told = 0
        for number in range(WARM_UP + ROUNDS):
            for name, address in addresses.items():
                seconds = await _ack(session, address, f"{number}.{name}")
                if number >= WARM_UP:
                    times[name].append(seconds)
                if name in DURABLE:
                    # The work behind an ack ends before the next one is measured.
                    told += 1
                    await slack.until(lambda expected=told: len(slack.direct("U0CAROL")) >= expected)  # type: ignore[misc] # mypy cannot see the default
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    base = medians["default Bolt"]
    print(f"Ack over HTTP on loopback, median of {ROUNDS} rounds, one after the other in one run:")
    for name, median in medians.items():
        print(f"  {name:22} {median * 1000:7.2f} ms  {median / base:5.2f} of default Bolt")
    slow = [name for name in DURABLE if medians[name] > LIMIT * base]
    print(f"Limit {LIMIT}: {'exceeded by ' + ', '.join(slow) if slow else 'kept'}")
    return int(bool(slow))


async def _ack(session: aiohttp.ClientSession, address: str, trigger: str) -> float:
    who = {"team_id": TEAM, "user_id": "U0CAROL", "trigger_id": trigger}
    body = urlencode({"command": "/cancel-remediation", "text": REF, **who}).encode()
    stamp = str(int(time.time()))
    headers = {
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": sign(stamp, body),
        "content-type": "application/x-www-form-urlencoded",
    }
    began = time.perf_counter()
    async with session.post(f"{address}/slack/events", data=body, headers=headers) as response:
        await response.read()
        assert response.status == 200
    return time.perf_counter() - began


async def _default_bolt(stack: AsyncExitStack, slack: Slack) -> str:
    client = AsyncWebClient(BOT_TOKEN, base_url=slack.api_url)
    client.proxy = None
    app = AsyncApp(client=client, signing_secret=SIGNING_SECRET)

    @app.command("/cancel-remediation")
    async def listen(ack: AsyncAck) -> None:
        await ack()

    runner = web.AppRunner(app.web_app(), access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _without_commit(stack: AsyncExitStack) -> str:
    bolt = build_bolt(SIGNING_SECRET, team_id=TEAM, bot_user_id="U0BOT")
    tasks = type("Tasks", (), {"accepting": True})()
    bolt.command("/cancel-remediation")(Commands(NothingWritten(), tasks).listen)  # type: ignore[arg-type] # see the class
    server = Server("127.0.0.1", 0, list)
    stack.push_async_callback(server.stop)
    port = await server.start(takes_slack=True)
    server.serve(bolt)
    return f"http://127.0.0.1:{port}"


async def _bot(stack: AsyncExitStack, slack: Slack, together: Together, database: str) -> str:
    """Run the whole bot. Nobody who is asked here is an operator, so the work behind the ack is small."""
    app = App(settings_for(slack, together, DATABASE_URL=database), clock=ManualClock().clock)
    stop = asyncio.Event()
    running = asyncio.create_task(app.run(stop))

    async def end() -> None:
        stop.set()
        await running

    stack.push_async_callback(end)
    await app.ready.wait()
    return f"http://127.0.0.1:{app.port}"
