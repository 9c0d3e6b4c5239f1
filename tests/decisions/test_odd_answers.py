"""What Together answers oddly, and what the bot says then."""

from dataclasses import replace
from typing import Any

import pytest

from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import card, pass_time, poll, quiet, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, REJECT, World, world

ODD = "Fri, 31 Dec 99999999999 23:59:59 GMT"
APPROVED = "This had already been approved"


@pytest.mark.parametrize("typed", ["list", "status gpu-7", f"status {REF}"])
async def test_search_that_is_limited_with_an_odd_date_is_answered(typed: str) -> None:
    async with world() as bot:
        bot.together.add(instance_name="gpu-7")
        for verb in ("list", "get"):
            bot.together.faults.append(Fault("rpc", verb=verb, code=8, times=-1, headers={"Retry-After": ODD}))
        await bot.slack.command(typed)
        await quiet(bot)
        assert bot.slack.visible("U0ALICE"), "acknowledged, and left without an answer"


async def test_approval_that_was_refused_with_an_odd_date_is_not_in_doubt() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": ODD}))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await quiet(bot)
        assert "Something went wrong in the bot" not in alert.text


async def cancelled(bot: World, *, typed: bool) -> str:
    if typed:
        await bot.slack.command(REF)
        return (await bot.answer()).text
    alert = bot.alert()
    await bot.slack.press(alert, CANCEL)
    return (await bot.edited(alert)).text


@pytest.mark.parametrize("typed", [True, False])
async def test_approval_of_an_earlier_incident_is_not_told_of_this_one(*, typed: bool) -> None:
    async with world() as bot:
        bot.together.add()
        bot.together.review(IDS, "approve", "of yesterday")
        await bot.time.advance(3600)
        bot.together.advance(IDS, "SUCCEEDED")
        await bot.time.advance(36_000)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        told = await cancelled(bot, typed=typed)
        assert bot.together.state(IDS) == "CANCELLED"
        assert APPROVED not in told


@pytest.mark.parametrize("typed", [True, False])
async def test_cancellation_that_counts_as_a_review_is_not_called_an_approval(*, typed: bool) -> None:
    async with world() as bot:
        bot.together.add()

        def review() -> None:
            now = bot.together._time()
            bot.together.remediations[IDS].update(review_time=now, reviewed_by="ml-platform@example.com")

        bot.together.on_call["cancel"] = review
        assert APPROVED not in await cancelled(bot, typed=typed)


@pytest.mark.parametrize(("given", "said"), [("3600", "3600 s"), ("99999999", "999999 s")])
async def test_long_wait_is_not_said_in_seconds(given: str, said: str) -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": given}))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await quiet(bot)
        assert not [message.text for message in bot.slack.visible() if said in message.text]


async def test_rejection_of_an_earlier_incident_is_not_called_an_approval_of_this_one() -> None:
    async with world() as bot:
        bot.together.add()
        bot.together.review(IDS, "reject", "of yesterday")
        await bot.time.advance(36_000)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "create_time": bot.together._time()}
        await bot.time.advance(60)
        told = await cancelled(bot, typed=True)
        assert APPROVED not in told
        assert "of yesterday" not in told


async def test_card_of_the_next_incident_says_nothing_of_who_approved_the_one_before() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        bot.together.advance(IDS, "SUCCEEDED")
        await bot.time.advance(3600)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "create_time": bot.together._time()}
        await bot.time.advance(120)
        alert = bot.alert()
        await bot.slack.press(alert, REFRESH)
        shown = f"{(await bot.edited(alert)).text} {alert.blocks}"
        assert "Approve reboot?" in shown
        past = ("Approved in Slack by", "already approved", "ended <", "started <")
        assert [each for each in past if each in shown] == []


async def test_repair_that_together_lets_nobody_choose_is_not_called_a_matter_of_ids() -> None:
    async with world() as bot:
        bot.together.add(mode="REMEDIATION_MODE_OF_NEXT_YEAR")
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE)
        told = (await bot.answer(2)).everything
        assert "Together calls the request invalid. Nothing changed. If you typed the IDs, copy them" in told
        assert "cannot be set at approval" in told


async def test_look_that_is_refused_is_not_too_late() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("rpc", verb="get", code=9, message="the cluster is paused", times=-1))
        await bot.slack.press(alert, APPROVE)
        told = (await bot.answer(2)).everything
        assert "Your approval wasn't sent. Together says this isn't possible now." in told
        assert "Together: “the cluster is paused”" in told
        assert ("Press" in told, "Check again in a minute" in told) == (False, True), "it has no such button"


async def test_cancellation_that_is_known_to_be_somebody_elses_is_not_called_apparently_ones_own() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert)
        await bot.time.advance(30)
        bot.together.faults.append(Fault("html", verb="cancel", status=502))
        await bot.slack.command(REF)
        told = (await bot.answer(2)).text
        assert "Already cancelled by <@U0BOB>" in told
        assert "apparently" not in told


async def test_cancellation_that_is_apparently_somebody_elses_is_not_called_apparently_ones_own() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.slack.until(lambda: "Cancelled, apparently by <@U0BOB>" in alert.text)
        await bot.time.advance(30)
        bot.together.faults.append(Fault("html", verb="cancel", status=502))
        await bot.slack.command(REF)
        told = (await bot.answer(2)).text
        assert "Already cancelled, apparently by <@U0BOB>" in told
        assert "U0ALICE" not in told


async def test_cancelled_repair_is_called_as_it_was_shown_where_together_leaves_its_mode_out() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.remediations[IDS]["mode"] = None
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert "Cancelled: reboot" in alert.text
        assert "unknown" not in alert.text


@pytest.mark.bot(watching=True)
async def test_repair_that_is_cancelled_by_its_ids_is_called_as_its_card_does(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.before_decision = lambda _call: bot.together.remediations[IDS].update(mode=None)
    await bot.slack.command(REF)
    await bot.edited(alert)
    assert "Cancelled: reboot" in alert.text
    assert "unknown" not in alert.text


async def test_own_cancellation_after_one_that_came_to_nothing_is_ones_own() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("cut", verb="cancel"))
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.slack.until(lambda: "it still might" in alert.text)
        await bot.time.advance(30)
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.command(REF)
        told = (await bot.answer(2)).text
        assert "Cancelled, apparently by <@U0ALICE>" in told
        assert "U0BOB" not in told


@pytest.mark.parametrize("behind", [-45.0, 0.0, 45.0])
async def test_own_cancellation_of_the_next_incident_is_not_called_somebody_elses(behind: float) -> None:
    """It ended and opened again under its ID within the minute in which clocks may differ."""
    async with world() as bot:
        bot.together.now = lambda: bot.time.now() - behind
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert)
        await bot.time.advance(18)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "create_time": bot.together._time()}
        await bot.time.advance(12)
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.command(REF)
        told = (await bot.answer(2)).text
        assert "Cancelled, apparently by <@U0ALICE>" in told
        assert "U0BOB" not in told


async def test_cancellation_of_the_next_incident_that_was_left_in_doubt_is_not_called_somebody_elses() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, CANCEL, user="U0BOB")
        await bot.edited(alert)
        await bot.time.advance(18)
        bot.together.remediations[IDS] |= {"state": "PENDING_APPROVAL", "create_time": bot.together._time()}
        await bot.time.advance(12)
        bot.together.faults += [Fault("cut", verb="cancel", after=True), Fault("rpc", verb="get", code=13, times=-1)]
        await bot.slack.command(REF)
        await bot.answer(2)
        bot.together.faults.clear()
        again = bot.alert()
        await bot.slack.press(again, REFRESH)
        await bot.edited(again)
        assert "Cancelled, apparently by <@U0ALICE>" in again.text


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize(
    ("control", "fault"), [(CANCEL, None), (REJECT, None), (CANCEL, Fault("cut", verb="cancel", after=True))]
)
async def test_what_was_seen_cancelled_is_not_apparently_of_who_was_left_in_doubt_later(
    bot: World, control: str, fault: Fault | None
) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 60)
    bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1))
    tool = bot.alert()
    bot.together.faults += [replace(fault)] if fault else []
    await bot.slack.press(tool, control)
    await bot.edited(tool)
    await bot.time.advance(5)
    bot.together.faults += [Fault("cut", verb="cancel", times=-1), Fault("rpc", verb="get", code=13, times=-1)]
    await bot.slack.command(REF, user="U0BOB")
    await pass_time(bot, 20)
    bot.together.faults.clear()
    await card(bot, words="Cancelled: reboot")
    said = await until(bot, lambda: thread(bot, alert))
    assert "by <@U0ALICE> after" in said[0]
    await bot.slack.command(REF, user="U0BOB")
    told = await until(bot, lambda: [message for message in bot.slack.visible() if "lready" in message.text])
    assert "by <@U0ALICE>" in told[0].text
    assert ("apparently" in told[0].text) == (fault is not None)


@pytest.mark.bot(watching=True)
async def test_rejection_that_arrived_late_is_not_apparently_somebody_elses_cancellation(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1))
    bot.together.faults.append(Fault("cut", verb="reject"))
    await bot.slack.press(bot.alert(), REJECT)
    await pass_time(bot, 20)
    (rejection,) = bot.together.posts
    bot.together.review(IDS, "reject", rejection.body["comment"])
    bot.together.faults.append(Fault("cut", verb="cancel"))
    await bot.slack.command(REF, user="U0BOB")
    await pass_time(bot, 20)
    bot.together.faults.clear()
    await card(bot, words="Rejected by <@U0ALICE>")
    assert "apparently" not in " ".join([alert.text, *thread(bot, alert)])


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("first_took", [True, False])
async def test_of_two_cancellations_in_doubt_the_one_is_named_that_was_on_its_way(
    bot: World, *, first_took: bool
) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults += [Fault("rpc", verb=verb, code=13, times=-1) for verb in ("list", "get")]
    for user, took in (("U0ALICE", first_took), ("U0BOB", not first_took)):
        bot.together.faults.append(Fault("cut", verb="cancel", after=took))
        await bot.slack.command(REF, user=user)
        await pass_time(bot, 20)
    bot.together.faults.clear()
    await card(bot, words="Cancelled: reboot")
    said = await until(bot, lambda: thread(bot, alert))
    assert f"cancelled, apparently by <@{'U0ALICE' if first_took else 'U0BOB'}>" in said[0]


async def test_clock_of_together_that_is_ahead_makes_no_other_incident() -> None:
    async with world() as bot:
        bot.together.now = lambda: bot.time.now() + 45
        bot.together.add()
        await bot.time.advance(20)
        bot.together.faults.append(Fault("rpc", verb="cancel", code=8))
        await bot.slack.command(REF)
        assert "Cancelled by <@U0ALICE>" in (await bot.answer()).text


async def test_password_that_is_a_word_of_together_blinds_nobody() -> None:
    async with world(BOT_IMPACT_TOKEN="remediation") as bot:
        bot.together.add(instance_name="gpu-7")
        await bot.slack.command("list")
        assert "gpu-7" in (await bot.reply_privately()).text


AUTOMATIC: dict[str, Any] = {
    "state": "PENDING",
    "trigger": "REMEDIATION_TRIGGER_AUTOMATED",
    "reviewed_by": "Auto-Approved",
    "review_comment": "auto-approved: approved",
    "review_time": "2026-11-24T02:59:00Z",
}


async def test_who_cancels_an_automatic_repair_is_not_sent_to_an_approver_who_is_none() -> None:
    async with world() as bot:
        bot.together.add(**AUTOMATIC)
        await bot.slack.command(REF)
        told = (await bot.answer()).text
        assert "Cancelled by <@U0ALICE>" in told
        assert "approver" not in told
        assert "Auto-Approved" not in told


async def test_click_on_what_was_requested_by_hand_does_not_name_the_reviewer_of_the_incident_before() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.review(IDS, "approve")
        await bot.time.advance(3600)
        bot.together.advance(IDS, "SUCCEEDED")
        again = {"state": "PENDING", "trigger": "REMEDIATION_TRIGGER_MANUAL", "create_time": bot.together._time()}
        bot.together.remediations[IDS] |= again
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "Already approved." in alert.text
        assert "web-user@example.com" not in alert.text


async def test_click_after_together_has_approved_automatically_names_nobody() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.remediations[IDS] |= AUTOMATIC
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Already approved automatically.")
        await poll(bot)
        assert "Approved automatically in Together." in alert.text
        assert "Reboot approved automatically" in thread(bot, alert)[0]
        assert "Auto-Approved" not in f"{alert.everything} {thread(bot, alert)}"


@pytest.mark.parametrize("action", [APPROVE, CANCEL])
async def test_answer_without_a_mode_is_no_other_repair(action: str) -> None:
    async with world() as bot:
        shown = bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
        alert = bot.alert()
        bot.together.before_decision = lambda _call: bot.together.remediations[shown].update(mode=None)
        await bot.slack.press(alert, action)
        await bot.edited(alert)
        assert bot.together.posts
        assert "but the repair" not in alert.text
        assert "Approve it there" not in alert.text


async def test_repair_that_is_no_longer_named_is_no_other_one() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.remediations[IDS]["mode"] = None
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert "your approval wasn't sent: Together doesn't say which repair would run." in alert.text
        assert "Together doesn't say which repair this is. Approve it there." in alert.text
        alert = bot.alert()
        await bot.slack.press(alert, CANCEL)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "CANCELLED"


async def test_repair_that_is_named_after_it_was_chosen_is_said_to_be_so_once() -> None:
    async with watching() as bot:
        await began(bot)
        unnamed, *_ = storm(bot, 6)
        bot.together.remediations[unnamed]["mode"] = None
        message = await digest(bot)
        confirmation = await choose(bot, message)
        bot.together.escalate(unnamed, "REMEDIATION_MODE_REBOOT_VM")
        await bot.slack.submit(confirmation)
        await until(bot, lambda: "wasn't sent" in " ".join(thread(bot, message)))
        said = " ".join(thread(bot, message))
        assert "The approval wasn't sent: the alert didn't say which repair would run. It's “Reboot”." in said


async def test_own_approval_that_is_read_back_with_another_mode_is_not_called_somebody_elses() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()

        def escalate() -> None:
            if bot.together.state(IDS) == "PENDING":
                bot.together.remediations[IDS]["mode"] = "REMEDIATION_MODE_VM_ONLY"

        bot.together.on_call["get"] = escalate
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        await bot.slack.press(alert, APPROVE)
        await pass_time(bot, 30)
        assert "Approved, but the repair is now “Quick reprovision”. You approved “Reboot”." in alert.text
        assert "Already approved" not in alert.text
