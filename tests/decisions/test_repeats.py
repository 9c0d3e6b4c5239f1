"""A POST that is sent again: the rules are asked again, and what it is answered says no more than is known."""

from datetime import UTC, datetime

import pytest

from bot.clock import WaitReason
from bot.models import Actor
from tests.deaths import died_while, left_behind, own_comment
from tests.decisions.test_late_posts import wait_again
from tests.manual_clock import ON_THE_WAY
from tests.rows import outcomes_by_user, pause_beside
from tests.simulator.together import Fault
from tests.watch import card, watching
from tests.world import APPROVE, IDS, REF, World, world


def open_again(bot: World) -> None:
    """What was decided on ends, and the same ID is another incident's."""
    created = datetime.fromtimestamp(bot.time.now() + 30, UTC).isoformat()
    bot.together.remediations[IDS]["create_time"] = created


@pytest.mark.parametrize("may_still", [True, False])
async def test_repeat_of_a_second_approval_asks_for_the_first_again(*, may_still: bool) -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE", "U0BOB"]
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": "5"}))

        def leave() -> None:
            bot.slack.groups["S0ONCALL"] = ["U0BOB"]
            bot.time.seconds += 301  # what Slack said of a group counts for five minutes

        if not may_still:
            bot.together.on_call["approve"] = leave
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        if may_still:
            await card(bot, words="Approved by <@U0ALICE> and <@U0BOB>")
            assert len(bot.together.posts) == 2
            return
        told = (await bot.reply_privately("U0BOB")).text
        assert "Not approved: the first of its two approvals no longer counts." in told
        assert len(bot.together.posts) == 1
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


async def test_refused_approval_of_what_has_opened_again_did_not_go_through() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.on_call["approve"] = lambda: open_again(bot)
        bot.together.faults.append(Fault("rpc", verb="approve", code=9))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "may have gone through" not in alert.text
        assert "<@U0ALICE>, your approval was refused by Together, but the remediation is still waiting." in alert.text


async def test_repeat_that_is_refused_since_it_has_opened_again_may_have_gone_through() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            bot.together.on_call["approve"] = lambda: open_again(bot)
            bot.together.faults.append(Fault("rpc", verb="approve", code=9))
            async with bot.another():
                await bot.edited(alert)
        assert "your approval may have gone through: the remediation has ended and opened again since." in alert.text
        assert APPROVE in alert.buttons


async def test_repeat_that_is_refused_while_nothing_can_be_read_may_have_gone_through() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        await left_behind(bot, APPROVE)
        async with died_while(bot, at="sent"):
            away = Fault("html", verb="get", status=503, times=-1)
            bot.together.on_call["approve"] = lambda: bot.together.faults.append(away)
            bot.together.faults.append(Fault("rpc", verb="approve", code=9))
            async with bot.another():
                told = await bot.slack.until(lambda: [message for message in bot.slack.messages if message.thread_ts])
        assert "The approval may have gone through." in told[0].text


async def test_approval_that_arrives_as_its_repeat_is_prepared_is_not_sent_again() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        comment = await own_comment(bot)

        def arrive() -> None:
            # Read when it is taken over, after its time to arrive, and before the repeat.
            if len([call for call in bot.together.calls if call.verb == "get"]) == 3:
                bot.together.review(IDS, "approve", comment)

        bot.together.on_call["get"] = arrive
        async with died_while(bot, at="sent"), bot.another():
            await bot.edited(alert)
        assert "Approved by <@U0ALICE>" in alert.text
        assert "wasn't sent" not in alert.text
        assert bot.together.posts == []


async def test_repeat_of_a_cancellation_is_sent_while_nothing_may_be_approved() -> None:
    async with world(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
        bot.together.add()
        await pause_beside(bot, Actor("U0BOB", "bob", "T0HOME"))
        bot.together.faults.append(Fault("rpc", verb="cancel", code=8, headers={"Retry-After": "5"}))
        await bot.slack.command(REF)
        assert "Cancelled by <@U0ALICE>" in (await bot.answer(1)).text
        assert len(bot.together.posts) == 2


async def test_post_that_was_refused_for_its_rate_and_then_did_not_arrive_is_not_called_unsent() -> None:
    async with world() as bot:
        bot.together.add()
        bot.time.passing = ON_THE_WAY - {WaitReason.RETRY}
        bot.together.faults.append(Fault("rpc", verb="approve", code=8))
        await bot.slack.press(bot.alert(), APPROVE)
        await bot.time.until_sleeping(WaitReason.RETRY)
        await bot.together.stop()
        bot.time.passing = ON_THE_WAY
        await bot.time.end_pause(WaitReason.RETRY)
        told = (await bot.answer(2)).text
        assert len(bot.together.posts) == 1
        assert "Nothing was sent" not in told
        assert await outcomes_by_user(bot) != [("U0ALICE", "not_reached")]


async def test_repeat_of_a_dialog_on_another_tools_alert_approves_no_later_incident(postgresql: str) -> None:
    """Its button names no incident: only the time tells."""
    async with world(database=postgresql, drain_seconds=0.05, BOT_REASON="always") as bot:
        bot.together.add()
        alert = bot.alert(episode=None)
        await bot.time.advance(300)
        bot.together.faults.append(Fault("hang", verb="approve"))
        await bot.slack.press(alert, APPROVE)
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        await bot.slack.submit(view, reason="as agreed")
        await bot.together.until(lambda: bot.together.posts)
        await bot.settle()
        await bot.time.advance(60)
        wait_again(bot)
        async with bot.another():
            await bot.time.advance(30)
            await bot.slack.until(lambda: bot.slack.replies(alert) or alert.edits or len(bot.together.posts) > 1)
        assert len(bot.together.posts) == 1
        assert bot.together.state(IDS) == "PENDING_APPROVAL"


@pytest.mark.parametrize("is_created_anew", [True, False])
async def test_approval_that_ran_before_it_was_read_is_not_said_to_have_had_no_effect(
    postgresql: str, *, is_created_anew: bool
) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.time.advance(60)
        with bot.together.paused("approve"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.posts)
            await bot.settle()
        await bot.together.until(lambda: bot.together.state(IDS) == "PENDING")
        for _ in range(4):
            await bot.time.advance(60)
            bot.together.advance(IDS)
        assert bot.together.state(IDS) == "SUCCEEDED"
        await bot.time.advance(60)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        if is_created_anew:
            open_again(bot)
        async with bot.another():
            await bot.time.advance(30)
            await bot.edited(alert)
        assert len(bot.together.posts) == 1
        assert "may have gone through: the remediation has ended and opened again since" in alert.text
