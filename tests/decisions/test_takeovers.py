"""Two processes and one decision: who takes it over says nothing that the other one makes untrue."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest
from sqlalchemy import select, text, update

from bot.clock import WaitReason
from bot.metrics import DECISIONS
from bot.models import Actor, Mode, RemediationRef
from bot.store import Database, approvals
from bot.store.tables import audit, decisions
from tests.deaths import age_by, died_while, free_the_lease, left_behind
from tests.manual_clock import ON_THE_WAY, ManualClock
from tests.proxy import COMMIT, Line, line_to
from tests.rows import column, execute, execute_beside, outcomes, pause_beside
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.watch import HOLD, card, in_step, pass_time, quiet, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, world

COUNTER = "remediation_bot_decisions_total"
BOB = Actor("U0BOB", "bob", "T0HOME")


@asynccontextmanager
async def beside(bot: World, url: str) -> AsyncIterator[None]:
    """Run one more process, which reaches the database without the line and is told nothing by Slack."""
    async with bot.another(bot.settings.model_copy(update={"database_url": url})):
        await bot.time.until_sleeping(WaitReason.RECOVERY, 2)  # or the second looks too early for what it takes over
        bot.slack.bot_url = f"http://127.0.0.1:{bot.app.port}"
        yield


async def overtake(bot: World, url: str, line: Line) -> None:
    """Let the lease of a process run out whose line is frozen, and another one take its decision over."""
    await line.frozen.wait()
    database = Database(url)
    await execute(database, update(decisions).values(lease_until=0.0))
    await database.close()
    await bot.time.advance(20.0)


@pytest.mark.parametrize("change", ["paused", "none"])
async def test_process_that_is_answered_after_its_lease_sends_nothing(postgresql: str, change: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        async with beside(bot, postgresql):
            line.freeze_after = [b"INSERT INTO audit", COMMIT]
            await bot.slack.press(alert, APPROVE)
            await line.frozen.wait()
            if change == "paused":
                await pause_beside(bot, BOB, url=postgresql)
            await overtake(bot, postgresql, line)
            words = "hadn't taken effect as of" if change == "paused" else "Approved by"
            await bot.slack.until(lambda: words in alert.text)  # not only that somebody is approving it
            posts = len(bot.together.posts)
            line.thaw()
            await bot.settle()
        assert len(bot.together.posts) == posts == (change == "none")
        assert words in alert.text
        if change == "paused":
            assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_answer_is_told_once_when_its_record_is_answered_after_the_lease(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url, drain_seconds=0.05) as bot:
        bot.together.add()
        async with beside(bot, postgresql):
            line.freeze_after = [b"INSERT INTO audit", COMMIT, b"INSERT INTO audit", COMMIT]
            await bot.slack.command(REF)
            await overtake(bot, postgresql, line)
            await bot.answer(2)
            line.thaw()
            await bot.settle()
        unsure, sure = bot.slack.visible()
        assert "The bot can't reach its database. Your cancellation may have gone through." in unsure.text
        assert "Cancelled by <@U0ALICE>" in sure.text


async def test_decision_that_is_taken_over_while_its_outcome_is_recorded_is_counted_once(postgresql: str) -> None:
    def counted() -> float:
        return sum(
            sample.value for family in DECISIONS.collect() for sample in family.samples if sample.name == COUNTER
        )

    async with line_to(postgresql) as line, world(database=line.url, drain_seconds=0.05) as bot:
        bot.together.add()
        before = counted()
        async with beside(bot, postgresql):
            bot.together.on_call["cancel"] = line.freeze
            await bot.slack.command(REF)
            await overtake(bot, postgresql, line)
            await bot.answer(2)
            line.cut()
            line.thaw()
            await bot.settle()
    assert counted() == before + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("paused", "It wasn't sent again: <@U0BOB> paused approvals until"),
        ("escalated", "It wasn't sent again: the repair changed from “Reboot” to “Quick reprovision”."),
        ("observed", "It wasn't sent again: the bot only observes this cluster now."),
        (16, "It wasn't sent again: Together rejected the bot's API key (HTTP 401)."),
        (7, "It wasn't sent again: The bot's Together API key can't do that (HTTP 403)."),
        (5, "It wasn't sent again: Together has no such remediation on that cluster and instance."),
        (9, "Together refused to take it again: “simulated” Press"),
    ],
)
async def test_takeover_says_no_final_no_about_a_post_that_may_be_on_its_way(
    postgresql: str, change: str | int, words: str
) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            settings = bot.settings
            if change == "paused":
                await pause_beside(bot, BOB)
            elif change == "observed":
                settings = settings.model_copy(update={"bot_observe": ("*",)})
            elif change == "escalated":
                bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
            else:
                bot.together.faults.append(Fault("rpc", verb="approve", code=int(change), times=-1))
            async with bot.another(settings):
                await bot.edited(alert)
        assert "your approval hadn't taken effect as of" in alert.text
        assert words in alert.text
        assert "wasn't sent:" not in alert.text
        assert list(alert.buttons) == [REFRESH]
        assert await outcomes(bot) == ["not_in_effect"], "it counts for the limit while it may still arrive"


async def test_repeat_asks_again_whether_the_person_may(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            bot.slack.users["U0ALICE"]["deleted"] = True
            async with bot.another():
                await bot.edited(alert)
        assert bot.together.posts == []
        assert "It wasn't sent again: you're no longer allowed to decide." in alert.text


async def test_repeat_does_not_deny_the_right_of_who_slack_cannot_look_up(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            bot.slack.faults.append(SlackFault("users.info", "internal_error", times=-1))
            async with bot.another():
                await bot.edited(alert)
        assert bot.together.posts == []
        assert "It wasn't sent again: Slack couldn't say whether you can still decide." in alert.text


async def test_repeat_waits_by_its_own_clock_whatever_the_databases_says(postgresql: str) -> None:
    """The database's clock stepped on by two minutes: the decision of a living process looks as if it were old."""
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            await age_by(bot, 120)
            async with bot.another():
                await bot.edited(alert)
        assert bot.time.slept(WaitReason.READ_BACK) == [20.0]


@pytest.mark.parametrize("hours", [0, 1])
async def test_click_is_not_run_late_because_a_clock_was_set_back(postgresql: str, hours: int) -> None:
    """The database's clock goes back by an hour; the next process comes at once, or an hour later."""
    time = ManualClock(ON_THE_WAY)
    async with in_step(postgresql, time), world(database=postgresql, time=time, drain_seconds=0.05) as bot:
        bot.together.add()
        await left_behind(bot, APPROVE)
        time.follower = None
        bot.app.tasks.limit = 0
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as connection:
            await connection.execute("UPDATE present SET seconds = seconds - 3600 + %s", (hours * 3600.0 + 20.0,))
        time.seconds += hours * 3600.0
        async with bot.another():
            told = await bot.answer(2)
        assert "Your approval wasn't sent: the bot couldn't act on it" in told.text
        assert bot.together.posts == []


async def test_first_approval_counts_only_with_its_outcome(postgresql: str) -> None:
    """The commit of Alice's approval gets no answer: what she is told agrees: the other approval agrees with it."""
    async with line_to(postgresql) as line, world(database=line.url, BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = bot.alert()
        line.cut_after = b"INSERT INTO first_approvals"
        await bot.slack.press(alert, APPROVE)
        await bot.slack.until(lambda: line.is_down or None)
        line.is_down = False
        await bot.slack.until(lambda: alert.edits or bot.slack.visible("U0ALICE"))
        refused = [message.text for message in bot.slack.visible("U0ALICE") if "nothing was sent" in message.text]
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.settle()
        assert not (refused and bot.together.posts)
        assert ("1 of 2 approvals: <@U0BOB>" in alert.text) == bool(refused)


@pytest.mark.parametrize("action", [APPROVE, CANCEL])
async def test_outcome_whose_commit_is_in_doubt_is_recorded_and_told_to_others_once(
    postgresql: str, action: str
) -> None:
    events = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/hook", "BOT_WEBHOOK_SECRET": f"whsec_{'A' * 32}"}
    async with line_to(postgresql) as line, world(database=line.url, environ=events) as bot:
        bot.together.add()
        alert = bot.alert()
        async with AsyncExitStack() as stack:
            stack.enter_context(bot.together.paused(action.removeprefix("remediation:")))
            await bot.slack.press(alert, action)
            await bot.together.until(lambda: bot.together.posts)
            line.cut_after = COMMIT
        await bot.slack.until(lambda: line.is_down or None)
        line.is_down = False
        await bot.edited(alert)
        await bot.settle()
        ended = select(audit.c.seq).where(audit.c.event == "outcome")
        assert len(await execute_beside(bot, ended)) == 1
        assert len(await execute_beside(bot, text("SELECT id FROM outbox"))) == 1
        assert await column(bot, "status") == "done"


async def test_process_whose_database_hangs_says_so(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        assert bot.app.database
        bot.app.database.seconds = 0.5
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            line.freeze()
        await bot.together.until(lambda: bot.together.state(IDS) == "PENDING")
        await bot.time.advance(13.0)
        told = await bot.slack.until(lambda: next((e for e in bot.slack.visible() if "may have gone" in e.text), None))
        assert "The bot can't reach its database. Your approval may have gone through." in told.text
        line.thaw()
        await bot.slack.until(lambda: "Approved by <@U0ALICE>" in alert.text or None)


async def test_release_whose_process_died_is_not_denied() -> None:
    """It was made, and nobody had recorded yet that it was."""
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, choice="1800")
        await until(bot, lambda: "On hold until" in alert.text)
        with bot.together.paused("get"):
            await bot.slack.press(alert, HOLD, choice="release")
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        database = Database(bot.settings.database_url, bot.time.clock)
        assert await database.run(approvals.release, RemediationRef(*IDS), "U0ALICE")
        await database.close()
        async with bot.another():
            await until(bot, lambda: "On hold until" not in alert.text and "released" in str(thread(bot, alert)))
            await quiet(bot)
        assert "There was no hold to release" not in str([message.everything for message in bot.slack.messages])


async def test_card_names_both_who_approved_after_a_takeover(database_url: str) -> None:
    mode = Mode.REBOOT_VM.removeprefix("REMEDIATION_MODE_")
    async with watching(database=database_url, drain_seconds=0.2, BOT_TWO_PEOPLE_MODES=mode) as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE, user="U0BOB")
            await bot.together.until(lambda: bot.together.posts)
            await bot.settle()
        await free_the_lease(database_url)
        async with bot.another():
            await until(bot, lambda: "Approved by <@U0ALICE> and <@U0BOB>" in alert.text)
            await pass_time(bot, 60)
        assert "Approved by <@U0ALICE> and <@U0BOB>" in alert.text
        assert bot.together.state(IDS) == "PENDING"


async def test_approval_in_doubt_is_not_said_to_lack_a_first_one_that_nobody_gave(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        two = bot.settings.model_copy(update={"bot_two_people_modes": ("REMEDIATION_MODE_REBOOT_VM",)})
        async with died_while(bot, at="sent"), bot.another(two):
            await bot.edited(alert)
        said = [message.text for message in bot.slack.messages]
        assert "first of its two approvals" not in str(said)
