"""Chaos for the watch: processes are killed while nodes fall ill, people click and Together and Slack fail.

Afterwards there must be one alert per remediation, every card must be true, and nobody reminded of what was decided.
"""

import asyncio
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp

from tests.chaos.report import Report
from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Posted, Slack
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Ids, RpcError, Together
from tests.world import APPROVE, CANCEL

SETTLE_SECONDS = 120
CLUSTERS = 8  # the bot learns of new ones every ten minutes, so these are all there are
LEASE = 2
WORDS = {
    "PENDING_APPROVAL": "Waiting for approval:", "PENDING": "queued to start:", "QUARANTINING": "Cordoning the host:",
    "QUARANTINED": "Host cordoned:", "RUNNING": "Running:", "SUCCEEDED": "Succeeded:", "FAILED": "Failed:",
    "CANCELLED": "Cancelled:", "AUTO_RESOLVED": "Resolved by itself:",
}  # fmt: skip


class WatchChaos:
    """One run.

    Args:
        database_url: shared by all processes.
        processes: how many bots; more than one needs PostgreSQL.
        seconds: how long things go wrong.
        seed: what is random is repeatable as far as scheduling is.
    """

    def __init__(self, database_url: str, processes: int, seconds: float, seed: int) -> None:
        self._url = database_url
        self._seconds = seconds
        self._random = random.Random(seed)  # noqa: S311 - chaos needs no secrets
        self._ports = [free_port() for _ in range(processes)]
        self._bots: dict[int, subprocess.Popen[str]] = {}
        self._ids: list[Ids] = []
        self._counts: Counter[str] = Counter()

    async def run(self) -> Report:
        """Make chaos, let it settle, and look at what is left."""
        with tempfile.TemporaryDirectory() as folder:
            async with Slack() as slack, Together(slack.now) as together:
                self._slack, self._together, self._folder = slack, together, Path(folder)
                together.clusters.update({f"cluster-{number}": "H100" for number in range(CLUSTERS)})
                try:
                    return await self._run()
                finally:
                    for bot in self._bots.values():
                        bot.kill()
                        bot.wait()

    async def _run(self) -> Report:
        for port in self._ports:
            self._start(port)
        for port in self._ports:
            await ready(self._slack, port, started=len(self._ports))
        self._slack.bot_urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        end = time.monotonic() + self._seconds
        await asyncio.gather(self._fall_ill(end), self._go_on(end), self._click(end), self._kill(end), self._fail(end))
        self._together.faults.clear()
        self._slack.faults.clear()
        give_up_at = time.monotonic() + SETTLE_SECONDS
        while (problems := self._untrue()) and time.monotonic() < give_up_at:
            await asyncio.wait({asyncio.ensure_future(self._slack.news())}, timeout=1)
        for bot in self._bots.values():
            bot.terminate()
        codes = [await asyncio.to_thread(bot.wait, 40) for bot in self._bots.values()]
        if any(codes):
            problems.append(f"A bot ended with status {codes}.")
        problems += self._unwanted()
        self._counts["alerts"] = len([each for each in self._ids if self._slack.cards(each[2])])
        self._counts["edits"] = sum(each.edits for each in self._slack.messages)
        self._counts["lines in threads"] = len([each for each in self._slack.messages if each.thread_ts])
        return Report(self._counts, problems)

    def _start(self, port: int) -> None:
        settings = {
            **variables(self._slack, self._together),
            "BOT_OPERATORS": "U0ALICE,U0BOB",
            "BOT_ALERT_CHANNEL": "C0OPS",
            "BOT_POLL_SECONDS": "1",
            "BOT_REMIND_MINUTES": "1",
            "DATABASE_URL": self._url,
            "BOT_LEASE_SECONDS": str(LEASE),
            "LOG_LEVEL": "ERROR",
        }
        self._bots[port] = start_bot(self._folder, settings, port=port, log=self._folder / "bot.log")

    async def _fall_ill(self, end: float) -> None:
        """A node after the other: few enough in a minute and cluster that each has a card of its own."""
        number = 0
        while time.monotonic() < end:
            number += 1
            cluster = f"cluster-{number % CLUSTERS}"
            self._ids.append(self._together.add((cluster, f"node-{number}", f"remediation-{number:06d}-")))
            await asyncio.sleep(self._random.uniform(1.7, 2.5))

    async def _go_on(self, end: float) -> None:
        """Work goes on, fails, escalates or resolves by itself; somebody decides in the console."""
        while time.monotonic() < end:
            await asyncio.sleep(self._random.uniform(0.3, 1))
            if not self._ids:
                continue
            ids = self._random.choice(self._ids)
            try:
                self._happen(ids, self._random.choice(["advance", "fail", "escalate", "resolve", "review", "nothing"]))
                self._counts["changes"] += 1
            except RpcError:
                pass

    def _happen(self, ids: Ids, what: str) -> None:
        together, is_rare = self._together, self._random.random() < 0.3
        if what == "advance":
            together.advance(ids)
        elif what == "fail":
            together.fail(ids, "no host left")
        elif what == "escalate":
            together.escalate(ids, "REMEDIATION_MODE_VM_ONLY")
        elif what == "resolve" and is_rare:
            together.resolve(ids)
        elif what == "review" and is_rare:
            together.review(ids, "approve")

    async def _click(self, end: float) -> None:
        while time.monotonic() < end:
            await asyncio.sleep(self._random.uniform(0.5, 2))
            cards = [each for each in self._slack.messages if each.metadata and APPROVE in each.buttons]
            if not cards:
                continue
            card = self._random.choice(cards)
            try:
                ack = await self._slack.press(card, self._random.choice([APPROVE, CANCEL]))
            except (aiohttp.ClientError, OSError):
                continue
            self._counts["clicks acked"] += ack.status == 200

    async def _kill(self, end: float) -> None:
        while time.monotonic() < end - 1:
            await asyncio.sleep(self._random.uniform(0.5, 3))
            port = self._random.choice(self._ports)
            self._bots[port].kill()
            await asyncio.to_thread(self._bots[port].wait)
            self._counts["kills"] += 1
            self._start(port)

    async def _fail(self, end: float) -> None:
        while time.monotonic() < end:
            await asyncio.sleep(0.3)
            if len(self._together.faults) < 2:
                kind, verb = (
                    self._random.choice(["rpc", "cut", "html"]),
                    self._random.choice(["list", "get", "approve"]),
                )
                self._together.faults.append(Fault(kind, verb=verb, code=14, status=502, after=True))
            if len(self._slack.faults) < 2:
                method = self._random.choice(["chat.postMessage", "chat.update"])
                kind = self._random.choice(["drop", "html", "internal_error"])
                self._slack.faults.append(SlackFault(method, kind, after=self._random.random() < 0.5))
            self._counts["faults"] += 1
            self._together.faults = [fault for fault in self._together.faults if fault.times]
            self._slack.faults = [fault for fault in self._slack.faults if fault.times]

    def _untrue(self) -> list[str]:
        """What is not shown as it is: each remediation that waits has a card, and each card says what is."""
        problems = []
        for ids in self._ids:
            state, cards = self._together.state(ids), self._slack.cards(ids[2])
            if state == "PENDING_APPROVAL" and not cards:
                problems.append(f"{ids[2]} waits and was not told")
            problems += [f"{ids[2]} is {state}: {card.text[:60]}" for card in cards if not _says(card, state)]
        return problems

    def _unwanted(self) -> list[str]:
        """What stands there twice, or came after a decision."""
        problems = []
        for ids in self._ids:
            cards = self._slack.cards(ids[2])
            if len(cards) > 1:
                problems.append(f"{ids[2]} has {len(cards)} alerts")
            lines = [each.text for card in cards for each in self._slack.replies(card)]
            ended = next((number for number, line in enumerate(lines) if "pproved" in line or "ancelled" in line), None)
            if ended is not None and any("has waited" in line for line in lines[ended + 1 :]):
                problems.append(f"{ids[2]} was reminded of after a decision")
        return problems


def _says(card: Posted, state: str) -> bool:
    has_buttons = APPROVE in card.buttons
    return WORDS[state] in card.text and has_buttons == (state == "PENDING_APPROVAL")
