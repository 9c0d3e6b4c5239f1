"""Repairs that don't end: the card and the thread say so, who is on call is mentioned once, and it can be reported."""

import pytest
from sqlalchemy import select

from bot import cards
from bot.store.tables import messages
from tests.deaths import free_the_lease, kill_the_watch
from tests.rows import execute_beside
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.storms import began, digest, storm
from tests.watch import card, enforce_slacks_limits, pass_time, thread, until, watching
from tests.world import APPROVE, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=10")
CALL = "<!subteam^S0ONCALL>"
STUCK = "may be stuck. Not finished after"


def calls(bot: World, alert: Posted) -> list[str]:
    return [line for line in thread(bot, alert) if STUCK in line]


async def running(bot: World) -> Posted:
    """Approve a repair, and let it run."""
    await began(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    return await card(bot, words="Rebooting")


async def test_repair_that_does_not_end_is_told_once_and_on_call_is_mentioned(bot: World) -> None:
    alert = await running(bot)
    await pass_time(bot, 38 * 60)
    assert calls(bot, alert) == []
    await until(bot, lambda: calls(bot, alert), seconds=300)
    assert "May be stuck: under way since" in alert.text
    await pass_time(bot, 3 * 3600)
    (line,) = calls(bot, alert)
    assert line.startswith("instance-1: Reboot may be stuck. Not finished after 40 min.")
    assert line.endswith(CALL)
    bot.together.remediations[IDS]["state"] = "SUCCEEDED"
    await card(bot, words="Rebooted")
    assert "stuck" not in alert.text


async def test_support_gets_all_that_is_known_as_text(bot: World) -> None:
    enforce_slacks_limits(bot)
    alert = await running(bot)
    assert cards.SUPPORT not in [each["value"] for each in alert.controls[cards.MORE]["options"]]
    await until(bot, lambda: calls(bot, alert), seconds=3600)
    await bot.slack.press(alert, cards.MORE, choice=cards.SUPPORT, user="U0CAROL")
    text = (await bot.reply_privately("U0CAROL")).everything
    assert "Remediation remediation-1: Reboot (REMEDIATION_MODE_REBOOT_VM), state RUNNING" in text
    assert "Cluster cluster-1, instance instance-1, node instance-1" in text
    assert "approve by U0ALICE in Slack: approved" in text


async def test_stuck_repairs_of_a_digest_are_one_line(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot, "8 nodes")
    for number, ids in enumerate(list(bot.together.remediations)):
        bot.together.remediations[ids]["state"] = "SUCCEEDED" if number == 7 else "RUNNING"
    await pass_time(bot, 4 * 3600)
    (line,) = calls(bot, message)
    assert "gpu-node-0006: 7 repairs may be stuck" in line


async def test_it_is_told_once_over_a_change_of_the_watch(bot: World) -> None:
    alert = await running(bot)
    await until(bot, lambda: calls(bot, alert), seconds=3600)
    kill_the_watch()
    await bot.settle()
    await free_the_lease(bot.settings.database_url)
    async with bot.another():
        await pass_time(bot, 3600)
        assert len(calls(bot, alert)) == 1


async def test_it_is_told_once_though_slack_shows_no_thread_for_long_after_a_death(bot: World) -> None:
    alert = await running(bot)
    await pass_time(bot, 38 * 60)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
    await until(bot, lambda: calls(bot, alert), seconds=300)
    kill_the_watch()
    await bot.settle()
    bot.slack.faults.append(SlackFault("conversations.replies", "internal_error", times=10_000))
    await free_the_lease(bot.settings.database_url)
    async with bot.another():
        await pass_time(bot, 900)
        bot.slack.faults.clear()
        await pass_time(bot, 600)
        assert len(calls(bot, alert)) == 1


async def test_stuck_repair_that_nobody_is_told_of_is_not_looked_at_all_the_time() -> None:
    async with watching(BOT_AUTOMATIC_REPAIRS="destructive", BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=0") as bot:
        await began(bot)
        bot.together.add(reviewed_by="Auto-Approved", state="RUNNING")
        await pass_time(bot, 3600)
        (row,) = await execute_beside(bot, select(messages.c.next_at))
        assert bot.slack.visible() == []
        assert row["next_at"] is None


async def test_setting_switches_it_off() -> None:
    async with watching(BOT_STUCK_MINUTES="0") as bot:
        alert = await running(bot)
        await pass_time(bot, 24 * 3600)
        assert calls(bot, alert) == []
        assert "stuck" not in alert.text
