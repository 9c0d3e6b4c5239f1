"""What a person is told about a decision is recorded first, and no other process contradicts it."""

import pytest
from sqlalchemy import select, update

from bot.clock import WaitReason
from bot.store import Database
from bot.store.tables import decisions
from tests.manual_clock import ON_THE_WAY
from tests.proxy import COMMIT, line_to
from tests.rows import execute, execute_beside
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import pass_time, quiet, watching
from tests.world import APPROVE, IDS, World, world

NO = ("wasn't sent", "othing was", "othing changed")


def nos(bot: World) -> list[str]:
    """Where somebody was told that nothing was done."""
    return [message.text for message in bot.slack.messages if any(words in message.text for words in NO)]


@pytest.mark.parametrize(
    "fault", [None, Fault("rpc", verb="approve", code=7), Fault("rpc", verb="get", code=14, times=-1)]
)
async def test_no_is_never_contradicted_by_another_replica(postgresql: str, fault: Fault | None) -> None:
    """The first replica loses its database between the read and the end; the second takes the decision over."""
    async with line_to(postgresql) as line, world(database=line.url, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        if fault:
            bot.together.faults.append(Fault(**vars(fault)))
        gate = "approve" if fault and fault.verb == "approve" else "get"
        with bot.together.paused(gate):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.is_waiting(gate))
            line.is_down = True
            line.cut()
        told = await bot.answer(2)
        assert "The bot can't reach its database. Your approval may" in told.text
        bot.together.faults.clear()
        # Else the first replica's attempts to write would make time fly.
        bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
        async with bot.another(bot.settings.model_copy(update={"database_url": postgresql})):
            bot.slack.bot_url = f"http://127.0.0.1:{bot.app.port}"
            database = Database(postgresql)
            await execute(database, update(decisions).values(lease_until=0.0))
            await database.close()
            # The first replica keeps trying to write, so there is no quiet to wait for.
            await bot.time.end_pauses(WaitReason.RECOVERY, 2)
            await bot.together.until(lambda: bot.together.state(IDS) == "PENDING")
        assert nos(bot) == []
        line.is_down = False


async def test_commit_in_doubt_is_settled_before_the_person_is_told(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        alert = bot.alert()
        await quiet(bot)
        line.cut_after = COMMIT
        await bot.slack.press(alert, APPROVE)
        assert bot.slack.visible("U0ALICE") == []
        line.is_down = False
        assert "can't reach its database, so nothing was sent" in (await bot.reply_privately()).text
        rows = await execute_beside(bot, select(decisions.c.status))
        assert [row["status"] for row in rows] == ["void"]
        await pass_time(bot, 60)
        assert bot.together.posts == []


async def test_commit_that_stays_in_doubt_is_told_as_what_it_is(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        alert = bot.alert()
        await quiet(bot)
        line.cut_after = COMMIT
        await bot.slack.press(alert, APPROVE)
        told = await bot.reply_privately()
        assert "The bot can't reach its database. Your approval may still be sent." in told.text
        assert nos(bot) == []
        line.is_down = False


async def test_decision_that_another_replica_carries_out_is_answered_by_that_one_alone(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        alert = bot.alert()
        async with bot.another(bot.settings.model_copy(update={"database_url": postgresql})):
            bot.slack.bot_url = f"http://127.0.0.1:{bot.app.port}"
            await quiet(bot)
            line.cut_after = COMMIT
            bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
            with bot.together.paused("approve"):
                await bot.slack.press(alert, APPROVE)
                database = Database(postgresql)
                await execute(database, update(decisions).values(lease_until=0.0))
                await database.close()
                await bot.time.end_pauses(WaitReason.RECOVERY, 2)
                await bot.together.until(lambda: bot.together.posts)
                line.is_down = False
            await bot.edited(alert)
            await pass_time(bot, 30)
        assert "Approved by <@U0ALICE>" in alert.text
        assert (len(bot.together.posts), nos(bot)) == (1, [])


async def test_selection_whose_commit_is_in_doubt_is_not_called_refused(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message)
        await quiet(bot)
        line.cut_after = COMMIT
        ack = await bot.slack.submit(view)
        assert "may still be sent" in ack.body
        line.is_down = False
