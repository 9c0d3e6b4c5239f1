"""Run one seed from its beginning to its judgment."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.simulation import checks, people
from tests.simulation.history import History
from tests.simulation.people import Act
from tests.simulation.world import Running, World, opened

TROUBLED_SECONDS = (300.0, 480.0, 480.0, 480.0, 480.0, 480.0, 480.0, 2700.0)
CALM_SECONDS = 1800.0
ACTS = (10, 25, 50, 80)
Trouble = Callable[[World, Running, random.Random], Coroutine[Any, Any, None]]


@dataclass
class Result:
    """How a world ended.

    Attributes:
        seed: of it.
        hash: of its history; the same in every process.
        problems: what must never be, each with the remediation that it is about.
        faults: those that were on.
        acts: the numbers of the acts that were played.
        marks: what has happened at least once.
        counts: callbacks, transactions, calls, and decisions.
    """

    seed: int
    hash: str
    problems: list[tuple[str, str]]
    faults: Collection[str]
    acts: Collection[int]
    marks: set[str]
    history: History = field(repr=False, default_factory=History)
    counts: Counter[str] = field(default_factory=Counter)


def play(
    seed: int, *, without: Collection[str] = (), also: Collection[str] = (), acts: Collection[int] | None = None
) -> Result:
    """Run the world of a seed.

    Args:
        seed: of everything random.
        without: faults that never strike.
        also: faults that the world has whatever its seed says.
        acts: the numbers of the acts to play; all of them by default.
    """
    logging.disable(logging.CRITICAL)
    with opened(seed, without, also) as world:
        try:
            played = world.loop.run_until_complete(_live(world, acts))
        except Exception as error:
            world.history.wrong(f"the world ended with {type(error).__name__}: {error}")
            played = sorted(acts or ())
            logging.disable(logging.NOTSET)
            logging.getLogger(__name__).exception("seed %d", seed)
    logging.disable(logging.NOTSET)
    history = world.history
    counts = Counter(
        callbacks=world.loop.counted, transactions=world.transactions, calls=world.calls, asked=len(history.asked),
        posts=len(history.sent),
    )  # fmt: skip
    return Result(seed, history.hash, history.problems, world.faults.on, played, history.marks, history, counts)


async def _live(world: World, chosen: Collection[int] | None) -> list[int]:
    world.begin()
    seconds = world.streams["how long"].choice(TROUBLED_SECONDS)
    count = world.streams["how many acts"].choice(ACTS)
    acts = {number: Act(world, number, seconds) for number in range(count)}
    played = sorted(acts if chosen is None else set(chosen) & set(acts))
    await asyncio.sleep(5.0)
    people.break_first_nodes(world)
    tasks = [asyncio.create_task(acts[number].run(), name=f"act {number}") for number in played]
    troubles = [asyncio.create_task(work) for work in _troubles(world, seconds)]
    await asyncio.sleep(seconds)
    world.faults.are_over = True
    await asyncio.gather(*tasks, *troubles)
    world.history.note(world.loop.time(), "# the faults are over")
    while len(world.bots) < world.size:
        world.start()
    await asyncio.sleep(CALM_SECONDS)
    await checks.in_the_end(world, world.bots[0].database)
    world.history.marks |= checks.marks(world) | {name for name, count in world.faults.struck.items() if count}
    return played


def _troubles(world: World, seconds: float) -> list[Coroutine[Any, Any, None]]:
    """Return what lasts for a while, each at a time of its own."""
    return [
        _trouble(world, name, number, seconds, what)
        for name, what in PERIODS.items()
        if name in world.faults.on
        for number in range(world.streams[f"times of {name}"].choice((1, 2, 3)))
    ]


async def _trouble(world: World, name: str, number: int, seconds: float, what: Trouble) -> None:
    chance = random.Random(f"{world.seed} {name} {number}")  # noqa: S311 - repeatable, not secret
    await asyncio.sleep(chance.uniform(0.0, seconds - 100))
    running = await _somebody(world, chance)
    if running is None or world.faults.are_over:
        return
    world.faults.struck[name] += 1
    world.history.marks.add(name)
    world.history.note(world.loop.time(), f"! {name} ({running.process})")
    await what(world, running, chance)
    world.history.note(world.loop.time(), f"! {name} is over")


async def _somebody(world: World, chance: random.Random) -> Running | None:
    """Return a bot that something happens to: mostly one that is in the middle of something."""
    if chance.random() < 0.7:
        give_up_at = world.loop.time() + 90.0
        while world.loop.time() < give_up_at and not world.faults.are_over:
            if busy := [each for each in world.bots if each.tasks.running]:
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                return chance.choice(busy)
            await asyncio.sleep(chance.uniform(0.05, 0.3))
    return chance.choice(world.bots) if world.bots else None


def _database(becomes: str, most: float) -> Trouble:
    async def last(world: World, _running: Running, chance: random.Random) -> None:
        world.database_is = becomes
        await asyncio.sleep(chance.uniform(1.0, most))
        world.database_is = ""

    return last


def _line(becomes: str) -> Trouble:
    async def last(_world: World, running: Running, chance: random.Random) -> None:
        running.line = becomes
        await asyncio.sleep(chance.uniform(1.0, 90.0))
        running.line = ""

    return last


async def _killed(world: World, running: Running, chance: random.Random) -> None:
    if running not in world.bots:
        return
    world.kill(running)
    await asyncio.sleep(chance.uniform(0.0, 60.0))
    world.start()


async def _stopped(world: World, running: Running, chance: random.Random) -> None:
    if running.is_stopping or running not in world.bots:
        return
    await world.stop(running)
    await asyncio.sleep(chance.uniform(0.0, 30.0))
    world.start()


async def _suspended(world: World, running: Running, chance: random.Random) -> None:
    if running not in world.bots or running.is_stopping:
        return
    running.process.is_suspended = True
    before = checks.taken_over(world)
    await asyncio.sleep(chance.choice((5.0, 45.0, 150.0)) * chance.uniform(0.5, 1.5))
    if checks.taken_over(world) > before:
        world.history.marks.add("a suspended bot wakes after its work was taken over")
    world.loop.resume(running.process)


async def _stepped(_world: World, running: Running, chance: random.Random) -> None:
    running.skew += chance.choice((-3600.0, -30.0, -3.0, 3.0, 30.0, 3600.0))
    await asyncio.sleep(chance.uniform(10.0, 120.0))
    running.skew = 0.0


async def _drifts(_world: World, running: Running, chance: random.Random) -> None:
    running.drift = chance.uniform(-0.01, 0.01)
    await asyncio.sleep(chance.uniform(60.0, 300.0))
    running.drift = 0.0


async def _unreadable(world: World, _running: Running, chance: random.Random) -> None:
    world.history_is_unreadable = True
    await asyncio.sleep(chance.uniform(10.0, 120.0))
    world.history_is_unreadable = False


async def _lag(world: World, _running: Running, chance: random.Random) -> None:
    """Lists show for a while what was, while `get` shows what is."""
    together = world.together
    for ids, each in together.remediations.items():
        together.lists_as[ids] = each["state"]
    await asyncio.sleep(chance.uniform(5.0, 40.0))
    together.lists_as.clear()


PERIODS = {
    "database away": _database("away", 60.0),
    "database frozen": _database("frozen", 40.0),
    "line cut": _line("cut"),
    "line frozen": _line("frozen"),
    "process killed": _killed,
    "process stopped": _stopped,
    "process suspended": _suspended,
    "clock stepped": _stepped,
    "clock drifts": _drifts,
    "history unreadable": _unreadable,
    "lists lag": _lag,
}
