"""Chaos for decisions: commands and clicks arrive while processes are killed and Together fails.

Afterwards all that was acked must be answered.
"""

import asyncio
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.chaos.harness import Chaos
from tests.chaos.lines import CutLines
from tests.simulator.slack import Posted, Slack
from tests.simulator.together import Call, Fault, Ids
from tests.world import APPROVE, CANCEL, as_alert

REMEDIATION = re.compile(r"remediation-\d{6}-")
VERBS = ("command", APPROVE, CANCEL)
NO = ("wasn't sent", "othing was sent", "othing changed", "othing was changed")


@dataclass
class Asked:
    """One thing that was asked for, by one or two people at once.

    Attributes:
        users: who asked. What wasn't acked may have been recorded, and is done then.
        acked: who was told "received", and the response_url that came with it.
        told_in_ack: what a command was answered at once.
    """

    ids: Ids
    verb: str
    alert: Posted | None
    users: list[str]
    acked: dict[str, str] = field(default_factory=dict)
    told_in_ack: str = ""

    def messages(self, said: "Said", user: str) -> list[Posted]:
        """What answers one person: a card, an error, or a private word."""
        told = [*said.through[self.acked[user]], *said.about[self.ids[2]]]
        return list({id(message): message for message in told if message is not self.alert}.values())

    def is_answered(self, said: "Said", user: str) -> bool:
        """Whether one person can see an answer: one of those, or the alert redrawn."""
        redrawn = self.alert is not None and self.alert.edits > 0 and not is_in_progress(self.alert)
        return redrawn or bool(self.messages(said, user))


class Said:
    """What the workspace shows, by how it came there, and by the remediation; read once, since it is long."""

    def __init__(self, slack: Slack) -> None:
        self.through: defaultdict[str | None, list[Posted]] = defaultdict(list)
        self.about: defaultdict[str, list[Posted]] = defaultdict(list)
        for message in slack.messages:
            if is_in_progress(message):
                continue
            self.through[message.via].append(message)
            if message.only_for is None:
                for remediation_id in set(REMEDIATION.findall(message.everything)):
                    self.about[remediation_id].append(message)


def is_in_progress(message: Posted) -> bool:
    """Whether a message only says who is at it."""
    return any(words in message.text for words in ("approving this…", "cancelling this…"))


class DecisionChaos(Chaos):
    """Commands and clicks while processes die and Together fails."""

    _asked: list[Asked]
    _wasted: list[Call]

    def troubles(self) -> list[Awaitable[None]]:
        """Ask for decisions, and let calls to Together fail."""
        self._asked, self._wasted = [], []
        self.together.before_decision = self._note_waste
        return [self._ask(), self._disturb()]

    def unsettled(self) -> list[str]:
        """Who was acked and has no answer."""
        acked, said = [(asked, user) for asked in self._asked for user in asked.acked], Said(self.slack)
        waiting = [(asked, user) for asked, user in acked if not asked.is_answered(said, user)]
        self.counts["answered"] = len(acked) - len(waiting)
        return [f"{user} was not answered: {asked.verb} {asked.ids[2]}" for asked, user in waiting]

    def verdict(self) -> list[str]:
        """POSTs for what was in effect already, and an audit trail that isn't whole."""
        said = Said(self.slack)
        told = [len(asked.messages(said, user)) for asked in self._asked for user in asked.acked]
        self.counts["answered by two messages"] = len([count for count in told if count > 1])
        self.counts["POSTs"] = len(self.together.posts)
        return [f"A POST was sent for what was in effect already: {call}" for call in self._wasted] + self._verify()

    def _note_waste(self, call: Call) -> None:
        """Each decision here is asked for once, so a POST that finds its effect in place should not have been sent."""
        if call.ids and self.together.state(call.ids) != "PENDING_APPROVAL":
            self._wasted.append(call)

    async def _ask(self) -> None:
        number = 0
        asking: list[asyncio.Task[None]] = []
        while self.goes_on:
            number += 1
            ids = self.together.add(("cluster-1", f"node-{number}", f"remediation-{number:06d}-"))
            verb = self.random.choice(VERBS)
            alert = None if verb == "command" else self.slack.post_as_tool(as_alert(self.together.remediations[ids]))
            users = ["U0ALICE", "U0BOB"] if alert and self.random.random() < 0.3 else ["U0ALICE"]
            asked = Asked(ids, verb, alert, users)
            self._asked.append(asked)
            asking += [asyncio.create_task(self._deliver(asked, user)) for user in users]
            await self.sleep(0.02, 0.15)
        await asyncio.gather(*asking)

    async def _deliver(self, asked: Asked, user: str) -> None:
        """Deliver to any one process, as a balancer does. A refused connection is an error that the person sees."""
        self.counts["asked"] += 1
        url = self.slack.response_url("C0OPS", user, asked.alert)
        try:
            if asked.alert:
                ack = await self.slack.press(asked.alert, asked.verb, user=user, response_url=url)
            else:
                ack = await self.slack.command(" ".join(asked.ids), user=user, response_url=url)
        except (aiohttp.ClientError, OSError):
            self.counts["not delivered"] += 1
            return
        if ack.status == 200 and ack.body:
            asked.told_in_ack = ack.body
            self.counts["answered in the ack"] += 1
            return
        if ack.status == 200:
            asked.acked[user] = url
        self.counts["acked" if ack.status == 200 else "refused"] += 1

    async def _disturb(self) -> None:
        """Let some requests fail, hang and lose their answer, before and after the change."""
        while self.goes_on:
            await asyncio.sleep(0.1)
            if len(self.together.faults) < 3:
                kind = self.random.choice(["rpc", "cut", "late", "html"])
                verb = self.random.choice([None, "approve", "cancel", "get"])
                after = self.random.random() < 0.5
                self.together.faults.append(Fault(kind, verb=verb, after=after, code=14, status=502))
                self.counts["faults"] += 1
            self.together.faults = [fault for fault in self.together.faults if fault.times]

    def _verify(self) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "bot", "audit", "verify"],
            env={"DATABASE_URL": self._url, "PATH": "", "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            capture_output=True, text=True, check=False, timeout=60, cwd=self._folder,
        )  # fmt: skip
        lines = (done.stdout + done.stderr).strip().splitlines()
        self.counts["audit rows"] = int(lines[-2].split()[0]) if done.returncode == 0 else 0
        self.counts["doubtful repeats"] = int(lines[-1].split()[0]) if done.returncode == 0 else 0
        return [] if done.returncode == 0 else [f"The audit trail is not whole: {line}" for line in lines]


class OutageChaos(CutLines, DecisionChaos):
    """The same, while the lines to PostgreSQL are cut at random moments."""

    def verdict(self) -> list[str]:
        """Who was told "no" and got a "yes", besides what else went wrong for good."""
        said = Said(self.slack)
        contradicted = [
            f"{user} was told “{message.text}” about {asked.ids[2]}, which is {self.together.state(asked.ids)}"
            for asked in self._asked
            for user in (asked.acked if len(asked.users) == 1 else ())
            if self.together.state(asked.ids) != "PENDING_APPROVAL"
            for message in asked.messages(said, user)
            if any(words in message.text for words in NO)
        ]
        contradicted += [
            f"The ack said that nothing was sent for {asked.ids[2]}, which is {self.together.state(asked.ids)}"
            for asked in self._asked
            if any(words in asked.told_in_ack for words in NO) and self.together.state(asked.ids) != "PENDING_APPROVAL"
        ]
        return [*super().verdict(), *contradicted]
