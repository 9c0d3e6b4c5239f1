"""`python -m bot` as a process, and the manifest that it prints."""

import json
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.__main__ import main
from bot.parsing import COMMAND
from handlers.manifest import SCOPES, manifest
from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.world import IDS, REF

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT.parent / "shared" / "slack-manifest.schema.2.0.0.json"


def test_wrong_settings_end_with_status_2(tmp_path: Path) -> None:
    process = start_bot(tmp_path, {})
    printed, told = process.communicate(timeout=30)
    assert (process.returncode, printed) == (2, "")
    assert told.startswith("The bot cannot start: 4 variables are missing or wrong.")


def test_help_lists_the_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert {"serve", "manifest"} <= set(capsys.readouterr().out.split())


async def test_the_process_serves_and_a_signal_ends_it_with_status_0(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        together.add()
        port = free_port()
        with start_bot(tmp_path, variables(slack, together), port=port) as process:
            await ready(slack, port)
            assert (await slack.command(REF)).status == 200
            await slack.until(slack.visible)
            assert together.state(IDS) == "CANCELLED"
            process.send_signal(signal.SIGTERM)
            _, logged = process.communicate(timeout=30)
        assert process.returncode == 0
        assert json.loads(logged.splitlines()[-1])["message"] == "Stopped"
        assert json.loads(logged.splitlines()[-2])["message"].startswith("Audit head ")


async def test_a_refused_token_ends_with_status_1(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        slack.token_error = "invalid_auth"
        with start_bot(tmp_path, variables(slack, together)) as process:
            await slack.until(lambda: slack.calls)
            _, logged = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Slack refuses SLACK_BOT_TOKEN: invalid_auth." in logged
    assert "Traceback" not in logged


async def test_a_taken_port_ends_with_status_1(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        taken = int(slack.url.rpartition(":")[2])
        process = start_bot(tmp_path, variables(slack, together), "serve", port=taken)
        _, logged = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{taken}" in logged


def test_the_checked_in_manifest_is_the_codes_own() -> None:
    assert yaml.safe_load((ROOT / "manifest.yaml").read_text(encoding="utf-8")) == manifest()


def test_the_socket_mode_manifest_needs_no_url() -> None:
    assert "http" not in json.dumps(manifest())
    assert manifest()["settings"]["socket_mode_enabled"] is True


@pytest.mark.parametrize(
    "url", ["https://bot.example.com", "https://bot.example.com/", "https://bot.example.com/slack/events"]
)
def test_the_http_manifest_names_the_public_address(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["manifest", "--url", url]) == 0
    printed = json.loads(capsys.readouterr().out)
    address = "https://bot.example.com/slack/events"
    assert printed == manifest(url)
    assert printed["settings"]["interactivity"] == {
        "is_enabled": True,
        "request_url": address,
        "message_menu_options_url": address,
    }
    assert printed["features"]["slash_commands"][0]["url"] == address
    assert printed["settings"]["socket_mode_enabled"] is False


def test_a_manifest_for_no_https_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest", "--url", "http://bot.example.com"]) == 2
    assert "--url must be the bot's public https address" in capsys.readouterr().err


def test_the_manifest_agrees_with_the_code() -> None:
    (command,) = manifest()["features"]["slash_commands"]
    assert command["command"] == COMMAND
    assert manifest()["oauth_config"]["scopes"]["bot"] == sorted(SCOPES)
    assert "shortcuts" not in manifest()["features"]
    assert "event_subscriptions" not in manifest()["settings"]


def limits(made: dict[str, Any]) -> list[tuple[str, int]]:
    """Texts of a manifest and their limits (docs.slack.dev/reference/app-manifest)."""
    shown, features = made["display_information"], made["features"]
    (command,) = features["slash_commands"]
    return [
        (shown["name"], 35),
        (shown["description"], 140),
        (features["bot_user"]["display_name"], 80),
        (command["command"], 32),
        (command["description"], 2000),
        (command["usage_hint"], 1000),
    ]


@pytest.mark.parametrize("url", [None, "https://bot.example.com"])
def test_the_manifest_keeps_slacks_limits(url: str | None) -> None:
    for text, limit in limits(manifest(url)):
        assert 1 <= len(text) <= limit


def test_the_manifests_are_valid_under_slacks_schema() -> None:
    """Slack's schema is not ours to copy: where it lies beside the project, it is asked; elsewhere this says so."""
    if not SCHEMA.exists():
        pytest.skip("Slack's manifest schema does not lie beside the project; the limits were checked one by one")
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for made in (manifest(), manifest("https://bot.example.com")):
        assert [error.message for error in validator.iter_errors(made)] == []
    assert list(validator.iter_errors({**manifest(), "misspelt": True}))
