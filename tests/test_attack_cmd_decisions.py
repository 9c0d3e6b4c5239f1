"""Attack: what is said of a decision."""

import copy
from typing import Any

import pytest

from tests.simulator.together import Fault
from tests.watch import quiet
from tests.world import APPROVE, CANCEL, IDS, REF, World, world


@pytest.mark.parametrize("verb", ["approve", "cancel"])
async def test_answer_that_lags_behind_its_own_effect_is_read_back(verb: str) -> None:
    """A 200 that still shows the old state is told as the present one: “the state is “Waiting for approval””. It isn't.

    What happens: Together takes the POST, and answers with the remediation as it was (a queue, a replica that lags).
    A GET shows PENDING (or CANCELLED) at once. The bot says “Together accepted the approval, but the state is “Waiting
    for approval””, keeps the title “Approve reboot?”, and, without a watch, leaves it so for good.
    Why it matters: the README promises “If Together doesn't answer clearly, the bot reads the remediation back”; the
    person is told that nothing has begun while the node is being drained, and may turn to the console to approve again.
    Cause: bot/decisions/verdict.py:Judge.success returns NO_EFFECT_SHOWN at once; only an AmbiguousResponse is read back
    (bot/decisions/executor.py:_send).
    Fix: where a 200 shows no effect, go through `read_back`, and say NO_EFFECT_SHOWN only of what that shows.
    """
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        decide = getattr(bot.together, f"_{verb}")

        def lagging(request: Any, body: Any) -> dict[str, Any]:
            before = copy.deepcopy(bot.together.remediations[IDS])
            decide(request, body)
            return before

        answer = bot.together._answer  # noqa: SLF001 - the simulator's
        bot.together._answer = lambda request, action, body: answer(  # type: ignore[method-assign] # noqa: SLF001
            request, lagging if action == decide else action, body
        )
        await bot.slack.press(alert, APPROVE if verb == "approve" else CANCEL)
        await bot.edited(alert)
        await quiet(bot)
        assert bot.together.state(IDS) == ("PENDING" if verb == "approve" else "CANCELLED")
        assert "but the state is “Waiting for approval”" not in alert.text


async def test_result_is_not_promised_where_it_will_not_be() -> None:
    """Bob, in #other, is told “The result will be in the channel.” It comes in #ops alone, where Alice pressed.

    Why it matters: he waits for a message that doesn't come, in the place where he asked; he may not be in #ops.
    Cause: bot/errors/refusals.py:AlreadyInFlight says so without knowing where the claim's answer goes.
    Fix: name the place of the claim (its request has it), or say “Press “Check again” in a minute”.
    """
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("slow", verb="approve", seconds=0.5))
        await bot.slack.press(alert, APPROVE)
        await bot.slack.command(REF, user="U0BOB", channel="C0OTHER")
        told = await bot.reply_privately("U0BOB")
        await bot.edited(alert)
        await bot.settle()
        results = [each for each in bot.slack.messages if each.channel == "C0OTHER" and each is not told]
        assert "The result will be in the channel" not in told.text or results
