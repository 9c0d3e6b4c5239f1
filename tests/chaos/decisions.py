"""Chaos for decisions: commands and clicks arrive while processes are killed and Together fails.

Afterwards all that was acked must be answered.
"""

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.chaos.report import Report
from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Posted, Slack
from tests.simulator.together import Call, Fault, Ids, Together
from tests.world import APPROVE, CANCEL, as_alert

LEASE = 2
SETTLE_SECONDS = 90
VERBS = ("command", APPROVE, CANCEL)


@dataclass
class Asked:
    """One thing that was asked for, by one or two people at once.

    Attributes:
        acked: who was told "received", and the response_url that came with it.
    """

    ids: Ids
    verb: str
    alert: Posted | None
    acked: dict[str, str] = field(default_factory=dict)

    def messages(self, slack: Slack, user: str) -> int:
        """How many messages answer one person: a card, an error, or a private word."""
        told = [
            message
            for message in slack.messages
            if message is not self.alert
            and not is_in_progress(message)
            and (message.via == self.acked[user] or (message.only_for is None and self.ids[2] in message.everything))
        ]
        return len(told)

    def is_answered(self, slack: Slack, user: str) -> bool:
        """Whether one person can see an answer: one of those, or the alert redrawn."""
        redrawn = self.alert is not None and self.alert.edits > 0 and not is_in_progress(self.alert)
        return redrawn or self.messages(slack, user) > 0


def is_in_progress(message: Posted) -> bool:
    """Whether a message only says who is at it."""
    return any(words in message.text for words in ("is approving this", "is cancelling this"))


class Chaos:
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
        self._asked: list[Asked] = []
        self._counts: Counter[str] = Counter()
        self._wasted: list[Call] = []

    async def run(self) -> Report:
        """Make chaos, let it settle, and look at what is left."""
        with tempfile.TemporaryDirectory() as folder:
            async with Slack() as slack, Together(slack.now) as together:
                self._slack, self._together, self._folder = slack, together, Path(folder)
                together.before_decision = self._watch
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
        await asyncio.gather(self._ask(end), self._kill(end), self._disturb(end))
        self._together.faults.clear()
        problems = await self._settle()
        for bot in self._bots.values():
            bot.terminate()
        codes = [await asyncio.to_thread(bot.wait, 40) for bot in self._bots.values()]
        if any(codes):
            problems.append(f"A bot ended with status {codes}.")
        verdict = await asyncio.to_thread(self._verify)
        self._counts["wasted POSTs"] = len(self._wasted)
        problems += [f"A POST was sent for what was in effect already: {call}" for call in self._wasted]
        problems += verdict
        self._counts["POSTs"] = len(self._together.posts)
        return Report(self._counts, problems)

    def _start(self, port: int) -> None:
        settings = {
            **variables(self._slack, self._together),
            "BOT_OPERATORS": "U0ALICE,U0BOB",
            "DATABASE_URL": self._url,
            "BOT_LEASE_SECONDS": str(LEASE),
            "LOG_LEVEL": "ERROR",
        }
        self._bots[port] = start_bot(self._folder, settings, port=port, log=self._folder / "bot.log")

    def _watch(self, call: Call) -> None:
        """Each decision here is asked for once, so a POST that finds its effect in place should not have been sent."""
        if call.ids and self._together.state(call.ids) != "PENDING_APPROVAL":
            self._wasted.append(call)

    async def _ask(self, end: float) -> None:
        number = 0
        asking: list[asyncio.Task[None]] = []
        while time.monotonic() < end:
            number += 1
            ids = self._together.add(("cluster-1", f"node-{number}", f"remediation-{number:06d}-"))
            verb = self._random.choice(VERBS)
            alert = None if verb == "command" else self._slack.post_as_tool(as_alert(self._together.remediations[ids]))
            users = ["U0ALICE", "U0BOB"] if alert and self._random.random() < 0.3 else ["U0ALICE"]
            asked = Asked(ids, verb, alert)
            self._asked.append(asked)
            asking += [asyncio.create_task(self._deliver(asked, user)) for user in users]
            await asyncio.sleep(self._random.uniform(0.02, 0.15))
        await asyncio.gather(*asking)

    async def _deliver(self, asked: Asked, user: str) -> None:
        """Deliver to any one process, as a balancer does. A refused connection is an error that the person sees."""
        self._counts["asked"] += 1
        url = self._slack.response_url("C0OPS", user, asked.alert)
        try:
            if asked.alert:
                ack = await self._slack.press(asked.alert, asked.verb, user=user, response_url=url)
            else:
                ack = await self._slack.command(" ".join(asked.ids), user=user, response_url=url)
        except (aiohttp.ClientError, OSError):
            self._counts["not delivered"] += 1
            return
        if ack.status == 200:
            asked.acked[user] = url
        self._counts["acked" if ack.status == 200 else "refused"] += 1

    async def _kill(self, end: float) -> None:
        while time.monotonic() < end - 1:
            await asyncio.sleep(self._random.uniform(1, 2))
            port = self._random.choice(self._ports)
            self._bots[port].kill()
            await asyncio.to_thread(self._bots[port].wait)
            self._counts["kills"] += 1
            self._start(port)

    async def _disturb(self, end: float) -> None:
        """Let some requests fail, hang and lose their answer, before and after the change."""
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            if len(self._together.faults) < 3:
                kind = self._random.choice(["rpc", "cut", "late", "html"])
                verb = self._random.choice([None, "approve", "cancel", "get"])
                after = self._random.random() < 0.5
                self._together.faults.append(Fault(kind, verb=verb, after=after, code=14, status=502))
                self._counts["faults"] += 1
            self._together.faults = [fault for fault in self._together.faults if fault.times]

    async def _settle(self) -> list[str]:
        """Wait until every acked request has an answer."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        while (open_ones := self._unanswered()) and time.monotonic() < give_up_at:
            await asyncio.wait({asyncio.ensure_future(self._slack.news())}, timeout=1)
        told = [asked.messages(self._slack, user) for asked in self._asked for user in asked.acked]
        self._counts["answered"] = len(told) - len(open_ones)
        self._counts["answered by two messages"] = len([count for count in told if count > 1])
        return [f"{user} was not answered: {asked.verb} {asked.ids[2]}" for asked, user in open_ones]

    def _unanswered(self) -> list[tuple[Asked, str]]:
        acked = ((asked, user) for asked in self._asked for user in asked.acked)
        return [(asked, user) for asked, user in acked if not asked.is_answered(self._slack, user)]

    def _verify(self) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "bot", "audit", "verify"],
            env={"DATABASE_URL": self._url, "PATH": "", "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            capture_output=True, text=True, check=False, timeout=60, cwd=self._folder,
        )  # fmt: skip
        lines = (done.stdout + done.stderr).strip().splitlines()
        self._counts["audit rows"] = int(lines[-2].split()[0]) if done.returncode == 0 else 0
        self._counts["doubtful repeats"] = int(lines[-1].split()[0]) if done.returncode == 0 else 0
        return [] if done.returncode == 0 else [f"The audit trail is not whole: {line}" for line in lines]
