"""A simulated year of a large fleet: what it posts, stores, and costs. `python -m bench.scale --days 365`.

The bot's own parts, database and all, on a clock that jumps to the next moment at which something happens. Together and
Slack are the simulators of the tests, called without sockets; Slack's limits are enforced. Ctrl-C ends it early, and it
reports what it has.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from bench.fleet import HOUR, Clusters, Fleet, InProcessClient, Office
from bot.settings import read_settings
from bot.store import Database, DecisionStore, audit, health
from bot.tasks import Tasks
from bot.wiring import MAX_AT_ONCE, Connections, build_bot, together_client
from handlers.connection import Identity
from tests.simulation.loop import SeededLoop
from tests.simulator.process import variables
from tests.simulator.slack.workspace import BOT_USER, TEAM
from tests.simulator.together import Together

logger = logging.getLogger(__name__)

CHANNEL = "C0OPS"
SEED = 20_261_126
REPORT_DAYS = 10


def seeded_loop() -> SeededLoop:
    """Return the loop that a year passes on."""
    return SeededLoop(random.Random(SEED))  # noqa: S311 - repeatable, not secret


@asynccontextmanager
async def bot_of(
    loop: SeededLoop, slack: Office, clusters: Clusters, path: Path
) -> AsyncIterator[tuple[Database, list["asyncio.Task[None]"]]]:
    """Run the bot's parts, put together as the process does it but for its connections. Yields those that never end."""
    clock = loop.clock
    environ = variables(slack, Together(clock.now)) | {
        "SLACK_API_URL": "http://127.0.0.1/api/",
        "TOGETHER_BASE_URL": "http://127.0.0.1/v1",
        "BOT_ALERT_CHANNEL": CHANNEL,
        "BOT_POLL_SECONDS": "3600",
        "BOT_REMIND_MINUTES": "60",
        "BOT_ONCALL": "U0ALICE",
        "BOT_LEASE_SECONDS": "300",
        "DATABASE_URL": f"sqlite:///{path}",
    }
    settings, tasks = read_settings(environ), Tasks(MAX_AT_ONCE, clock=clock)
    database = Database(settings.database_url, clock)
    await database.open()
    store, client = DecisionStore(database, settings.bot_lease_seconds, clock), InProcessClient(slack)
    async with clusters, aiohttp.ClientSession() as session:
        together = together_client(settings, clusters, clock, None)
        connections = Connections(Identity(TEAM, "", BOT_USER), client, client, session, together, together, None)
        bot = build_bot(
            settings, connections, store, tasks, clock, report=_report, warn=lambda _about, problem: _report(problem)
        )
        slack.bolt = bot.bolt
        assert bot.watcher
        running = [asyncio.create_task(each.run()) for each in (bot.recovery, bot.watcher)]
        try:
            yield database, running
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            await tasks.drain(25)
            await database.close()


async def simulate(
    loop: SeededLoop, days: int, fleet: Fleet, path: Path, enough: Sequence[int] = (), *, hours: int = 24
) -> None:
    """Run it, and print what it comes to every ten days, and at the end of the day in which `enough` gets an item.

    Args:
        hours: after which a day is over.
    """
    slack, clusters = fleet.slack, fleet.clusters
    async with bot_of(loop, slack, clusters, path) as (database, parts):
        await asyncio.sleep(2 * HOUR)
        slack.tidy()
        slack.channel.clear()
        slack.said.clear()
        breaking = asyncio.create_task(fleet.run())
        began, cpu = time.process_time(), 0.0
        for day in range(1, days + 1):
            for _ in range(hours):
                await asyncio.sleep(HOUR)
                slack.tidy()
                for task in (breaking, *parts):
                    if task.done():
                        task.result()
            if day % REPORT_DAYS == 0 or day == days or enough:
                spent = (time.process_time() - began - cpu) / (day % REPORT_DAYS or REPORT_DAYS)
                cpu = time.process_time() - began
                print(
                    f"day {day}: {fleet.broken} broken, {_messages(slack, day)}, "
                    f"{_size(path) / 2**20:.0f} MiB of database, {_resident():.0f} MiB of memory, "
                    f"{spent:.1f} s of CPU a day",
                    flush=True,
                )
            if enough:
                break
        breaking.cancel()
        with suppress(asyncio.CancelledError):
            await breaking
        report(fleet, day)
        await measure(database, path, fleet.broken)


def report(fleet: Fleet, days: int) -> None:
    """Print the counts."""
    slack = fleet.slack
    print(f"broken nodes: {fleet.broken}, {fleet.broken / days:.0f} a day; {fleet.alarms} false alarms")
    print(f"ends: {dict(fleet.ends.most_common())}; acks: {dict(slack.acks)}")
    print(f"in the channel: {_messages(slack, days)}")
    print(f"Slack: {dict(slack.said.most_common())}; refused for its limits: {len(slack.refused_for_limits)}")
    print(f"Together: {dict(fleet.clusters.calls.most_common())}")


async def measure(database: Database, path: Path, count: int) -> None:
    """Print what the database has become, and what it takes to read it."""
    size = _size(path)
    print(f"database: {size / 2**20:.0f} MiB, {size / count / 1024:.1f} KiB per remediation")
    began = time.perf_counter()
    await database.read(health, is_watching=True)
    print(f"health figures: {1000 * (time.perf_counter() - began):.1f} ms")
    began = time.perf_counter()
    checked = await audit.verify(database)
    print(f"audit trail: {checked} verified in {time.perf_counter() - began:.1f} s")


def _messages(slack: Office, days: int) -> str:
    by_day = sorted(slack.channel[day] for day in range(days))
    return f"{by_day[0]} to {by_day[-1]} messages a day, {statistics.median(by_day):.0f} in the median"


def _report(problem: str) -> None:
    if problem:
        logger.error("%s", problem)


def _size(path: Path) -> int:
    return sum(path.stat().st_size for path in path.parent.glob(f"{path.name}*"))


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=100, help="in each cluster")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=seeded_loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SeededLoop)
        interrupts: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        fleet = Fleet(Clusters(given.clusters, loop.clock.now), Office(loop.clock.now), given.nodes, SEED)
        runner.run(simulate(loop, given.days, fleet, Path(folder) / "bot.db", interrupts))


if __name__ == "__main__":
    main()
