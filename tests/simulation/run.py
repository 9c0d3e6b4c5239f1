"""Run one seed from its beginning to its judgment."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.simulation import answers, ending, fleet, truth
from tests.simulation.history import History
from tests.simulation.people import Act
from tests.simulation.periods import PERIODS, Trouble
from tests.simulation.world import Running, World, opened

TROUBLED_SECONDS = (300.0, 480.0, 480.0, 480.0, 480.0, 480.0, 480.0, 2700.0)
CALM_SECONDS = 1800.0
VERIFIED_SECONDS = 4500.0  # in which a fault may have stayed away for an hour
ACTS = (10, 25, 50, 80)


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
        also: faults that the world has beside its seed's.
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
    fleet.break_first_nodes(world)
    tasks = [asyncio.create_task(acts[number].run(), name=f"act {number}") for number in played]
    troubles = [asyncio.create_task(work) for work in _troubles(world, seconds)]
    await asyncio.sleep(seconds)
    world.faults.are_over = True
    await asyncio.gather(*tasks, *troubles)
    world.history.note(world.loop.time(), "# the faults are over")
    while len(world.bots) < world.size:
        world.start()
    await asyncio.sleep(CALM_SECONDS if world.environ["BOT_VERIFY_HOURS"] == "24" else VERIFIED_SECONDS)
    await world.slack.open_home(truth.AT_HOME)
    await asyncio.sleep(10.0)
    answers.everybody_has_one(world)
    await answers.ask(world)
    await ending.in_the_end(world, world.bots[0].database)
    world.history.marks |= ending.marks(world) | {name for name, count in world.faults.struck.items() if count}
    return played


def _troubles(world: World, seconds: float) -> list[Coroutine[Any, Any, None]]:
    """Return what lasts for a while, each at its own time."""
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
            if busy := [running for running in world.bots if running.tasks.running]:
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                return chance.choice(busy)
            await asyncio.sleep(chance.uniform(0.05, 0.3))
    return chance.choice(world.bots) if world.bots else None
