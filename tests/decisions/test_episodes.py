"""Buttons of an earlier incident under the same ID."""

import pytest

from tests.world import APPROVE, IDS, world


@pytest.mark.parametrize("says_which", [True, False])
async def test_alert_of_an_earlier_incident_decides_nothing_about_the_next_one(*, says_which: bool) -> None:
    """The remediation ended, and waits again under the same ID with the same repair suggested."""
    async with world() as bot:
        bot.together.add()
        alert = bot.alert(episode="" if says_which else None)
        await bot.time.advance(3600)
        bot.together.resolve(IDS)
        bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert (
            "your approval wasn't sent: the remediation ended and opened again since that message was written. "
            "Review it and approve again." in alert.text
        )
        assert bot.together.posts == []
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert, 2)
        assert bot.together.state(IDS) == "PENDING"


async def test_alert_that_does_not_say_its_incident_decides_about_the_one_it_was_posted_in() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert(episode=None)
        await bot.time.advance(3600)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"
