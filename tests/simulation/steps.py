"""What a typed cancel, a click, and an alert take in steps and in code: figures without noise."""

import asyncio
import gc
import logging
import random
import statistics
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from types import CodeType, FrameType
from typing import NamedTuple, Self

from bot.cards.remediation_card import card
from bot.store.rows import load
from tests.simulation.faults import EVERY
from tests.simulation.names import CANCEL, CHANNEL
from tests.simulation.world import World, opened
from tests.simulator.process import ROOT

SEED = 7
PRODUCT = (f"{ROOT}/bot/", f"{ROOT}/handlers/")
WINDOW = 60.0  # seconds, in which each of them is over


class Steps(NamedTuple):
    """How many there were beyond those of an idle bot in the same time.

    Attributes:
        functions, files: of the product, that were entered; comprehensions are no functions.
        loads, draws: how often a tracked message was loaded, and a card drawn.
    """

    callbacks: int
    transactions: int
    calls: int
    functions: int = 0
    files: int = 0
    loads: int = 0
    draws: int = 0


class Near(random.Random):
    """A network that is always as fast as it can be: whether a decision says that it takes long isn't counted."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - as it is called
        return a


def measure() -> dict[str, Steps]:
    """Return the steps of each, of one bot without faults."""
    gc.collect()  # else what an earlier world left may be closed, and so entered, while steps are counted
    with opened(SEED, without=EVERY) as world:
        world.environ |= {"BOT_REASON": "never", "BOT_MAX_IN_REPAIR": "", "BOT_TWO_PEOPLE_MODES": ""}
        world.environ |= {"BOT_LEASE_SECONDS": "60", "BOT_POLL_SECONDS": "15", "BOT_REMIND_MINUTES": "0"}
        world.environ |= {"BOT_QUIET_HOURS": "", "BOT_MAX_IN_REPAIR_PERCENT": "", "BOT_MAX_REPAIRS_PER_NODE": ""}
        world.environ |= {"BOT_WEBHOOK_URL": "", "BOT_WEBHOOK_SECRET": "", "BOT_PAGERDUTY_KEY": "", "BOT_SUMMARY": ""}
        world.size = 1
        world.streams["network"] = Near()
        return world.loop.run_until_complete(_measure(world))


async def _measure(world: World) -> dict[str, Steps]:
    world.begin()
    first = world.together.add(("c-a", "i-0", "r-0"), instance_name="gpu-0", state="PENDING_APPROVAL")
    await asyncio.sleep(90.0)
    await _cancel_again(world)
    await asyncio.sleep(90.0)
    assert world.together.state(first) == "CANCELLED"
    found: dict[str, Steps] = {}

    async def break_node() -> None:
        world.together.add(("c-a", "i-1", "r-1"), instance_name="gpu-1", state="PENDING_APPROVAL")

    async def click() -> None:
        await world.slack.press(world.slack.cards("r-1")[0], CANCEL, user="U0BOB")

    async def type_cancel() -> None:
        await world.slack.command("c-a i-2 r-2", user="U0BOB", channel=CHANNEL)

    found["alert"] = await _beyond_idle(world, break_node, decides=False)
    for _, part in world.bots[0].parts:  # from now on nothing runs but what is asked for
        part.cancel()
    await asyncio.sleep(60.0)
    found["click"] = await _beyond_idle(world, click)
    world.together.add(("c-a", "i-2", "r-2"), instance_name="gpu-2", state="PENDING")
    found["typed cancel"] = await _beyond_idle(world, type_cancel)
    assert {world.together.state(("c-a", f"i-{number}", f"r-{number}")) for number in (1, 2)} == {"CANCELLED"}
    return found


class Trace:
    """Counts the calls of the product's functions while it lasts."""

    def __init__(self) -> None:
        self.calls = Counter[CodeType]()

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name[0] != "<" and code.co_filename.startswith(PRODUCT):
            self.calls[code] += 1

    def count(self, function: Callable[..., object]) -> int:
        return self.calls[function.__code__]


async def _beyond_idle(world: World, act: Callable[[], Awaitable[object]], *, decides: bool = True) -> Steps:
    """Compare a window of time in which something happens with those in which nothing does."""
    idle, traces = [], []
    for _ in range(5):
        with Trace() as trace:
            idle.append(await _count(world, None))
        traces.append(trace)
    if decides:
        await _count(world, partial(_cancel_again, world))
    with Trace() as trace:
        active = await _count(world, act)
    known = {code for each in traces for code in each.calls}
    entered = [code for code in trace.calls if code not in known]
    callbacks, transactions, calls = (
        count - statistics.median_low(others) for count, *others in zip(active, *idle, strict=True)
    )
    files = len({code.co_filename for code in entered})
    return Steps(callbacks, transactions, calls, len(entered), files, trace.count(load), trace.count(card))


async def _cancel_again(world: World) -> None:
    """Cancel what is cancelled already: who may is known for five minutes."""
    await world.slack.command("c-a i-0 r-0", user="U0BOB", channel=CHANNEL)


async def _count(world: World, act: Callable[[], Awaitable[object]] | None) -> tuple[int, int, int]:
    before = world.loop.counted, world.transactions, world.calls
    if act:
        await act()
    await asyncio.sleep(WINDOW)
    return world.loop.counted - before[0], world.transactions - before[1], world.calls - before[2]


def describe() -> str:
    """Return the figures in a line for each."""
    logging.disable(logging.CRITICAL)
    measured = measure()
    logging.disable(logging.NOTSET)
    return "\n".join(
        f"{name}: {', '.join(f'{count} {what}' for what, count in steps._asdict().items())}"
        for name, steps in measured.items()
    )
