"""Time before the POST: an old click sends nothing, an old look is repeated, and an old command looks first."""

from typing import Any

import pytest

from tests.simulator.together import Fault
from tests.watcher.test_next_incident import AUTOMATIC
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, CANCEL, IDS, REF, World, world


def wait_again(bot: World) -> None:
    """Let the remediation end, and wait again under its ID for another reason."""
    bot.together.resolve(IDS)
    bot.together.remediations[IDS].update(state="PENDING_APPROVAL", linked_alerts=[{"alert_name": "another fault"}])


async def typed_and_left(bot: World) -> None:
    """A command is acknowledged, and its process ends while Slack is asked who typed it."""
    with bot.slack.paused("users.info"):
        assert (await bot.slack.command(REF)).status == 200
        await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
        await bot.settle()
    assert bot.together.calls == []
    await bot.time.advance(300)


async def test_limit_that_is_counted_for_long_lets_no_other_incident_be_approved() -> None:
    async with world(BOT_MAX_IN_REPAIR="5") as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("list"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            bot.together.resolve(IDS)
            bot.time.seconds += 20
            bot.together.add()
        await bot.edited(alert)
        assert bot.together.posts == [], alert.text


@pytest.mark.parametrize("action", [APPROVE, CANCEL])
async def test_click_of_an_hour_ago_is_not_sent_after_a_suspension(action: str) -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get answered"):
            await bot.slack.press(alert, action)
            await bot.together.until(lambda: bot.together.is_waiting("get answered"))
            bot.time.seconds += 3600  # the machine is suspended: no timer of the loop runs
        await bot.edited(alert)
        assert bot.together.posts == [], alert.text


async def test_look_from_before_a_suspension_does_not_approve_the_next_incident() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get answered"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting("get answered"))
            bot.together.resolve(IDS)
            bot.time.seconds += 300
            bot.together.add()
        await bot.edited(alert)
        assert bot.together.posts == [], alert.text


async def test_command_that_another_process_takes_over_does_not_cancel_the_next_incident(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        await typed_and_left(bot)
        wait_again(bot)
        async with bot.another():
            await bot.time.advance(30)
            told = (await bot.answer()).text
        assert "ended and opened again since you typed the command" in told
        assert bot.together.posts == []


async def test_command_that_another_process_takes_over_does_not_cancel_what_was_approved_since(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        await typed_and_left(bot)
        bot.together.review(IDS, "approve", "we need it")
        await bot.time.advance(120)
        async with bot.another():
            await bot.time.advance(30)
            await bot.answer()
        assert bot.together.state(IDS) == "PENDING"


async def test_command_of_before_a_suspension_does_not_cancel_the_next_incident() -> None:
    async with world() as bot:
        bot.together.add()
        with bot.slack.paused("users.info"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            bot.time.seconds += 300
            wait_again(bot)
        told = (await bot.answer()).text
        assert "ended and opened again since you typed the command" in told
        assert bot.together.posts == []


def starts_automatically(bot: World, **fields: Any) -> None:
    """Let it end, and the next incident open under the same ID, for which Together asks nobody."""
    bot.together.resolve(IDS)
    bot.together.remediations[IDS] |= {
        "state": "PENDING",
        "create_time": moment(bot),
        "end_time": None,
        "linked_alerts": firing("94"),
        **fields,
    }


@pytest.mark.parametrize("is_reviewed", [False, True])
async def test_typed_cancel_that_lay_for_minutes_cancels_no_repair_that_started_since(
    postgresql: str, *, is_reviewed: bool
) -> None:
    """Its process died once it was acknowledged. With a time of its review, nothing is sent."""
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        with bot.slack.paused("users.info"):
            await bot.slack.command(REF)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        assert bot.together.posts == []
        await bot.time.advance(300)
        starts_automatically(bot, **({**AUTOMATIC, "review_time": moment(bot)} if is_reviewed else {}))
        async with bot.another():
            await bot.time.advance(30)
            told = await bot.answer()
            assert bot.together.posts == [], told.text


async def test_typed_cancel_is_not_repeated_for_a_repair_that_started_since(postgresql: str) -> None:
    """Together renews no time but that of the last incident's end."""
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        opened_at = bot.together.remediations[IDS]["create_time"]
        bot.together.faults.append(Fault("hang", verb="cancel"))  # it never arrives
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        await bot.settle()
        await bot.time.advance(60)
        starts_automatically(bot, create_time=opened_at, end_time=moment(bot))
        async with bot.another():
            await bot.time.advance(30)
            told = await bot.answer()
            assert len(bot.together.posts) == 1, told.text


async def test_typed_cancel_that_was_rate_limited_cancels_no_repair_that_started_since() -> None:
    async with world() as bot:
        bot.together.add()
        bot.together.faults.append(Fault("rpc", verb="cancel", code=8, headers={"Retry-After": "9"}))

        def ends_and_starts() -> None:
            bot.together.on_call.clear()
            bot.time.seconds += 5
            starts_automatically(bot)

        bot.together.on_call["cancel"] = ends_and_starts
        await bot.slack.command(REF)
        told = await bot.answer()
        assert len(bot.together.posts) == 1, told.text


async def test_typed_cancel_is_not_repeated_where_somebody_has_approved_though_it_waits_still() -> None:
    async with world() as bot:
        bot.together.add()
        bot.together.state_follows = True
        bot.together.faults.append(Fault("rpc", verb="cancel", code=8, headers={"Retry-After": "9"}))

        def approves() -> None:
            bot.together.on_call.clear()
            bot.time.seconds += 5
            bot.together.review(IDS, "approve")
            bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"

        bot.together.on_call["cancel"] = approves
        await bot.slack.command(REF)
        told = await bot.answer()
        assert "somebody has reviewed the remediation since you typed the command" in told.text
        assert len(bot.together.posts) == 1
