"""What people type in their own words."""

import pytest

from tests.simulator.slack.workspace import BOT_USER
from tests.watch import card, quiet, watching
from tests.world import IDS

BOT = f"<@{BOT_USER}>"
NONE = "Together has no such remediation"


@pytest.mark.parametrize("typed", ["gpu-node-7 fixed by hand", "gpu-node-7 is fine now"])
async def test_name_with_a_reason_is_not_sent_as_three_ids(typed: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        await bot.slack.command(typed)
        await quiet(bot)
        assert bot.together.posts == []
        assert not [message.text for message in bot.slack.visible() if NONE in message.text]


@pytest.mark.parametrize(
    "said", ["hold gpu-node-7 until 3pm", "hold gpu-node-7 driver reboot 30m", "cancel gpu-node-7 on cluster-1"]
)
async def test_sentence_about_a_node_is_not_read_as_three_ids(said: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE")
        await quiet(bot)
        told = [*bot.slack.visible(), *bot.slack.visible("U0ALICE")]
        assert not [message.text for message in told if NONE in message.text]


@pytest.mark.parametrize("between", ["\n", ", ", "; "])
async def test_second_reference_is_no_reason(between: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        second = bot.together.add(("cluster-1", "instance-2", "remediation-2"), instance_name="gpu-node-8")
        await card(bot)
        await bot.slack.command(f"{' '.join(IDS)}{between}{' '.join(second)}")
        await quiet(bot)
        assert bot.together.posts == [] or bot.together.state(second) == "CANCELLED"


async def test_hold_of_an_hour_and_a_half_is_not_one_of_an_hour() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-7 for 1 h 30 min", user="U0ALICE")
        await quiet(bot)
        assert "“30 min”" not in alert.text
