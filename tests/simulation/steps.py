"""What a typed cancel, a click, and an alert take in steps: a figure without noise."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.simulation.faults import EVERY
from tests.simulation.names import CHANNEL
from tests.simulation.world import World, opened
from tests.world import CANCEL

SEED = 7
WINDOW = 60.0  # seconds, in which each of them is over


class Steps(NamedTuple):
    """How many there were beyond those of an idle bot in the same time."""

    callbacks: int
    transactions: int
    calls: int


def measure() -> dict[str, Steps]:
    """Return the steps of each, of one bot without faults."""
    with opened(SEED, without=EVERY) as world:
        world.environ |= {"BOT_REASON": "never", "BOT_MAX_IN_REPAIR": "", "BOT_TWO_PEOPLE_MODES": ""}
        world.environ |= {"BOT_LEASE_SECONDS": "60", "BOT_POLL_SECONDS": "15", "BOT_REMIND_MINUTES": "0"}
        world.size = 1
        return world.loop.run_until_complete(_measure(world))


async def _measure(world: World) -> dict[str, Steps]:
    world.begin()
    first = world.together.add(("c-a", "i-0", "r-0"), instance_name="gpu-0", state="PENDING_APPROVAL")
    await asyncio.sleep(90.0)
    await world.slack.command("c-a i-0 r-0", user="U0BOB", channel=CHANNEL)  # who may is known from now on
    await asyncio.sleep(90.0)
    assert world.together.state(first) == "CANCELLED"
    found: dict[str, Steps] = {}

    async def break_node() -> None:
        world.together.add(("c-a", "i-1", "r-1"), instance_name="gpu-1", state="PENDING_APPROVAL")

    async def click() -> None:
        await world.slack.press(world.slack.cards("r-1")[0], CANCEL, user="U0BOB")

    async def type_cancel() -> None:
        await world.slack.command("c-a i-2 r-2", user="U0BOB", channel=CHANNEL)

    found["alert"] = await _beyond_idle(world, break_node)
    for part in world.bots[0].parts:  # from now on nothing runs but what is asked for
        part.cancel()
    await asyncio.sleep(60.0)
    found["click"] = await _beyond_idle(world, click)
    world.together.add(("c-a", "i-2", "r-2"), instance_name="gpu-2", state="PENDING")
    found["typed cancel"] = await _beyond_idle(world, type_cancel)
    assert {world.together.state(("c-a", f"i-{number}", f"r-{number}")) for number in (1, 2)} == {"CANCELLED"}
    return found


async def _beyond_idle(world: World, act: Callable[[], Awaitable[object]]) -> Steps:
    """Compare a window of time in which something happens with those in which nothing does."""
    idle = [await _count(world, None) for _ in range(5)]
    active = await _count(world, act)
    return Steps(*(count - statistics.median_low(others) for count, *others in zip(active, *idle, strict=True)))


async def _count(world: World, act: Callable[[], Awaitable[object]] | None) -> tuple[int, int, int]:
    before = world.loop.counted, world.transactions, world.calls
    if act:
        await act()
    await asyncio.sleep(WINDOW)
    return (
        world.loop.counted - before[0], world.transactions - before[1], world.calls - before[2],
    )  # fmt: skip


def describe() -> str:
    """Return the figures in a line for each."""
    return "\n".join(
        f"{name}: {steps.callbacks} callbacks, {steps.transactions} transactions, {steps.calls} HTTP calls"
        for name, steps in measure().items()
    )
