"""What is over is not posted forever in a channel that takes nothing, nor long after in one that takes it again."""

import pytest

from bot import cards
from tests.decisions.test_break_glass import TWO
from tests.simulator.slack.workspace import SlackFault
from tests.storms import began, choose, digest, storm
from tests.test_flow_menu import opened
from tests.watch import card, pass_time, until
from tests.watcher.test_verification import AGAIN, firing, moment, repaired
from tests.world import APPROVE, IDS, World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="0")
DAY = 86_400.0
ARCHIVED = SlackFault("chat.postMessage", "is_archived", times=-1)


async def is_tried_no_more(bot: World) -> None:
    """Make sure that nothing is posted for what is over once it was so for long."""
    await pass_time(bot, 3600)
    tried = [method for method, _ in bot.slack.calls].count("chat.postMessage")
    assert tried, "it's tried for as long as it may still be of use"
    await pass_time(bot, 3 * DAY)
    bot.slack.calls.clear()
    await pass_time(bot, 3600)
    assert "chat.postMessage" not in [method for method, _ in bot.slack.calls]
    bot.slack.faults.clear()
    before = len(bot.slack.messages)
    await pass_time(bot, 600)
    assert len(bot.slack.messages) == before


def ended(bot: World, *all_ids: tuple[str, str, str]) -> None:
    for ids in all_ids:
        bot.together.remediations[ids] |= {"state": "SUCCEEDED", "end_time": moment(bot)}


@pytest.mark.bot(BOT_BREAK_GLASS="U0ALICE", BOT_TWO_PEOPLE_MODES=TWO)
async def test_approval_alone(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    view = await opened(bot, alert, cards.ALONE)
    bot.slack.messages.remove(alert)
    bot.slack.faults.append(ARCHIVED)
    await bot.slack.submit(view, reason="bob is away")
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")
    ended(bot, IDS)
    await is_tried_no_more(bot)


async def test_results_of_a_selection(bot: World) -> None:
    await began(bot)
    nodes = storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    bot.slack.messages.remove(message)
    bot.slack.faults.append(ARCHIVED)
    await bot.slack.submit(view)
    await until(bot, lambda: {bot.together.state(each) for each in nodes} == {"PENDING"})
    ended(bot, *nodes)
    await is_tried_no_more(bot)


@pytest.mark.bot(BOT_VERIFY_HOURS="24")
async def test_fault_that_came_back(bot: World) -> None:
    alert = await repaired(bot)
    bot.slack.messages.remove(alert)
    bot.slack.faults.append(ARCHIVED)
    fields = {"create_time": moment(bot), "end_time": moment(bot), "linked_alerts": firing("79")}
    bot.together.add(AGAIN, "AUTO_RESOLVED", **fields)
    await is_tried_no_more(bot)


async def test_repair_that_was_never_posted(bot: World) -> None:
    await began(bot)
    bot.slack.faults.append(ARCHIVED)
    bot.together.add(state="RUNNING", reviewed_by="bob@example.com", start_time=moment(bot))
    await pass_time(bot, 60)
    ended(bot, IDS)
    await is_tried_no_more(bot)


async def test_failure_whose_end_together_does_not_say_is_told_though_it_waited_for_days(bot: World) -> None:
    bot.together.add(create_time=moment(bot))
    alert = await card(bot)
    await pass_time(bot, 3 * DAY, longest=3600)
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: bot.together.state(IDS) == "PENDING")
    await pass_time(bot, 60)
    bot.slack.messages.remove(alert)
    bot.together.remediations[IDS] |= {"state": "FAILED", "end_time": None, "update_time": None}
    await until(bot, lambda: [each for each in bot.slack.visible() if "Failed" in each.text], 7200)
