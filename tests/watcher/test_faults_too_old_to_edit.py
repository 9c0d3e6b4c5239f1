"""The message about a cluster once Slack takes no edits of it."""

import pytest

from tests.decisions.test_brake import braked, resume
from tests.simulator.together import Fault
from tests.storms import began
from tests.watch import pass_time
from tests.world import World

pytestmark = pytest.mark.bot(watching=True, BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="4")


@pytest.mark.parametrize("who", ["time", "a person"])
@pytest.mark.parametrize("is_too_old", [False, True])
async def test_it_is_told_that_approvals_resumed_though_a_fault_is_left(
    bot: World, who: str, *, is_too_old: bool
) -> None:
    await began(bot)
    for n in range(4):
        bot.together.fire(f"a-{n}", "cluster-1", f"gpu-{n}")
    message = await braked(bot)
    await pass_time(bot, 3600)
    if is_too_old:
        bot.slack.too_old.add(message.ts)
    if who == "time":
        for n in range(1, 4):
            del bot.together.alerts[f"a-{n}"]
    else:
        await resume(bot, message)
    await pass_time(bot, 3 * 3600)
    said = [each.text for each in bot.slack.visible()]  # also in threads
    assert "paused automatically" not in said[-1]
    assert not (is_too_old and "<!subteam^S0ONCALL>" in said[-1]), "it calls nobody once more"


@pytest.mark.parametrize("what", ["the storm grows", "one more fault", "one less", "unreadable"])
async def test_its_replies_call_nobody_for_each_change(bot: World, what: str) -> None:
    await began(bot)
    for number in range(4 if what == "the storm grows" else 2):
        bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
    await pass_time(bot, 1800)
    (message,) = [each for each in bot.slack.visible() if "cluster-1" in each.text and not each.thread_ts]
    bot.slack.too_old.add(message.ts)
    before = len(bot.slack.visible())
    match what:
        case "the storm grows":
            for number in range(4, 10):
                bot.together.fire(f"a-{number}", "cluster-1", f"gpu-{number}")
                await pass_time(bot, 120)
        case "one more fault":
            bot.together.fire("a-9", "cluster-1", "gpu-9")
            await pass_time(bot, 3 * 3600)
        case "one less":
            del bot.together.alerts["a-1"]
            await pass_time(bot, 3 * 3600)
        case _:
            for _ in range(3):
                bot.together.faults.append(unread := Fault("rpc", verb="alerts", code=14, times=-1))
                await pass_time(bot, 1200, longest=60)
                bot.together.faults.remove(unread)
                await pass_time(bot, 1200, longest=60)
    calls = [each.text for each in bot.slack.visible()[before:] if "<!subteam^S0ONCALL>" in each.text]
    assert len(calls) <= (what == "one more fault"), calls
