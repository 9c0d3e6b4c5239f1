"""A POST that was not taken is sent again, and no other."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from bot.clock import WaitReason
from tests.manual_clock import ON_THE_WAY, ManualClock
from tests.simulator.together import Fault
from tests.world import APPROVE, CANCEL, IDS, REF, World, world

BUTTONS = {"approve": APPROVE, "cancel": CANCEL}


def rate_limit(seconds: str, verb: str = "cancel", times: int = 1) -> Fault:
    return Fault("rpc", verb=verb, code=8, headers={"Retry-After": seconds}, times=times)


def attempts(bot: World) -> int:
    return len([call for call in bot.together.calls if call.verb in BUTTONS])


@pytest.mark.parametrize("verb", BUTTONS)
async def test_short_rate_limit_is_waited_out_twice(bot: World, verb: str) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(rate_limit("9", verb, times=2))
    await bot.slack.press(alert, BUTTONS[verb])
    await bot.edited(alert)
    assert bot.together.state(IDS) == {"approve": "PENDING", "cancel": "CANCELLED"}[verb]
    assert (attempts(bot), bot.time.slept(WaitReason.RETRY)) == (3, [9.0, 9.0])


async def test_third_rate_limit_in_a_row_is_told(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(rate_limit("9", times=-1))
    await bot.slack.command(REF)
    assert "Try again in 9 s." in (await bot.answer()).text
    assert attempts(bot) == 3


async def test_long_rate_limit_is_told_at_once(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(rate_limit("11"))
    await bot.slack.command(REF)
    assert "Try again in 11 s." in (await bot.answer()).text
    assert (attempts(bot), bot.time.slept(WaitReason.RETRY)) == (1, [])


async def test_post_goes_through_when_the_connection_comes_back() -> None:
    time, at_retry = clock_with_retries()
    async with world(time=time) as bot:
        bot.together.add()
        await bot.together.stop()
        at_retry.append(bot.together.start)
        await bot.slack.command(REF)
        await bot.answer()
        assert bot.together.state(IDS) == "CANCELLED"
        assert len(time.slept(WaitReason.RETRY)) == 1


def clock_with_retries() -> tuple[ManualClock, list[Callable[[], Awaitable[None]]]]:
    """A clock, and what is to happen at the next pause before a retry."""
    time, at_retry = ManualClock(ON_THE_WAY), list[Callable[[], Awaitable[None]]]()

    async def sleep(seconds: float, why: WaitReason) -> None:
        await time.sleep(seconds, why)
        if why is WaitReason.RETRY and at_retry:
            await at_retry.pop()()

    time.clock = replace(time.clock, sleep=sleep)
    return time, at_retry
