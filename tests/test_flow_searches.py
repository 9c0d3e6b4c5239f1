"""What is found by a name, and how often Together is asked for it."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.clock import WaitReason
from bot.decisions.lookup import SEARCH_SECONDS
from bot.store.tables import batches
from tests.manual_clock import HANGS_AFTER, ManualClock
from tests.rows import execute_beside
from tests.simulator.slack.workspace import BOT_USER
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import began, choose, digest, storm
from tests.test_flow_chooser import opened, shown_in
from tests.test_flow_second_requests import two_nodes
from tests.watch import card, pass_time, quiet, until, watching
from tests.world import APPROVE, IDS, World, world


async def test_tracked_node_is_found_while_together_lists_nothing() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        bot.together.faults += [Fault("rpc", verb=verb, code=13, times=-1) for verb in ("list", "clusters")]
        view = shown_in(await opened(bot, "gpu-node-7"))
        assert "reboot gpu-node-7" in view
        assert "Couldn't read the list of clusters from Together, so some may be missing or out of date." in view


async def test_two_who_search_at_once_cause_one_search() -> None:
    async with world(clusters=["cluster-1"]) as bot:
        bot.together.add(instance_name="gpu-node-7")
        with bot.together.paused("list"):
            both = [asyncio.create_task(bot.slack.command("list", user=user)) for user in ("U0ALICE", "U0BOB")]
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            await quiet(bot)
        await asyncio.gather(*both)
        for user in ("U0ALICE", "U0BOB"):
            assert "gpu-node-7" in (await bot.reply_privately(user)).everything
        assert [call.verb for call in bot.together.calls].count("list") == 1


async def test_search_of_many_clusters_that_hang_ends() -> None:
    async with world(clusters=[f"cluster-{number}" for number in range(60)]) as bot:
        with bot.together.paused("list"):
            await bot.slack.command("list")
            await bot.together.until(lambda: bot.together.is_waiting("list"))
            (told,) = await until(bot, lambda: bot.slack.visible("U0ALICE"), SEARCH_SECONDS + 1)
        assert "Nothing to cancel was found" in told.everything
        assert "and 55 more" in told.everything


async def test_search_that_a_stop_overtakes_leaves_no_traceback_in_the_log() -> None:
    time = ManualClock()
    async with world(clusters=["cluster-1"], time=time, drain_seconds=0) as bot:
        bot.together.faults.append(Fault("rpc", verb="list", code=14))
        await bot.slack.command("list")
        await time.until_sleeping(WaitReason.RETRY)
    (search,) = [task for task in asyncio.all_tasks() if task.get_name() == "search"]
    await time.end_pause(WaitReason.RETRY)
    await asyncio.wait({search})
    assert "Session is closed" in repr(search)
    assert not search._log_traceback  # of an exception that nobody has seen


async def test_confirmation_that_the_database_does_not_answer_may_still_be_sent_and_is_not(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    async with watching(f"sqlite:///{path}", busy_seconds=30) as bot:
        await began(bot)
        storm(bot, 6)
        view = await choose(bot, await digest(bot))
        await quiet(bot)
        async with locked(path):
            submitted = asyncio.create_task(bot.slack.submit(view))
            async with asyncio.timeout(HANGS_AFTER):
                while not bot.transactions():  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
            await bot.time.advance(2.1)
            assert "may still be sent" in (await submitted).body
        await bot.settle()
        assert bot.together.posts == []
        assert [row["status"] for row in await execute_beside(bot, select(batches.c.status))] == ["void"]


async def test_status_says_that_nothing_open_has_that_name() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-10")
        await card(bot)
        await bot.slack.command("status gpu-node-1")
        told = (await bot.reply_privately()).text
        assert "Nothing open is called exactly “gpu-node-1”." in told
        assert "gpu-node-10" in told


async def listed(bot: World) -> str:
    before = list(bot.slack.messages)
    await bot.slack.command("list", user="U0BOB")
    await quiet(bot)
    new = [message for message in bot.slack.messages if message not in before and message.by == BOT_USER]
    return "\n".join(message.text for message in new if "waiting" in message.text)


@pytest.mark.parametrize("what", ["approved", "over"])
async def test_list_does_not_call_waiting_what_its_card_no_longer_does(what: str) -> None:
    async with watching() as bot:
        first, _ = await two_nodes(bot)
        await pass_time(bot, 20)
        assert "gpu-node-1" in await listed(bot)
        if what == "approved":
            await bot.slack.press(first, APPROVE)
            await card(bot, words="Approved by <@U0ALICE>")
        else:
            bot.together.resolve(IDS)
            await until(bot, lambda: "recovered on its own" in first.text)
        await pass_time(bot, 1)
        lines = [line for line in (await listed(bot)).splitlines() if line.startswith("gpu-node-1")]
        assert not [line for line in lines if "waiting for approval" in line]
