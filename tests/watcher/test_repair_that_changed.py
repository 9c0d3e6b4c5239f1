"""What a thread says that somebody approved, where Together has changed the repair as that was on its way."""

from typing import Any

import pytest

from tests.storms import began, choose, digest, storm
from tests.watch import card, pass_time, thread, until, watching
from tests.watcher.test_verification import moment
from tests.world import APPROVE, CANCEL, IDS, World

EVICT = "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT"

pytestmark = pytest.mark.bot(watching=True)
MIGRATE = "REMEDIATION_MODE_HOST_AWARE"


async def test_approval_of_what_changed_while_it_was_sent_is_of_what_was_shown(bot: World) -> None:
    bot.together.add(mode="REMEDIATION_MODE_HOST_POWER_CYCLE")
    alert = await card(bot)
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.is_waiting("approve"))
        bot.together.remediations[IDS]["mode"] = MIGRATE
    await card(bot, words="You approved “Power cycle”.")
    said = "instance-1: <@U0ALICE> approved “Power cycle”. The repair is now “Migrate to new host”."
    await until(bot, lambda: [line for line in thread(bot, alert) if said in line])


async def test_approval_of_what_changed_before_the_next_list_is_of_what_was_sent(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["mode"] = MIGRATE
    said = "instance-1: <@U0ALICE> approved “Reboot”. The repair is now “Migrate to new host”."
    await until(bot, lambda: [line for line in thread(bot, alert) if said in line])


async def test_failures_of_what_nobody_approved_say_what_was_approved(bot: World) -> None:
    await began(bot)
    nodes = storm(bot, 6)
    message = await digest(bot)
    await bot.slack.submit(await choose(bot, message))
    await until(bot, lambda: {bot.together.state(ids) for ids in nodes} == {"PENDING"})
    for ids in nodes:
        bot.together.remediations[ids].update(mode=MIGRATE, state="RUNNING")
        bot.together.fail(ids, "no host")
    said = await until(bot, lambda: [line for line in thread(bot, message) if "failed" in line])
    assert "you approved" not in str(said)
    assert str(said).count("Migrate to new host failed, “no host” (approved: ") == len(nodes)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
async def test_who_approved_a_reboot_learns_that_the_node_is_removed_instead(state: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        await pass_time(bot, 120)  # a list has said that it is queued
        bot.together.remediations[IDS] |= {"state": state, "mode": EVICT, "update_time": moment(bot)}
        if state == "RUNNING":
            bot.together.remediations[IDS]["start_time"] = moment(bot)
        await until(bot, lambda: "removal" in alert.text or "Removing" in alert.text)
        await pass_time(bot, 900, longest=15)
        told = [line for line in thread(bot, alert) if "Remove" in line]
        assert [line for line in told if "U0ALICE" in line or "S0ONCALL" in line], f"nobody is called: {told}"


async def test_card_does_not_say_that_somebody_approved_what_nobody_did() -> None:
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        await pass_time(bot, 120)
        bot.together.remediations[IDS] |= {"mode": EVICT, "update_time": moment(bot)}
        await until(bot, lambda: "removal" in alert.text)
        assert "Reboot" in alert.text, f"Alice has approved a reboot: {alert.text}"


async def test_mode_that_lists_leave_out_isnt_another_repair_than_was_approved() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()

        def left_out() -> dict[str, Any]:
            return {**bot.together.remediations[IDS], "mode": "REMEDIATION_MODE_UNSPECIFIED"}

        bot.together.lists_as[IDS] = left_out()
        alert = await card(bot)
        await bot.slack.press(bot.alert(), APPROVE)  # another tool's, which names the repair
        await card(bot, words="Approved")
        assert [call.body["mode"] for call in bot.together.posts] == ["REMEDIATION_MODE_REBOOT_VM"]
        bot.together.lists_as[IDS] = left_out()
        await pass_time(bot, 120)
        bot.together.advance(IDS)
        bot.together.lists_as[IDS] = left_out()
        await pass_time(bot, 120)
        said = thread(bot, alert)
        assert not [line for line in said if "isn't what was approved" in line], f"{said}\n{alert.text}"


async def test_card_does_not_say_that_somebody_cancelled_a_repair_that_was_not_there() -> None:

    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.before_decision = lambda _call: bot.together.escalate(IDS, EVICT)
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: "Cancelled" in alert.everything)
        await pass_time(bot, 120)
        assert bot.together.state(IDS) == "CANCELLED"
        assert "Cancelled “Reboot” by" not in alert.everything, alert.everything
