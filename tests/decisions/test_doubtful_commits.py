"""What a commit in doubt leaves behind once somebody was told so, and who may decide while nobody knows."""

from sqlalchemy import select, update

from bot.app import App
from bot.clock import WaitReason
from bot.models import Actor
from bot.store import Database
from bot.store.tables import batches, decisions, first_approvals
from tests.manual_clock import ON_THE_WAY
from tests.proxy import COMMIT, Line, line_to
from tests.rows import execute, execute_beside, outcomes_by_user, pause_beside
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import card, pass_time, quiet, until, watching
from tests.world import APPROVE, IDS, REF, REJECT, World, running, settings_for, world


async def test_typed_command_whose_commit_is_in_doubt_is_not_run_later(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        await quiet(bot)
        line.cut_after = COMMIT
        ack = await bot.slack.command(REF)
        assert "may still be sent" in ack.body
        line.is_down = False
        await pass_time(bot, 60)
        assert bot.together.posts == []
        assert [row["status"] for row in await execute_beside(bot, select(decisions.c.status))] == ["void"]


async def test_selection_whose_commit_is_in_doubt_is_not_carried_out_later(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        await began(bot)
        storm(bot, 6)
        view = await choose(bot, await digest(bot))
        await quiet(bot)
        line.cut_after = COMMIT
        ack = await bot.slack.submit(view)
        assert "may still be sent" in ack.body
        assert "Press" not in ack.body, "a digest has no button that checks again"
        line.is_down = False
        await bot.settle()
        assert bot.together.posts == []
        assert [row["status"] for row in await execute_beside(bot, select(batches.c.status))] == ["void"]
        (told,) = bot.slack.direct("U0ALICE")
        assert told.text.startswith("The bot can't reach its database, so nothing was sent.")


async def test_first_of_two_approvals_does_not_count_while_approvals_are_paused() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        await pause_beside(bot, Actor("U0BOB", "bob", "T0HOME"))
        await bot.slack.press(bot.alert(), APPROVE)
        assert "Not approved: <@U0BOB> paused approvals until" in (await bot.reply_privately()).text
        assert await outcomes_by_user(bot) == [("U0ALICE", "paused")]
        assert await execute_beside(bot, select(first_approvals)) == []
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_rejection_that_is_read_back_is_theirs_though_the_repair_had_become_another() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.before_decision = lambda _call: bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        bot.together.faults.append(Fault("cut", verb="reject", after=True))
        await bot.slack.press(alert, REJECT)
        await bot.edited(alert)
        assert "Rejected, but the repair had become “Quick reprovision”. You saw “Reboot”." in alert.text
        assert await outcomes_by_user(bot) == [("U0ALICE", "rejected")]


async def test_tracked_node_that_waits_again_is_not_in_repair() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add()
        other = bot.together.add(("cluster-1", "instance-2", "remediation-2"))
        alert = await card(bot)
        await card(bot, other)
        bot.together.remediations[other]["state"] = "RUNNING"
        await card(bot, other, "Rebooting")
        bot.together.remediations[other]["state"] = "PENDING_APPROVAL"
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved by <@U0ALICE>")
        assert bot.together.state(IDS) == "PENDING"


async def submit_in_doubt(bot: World, line: Line) -> Posted:
    """Confirm a selection of six whose commit is in doubt and isn't taken back yet. Returns its digest."""
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    await quiet(bot)
    bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
    line.cut_after = COMMIT
    assert "may still be sent" in (await bot.slack.submit(view)).body
    return message


async def test_selection_that_another_process_has_carried_out_is_reported(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        await submit_in_doubt(bot, line)
        database = Database(postgresql)
        await execute(database, update(decisions).values(lease_until=0.0))
        theirs = settings_for(bot.slack, bot.together, DATABASE_URL=postgresql)
        async with running(App(theirs, clock=bot.time.clock), bot.slack):
            await bot.together.until(lambda: len(bot.together.posts) == 6)
        bot.time.follower, line.is_down = None, False
        await pass_time(bot, 120)
        (row,) = await execute(database, select(batches.c.status))
        await database.close()
        assert row["status"] == "confirmed", "its results are shown nowhere else"
        assert any("6 of 6 approved" in message.everything for message in bot.slack.visible())


async def test_selection_that_another_process_had_begun_is_not_said_to_be_stopped_by_another_version(
    postgresql: str,
) -> None:
    async with line_to(postgresql) as line, watching(database=line.url) as bot:
        message = await submit_in_doubt(bot, line)
        database = Database(postgresql)
        await execute(database, update(decisions).values(lease_until=0.0))
        await database.close()
        theirs = settings_for(bot.slack, bot.together, DATABASE_URL=postgresql)
        async with running(App(theirs, clock=bot.time.clock), bot.slack):
            with bot.together.paused("approve"):
                await bot.together.until(lambda: bot.together.is_waiting("approve"))
                bot.time.follower, line.is_down = None, False
                await bot.time.end_pause(WaitReason.RETRY)
                await quiet(bot)
        await pass_time(bot, 120)
        await until(bot, lambda: "Stopped" in message.everything)
        assert "Stopped: its start couldn't be recorded for certain. 5 not attempted." in message.everything
        assert bot.slack.direct("U0ALICE") == []
