"""Whose a cancellation is that Together's answer didn't settle: it leaves no trace but its time."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bot.clock import WaitReason
from tests.manual_clock import ON_THE_WAY
from tests.proxy import line_to
from tests.rows import outcomes, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.watch import HOLD, card, pass_time, thread, until
from tests.world import CANCEL, IDS, REF, World, world


async def held_by_bob(bot: World) -> Posted:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, user="U0BOB")
    await until(bot, lambda: "On hold until" in alert.text)
    return alert


async def told_to_bob(bot: World, alert: Posted) -> str:
    """What Bob's thread says once Together can be read again."""
    bot.together.faults.clear()
    await card(bot, words="Cancelled: reboot")
    said = await until(bot, lambda: [line for line in thread(bot, alert) if "during your hold" in line])
    assert "in Together" not in "\n".join([alert.text, *thread(bot, alert)])
    return said[0]


def unread(bot: World) -> None:
    bot.together.faults += [Fault("rpc", verb=verb, code=13, times=-1) for verb in ("list", "get")]


@pytest.mark.bot(watching=True, busy_seconds=0.1)
async def test_own_one_is_apparently_ones_own_though_it_was_recorded_minutes_later(bot: World, tmp_path: Path) -> None:
    alert = await held_by_bob(bot)
    unread(bot)
    bot.together.faults.append(Fault("cut", verb="cancel", after=True))
    bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
    async with AsyncExitStack() as stack:
        with bot.together.paused("cancel"):
            await bot.slack.command(REF)
            await bot.together.until(lambda: bot.together.posts)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        await bot.time.until_sleeping(WaitReason.RETRY)
    await bot.time.advance(200)
    assert bot.together.state(IDS) == "CANCELLED"
    await pass_time(bot, 30)
    assert "outcome_unknown" in await outcomes(bot)
    assert "apparently, by <@U0ALICE> during your hold" in await told_to_bob(bot, alert)


@pytest.mark.bot(watching=True, drain_seconds=0.05)
async def test_own_one_is_apparently_ones_own_though_the_next_process_began_minutes_later(bot: World) -> None:
    alert = await held_by_bob(bot)
    unread(bot)
    with bot.together.paused("cancel"):
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        await bot.settle()
    await bot.together.until(lambda: bot.together.state(IDS) == "CANCELLED")
    await bot.time.advance(300)
    async with bot.another():
        await until(bot, lambda: [each for each in bot.slack.visible() if "may have gone through" in each.everything])
        assert "apparently, by <@U0ALICE> during your hold" in await told_to_bob(bot, alert)


async def test_nobody_claims_somebody_elses_because_the_trail_could_not_be_read(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert)
        await bot.time.advance(30)
        bot.together.faults.append(Fault("html", verb="cancel", status=502))
        with bot.together.paused("get"):
            await bot.slack.command(REF)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            line.cut_after = b"audit.outcome"
            bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
        await bot.time.until_sleeping(WaitReason.RETRY)
        line.is_down = False
        await bot.time.end_pause(WaitReason.RETRY)
        told = (await bot.answer(2)).text
        assert await outcomes_by_user(bot) == [("U0BOB", "cancelled"), ("U0ALICE", "too_late")]
        assert "Already cancelled" in told
        assert "U0ALICE" not in told
