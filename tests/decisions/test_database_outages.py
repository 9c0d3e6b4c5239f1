"""When the database goes away in the middle of a decision."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy import select, update

from bot.clock import WaitReason
from bot.store.tables import decisions
from handlers.commands import READ_SECONDS
from tests.deaths import died_while, left_behind
from tests.postgres import CUT_ALL
from tests.rows import column, execute_beside
from tests.simulation.faults import EVERY
from tests.simulation.names import REVIEW
from tests.simulation.world import opened
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.watch import quiet
from tests.world import APPROVE, REF, REFRESH, World, world

pytestmark = pytest.mark.bot(drain_seconds=0.05, busy_seconds=0.1)


async def test_click_while_the_database_is_locked_is_refused_for_good(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    async with locked(tmp_path / "bot.db"):
        assert (await bot.slack.press(alert, APPROVE)).status == 503, "what is not recorded is not acknowledged"
        assert "The bot can't reach its database, so nothing was sent." in (await bot.reply_privately()).text
        ack = await bot.slack.command(REF)
        assert ack.status == 200
        assert "The bot can't reach its database, so nothing was sent." in ack.body
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await bot.settle()
    assert len(bot.together.posts) == 1
    assert [row["status"] for row in await execute_beside(bot, select(decisions.c.status))] == ["done"]


async def test_bot_reconnects_when_its_connections_are_cut(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        bot.together.add()
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as connection:
            await connection.execute(CUT_ALL)
        await bot.slack.command(REF)
        assert "Cancelled: reboot" in (await bot.answer()).text


async def test_refusal_is_recorded_before_it_is_told(bot: World, tmp_path: Path) -> None:
    """A short outage between the read and the POST: nothing is sent, and that is final before the person reads it."""
    bot.together.add()
    alert = bot.alert()
    async with AsyncExitStack() as stack:
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        await bot.time.until_paused(WaitReason.RETRY)
        assert bot.slack.visible("U0ALICE") == []
    assert "The bot can't reach its database" in (await bot.reply_privately()).text
    assert await column(bot, "outcome") == "refused_without_database"
    await bot.settle()
    async with bot.another():
        assert bot.together.posts == []


async def test_repeat_that_cannot_be_recorded_denies_nothing_and_is_made_later(bot: World, tmp_path: Path) -> None:
    """The POST of the process that died may have arrived."""
    bot.together.add()
    alert = await left_behind(bot, APPROVE)
    async with died_while(bot, at="sent"):
        async with bot.another(), AsyncExitStack() as stack:
            with bot.together.paused("get"):
                await bot.together.until(lambda: bot.together.is_waiting("get"))
                await stack.enter_async_context(locked(tmp_path / "bot.db", "IMMEDIATE"))
            await bot.together.until(lambda: len(bot.together.calls) == 2)
            await quiet(bot)
        assert [message.everything for message in bot.slack.messages[1:]] == []
        await execute_beside(bot, update(decisions).values(lease_until=0.0))
        async with bot.another():
            await bot.edited(alert)
    assert "Approved by <@U0ALICE>" in alert.text
    assert len(bot.together.posts) == 1


async def test_outcome_is_recorded_before_it_is_told(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    async with AsyncExitStack() as stack:
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        await bot.time.until_paused(WaitReason.RETRY)
        assert alert.edits == 0
    await bot.edited(alert)
    assert "Approved by <@U0ALICE>" in alert.text
    await bot.settle()
    assert (await column(bot, "status"), alert.edits) == ("done", 1)


async def test_person_is_told_the_truth_while_nothing_can_be_recorded(bot: World, tmp_path: Path) -> None:
    bot.together.add()
    alert = bot.alert()
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    async with AsyncExitStack() as stack:
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await stack.enter_async_context(locked(tmp_path / "bot.db"))
        uncertain = await bot.answer(2)
        assert "The bot can't reach its database. Your approval may still be sent." in uncertain.text
        assert list(uncertain.buttons) == [REFRESH]
    certain = await bot.answer(3)
    assert "Your approval wasn't sent" in certain.text
    assert await column(bot, "outcome") == "read_failed"


async def test_readyz_says_that_the_database_is_locked(bot: World, tmp_path: Path) -> None:
    async with locked(tmp_path / "bot.db"):
        await bot.time.end_pause(WaitReason.HEARTBEAT)
        async with httpx.AsyncClient(trust_env=False) as http:
            while (ready := await http.get(f"{bot.slack.bot_url}/readyz")).status_code == 200:
                pass
    assert ready.text.startswith("Can't reach the database")


@pytest.mark.parametrize(("gate", "words"), [("get", "may still be sent"), ("approve", "may have gone through")])
async def test_stop_that_cannot_hand_back_says_that_nothing_is_certain(
    bot: World, tmp_path: Path, gate: str, words: str
) -> None:
    bot.together.add()
    alert = bot.alert()
    with bot.together.paused(gate):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.is_waiting(gate))
        async with locked(tmp_path / "bot.db"):
            await bot.settle()
    error = await bot.answer(2)
    assert f"Your approval {words}" in error.text
    assert list(error.buttons) == [REFRESH]


async def test_progress_that_could_not_be_recorded_is_not_shown(tmp_path: Path) -> None:
    """Another process could not take it off an alert of another tool, whose buttons it had taken away."""
    path = tmp_path / "bot.db"
    async with world(database=f"sqlite:///{path}", drain_seconds=0.05, busy_seconds=0.1) as bot:
        bot.together.add()
        alert = bot.alert()
        async with AsyncExitStack() as stack:
            with bot.together.paused("approve"):
                await bot.slack.press(alert, APPROVE)
                await bot.together.until(lambda: bot.together.is_waiting("approve"))
                await stack.enter_async_context(locked(path))
                await bot.time.advance(1.0)
                await quiet(bot)
                assert "is approving this" not in alert.everything
                assert APPROVE in alert.buttons


@pytest.mark.parametrize("is_known", [True, False])
def test_question_before_a_selection_is_acked_in_time_while_the_database_and_slack_are_slow(*, is_known: bool) -> None:
    """A process that has just started asks Slack who the person is."""
    with opened(0, without=EVERY) as world:
        world.environ["BOT_STORM_BRAKE"] = ""

        async def live() -> None:
            world.begin()
            for number in range(7):
                world.together.add(
                    (f"c-{'abc'[number % 3]}", f"i-{number}", f"r-{number}"), instance_name=f"gpu-{number}"
                )
            await asyncio.sleep(120.0)
            (digest,) = world.slack.digests()
            await world.slack.press(digest, REVIEW, user="U0ALICE")
            await asyncio.sleep(5.0)
            (dialog,) = world.slack.views
            world.faults.on.append("slack slow")
            for seconds in (0.6, 0.1):
                if not is_known:
                    for running in [*world.bots]:
                        world.kill(running)
                    world.start()
                    world.slow.add("S0OPS")
                    await asyncio.sleep(5.0)
                world.loop.delays = lambda: (seconds, 0.0)  # noqa: B023 - used before the next one
                ack = await world.slack.submit(dialog, user="U0ALICE", **{"review:verb": "approve"})
                assert ack.status == 200
                assert ("can't reach its database" in ack.body) == (seconds > 0.1), ack.body

        world.loop.run_until_complete(live())
    assert world.history.problems == []


@pytest.mark.parametrize("looking", [0.6, 0.95])
def test_command_that_names_a_node_is_acked_in_time_while_the_database_is_slow(looking: float) -> None:
    with opened(0, without=EVERY) as world:

        async def live() -> None:
            world.begin()
            world.together.add(("c-a", "i-1", "r-1"), instance_name="gpu-1")
            await asyncio.sleep(60.0)
            took = iter([looking])
            asks = asyncio.current_task
            world.loop.delays = lambda: (
                next(took, 1.95) if (of := asks()) and of.get_name() == "request" else 0.0,
                0.0,
            )
            ack = await world.slack.command("gpu-1 rebooted by hand")
            assert ack.status == 200
            assert ("can't reach its database" in ack.body) == (looking > READ_SECONDS), ack.body

        world.loop.run_until_complete(live())
    assert world.history.problems == []
