"""What every chaos run does: start processes, let things go wrong, kill, wait until all is settled, and look."""

import asyncio
import math
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Slack
from tests.simulator.together import Together

LEASE = 2
SETTLE_SECONDS = 120.0  # without progress
STOP_SECONDS = 60.0


@dataclass
class Report:
    """What a run found."""

    counts: Counter[str]
    problems: list[str]

    def __str__(self) -> str:
        counts = [f"{count:6} {name}" for name, count in sorted(self.counts.items())]
        return "\n".join([*counts, *(f"PROBLEM {problem}" for problem in self.problems)])


class Chaos:
    """One run. Subclasses say what goes wrong and what must be true afterwards.

    Args:
        database_url: shared by all processes.
        processes: how many bots; more than one needs PostgreSQL.
        seed: what is random is repeatable as far as scheduling is.
        seconds: how long things go wrong, at least.
        until: how often each of these things must have happened before they stop going wrong.
    """

    kill_every = (1.0, 2.0)

    def __init__(
        self,
        database_url: str,
        processes: int,
        seed: int,
        *,
        seconds: float = 0,
        until: Mapping[str, int] | None = None,
    ) -> None:
        self._url = database_url
        self._ports = [free_port() for _ in range(processes)]
        self._bots: dict[int, subprocess.Popen[str]] = {}
        self._seconds = seconds
        self._until = until or {}
        self._end = 0.0
        self.random = random.Random(seed)  # noqa: S311 - chaos needs no secrets
        self.counts: Counter[str] = Counter()
        self.slack = Slack()
        self.together = Together(self.slack.now)

    @property
    def goes_on(self) -> bool:
        """Whether things still go wrong."""
        return time.monotonic() < self._end or any(self.counts[name] < number for name, number in self._until.items())

    async def run(self) -> Report:
        """Make chaos, let it settle, and look at what is left."""
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            async with self.slack, self.together:
                try:
                    return await self._run()
                finally:
                    for bot in self._bots.values():
                        bot.kill()
                        bot.wait()

    def settings(self) -> dict[str, str]:
        """The bot's settings beyond those that every run has."""
        return {}

    def troubles(self) -> list[Awaitable[None]]:
        """What happens and goes wrong besides the kills, each until `goes_on` is false."""
        raise NotImplementedError

    def unsettled(self) -> list[str]:
        """What is not yet as it must be in the end."""
        raise NotImplementedError

    def verdict(self) -> list[str]:
        """What went wrong for good, once every process has ended."""
        raise NotImplementedError

    async def sleep(self, least: float, most: float) -> None:
        """Wait for a random time."""
        await asyncio.sleep(self.random.uniform(least, most))

    async def _run(self) -> Report:
        for port in self._ports:
            self._start(port)
        for port in self._ports:
            await ready(self.slack, port, started=len(self._ports))
        self.slack.bot_urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        self._end = time.monotonic() + self._seconds
        await asyncio.gather(self._kill(), *self.troubles())
        self.together.faults.clear()
        self.slack.faults.clear()
        problems = await self._settle()
        # One that was just started again can't take a signal yet.
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.gather(*(_listens(port) for port in self._ports))
        for bot in self._bots.values():
            bot.terminate()
        codes = [await asyncio.to_thread(bot.wait, STOP_SECONDS) for bot in self._bots.values()]
        if any(codes):
            problems.append(f"A bot ended with status {codes}.")
        return Report(self.counts, problems + self.verdict())

    async def _settle(self) -> list[str]:
        """Wait as long as ever less is unsettled: a channel takes one message a second, so a long run leaves many."""
        fewest, give_up_at = math.inf, 0.0
        while problems := self.unsettled():
            if len(problems) < fewest:
                fewest, give_up_at = len(problems), time.monotonic() + SETTLE_SECONDS
            elif time.monotonic() > give_up_at:
                break
            await asyncio.wait({asyncio.ensure_future(self.slack.news())}, timeout=1)
        return problems

    def _start(self, port: int) -> None:
        settings = {
            **variables(self.slack, self.together),
            "BOT_OPERATORS": "U0ALICE,U0BOB",
            "DATABASE_URL": self._url,
            "BOT_LEASE_SECONDS": str(LEASE),
            "LOG_LEVEL": "ERROR",
            **self.settings(),
        }
        self._bots[port] = start_bot(self._folder, settings, port=port, log=self._folder / "bot.log")

    async def _kill(self) -> None:
        while True:
            await self.sleep(*self.kill_every)
            if not self.goes_on:
                return
            port = self.random.choice(self._ports)
            self._bots[port].kill()
            await asyncio.to_thread(self._bots[port].wait)
            self.counts["kills"] += 1
            self._start(port)


async def _listens(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                await session.get(f"http://127.0.0.1:{port}/healthz")
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)  # a port of another process gives no notice
            else:
                return
