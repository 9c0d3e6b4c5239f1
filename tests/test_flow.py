"""A signed request in, Slack calls out: the way of one command and one click."""

from collections.abc import AsyncIterator

import pytest

from tests.world import APPROVE, CANCEL, IDS, World, world


@pytest.fixture(params=["http", "socket"])
async def bot(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(socket=request.param == "socket") as running:
        yield running


async def test_a_command_cancels_and_its_card_stands_in_the_channel(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    ack = await bot.slack.command(f"{' '.join(IDS)} rebooted by hand")
    assert (ack.status, ack.body) == (200, "")
    card = await bot.answer()
    assert bot.together.state(IDS) == "CANCELLED"
    assert "Cancelled: Reboot VM on node gpu-node-7" in card.text
    assert "Cancelled in Slack by <@U0ALICE>" in card.everything
    assert "rebooted by hand" in card.everything
    assert card.buttons == {}
    await bot.settle()
    assert len(bot.slack.messages) == 1


async def test_a_click_approves_what_was_shown(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    assert (await bot.slack.press(alert, APPROVE)).status == 200
    await bot.edited(alert)
    assert bot.together.state(IDS) == "PENDING"
    assert bot.together.posts[0].body == {
        "comment": "Approved in Slack by alice (U0ALICE)",
        "mode": "REMEDIATION_MODE_REBOOT_VM",
    }
    assert "Approved, queued to start: Reboot VM" in alert.text
    assert list(alert.buttons) == [CANCEL]
    await bot.settle()
    assert len(bot.slack.messages) == 1
