"""Approving alone, when the POST has to be repeated: the rules aren't asked again, but who may is."""

from typing import Any

import pytest

from bot.models import Mode
from tests.decisions.test_break_glass import approve_alone
from tests.simulator.together import Fault
from tests.watch import card, watching
from tests.world import IDS, World

TWO = Mode.REBOOT_VM.value.removeprefix("REMEDIATION_MODE_")
RULES: dict[str, Any] = {"BOT_TWO_PEOPLE_MODES": TWO, "BOT_MAX_IN_REPAIR": "1"}


@pytest.mark.bot(watching=True, BOT_BREAK_GLASS="U0ALICE", **RULES)
async def test_repeat_of_an_approval_alone_asks_neither_rule(bot: World) -> None:
    bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": "5"}))
    await approve_alone(bot, alert)
    await card(bot, words="Approved alone, without asking")
    assert len(bot.together.posts) == 2
    assert bot.together.state(IDS) == "PENDING"


async def test_repeat_of_an_approval_alone_is_not_sent_for_who_may_no_longer_approve_alone() -> None:
    async with watching(BOT_BREAK_GLASS="S0GLASS", **RULES) as bot:
        bot.slack.groups["S0GLASS"] = ["U0ALICE"]
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="approve", code=8, headers={"Retry-After": "5"}))

        def leave() -> None:
            bot.slack.groups["S0GLASS"] = []
            bot.time.seconds += 301  # what Slack said of a group counts for five minutes

        bot.together.on_call["approve"] = leave
        await approve_alone(bot, alert)
        assert "You can't approve alone: you aren't in BOT_BREAK_GLASS." in (await bot.reply_privately()).text
        assert len(bot.together.posts) == 1
        assert bot.together.state(IDS) == "PENDING_APPROVAL"
