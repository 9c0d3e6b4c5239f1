"""Several people's decisions on one remediation are in doubt: who learns what came of theirs, and when."""

import pytest

from tests.decisions.test_doubt_on_cards import approved_in_doubt, unreadable
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import storm, unposted
from tests.watch import CHANNEL, card, pass_time, poll, thread, until, watching
from tests.world import APPROVE, IDS, REF, REFRESH, World

NO_APPROVAL = "instance-1: <@U0ALICE>, your approval hasn't taken effect."
NO_CANCELLATION = "instance-1: <@U0BOB>, your cancellation hasn't taken effect."


async def cancelled_in_doubt(bot: World, *, after: bool = False) -> None:
    """Let Bob's cancellation be in doubt, whether or not it took effect."""
    bot.together.faults.append(Fault("cut", verb="cancel", after=after))
    bot.together.on_call["cancel"] = lambda: unreadable(bot)
    await bot.slack.command(REF, user="U0BOB")
    told = "cancellation may have gone"
    await until(bot, lambda: [message for message in bot.slack.visible() if told in message.everything], 30)
    bot.together.on_call.clear()


async def both_in_doubt(bot: World, *, cancelled: bool = False) -> Posted:
    """Let Alice's approval and Bob's cancellation be in doubt."""
    alert = await approved_in_doubt(bot)
    await cancelled_in_doubt(bot, after=cancelled)
    return alert


def approve_late(bot: World) -> None:
    """Let Alice's approval arrive after all."""
    bot.together.review(IDS, "approve", bot.together.posts[0].body["comment"])


async def test_who_approved_in_doubt_learns_that_the_cancellation_in_doubt_has_taken_effect() -> None:
    async with watching() as bot:
        alert = await both_in_doubt(bot, cancelled=True)
        bot.together.faults.clear()
        await card(bot, words="Cancelled, apparently by <@U0BOB>")
        await until(bot, lambda: f"{NO_APPROVAL} It's already “Cancelled”." in thread(bot, alert))
        await pass_time(bot, 300)
        assert [line for line in thread(bot, alert) if "your" in line] == [f"{NO_APPROVAL} It's already “Cancelled”."]


async def test_who_cancelled_in_doubt_learns_that_the_approval_in_doubt_has_taken_effect() -> None:
    async with watching() as bot:
        alert = await both_in_doubt(bot)
        approve_late(bot)
        bot.together.advance(IDS)
        bot.together.faults.clear()
        await until(bot, lambda: [line for line in thread(bot, alert) if "approved by <@U0ALICE>" in line])
        assert not [line for line in thread(bot, alert) if "your" in line], "it may still arrive"
        await pass_time(bot, 90)
        assert [line for line in thread(bot, alert) if "your" in line] == [
            f"{NO_CANCELLATION} It's already “Cordoning the host”."
        ]


async def test_who_cancelled_in_doubt_learns_that_the_repair_runs_though_the_card_was_deleted() -> None:
    async with watching() as bot:
        alert = await both_in_doubt(bot)
        approve_late(bot)
        bot.slack.messages.remove(alert)
        bot.together.advance(IDS)
        bot.together.faults.clear()
        again = await card(bot, seconds=300)
        await until(bot, lambda: [line for line in thread(bot, again) if line.startswith(NO_CANCELLATION)])


async def test_who_cancelled_in_doubt_learns_that_the_repair_runs_though_a_storm_came_before_the_card() -> None:
    async with watching() as bot:
        refused = await unposted(bot)
        await cancelled_in_doubt(bot)
        bot.together.faults.clear()
        bot.together.review(IDS, "approve")
        bot.together.advance(IDS)
        await pass_time(bot, 90)
        storm(bot, 6)
        await poll(bot)
        bot.slack.faults.remove(refused)
        alert = await until(
            bot, lambda: next((one for one in bot.slack.cards(IDS[2]) if "Cordoning" in one.text), None)
        )
        await until(bot, lambda: [line for line in thread(bot, alert) if line.startswith(NO_CANCELLATION)])


async def test_cancellation_in_doubt_that_arrives_after_an_approval_is_not_denied() -> None:
    async with watching() as bot:
        alert = await both_in_doubt(bot)
        approve_late(bot)
        bot.together.faults.clear()
        await until(bot, lambda: [line for line in thread(bot, alert) if "approved by <@U0ALICE>" in line])
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled, apparently by <@U0BOB>")
        await pass_time(bot, 180)
        assert not [line for line in thread(bot, alert) if "your" in line]


async def test_approval_that_was_cancelled_afterward_is_not_denied() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        approve_late(bot)
        await cancelled_in_doubt(bot, after=True)
        bot.together.faults.clear()
        await card(bot, words="Cancelled, apparently by <@U0BOB>")
        await pass_time(bot, 180)
        assert not [line for line in thread(bot, alert) if "your" in line]


async def test_approval_in_doubt_of_what_was_rejected_in_the_console_is_known_to_be_in_vain() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        bot.together.review(IDS, "reject", "not now")
        await until(bot, lambda: f"{NO_APPROVAL} It's already “Cancelled”." in thread(bot, alert))


async def test_approval_in_doubt_is_known_to_be_in_vain_once_somebody_has_surely_cancelled() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        await bot.slack.command(REF, user="U0BOB")
        await card(bot, words="Cancelled by <@U0BOB>")
        await until(bot, lambda: f"{NO_APPROVAL} It's already “Cancelled”." in thread(bot, alert))


async def test_approval_in_doubt_is_known_to_be_in_vain_though_the_mode_has_changed_since() -> None:
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        bot.together.remediations[IDS].update(mode="REMEDIATION_MODE_VM_ONLY")
        await pass_time(bot, 30)
        assert list(alert.buttons) == [REFRESH], "it may still arrive"
        await bot.slack.press(alert, REFRESH, user="U0BOB")
        await until(bot, lambda: "no change yet" in alert.text)
        assert list(alert.buttons) == [REFRESH]
        await pass_time(bot, 87)
        assert APPROVE in alert.buttons
        assert f"{NO_APPROVAL} Decide again." in thread(bot, alert)


async def test_second_doubt_about_what_the_card_does_not_show_yet_keeps_the_first() -> None:
    """Bob's cancellation was refused an answer too, and finds it approved in the console, which no list has said."""
    async with watching() as bot:
        alert = await approved_in_doubt(bot)
        bot.together.faults.append(Fault("cut", verb="cancel"))
        bot.together.on_call["cancel"] = lambda: bot.together.review(IDS, "approve")
        await bot.slack.command(REF, user="U0BOB")
        await until(bot, lambda: "your cancellation hadn't taken effect" in str(alert.text), 30)
        bot.together.on_call.clear()
        await until(bot, lambda: REFRESH not in alert.buttons or "still might" not in alert.text, 200)
        await pass_time(bot, 30)
        assert [line for line in thread(bot, alert) if "your" in line] == [f"{NO_CANCELLATION} Decide again."]


@pytest.mark.parametrize("state", ["AUTO_RESOLVED", "CANCELLED"])
async def test_cancellation_in_doubt_of_what_will_not_run_is_not_denied(state: str) -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await cancelled_in_doubt(bot)
        bot.together.faults.clear()
        if state == "CANCELLED":
            bot.together.review(IDS, "reject")
        else:
            bot.together.resolve(IDS)
        await pass_time(bot, 180)
        assert not [line for line in thread(bot, alert) if "your" in line]


@pytest.mark.parametrize("way", ["moved", "deleted"])
async def test_who_is_yet_to_learn_that_theirs_was_in_vain_learns_it_where_the_card_is_posted_next(way: str) -> None:
    async with watching(drain_seconds=0.05) as bot:
        alert = await approved_in_doubt(bot)
        refused = SlackFault("chat.postMessage", "internal_error", times=-1)
        bot.slack.faults.append(refused)
        await until(bot, lambda: APPROVE in alert.buttons)
        await pass_time(bot, 30)
        assert thread(bot, alert) == []
        await bot.settle()
        bot.slack.faults.remove(refused)
        channel = "C0OTHER" if way == "moved" else CHANNEL
        if way == "deleted":
            bot.slack.messages.remove(alert)
            bot.together.remediations[IDS].update(mode="REMEDIATION_MODE_VM_ONLY")
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": channel})):
            again = await until(
                bot, lambda: next((each for each in bot.slack.cards(IDS[2]) if each is not alert), None)
            )
            assert again.channel == channel
            await until(bot, lambda: f"{NO_APPROVAL} Decide again." in " ".join(thread(bot, again)))


async def test_card_keeps_what_an_answer_said_though_somebody_elses_decision_was_in_doubt_long_before() -> None:
    async with watching(BOT_REMIND_MINUTES="0") as bot:
        alert = await approved_in_doubt(bot)
        unreadable(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await pass_time(bot, 180)
        approve_late(bot)
        bot.together.faults.clear()
        await bot.slack.command(REF, user="U0BOB")
        await card(bot, words="Let the approver know it's cancelled.")
        await pass_time(bot, 300)
        assert "Let the approver know it's cancelled." in alert.text
