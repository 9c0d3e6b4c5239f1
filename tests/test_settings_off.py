"""Settings that are silently off: each is a guard rail that somebody believes to be on."""

from pathlib import Path

import pytest

from bot.environment import SettingsError, read_variables
from bot.settings import read_settings
from tests.watch import poll, watching

NEEDED = "SLACK_BOT_TOKEN=xoxb-1\nSLACK_APP_TOKEN=xapp-1\nTOGETHER_API_KEY=k\nBOT_OPERATORS=U0ALICE\n"


@pytest.mark.parametrize("line", ["bot_observe=*", "Bot_Observe=*", "BOT-OBSERVE=*"])
def test_guard_rail_in_other_letters_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{line}\n{NEEDED}", "utf-8")
    with pytest.raises(SettingsError, match=r"isn't a setting \(did you mean BOT_OBSERVE\?\)"):
        read_settings(read_variables({}, path))


def test_storm_brake_of_a_bot_that_does_not_watch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{NEEDED}BOT_STORM_BRAKE=20%\n", "utf-8")
    with pytest.raises(SettingsError, match="BOT_STORM_BRAKE must come with BOT_ALERT_CHANNEL"):
        read_settings(read_variables({}, path))


async def test_cluster_that_is_to_be_only_observed_and_is_not_listed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with watching(BOT_OBSERVE="llama-train", BOT_ROUTES="llama-train=C0OPS") as bot:
        await poll(bot)
        said = [record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
        assert any("BOT_OBSERVE" in each for each in said), said
