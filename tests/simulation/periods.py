"""Faults that last for a while, and what each does to the world or to one bot."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from tests.simulation import ending, fleet
from tests.simulation.names import CHANNEL

if TYPE_CHECKING:
    from tests.simulation.world import Running, World

STEPS = (-30.0, -3.0, 3.0, 30.0)  # by which a clock is set
CLOCK_STEPS, CLOCK_DRIFTS, DATABASE_STEPS = "clock stepped", "clock drifts", "database clock stepped"
Trouble = Callable[["World", "Running", random.Random], Coroutine[Any, Any, None]]


def _database(becomes: str, most: float) -> Trouble:
    async def last(world: "World", _running: "Running", chance: random.Random) -> None:
        world.database_is = becomes
        await asyncio.sleep(chance.uniform(1.0, most))
        world.database_is = ""

    return last


def _line(becomes: str) -> Trouble:
    async def last(_world: "World", running: "Running", chance: random.Random) -> None:
        running.line = becomes
        await asyncio.sleep(chance.uniform(1.0, 90.0))
        running.line = ""

    return last


async def _killed(world: "World", running: "Running", chance: random.Random) -> None:
    if running not in world.bots:
        return
    world.kill(running)
    await asyncio.sleep(chance.uniform(0.0, 60.0))
    if len(world.bots) < world.size:  # another one may have taken its place since
        world.start()


async def _stopped(world: "World", running: "Running", chance: random.Random) -> None:
    if running.is_stopping or running not in world.bots:
        return
    await world.stop(running)
    await asyncio.sleep(chance.uniform(0.0, 30.0))
    if len(world.bots) < world.size:  # another one may have taken its place since
        world.start()


async def _suspended(world: "World", running: "Running", chance: random.Random) -> None:
    if running not in world.bots or running.is_stopping:
        return
    world.loop.suspend(running.process)
    before = ending.taken_over(world)
    await asyncio.sleep(chance.choice((5.0, 45.0, 150.0)) * chance.uniform(0.5, 1.5))
    if ending.taken_over(world) > before:
        world.history.marks.add("a suspended bot wakes after its work was taken over")
    world.loop.resume(running.process)


async def _stepped(world: "World", running: "Running", chance: random.Random) -> None:
    steps = STEPS if world.is_alone else (-3600.0, *STEPS, 3600.0)  # SQLite's clock is that of its process
    running.skew = chance.choice(steps)  # not added to the step of another such period
    await asyncio.sleep(chance.uniform(10.0, 120.0))
    running.skew = 0.0


async def _database_stepped(world: "World", _running: "Running", chance: random.Random) -> None:
    """Let the database move to a host with another clock, and back."""
    world.database_skew = chance.choice(STEPS)
    world.history.note(world.loop.time(), f"the database's clock is {world.database_skew:.0f} s ahead")
    await asyncio.sleep(chance.uniform(10.0, 300.0))
    world.database_skew = 0.0
    world.history.note(world.loop.time(), "the database's clock is right")


async def _drifts(world: "World", running: "Running", chance: random.Random) -> None:
    running.drift, running.drifts_since = chance.uniform(-0.01, 0.01), world.loop.time()
    await asyncio.sleep(chance.uniform(60.0, 300.0))
    running.drift = 0.0


async def _unreadable(world: "World", _running: "Running", chance: random.Random) -> None:
    world.history_is_unreadable = True
    await asyncio.sleep(chance.uniform(10.0, 120.0))
    world.history_is_unreadable = False


async def _lag(world: "World", _running: "Running", chance: random.Random) -> None:
    seconds = chance.uniform(5.0, 40.0)
    fleet.lag(world, seconds)
    await asyncio.sleep(seconds)


async def _cluster_unreadable(world: "World", _running: "Running", chance: random.Random) -> None:
    cluster = chance.choice(("c-a", "c-b"))
    world.together.unreadable[cluster] = chance.choice((5, 7, 13))
    await asyncio.sleep(chance.choice((20.0, 120.0, 600.0)) * chance.uniform(0.5, 1.5))
    world.together.unreadable.pop(cluster, None)


async def _channel_closed(world: "World", _running: "Running", chance: random.Random) -> None:
    channel = world.slack.channels[CHANNEL]
    is_archived = chance.random() < 0.5
    channel.is_archived, channel.bot_may_post = is_archived, is_archived
    await asyncio.sleep(chance.choice((20.0, 120.0, 600.0)) * chance.uniform(0.5, 1.5))
    channel.is_archived, channel.bot_may_post = False, True


async def _slack_away(world: "World", _running: "Running", chance: random.Random) -> None:
    """Let Slack take nothing that a bot says, and tell the bots all the same what people do."""
    world.slack_is_away = True
    await asyncio.sleep(chance.choice((30.0, 120.0, 600.0)) * chance.uniform(0.5, 1.5))
    world.slack_is_away = False


async def _long_away(world: "World", _running: "Running", chance: random.Random) -> None:
    """End all bots, and start them again after a day or two, which pass at once."""
    for running in list(world.bots):
        world.kill(running)
    await asyncio.sleep(chance.uniform(0.0, 5.0))
    for running in list(world.bots):  # which another period has started since
        world.kill(running)
    world.loop.skip(chance.uniform(20.0, 60.0) * 3600.0)
    while len(world.bots) < world.size:
        world.start()


PERIODS = {
    "together unreadable cluster": _cluster_unreadable,
    "slack channel closed": _channel_closed,
    "slack away": _slack_away,
    "process away for days": _long_away,
    "database away": _database("away", 60.0),
    "database frozen": _database("frozen", 40.0),
    "database slow": _database("slow", 60.0),
    "line cut": _line("cut"),
    "line frozen": _line("frozen"),
    "process killed": _killed,
    "process stopped": _stopped,
    "process suspended": _suspended,
    CLOCK_STEPS: _stepped,
    CLOCK_DRIFTS: _drifts,
    DATABASE_STEPS: _database_stepped,
    "history unreadable": _unreadable,
    "lists lag": _lag,
}
