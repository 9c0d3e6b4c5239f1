"""The message about a cluster once Slack takes no edits of it."""

import pytest

from tests.decisions.test_brake import braked, resume
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


async def test_it_is_told_which_faults_are_left(bot: World) -> None:
    await began(bot)
    for n in range(3):
        bot.together.fire(f"a-{n}", "cluster-1", f"gpu-{n}")
    await pass_time(bot, 20 * 60)
    (message,) = [each for each in bot.slack.visible() if "no repair is open" in each.text and not each.thread_ts]
    bot.slack.too_old.add(message.ts)
    del bot.together.alerts["a-1"], bot.together.alerts["a-2"]
    await pass_time(bot, 3 * 3600)
    said = [each.text for each in bot.slack.visible()]
    assert "gpu-2" not in message.text or len(said) > 1, said
