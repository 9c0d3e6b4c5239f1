"""Answers that lag, and results that come elsewhere."""

import copy
from typing import Any

import pytest

from tests.simulator.together import Fault
from tests.watch import quiet
from tests.world import APPROVE, CANCEL, IDS, REF, world


@pytest.mark.parametrize("verb", ["approve", "cancel"])
async def test_answer_that_lags_behind_its_own_effect_is_read_back(verb: str) -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        decide = getattr(bot.together, f"_{verb}")

        def lagging(request: Any, body: Any) -> dict[str, Any]:
            before = copy.deepcopy(bot.together.remediations[IDS])
            decide(request, body)
            return before

        answer = bot.together._answer
        bot.together._answer = lambda request, action, body: answer(  # type: ignore[method-assign] # the simulator's
            request, lagging if action == decide else action, body
        )
        await bot.slack.press(alert, APPROVE if verb == "approve" else CANCEL)
        await bot.edited(alert)
        await quiet(bot)
        assert bot.together.state(IDS) == ("PENDING" if verb == "approve" else "CANCELLED")
        assert "but the state is “Waiting for approval”" not in alert.text


async def test_result_is_not_promised_where_it_will_not_be() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        bot.together.faults.append(Fault("slow", verb="approve", seconds=0.5))
        await bot.slack.press(alert, APPROVE)
        await bot.slack.command(REF, user="U0BOB", channel="C0OTHER")
        told = await bot.reply_privately("U0BOB")
        await bot.edited(alert)
        await bot.settle()
        results = [message for message in bot.slack.messages if message.channel == "C0OTHER" and message is not told]
        assert "The result comes where they decided." in told.text
        assert results == []
