"""Chaos for the watch: processes are killed while nodes break, people click and Together and Slack fail.

Afterwards there must be one alert per remediation, every card must be true, and nobody reminded of what was decided.
"""

import asyncio
import re
from collections.abc import Awaitable

import aiohttp

from tests.chaos.harness import Chaos, Report
from tests.chaos.lines import CutLines
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Ids, RpcError
from tests.world import APPROVE, CANCEL

CLUSTERS = 8  # the bot learns of new ones every ten minutes, so these are all there are
WORDS = {
    "PENDING_APPROVAL": "Approval needed:", "PENDING": "ueued:", "QUARANTINING": "Cordoning the host:",
    "QUARANTINED": "Host cordoned:", "FAILED": "Failed:", "CANCELLED": "Cancelled:",
    "AUTO_RESOLVED": "recovered on its own", "RUNNING": "Rebooting ", "SUCCEEDED": "Rebooted ",
}  # fmt: skip
ESCALATED = {"RUNNING": "Reprovisioning ", "SUCCEEDED": "Reprovisioned "}


class WatchChaos(Chaos):
    """Broken nodes, clicks and progress while processes die and both services fail."""

    kill_every = (0.5, 3.0)
    _ids: list[Ids]

    def settings(self) -> dict[str, str]:
        """Watch often, and remind soon."""
        return {"BOT_ALERT_CHANNEL": "C0OPS", "BOT_POLL_SECONDS": "1", "BOT_REMIND_MINUTES": "1"}

    def troubles(self) -> list[Awaitable[None]]:
        """Break nodes, let repairs proceed, click, and let calls to both services fail."""
        self._ids = []
        return [self._break_nodes(), self._proceed(), self._click(), self._fail()]

    async def _run(self) -> Report:
        self.together.clusters.update({f"cluster-{number}": "H100" for number in range(CLUSTERS)})
        return await super()._run()

    def unsettled(self) -> list[str]:
        """What is not shown as it is: each remediation that waits has a card, and each card says what is."""
        problems: list[str] = []
        untold: list[str] = []
        digests = self.slack.digests()
        for ids in self._ids:
            state, cards = self.together.state(ids), self.slack.cards(ids[2])
            # On a slow machine many are found at once, and gathered.
            if state == "PENDING_APPROVAL" and not cards and not any(_names(message, ids) for message in digests):
                untold.append(f"{ids[2]} waits, and no card or digest says so")
            problems += [f"{ids[2]} is {state}: {card.text[:60]}" for card in cards if not _says(card, state)]
        return problems + untold[sum(map(_unnamed, digests)) :]

    def verdict(self) -> list[str]:
        """What was posted twice, or came after a decision."""
        self._count_alerts()
        self.counts["edits"] = sum(message.edits for message in self.slack.messages)
        self.counts["lines in threads"] = len([message for message in self.slack.messages if message.thread_ts])
        problems = []
        for ids in self._ids:
            cards = self.slack.cards(ids[2])
            if len(cards) > 1:
                problems.append(f"{ids[2]} has {len(cards)} alerts")
            lines = [reply.text for card in cards for reply in self.slack.replies(card)]
            ended = next((number for number, line in enumerate(lines) if "pproved" in line or "ancelled" in line), None)
            if ended is not None and any("has been waiting" in line for line in lines[ended + 1 :]):
                problems.append(f"{ids[2]} was reminded of after a decision")
        return problems

    async def _break_nodes(self) -> None:
        """One node after the other: few enough in a minute and cluster that each has a card."""
        number = 0
        while self.goes_on:
            number += 1
            cluster = f"cluster-{number % CLUSTERS}"
            self._ids.append(self.together.add((cluster, f"node-{number}", f"remediation-{number:06d}-")))
            self.counts["broken nodes"] += 1
            await self.sleep(1.7, 2.5)
            self._count_alerts()

    def _count_alerts(self) -> None:
        self.counts["alerts"] = len([ids for ids in self._ids if self.slack.cards(ids[2])])

    async def _proceed(self) -> None:
        """Work continues, fails, escalates or resolves; somebody decides in Together's console."""
        while self.goes_on:
            await self.sleep(0.3, 1)
            if not self._ids:
                continue
            ids = self.random.choice(self._ids)
            try:
                self._happen(ids, self.random.choice(["advance", "fail", "escalate", "resolve", "review", "nothing"]))
                self.counts["changes"] += 1
            except RpcError:
                pass

    def _happen(self, ids: Ids, what: str) -> None:
        together, is_rare = self.together, self.random.random() < 0.3
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

    async def _click(self) -> None:
        while self.goes_on:
            await self.sleep(0.5, 2)
            cards = [message for message in self.slack.messages if message.metadata and APPROVE in message.buttons]
            if not cards:
                continue
            card = self.random.choice(cards)
            try:
                ack = await self.slack.press(card, self.random.choice([APPROVE, CANCEL]))
            except (aiohttp.ClientError, OSError):
                continue
            self.counts["clicks acked"] += ack.status == 200

    async def _fail(self) -> None:
        while self.goes_on:
            await asyncio.sleep(0.3)
            if len(self.together.faults) < 2:
                kind, verb = self.random.choice(["rpc", "cut", "html"]), self.random.choice(["list", "get", "approve"])
                self.together.faults.append(Fault(kind, verb=verb, code=14, status=502, after=True))
                self.counts["faults"] += 1
            if len(self.slack.faults) < 2:
                method = self.random.choice(["chat.postMessage", "chat.update"])
                kind = self.random.choice(["drop", "html", "internal_error"])
                self.slack.faults.append(SlackFault(method, kind, after=self.random.random() < 0.5))
                self.counts["faults"] += 1
            self.together.faults = [fault for fault in self.together.faults if fault.times]
            self.slack.faults = [fault for fault in self.slack.faults if fault.times]


def _names(digest: Posted, ids: Ids) -> bool:
    """Whether a digest names a node, as in "node-6, 14–16"."""
    number = int(ids[1].removeprefix("node-"))
    runs = [run for found in re.findall("node-([0-9, –]+)", digest.text) for run in found.split(",") if run.strip()]
    ends = [run.strip().partition("–") for run in runs]
    return any(int(first) <= number <= int(last or first) for first, _, last in ends)


def _unnamed(digest: Posted) -> int:
    """How many a digest counts and has no room to name, as in "Reboot (9): node-1 in cluster-1, node-2 in c…"."""
    cut = re.findall(r"\((\d+)\): (node-\d+ in .*)…$", digest.text, re.MULTILINE)
    # The last one may be cut right behind its number, and is named all the same.
    return sum(int(count) - len(set(re.findall(r"node-\d+", names))) for count, names in cut)


def _says(card: Posted, state: str) -> bool:
    has_buttons = APPROVE in card.buttons
    is_said = any(words[state] in card.title for words in (WORDS, ESCALATED) if state in words)
    return is_said and has_buttons == (state == "PENDING_APPROVAL")


class WatchOutageChaos(CutLines, WatchChaos):
    """The same, while the lines to PostgreSQL are cut at random moments."""
