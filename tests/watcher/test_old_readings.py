"""What was read and then waited for the database: it says what was so when Together was asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.decisions.test_doubt_on_cards import approved_in_doubt
from tests.decisions.test_doubts_of_several import approve_late
from tests.sqlite import locked
from tests.storms import XID
from tests.watch import card, pass_time, quiet, thread, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, IDS, REFRESH, World

pytestmark = pytest.mark.bot(watching=True, busy_seconds=0.1)


@asynccontextmanager
async def read_alone_without_the_database(bot: World, since: Callable[[], object]) -> AsyncIterator[None]:
    """Let it be read alone, and something happen since, before the database can be written again."""
    with ExitStack() as answers:
        answers.enter_context(bot.together.paused("get answered"))
        await until(bot, lambda: bot.together.is_waiting("get answered"))
        since()
        async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
            answers.close()
            await quiet(bot)
            yield


def has_changed_unlisted(bot: World) -> None:
    """Let it have changed, while no list has it."""
    bot.together.lists_as[IDS] = "SUCCEEDED"
    bot.together.remediations[IDS]["linked_alerts"] = XID


async def test_look_before_a_doubt_was_over_denies_no_approval_that_arrived_since(bot: World) -> None:
    alert = await approved_in_doubt(bot)
    told_at = bot.time.seconds
    await pass_time(bot, 38)
    has_changed_unlisted(bot)
    async with read_alone_without_the_database(bot, lambda: approve_late(bot)):
        await pass_time(bot, told_at + 71 - bot.time.seconds)
        bot.together.lists_as.clear()
    while "Approved, queued" not in alert.text:
        assert APPROVE not in alert.controls
        await pass_time(bot, 1)
    await pass_time(bot, 30)
    assert not [line for line in thread(bot, alert) if "hasn't taken effect" in line]


async def test_two_looks_in_quick_succession_withdraw_nothing_however_late_the_second_counts() -> None:
    async with watching(busy_seconds=0.1, BOT_POLL_SECONDS="5") as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.lost.add(IDS)
        await until(bot, lambda: "get" in [call.verb for call in bot.together.calls])
        async with read_alone_without_the_database(bot, bot.together.lost.clear):
            await pass_time(bot, 8)
        await pass_time(bot, 30)
        assert thread(bot, alert) == []


async def test_look_before_somebody_was_answered_brings_no_buttons_back(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    has_changed_unlisted(bot)
    async with read_alone_without_the_database(bot, lambda: bot.together.review(IDS, "cancel")):
        await pass_time(bot, 1)
    other = bot.alert()
    await bot.slack.press(other, REFRESH)
    await bot.slack.until(lambda: "Cancelled" in other.text)
    while "Cancelled" not in alert.text:
        assert "Xid 79" not in alert.text, "it was read before"
        await pass_time(bot, 1)


@pytest.mark.parametrize("ahead", [7200.0, 86_400.0])
@pytest.mark.parametrize("state", ["AUTO_RESOLVED", "RUNNING", "FAILED"])
async def test_one_time_from_the_future_does_not_freeze_a_card(bot: World, ahead: float, state: str) -> None:
    bot.together.add(update_time=moment(bot))
    alert = await card(bot)
    bot.together.remediations[IDS] |= {"mode": "REMEDIATION_MODE_VM_ONLY", "update_time": moment(bot, ahead)}
    await card(bot, words="Approve quick reprovision?")
    ended = None if state == "RUNNING" else moment(bot)
    bot.together.remediations[IDS] |= {"state": state, "update_time": moment(bot), "end_time": ended}
    await until(bot, lambda: "Approve quick reprovision?" not in alert.text)


async def test_repair_that_opened_in_the_future_is_followed_to_its_end(bot: World) -> None:
    bot.together.add(create_time=moment(bot, 86_400.0), update_time=moment(bot, 86_400.0))
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "RUNNING")
    await pass_time(bot, 120)
    bot.together.advance(IDS, "SUCCEEDED")
    await card(bot, words="Rebooted")
