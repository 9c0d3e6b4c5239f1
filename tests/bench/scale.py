"""Some simulated days of a large fleet: what it posts, stores, and costs. `python -m tests.bench.scale --days 7`.

100 clusters with 1,000 nodes each. A node breaks 0.0038 times a day: 419 unexpected interruptions in 54 days on 16,384
GPUs, eight to a node ("The Llama 3 Herd of Models", 2024, section 3.3.4). A false alarm hits 150 nodes of a cluster.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.simulator.slack import Posted
from tests.simulator.together import Ids
from tests.watch import enforce_slacks_limits, quiet, watching
from tests.world import APPROVE, CANCEL, World

CLUSTERS, NODES = 100, 1000
PER_NODE_AND_DAY = 419 / 54 / (16_384 / 8)
HOUR, DAY = 3600.0, 86_400.0
ALARM_HOUR, ALARM_NODES = 6, 150
SEED = 20_261_126
AT_WORK = {"PENDING", "QUARANTINING", "QUARANTINED", "RUNNING"}


class Fleet:
    """What breaks, and what people and Together do about it, hour by hour."""

    def __init__(self, bot: World) -> None:
        self._bot = bot
        self._chance = random.Random(SEED)  # noqa: S311 - a simulation
        self._open: list[Ids] = []
        self.broken = 0

    def break_some(self, hour: int) -> None:
        """Break as many nodes as break in an hour, and more in a false alarm."""
        mean = CLUSTERS * NODES * PER_NODE_AND_DAY / 24
        count = max(0, round(self._chance.gauss(mean, mean**0.5)))
        places = [(self._chance.randrange(CLUSTERS), self._chance.randrange(NODES)) for _ in range(count)]
        if hour == ALARM_HOUR:
            places += [(7, node) for node in range(ALARM_NODES)]
        for cluster, node in places:
            self.broken += 1
            ids = (f"cluster-{cluster}", f"i-{cluster}-{node}", f"r-{self.broken}")
            mode = self._chance.choice(["REBOOT_VM", "REBOOT_VM", "VM_ONLY", "HOST_AWARE"])
            self._bot.together.add(ids, mode=f"REMEDIATION_MODE_{mode}", instance_name=f"gpu-{cluster}-{node}")
            self._open.append(ids)

    async def decide(self) -> None:
        """Approve most of what waits, cancel some, and let what was approved run to its end."""
        slack, together = self._bot.slack, self._bot.together
        cards = {each.metadata["event_payload"].get("remediation_id"): each for each in slack.messages if each.metadata}
        for ids in list(self._open):
            state = together.state(ids)
            if state == "PENDING_APPROVAL":
                await self._answer(ids, cards.get(ids[2]))
            elif state in AT_WORK:
                together.advance(ids)
            else:
                self._open.remove(ids)

    async def _answer(self, ids: Ids, card: Posted | None) -> None:
        fate = self._chance.random()
        if fate < 0.1 or card is None or APPROVE not in card.buttons:
            self._bot.together.resolve(ids)
        elif fate < 0.9:
            await self._bot.slack.press(card, APPROVE if fate < 0.75 else CANCEL)


async def pass_time(bot: World, seconds: float) -> None:
    """Let time pass, a waking at a time, and none while a call is on its way: it would end for lack of an answer."""
    end = bot.time.seconds + seconds
    while bot.time.seconds < end:
        await quiet(bot)
        while bot.time._limits:  # each is of a call
            await quiet(bot)
        await bot.time.advance(max(0.0, min(bot.time.next_wake, end) - bot.time.seconds))


async def simulate(days: int) -> None:
    """Run it, and print what it came to."""
    with tempfile.TemporaryDirectory() as folder:
        async with watching(
            f"sqlite:///{folder}/bot.db", BOT_POLL_SECONDS="600", BOT_REMIND_MINUTES="60", BOT_ONCALL="U0ALICE"
        ) as bot:
            enforce_slacks_limits(bot)
            bot.together.clusters.update({f"cluster-{number}": f"c{number}" for number in range(CLUSTERS)})
            bot.together.nodes.update(dict.fromkeys(bot.together.clusters, NODES))
            await pass_time(bot, 700)
            bot.slack.calls.clear()
            fleet, began, cpu = Fleet(bot), time.monotonic(), time.process_time()
            for hour in range(days * 24):
                fleet.break_some(hour)
                await pass_time(bot, HOUR)
                await fleet.decide()
                if hour % 24 == 23:
                    print(f"day {hour // 24 + 1}: {fleet.broken} broken", flush=True)
            await pass_time(bot, 700)
            report(bot, fleet, days, time.process_time() - cpu, time.monotonic() - began)
            size = await asyncio.to_thread(_size, Path(folder))
            print(f"database: {size / 2**20:.1f} MiB, {size / fleet.broken / 1024:.1f} KiB per remediation")
            print(f"memory: {_resident():.0f} MiB, simulators included")


def report(bot: World, fleet: Fleet, days: int, cpu: float, took: float) -> None:
    """Print the counts."""
    methods = Counter(method for method, _ in bot.slack.calls)
    posted = [each for each in bot.slack.messages if each.thread_ts is None and each.only_for is None]
    first = float(bot.slack.messages[0].ts)
    by_day = Counter(int((float(each.ts) - first) // DAY) for each in posted)
    print(f"broken nodes: {fleet.broken} in {days} days, {fleet.broken / days:.0f} a day")
    print(f"messages in the channel: {len(posted)}, a day {dict(sorted(by_day.items()))}")
    print(f"replies in threads: {sum(each.thread_ts is not None for each in bot.slack.messages)}")
    print(f"Slack calls: {dict(methods.most_common())}")
    print(f"refused for Slack's limits: {len(bot.slack.refused_for_limits)}")
    print(f"CPU, simulators included: {cpu:.0f} s, {1000 * cpu / fleet.broken:.0f} ms per remediation; in {took:.0f} s")


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir())


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    asyncio.run(simulate(parser.parse_args().days))
