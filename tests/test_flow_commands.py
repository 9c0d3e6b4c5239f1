"""A typed command in, Slack calls out."""

import pytest

from tests.simulator.together import Fault
from tests.watch import card
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, World, both_transports


@both_transports
async def test_command_cancels_and_posts_the_card_to_the_channel(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    ack = await bot.slack.command(f"{' '.join(IDS)} rebooted by hand")
    assert (ack.status, ack.body) == (200, "")
    card = await bot.answer()
    assert bot.together.state(IDS) == "CANCELLED"
    assert "Cancelled: reboot" in card.text
    assert "Cancelled by <@U0ALICE>" in card.everything
    assert "rebooted by hand" in card.everything
    assert card.buttons == {}
    await bot.settle()
    assert len(bot.slack.messages) == 1


@pytest.mark.parametrize("text", ["help", "--help"])
async def test_help_is_private_and_calls_nothing(bot: World, text: str) -> None:
    await bot.slack.command(text)
    usage = await bot.reply_privately()
    assert "/cancel-remediation CLUSTER INSTANCE REMEDIATION" in usage.text
    assert bot.together.calls == []
    assert bot.slack.visible() == []


async def test_incomplete_command_names_the_missing_part_privately(bot: World) -> None:
    await bot.slack.command("cluster-1 instance-1")
    usage = await bot.reply_privately()
    assert "Missing remediation ID." in usage.text
    assert "Type just the node: /cancel-remediation gpu-node-07." in usage.text
    assert bot.together.calls == []
    assert bot.slack.visible() == []


WRONG_STATE = {
    "CANCELLED": "Already cancelled",
    "AUTO_RESOLVED": "Not cancelled. The alert cleared",
    "RUNNING": "Too late to cancel: it's already “Running”.",
    "SUCCEEDED": "Too late to cancel: it's already “Succeeded”.",
    "SCHEDULED": "Can't cancel this here: it's “State SCHEDULED”. Check it in Together.",  # a state of tomorrow
}


@pytest.mark.parametrize("state", WRONG_STATE)
async def test_cancel_in_the_wrong_state_shows_the_current_card(bot: World, state: str) -> None:
    bot.together.add(state=state)
    await bot.slack.command(REF)
    card = await bot.answer()
    assert WRONG_STATE[state].lower() in card.text.lower()
    assert "⚠️" not in card.everything


async def test_refusal_while_still_waiting_quotes_together(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="cancel", code=10, message="<lock> is held"))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "<@U0ALICE>, your cancellation was refused by Together, but the remediation is still waiting." in card.text
    assert "&lt;lock&gt; is held" in card.text
    assert set(card.buttons) == {APPROVE, CANCEL}


async def test_approved_repair_whose_cancellation_is_refused_is_not_called_waiting(bot: World) -> None:
    bot.together.add(state="PENDING")
    bot.together.faults.append(Fault("rpc", verb="cancel", code=9, message="draining has begun"))
    await bot.slack.command(REF)
    told = (await bot.answer()).text
    assert "your cancellation was refused by Together, but it's still queued. Together: “draining has begun”. " in told


async def test_wrong_state_that_cannot_be_read_offers_check_again(bot: World) -> None:
    bot.together.add()
    bot.together.faults += [Fault("rpc", verb="cancel", code=9), Fault("rpc", verb="get", code=14, times=-1)]
    await bot.slack.command(REF)
    error = await bot.answer()
    assert "Together says this isn't possible now." in error.text
    assert list(error.buttons) == [REFRESH]


async def test_response_without_the_effect_is_not_called_success(bot: World) -> None:
    bot.together.add(state="RUNNING")
    bot.together.faults.append(Fault("stale", verb="cancel"))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Together accepted the cancellation, but the state is “Running”." in card.text
    assert list(card.buttons) == [REFRESH]


async def test_slow_command_tells_its_person_that_the_result_follows(bot: World) -> None:
    bot.together.add()
    with bot.together.paused("cancel"):
        await bot.slack.command(REF)
        await bot.together.until(lambda: bot.together.posts)
        await bot.time.advance(1)
        begun = await bot.reply_privately()
        assert "Still cancelling this… (started" in begun.text
        assert "The result follows." in begun.text
        assert not bot.slack.visible()
    assert "Cancelled: reboot" in (await bot.answer()).text
    assert len(bot.slack.visible()) == 1


async def test_command_that_cancels_an_approved_repair_says_so(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert)
    await bot.slack.command(REF)
    assert "This had already been approved. Let the approver know it's cancelled." in (await bot.answer(2)).text


async def test_approver_who_cancels_is_not_asked_to_tell_the_approver(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    await bot.slack.command(REF)
    cancelled = await bot.answer(2)
    assert "This had already been approved." in cancelled.text
    assert "Let the approver know" not in cancelled.text


async def test_old_cancellation_is_not_credited_to_the_new_command(bot: World) -> None:
    bot.together.add(state="CANCELLED", end_time="2026-11-20T00:00:00Z")
    bot.together.faults.append(Fault("rpc", verb="cancel", code=14))
    await bot.slack.command(REF)
    card = await bot.answer()
    assert "Already cancelled." in card.text
    assert "in Slack by" not in card.text


async def test_reviewer_is_not_called_the_canceller(bot: World) -> None:
    bot.together.add()
    bot.together.review(IDS, "approve", by="bob@example.com")
    bot.together.review(IDS, "cancel", by="carol@example.com")
    await bot.slack.command(REF)
    assert "instance-1: already cancelled." in (await bot.answer()).text


@pytest.mark.bot(watching=True)
async def test_list_leaves_out_what_was_just_decided(bot: World) -> None:
    """Together can't be listed since."""
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled by <@U0ALICE>")
    await bot.slack.command("list")
    assert "Nothing to cancel was found" in (await bot.reply_privately()).text
