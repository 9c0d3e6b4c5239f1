"""What was first seen long ago, and ends now."""

import pytest

from tests.storms import XID
from tests.test_flow_home import opened, said
from tests.watch import card, carried_out, pass_time, thread
from tests.world import IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL")


async def fails_after(bot: World, seconds: float) -> None:
    """A node waits for so long, is approved, and its repair fails."""
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await pass_time(bot, seconds)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved")
    bot.together.advance(IDS)
    await pass_time(bot, 60)
    bot.together.remediations[IDS].update(state="FAILED", error_message="no host left", end_time=bot.together._time())
    await card(bot, words="Failed: reboot")


@pytest.mark.parametrize("days", [1, 8])
async def test_repair_that_has_just_failed_is_in_home(bot: World, days: int) -> None:
    await fails_after(bot, days * 86_400)
    assert "Failed in the last 24 h: 1" in said(await opened(bot))


@pytest.mark.parametrize("days", [1, 10])
async def test_repair_that_has_just_failed_is_in_the_report_of_the_shift(bot: World, days: int) -> None:
    await fails_after(bot, days * 86_400)
    await bot.slack.command("tonight")
    assert "1 failed" in (await bot.reply_privately()).text


@pytest.mark.parametrize("hours", [1, 26])
async def test_repair_that_vanished_midway_is_looked_for_after_a_restart(bot: World, hours: int) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await pass_time(bot, hours * 3600)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved")
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed")
    await bot.settle()
    async with bot.another():
        await pass_time(bot, 60)
        bot.together.remediations[IDS] = kept | {"state": "FAILED", "error_message": "no host left"}
        await pass_time(bot, 1500)
        assert "Failed: reboot" in alert.text


@pytest.mark.bot(BOT_RETENTION_DAYS="1")
async def test_repair_that_waited_for_long_is_watched_as_long_as_its_card_says(bot: World) -> None:
    fault = [{**XID[0], "alert_name": "DmesgXidError"}]
    bot.together.add(instance_name="gpu-node-7", linked_alerts=fault)
    alert = await card(bot)
    await pass_time(bot, 20 * 3600)
    alert = await carried_out(bot)
    assert "Watched until" in alert.text
    await pass_time(bot, 12 * 3600)
    bot.together.add(("cluster-1", "instance-1", "remediation-2"), instance_name="gpu-node-7", linked_alerts=fault)
    await pass_time(bot, 600)
    assert "came back" in " ".join([alert.text, *thread(bot, alert)])
