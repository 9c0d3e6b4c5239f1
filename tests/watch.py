"""What the tests of the watch share: a bot that watches, and time that passes once everything is said."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import psycopg

from bot.clock import WaitReason
from bot.store.sqlite import BUSY_SECONDS
from tests.manual_clock import HANGS_AFTER, ON_THE_WAY, POLL, ManualClock
from tests.simulator.slack import Ack, Posted
from tests.simulator.slack.limits import Limits
from tests.simulator.together import Ids
from tests.world import APPROVE, IDS, World, world

CHANNEL = "C0OPS"
HOLD = "remediation:hold"
LOOKING = "remediation:looking"
PAUSE_DIALOG, RESUME_DIALOG, ENDS = "approvals:pause-for", "approvals:resume-reason", "approvals:ends"
CALM = 26  # rounds of the event loop in which nothing was being answered or written
LEAPS = (240.0, 60.0, 15.0)  # in seconds, where much time passes; none takes the bot its lease of 300 s
LONG_LEAPS = (21_600.0, 3600.0, *LEAPS)  # where hours or days pass, which do
LONG = 7200.0  # what takes longer passes in those
OLD = 2 * POLL + 60.0  # what was read longer ago is old
# What only other tests look at. No job here lives as long as the lease that the heartbeat keeps.
LEFT_OUT = frozenset({WaitReason.SLACK_CHECK, WaitReason.TIDY, WaitReason.HEARTBEAT})
PATIENCE = {1800.0: 60.0, 120.0: 15.0}  # what is waited for longer is waited for in such leaps
T = TypeVar("T")


@asynccontextmanager
async def watching(
    database: str | None = None,
    *,
    socket: bool = False,
    drain_seconds: float = 25,
    busy_seconds: float = BUSY_SECONDS,
    endless: Collection[WaitReason] = LEFT_OUT,
    **environ: str,
) -> AsyncIterator[World]:
    """A bot that watches, on a clock that stops until a test advances it."""
    settings = {"BOT_ALERT_CHANNEL": CHANNEL, "BOT_POLL_SECONDS": str(int(POLL)), "BOT_LEASE_SECONDS": "300"}
    async with AsyncExitStack() as stack:
        time = ManualClock(ON_THE_WAY, endless)
        if database and database.startswith("postgresql"):
            await stack.enter_async_context(in_step(database, time))
        given = {**settings, **environ}
        yield await stack.enter_async_context(
            world(
                database=database,
                time=time,
                socket=socket,
                drain_seconds=drain_seconds,
                busy_seconds=busy_seconds,
                environ=given,
                clusters=["cluster-1"],  # it is listed as soon as the bot starts, and then again in ten minutes
            )
        )


@asynccontextmanager
async def in_step(url: str, time: ManualClock) -> AsyncIterator[None]:
    """Let PostgreSQL's clock, as the bot asks for it in this schema, say what the test's clock says."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE present (seconds double precision)")
        await connection.execute("""
            CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
                'SELECT to_timestamp(seconds) FROM present'
        """)
        await connection.execute("INSERT INTO present VALUES (%s)", (time.now(),))

        async def follow(now: float) -> None:
            await connection.execute("UPDATE present SET seconds = %s", (now,))

        time.follower = follow
        try:
            yield
        finally:
            time.follower = None


def enforce_slacks_limits(bot: World) -> None:
    """Let Slack refuse what is too much, and no time pass while a call is on its way: it would arrive late."""
    bot.slack.limits = Limits()
    bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}


async def quiet(bot: World) -> None:
    """Wait until nothing happens any more unless time passes."""
    calm = 0
    async with asyncio.timeout(HANGS_AFTER):
        while calm < CALM:
            if under_way := bot.transactions():
                # To spin would keep the database's threads from working.
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                calm = -1
            await asyncio.sleep(0)
            calm = 0 if bot.slack.busy or bot.together.busy else calm + 1


async def pass_time(bot: World, seconds: float, *, longest: float = LONG_LEAPS[0]) -> None:
    """Let time pass with all that it brings about: a waking at a time, or in leaps where much of it passes.

    Args:
        longest: the longest leap, for a test that counts what comes again and again.
    """
    end = bot.time.seconds + seconds
    leaps = [leap for leap in (LONG_LEAPS if seconds > LONG else LEAPS) if leap <= longest]
    await quiet(bot)
    while bot.time.seconds < end:
        left = end - bot.time.seconds
        leap = next((leap for leap in leaps if left >= 2 * leap), 0.0)
        await _advance(bot, leap, left)


async def _advance(bot: World, leap: float, left: float) -> None:
    """Let a leap pass, or the time until the next waking."""
    step = leap or max(0.0, min(bot.time.next_wake - bot.time.seconds, left))
    if step > OLD:  # else each card would say first that it is old, and then that it isn't
        await bot.time.advance(step, only=WaitReason.POLL)
        await quiet(bot)
        step = 0.0
    await bot.time.advance(step)
    await quiet(bot)


async def poll(bot: World) -> None:
    """Let the bot read every cluster once more, and act on what it has read."""
    await pass_time(bot, POLL + 3.0)


async def until(bot: World, look: Callable[[], T | None], seconds: float = 120) -> T:
    """Let time pass until something is so: a waking at a time, and in short leaps where it takes long."""
    began = bot.time.seconds
    await quiet(bot)
    while True:
        if found := look():
            return found
        waited = bot.time.seconds - began
        assert waited < seconds, f"it did not happen within {seconds} s"
        leap = next((leap for patience, leap in PATIENCE.items() if waited >= patience), 0.0)
        await _advance(bot, min(leap, seconds - waited), math.inf)


async def card(bot: World, ids: Ids = IDS, words: str = "", seconds: float = 120) -> Posted:
    """The one alert of a remediation, as soon as it is there and says so."""

    def look() -> Posted | None:
        found = bot.slack.cards(ids[2])
        return found[0] if found and words in found[0].text else None

    return await until(bot, look, seconds)


async def carried_out(bot: World) -> Posted:
    """Approve the repair that waits, and let Together carry it out."""
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "SUCCEEDED")
    await until(bot, lambda: "Watched until" in alert.text)
    return alert


async def pause(bot: World, message: Posted, *, user: str = "U0ALICE", **typed: str) -> None:
    """Pause approvals with a message's button and the dialog that it opens."""
    bot.slack.views.clear()
    await bot.slack.press(message, PAUSE_DIALOG, user=user)
    await submit_pause(bot, user=user, **typed)


async def resume(
    bot: World, message: Posted, *, user: str = "U0ALICE", whose: Collection[str] | None = None, reason: str = "done"
) -> Ack:
    """Press "Resume approvals…", tick the pauses of some people, or all, and submit."""
    bot.slack.views.clear()
    await bot.slack.press(message, RESUME_DIALOG, user=user)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    return await bot.slack.submit(view, user=user, **{RESUME_DIALOG: reason}, **ends(view, whose))


def ends(view: dict[str, Any], whose: Collection[str] | None = None) -> dict[str, str]:
    """Return what is typed into the dialog that resumes approvals, to tick the pauses of some people, or all."""
    (boxes,) = [block["element"]["options"] for block in view["blocks"] if block.get("block_id") == ENDS]
    ticked = [box for box in boxes if whose is None or any(user in box["text"]["text"] for user in whose)]
    return {ENDS: " ".join(each["value"] for each in ticked)}


async def submit_pause(bot: World, *, user: str = "U0ALICE", **typed: str) -> None:
    """Submit the dialog that has just been asked for."""
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view, user=user, **typed)


def thread(bot: World, alert: Posted) -> list[str]:
    """The lines of an alert's thread."""
    return [line for reply in bot.slack.replies(alert) for line in reply.text.splitlines()]


def updates(bot: World) -> int:
    """How often the bot has edited a message."""
    return [method for method, _ in bot.slack.calls].count("chat.update")
