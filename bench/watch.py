"""What the watch costs: calls, CPU time and memory of a cycle, and a storm of a thousand nodes."""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.models import ARRIVED_SECONDS, Alert, Cluster, Remediation, RepairLoad, Snapshot, TrackedMessage
from bot.settings import read_settings
from bot.store import Database, messages
from bot.watcher import calls, schedule
from bot.watcher.listings import fingerprint_of
from bot.wiring import card_config, watch_config
from handlers.connection import Identity
from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Posted, Slack
from tests.simulator.slack.limits import Limits
from tests.simulator.slack.workspace import BOT_USER, TEAM
from tests.simulator.together import Ids, Together

CLUSTERS, PAGE = 100, 100
POLL = 5
CHANNEL = "C0OPS"
TICKS = os.sysconf("SC_CLK_TCK")
BACKLOGS = (2_500, 10_000)
IDLE_ROUNDS = 4
CHANGES = (25, 50)
STORM = 1_000
REVIEW = "digest:review"


@dataclass
class Measured:
    """What a bot used in some cycles, the CPU time of reading taken off."""

    extra: float
    memory: float
    together: Counter[str]
    slack: Counter[str]


class Bot:
    """A bot as a process, whose use of the machine can be read."""

    def __init__(self, pid: int, slack: Slack, together: Together, database: Path) -> None:
        self._pid, self._database = pid, database
        self.slack, self.together = slack, together

    @property
    def cpu(self) -> float:
        """Seconds of CPU time until now."""
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        lines = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    @property
    def _lists(self) -> int:
        return sum(call.verb == "list" for call in self.together.calls)

    async def rounds(self, count: int) -> None:
        """Wait until every cluster was read so often."""
        pages = -(-len(self.together.remediations) // (CLUSTERS * PAGE)) * CLUSTERS
        wanted = self._lists + count * pages
        while self._lists < wanted:
            await self.together.news()

    async def calm(self) -> None:
        """Wait until it has taken over what an earlier process left: compared with Slack, and looked at once more."""
        await asyncio.sleep(ARRIVED_SECONDS)
        seen = -1
        while self.due() or seen != (seen := sum(method == "conversations.history" for method, _ in self.slack.calls)):
            await self.rounds(3)

    def due(self) -> int:
        """Return how many messages have something to do now."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            due = "SELECT count(*) FROM messages WHERE is_open AND next_at <= ?"
            return int(database.execute(due, (time.time(),)).fetchone()[0])

    async def used(self, rounds: int) -> float:
        """Seconds of CPU time in this many rounds."""
        began = self.cpu
        await self.rounds(rounds)
        return self.cpu - began


@asynccontextmanager
async def bot_beside(slack: Slack, together: Together, folder: Path) -> AsyncIterator[Bot]:
    """Run a bot on what the folder's database has."""
    port = free_port()
    process = start_bot(folder, _environ(slack, together, folder), port=port, log=folder / "bot.log")
    try:
        await ready(slack, port)
        yield Bot(process.pid, slack, together, folder / "bot.db")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 40)


def _environ(slack: Slack, together: Together, folder: Path) -> dict[str, str]:
    return {
        **variables(slack, together),
        "DATABASE_URL": f"sqlite:///{folder}/bot.db",
        "BOT_ALERT_CHANNEL": CHANNEL,
        "BOT_POLL_SECONDS": str(POLL),
        "LOG_LEVEL": "ERROR",
    }


async def cycles() -> None:
    """Print what a cycle over 100 clusters costs, by backlog and by changes."""
    print(f"\nThe watch: {CLUSTERS} clusters, pages of {PAGE}, a cycle every {POLL} s, the bot in a separate process")
    extra: dict[tuple[int, int], float] = {}
    for backlog in BACKLOGS:
        with tempfile.TemporaryDirectory() as name:
            async with Slack() as slack, Together(slack.now) as together:
                together.max_page = PAGE
                ids = [
                    together.add((f"cluster-{number % CLUSTERS}", f"node-{number}", f"r-{number:05d}"))
                    for number in range(backlog)
                ]
                await _tell_all(Path(name), slack, together, ids)
                async with bot_beside(slack, together, Path(name)) as bot:
                    await bot.calm()
                    idle = await bot.used(IDLE_ROUNDS) / IDLE_ROUNDS
                    print(f"  {backlog} open: {idle:.2f} s of CPU to read a cycle, {bot.memory:.0f} MiB")
                    for changes in CHANGES:
                        one = await _measure(bot, ids, changes, idle)
                        extra[backlog, changes] = one.extra
                        print(
                            f"    {changes} change: {_counted(one.together)} in the cycle; {_counted(one.slack)}; "
                            f"{one.extra:.2f} s of CPU more, {one.memory:.0f} MiB",
                            flush=True,
                        )
    (few, many), (small, large) = CHANGES, BACKLOGS
    for backlog in BACKLOGS:
        ratio = extra[backlog, many] / max(0.01, extra[backlog, few])
        print(f"  CPU for {many} changes / for {few}, {backlog} open: {ratio:.2f} (linear: {many / few:.2f})")
    ratio = extra[large, many] / max(0.01, extra[small, many])
    print(f"  CPU for {many} changes, {large} open / {small} open: {ratio:.2f} (not growing: 1.00)", flush=True)


def _counted(calls: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(calls.items())) or "no calls"


async def _tell_all(folder: Path, slack: Slack, together: Together, ids: list[Ids]) -> None:
    """Leave behind what a bot leaves that has posted them all."""
    settings = read_settings(_environ(slack, together, folder))
    database = Database(settings.database_url)
    await database.open()
    config, told = watch_config(settings, CHANNEL, card_config(settings, Identity(TEAM, "", BOT_USER))), []
    open_in = Counter(cluster_id for cluster_id, *_ in ids)
    for number, each in enumerate(ids):
        remediation = Remediation.model_validate(together.remediations[each])
        cluster = Cluster.model_validate(together.describe(each[0]))
        load = RepairLoad(0, cluster.nodes, 0.0, cluster.cluster_name or "", open_in[each[0]])
        alert = Alert(remediation, fingerprint_of(together.remediations[each]), share=load)
        card = TrackedMessage(f"m{number}", False, each[0], CHANNEL, reminders=calls.MAX_REMINDERS, next_at=None)
        message = schedule.content(Snapshot(card, [alert], {}, [], is_being_decided=False, now=0.0), config)
        ids_of = dict(zip(("cluster_id", "instance_id", "remediation_id"), each, strict=True))
        metadata = {"event_type": "remediation_alert", "event_payload": ids_of}
        ts = slack.post_as_tool(message.marked_blocks, text=message.text, metadata=metadata).ts
        told.append((alert, replace(card, ts=ts, content_hash=message.fingerprint)))
    await database.run(messages.add_cards, told, 0)
    await database.close()


def _said(calls: list[tuple[str, Any]]) -> Counter[str]:
    return Counter(method for method, _ in calls if method.startswith(("chat.", "views.")))


async def _measure(bot: Bot, ids: list[Ids], changes: int, idle: float) -> Measured:
    """What it takes to tell of this many changes: each has an edit of its card and a line in its thread.

    Slack's pace spreads that over several cycles; the reading of those is taken off.
    """
    slack, together = bot.slack, bot.together
    calls, said = len(together.calls), len(slack.calls)
    for each in ids[:: len(ids) // changes][:changes]:
        if together.state(each) == "PENDING_APPROVAL":
            together.review(each, "approve")
        else:
            together.advance(each)
    began = bot.cpu
    await bot.rounds(1)
    read = Counter(call.verb for call in together.calls[calls:])
    rounds = 1
    while _said(slack.calls[said:])["chat.postMessage"] < changes or bot.due():
        await bot.rounds(1)
        rounds += 1
    return Measured(bot.cpu - began - rounds * idle, bot.memory, read, _said(slack.calls[said:]))


async def storm(nodes: int = STORM) -> bool:
    """Print what a storm of a thousand costs. False where Slack's limits were exceeded."""
    print(f"\nA false alarm on {nodes} nodes, all cancelled with one selection; Slack's limits are enforced")
    with tempfile.TemporaryDirectory() as name:
        async with Slack() as slack, Together(slack.now) as together:
            together.clusters["cluster-1"] = "H100"
            slack.limits = Limits()
            async with bot_beside(slack, together, Path(name)) as bot:
                ids, fell_ill = await false_alarm(together, nodes), time.monotonic()
                message = await digest_of(slack, nodes)
                told = time.monotonic()
                await slack.press(message, REVIEW)
                while not slack.views:
                    await slack.news()
                began = time.monotonic()
                await slack.submit(slack.views[0], **{"review:verb": "cancel"})
                await slack.submit(slack.views[-1])
                while any(together.state(ids) != "CANCELLED" for ids in ids):
                    await together.news()
                decided = time.monotonic()
                while (
                    f"{nodes} of {nodes} cancelled" not in message.everything
                    or "Nothing left to decide" not in message.text
                ):
                    await slack.news()
                while not slack.replies(message):
                    await slack.news()
                shown = time.monotonic()
                calls = _said(slack.calls)
                print(f"  told after {told - fell_ill:.1f} s; dialog to last decision {decided - began:.1f} s, "
                      f"to every outcome shown {shown - began:.1f} s; {bot.memory:.0f} MiB")  # fmt: skip
                print(
                    f"  Slack: {_counted(calls)}; refused for its limits: {len(slack.refused_for_limits)}", flush=True
                )
                return not slack.refused_for_limits


async def false_alarm(together: Together, nodes: int) -> list[Ids]:
    """Let this many nodes break at once, after the bot has looked at what there was before."""
    while not [call for call in together.calls if call.verb == "list"]:
        await together.news()
    return [
        together.add(("cluster-1", f"node-{number}", f"r-{number:05d}"), instance_name=f"gpu-node-{number:04}")
        for number in range(nodes)
    ]


async def digest_of(slack: Slack, nodes: int) -> Posted:
    """Wait until a digest has this many nodes."""
    while not (digests := slack.digests()) or not digests[0].text.startswith(f"{nodes} "):
        await slack.news()
    return digests[0]
