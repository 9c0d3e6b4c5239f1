"""Two people must approve: who counts as the first, for what, and what the second one was told."""

import asyncio
from typing import Any

import pytest

from bot import cards
from bot.app import App
from bot.models import FirstApproval, Mode, SeenState
from bot.store import Database, DecisionStore
from tests.deaths import died_while
from tests.manual_clock import START
from tests.proxy import line_to
from tests.samples import remediation
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, review, storm
from tests.test_flow_home import opened as home_of
from tests.test_flow_menu import opened
from tests.test_oncall_over_time import asked
from tests.watch import card, pass_time, poll, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, CANCEL, IDS, World, running, settings_for, world


async def test_click_whose_question_said_that_nothing_runs_yet_runs_nothing() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        seen_by_bob = dict(alert.controls[APPROVE])
        assert "First of 2 approvals: nothing runs yet." in str(seen_by_bob["confirm"])
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        await bot.slack.press(alert, APPROVE, user="U0BOB", button=seen_by_bob)
        await pass_time(bot, 5)
        assert bot.together.posts == []


async def test_click_whose_question_said_that_nothing_runs_yet_runs_nothing_where_one_person_is_enough_now() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        assert "First of 2 approvals: nothing runs yet." in str(alert.controls[APPROVE]["confirm"])
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_two_people_modes": ()})):
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="so it would start the repair. Review it and approve again.")
            assert bot.together.posts == []
            assert "First of 2" not in str(alert.controls[APPROVE]["confirm"])
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved by <@U0ALICE>")
        assert [call.verb for call in bot.together.posts] == ["approve"]


async def test_card_asks_nobody_for_a_second_approval_where_one_is_enough_since_a_restart() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_two_people_modes": ()})):
            await card(bot, words="when two approvers were needed. One is enough now: approve again.")
            assert "must approve too" not in alert.text
            assert "1 more approval needed" not in str(alert.blocks)
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved by <@U0ALICE>")
        assert [call.verb for call in bot.together.posts] == ["approve"]


async def test_both_who_approved_are_still_named_where_somebody_else_comes_too_late() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        seen = dict(alert.controls[APPROVE])
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="Approved by <@U0ALICE> and <@U0BOB>")
        await bot.slack.press(alert, APPROVE, button=seen)
        await card(bot, words="Already approved by <@U0ALICE> and <@U0BOB>")
        await bot.slack.say("<@U0BOT> hold 1h", user="U0ALICE", thread=alert)
        await card(bot, words="Too late to hold")
        assert "Approved by <@U0ALICE> and <@U0BOB>" in alert.text


async def test_both_who_approved_are_named_wherever_somebody_asks_who_did() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="Approved by <@U0ALICE> and <@U0BOB>")
        await poll(bot)
        assert "Approved by <@U0ALICE> and <@U0BOB>" in await asked(bot, "status gpu-node-7")
        assert "Decided by: <@U0ALICE> and <@U0BOB> 1." in await asked(bot, "tonight")
        assert " · <@U0ALICE> and <@U0BOB>" in await asked(bot, "history gpu-node-7")


async def test_digest_review_and_home_count_no_first_approval_where_one_is_enough_since_a_restart() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message, "gpu-node-0003", "gpu-node-0007"))
        await digest(bot, "1 of 2 approvals (@U0ALICE)")
        assert "1 of 2 approvals" in str(await home_of(bot, "U0BOB"))
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_two_people_modes": ()})):
            await until(bot, lambda: "1 of 2 approvals" not in message.text, seconds=7200)
            assert "1 of 2 approvals" not in str(await review(bot, message))
            assert "1 of 2 approvals" not in str(await home_of(bot, "U0BOB"))


async def test_digest_asks_for_no_second_approval_where_the_first_one_no_longer_counts() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        await began(bot)
        nodes = storm(bot, 8)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message, "gpu-node-0003", "gpu-node-0007"))
        await digest(bot, "1 of 2 approvals (@U0ALICE)")
        bot.together.escalate(nodes[3], "REMEDIATION_MODE_HOST_AWARE")
        bot.together.review(nodes[7], "approve")
        await digest(bot, "1 approved, queued")
        await until(bot, lambda: "Migrate to new host" in message.text)
        assert "must approve too" not in message.everything
        assert "need" not in message.everything.replace("need a decision", "")


async def test_selection_whose_dialog_said_that_a_second_person_is_needed_runs_nothing() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="VM_ONLY") as bot:
        await began(bot)
        storm(bot, 8)
        message = await digest(bot)
        theirs = await choose(bot, message, "gpu-node-0003", "gpu-node-0007", user="U0BOB")
        assert "2 of 2 need a second person's approval." in str(theirs)
        bot.slack.views.clear()
        await bot.slack.submit(await choose(bot, message, "gpu-node-0003", "gpu-node-0007"))
        await digest(bot, "1 of 2 approvals (@U0ALICE)")
        bot.slack.views[:] = [theirs]
        await bot.slack.submit(theirs, user="U0BOB")
        await pass_time(bot, 20)
        assert bot.together.posts == []


async def test_first_approval_is_used_up_by_the_second_one() -> None:
    """Together says no times, which are optional; nothing watches, as the alerts are another tool's."""
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add(create_time=None)
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 2)
        assert bot.together.state(IDS) == "PENDING"
        bot.together.advance(IDS, "SUCCEEDED")
        await bot.time.advance(3600)
        bot.together.add(create_time=None)  # the next incident, under the same ID
        again = bot.alert()
        await bot.slack.press(again, APPROVE, user="U0BOB")
        await bot.edited(again)
        assert len(bot.together.posts) == 1, again.text


async def test_first_approval_by_a_clock_that_was_ahead_does_not_count_for_longer() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add(create_time=None)
        bot.time.set_back = -86_400.0
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.time.set_back = 0.0
        await bot.time.advance(9 * 3600)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 2)
        assert bot.together.posts == [], alert.text
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert, 3)
        assert [call.verb for call in bot.together.posts] == ["approve"]


async def test_who_wanted_to_cancel_since_is_no_first_approver() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.together.faults.append(Fault("rpc", verb="cancel", code=14))
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert, 2)
        assert "your cancellation hadn't taken effect" in alert.text
        await bot.time.advance(61)
        second = bot.alert()
        await bot.slack.press(second, APPROVE, user="U0BOB")
        await bot.edited(second)
        assert [call.verb for call in bot.together.posts] == ["cancel"], second.text


async def test_one_person_is_not_both_of_two_after_a_takeover() -> None:
    """The rule is on, off, and on again: Alice approves in each of the first two, and the second process dies."""
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM", drain_seconds=0.05) as bot:
        bot.together.add()
        first = bot.alert()
        await bot.slack.press(first, APPROVE)
        await bot.edited(first)
        await bot.settle()
        alert = bot.alert()
        with bot.together.paused("get"):
            theirs = settings_for(bot.slack, bot.together, DATABASE_URL=bot.settings.database_url)
            async with running(App(theirs, clock=bot.time.clock, drain_seconds=0.05), bot.slack):
                await bot.slack.press(alert, APPROVE)
                await bot.together.until(lambda: bot.together.is_waiting("get"))
        database = Database(bot.settings.database_url, bot.time.clock)
        store = DecisionStore(database, 15, bot.time.clock)
        (job,) = await store.take_over(1)
        job.seen = SeenState("REMEDIATION_MODE_REBOOT_VM", "PENDING_APPROVAL")
        await store.record_send(job)
        await store.release(job)
        await database.close()
        async with bot.another():
            await bot.edited(alert)
        assert bot.together.posts == [], alert.text


@pytest.mark.parametrize("takes_two", ["VM_ONLY", "REBOOT_VM"])
@pytest.mark.parametrize(("at", "words"), [
    ("claimed", "Not approved: this needs two approvers"),
    ("sent", "It wasn't sent again: this needs two approvers"),
])  # fmt: skip
async def test_other_mode_is_not_sent_where_it_or_the_suggested_one_takes_two_since_the_restart(
    at: str, words: str, takes_two: str
) -> None:
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add(mode="REMEDIATION_MODE_VM_ONLY")
        view = await opened(bot, await card(bot), cards.OTHER_MODE)
        with bot.together.paused("get"):
            await bot.slack.submit(view, reason="a reboot is enough", mode="REMEDIATION_MODE_REBOOT_VM")
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        theirs = settings_for(
            bot.slack, bot.together, DATABASE_URL=bot.settings.database_url, BOT_TWO_PEOPLE_MODES=takes_two
        )
        async with died_while(bot, at=at), bot.another(theirs):
            await until(bot, lambda: any(words in message.text for message in bot.slack.messages))
        assert bot.together.posts == []


async def test_first_approval_of_what_the_card_did_not_show_yet_is_kept() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        await pass_time(bot, 120)
        bot.together.add()  # the next incident, of which another tool tells first
        other_tools = bot.alert()
        await bot.slack.press(other_tools, APPROVE)
        await until(bot, lambda: "1 of 2 approvals: <@U0ALICE>" in other_tools.text, 5)
        await poll(bot)
        assert "1 of 2 approvals: <@U0ALICE>" in alert.text
        assert "Second of 2 approvals: the repair starts." in str(other_tools.buttons[APPROVE]["confirm"])
        await bot.slack.press(other_tools, APPROVE, user="U0BOB")
        await pass_time(bot, 5)
        assert [call.verb for call in bot.together.posts] == ["cancel", "approve"]


@pytest.mark.parametrize("read", ["2026-11-24T03:00:00.9Z", "2026-11-24T03:00:00Z", "2026-11-24T03:00:01Z"])
def test_first_approval_counts_though_a_list_rounds_times(read: str) -> None:
    drawn = remediation(create_time="2026-11-24T03:00:00.9Z")
    first = FirstApproval("U0ALICE", Mode.REBOOT_VM, START, episode=drawn.episode)
    assert first.counts_for(remediation(create_time=read))


async def test_who_approved_an_earlier_incident_is_not_named_for_the_next_one() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        first = bot.alert()
        await bot.slack.press(first, APPROVE)
        await bot.edited(first)
        bot.together.resolve(IDS)
        await bot.settle()
        await bot.time.advance(3600)
        bot.together.add()
        theirs = settings_for(bot.slack, bot.together, DATABASE_URL=bot.settings.database_url)  # the rule is off
        async with bot.another(theirs):
            alert = bot.alert()
            await bot.slack.press(alert, APPROVE, user="U0BOB")
            await bot.edited(alert)
        assert "U0ALICE" not in alert.text, alert.text


async def test_first_approval_stays_though_lists_leave_out_when_it_opened() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()

        def list_as(reason: str) -> None:
            listed = {**bot.together.remediations[IDS], "reason": reason}
            del listed["create_time"]
            bot.together.lists_as[IDS] = listed

        list_as("Xid 79")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        await poll(bot)
        list_as("Xid 79, twice")
        await poll(bot)
        await poll(bot)
        assert "1 of 2 approvals" in alert.text
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await card(bot, words="Approved by <@U0ALICE> and <@U0BOB>")


async def test_both_who_approved_are_named_where_the_second_answer_was_lost() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE, user="U0BOB")
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            bot.together.faults += [Fault("rpc", verb=verb, times=-1, code=13) for verb in ("get", "list")]
        await card(bot, words="may have gone through")
        bot.together.faults.clear()
        await card(bot, words="Approved by", seconds=300)
        await pass_time(bot, 120)
        assert "Approved by <@U0ALICE> and <@U0BOB>" in alert.text


async def cancelled_at_the_last_look(bot: World, alert: Posted) -> None:
    """Let Bob approve, and Alice, whose first approval it needs, cancel while Together takes a second for that look."""
    cancel = dict(alert.controls[CANCEL])
    looks: list[int] = []

    def slow_at_the_second() -> None:
        looks.append(1)
        if len(looks) == 2:
            bot.together.faults.append(Fault("slow", verb="get", seconds=1.0))

    bot.together.on_call["get"] = slow_at_the_second
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.together.until(lambda: len(looks) == 2)
    await bot.slack.press(alert, CANCEL, user="U0ALICE", button=cancel)
    assert "Nothing more was sent" in (await bot.reply_privately("U0ALICE")).text


async def test_power_cycle_does_not_leave_once_the_first_of_its_approvers_wants_to_cancel() -> None:
    """Together takes a second for the last look before the POST, which isn't sent yet when Alice presses Cancel."""
    async with watching(BOT_TWO_PEOPLE_MODES="HOST_POWER_CYCLE") as bot:
        await began(bot)
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        await poll(bot)
        await cancelled_at_the_last_look(bot, alert)
        assert bot.together.posts == []
        assert "the first of its two approvals no longer counts" in (await bot.reply_privately("U0BOB")).text
        await until(bot, lambda: "1 of 2 approvals" not in alert.text)
        assert bot.together.posts == [], alert.text


async def test_power_cycle_that_became_a_removal_while_the_first_approval_was_read_is_not_sent(postgresql: str) -> None:
    """Approve can't name a power cycle, so what is there when the POST arrives runs."""
    async with line_to(postgresql) as line, watching(database=line.url, BOT_TWO_PEOPLE_MODES="HOST_POWER_CYCLE") as bot:
        await began(bot)
        bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals")
        await poll(bot)
        looks: list[int] = []

        def freeze_at_the_second() -> None:
            looks.append(1)
            if len(looks) == 2:
                line.freeze()

        bot.together.on_call["get"] = freeze_at_the_second
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.together.until(lambda: len(looks) == 2)
        while not bot.transactions():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT"
        bot.time.seconds += 1  # the database's own clock is behind the line
        line.thaw()
        await bot.together.until(lambda: len(looks) > 2 or bot.together.posts)
        await pass_time(bot, 30)
        assert bot.together.posts == [], alert.text


async def waits_again(bot: World) -> None:
    """An hour later: Together keeps its create_time, and a rejection leaves no end_time (together-api.md)."""
    await pass_time(bot, 3600)
    bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "update_time": moment(bot)}
    await until(bot, lambda: bot.slack.cards(IDS[2])[0].text.partition("Approve ")[2], 1200)
    await poll(bot)


@pytest.mark.parametrize("after", [30, 600])
@pytest.mark.parametrize("where", ["console", "slack"])
async def test_first_approval_of_what_was_rejected_is_no_first_approval_of_the_next_incident(
    where: str, after: float
) -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="1 of 2 approvals: <@U0ALICE>")
        await pass_time(bot, after)
        if where == "console":
            bot.together.review(IDS, "reject", "not this one")
        else:
            view = await opened(bot, alert, cards.REJECT, user="U0BOB")
            await bot.slack.submit(view, user="U0BOB", reason="not this one")
        await until(bot, lambda: "ancelled" in alert.text or "Rejected by" in alert.text)
        await poll(bot)
        before = len(bot.together.posts)
        await waits_again(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await pass_time(bot, 10)
        assert len(bot.together.posts) == before, "Alice approved an incident that was rejected since"


async def test_first_approval_of_what_another_person_cancelled_does_not_count_where_nothing_is_watched() -> None:
    async with world(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add(create_time=None)
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert, 2)
        await bot.time.advance(3600)
        bot.together.add(create_time=None)
        again = bot.alert()
        await bot.slack.press(again, APPROVE, user="U0BOB")
        await bot.edited(again)
        assert [call.verb for call in bot.together.posts] == ["cancel"], again.text


async def rejected_before(bot: World, **fields: Any) -> Posted:
    """Return the card of what waits again after a rejection, with the first of two approvals."""
    await began(bot)
    bot.together.add(**fields)
    alert = await card(bot)
    bot.together.review(IDS, "reject", "not this one")
    await card(bot, words="ancelled")
    await waits_again(bot)
    await bot.slack.press(alert, APPROVE)
    return await card(bot, words="1 of 2 approvals: <@U0ALICE>")


async def test_both_who_approved_are_named_though_it_was_rejected_before() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        alert = await rejected_before(bot)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await until(bot, lambda: "Approved by <@U0ALICE> and <@U0BOB>" in alert.text)


async def test_first_approval_that_is_taken_back_does_not_count_though_it_was_rejected_before() -> None:
    """Alice cancels while Together is asked for the last time before Bob's approval leaves."""
    async with watching(BOT_TWO_PEOPLE_MODES="HOST_POWER_CYCLE") as bot:
        alert = await rejected_before(bot, mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        await poll(bot)
        await cancelled_at_the_last_look(bot, alert)
        await bot.settle()
        assert bot.together.posts == [], alert.text
