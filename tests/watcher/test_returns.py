"""Remediations that vanish, come back or end out of sight."""

import pytest

from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.watch import HOLD, card, pass_time, poll, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, REFRESH, World

pytestmark = pytest.mark.bot(watching=True)


async def test_vanished_remediation_is_withdrawn_and_shown_again_when_it_returns(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn: reboot")
    assert alert.buttons == {}
    assert "instance-1: withdrawn. Together no longer lists this remediation. 💨" in await until(
        bot, lambda: thread(bot, alert)
    )
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Approve reboot?")
    assert bot.slack.cards(IDS[2]) == [alert]
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD]
    await until(bot, lambda: "instance-1: Together lists this remediation again." in thread(bot, alert))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")


async def test_ended_remediation_is_not_read_again_while_its_card_waits_for_slack(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "internal_error", times=3))
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")
    assert [call.verb for call in bot.together.calls].count("get") == 1


async def test_deleted_cluster_withdraws_its_remediations(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    del bot.together.remediations[IDS], bot.together.clusters["cluster-1"]
    await card(bot, words="Withdrawn: reboot")
    assert alert.buttons == {}


async def test_404_of_a_proxy_does_not_withdraw_a_remediation(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued")
    bot.together.faults += [
        Fault("html", verb="list", status=404, times=3),
        Fault("html", verb="get", status=404, times=3),
    ]
    await pass_time(bot, 60)
    assert "Withdrawn" not in alert.text + "".join(each.text for each in bot.slack.replies(alert))


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "QUARANTINED"])
async def test_repair_that_returns_midway_is_followed_again(bot: World, state: str) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn: reboot")
    await pass_time(bot, 60)
    bot.together.remediations[IDS] = kept | {"state": state}
    await until(bot, lambda: "Withdrawn" not in alert.text)
    bot.together.remediations[IDS] |= {"state": "FAILED", "error_message": "no host left"}
    await card(bot, words="Failed: reboot")
    assert "Together lists this remediation again." in bot.slack.replies(alert)[1].text


async def test_remediation_that_was_just_read_is_not_called_withdrawn(bot: World) -> None:
    bot.together.add()
    other = bot.alert()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn: reboot")
    await pass_time(bot, 30)
    bot.together.remediations[IDS] = kept | {"state": "PENDING"}
    await bot.slack.press(other, REFRESH)
    await bot.edited(other)
    assert "Withdrawn" not in other.text
    await card(bot, words="Queued: ")
    assert APPROVE not in alert.buttons
    await poll(bot)
    assert "Queued" in alert.text


async def test_returned_remediation_starts_waiting_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    await pass_time(bot, 3 * 3600)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Approve ")
    await pass_time(bot, 60)
    assert [each.text for each in bot.slack.replies(alert) if "has been waiting" in each.text] == []
    await pass_time(bot, 15 * 60)
    (reminder,) = [each.text for each in bot.slack.replies(alert) if "has been waiting" in each.text]
    assert "has been waiting 15 min" in reminder


async def test_reminders_start_again_when_a_resolved_remediation_returns(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 65 * 60)
    bot.together.resolve(IDS)
    await card(bot, words="Resolved")
    before = len(bot.slack.replies(alert))
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await until(bot, lambda: APPROVE in alert.buttons)
    await pass_time(bot, 65 * 60)
    assert len([each for each in bot.slack.replies(alert)[before:] if "has been waiting" in each.text]) == 3


async def test_digest_reminders_start_again_when_a_remediation_returns(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for each in ids:
        bot.together.resolve(each)
    await digest(bot, "Nothing left to decide")
    await pass_time(bot, 4 * 3600)
    bot.together.remediations[ids[0]]["state"] = "PENDING_APPROVAL"
    await digest(bot, "needs a decision")
    assert bot.slack.replies(message) == []
    await pass_time(bot, 16 * 60)
    (reminder,) = bot.slack.replies(message)
    assert "1 remediation in cluster-1 (H100) has been waiting 15 min or more for a decision." in reminder.text


async def test_repair_that_failed_out_of_sight_is_reported(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    gets = [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 1800)
    assert [call.verb for call in bot.together.calls].count("get") - gets <= 12
    bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: "Failed" in alert.text, 400)
    await until(bot, lambda: [each for each in bot.slack.replies(alert) if "<@U0ALICE>, Reboot VM failed" in each.text])


async def test_remediation_that_vanished_during_a_decision_is_looked_for(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
    await until(bot, lambda: "Failed" in alert.text, 60)


async def test_vanished_remediation_is_not_looked_for_after_an_hour(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    bot.together.remediations.pop(IDS)
    await card(bot, words="Withdrawn")
    await pass_time(bot, 3700)
    gets = [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 1800)
    assert [call.verb for call in bot.together.calls].count("get") == gets


async def test_deselected_cluster_gets_no_new_cards_but_keeps_its_old_ones() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,cluster-2") as bot:
        bot.together.clusters["cluster-1"] = "cluster-1 (H100)"
        known = bot.together.add(("cluster-2", "i-2", "r-2"))
        await card(bot, known)
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_clusters": ("cluster-1",)})):
            bot.together.add(("cluster-2", "i-3", "r-3"))
            bot.together.review(known, "cancel")
            await card(bot, known, "Cancelled")
            assert bot.slack.cards("r-3") == []


async def test_repair_that_failed_out_of_sight_is_reported_after_a_restart() -> None:
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.remediations[IDS]["state"] = "RUNNING"
        await card(bot, words="Rebooting")
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="Withdrawn")
        await bot.settle()
        async with bot.another():
            await pass_time(bot, 30)
            bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host"}
            await until(bot, lambda: "Failed" in alert.text, 900)


async def test_second_failure_in_a_digest_is_told_too(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    for number, state in enumerate(("FAILED", "PENDING_APPROVAL", "FAILED")):
        bot.together.remediations[ids[0]] |= {"state": state, "error_message": f"no host {number}"}
        await pass_time(bot, 60)
    assert len([each for each in bot.slack.replies(message) if "no host" in each.text]) == 2
