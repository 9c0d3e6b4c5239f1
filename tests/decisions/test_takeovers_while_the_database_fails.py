"""A takeover that can't read for a moment what bears on the decision: nothing is sent that might be kept back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.clock import WaitReason
from tests.manual_clock import ON_THE_WAY
from tests.proxy import Line, line_to
from tests.watch import HOLD, card, quiet, until, watching
from tests.watcher.test_next_incident import opened_again
from tests.world import APPROVE, IDS, World


@asynccontextmanager
async def taken_over(bot: World, click: dict[str, Any], line: Line) -> AsyncIterator[None]:
    """Let a process end once it has claimed a click, and another take it over, whose first look at its card is cut."""
    with bot.together.paused("get"):
        await bot.slack.deliver("interactive", click)
        await bot.together.until(lambda: bot.together.is_waiting("get"))
        await bot.settle()
    bot.time.follower = None  # its connection is cut too
    bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
    line.cut_after = b"SELECT first_approvals.user_id"
    with bot.together.paused("get"):  # so that the database is back before anything could be sent
        async with bot.another():
            await bot.time.until_sleeping(WaitReason.RETRY)  # the outcome can't be written down either
            line.is_down = False
            await bot.time.end_pause(WaitReason.RETRY)
            yield


async def test_hold_is_not_passed_over(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        await quiet(bot)
        click = bot.slack.click(alert, APPROVE)  # what Alice is shown has no hold
        await bot.slack.press(alert, HOLD, user="U0BOB")
        await until(bot, lambda: "On hold until" in alert.text)
        async with taken_over(bot, click, line):
            assert "nothing was sent" in (await bot.reply_privately()).text
        assert bot.together.posts == []


async def test_nobody_approves_alone_what_takes_two(postgresql: str) -> None:
    rules: dict[str, Any] = {"BOT_ONCALL": "S0ONCALL", "BOT_MAX_REPAIRS_PER_NODE": "1/24h"}
    async with line_to(postgresql) as line, watching(database=line.url, drain_seconds=0.05, **rules) as bot:
        alert = await opened_again(bot)
        assert "Needs two approvers. 1 repair of this node in 24 h" in alert.text
        await quiet(bot)
        before = len(bot.together.posts)
        async with taken_over(bot, bot.slack.click(bot.alert(), APPROVE), line):
            assert "nothing was sent" in (await bot.reply_privately()).text
        assert len(bot.together.posts) == before
        assert bot.together.state(IDS) == "PENDING_APPROVAL"
