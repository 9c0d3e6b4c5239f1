"""The app manifest agrees with the code and with Slack's limits."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.__main__ import main
from bot.parsing import COMMAND
from handlers.manifest import EVENTS, SCOPES, manifest, missing_scopes
from handlers.payloads import SHORTCUT
from tests.manifest_file import TARGET, manifest_file

ROOT = Path(__file__).parent.parent


SCHEMA = ROOT.parent / "shared" / "slack-manifest.schema.2.0.0.json"


def limits(made: dict[str, Any]) -> list[tuple[str, int]]:
    """Texts of a manifest and their limits (docs.slack.dev/reference/app-manifest)."""
    shown, features = made["display_information"], made["features"]
    (command,), (shortcut,) = features["slash_commands"], features["shortcuts"]
    return [
        (shown["name"], 35),
        (shown["description"], 140),
        (features["bot_user"]["display_name"], 80),
        (command["command"], 32),
        (command["description"], 2000),
        (command["usage_hint"], 1000),
        (shortcut["name"], 24),
        (shortcut["description"], 150),
        (shortcut["callback_id"], 255),
    ]


def test_checked_in_manifest_is_the_codes_own() -> None:
    text = TARGET.read_text(encoding="utf-8")
    assert text == manifest_file(), "run make manifest"
    assert yaml.safe_load(text) == manifest()


def test_socket_mode_manifest_needs_no_url() -> None:
    assert "http" not in json.dumps(manifest())
    assert manifest()["settings"]["socket_mode_enabled"] is True


@pytest.mark.parametrize(
    "url", ["https://bot.example.com", "https://bot.example.com/", "https://bot.example.com/slack/events"]
)
def test_http_manifest_names_the_public_address(capsys: pytest.CaptureFixture[str], url: str) -> None:
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


def test_manifest_for_a_non_https_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest", "--url", "http://bot.example.com"]) == 2
    assert "--url must be the bot's public https URL" in capsys.readouterr().err


def test_manifest_agrees_with_the_code() -> None:
    (command,) = manifest()["features"]["slash_commands"]
    assert command["command"] == COMMAND
    assert manifest()["oauth_config"]["scopes"]["bot"] == sorted(SCOPES)
    (shortcut,) = manifest()["features"]["shortcuts"]
    assert (shortcut["callback_id"], shortcut["type"]) == (SHORTCUT, "message")
    assert manifest()["settings"]["event_subscriptions"] == {"bot_events": list(EVENTS)}
    assert manifest("https://bot.example.com")["settings"]["event_subscriptions"]["request_url"].startswith("https://")
    assert manifest()["features"]["app_home"]["home_tab_enabled"]


def test_missing_scopes_are_named_with_what_they_are_for() -> None:
    assert missing_scopes(SCOPES) == ""
    missing = missing_scopes(set(SCOPES) - {"im:history", "app_mentions:read"})
    assert missing == "app_mentions:read (answer when it's mentioned), im:history (answer direct messages)"


@pytest.mark.parametrize("url", [None, "https://bot.example.com"])
def test_manifest_stays_within_slacks_limits(url: str | None) -> None:
    for text, limit in limits(manifest(url)):
        assert 1 <= len(text) <= limit


def test_manifests_are_valid_under_slacks_schema() -> None:
    """Slack's schema is not ours to copy: where it lies beside the project, it is asked; elsewhere this says so."""
    if not SCHEMA.exists():
        pytest.skip("Slack's manifest schema does not lie beside the project; the limits were checked one by one")
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for made in (manifest(), manifest("https://bot.example.com")):
        assert [error.message for error in validator.iter_errors(made)] == []
    assert list(validator.iter_errors({**manifest(), "misspelt": True}))
